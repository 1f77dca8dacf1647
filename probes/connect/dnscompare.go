package connect

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// This file finds what contradicts the result of the runtime's resolver: the answer
// of another resolver, and the name without the search list.

// compareResolvers notes whether the final answers of the resolvers have no address
// in common, and which addresses the others give. All answers must be complete.
func (l *lookup) compareResolvers() {
	q := l.decisive
	var first []netip.Addr // of the resolver that the others are compared with
	final, disjoint := 0, false
	var rest []alternative
	for i, a := range q.answers {
		addrs, known := a.addresses()
		if !known {
			continue
		}
		if final++; final == 1 {
			first = addrs
		}
		same := len(addrs) == 0 && len(first) == 0 ||
			slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(first, a) })
		disjoint = disjoint || !same
		if !same {
			for _, a := range addrs {
				rest = append(rest, alternative{a, q.servers[i].String()})
			}
		}
	}
	if disjoint {
		l.check.Evidence = evidence.With(l.check.Evidence, report.KeyDisagree, report.True)
	}
	l.addAlternatives(rest)
}

// addAlternatives keeps the addresses that the runtime would not use.
func (l *lookup) addAlternatives(others []alternative) {
	for _, o := range others {
		known := slices.ContainsFunc(l.alternatives, func(have alternative) bool { return have.addr == o.addr })
		if !slices.Contains(l.addrs, o.addr) && !known {
			l.alternatives = append(l.alternatives, o)
		}
	}
}

// answers are those of one resolver, for all record types.
type answers [len(questions)]pendingAnswer

// addresses returns those of a resolver; known is false if no answer is final.
func (r answers) addresses() (addrs []netip.Addr, known bool) {
	for _, c := range r {
		known = known || c.class.final()
		addrs = append(addrs, c.addrs...)
	}
	return addrs, known
}

// checkSearchList notes what contradicts a name that was found only through the
// search list: the result for the absolute name (absolute, if it was queried
// already), and whether that search domain has an answer for any name. It queries
// only names with a dot: others are meant to be searched.
func (l *lookup) checkSearchList(ctx context.Context, p *Prober, name string, absolute *query) {
	if !strings.Contains(strings.Trim(name, "."), ".") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, shortGrace)
	defer cancel()
	if absolute == nil {
		absolute = p.query(ctx, view.Rooted(name))
	}
	suffix := strings.TrimPrefix(l.decisive.name, view.Rooted(name))
	random := p.query(ctx, strings.ToLower(rand.Text())[:12]+"."+suffix)
	defer random.stop()

	i, a := absolute.first(0)
	addrs, _ := absolute.result()
	l.check.Evidence = evidence.With(l.check.Evidence, report.KeyAsIs, cmp.Or(joinAddrs(addrs), a.label()))
	var rest []alternative
	for _, addr := range addrs {
		rest = append(rest, alternative{addr, absolute.servers[i].String()})
	}
	l.addAlternatives(rest)

	if addrs, _ = random.result(); len(addrs) > 0 {
		l.check.Evidence[report.KeyWildcard] = report.True
	} else if _, a = random.first(0); a.class.final() {
		l.check.Evidence[report.KeyWildcard] = "false"
	}
}

// compareWithDNS queries the resolvers for a name that is in the hosts file.
func (l *lookup) compareWithDNS(ctx context.Context, p *Prober, name string) {
	if l.decisive != nil || l.check.Evidence[report.KeyFrom] != "hosts" || p.Resolv == nil || p.Lookup.NoDNS {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, resolverGrace+shortGrace)
	l.stop()
	l.cancel = cancel
	other := p.lookUpDNS(ctx, name)
	if l.decisive = other.decisive; l.decisive == nil {
		return
	}
	found := cmp.Or(other.check.Evidence[report.KeyAddresses], other.check.Evidence[report.KeyRcode])
	if found == "" {
		return // no resolver answered
	}
	l.check.Evidence[report.KeyDNSSays] = found
	var rest []alternative
	for _, a := range other.addrs {
		rest = append(rest, alternative{a, other.check.Evidence[report.KeyResolver]})
	}
	if !slices.ContainsFunc(other.addrs, func(a netip.Addr) bool { return slices.Contains(l.addrs, a) }) {
		l.check.Evidence[report.KeyDisagree] = report.True
		l.addAlternatives(rest)
	}
}
