package compare

import (
	"slices"
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
	MaxAge time.Duration // an older look does not count: two sweep intervals
	Nodes  []Node        // those that exist; what others report is not here
}

// look is how one node saw one host, or one image.
type look struct {
	node    *Node
	host    nodefacts.Host
	image   nodefacts.Image
	good    bool
	bad     bool         // neither: it found nothing out
	cause   report.Cause // of a bad one
	since   time.Time    // from when on it was so; not before the node noticed
	checked time.Time    // until when
	skew    time.Duration
}

// lookRule says which looks do not count.
type lookRule struct {
	id       string
	why      string // shown to people
	excludes func(look, Input) bool
}

// clockTolerance is how far a look may be in the future.
const clockTolerance = 2 * time.Minute

func lookRules() []lookRule {
	return []lookRule{
		{"cut-off", "reached nothing at all", func(l look, _ Input) bool { return l.node.Facts.CutOff() }},
		{"stale", "looked too long ago", func(l look, in Input) bool { return in.Now.Sub(l.checked) > in.MaxAge }},
		{"future", "looked at a time in the future", func(l look, in Input) bool { return l.checked.Sub(in.Now) > clockTolerance }},
		{"unknown", "could not check", func(l look, _ Input) bool { return !l.good && !l.bad }},
	}
}

// lookAt returns a node's look at a host. Its times are by the clock that most nodes agree
// on.
func lookAt(n *Node, h nodefacts.Host, skew time.Duration) look {
	l := look{
		node: n, host: h, skew: skew, cause: h.Cause,
		good: h.State == report.Reachable, bad: h.State.Bad(),
		checked: h.Checked.Time().Add(-skew), since: h.Since.Time().Add(-skew),
	}
	if h.Since == 0 {
		l.since = l.checked
	}
	return l
}

// lookAtImage returns a node's look at an image.
func lookAtImage(n *Node, i nodefacts.Image, skew time.Duration) look {
	at := i.Checked.Time().Add(-skew)
	return look{node: n, image: i, skew: skew, cause: i.Cause, good: i.Good(), bad: !i.Good(), checked: at, since: at}
}

// forbids reports whether the host answered 403 to GET /v2/. Some registries always do:
// it is a failure only where others get another answer.
func (l look) forbids() bool { return l.good && l.host.Status == 403 }

// contradicts reports whether a good look was good while this bad one was bad. A look from
// before the failure began says nothing against it, nor does one from after it ended.
func (l look) contradicts(bad look) bool {
	return !l.checked.Before(bad.since) && !l.since.After(bad.checked)
}

// sorted are the looks at one host or image.
type sorted struct {
	good, bad  []look
	notCounted []excluded
}

// excluded are looks that do not count, and why.
type excluded struct {
	id, why string
	looks   []look
}

// sortLooks separates the looks that count from those that do not.
func (c *comparison) sortLooks(list []look) sorted {
	var out sorted
	for _, r := range c.looks {
		e := excluded{id: r.id, why: r.why}
		list = slices.DeleteFunc(list, func(l look) bool {
			if r.excludes(l, c.Input) {
				e.looks = append(e.looks, l)
				return true
			}
			return false
		})
		if len(e.looks) > 0 {
			out.notCounted = append(out.notCounted, e)
		}
	}
	for _, l := range list {
		switch {
		case l.good:
			out.good = append(out.good, l)
		case l.bad:
			out.bad = append(out.bad, l)
		}
	}
	// Who is forbidden where others are not is kept out.
	if slices.ContainsFunc(out.good, func(l look) bool { return !l.forbids() }) {
		out.good = slices.DeleteFunc(out.good, func(l look) bool {
			if !l.forbids() {
				return false
			}
			l.good, l.bad, l.cause = false, true, report.AccessForbidden
			out.bad = append(out.bad, l)
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

// group are nodes that fail alike at one host or image, and all others that looked.
type group struct {
	name    string
	failing []look
	through []look                   // got through while these failed
	others  []look                   // fail in another way
	earlier []look                   // got through before these began to fail, and have not looked since
	later   []look                   // got through only after these looked last
	skewed  map[string]time.Duration // by node: how far its clock is wrong
}

// groups returns the failing looks, those that fail alike together.
func (c *comparison) groups(name string, s sorted) []*group {
	var out []*group
	byClass := map[string]*group{}
	for _, l := range s.bad {
		k := class(l.cause)
		if byClass[k] == nil {
			byClass[k] = &group{name: name, skewed: c.skewed}
			out = append(out, byClass[k])
		}
		byClass[k].failing = append(byClass[k].failing, l)
	}
	for k, g := range byClass {
		for _, l := range s.bad {
			if class(l.cause) != k {
				g.others = append(g.others, l)
			}
		}
		for _, l := range s.good {
			g.place(l)
		}
	}
	return out
}

// place puts a good look where it belongs by its time.
func (g *group) place(l look) {
	if slices.ContainsFunc(g.failing, l.contradicts) {
		g.through = append(g.through, l)
		return
	}
	if slices.ContainsFunc(g.failing, func(bad look) bool { return l.checked.Before(bad.since) }) {
		g.earlier = append(g.earlier, l)
		return
	}
	g.later = append(g.later, l)
}

// cause returns the cause with which most of them fail.
func (g *group) cause() report.Cause { return causesOf(g.failing)[0].Cause }

// setsApart returns what all failing nodes have and no other node that looked.
func (g *group) setsApart() []Share { return setsApart(g.failing, g.rest()) }

// rest returns the looks of the other nodes that looked in that time.
func (g *group) rest() []look { return slices.Concat(g.through, g.others) }

// looked returns how many nodes have looked in that time.
func (g *group) looked() int { return len(g.failing) + len(g.through) + len(g.others) }

// all reports whether every failing look has a property.
func (g *group) all(has func(look) bool) bool {
	return !slices.ContainsFunc(g.failing, func(l look) bool { return !has(l) })
}
