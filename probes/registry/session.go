package registry

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// session is the conversation with one host about one image.
type session struct {
	prober *connect.Prober
	host   runtimeconfig.Host
	ref    reference.Ref
	target Target
	budget *httpclient.Budget
	model  model

	last, lastOfAll bool // the runtime resolves the image, or fetches it, at no host after this one

	sentLogins *sentLogins // shared by the sessions of an image; nil: not shared

	// tokenRoutes holds the route to each token service, a func() connect.Route by
	// scheme and host; nil: not shared with other sessions.
	tokenRoutes *sync.Map

	checks []report.Check
	clocks []connect.ClockReading

	challenge answers.Challenge  // of the answer to GET /v2/
	tokenHost string             // of the token service
	tokenPath *tokenRoute        // to the token service; nil: it was not checked
	client    *httpclient.Client // nil: the host was not reached
	others    []connect.Machine  // other addresses of the host
	manifest  manifestState

	answered   bool   // the host has answered a request
	isRegistry bool   // an answer was that of an OCI registry
	product    string // by the headers of its answers
}

func (s *session) add(c report.Check) {
	c.Host = s.host.Name()
	s.checks = append(s.checks, c)
}

// skip adds a check that another one keeps from running.
func (s *session) skip(kind report.Kind, id, why, blockedBy string) {
	s.add(report.Check{ID: id, Kind: kind, Outcome: report.Skipped, Summary: why, BlockedBy: blockedBy})
}

// addSecret tells the caller what must not be published.
func (s *session) addSecret(secret string) {
	if s.target.Secret != nil {
		s.target.Secret(secret)
	}
}

// authorizer returns what logs in at the host.
func (s *session) authorizer() authorizer {
	return authorizer{
		client: s.client, host: s.host, domain: s.ref.Domain, guess: s.model.guess,
		route: s.tokenPath, sent: s.sentLogins, secret: s.addSecret,
	}
}

// A header of hosts.toml, and a token, is taken for a secret from this length on.
// Shorter headers, such as "true", are part of many texts. The token service
// chooses the token, and must not be able to remove words from a report.
const minHeader, minToken = 8, 16

// addHeaderSecrets passes on the headers that hosts.toml sets, with and without
// the scheme that an Authorization begins with.
func (s *session) addHeaderSecrets() {
	for _, values := range s.host.Header {
		for _, value := range values {
			_, bare, _ := strings.Cut(value, " ")
			for _, secret := range []string{value, bare} {
				if len(secret) >= minHeader {
					s.addSecret(secret)
				}
			}
		}
	}
}

// addClocks adds readings of servers' clocks, the first one of each server.
func (s *session) addClocks(clocks ...connect.ClockReading) {
	for _, r := range clocks {
		if !slices.ContainsFunc(s.clocks, func(have connect.ClockReading) bool { return have.Server == r.Server }) {
			s.clocks = append(s.clocks, r)
		}
	}
}

func (s *session) addClockOf(rep *httpclient.Reply) {
	if r, ok := connect.ReadClock(rep.Host, rep.Header, rep.Sent, rep.At); ok {
		s.addClocks(r)
	}
}

func (s *session) close() {
	if s.client != nil {
		s.client.Close()
	}
}

// run goes from the name of the host to the manifest, or, at a host that the
// runtime asks for blobs only, to a connection.
func (s *session) run(ctx context.Context) {
	name := s.host.Name()
	if connected := s.connect(ctx); s.host.BlobsOnly {
		return
	} else if !connected {
		last := s.checks[len(s.checks)-1]
		s.skip(report.KindManifest, report.ManifestID(name), last.Summary, last.BlockedBy)
		return
	}
	at := len(s.checks)
	s.checkManifest(ctx)
	check, known := s.sweepResult()
	if !known || !s.found() {
		check = s.describeRegistry(ctx)
	}
	check.Host = name
	s.checks = slices.Insert(s.checks, at, check)
	s.manifest.at++
}

