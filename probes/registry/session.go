package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// visit is the climb up the ladder at one host.
type session struct {
	prober      *connect.Prober
	host        runtimeconfig.Host
	ref         reference.Ref
	target      Target
	budget      *budget
	tokenRoutes *sync.Map // func() route by scheme and host: the ways to token services; nil: not shared

	checks []report.Check
	clocks []connect.ClockReading

	challenge challenge // what the host asked for at GET /v2/
	tokenHost string    // of the token service
	client    *client
	manifest  manifestState
}

func (s *session) add(c report.Check) {
	c.Host = s.host.Name()
	s.checks = append(s.checks, c)
}

// skip adds a check that another one keeps from running.
func (s *session) skip(kind report.Kind, id, why, blockedBy string) {
	s.add(report.Check{ID: id, Kind: kind, Outcome: report.Skipped, Summary: why, BlockedBy: blockedBy})
}

// tell hands on what must not be published.
func (s *session) addSecret(secret string) {
	if s.target.Secret != nil {
		s.target.Secret(secret)
	}
}

// How long a header of hosts.toml, and a token, must be to be taken for a
// secret. Shorter headers, such as "true", stand in many texts; a token is what
// its service says, and that must not take words out of a report.
const minHeader, minToken = 8, 16

// tellHeader hands on the headers that hosts.toml sets, with and without the
// scheme that an Authorization begins with.
func (v *session) addHeaderSecrets() {
	for _, values := range v.host.Header {
		for _, value := range values {
			_, bare, _ := strings.Cut(value, " ")
			for _, s := range []string{value, bare} {
				if len(s) >= minHeader {
					v.addSecret(s)
				}
			}
		}
	}
}

// read notes servers' clocks, each server once.
func (s *session) addClocks(clocks ...connect.ClockReading) {
	for _, r := range clocks {
		if !slices.ContainsFunc(s.clocks, func(have connect.ClockReading) bool { return have.Server == r.Server }) {
			s.clocks = append(s.clocks, r)
		}
	}
}

func (s *session) addClockOf(rep *reply) {
	if r, ok := connect.ReadClock(rep.host, rep.header, rep.sent, rep.at); ok {
		s.addClocks(r)
	}
}

func (s *session) close() {
	if s.client != nil {
		s.client.close()
	}
}

// climb goes from the name to the manifest, or, at a host that is asked for
// blobs only, to a connection.
func (s *session) run(ctx context.Context) {
	name := s.host.Name()
	if near := s.connect(ctx); s.host.BlobsOnly {
		return
	} else if !near {
		last := s.checks[len(s.checks)-1]
		s.skip(report.KindManifest, "manifest/"+name, last.Summary, last.BlockedBy)
		return
	}
	if s.useSweepResult() {
		s.checkManifest(ctx)
		return
	}
	if id := s.ping(ctx); id != "" {
		s.skip(report.KindManifest, "manifest/"+name, "not asked: "+id+" failed", id)
		return
	}
	s.checkManifest(ctx)
}

