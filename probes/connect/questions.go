package connect

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// questionTimeout bounds a DNS query that only distinguishes a cause from its rivals.
const questionTimeout = 400 * time.Millisecond

// Sibling returns what a random name beside a host resolves to, at the resolver that
// gave the host's addresses: "same" addresses (a wildcard record), "other" ones, or
// "none". It is empty if that is unknown. lookup is the host's check "dns/<host>".
func (p *Prober) Sibling(ctx context.Context, name string, lookup report.Check) string {
	if lookup.Outcome != report.Pass || lookup.Evidence[report.KeyFrom] != "dns" || p.Resolv == nil {
		return ""
	}
	server, err := netip.ParseAddrPort(lookup.Evidence[report.KeyResolver])
	if err != nil {
		return ""
	}
	full := view.Rooted(name)
	if found := lookup.Evidence[report.KeyName]; found != "" {
		full = found // by the search list
	}
	_, parent, ok := strings.Cut(full, ".")
	if !ok || strings.Trim(parent, ".") == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	qtype := dns.TypeA
	if !strings.Contains(lookup.Evidence[report.KeyAddresses], ".") {
		qtype = dns.TypeAAAA
	}
	a := askResolver(ctx, server, strings.ToLower(rand.Text()[:14])+"."+parent, qtype, p.Resolv.TCP)
	switch a.finding {
	case absent, empty:
		return "none"
	case present:
		have := strings.Split(lookup.Evidence[report.KeyAddresses], ", ")
		if slices.ContainsFunc(a.addrs, func(x netip.Addr) bool { return slices.Contains(have, x.String()) }) {
			return "same"
		}
		return "other"
	}
	return ""
}

// answersRoot asks a resolver that failed for a name for the name servers of the root zone,
// which every resolver for clients has. It returns "answers", for NXDOMAIN too, or "fails".
func (p *Prober) answersRoot(ctx context.Context, server netip.AddrPort) string {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	a := askResolver(ctx, server, ".", dns.TypeNS, p.Resolv.TCP)
	if a.finding.final() {
		return "answers"
	}
	return "fails"
}

// askOtherNames adds to the checks of resolvers that failed for a host's name whether
// they work for another name. The checks are in the order of the query's resolvers; q
// may be nil.
func (p *Prober) askOtherNames(ctx context.Context, q *query, resolvers []report.Check) {
	if q == nil || len(resolvers) != len(q.servers) {
		return
	}
	var wg sync.WaitGroup
	for i := range resolvers {
		c := &resolvers[i]
		if c.Cause != report.ResolverFailed && c.Cause != report.ResolverUnreachable {
			continue
		}
		wg.Go(func() { c.Evidence = evidence.With(c.Evidence, report.KeyOtherName, p.answersRoot(ctx, q.servers[i])) })
	}
	wg.Wait()
}

// localRoute returns whether this node has a route to an address: "exists" or "none". A
// datagram socket looks up the route when it is connected, and sends nothing. An error
// "unreachable" in spite of a route was reported by a router, or by a neighbour's silence.
func localRoute(addr netip.AddrPort) string {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return "none"
	}
	conn.Close()
	return "exists"
}

// onlyFamily returns the one address family that this node has a default route for, IPv4 or
// IPv6, if an address is of the other; else nothing. source returns the source address of
// packets to an address; invalid: there is no route.
func onlyFamily(addr netip.Addr, source func(netip.Addr) netip.Addr) string {
	// Networks for documentation (RFC 5737, RFC 3849): only a default route leads there.
	v4 := source(netip.AddrFrom4([4]byte{192, 0, 2, 1})).IsValid()
	v6 := source(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})).IsValid()
	switch is4 := addr.Unmap().Is4(); {
	case is4 && !v4 && v6:
		return "IPv6"
	case !is4 && v4 && !v6:
		return "IPv4"
	}
	return ""
}
