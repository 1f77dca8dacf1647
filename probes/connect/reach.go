package connect

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Route is the direct path to a host.
type Route struct {
	Checks    []report.Check
	BlockedBy string         // id of the check that blocks the path; empty: it is open
	Addr      netip.AddrPort // that the runtime's dialer would use, if the path is open
	Conn      *IdleConn      // the connection to it, if it is kept
	Clocks    []ClockReading
	Others    []Machine // other addresses of an open path; at most maxElsewhere of either kind
}

// Machine is another address of a host than the one that the runtime's dialer would use.
type Machine struct {
	Addr   netip.AddrPort
	OnPath bool // the runtime's resolver gives it too, and TLS passes there
}

func (r *Route) add(h runtimeconfig.Host, c report.Check) {
	c.Host = h.Name()
	r.Checks = append(r.Checks, c)
}

// Reach resolves a host, dials every address and checks TLS there, without a
// proxy. The path is open if TLS passes at the address that the runtime's dialer
// would use. Reach changes h's scheme if the runtime falls back to plain HTTP.
func (p *Prober) Reach(ctx context.Context, h *runtimeconfig.Host) (r Route) {
	name, _ := h.Split()
	l := p.lookUp(ctx, h.Name(), name)
	defer func() { l.stop() }()
	ends, taken := p.dialAll(ctx, *h, l.addrs)
	if h.HTTPFallback && fallsBackToHTTP(ends, taken, *h) {
		// Another port, unless one is given; the same checks by plain HTTP.
		h.Scheme, h.HTTPFallback = "http", false
		if _, _, err := net.SplitHostPort(h.Host); err != nil {
			ends, taken = p.dialAll(ctx, *h, l.addrs)
		} else {
			for i := range ends {
				ends[i].good = ends[i].dial.Outcome == report.Pass
				if t := ends[i].tls; t != nil {
					t.Outcome, t.Cause = report.Skipped, ""
					t.Summary = "does not speak TLS; the runtime falls back to plain HTTP here"
				}
			}
		}
	}

	p.askAddress(ctx, *h, ends, taken)
	switch {
	case len(ends) == 0:
		r.BlockedBy = l.check.ID
	case taken < 0:
		r.BlockedBy = ends[reportedEnd(ends)].dial.ID
	case !ends[taken].good:
		r.BlockedBy = ends[taken].tls.ID
	default:
		r.Addr, r.Conn = ends[taken].addr, ends[taken].idle
	}
	l.compareWithDNS(ctx, p, name) // an address of the hosts file may be an old machine, which answers
	if r.BlockedBy != "" {
		if sibling := p.Sibling(ctx, name, l.check); sibling != "" {
			l.check.Evidence[report.KeySibling] = sibling
		}
	}
	resolvers := l.resolverChecks(ctx, h.Name(), name)
	if len(ends) == 0 {
		p.askOtherNames(ctx, l.decisive, resolvers)
	}
	r.add(*h, l.check)
	for _, c := range resolvers {
		r.add(*h, c)
	}
	if len(ends) == 0 {
		skipped := report.Check{Outcome: report.Skipped, BlockedBy: l.check.ID, Summary: "skipped: no address"}
		skipped.ID, skipped.Kind = report.DialID(h.Name()), report.KindDial
		r.add(*h, skipped)
		if h.Scheme == "https" {
			skipped.ID, skipped.Kind = report.TLSID(h.Name()), report.KindTLS
			r.add(*h, skipped)
		}
	}
	compareChains(ends)
	for _, e := range ends {
		r.add(*h, e.dial)
		if e.tls != nil {
			r.add(*h, *e.tls)
		}
		if e.clock != nil {
			r.Clocks = append(r.Clocks, *e.clock)
		}
	}
	if r.BlockedBy != "" {
		for _, c := range p.elsewhere(ctx, *h, l.alternatives) {
			r.add(*h, c)
		}
	} else {
		r.Others = p.otherAddresses(*h, ends, taken, l.alternatives)
	}
	return r
}

// otherAddresses returns up to maxElsewhere good addresses of a host beside the one in use,
// ends[taken], and up to maxElsewhere alternatives that may be contacted. Of the good ones,
// those of the other IP family come first: they are the likeliest to be forgotten.
func (p *Prober) otherAddresses(h runtimeconfig.Host, ends []endpoint, taken int, alternatives []alternative) (out []Machine) {
	v4 := func(a netip.AddrPort) bool { return a.Addr().Unmap().Is4() }
	for _, sameFamily := range []bool{false, true} {
		for i, e := range ends {
			if i != taken && e.good && v4(e.addr) == v4(ends[taken].addr) == sameFamily && len(out) < maxElsewhere {
				out = append(out, Machine{e.addr, true})
			}
		}
	}
	name, port := h.Split()
	for _, a := range alternatives[:min(len(alternatives), maxElsewhere)] {
		if p.Guard.Address(name, port, a.addr, p.LoopbackAllowed(h)) == "" {
			out = append(out, Machine{netip.AddrPortFrom(a.addr, ends[taken].addr.Port()), false})
		}
	}
	return out
}

// endpoint is one address of a host.
type endpoint struct {
	addr  netip.AddrPort
	dial  report.Check
	tls   *report.Check
	good  bool // all its checks passed
	peers []*x509.Certificate
	clock *ClockReading

	idle *IdleConn // kept if it is good
}

// IdleConn is a connection whose TLS check passed.
type IdleConn struct {
	Conn  net.Conn
	Since time.Time
}

// Close closes the connection; g may be nil.
func (g *IdleConn) Close() {
	if g != nil {
		g.Conn.Close()
	}
}

