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
)

// What there is to say against the answer that the runtime comes to: another
// resolver's answer, and what the name means without the search list.

// compare notes whether the resolvers' final answers have nothing in common,
// and which addresses the others give. All of them must have been waited for.
func (l *lookup) compareResolvers() {
	q := l.decisive
	var said []netip.Addr // of the resolver that the comparison starts from
	final, disjoint := 0, false
	var rest []alternative
	for i, row := range q.answers {
		addrs, known := row.addresses()
		if !known {
			continue
		}
		if final++; final == 1 {
			said = addrs
		}
		same := len(addrs) == 0 && len(said) == 0 ||
			slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(said, a) })
		disjoint = disjoint || !same
		if !same {
			for _, a := range addrs {
				rest = append(rest, alternative{a, q.servers[i].String()})
			}
		}
	}
	if disjoint {
		l.check.Evidence = evidence.With(l.check.Evidence, "disagree", "true")
	}
	l.addAlternatives(rest)
}

// hear keeps the addresses that the runtime would not come to.
func (l *lookup) addAlternatives(said []alternative) {
	for _, h := range said {
		if !slices.Contains(l.addrs, h.addr) && !slices.ContainsFunc(l.alternatives, func(o alternative) bool { return o.addr == h.addr }) {
			l.alternatives = append(l.alternatives, h)
		}
	}
}

// row is what one resolver says to all questions.
type answers [len(questions)]pendingAnswer

// addresses are those that a resolver gives; known if it gave any final answer.
func (r answers) addresses() (addrs []netip.Addr, known bool) {
	for _, c := range r {
		known = known || c.finding.final()
		addrs = append(addrs, c.addrs...)
	}
	return addrs, known
}

// searched notes what stands against a name that was found through the search
// list only: what it is by itself (asIs, if that was asked already), and
// whether that search domain answers to any name at all. It is asked for names
// with a dot only: those without one are meant to be searched.
func (l *lookup) checkSearchList(ctx context.Context, p *Prober, name string, asIs *query) {
	if !strings.Contains(strings.Trim(name, "."), ".") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, shortGrace)
	defer cancel()
	if asIs == nil {
		asIs = p.query(ctx, view.Rooted(name))
	}
	suffix := strings.TrimPrefix(l.decisive.name, view.Rooted(name))
	any := p.query(ctx, strings.ToLower(rand.Text())[:12]+"."+suffix)

	i, a := asIs.first(0)
	addrs, _ := asIs.result()
	l.check.Evidence = evidence.With(l.check.Evidence, "asIs", cmp.Or(joinAddrs(addrs), a.label()))
	var rest []alternative
	for _, addr := range addrs {
		rest = append(rest, alternative{addr, asIs.servers[i].String()})
	}
	l.addAlternatives(rest)

	if addrs, _ = any.result(); len(addrs) > 0 {
		l.check.Evidence["wildcard"] = "true"
	} else if _, a = any.first(0); a.finding.final() {
		l.check.Evidence["wildcard"] = "false"
	}
	any.stop()
}

// secondOpinion asks the resolvers for a name that the hosts file answered.
func (l *lookup) compareWithDNS(ctx context.Context, p *Prober, name string) {
	if l.decisive != nil || l.check.Evidence["from"] != "hosts" || p.Resolv == nil || p.Lookup.NoDNS {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, resolverGrace+shortGrace)
	l.stop()
	l.cancel = cancel
	other := p.lookUpDNS(ctx, name)
	if l.decisive = other.decisive; l.decisive == nil {
		return
	}
	says := cmp.Or(other.check.Evidence["addresses"], other.check.Evidence["rcode"])
	if says == "" {
		return // nobody answered
	}
	l.check.Evidence["dnsSays"] = says
	var rest []alternative
	for _, a := range other.addrs {
		rest = append(rest, alternative{a, other.check.Evidence["resolver"]})
	}
	if !slices.ContainsFunc(other.addrs, func(a netip.Addr) bool { return slices.Contains(l.addrs, a) }) {
		l.check.Evidence["disagree"] = "true"
		l.addAlternatives(rest)
	}
}
