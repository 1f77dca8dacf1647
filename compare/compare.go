package compare

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// ruleSet is every rule of the comparison, in tables.
type ruleSet struct {
	counts []countRule // which observations count
	hosts  []hostRule  // the verdict on nodes that fail alike at a host: the first that applies
	doubts []doubt     // why such a verdict is only likely: all
	images []imageRule // the verdict on an image: the first that applies
	nodes  []nodeRule  // what is wrong with a node itself: all
}

func allRules() ruleSet {
	return ruleSet{
		counts: countRules(), hosts: hostRules(), doubts: allDoubts(), images: imageRules(), nodes: nodeRules(),
	}
}

// comparison is one call of [Compare].
type comparison struct {
	ruleSet
	Input
	skewed map[string]time.Duration // by node: how far its clock is ahead of most others
}

// Compare returns what the nodes show together. Its result does not depend on the order of
// the nodes.
func Compare(in Input) Result { return allRules().compare(in) }

func (r ruleSet) compare(in Input) Result {
	c := r.comparison(in)
	out := Result{Schema: Schema, Time: in.Now.UTC(), Nodes: len(in.Nodes), Hosts: []Tally{}, Findings: []Finding{}}
	var silent []string
	for _, n := range c.Nodes {
		if n.Facts == nil {
			silent = append(silent, n.Name)
		}
	}
	out.Silent = someOf(silent)

	var all []draft
	byHost := c.byHost()
	for _, host := range slices.Sorted(maps.Keys(byHost)) {
		s := c.sortOut(byHost[host])
		t := Tally{Host: clean(host), Through: len(s.good), Failing: len(s.bad)}
		for _, e := range s.notCounted {
			t.Other += len(e.observations)
		}
		out.Hosts = append(out.Hosts, t)
		for _, g := range affected(c.groups(host, s)) {
			all = append(all, c.hostFinding(g, s))
		}
	}
	all = append(all, c.imageFindings()...)
	for _, rule := range c.nodes {
		all = append(all, rule.find(c)...)
	}
	all = merged(all)
	sortFindings(all)
	if over := len(all) - maxFindings; over > 0 {
		all, out.Omitted = all[:maxFindings], over
	}
	for _, f := range all {
		out.Findings = append(out.Findings, f.withTraits())
	}
	out.boundHosts()
	return out
}

// draft is a finding, and the group that it is about.
type draft struct {
	Finding
	group *group
}

// withTraits returns the finding with the traits in which the nodes differ. They take the
// most time, and are not needed of findings that are left out.
func (f draft) withTraits() Finding {
	if f.SetsApart = f.group.setsApart(); len(f.SetsApart) == 0 {
		f.Shares = sharesOf(f.group.failing, f.group.rest())
	}
	return f.Finding
}

// comparison prepares the input: nodes in the order of their names, each once.
func (r ruleSet) comparison(in Input) *comparison {
	in.Nodes = slices.Clone(in.Nodes)
	slices.SortStableFunc(in.Nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	in.Nodes = slices.CompactFunc(in.Nodes, func(a, b Node) bool { return a.Name == b.Name })
	c := &comparison{ruleSet: r, Input: in}
	c.skewed = c.skews()
	return c
}

// merged returns one finding for all hosts or images of which the same is so, of the same
// nodes: the first of them by name.
func merged(all []draft) []draft {
	var out []draft
	first := map[string]int{}
	for _, f := range all {
		parts := []string{f.About, f.Rule, string(f.Fault), string(f.Cause), string(f.Confidence)}
		for _, o := range f.group.failing {
			parts = append(parts, o.node.Name, string(o.cause), strconv.FormatBool(o.host.Asked))
		}
		key := strings.Join(parts, " ")
		i, known := first[key]
		if !known {
			first[key] = len(out)
			out = append(out, f)
			continue
		}
		same := &out[i]
		if same.Also.Count++; len(same.Also.First) < maxNames {
			same.Also.First = append(same.Also.First, f.Name)
		}
		if f.Since.Before(same.Since) {
			same.Since = f.Since
		}
	}
	return out
}

// boundHosts puts the hosts at which most nodes fail first, and drops the end.
func (r *Result) boundHosts() {
	slices.SortStableFunc(r.Hosts, func(a, b Tally) int { return cmp.Or(b.Failing-a.Failing, b.Through-a.Through) })
	if over := len(r.Hosts) - maxTallies; over > 0 {
		r.Hosts, r.HostsOmitted = r.Hosts[:maxTallies], over
	}
}

// byHost returns all observations of each host.
func (c *comparison) byHost() map[string][]*observation {
	out := map[string][]*observation{}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.Facts == nil {
			continue
		}
		for _, h := range n.Facts.Hosts {
			out[h.Name] = append(out[h.Name], observe(n, h, c.skewed[n.Name]))
		}
	}
	return out
}

