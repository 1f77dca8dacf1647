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
func (l *lookup) compare() {
	q := l.own
	var said []netip.Addr // of the resolver that the comparison starts from
	final, disjoint := 0, false
	var rest []hearsay
	for i, row := range q.cells {
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
				rest = append(rest, hearsay{a, q.servers[i].String()})
			}
		}
	}
	if disjoint {
		l.check.Evidence = evidence.With(l.check.Evidence, "disagree", "true")
	}
	l.hear(rest)
}

// hear keeps the addresses that the runtime would not come to.
func (l *lookup) hear(said []hearsay) {
	for _, h := range said {
		if !slices.Contains(l.addrs, h.addr) && !slices.ContainsFunc(l.others, func(o hearsay) bool { return o.addr == h.addr }) {
			l.others = append(l.others, h)
		}
	}
}

// row is what one resolver says to all questions.
type row [len(questions)]cell

// addresses are those that a resolver gives; known if it gave any final answer.
func (r row) addresses() (addrs []netip.Addr, known bool) {
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
func (l *lookup) searched(ctx context.Context, p *Prober, name string, asIs *inquiry) {
	if !strings.Contains(strings.Trim(name, "."), ".") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lessPatience)
	defer cancel()
	if asIs == nil {
		asIs = p.inquire(ctx, view.Rooted(name))
	}
	suffix := strings.TrimPrefix(l.own.name, view.Rooted(name))
	any := p.inquire(ctx, strings.ToLower(rand.Text())[:12]+"."+suffix)

	i, a := asIs.first(0)
	addrs, _ := asIs.settle()
	l.check.Evidence = evidence.With(l.check.Evidence, "asIs", cmp.Or(joinAddrs(addrs), a.word()))
	var rest []hearsay
	for _, addr := range addrs {
		rest = append(rest, hearsay{addr, asIs.servers[i].String()})
	}
	l.hear(rest)

	if addrs, _ = any.settle(); len(addrs) > 0 {
		l.check.Evidence["wildcard"] = "true"
	} else if _, a = any.first(0); a.finding.final() {
		l.check.Evidence["wildcard"] = "false"
	}
	any.stop()
}

// secondOpinion asks the resolvers for a name that the hosts file answered.
func (l *lookup) secondOpinion(ctx context.Context, p *Prober, name string) {
	if l.own != nil || l.check.Evidence["from"] != "hosts" || p.Resolv == nil || p.Lookup.NoDNS {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience+lessPatience)
	l.stop()
	l.cancel = cancel
	other := p.lookUpDNS(ctx, name)
	if l.own = other.own; l.own == nil {
		return
	}
	says := cmp.Or(other.check.Evidence["addresses"], other.check.Evidence["rcode"])
	if says == "" {
		return // nobody answered
	}
	l.check.Evidence["dnsSays"] = says
	var rest []hearsay
	for _, a := range other.addrs {
		rest = append(rest, hearsay{a, other.check.Evidence["resolver"]})
	}
	if !slices.ContainsFunc(other.addrs, func(a netip.Addr) bool { return slices.Contains(l.addrs, a) }) {
		l.check.Evidence["disagree"] = "true"
		l.hear(rest)
	}
}
