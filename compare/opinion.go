package compare

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// Request asks what other nodes see of a host that one node does not get through to.
type Request struct {
	Node  string
	Host  string
	Cause report.Cause // with which it fails
	Since time.Time    // from when on; zero: as its facts say, or else since now
}

// Opinion is what the other nodes see. It has evidence and no verdict: that is for the node
// that asks.
type Opinion struct {
	Host      string  `json:"host"`
	Asked     int     `json:"asked"`               // other nodes with an observation that counts
	Reached   int     `json:"reached"`             // of these
	Failed    int     `json:"failed"`              // of these
	How       []Count `json:"how,omitempty"`       // with what those fail
	Which     Names   `json:"which"`               // that get through
	Failing   Names   `json:"failing"`             // that do not
	SetsApart []Share `json:"setsApart,omitempty"` // what those that fail as this node does have, it included, and no other
	Neither   []Aside `json:"neither,omitempty"`   // whose observation does not count, and why
	// Rivals are what else would seem the same where no node gets through, or [None]; empty if
	// that is not known.
	Rivals []string `json:"rivals,omitempty"`
	// SeesAnother are the traits ([TraitCertificate], [TraitIssuer]) in which what the node that asks
	// sees differs from what those that get through agree on.
	SeesAnother []string `json:"seesAnother,omitempty"`
	// Again is from when on the node that asks should check once more: others got through only
	// after it did, so that it may be through as well by now. It is zero if that is not needed.
	Again time.Time     `json:"again,omitzero"`
	Age   report.Millis `json:"ageMs"` // of the oldest observation that counts
}

// SecondOpinions returns, for each request, what nodes other than the one that asks see of
// the host, by observations that are fresh and were made since it began to fail.
func SecondOpinions(in Input, requests ...Request) []Opinion {
	c := allRules().comparison(in)
	byHost, counted := c.byHost(), map[string]sorted{}
	var out []Opinion
	for _, r := range requests {
		s, ok := counted[r.Host]
		if !ok {
			s = c.sortOut(byHost[r.Host])
			counted[r.Host] = s
		}
		out = append(out, c.opinion(r, s.without(r.Node)))
	}
	return out
}

// without returns the observations of all other nodes.
func (s sorted) without(node string) sorted {
	others := func(list []*observation) []*observation {
		return slices.DeleteFunc(slices.Clone(list), func(o *observation) bool { return o.node.Name == node })
	}
	out := sorted{good: others(s.good), bad: others(s.bad)}
	for _, e := range s.notCounted {
		if e.observations = others(e.observations); len(e.observations) > 0 {
			out.notCounted = append(out.notCounted, e)
		}
	}
	return out
}

// opinion returns what others see by their observations.
func (c *comparison) opinion(r Request, s sorted) Opinion {
	asker := c.asker(r)
	g := &group{name: r.Host, failing: []*observation{asker}, skewed: c.skewed, cluster: len(c.Nodes)}
	for _, o := range s.good { // what they saw before or after says nothing about its failure
		g.place(o)
	}
	for _, o := range s.bad {
		if class(o.cause) == class(asker.cause) {
			g.failing = append(g.failing, o)
		} else {
			g.others = append(g.others, o)
		}
	}
	out := Opinion{
		Host: clean(r.Host), Asked: len(g.through) + len(s.bad), Reached: len(g.through), Failed: len(s.bad), How: causesOf(s.bad),
		Which: namesOf(g.through), Failing: namesOf(s.bad), SetsApart: g.setsApart(), Neither: g.asides(s),
	}
	for _, o := range slices.Concat(g.through, s.bad) {
		out.Age = max(out.Age, report.Millis(c.Now.Sub(o.checked)))
	}
	if out.Reached == 0 && out.Failed >= minOthers {
		out.Rivals = c.rivals(g, s)
	}
	out.SeesAnother = g.seesAnother()
	out.Again = c.again(r, g.through)
	return out
}

// None is the only rival where there are none.
const None = none

// rivals returns what else would seem the same where no node gets through.
func (c *comparison) rivals(g *group, s sorted) []string {
	f := c.hostFinding(g, s)
	if len(f.Rivals)+len(f.WouldDecide) == 0 {
		return []string{None}
	}
	return f.Rivals
}