// connect goes from the name of the host to a connection that HTTP may use, and
// reports whether there is one. If not, the last check is the registry's, skipped.
func (s *session) connect(ctx context.Context) bool {
	name := s.host.Name()
	blocked := s.blockedBeforeDial()
	if blocked == "" {
		proxy, err := s.prober.Proxy.For(s.host.Scheme, s.host.Host)
		switch {
		case err != nil:
			blocked = report.DialID(name, "proxy")
			s.add(report.Check{
				ID: blocked, Kind: report.KindDial, Outcome: report.Fail, Cause: report.ProxyUnreachable,
				Summary: "the runtime refuses to use the proxy of its environment: HTTP_PROXY is set together with REQUEST_METHOD",
			})
		case proxy != nil:
			blocked = s.connectByProxy(ctx, proxy)
		default:
			blocked = s.connectDirectly(ctx)
		}
	}
	if blocked != "" {
		s.skip(report.KindRegistry, report.RegistryID(name), "skipped: "+blocked+" did not pass", blocked)
	}
	return blocked == ""
}

// blockedBeforeDial returns the id of the check that says why the host is not
// even resolved; empty if it is.
func (s *session) blockedBeforeDial() string {
	name := s.host.Name()
	check := report.Check{ID: report.DialID(name), Kind: report.KindDial}
	_, port := s.host.Split()
	reason := s.prober.Denies(s.host)
	switch {
	case !validPort(port):
		check.Outcome, check.Cause = report.Fail, report.Undetermined
		check.Summary = strconv.Quote(report.Clean(port, 20)) + " is not a port: the runtime cannot connect to " + name
	case reason != "":
		check.Outcome = report.Skipped
		check.Summary = "skipped: " + report.Clean(name, 80) + " is " + string(reason)
		check.Evidence = evidence.Facts{report.KeyRefused: string(reason), report.KeyRuntimeWouldDial: report.True}.Checked()
	default:
		return ""
	}
	s.add(check)
	return check.ID
}

