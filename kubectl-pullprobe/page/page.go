// Package page makes one HTML file of what is known: the pods that wait, and which node reaches
// which registry. The file needs no other, runs no script, and requests nothing. It is pure: no
// clock, no cluster.
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Input is what a page shows.
type Input struct {
	Context  string // of the kubeconfig
	Overview view.Overview
	All      cluster.Comparison // empty: it could not be read
	Notes    []string           // what could not be read
}

//go:embed page.html
var source string

// Write writes the page.
func Write(w io.Writer, in Input) error {
	page, err := template.New("page").Parse(source)
	if err != nil {
		return fmt.Errorf("the template of the page: %w", err)
	}
	return page.Execute(w, newContent(in))
}

// content is what the template has.
type content struct {
	Title, Headline, At string
	Faults              []section
	Matrix              matrix
	Findings            []finding
	Notes               []string
}

// section is the groups of one who must act.
type section struct {
	Heading string
	Groups  []group
}

type group struct {
	Class  string // of its colour
	Head   string
	Extent string
	Fields []field
	Steps  []step
	Pods   []waitingPod
	Open   bool
}

// field is a labelled text of several lines, some of which are commands.
type field struct {
	Label string
	Lines []line
}

type line struct {
	Text    string
	Command bool
}

type step struct {
	Class, Mark, Outcome, What, Took, Result string
}

type waitingPod struct{ Name, Container, Node, Image, Since string }

type finding struct {
	Class, Head, Text string
	Rest              []line
}

// matrix is which node reaches which registry. Nodes that see all hosts alike are one row.
type matrix struct {
	Hosts []string
	Rows  []row
	Nodes int
	Rest  []string // hosts without a column: every node that checked them gets through
	More  int      // rows left out
}

type row struct {
	Name  string   // of the first node
	Count string   // how many more; empty: none
	Names []string // all nodes
	State string
	Class string
	Cells []cell
}

type cell struct{ Class, Mark, Text string }

func newContent(in Input) content {
	c := content{
		Title: "Image pulls", At: readable.Time(in.Overview.Now), Headline: in.Overview.Headline(), Notes: in.Notes,
		Matrix: newMatrix(in.All, in.Overview.Now),
	}
	if in.Context != "" {
		c.Title += " in " + readable.Sanitize(in.Context)
	}
	groups := waiting.Groups(in.Overview.Cases)
	for _, g := range groups {
		heading := view.HeadingOf(g)
		if len(c.Faults) == 0 || c.Faults[len(c.Faults)-1].Heading != heading {
			c.Faults = append(c.Faults, section{Heading: heading})
		}
		s := &c.Faults[len(c.Faults)-1]
		s.Groups = append(s.Groups, newGroup(in, g))
	}
	for _, f := range in.All.Result.Findings {
		c.Findings = append(c.Findings, newFinding(f))
	}
	return c
}

// How many pods and nodes of a group are named.
const (
	maxPods  = 200
	maxNodes = 20
)

func newGroup(in Input, g waiting.Group) group {
	v, first := g.Verdict, g.Cases[0]
	out := group{Class: classOf(v.Fault), Head: v.Title(), Extent: in.Overview.Extent(g)}
	add := func(label string, texts ...string) {
		f := field{Label: label}
		for _, text := range texts {
			f.Lines = append(f.Lines, linesOf(text)...)
		}
		if len(f.Lines) > 0 {
			out.Fields = append(out.Fields, f)
		}
	}
	add("why", view.Why(g))
	add("fix", v.Fix)
	for _, c := range g.OtherFixes() {
		add("fix for "+c.Pod, c.Verdict.Fix)
	}
	add("image", g.Images()...)
	if nodes := g.Nodes(); len(nodes) <= maxNodes {
		add("nodes", strings.Join(nodes, ", "))
	} else {
		add("nodes", readable.Abbreviate(nodes)) // the list of pods has them
	}
	add("to confirm", v.ToConfirm()...)
	add("elsewhere", view.Elsewhere(first, in.All)...)
	if first.Diagnosis != nil {
		add("also", first.Diagnosis.AlsoFound()...)
		for _, s := range view.Ladder(*first.Diagnosis) {
			mark := screen.Style{}.Mark(s.Outcome)
			out.Steps = append(out.Steps, step{outcomeClass(s.Outcome), mark, s.Outcome.String(), s.What, s.Took, readable.Sanitize(s.Result)})
		}
	}
	if !first.At.IsZero() {
		add("checked", readable.Time(first.At))
	}
	for _, c := range g.Cases[:min(maxPods, len(g.Cases))] {
		since := readable.Roughly(max(0, in.Overview.Now.Sub(c.Since)))
		out.Pods = append(out.Pods, waitingPod{c.Namespace + "/" + c.Pod, c.Container, c.Node, c.Image, since})
	}
	return out
}