// seesAnother returns the traits in which what the failing nodes see differs from what those that
// get through agree on.
func (g *group) seesAnother() []string {
	var out []string
	if len(g.through) < minOthers {
		return nil
	}
	for _, t := range []trait{{TraitCertificate, certificateOf}, {TraitIssuer, issuerOf}} {
		theirs := union(t.of, g.through)
		if agree(t.of, g.through) && g.all(func(o *observation) bool { return disjoint(t.of(o), theirs) }) {
			out = append(out, t.name)
		}
	}
	return out
}

// again returns from when on the node that asks should check once more: since enough others
// get through, if it has not checked since.
func (c *comparison) again(r Request, through []*observation) time.Time {
	i := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.Name == r.Node })
	if i < 0 || c.Nodes[i].Facts == nil {
		return time.Time{}
	}
	h, ok := c.Nodes[i].Facts.Host(r.Host)
	if !ok || !h.State.Bad() {
		return time.Time{}
	}
	own := observe(&c.Nodes[i], h, c.skewed[r.Node])
	var since []time.Time
	for _, o := range through {
		if o.since.After(own.checked) {
			since = append(since, o.since)
		}
	}
	if len(since) == 0 || len(through)-len(since) >= minOthers {
		return time.Time{}
	}
	slices.SortFunc(since, time.Time.Compare)
	return since[min(len(since), minOthers)-1]
}

// asker returns the observation of the node that asks. It is not in its facts if the host is
// in no sweep, or if the failure is newer.
func (c *comparison) asker(r Request) *observation {
	n := &Node{Name: r.Node, Facts: &nodefacts.Facts{}}
	if i := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.Name == r.Node }); i >= 0 {
		known := c.Nodes[i]
		n.Traits = known.Traits
		if known.Facts != nil {
			n.Facts = known.Facts
		}
	}
	o := &observation{node: n, host: nodefacts.Host{Name: r.Host}, since: r.Since}
	if h, ok := n.Facts.Host(r.Host); ok {
		o = observe(n, h, c.skewed[n.Name])
		if !r.Since.IsZero() || !o.bad {
			o.since = r.Since
		}
	}
	if o.since.IsZero() {
		o.since = c.Now
	}
	o.good, o.bad, o.cause, o.checked = false, true, cmp.Or(r.Cause, o.cause, report.Undetermined), c.Now
	return o
}

// unlikeBy are the traits by which nodes are chosen, the one of most weight first.
var unlikeBy = []string{TraitSubnet, TraitZone, TraitPool}

// Unlike returns up to so many nodes that a node's request for a second opinion goes to:
// those that resemble it and each other least, in subnet, zone and pool. Nodes that have
// the host in their own sweep come first among equals: they may contact it. Nodes without
// facts and nodes that reach nothing are not chosen.
func Unlike(asker Node, nodes []Node, host string, many int) []string {
	candidates := slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool {
		return n.Name == asker.Name || n.Facts == nil || n.Facts.CutOff()
	})
	// Among equals each asker gets others, so that not all ask the same few.
	spread := func(n Node) uint64 {
		h := fnv.New64a()
		h.Write([]byte(asker.Name + "\x00" + host + "\x00" + n.Name))
		return h.Sum64()
	}
	slices.SortFunc(candidates, func(a, b Node) int { return cmp.Or(cmp.Compare(spread(a), spread(b)), strings.Compare(a.Name, b.Name)) })
	chosen := []Node{asker}
	for len(chosen) <= many && len(candidates) > 0 {
		best, most := 0, -1
		for i, n := range candidates {
			if d := distance(n, chosen); d > most || d == most && knows(n, host) && !knows(candidates[best], host) {
				best, most = i, d
			}
		}
		chosen = append(chosen, candidates[best])
		candidates = slices.Delete(candidates, best, best+1)
	}
	var names []string
	for _, n := range chosen[1:] {
		names = append(names, n.Name)
	}
	return names
}

// distance returns how little a node resembles those that are chosen; most of all the one
// that asks, which is the first of them.
func distance(n Node, chosen []Node) int {
	d := 0
	for i, c := range chosen {
		for j, t := range unlikeBy {
			if n.Traits[t] != c.Traits[t] {
				weight := len(unlikeBy) - j
				if i == 0 {
					weight *= 10
				}
				d += weight
			}
		}
	}
	return d
}

func knows(n Node, host string) bool {
	_, ok := n.Facts.Host(host)
	return ok
}