// approach goes from the name to a connection that HTTP may use. If there is
// none, the last check is the registry's, skipped.
func (s *session) connect(ctx context.Context) bool {
	name := s.host.Name()
	blocked := ""
	if _, port := s.host.Split(); !validPort(port) {
		blocked = "dial/" + name
		s.add(report.Check{ID: blocked, Kind: report.KindDial, Outcome: report.Fail, Cause: report.Undetermined,
			Summary: report.Clean(port, 20) + " is not a port: the runtime cannot connect to " + name})
	} else if reason := s.prober.Denies(s.host); reason != "" {
		blocked = "dial/" + name
		s.add(report.Check{ID: blocked, Kind: report.KindDial, Outcome: report.Skipped, Summary: "not asked: " + report.Clean(name, 80) + " is " + string(reason),
			Evidence: evidence.Facts{"refused": string(reason), "runtimeWouldDial": "true"}.Checked()})
	} else if proxy, err := s.prober.Proxy.For(s.host.Scheme, s.host.Host); err != nil {
		blocked = "dial/" + name + "/proxy"
		s.add(report.Check{ID: blocked, Kind: report.KindDial, Outcome: report.Fail, Cause: report.ProxyUnreachable,
			Summary: "the runtime refuses the proxy that its environment names: HTTP_PROXY beside REQUEST_METHOD"})
	} else if proxy != nil {
		blocked = s.connectByProxy(ctx, proxy)
	} else {
		r := s.prober.Reach(ctx, &s.host)
		s.checks = append(s.checks, r.Checks...)
		if variable := s.prober.Proxy.Ignored(s.host.Scheme); variable != "" {
			s.checks[0].Evidence = evidence.With(s.checks[0].Evidence, "proxyIgnored", variable)
			s.checks[0].Summary += "; the runtime ignores its " + variable + ", which is not a URL"
		}
		s.addClocks(r.Clocks...)
		if blocked = r.BlockedBy; blocked == "" {
			s.client = newClient(s.prober, s.host, r.Addr, s.budget)
			s.client.idle.Store(r.Conn)
		}
	}
	if blocked != "" {
		s.skip(report.KindRegistry, "registry/"+name, "not reached: "+blocked+" did not pass", blocked)
	}
	return blocked == ""
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// reachThrough goes through the node's proxy. The host's own name and
// addresses are then nobody's business but the proxy's.
func (s *session) connectByProxy(ctx context.Context, proxy *url.URL) (blockedBy string) {
	name := s.host.Name()
	shown := report.Clean(proxy.Scheme+"://"+proxy.Host, 100) // without its credentials
	s.add(report.Check{ID: "dns/" + name, Kind: report.KindDNS, Outcome: report.Skipped,
		Summary: "not resolved here: goes through the proxy " + shown, Evidence: evidence.Facts{"proxy": shown}.Checked()})

	s.client = newClient(s.prober, s.host, netip.AddrPort{}, s.budget)
	id := "dial/" + name + "/proxy"
	check := report.Check{ID: id, Kind: report.KindDial, Target: shown}
	start := time.Now()
	dialCtx, cancel := context.WithTimeout(ctx, s.prober.Limits.WithDefaults().Dial)
	defer cancel()
	var conn net.Conn
	err := s.client.blocked(s.host.Host, s.host.Scheme)
	if err == nil {
		conn, err = s.prober.Tunnel(dialCtx, s.host, proxy)
	}
	took := time.Since(start)
	check.Duration = report.Millis(took)
	var refused *connect.BlockedError
	switch {
	case errors.As(err, &refused):
		check.Outcome = report.Skipped
		check.Summary = "not asked: " + refused.Reason
		check.Evidence = evidence.Facts{"refused": refused.Reason, "proxy": shown}.Checked()
		s.add(check)
		s.skip(report.KindTLS, "tls/"+name, "not tried: no connection", id)
		return id
	case err != nil:
		f := connect.Classify(connect.MarkUnfinished(dialCtx, err), took, report.ConnectionTimeout)
		f.Facts = evidence.With(f.Facts, "proxy", shown)
		f.Apply(&check, "proxy "+shown+" for "+name+": ")
		s.add(check)
		if s.host.Scheme == "https" {
			s.skip(report.KindTLS, "tls/"+name, "not tried: no connection", id)
		}
		return id
	}
	check.Outcome = report.Pass
	check.Summary = "connected through the proxy " + shown
	check.Evidence = evidence.Facts{"proxy": shown}.Checked()
	s.add(check)
	if conn == nil {
		return "" // no tunnel to look into: what happens is seen with the first request
	}
	defer conn.Close()
	if s.host.Scheme != "https" {
		return ""
	}
	g := s.prober.Handshake(ctx, s.host, conn, "proxy")
	if g.Clock != nil {
		s.addClocks(*g.Clock)
	}
	handshake := g.Check
	handshake.Evidence = evidence.With(handshake.Evidence, "proxy", shown)
	s.add(handshake)
	if handshake.Outcome != report.Pass {
		return handshake.ID
	}
	return ""
}

// askRegistry is "registry/<host>": GET /v2/, without credentials. The runtime
// itself never asks this, so that only what would hit any other request too
// is a fault. It returns the check's id if it blocks what follows.
func (s *session) ping(ctx context.Context) (blockedBy string) {
	name := s.host.Name()
	check := report.Check{ID: "registry/" + name, Kind: report.KindRegistry}
	base := s.host.Path
	if strings.HasPrefix(base, "/v2/") {
		base = "/v2"
	}
	address := s.host.Scheme + "://" + s.host.Host + strings.TrimSuffix(base, "/") + "/"
	check.Target = report.Clean(address, evidence.MaxValue)
	start := time.Now()
	rep, err := s.client.send(ctx, request{method: http.MethodGet, url: address, limit: 2 << 10})
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		s.requestFailed(&check, err, took)
		s.add(check)
		if errors.As(err, new(*connect.BlockedError)) {
			return "" // the runtime does not ask for /v2/, so it may come further
		}
		return check.ID
	}
	e := evidence.Facts{
		"status":      strconv.Itoa(rep.status),
		"contentType": rep.header.Get("Content-Type"),
		"apiVersion":  rep.header.Get("Docker-Distribution-Api-Version"),
		"server":      rep.header.Get("Server"),
		"code":        errorCode(rep.body),
	}
	if rep.hops == 0 {
		s.addClockOf(rep)
	}
	if rep.hops > 0 {
		e["redirectedTo"] = rep.host
	}
	if ch, ok := readChallenge(rep.header); ok {
		s.challenge = ch
		e["auth"] = ch.scheme()
		if u, err := url.Parse(ch.realm); err == nil && ch.bearer {
			e["realmHost"] = report.Clean(u.Host, 80)
		}
	}
	if answer := s.answerOfProxy(rep); answer != nil {
		f := connect.Classify(answer, took, "")
		f.Apply(&check, "the proxy for "+name+": ")
		s.add(check)
		return check.ID
	}
	switch {
	case rep.status == http.StatusTooManyRequests:
		limited(&check, e, name, rep)
	case rep.status >= 500:
		check.Outcome, check.Cause = report.Fail, report.RegistryUnavailable
		check.Summary = name + " answers " + statusText(rep.status)
	case isWebPage(rep.header):
		check.Outcome = report.Unknown
		check.Summary = fmt.Sprintf("%s answers %s with a web page: a login portal, or not a registry", report.Clean(rep.host, 80), statusText(rep.status))
	case rep.status == http.StatusOK, rep.status == http.StatusUnauthorized:
		check.Outcome = report.Pass
		check.Summary = name + " answers " + statusText(rep.status)
	default:
		check.Outcome = report.Unknown
		check.Summary = name + " answers " + statusText(rep.status) + " to GET /v2/, which the runtime does not ask"
	}
	check.Evidence = e.Checked()
	s.add(check)
	if check.Cause == report.RateLimited {
		return check.ID
	}
	return ""
}

