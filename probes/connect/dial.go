package connect

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// dial connects to one address of a host and returns the check; the connection is
// nil unless the check passed. No name is resolved again between the guard and the
// connection.
func (p *Prober) dial(ctx context.Context, h runtimeconfig.Host, addr netip.AddrPort) (report.Check, net.Conn) {
	check := report.Check{
		ID:     report.DialID(h.Name(), addr.String()),
		Kind:   report.KindDial,
		Host:   h.Name(),
		Target: addr.String(),
	}
	name, port := h.Split()
	if reason := p.Guard.Address(name, port, addr.Addr(), p.LoopbackAllowed(h)); reason != "" {
		check.Outcome = report.Skipped
		check.Summary = "not dialled: " + addr.Addr().String() + " is " + string(reason)
		if !reason.Configured() {
			check.Summary += ", which pullprobe does not contact for images"
		}
		check.Evidence = evidence.Facts{report.KeyRefused: string(reason), report.KeyRuntimeWouldDial: report.True}.Checked()
		return check, nil
	}
	limit := p.Limits.WithDefaults().Dial
	own := h.DialTimeout <= 0 || h.DialTimeout > limit
	if !own {
		limit = h.DialTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		f := Classify(MarkUnfinished(ctx, err), took, report.ConnectionTimeout)
		if !own && !f.Unfinished {
			delete(f.Facts, report.KeyDeadline) // hosts.toml sets it: the runtime waits no longer
		}
		if f.Cause == report.NetworkUnreachable {
			f.Facts = evidence.With(f.Facts, report.KeyLocalRoute, localRoute(addr))
			if only := onlyFamily(addr.Addr(), sourceOf); only != "" && f.Facts[report.KeyLocalRoute] == "none" {
				f.Facts[report.KeyOnlyFamily] = only
				f.Message += ": this node has a default route for " + only + " only"
			}
		}
		f.Apply(&check, "cannot connect to "+addr.String()+": ")
		return check, nil
	}
	check.Outcome = report.Pass
	check.Summary = "connected to " + addr.String()
	return check, conn
}

// LoopbackAllowed reports whether a loopback address, or another address of the
// node itself, is a valid target for h: the node's own configuration names it, or
// the image names localhost or that address.
func (p *Prober) LoopbackAllowed(h runtimeconfig.Host) bool {
	name, _ := h.Split()
	return p.Guard.Loopback || h.Configured || !h.Foreign && (runtimeconfig.IsLocalhost(h.Host) || p.Guard.Owns(name))
}

// Denies returns the reason if the setting deny forbids h by its name, so that it
// is not even resolved; empty if it does not.
func (p *Prober) Denies(h runtimeconfig.Host) guard.Reason {
	return p.Guard.DeniesName(h.Split())
}

// receiveBuffer is the receive buffer of a connection; the kernel doubles it.
const receiveBuffer = 16 << 10

// NewDialer returns a dialer for connections with a small receive window. A server
// that answers a request for one byte with a whole layer must not have sent
// megabytes before the connection is closed.
func NewDialer() *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			// An optimisation: an error does not matter.
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
		})
	}}
}

// ProxyAddress returns host and port of a proxy, with the scheme's port if it has
// none, as net/http does.
func ProxyAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// DialName resolves target as the runtime would and connects to the first of its
// addresses that answers and that the guard permits. The guard is nil for what the
// node itself names.
func (p *Prober) DialName(ctx context.Context, target string, g *guard.Guard) (net.Conn, error) {
	name, port, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	l := p.lookUp(ctx, name, name)
	l.stop()
	if len(l.addrs) == 0 {
		return nil, &lookupError{l.check}
	}
	var firstErr error
	for i, addr := range l.addrs {
		conn, err := dialShare(ctx, g, name, port, addr, len(l.addrs)-i)
		if err == nil {
			return conn, nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return nil, firstErr
}

// dialShare connects to the first of n addresses that are left, within its share
// of the time.
func dialShare(ctx context.Context, g *guard.Guard, name, port string, addr netip.Addr, n int) (net.Conn, error) {
	if g != nil {
		if reason := g.Address(name, port, addr, false); reason != "" {
			return nil, &BlockedError{Reason: addr.String() + " is " + string(reason)}
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
		defer cancel()
	}
	return NewDialer().DialContext(ctx, "tcp", net.JoinHostPort(addr.String(), port))
}