// affected returns the groups with a node that uses the host. What fails only where it was checked for
// others keeps no pull from it.
func affected(groups []*group) []*group {
	return slices.DeleteFunc(groups, func(g *group) bool { use, _ := separate(g.failing); return len(use) == 0 })
}

// hostFinding returns the verdict on nodes that fail alike.
func (c *comparison) hostFinding(g *group, s sorted) draft {
	v := verdict{rule: "undecided", fault: report.FaultUndetermined, cause: g.cause(), headline: g.counts()}
	for _, r := range c.hosts {
		if x, ok := r.evaluate(g); ok {
			v = x
			v.rule = r.id
			break
		}
	}
	f := g.finding(AboutHost, v, s)
	if v.fault != report.FaultUndetermined {
		c.doubt(&f, g, v)
	}
	if f.Confidence != report.Confirmed {
		questions := f.WouldDecide
		f.WouldDecide = nil
		for _, q := range append([]string{c.withoutDetour(g)}, questions...) {
			f.ask(q)
		}
	}
	return f
}

// doubt adds to a finding why it is only likely.
func (c *comparison) doubt(f *draft, g *group, v verdict) {
	for _, d := range c.doubts {
		rival, holds := d.holds(g, v)
		if !holds {
			continue
		}
		f.Confidence = report.Likely
		if rival != "" {
			f.Rivals = append(f.Rivals, clean(rival))
		}
		f.ask(g.question(d.question, v.cause))
	}
}

// ask adds what would settle what is open, once.
func (f *draft) ask(question string) {
	if question != "" && len(f.WouldDecide) < maxQuestions && !slices.Contains(f.WouldDecide, question) {
		f.WouldDecide = append(f.WouldDecide, question)
	}
}

// question returns what settles a doubt about the host, with the command for it.
func (g *group) question(of string, cause report.Cause) string {
	if of == askOneMore && g.complete() {
		of = askOutside
	}
	if strings.HasPrefix(of, "check {host} from ") {
		of += ":\n" + checkCommand(cause, "{host}")
	}
	return strings.ReplaceAll(of, "{host}", g.name)
}

// verdict is what a rule says about nodes that fail alike.
type verdict struct {
	rule        string
	fault       report.Fault
	cause       report.Cause
	sure        bool     // as far as the rule sees; doubts may lower it
	headline    string   // what is so, without the name of the host or image
	wouldDecide []string // what would settle what is open
}

// otherwise is the id of nodes that fail, but with another cause.
const otherwise = "otherwise"

// onlyAsked is the id of nodes that fail at a host which they only checked for others.
const onlyAsked = "asked"

// finding returns the finding about a group.
func (g *group) finding(about string, v verdict, s sorted) draft {
	use, asked := separate(g.failing)
	others, askedToo := separate(g.others)
	asked = append(asked, askedToo...)
	f := draft{group: g, Finding: Finding{
		Rule: v.rule, About: about, Name: clean(g.name), Fault: v.fault, Cause: v.cause, Confidence: report.Likely,
		Summary: readable.Clean(g.name+": "+v.headline, maxText),
		Failing: namesOf(use), How: causesOf(use), Through: namesOf(g.through),
		WouldDecide: v.wouldDecide,
	}}
	switch {
	case v.fault == report.FaultUndetermined:
		f.Confidence = report.ConfidenceUndetermined
	case v.sure:
		f.Confidence = report.Confirmed
	}
	for _, o := range use {
		if f.Since.IsZero() || o.since.Before(f.Since) {
			f.Since = o.since.UTC()
		}
	}
	f.Neither = g.asides(s)
	if len(others) > 0 {
		f.Neither = append(f.Neither, Aside{Rule: otherwise, Why: "failed with another cause", Names: namesOf(others)})
	}
	if len(asked) > 0 {
		why := "do not get through either, but only checked it for others: they do not use it"
		if len(asked) == 1 {
			why = "does not get through either, but only checked it for others: it does not use it"
		}
		f.Neither = append(f.Neither, Aside{Rule: onlyAsked, Why: why, Names: namesOf(asked)})
	}
	return f
}

// asides returns the nodes whose observation does not count, and why.
func (g *group) asides(s sorted) []Aside {
	var out []Aside
	for _, e := range slices.Concat(s.notCounted, []excluded{
		{"earlier", "got through before, and did not check since", g.earlier},
		{"later", "got through only after the failing nodes checked last", g.later},
	}) {
		if len(e.observations) > 0 {
			out = append(out, Aside{Rule: e.id, Why: e.why, Names: namesOf(e.observations)})
		}
	}
	return out
}
