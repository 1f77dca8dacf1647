package registry

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// ping is "registry/<host>": GET /v2/, without credentials. The runtime itself
// never sends it, so that only what would affect any other request too is a
// fault. It returns the check's id if that blocks what follows.
func (s *session) ping(ctx context.Context) (blockedBy string) {
	name := s.host.Name()
	address := pingURL(s.host)
	check := report.Check{ID: report.RegistryID(name), Kind: report.KindRegistry, Target: report.Clean(address, evidence.MaxValue)}
	start := time.Now()
	rep, err := s.client.send(ctx, request{method: http.MethodGet, url: address, limit: 2 << 10})
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		s.requestFailed(&check, err, took)
		s.add(check)
		if errors.As(err, new(*connect.BlockedError)) {
			return "" // the runtime does not request /v2/, so it may come further
		}
		return check.ID
	}
	if rep.hops == 0 {
		s.addClockOf(rep)
	}
	e := s.pingEvidence(rep)
	if answer := s.answerOfProxy(rep); answer != nil {
		connect.Classify(answer, took, "").Apply(&check, "the proxy for "+name+": ")
		s.add(check)
		return check.ID
	}
	switch {
	case rep.status == http.StatusTooManyRequests:
		limited(&check, e, name, rep)
		blockedBy = check.ID
	case rep.status >= 500:
		check.Outcome, check.Cause = report.Fail, report.RegistryUnavailable
		check.Summary = name + " answers " + statusText(rep.status)
	case isWebPage(rep.header):
		check.Outcome = report.Unknown
		check.Summary = report.Clean(rep.host, 80) + " answers " + statusText(rep.status) + " with a web page: a login portal, or not a registry"
	case rep.status == http.StatusOK, rep.status == http.StatusUnauthorized:
		check.Outcome = report.Pass
		check.Summary = name + " answers " + statusText(rep.status)
	default:
		check.Outcome = report.Unknown
		check.Summary = name + " answers " + statusText(rep.status) + " to GET /v2/, which the runtime does not send"
	}
	check.Evidence = e.Checked()
	s.add(check)
	return blockedBy
}

func pingURL(h runtimeconfig.Host) string {
	base := h.Path
	if strings.HasPrefix(base, "/v2/") {
		base = "/v2"
	}
	return h.Scheme + "://" + h.Host + strings.TrimSuffix(base, "/") + "/"
}

// pingEvidence returns the facts of the answer, and keeps its challenge.
func (s *session) pingEvidence(rep *reply) evidence.Facts {
	e := evidence.Facts{
		report.KeyStatus:      strconv.Itoa(rep.status),
		report.KeyContentType: rep.header.Get("Content-Type"),
		report.KeyAPIVersion:  rep.header.Get("Docker-Distribution-Api-Version"),
		report.KeyServer:      rep.header.Get("Server"),
		report.KeyCode:        errorCode(rep.body),
	}
	if rep.hops > 0 {
		e[report.KeyRedirectedTo] = rep.host
	}
	if ch, ok := readChallenge(rep.header); ok {
		s.challenge = ch
		e[report.KeyAuth] = ch.scheme()
		if u, err := url.Parse(ch.realm); err == nil && ch.bearer {
			e[report.KeyRealmHost] = report.Clean(u.Host, 80)
		}
	}
	return e
}

// answerOfProxy returns the proxy's own answer to a request by plain HTTP, given
// instead of the host's; nil if it is not known to be one.
func (s *session) answerOfProxy(rep *reply) *connect.ProxyError {
	proxy, err := s.prober.Proxy.For(s.host.Scheme, s.host.Host)
	if err != nil || proxy == nil || s.host.Scheme != "http" || rep.hops > 0 {
		return nil
	}
	answer := connect.ProxyAnswer(rep.status, rep.header)
	if rep.status == http.StatusProxyAuthRequired || rep.status >= 400 && answer.Reason() != "" {
		return answer
	}
	return nil
}
