package probes

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// dial connects to one address of a host and says how that went; the
// connection is nil unless the check passed. The address is dialled as it is:
// no name is resolved again between the guard and the connection.
func (p *Prober) dial(ctx context.Context, h host, addr netip.AddrPort) (report.Check, net.Conn) {
	check := report.Check{
		ID: "dial/" + h.name() + "/" + addr.String(), Kind: report.KindDial,
		Host: h.name(), Target: addr.String(),
	}
	name, port := h.split()
	if reason := p.Guard.address(name, port, addr.Addr(), p.loopbackFor(h)); reason != "" {
		check.Outcome = report.Skipped
		check.Summary = "not dialled: " + addr.Addr().String() + " is " + string(reason)
		if !reason.configured() {
			check.Summary += ", which pullprobe does not ask for images"
		}
		check.Evidence = evidence{"refused": string(reason), "runtimeWouldDial": "true"}.checked()
		return check, nil
	}
	limit := p.Limits.withDefaults().Dial
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
		f := netFault(unfinished(ctx, err), took, report.ConnectionTimeout)
		if !own && !f.unfinished {
			delete(f.facts, "deadline") // hosts.toml sets it: the runtime waits no longer
		}
		f.settle(&check, "cannot connect to "+addr.String()+": ")
		return check, nil
	}
	check.Outcome = report.Pass
	check.Summary = "connected to " + addr.String()
	return check, conn
}

// loopbackFor says whether a loopback address, or another one of the node
// itself, is a fair target for h: the node's own configuration names it, or the
// image asks for localhost or for that address.
func (p *Prober) loopbackFor(h host) bool {
	name, _ := h.split()
	return p.Guard.Loopback || h.configured || !h.foreign && (isLocalhost(h.Host) || p.Guard.owns(name))
}

// refusesName says why the configuration forbids h by its name, so that it is
// not even resolved; empty if it does not.
func (p *Prober) refusesName(h host) Reason {
	return p.Guard.deniesName(h.split())
}

// receiveBuffer is that of a connection; the kernel takes twice as much.
const receiveBuffer = 16 << 10

// smallWindow dials connections that let the other side send no more than
// little ahead of what is read: a server that answers with a whole layer where
// one byte was asked for must not have sent megabytes by the time it is cut off.
func smallWindow() *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			// An optimisation: what it returns does not matter.
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
		})
	}}
}

// proxyAddress is host and port of a proxy, with the scheme's port if it names
// none, as net/http takes it.
func proxyAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// dialName resolves target as the runtime would and connects to the first of
// its addresses that answers and that the guard lets through; it is nil for what
// the node itself names.
func (p *Prober) dialName(ctx context.Context, target string, guard *Guard) (net.Conn, error) {
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
		var reason Reason
		if guard != nil {
			reason = guard.address(name, port, addr, false)
		}
		if reason != "" {
			err = &refusedError{reason: addr.String() + " is " + string(reason)}
		} else {
			// Every address gets its share of the time that is left.
			share := ctx
			if deadline, ok := ctx.Deadline(); ok {
				var cancel context.CancelFunc
				share, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(l.addrs)-i))
				defer cancel()
			}
			var conn net.Conn
			if conn, err = smallWindow().DialContext(share, "tcp", net.JoinHostPort(addr.String(), port)); err == nil {
				return conn, nil
			}
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return nil, firstErr
}
