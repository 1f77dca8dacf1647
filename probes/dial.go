package probes

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// dial connects to one address of a host and says how that went; the
// connection is nil unless the check passed. The address is dialled as it is:
// no name is resolved again between the guard and the connection.
func (n *Node) dial(ctx context.Context, h host, addr netip.AddrPort) (report.Check, net.Conn) {
	check := report.Check{
		ID: "dial/" + h.name() + "/" + addr.String(), Kind: report.KindDial,
		Host: h.name(), Target: addr.String(),
	}
	name, port := h.split()
	if reason := n.Guard.address(name, port, addr.Addr(), n.loopbackFor(h)); reason != "" {
		check.Outcome = report.Skipped
		check.Summary = "not dialled: " + addr.Addr().String() + " is " + reason
		if !strings.HasPrefix(reason, denied) {
			check.Summary += ", which pullprobe does not ask for images"
		}
		check.Evidence = evidence{"refused": reason, "runtimeWouldDial": "true"}.checked()
		return check, nil
	}
	limit := n.Limits.withDefaults().Dial
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
func (n *Node) loopbackFor(h host) bool {
	name, _ := h.split()
	a, ok := literal(name)
	return n.Guard.Loopback || h.configured || !h.foreign && (isLocalhost(h.Host) || ok && n.Guard.owns(a))
}

// refusesName says why the configuration forbids h by its name, so that it is
// not even resolved; empty if it does not.
func (n *Node) refusesName(h host) string {
	name, port := h.split()
	if a, ok := literal(name); ok {
		return n.Guard.denies(name, port, a, embedded(a))
	}
	return n.Guard.denies(name, port)
}