// connectDirectly connects without a proxy. It returns the id of the check that
// blocks the path; empty if it is open.
func (s *session) connectDirectly(ctx context.Context) (blockedBy string) {
	r := s.prober.Reach(ctx, &s.host)
	s.forgiveStrictTLS(ctx, r.Checks)
	s.checks = append(s.checks, r.Checks...)
	if variable := s.prober.Proxy.Ignored(s.host.Scheme); variable != "" {
		s.checks[0].Evidence = evidence.With(s.checks[0].Evidence, report.KeyProxyIgnored, variable)
		s.checks[0].Summary += "; the runtime ignores its " + variable + ", which is not a URL"
	}
	s.addClocks(r.Clocks...)
	if r.BlockedBy == "" {
		s.client, s.others = httpclient.New(s.prober, s.host, r.Addr, s.budget), r.Others
		s.client.Reuse(r.Conn)
	}
	return r.BlockedBy
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// connectByProxy connects through the node's proxy, which resolves and dials the
// host. It returns the id of the check that blocks the path; empty if it is open.
func (s *session) connectByProxy(ctx context.Context, proxy *url.URL) (blockedBy string) {
	name := s.host.Name()
	shown := report.Clean(proxy.Scheme+"://"+proxy.Host, 100) // without its credentials
	s.add(report.Check{
		ID: report.DNSID(name), Kind: report.KindDNS, Outcome: report.Skipped,
		Summary:  "not resolved on this node: the runtime uses the proxy " + shown,
		Evidence: evidence.Facts{report.KeyProxy: shown}.Checked(),
	})

	s.client = httpclient.New(s.prober, s.host, netip.AddrPort{}, s.budget)
	check, conn := s.dialByProxy(ctx, proxy, shown)
	s.add(check)
	switch {
	case check.Outcome != report.Pass:
		if check.Outcome == report.Skipped || s.host.Scheme == "https" {
			s.skip(report.KindTLS, report.TLSID(name), "skipped: no connection", check.ID)
		}
		return check.ID
	case conn == nil:
		return "" // no tunnel to inspect: the first request shows what happens
	}
	defer conn.Close()
	if s.host.Scheme != "https" {
		return ""
	}
	h := s.prober.Handshake(ctx, s.host, conn, "proxy")
	if h.Clock != nil {
		s.addClocks(*h.Clock)
	}
	h.Check.Evidence = evidence.With(h.Check.Evidence, report.KeyProxy, shown)
	s.askPlainHTTP(ctx, proxy, &h.Check)
	inTunnel := []report.Check{h.Check}
	s.forgiveStrictTLS(ctx, inTunnel)
	h.Check = inTunnel[0]
	s.add(h.Check)
	if h.Check.Outcome != report.Pass {
		return h.Check.ID
	}
	return ""
}

// dialByProxy is "dial/<host>/proxy". shown is the proxy for people.
func (s *session) dialByProxy(ctx context.Context, proxy *url.URL, shown string) (report.Check, net.Conn) {
	name := s.host.Name()
	check := report.Check{ID: report.DialID(name, "proxy"), Kind: report.KindDial, Target: shown}
	ctx, cancel := context.WithTimeout(ctx, s.prober.Limits.WithDefaults().Dial)
	defer cancel()
	start := time.Now()
	var conn net.Conn
	err := s.client.Blocked(s.host.Host, s.host.Scheme)
	if err == nil {
		conn, err = s.prober.Tunnel(ctx, s.host, proxy)
	}
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if blocked, ok := errors.AsType[*connect.BlockedError](err); ok {
		check.Outcome = report.Skipped
		check.Summary = "skipped: " + blocked.Reason
		check.Evidence = evidence.Facts{report.KeyRefused: blocked.Reason, report.KeyProxy: shown}.Checked()
		return check, nil
	}
	if err != nil {
		f := connect.Classify(connect.MarkUnfinished(ctx, err), took, report.ConnectionTimeout)
		f.Facts = withProxyFor(evidence.With(f.Facts, report.KeyProxy, shown), name)
		f.Apply(&check, "proxy "+shown+" for "+name+": ")
		return check, nil
	}
	check.Outcome = report.Pass
	check.Summary = "connected through the proxy " + shown
	check.Evidence = evidence.Facts{report.KeyProxy: shown}.Checked()
	return check, conn
}

// withProxyFor adds to the facts of a proxy's own answer which host it was asked for.
func withProxyFor(facts evidence.Facts, host string) evidence.Facts {
	if facts[report.KeyProxyStatus] != "" {
		facts[report.KeyProxyFor] = report.Clean(host, 80)
	}
	return facts
}

// requestFailed fills in a check whose request got no answer.
func (s *session) requestFailed(check *report.Check, err error, took time.Duration) {
	if blocked, ok := errors.AsType[*connect.BlockedError](err); ok {
		check.Outcome = report.Skipped
		check.Summary = "skipped: " + report.Clean(blocked.Reason, 160)
		if blocked.Cause != "" && check.Kind != report.KindRegistry { // the runtime does not request /v2/
			check.Outcome, check.Cause = report.Fail, blocked.Cause
			check.Summary = s.host.Name() + ": " + report.Clean(blocked.Reason, 160)
		}
		check.Evidence = evidence.Facts{report.KeyRefused: blocked.Reason}.Checked()
		return
	}
	f := connect.Classify(err, took, report.RegistryUnavailable)
	f.Facts = withProxyFor(f.Facts, s.host.Name())
	prefix := s.host.Name() + ": "
	if redirect, ok := errors.AsType[*httpclient.RedirectError](err); ok {
		prefix = s.host.Name() + " redirects to " + report.Clean(redirect.Host, 80) + ": "
		f.Facts = evidence.With(f.Facts, report.KeyRedirectedTo, redirect.Host)
	}
	f.Apply(check, prefix)
}

// limited fills in the check of a host that answered 429.
func limited(check *report.Check, e evidence.Facts, name string, rep *httpclient.Reply) {
	message, quota := answers.RateLimit(rep)
	check.Outcome, check.Cause = report.Fail, report.RateLimited
	check.Summary = name + " " + message
	for k, x := range quota {
		e[k] = cmp.Or(x, e[k])
	}
}