// dialAll dials all addresses, which are in dial order, and checks TLS at those
// that answer. It returns which of them the runtime's dialer would use; -1: none.
func (p *Prober) dialAll(ctx context.Context, h runtimeconfig.Host, addrs []netip.Addr) (ends []endpoint, taken int) {
	_, port := h.Split()
	number, _ := strconv.ParseUint(port, 10, 16) // validPort
	ends = make([]endpoint, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		e := &ends[i]
		e.addr = netip.AddrPortFrom(addr, uint16(number))
		wg.Go(func() { e.dialAndHandshake(ctx, p, h) })
	}
	wg.Wait()
	if len(ends) == 0 {
		return ends, -1
	}

	timeout := runtimeDialTimeout
	if h.DialTimeout > 0 {
		timeout = h.DialTimeout
	}
	tries := make([]attempted, len(ends))
	for i, e := range ends {
		tries[i] = attempted{
			v4: e.addr.Addr().Unmap().Is4(), connected: e.dial.Outcome == report.Pass,
			silent: e.dial.Evidence[report.KeyDeadline] != "", took: time.Duration(e.dial.Duration),
		}
	}
	taken, after := race(tries, timeout)
	for i := range ends {
		if i != taken {
			ends[i].idle.Close()
		}
	}
	if taken < 0 || len(ends) == 1 {
		return ends, taken
	}
	t := &ends[taken]
	t.dial.Evidence = evidence.With(t.dial.Evidence, report.KeyTaken, report.True)
	if after > time.Duration(t.dial.Duration) {
		// Slow, not broken: addresses before it do not answer.
		t.dial.Evidence[report.KeyAfterMs] = millis(after)
	}
	if t.tls != nil {
		t.tls.Evidence = evidence.With(t.tls.Evidence, report.KeyTaken, report.True)
		if !t.good {
			// The result depends on the order of the addresses, which may change.
			t.tls.Evidence[report.KeyGoodAddresses] = strings.Join(goodAddresses(ends), ", ")
			t.tls.Evidence = evidence.Facts(t.tls.Evidence).Checked()
		}
	}
	return ends, taken
}

func (e *endpoint) dialAndHandshake(ctx context.Context, p *Prober, h runtimeconfig.Host) {
	var conn net.Conn
	e.dial, conn = p.dial(ctx, h, e.addr)
	e.good = e.dial.Outcome == report.Pass
	switch {
	case e.good && h.Scheme == "https":
		g := p.Handshake(ctx, h, conn, e.addr.String())
		e.tls, e.good, e.peers, e.clock = &g.Check, g.Check.Outcome == report.Pass, g.peers, g.Clock
		if e.good && p.call != nil && p.call.keepConns {
			e.idle = &IdleConn{g.conn, time.Now()}
		} else {
			conn.Close()
		}
	case e.good:
		conn.Close()
	case h.Scheme == "https":
		e.tls = &report.Check{
			ID:        report.TLSID(h.Name(), e.addr.String()),
			Kind:      report.KindTLS,
			Target:    e.addr.String(),
			Outcome:   report.Skipped,
			Summary:   "skipped: no connection",
			BlockedBy: e.dial.ID,
		}
	}
}

func goodAddresses(ends []endpoint) (out []string) {
	for _, e := range ends {
		if e.good {
			out = append(out, e.addr.String())
		}
	}
	return out
}

// reportedEnd returns the index of the address whose error the runtime reports if
// none connects: the first one that was dialled here.
func reportedEnd(ends []endpoint) int {
	return max(0, slices.IndexFunc(ends, func(e endpoint) bool { return e.dial.Outcome != report.Skipped }))
}

// fallsBackToHTTP reports whether containerd would fall back to plain HTTP (its
// docker.NewHTTPFallback): the server answers TLS with HTTP or not at all, or the
// host has no port of its own and nothing listens.
func fallsBackToHTTP(ends []endpoint, taken int, h runtimeconfig.Host) bool {
	_, _, err := net.SplitHostPort(h.Host)
	switch {
	case len(ends) == 0:
		return false
	case taken < 0:
		cause := ends[reportedEnd(ends)].dial.Cause
		return err != nil && (cause == report.ConnectionRefused || cause == report.ConnectionTimeout)
	case ends[taken].good:
		return false
	}
	t := ends[taken].tls
	return t.Cause == report.PlainHTTPRegistry || t.Cause == report.TLSHandshakeFailed && t.Evidence[report.KeyDeadline] != ""
}

// maxElsewhere bounds the addresses off the runtime's path that are tried.
const maxElsewhere = 2

// elsewhere is "elsewhere/<host>/<address>": what is at the addresses that another
// resolver gives. It is off the runtime's path.
func (p *Prober) elsewhere(ctx context.Context, h runtimeconfig.Host, others []alternative) []report.Check {
	others = others[:min(len(others), maxElsewhere)]
	addrs := make([]netip.Addr, len(others))
	for i, o := range others {
		addrs[i] = o.addr
	}
	ends, _ := p.dialAll(ctx, h, addrs)
	var checks []report.Check
	for i, e := range ends {
		e.idle.Close()
		c := e.dial
		if e.tls != nil && c.Outcome == report.Pass {
			c = *e.tls
		}
		c.ID = report.ElsewhereID(h.Name(), e.addr.String())
		c.Evidence = evidence.With(c.Evidence, report.KeyResolver, others[i].resolver)
		delete(c.Evidence, report.KeyTaken)
		c.Summary = "at an address that only " + others[i].resolver + " gives: " + c.Summary
		checks = append(checks, c)
	}
	return checks
}
