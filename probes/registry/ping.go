package registry

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// ping is "registry/<host>" of a sweep: GET /v2/, without credentials. The runtime never
// sends it. A sweep has no image to ask for, so that it is the only evidence.
func (s *session) ping(ctx context.Context) {
	check := s.sendPing(ctx, false)
	check.Evidence = evidence.With(check.Evidence, report.KeyOnlyPing, report.True)
	s.add(check)
}

// sendPing sends GET /v2/ and judges the answer. A fault is only what would affect any
// other request too.
func (s *session) sendPing(ctx context.Context, question bool) report.Check {
	name := s.host.Name()
	address := pingURL(s.host)
	check := report.Check{ID: report.RegistryID(name), Kind: report.KindRegistry, Target: readable.Clean(address, evidence.MaxValue)}
	start := time.Now()
	rep, err := s.client.Send(ctx, httpclient.Request{
		Method: http.MethodGet, URL: address, Limit: 2 << 10, Question: question, Anonymous: true,
	})
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		requestFailed(s.host.Name(), &check, err, took)
		return check
	}
	if rep.Hops == 0 {
		s.addClockOf(rep)
	}
	s.identity.add(rep)
	e := s.pingEvidence(rep)
	if answer := s.answerOfProxy(rep); answer != nil {
		connect.Classify(answer, took, "").Apply(&check, "the proxy for "+name+": ")
		return check
	}
	switch {
	case rep.Status == http.StatusTooManyRequests:
		limited(&check, e, name, rep)
	case rep.Status >= 500:
		check.Outcome, check.Cause = report.Fail, report.RegistryUnavailable
		check.Summary = name + " answers " + answers.StatusText(rep.Status)
	case answers.IsWebPage(rep.Header):
		check.Outcome = report.Unknown
		check.Summary = readable.Clean(rep.Host, 80) + " answers " + answers.StatusText(rep.Status) +
			" with a web page: a login portal, or not a registry"
	case rep.Status == http.StatusOK, rep.Status == http.StatusUnauthorized:
		check.Outcome = report.Pass
		check.Summary = name + " answers " + answers.StatusText(rep.Status)
	default:
		check.Outcome = report.Unknown
		check.Summary = name + " answers " + answers.StatusText(rep.Status) + " to GET /v2/, which the runtime does not send"
	}
	check.Evidence = e.Checked()
	return check
}

// describeRegistry is "registry/<host>" of a diagnosis: whether the host is a registry
// at all. It comes after the runtime's own request, and sends GET /v2/ only if the
// manifest was refused and the refusal does not tell. It never fails: the runtime does
// not send GET /v2/.
func (s *session) describeRegistry(ctx context.Context) report.Check {
	name := s.host.Name()
	manifest := s.checks[s.manifest.at]
	target := readable.Clean(pingURL(s.host), evidence.MaxValue)
	check := report.Check{ID: report.RegistryID(name), Kind: report.KindRegistry, Host: name, Target: target}
	limited, byProxy := manifest.Cause == report.RateLimited, manifest.Evidence[report.KeyStep] == "connect"
	switch {
	case !s.identity.answered || limited || byProxy:
		check.Outcome, check.BlockedBy = report.Skipped, manifest.ID
		check.Summary = "not asked: the request for the manifest was not answered"
		if limited {
			check.Summary = "not asked: " + name + " is rate-limiting this node"
		}
	case s.found():
		check.Outcome, check.Summary = report.Pass, name+" answers requests for manifests"
	case s.identity.isRegistry && s.manifest.status != http.StatusForbidden:
		check.Outcome, check.Summary = report.Pass, name+" answers requests for manifests"
		s.askSibling(ctx)
	default:
		check = s.sendPing(ctx, true)
		check.Host = name
		if check.Outcome == report.Fail {
			check.Outcome, check.Cause = report.Unknown, ""
			check.Summary += " (GET /v2/, which the runtime does not send)"
		}
		s.askSibling(ctx)
		if !s.identity.isRegistry && check.Evidence[report.KeyStatus] != "" {
			check.Evidence = evidence.With(check.Evidence, report.KeyIsRegistry, "false")
		}
	}
	if s.identity.isRegistry {
		check.Evidence = evidence.With(check.Evidence, report.KeyIsRegistry, report.True)
	}
	if s.identity.product != "" {
		check.Evidence = evidence.With(check.Evidence, report.KeyProduct, s.identity.product)
	}
	return check
}