// proxysOwn is an answer to a request by plain HTTP that the proxy gave in the
// place of the host; nil if it is not known to be one.
func (s *session) answerOfProxy(rep *reply) *connect.ProxyError {
	if proxy, err := s.prober.Proxy.For(s.host.Scheme, s.host.Host); err != nil || proxy == nil || s.host.Scheme != "http" || rep.hops > 0 {
		return nil
	}
	answer := connect.ProxyAnswer(rep.status, rep.header)
	if rep.status == http.StatusProxyAuthRequired || rep.status >= 400 && answer.Reason() != "" {
		return answer
	}
	return nil
}

// requestFailed fills in a check whose request got no answer.
func (s *session) requestFailed(check *report.Check, err error, took time.Duration) {
	var refused *connect.BlockedError
	if errors.As(err, &refused) {
		check.Outcome = report.Skipped
		check.Summary = "not asked: " + report.Clean(refused.Reason, 160)
		if refused.Cause != "" && check.Kind != report.KindRegistry { // the runtime does not ask for /v2/
			check.Outcome, check.Cause = report.Fail, refused.Cause
			check.Summary = s.host.Name() + ": " + report.Clean(refused.Reason, 160)
		}
		check.Evidence = evidence.Facts{"refused": refused.Reason}.Checked()
		return
	}
	f := connect.Classify(err, took, report.RegistryUnavailable)
	words := s.host.Name() + ": "
	var redirect *redirectError
	if errors.As(err, &redirect) {
		words = s.host.Name() + " redirects to " + report.Clean(redirect.host, 80) + ": "
		f.Facts = evidence.With(f.Facts, "redirectedTo", redirect.host)
	}
	f.Apply(check, words)
}

// limited fills in the check of a host that answered 429.
func limited(check *report.Check, e evidence.Facts, name string, rep *reply) {
	message, quota := rateLimit(rep)
	check.Outcome, check.Cause = report.Fail, report.RateLimited
	check.Summary = name + " " + message
	for k, x := range quota {
		e[k] = cmp.Or(x, e[k])
	}
}

// rateLimit reads an answer 429: what to say after the name of the host, and
// the quota.
func rateLimit(rep *reply) (message string, quota evidence.Facts) {
	quota = quotaHeaders(rep.header)
	message = "is rate-limiting this node (429"
	if after := quota["retryAfter"]; strings.HasSuffix(after, "GMT") {
		message += "; retry after " + after
	} else if after != "" {
		message += "; retry after " + after + " s"
	}
	return message + ")", quota
}

func isWebPage(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Get("Content-Type"))), "text/html")
}

// waitOf is the Retry-After header, seconds or a date (RFC 9110, 10.2.3), in the
// one way to write it; empty if it is anything else. It becomes part of the fix.
func retryAfterOf(h http.Header) string {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return strconv.FormatUint(n, 10)
	}
	if at, err := http.ParseTime(text); err == nil {
		return at.UTC().Format(http.TimeFormat)
	}
	return ""
}
