package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Detail is one group of containers that wait, with all that is known.
type Detail struct {
	Group     waiting.Group
	Elsewhere []string // what the other nodes see of the image and the host
	Now       time.Time
	Again     string // the command that asks again; empty: none
}

// Write adds the verdict, its fix, and the ladder of checks.
func (d Detail) Write(t *screen.Text) {
	g, first := d.Group, d.Group.Cases[0]
	v := g.Verdict
	t.Head(v.Fault, v.Title(), Overview{Now: d.Now}.Extent(g))
	pod := podsOf(g, "")
	if g.Pods() == 1 {
		pod = first.Namespace + "/" + first.Pod + " (" + first.Container + ")"
		if first.Owner != "" {
			pod += " of " + first.Owner
		}
		pod += " on " + first.Node
	}
	t.Field("pod", pod)
	if g.Pods() > 1 {
		t.Field("nodes", readable.Abbreviate(g.Nodes()))
	}
	t.Field("image", images(g))
	t.Field("why", Why(g))
	t.Lines("fix", v.Fix)
	writeLikewise(t, g)
	for _, s := range v.ToConfirm() {
		t.Lines("to confirm", s)
	}
	if first.Diagnosis != nil {
		for _, s := range first.Diagnosis.AlsoFound() {
			t.Field("also", s)
		}
	}
	for _, s := range d.Elsewhere {
		t.Field("elsewhere", s)
	}
	d.writeTimes(t, first)
	t.Field("source", sourceOf(first))
	t.Field("ask again", d.Again)
	if first.Diagnosis != nil {
		writeLadder(t, *first.Diagnosis)
	}
}

// sourceOf returns where a verdict is from, if not from the report of the node, which names the pod.
func sourceOf(c waiting.Case) string {
	switch c.Source {
	case waiting.FromOwner:
		return "the report names other pods of " + c.Owner + ", with the same image"
	case waiting.FromEvent:
		return "an Event on the pod, without the checks"
	case waiting.FromMessage:
		return "the kubelet's message alone: pullprobe has not checked this pod"
	}
	return ""
}

// writeTimes adds when the verdict was reached, and when the kubelet tries again.
func (d Detail) writeTimes(t *screen.Text, c waiting.Case) {
	if !c.At.IsZero() {
		t.Field("checked", readable.When(c.At, d.Now))
	}
	if c.Diagnosis == nil {
		return
	}
	if p := c.Diagnosis.Pods; p != nil && p.NextTry.After(d.Now) {
		t.Field("next pull", "by the kubelet, "+readable.When(p.NextTry, d.Now))
	}
	if c.Diagnosis.Pull != nil {
		t.Field("pull takes", c.Diagnosis.Pull.String())
	}
}

// Step is one line of a ladder: a check and its result. What one check kept from running is one.
type Step struct {
	Outcome report.Outcome
	What    string
	Took    string // empty: no time
	Result  string
}

// Ladder returns the checks of a diagnosis in their order.
func Ladder(d report.Diagnosis) (out []Step) {
	hosts := map[string]bool{}
	for _, c := range d.Checks {
		hosts[c.Host] = true
	}
	delete(hosts, "")
	for i := 0; i < len(d.Checks); i++ {
		c := d.Checks[i]
		if c.BlockedBy != "" {
			kinds := []string{string(c.Kind)}
			for i+1 < len(d.Checks) && d.Checks[i+1].BlockedBy == c.BlockedBy {
				i++
				if kind := string(d.Checks[i].Kind); !slices.Contains(kinds, kind) {
					kinds = append(kinds, kind)
				}
			}
			out = append(out, Step{report.Skipped, kinds[0], "", blocked(kinds, c.BlockedBy)})
			continue
		}
		text := c.Summary
		if len(hosts) > 1 && c.Host != "" && !strings.Contains(text, c.Host) {
			text = c.Host + ": " + text
		}
		if slices.Contains(d.Verdict.Because, c.ID) {
			text += " (evidence)"
		}
		took := ""
		if c.Duration > 0 {
			took = readable.Duration(time.Duration(c.Duration))
		}
		out = append(out, Step{c.Outcome, string(c.Kind), took, text})
	}
	return out
}

// writeLadder adds the checks.
func writeLadder(t *screen.Text, d report.Diagnosis) {
	if len(d.Checks) == 0 {
		return
	}
	t.Blank()
	t.Line("%s", t.Bold("Checks")+legend(t.Style))
	for _, s := range Ladder(d) {
		t.Step(s.Outcome, s.What, s.Took, s.Result)
	}
	if d.Trimmed {
		t.Line("  Some checks were left out to keep the report small.")
	}
}

func blocked(kinds []string, by string) string {
	text := "not checked: " + by + " failed"
	if len(kinds) > 1 {
		text = "not checked, nor " + strings.Join(kinds[1:], ", ") + ": " + by + " failed"
	}
	return text
}

// legend explains the marks.
func legend(s screen.Style) string {
	plain := screen.Style{ASCII: s.ASCII}
	return s.Faint(fmt.Sprintf("  (%s passed  %s failed  %s not checked  %s the check itself failed)",
		plain.Mark(report.Pass), plain.Mark(report.Fail), plain.Mark(report.Skipped), plain.Mark(report.Error)))
}
