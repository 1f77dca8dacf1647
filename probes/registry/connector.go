package registry

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/report"
)

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

// askPlainHTTP adds to "tls/<host>/proxy", if it failed because the server speaks plain
// HTTP, what answers there: through another tunnel of the proxy.
func (s *session) askPlainHTTP(ctx context.Context, proxy *url.URL, check *report.Check) {
	if check.Cause != report.PlainHTTPRegistry || s.client.Blocked(s.host.Host, s.host.Scheme) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, httpclient.QuestionTimeout)
	defer cancel()
	if conn, err := s.prober.Tunnel(ctx, s.host, proxy); err == nil && conn != nil {
		connect.AskPlainHTTP(ctx, s.host, conn, check)
	}
}
