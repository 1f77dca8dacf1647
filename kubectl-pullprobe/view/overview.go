// Package view turns what was read into text for people. It is pure: the same data always give
// the same text. The texts of verdicts are those of the reports.
package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Overview is the pods that wait for an image.
type Overview struct {
	Namespace string // empty: all
	Cases     []waiting.Case
	Nodes     int // that have a report; 0: not known
	Now       time.Time
}

// unheard is the heading of groups that no agent has checked.
const unheard = "Not checked by pullprobe; from the kubelet's message alone:"

// Write adds the groups of pods, by who must act, the most severe fault first.
func (o Overview) Write(t *screen.Text) {
	groups := waiting.Groups(o.Cases)
	t.Para(o.Headline())
	heading := ""
	for _, g := range groups {
		t.Blank()
		if h := HeadingOf(g); h != heading {
			heading = h
			t.Line("%s", t.Bold(heading))
		}
		o.writeGroup(t, g)
	}
}

// HeadingOf returns the line above the groups of one who must act.
func HeadingOf(g waiting.Group) string {
	if g.Unheard {
		return unheard
	}
	return g.Verdict.Heading()
}

// Headline returns how many pods wait, in one sentence.
func (o Overview) Headline() string {
	groups := waiting.Groups(o.Cases)
	where := "in namespace " + o.Namespace
	if o.Namespace == "" {
		where = "in all namespaces"
	}
	pods := map[string]bool{}
	for _, c := range o.Cases {
		pods[c.UID] = true
	}
	switch {
	case len(pods) == 0:
		return "No pod " + where + " waits for an image."
	case len(pods) == 1:
		return "1 pod " + where + " waits for an image."
	case len(groups) == 1:
		return fmt.Sprintf("%d pods %s wait for an image, for the same reason.", len(pods), where)
	}
	return fmt.Sprintf("%d pods %s wait for an image, for %d reasons.", len(pods), where, len(groups))
}

// writeGroup adds one group: what is wrong, where, and what fixes it.
func (o Overview) writeGroup(t *screen.Text, g waiting.Group) {
	v := g.Verdict
	t.Head(v.Fault, v.Title(), o.Extent(g))
	t.Field("pods", podsOf(g, o.Namespace))
	t.Field("nodes", readable.Abbreviate(g.Nodes()))
	t.Field("image", images(g))
	t.Field("why", Why(g))
	t.Lines("fix", v.Fix)
	writeLikewise(t, g)
}

// Extent returns how many pods wait on how many nodes, and since when.
func (o Overview) Extent(g waiting.Group) string {
	out := screen.Plural(g.Pods(), "pod")
	nodes := len(g.Nodes())
	switch {
	case nodes == 0:
	case o.Nodes > 1 && nodes <= o.Nodes:
		out += fmt.Sprintf(" on %d of %s", nodes, screen.Plural(o.Nodes, "node"))
	default:
		out += " on " + screen.Plural(nodes, "node")
	}
	return out + ", " + readable.Roughly(max(0, o.Now.Sub(g.Since())))
}

// maxOwners is how many owners of a group are named.
const maxOwners = 3

// podsOf names the owners of a group's pods, or the pod itself.
func podsOf(g waiting.Group, namespace string) string {
	first := g.Cases[0]
	name := first.Pod
	if namespace != first.Namespace {
		name = first.Namespace + "/" + name
	}
	if g.Pods() == 1 {
		if first.Owner != "" {
			return name + " of " + first.Owner
		}
		return name
	}
	var names []string
	owners := g.Owners()
	for _, s := range owners[:min(maxOwners, len(owners))] {
		if s.Owner == "" {
			names = append(names, screen.Plural(s.Pods, "pod")+" without an owner")
			continue
		}
		names = append(names, fmt.Sprintf("%s (%s)", s.Owner, screen.Plural(s.Pods, "pod")))
	}
	text := strings.Join(names, ", ")
	if more := len(owners) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text + ": " + name + fmt.Sprintf(" and %s", screen.Plural(g.Pods()-1, "other"))
}

// images names the images of a group.
func images(g waiting.Group) string {
	return readable.Abbreviate(g.Images())
}

// Why returns what is wrong.
func Why(g waiting.Group) string {
	if g.Verdict.Summary != "" {
		return g.Verdict.Summary
	}
	return "the kubelet reports " + g.Cases[0].Reason
}

// writeLikewise names who has the same fix with other names.
func writeLikewise(t *screen.Text, g waiting.Group) {
	var names []string
	for _, c := range g.OtherFixes() {
		names = append(names, c.Pod)
	}
	if len(names) > 0 {
		t.Field("likewise", readable.Abbreviate(names)+" (kubectl pullprobe POD shows the command of each)")
	}
}

// WritePods adds one line for each container that waits.
func (o Overview) WritePods(t *screen.Text, wide bool) {
	if len(o.Cases) == 0 {
		t.Para(o.Headline())
		return
	}
	header := []string{"POD", "CAUSE", "NODE", "SINCE", "WHO ACTS"}
	if wide {
		header = append(header, "SURE", "CONTAINER", "IMAGE")
	}
	if o.Namespace == "" {
		header = append([]string{"NAMESPACE"}, header...)
	}
	rows := make([][]screen.Cell, 0, len(o.Cases))
	for _, c := range o.Cases {
		rows = append(rows, o.podRow(t, c, wide))
	}
	t.Table(header, rows)
}

func (o Overview) podRow(t *screen.Text, c waiting.Case, wide bool) []screen.Cell {
	v := c.Verdict
	row := screen.Cells(c.Pod, string(v.Cause), c.Node, readable.Roughly(max(0, o.Now.Sub(c.Since))), string(v.Fault))
	row[1].Paint = func(s string) string { return t.Fault(v.Fault, s) }
	if wide {
		row = append(row, screen.Cells(sure(c), c.Container, c.Image)...)
	}
	if o.Namespace == "" {
		row = append(screen.Cells(c.Namespace), row...)
	}
	return row
}

// sure returns how sure a verdict is, and where it is from if that is not the report.
func sure(c waiting.Case) string {
	if c.Source == waiting.FromMessage {
		return string(c.Verdict.Confidence) + " (message)"
	}
	return string(c.Verdict.Confidence)
}