// linesOf returns the lines of a text. Control characters go: a report is the claim of its node.
func linesOf(text string) (out []line) {
	for l := range strings.SplitSeq(text, "\n") {
		if l = readable.Sanitize(l); l != "" {
			out = append(out, line{l, readable.IsCommand(l)})
		}
	}
	return out
}

func newFinding(f compare.Finding) finding {
	lines := strings.Split(strings.TrimRight(f.Text(), "\n"), "\n")
	out := finding{Class: classOf(f.Fault), Head: readable.Sanitize(lines[0]), Text: f.Summary}
	for _, l := range lines[min(2, len(lines)):] {
		out.Rest = append(out.Rest, linesOf(l)...)
	}
	return out
}

// classOf returns the class of a fault's colour.
func classOf(f report.Fault) string {
	switch f {
	case report.FaultNone:
		return "good"
	case report.FaultUndetermined:
		return "open"
	}
	return "bad"
}

func outcomeClass(o report.Outcome) string {
	switch o {
	case report.Pass:
		return "good"
	case report.Fail:
		return "bad"
	case report.Skipped:
		return "none"
	}
	return "open"
}

// The limits of the table: more columns do not fit a screen, more rows are not read.
const (
	maxColumns = 16
	maxRows    = 500
)

func newMatrix(all cluster.Comparison, now time.Time) matrix {
	out := matrix{Nodes: len(all.Nodes)}
	for i, h := range view.HostRows(all.Result) { // where most nodes fail first
		if i < maxColumns {
			out.Hosts = append(out.Hosts, h.Host)
		} else {
			out.Rest = append(out.Rest, h.Host+" ("+strconv.Itoa(h.Failing)+" of "+strconv.Itoa(h.Failing+h.Through)+" fail)")
		}
	}
	facts := map[string]cluster.Node{}
	for _, n := range all.Nodes {
		facts[n.Name] = n
	}
	at := map[string]int{}
	for _, r := range view.NodeRows(all, now) {
		x := newRow(r, facts[r.Node], out.Hosts, facts[r.Node].Silent(now))
		key := fmt.Sprintf("%s %v", x.State, x.Cells)
		if i, ok := at[key]; ok {
			out.Rows[i].Names = append(out.Rows[i].Names, r.Node)
			continue
		}
		if len(out.Rows) == maxRows {
			out.More++
			continue
		}
		at[key] = len(out.Rows)
		out.Rows = append(out.Rows, x)
	}
	for i := range out.Rows {
		if more := len(out.Rows[i].Names) - 1; more > 0 {
			out.Rows[i].Count = "and " + screen.Plural(more, "other")
		}
	}
	return out
}

// newRow returns the row of a node. What a silent one said last is not known to be so still.
func newRow(r view.NodeRow, n cluster.Node, hosts []string, silent bool) row {
	out := row{Name: r.Node, Names: []string{r.Node}, State: r.State, Class: classOf(view.ColorOf(r))}
	if r.Stuck > 0 {
		out.State += " (" + screen.Plural(r.Stuck, "pod") + ")"
	}
	for _, name := range hosts {
		c := cell{"none", "–", "not checked"}
		if n.Facts != nil {
			if h, ok := n.Facts.Host(name); ok {
				c = cellOf(h.State, string(h.Cause))
				if silent {
					c = cell{"open", "?", "not known, the node is silent; at last " + c.Text}
				}
			}
		}
		out.Cells = append(out.Cells, c)
	}
	return out
}

func cellOf(state report.HostState, cause string) cell {
	text := string(state)
	if cause != "" {
		text += ": " + cause
	}
	switch {
	case state.Bad():
		return cell{"bad", "✗", text}
	case state == report.Reachable:
		return cell{"good", "✓", text}
	}
	return cell{"open", "?", text}
}

// Failing returns how many rows of the matrix have a host that fails.
func (m matrix) Failing() int {
	n := 0
	for _, r := range m.Rows {
		if slices.ContainsFunc(r.Cells, func(c cell) bool { return c.Class == "bad" }) {
			n += len(r.Names)
		}
	}
	return n
}
