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
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// connector goes from the name of a host to a connection that HTTP may use.
type connector struct {
	prober *connect.Prober
	budget *httpclient.Budget
	model  model
	host   runtimeconfig.Host // its scheme changes if the runtime falls back to plain HTTP

	checks []report.Check
	clocks []connect.ClockReading
	client *httpclient.Client // nil: the host was not reached
	others []connect.Machine  // other addresses of the host
}

func (k *connector) add(c report.Check) {
	c.Host = k.host.Name()
	k.checks = append(k.checks, c)
}

// connect returns the id of the check that blocks the path; empty if there is a
// connection.
func (k *connector) connect(ctx context.Context) (blockedBy string) {
	if blocked := k.blockedBeforeDial(); blocked != "" {
		return blocked
	}
	proxy, err := k.prober.Proxy.For(k.host.Scheme, k.host.Host)
	switch {
	case err != nil:
		blockedBy = report.DialID(k.host.Name(), "proxy")
		k.add(report.Check{
			ID: blockedBy, Kind: report.KindDial, Outcome: report.Fail, Cause: report.ProxyUnreachable,
			Summary: "the runtime refuses to use the proxy of its environment: HTTP_PROXY is set together with REQUEST_METHOD",
		})
		return blockedBy
	case proxy != nil:
		return k.byProxy(ctx, proxy)
	}
	return k.directly(ctx)
}

// blockedBeforeDial returns the id of the check that says why the host is not
// even resolved; empty if it is.
func (k *connector) blockedBeforeDial() string {
	name := k.host.Name()
	check := report.Check{ID: report.DialID(name), Kind: report.KindDial}
	_, port := k.host.Split()
	reason := k.prober.Denies(k.host)
	switch {
	case !validPort(port):
		check.Outcome, check.Cause = report.Fail, report.Undetermined
		check.Summary = strconv.Quote(readable.Clean(port, 20)) + " is not a port: the runtime cannot connect to " + name
	case reason != "":
		check.Outcome = report.Skipped
		check.Summary = "skipped: " + readable.Clean(name, 80) + " is " + string(reason)
		check.Evidence = evidence.Facts{report.KeyRefused: string(reason), report.KeyRuntimeWouldDial: report.True}.Checked()
	default:
		return ""
	}
	k.add(check)
	return check.ID
}

// directly connects without a proxy. It returns the id of the check that
// blocks the path; empty if it is open.
func (k *connector) directly(ctx context.Context) (blockedBy string) {
	r := k.prober.Reach(ctx, &k.host)
	k.model.forgiveStrictTLS(ctx, k.prober, r.Checks)
	k.checks = append(k.checks, r.Checks...)
	if variable := k.prober.Proxy.Ignored(k.host.Scheme); variable != "" {
		k.checks[0].Evidence = evidence.With(k.checks[0].Evidence, report.KeyProxyIgnored, variable)
		k.checks[0].Summary += "; the runtime ignores its " + variable + ", which is not a URL"
	}
	k.clocks = append(k.clocks, r.Clocks...)
	if r.BlockedBy == "" {
		k.client, k.others = httpclient.New(k.prober, k.host, r.Addr, k.budget), r.Others
		k.client.Reuse(r.Conn)
	}
	return r.BlockedBy
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// byProxy connects through the node's proxy, which resolves and dials the
// host. It returns the id of the check that blocks the path; empty if it is open.
func (k *connector) byProxy(ctx context.Context, proxy *url.URL) (blockedBy string) {
	name := k.host.Name()
	shown := readable.Clean(proxy.Scheme+"://"+proxy.Host, 100) // without its credentials
	k.add(report.Check{
		ID: report.DNSID(name), Kind: report.KindDNS, Outcome: report.Skipped,
		Summary:  "not resolved on this node: the runtime uses the proxy " + shown,
		Evidence: evidence.Facts{report.KeyProxy: shown}.Checked(),
	})

	k.client = httpclient.New(k.prober, k.host, netip.AddrPort{}, k.budget)
	check, conn := k.dialProxy(ctx, proxy, shown)
	k.add(check)
	switch {
	case check.Outcome != report.Pass:
		if check.Outcome == report.Skipped || k.host.Scheme == "https" {
			k.add(report.Check{
				ID: report.TLSID(name), Kind: report.KindTLS, Outcome: report.Skipped,
				Summary: "skipped: no connection", BlockedBy: check.ID,
			})
		}
		return check.ID
	case conn == nil:
		return "" // no tunnel to inspect: the first request shows what happens
	}
	defer conn.Close()
	if k.host.Scheme != "https" {
		return ""
	}
	h := k.prober.Handshake(ctx, k.host, conn, "proxy")
	if h.Clock != nil {
		k.clocks = append(k.clocks, *h.Clock)
	}
	h.Check.Evidence = evidence.With(h.Check.Evidence, report.KeyProxy, shown)
	k.askPlainHTTP(ctx, proxy, &h.Check)
	inTunnel := []report.Check{h.Check}
	k.model.forgiveStrictTLS(ctx, k.prober, inTunnel)
	h.Check = inTunnel[0]
	k.add(h.Check)
	if h.Check.Outcome != report.Pass {
		return h.Check.ID
	}
	return ""
}

// dialProxy is "dial/<host>/proxy". shown is the proxy for people.
func (k *connector) dialProxy(ctx context.Context, proxy *url.URL, shown string) (report.Check, net.Conn) {
	name := k.host.Name()
	check := report.Check{ID: report.DialID(name, "proxy"), Kind: report.KindDial, Target: shown}
	ctx, cancel := context.WithTimeout(ctx, k.prober.Limits.WithDefaults().Dial)
	defer cancel()
	start := time.Now()
	var conn net.Conn
	err := k.client.Blocked(k.host.Host, k.host.Scheme)
	if err == nil {
		conn, err = k.prober.Tunnel(ctx, k.host, proxy)
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
		f.Facts = connect.WithProxyFor(evidence.With(f.Facts, report.KeyProxy, shown), name)
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
func (k *connector) askPlainHTTP(ctx context.Context, proxy *url.URL, check *report.Check) {
	if check.Cause != report.PlainHTTPRegistry || k.client.Blocked(k.host.Host, k.host.Scheme) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, httpclient.QuestionTimeout)
	defer cancel()
	if conn, err := k.prober.Tunnel(ctx, k.host, proxy); err == nil && conn != nil {
		connect.AskPlainHTTP(ctx, k.host, conn, check)
	}
}
