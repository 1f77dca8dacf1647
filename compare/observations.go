package compare

import (
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// Node is a node that exists, with what it says.
type Node struct {
	Name   string
	Traits Traits           // of its Node object; nil: not known
	Facts  *nodefacts.Facts // nil: it has no report, or one that cannot be read
}

// Input is what nodes are compared by.
type Input struct {
	Now    time.Time
	MaxAge time.Duration // an older observation does not count, unless the node's facts say more, up to [maxFresh]
	Nodes  []Node        // those that exist; what others report is not here
	// Asked has, by host, the nodes that were asked to check it because others fail. They did not
	// fail when they were chosen, so they are a sample of those that may get through.
	Asked map[string]map[string]bool
}

// observation is how one node saw one host, or one image.
type observation struct {
	node    *Node
	host    nodefacts.Host
	image   nodefacts.Image
	good    bool
	bad     bool         // neither: it found nothing out
	cause   report.Cause // of a bad one
	since   time.Time    // from when on it was so; not before the node noticed
	checked time.Time    // until when
}

// maxFresh is the longest time that a node may say for its observations: a heartbeat and
// a sweep interval of half an hour.
const maxFresh = time.Hour

// countRule says which observations do not count.
type countRule struct {
	id       string
	why      string // shown to people
	excludes func(*observation, Input) bool
}

// clockTolerance is how far an observation may be in the future.
const clockTolerance = 2 * time.Minute

// countRules returns the rules by which an observation does not count.
func countRules() []countRule {
	return []countRule{
		{"cut-off", "reached nothing at all", func(o *observation, _ Input) bool { return o.node.Facts.CutOff() }},
		{"stale", "checked too long ago", func(o *observation, in Input) bool {
			fresh := time.Duration(o.node.Facts.Fresh) * time.Second
			return in.Now.Sub(o.checked) > max(in.MaxAge, min(fresh, maxFresh))
		}},
		{"future", "checked at a time in the future", func(o *observation, in Input) bool { return o.checked.Sub(in.Now) > clockTolerance }},
		{"unknown", "could not check", func(o *observation, _ Input) bool { return !o.good && !o.bad }},
	}
}

// observe returns a node's observation of a host. Its times are by the clock that most nodes agree
// on.
func observe(n *Node, h nodefacts.Host, skew time.Duration) *observation {
	o := &observation{
		node: n, host: h, cause: h.Cause,
		good: h.State == report.Reachable, bad: h.State.Bad(),
		checked: h.Checked.Time().Add(-skew), since: h.Since.Time().Add(-skew),
	}
	if h.Since == 0 {
		o.since = o.checked
	}
	return o
}

// observeImage returns a node's observation of an image.
func observeImage(n *Node, i nodefacts.Image, skew time.Duration) *observation {
	at := i.Checked.Time().Add(-skew)
	return &observation{node: n, image: i, cause: i.Cause, good: i.Good(), bad: !i.Good(), checked: at, since: at}
}

// forbids reports whether the host answered 403 to GET /v2/. Some registries always do:
// it is a failure only where others get another answer.
func (o *observation) forbids() bool { return o.good && o.host.Status == 403 }

// lacksFamily reports whether the node has no route to the host, as it has no address of the
// family of any of the host's addresses.
func (o *observation) lacksFamily() bool {
	if o.cause != report.NetworkUnreachable || len(o.host.Addresses) == 0 {
		return false
	}
	own := families(strings.Split(o.node.Traits[TraitSubnet], ", "))
	return len(own) > 0 && !slices.ContainsFunc(families(o.host.Addresses), func(f string) bool { return slices.Contains(own, f) })
}

// contradicts reports whether a good one was good while this bad one was bad. One from
// before the failure began says nothing against it, nor does one from after it ended.
func (o *observation) contradicts(bad *observation) bool {
	return !o.checked.Before(bad.since) && !o.since.After(bad.checked)
}

// sorted are the observations of one host or image.
type sorted struct {
	good, bad  []*observation
	notCounted []excluded
}

// excluded are observations that do not count, and why.
type excluded struct {
	id, why      string
	observations []*observation
}

// sortOut separates the observations that count from those that do not.
func (c *comparison) sortOut(list []*observation) sorted {
	var out sorted
	for _, r := range c.counts {
		e := excluded{id: r.id, why: r.why}
		list = slices.DeleteFunc(list, func(o *observation) bool {
			if r.excludes(o, c.Input) {
				e.observations = append(e.observations, o)
				return true
			}
			return false
		})
		if len(e.observations) > 0 {
			out.notCounted = append(out.notCounted, e)
		}
	}
	for _, o := range list {
		switch {
		case o.good:
			out.good = append(out.good, o)
		case o.bad:
			out.bad = append(out.bad, o)
		}
	}
	// A node without a host's address family does not see whether the host is down.
	if slices.ContainsFunc(out.bad, func(o *observation) bool { return !o.lacksFamily() }) {
		e := excluded{id: "no-family", why: "have no route to an address of this family"}
		out.bad = slices.DeleteFunc(out.bad, func(o *observation) bool {
			if !o.lacksFamily() {
				return false
			}
			e.observations = append(e.observations, o)
			return true
		})
		if len(e.observations) > 0 {
			out.notCounted = append(out.notCounted, e)
		}
	}
	// Who is forbidden where others are not is kept out.
	if slices.ContainsFunc(out.good, func(o *observation) bool { return !o.forbids() }) {
		out.good = slices.DeleteFunc(out.good, func(o *observation) bool {
			if !o.forbids() {
				return false
			}
			o.good, o.bad, o.cause = false, true, report.AccessForbidden
			out.bad = append(out.bad, o)
			return true
		})
	}
	return out
}

// class groups causes that are one failure seen from different places: a machine that is
// off refuses here and does not answer there.
func class(c report.Cause) string {
	if dialFails(c) {
		return "dial"
	}
	return string(c)
}

// dialFails reports whether the host's address cannot be connected to.
func dialFails(c report.Cause) bool {
	switch c {
	case report.ConnectionRefused, report.ConnectionTimeout, report.ConnectionReset, report.NetworkUnreachable:
		return true
	}
	return false
}

// group are nodes that fail alike at one host or image, and all others that checked it.
type group struct {
	name    string
	failing []*observation
	through []*observation           // got through while these failed
	others  []*observation           // fail in another way
	earlier []*observation           // got through before these began to fail, and have not checked since
	later   []*observation           // got through only after these checked last
	sample  int                      // of those that fail were asked to check
	cluster int                      // nodes that exist
	skewed  map[string]time.Duration // by node: how far its clock is wrong
}

// groups returns the failing observations, those that fail alike together.
func (c *comparison) groups(name string, s sorted) []*group {
	var out []*group
	byClass := map[string]*group{}
	for _, o := range s.bad {
		k := class(o.cause)
		if byClass[k] == nil {
			byClass[k] = &group{name: name, skewed: c.skewed, cluster: len(c.Nodes)}
			out = append(out, byClass[k])
		}
		byClass[k].failing = append(byClass[k].failing, o)
		if c.Asked[name][o.node.Name] {
			byClass[k].sample++
		}
	}
	for k, g := range byClass {
		for _, o := range s.bad {
			if class(o.cause) != k {
				g.others = append(g.others, o)
			}
		}
		for _, o := range s.good {
			g.place(o)
		}
	}
	return out
}

// place puts a good observation where it belongs by its time.
func (g *group) place(o *observation) {
	if slices.ContainsFunc(g.failing, o.contradicts) {
		g.through = append(g.through, o)
		return
	}
	if slices.ContainsFunc(g.failing, func(bad *observation) bool { return o.checked.Before(bad.since) }) {
		g.earlier = append(g.earlier, o)
		return
	}
	g.later = append(g.later, o)
}

// cause returns the cause with which most of them fail.
func (g *group) cause() report.Cause { return causesOf(g.failing)[0].Cause }

// setsApart returns what all failing nodes have and no other node that checked.
func (g *group) setsApart() []Share { return setsApart(g.failing, g.rest()) }

// rest returns the observations of the other nodes that checked in that time.
func (g *group) rest() []*observation { return slices.Concat(g.through, g.others) }

// counted returns how many nodes have checked in that time.
func (g *group) counted() int { return len(g.failing) + len(g.through) + len(g.others) }

// complete reports whether every node of the cluster has checked.
func (g *group) complete() bool { return g.counted() >= g.cluster }

// separate returns the observations of nodes that use the host, and of those that only checked it
// for others.
func separate(list []*observation) (use, asked []*observation) {
	for _, o := range list {
		if o.host.Asked {
			asked = append(asked, o)
		} else {
			use = append(use, o)
		}
	}
	return use, asked
}

// all reports whether every failing observation has a property.
func (g *group) all(has func(*observation) bool) bool {
	return !slices.ContainsFunc(g.failing, func(o *observation) bool { return !has(o) })
}
