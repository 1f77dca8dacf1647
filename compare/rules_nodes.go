package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// nodeRule finds what is wrong with nodes themselves, whatever the host.
type nodeRule struct {
	id   string
	when string
	find func(*comparison) []draft
}

func nodeRules() []nodeRule {
	return []nodeRule{
		{"reaches-nothing", "a node reaches nothing at all", func(c *comparison) []draft { return c.isolated() }},
		{"clock-differs", "a node's clock differs from those of most other nodes", func(c *comparison) []draft { return c.wrongClocks() }},
	}
}

// isolated returns the nodes that reach nothing, those with the same cause together.
func (c *comparison) isolated() []draft {
	var s sorted
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.Facts == nil {
			continue
		}
		o := c.observeNode(n)
		age := c.Now.Sub(o.checked)
		if o.checked.IsZero() || age > c.MaxAge || age < -clockTolerance {
			continue
		}
		switch {
		case o.bad:
			s.bad = append(s.bad, o)
		case n.Facts.Control == report.Pass:
			s.good = append(s.good, o)
		}
	}
	var out []draft
	for _, g := range c.groups("", s) {
		weak := slices.ContainsFunc(g.failing, func(o *observation) bool { return o.node.Facts.Weak })
		v := verdict{
			rule: "reaches-nothing", fault: report.FaultNode, cause: g.cause(), sure: len(g.through) >= minOthers && !weak,
			headline: fmt.Sprintf("%s reaches nothing at all", g.nodes()),
		}
		if len(g.failing) > 1 {
			v.headline = fmt.Sprintf("%d nodes reach nothing at all (%s)", len(g.failing), g.nodes())
		}
		switch {
		case len(g.through) == 0:
			v.wouldDecide = []string{"check the network that these nodes share"}
		case !v.sure:
			v.wouldDecide = []string{"check the network of " + g.nodes()}
		}
		out = append(out, nodeFinding(g, v, s))
	}
	return out
}

// observeNode returns whether a node reaches anything, from when on and until when.
func (c *comparison) observeNode(n *Node) *observation {
	f := n.Facts
	o := &observation{node: n, bad: f.CutOff(), cause: f.Cause}
	if o.bad && o.cause == "" {
		o.cause = report.Undetermined
	}
	skew := c.skewed[n.Name]
	if len(f.Hosts) == 0 {
		o.checked = f.At.Time().Add(-skew)
	}
	for _, h := range f.Hosts {
		if at := h.Checked.Time().Add(-skew); at.After(o.checked) {
			o.checked = at
		}
		if since := h.Since.Time().Add(-skew); o.bad && h.Since != 0 && since.After(o.since) {
			o.since = since // when the last of them failed
		}
	}
	return o
}

// nodeFinding returns a finding about nodes.
func nodeFinding(g *group, v verdict, s sorted) draft {
	f := g.finding(AboutNode, v, s)
	f.Name, f.Summary = f.Failing.First[0], readable.Clean(v.headline, maxText)
	return f
}

// Clocks that differ by less are as good as equal: a Date header has whole seconds.
const (
	sameClock = 10 * time.Second
	minSkew   = 2 * time.Minute // from which on pulls may fail
)

// wrongClocks returns the nodes whose clock differs from those of most others.
func (c *comparison) wrongClocks() []draft {
	g, s := &group{}, sorted{}
	var clocks []string
	for i := range c.Nodes {
		n := &c.Nodes[i]
		skew, known := c.skewed[n.Name]
		if !known {
			continue
		}
		o := c.observeNode(n)
		o.cause = report.ClockSkewed
		age := c.Now.Sub(o.checked)
		switch {
		case age > c.MaxAge || age < -clockTolerance:
		case skew.Abs() >= minSkew:
			g.failing = append(g.failing, o)
			word := "ahead of"
			if skew < 0 {
				word = "behind"
			}
			clocks = append(clocks, fmt.Sprintf("the clock of %s is %s %s those of most nodes", clean(n.Name), readable.Duration(skew.Abs()), word))
		default:
			g.through = append(g.through, o)
		}
	}
	if len(g.failing) == 0 {
		return nil
	}
	says := strings.Join(clocks[:min(len(clocks), 2)], ", ")
	if len(clocks) > 2 {
		says += fmt.Sprintf(" (and %d more)", len(clocks)-2)
	}
	return []draft{nodeFinding(g, verdict{
		rule: "clock-differs", fault: report.FaultNode, cause: report.ClockSkewed, sure: true, headline: says,
	}, s)}
}

// skews returns how far the clock of each node is ahead of that of most nodes, if at least
// two agree: hosts have a clock that all nodes compare theirs with. A host
// whose own clock is wrong is as wrong for all.
func (c *comparison) skews() map[string]time.Duration {
	byHost := map[string]map[string]int{} // seconds by host and node
	fresh := map[string]map[string]bool{}
	for _, n := range c.Nodes {
		if n.Facts == nil {
			continue
		}
		for _, h := range n.Facts.Hosts {
			if h.Clock == nil {
				continue
			}
			if byHost[h.Name] == nil {
				byHost[h.Name], fresh[h.Name] = map[string]int{}, map[string]bool{}
			}
			age := c.Now.Sub(h.Checked.Time())
			byHost[h.Name][n.Name] = *h.Clock
			fresh[h.Name][n.Name] = age <= c.MaxAge && age >= -clockTolerance
		}
	}
	differences := map[string][]int{}
	for host, clocks := range byHost {
		var current []int
		for node, s := range clocks {
			if fresh[host][node] {
				current = append(current, s)
			}
		}
		if len(current) == 0 {
			continue
		}
		middle := median(current)
		agreeing := 0
		for _, s := range current {
			if near(s, middle) {
				agreeing++
			}
		}
		for node, s := range clocks {
			others, agree := len(current), agreeing
			if fresh[host][node] && !near(s, middle) {
				others--
			}
			if agree >= minOthers && 2*agree > others {
				differences[node] = append(differences[node], s-middle)
			}
		}
	}
	out := map[string]time.Duration{}
	for node, list := range differences {
		d := time.Duration(median(list)) * time.Second
		if d.Abs() < sameClock {
			d = 0
		}
		out[node] = d
	}
	return out
}

func near(a, b int) bool { return math.Abs(float64(a-b)) <= sameClock.Seconds() }

// median returns the middle one; of two, the smaller.
func median(list []int) int {
	slices.Sort(list)
	return list[(len(list)-1)/2]
}