// askSibling adds to "dns/<host>" what a random name beside the host resolves to: a host
// that refuses the image, or its token service, may be one that a wildcard record leads to.
func (s *session) askSibling(ctx context.Context) {
	s.askSiblingOf(ctx, s.host)
	if s.tokenPath != nil && s.tokenPath.Host.Host != s.host.Host {
		s.askSiblingOf(ctx, s.tokenPath.Host)
	}
}

func (s *session) askSiblingOf(ctx context.Context, h runtimeconfig.Host) {
	i := slices.IndexFunc(s.checks, func(c report.Check) bool { return c.ID == report.DNSID(h.Name()) })
	if i < 0 || s.checks[i].Evidence[report.KeyPublicRegistry] != "" {
		return
	}
	name, _ := h.Split()
	if sibling := s.prober.Sibling(ctx, name, s.checks[i]); sibling != "" {
		s.checks[i].Evidence = evidence.With(s.checks[i].Evidence, report.KeySibling, sibling)
	}
}

// identity is what the answers of a host tell of it.
type identity struct {
	answered   bool   // the host has answered a request
	isRegistry bool   // an answer was that of an OCI registry
	product    string // by the headers of its answers
}

// add adds what an answer of the host tells.
func (i *identity) add(rep *httpclient.Reply) {
	i.answered = true
	if rep.Hops > 0 {
		return
	}
	ch, challenged := answers.ReadChallenge(rep.Header)
	i.isRegistry = i.isRegistry || challenged && ch.Bearer || answers.ErrorCode(rep.Body) != "" ||
		rep.Header.Get("Docker-Distribution-Api-Version") != "" || rep.Header.Get("Docker-Content-Digest") != ""
	i.product = cmp.Or(i.product, answers.Product(rep.Header, ch))
}

func pingURL(h runtimeconfig.Host) string {
	base := h.Path
	if strings.HasPrefix(base, "/v2/") {
		base = "/v2"
	}
	return h.Scheme + "://" + h.Host + strings.TrimSuffix(base, "/") + "/"
}

// pingEvidence returns the facts of the answer, and keeps its challenge.
func (s *session) pingEvidence(rep *httpclient.Reply) evidence.Facts {
	e := evidence.Facts{
		report.KeyStatus:      strconv.Itoa(rep.Status),
		report.KeyContentType: rep.Header.Get("Content-Type"),
		report.KeyAPIVersion:  rep.Header.Get("Docker-Distribution-Api-Version"),
		report.KeyServer:      rep.Header.Get("Server"),
		report.KeyCode:        answers.ErrorCode(rep.Body),
	}
	if rep.Hops > 0 {
		e[report.KeyRedirectedTo] = rep.Host
	}
	if ch, ok := answers.ReadChallenge(rep.Header); ok {
		s.challenge = ch
		e[report.KeyAuth] = ch.Scheme()
		if u, err := url.Parse(ch.Realm); err == nil && ch.Bearer {
			e[report.KeyRealmHost] = readable.Clean(u.Host, 80)
		}
	}
	return e
}

// answerOfProxy returns the proxy's own answer to a request by plain HTTP, given
// instead of the host's; nil if it is not known to be one.
func (s *session) answerOfProxy(rep *httpclient.Reply) *connect.ProxyError {
	proxy, err := s.prober.Proxy.For(s.host.Scheme, s.host.Host)
	if err != nil || proxy == nil || s.host.Scheme != "http" || rep.Hops > 0 {
		return nil
	}
	answer := connect.ProxyAnswer(rep.Status, rep.Header)
	if rep.Status == http.StatusProxyAuthRequired || rep.Status >= 400 && answer.Reason() != "" {
		return answer
	}
	return nil
}
