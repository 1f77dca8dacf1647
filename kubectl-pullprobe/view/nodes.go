package view

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// NodeRow is one node in the list of nodes.
type NodeRow struct {
	Node        string       `json:"node"`
	State       string       `json:"state"` // ok, stuck, unreachable, cut-off, silent, no report
	Fault       report.Fault `json:"fault,omitempty"`
	Cause       report.Cause `json:"cause,omitempty"`
	Stuck       int          `json:"stuck"`       // pods that wait for an image
	Hosts       int          `json:"hosts"`       // that it checked
	Unreachable int          `json:"unreachable"` // of these
	Written     time.Time    `json:"written,omitzero"`
	Problem     string       `json:"problem,omitempty"`
}

// The states of a node, the worst first.
const (
	nodeCutOff      = "cut off"
	nodeStuck       = "pods wait"
	nodeUnreachable = "hosts fail"
	nodeSilent      = "silent"
	nodeNoReport    = "no report"
	nodeOK          = "ok"
)

var nodeStates = []string{nodeCutOff, nodeStuck, nodeUnreachable, nodeSilent, nodeNoReport, nodeOK}

// NodeRows returns the nodes, the worst first.
func NodeRows(all cluster.Comparison, now time.Time) []NodeRow {
	out := make([]NodeRow, 0, len(all.Nodes))
	for _, n := range all.Nodes {
		out = append(out, nodeRow(n, now))
	}
	slices.SortStableFunc(out, func(a, b NodeRow) int {
		return cmp.Or(slices.Index(nodeStates, a.State)-slices.Index(nodeStates, b.State), b.Stuck-a.Stuck, b.Unreachable-a.Unreachable,
			cmp.Compare(a.Node, b.Node))
	})
	return out
}

func nodeRow(n cluster.Node, now time.Time) NodeRow {
	r := NodeRow{Node: n.Name, State: nodeOK, Stuck: n.Stuck(), Written: n.Written, Problem: n.Problem}
	if n.Facts != nil {
		r.Hosts = len(n.Facts.Hosts)
		for _, h := range n.Facts.Hosts {
			if h.State.Bad() {
				r.Unreachable++
			}
		}
	}
	fault, cause := report.Fault(n.Labels[report.LabelFault]), report.Cause(n.Labels[report.LabelCause])
	switch {
	case !n.Reports():
		r.State = nodeNoReport
		return r
	case n.Silent(now):
		r.State = nodeSilent
	case n.Facts != nil && n.Facts.CutOff():
		r.State = nodeCutOff
		fault, cause = report.FaultNode, n.Facts.Cause
	case r.Stuck > 0:
		r.State = nodeStuck
	case r.Unreachable > 0:
		r.State = nodeUnreachable
		fault, cause = "", worstHost(*n.Facts)
	}
	if r.State == nodeOK {
		return r
	}
	r.Fault, r.Cause = fault, cause
	return r
}

// worstHost returns the cause of the first host that fails: the worst state comes first.
func worstHost(f nodefacts.Facts) report.Cause {
	for _, h := range f.Hosts {
		if h.State.Bad() {
			return h.Cause
		}
	}
	return ""
}

// maxRows is how many rows a table has, unless the output is wide.
const maxRows = 40

// WriteNodes adds the table of nodes, and what they show together about nodes.
func WriteNodes(t *screen.Text, all cluster.Comparison, now time.Time, wide bool) {
	rows := NodeRows(all, now)
	if len(rows) == 0 {
		t.Para("There is no node.")
		return
	}
	header := []string{"NODE", "STATE", "CAUSE", "PODS", "HOSTS", "WRITTEN"}
	if wide {
		header = append(header, "FAULT", "ZONE", "POOL", "SUBNET", "RUNTIME")
	}
	traits := map[string]compare.Traits{}
	for _, n := range all.Nodes {
		traits[n.Name] = n.Traits
	}
	shown := rows
	if !wide && len(rows) > maxRows {
		shown = rows[:maxRows]
	}
	cells := make([][]screen.Cell, 0, len(shown))
	for _, r := range shown {
		row := screen.Cells(r.Node, r.State, string(r.Cause), strconv.Itoa(r.Stuck), hostsOf(r), ago(r.Written, now))
		row[1].Paint = func(s string) string { return t.Fault(ColorOf(r), s) }
		if wide {
			x := traits[r.Node]
			zone, pool := x[compare.TraitZone], x[compare.TraitPool]
			row = append(row, screen.Cells(string(r.Fault), zone, pool, x[compare.TraitSubnet], x[compare.TraitRuntime])...)
		}
		cells = append(cells, row)
	}
	t.Table(header, cells)
	if more := len(rows) - len(shown); more > 0 {
		t.Line("... and %s more, none of them worse: -o wide shows all", screen.Plural(more, "node"))
	}
	writeFindings(t, all.Result, func(f compare.Finding) bool { return f.About == compare.AboutNode })
}

// ColorOf returns the fault in whose color the state of a node is.
func ColorOf(r NodeRow) report.Fault {
	switch r.State {
	case nodeOK:
		return report.FaultNone
	case nodeSilent, nodeNoReport:
		return report.FaultUndetermined
	}
	return report.FaultNode
}

// hostsOf returns how many hosts fail, in words.
func hostsOf(r NodeRow) string {
	switch {
	case r.Hosts == 0:
		return ""
	case r.Unreachable == 0:
		return fmt.Sprintf("%d", r.Hosts)
	}
	return fmt.Sprintf("%d of %d fail", r.Unreachable, r.Hosts)
}

// ago returns how long ago a time is; empty for the zero time.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return readable.Roughly(max(0, now.Sub(at))) + " ago"
}

// writeFindings adds the findings that a filter keeps, in the text of the comparison.
func writeFindings(t *screen.Text, r compare.Result, keep func(compare.Finding) bool) {
	for _, f := range r.Findings {
		if keep(f) {
			t.Blank()
			WriteFinding(t, f)
		}
	}
}

// labelWidth is the column at which the texts of a finding begin (package compare).
const labelWidth = 16

// WriteFinding adds one finding, wrapped.
func WriteFinding(t *screen.Text, f compare.Finding) {
	for i, line := range strings.Split(strings.TrimRight(f.Text(), "\n"), "\n") {
		switch {
		case i == 0:
			t.Head(f.Fault, line, since(f))
		case i == 1 || len(line) < labelWidth || !strings.HasPrefix(line, "  "):
			t.Indented("  ", "  ", line)
		case readable.IsCommand(strings.TrimSpace(line[labelWidth:])):
			t.Line("%s", line)
		default:
			t.Indented(line[:labelWidth], strings.Repeat(" ", labelWidth), line[labelWidth:])
		}
	}
}

func since(f compare.Finding) string {
	if f.Since.IsZero() {
		return ""
	}
	return "since " + readable.Time(f.Since)
}

// WriteSummary adds the summary of a node's report as its agent wrote it, in color.
func WriteSummary(t *screen.Text, summary string) {
	faults := []report.Fault{report.FaultNode, report.FaultRegistry, report.FaultConfig, report.FaultUndetermined, report.FaultNone}
	for line := range strings.SplitSeq(strings.TrimRight(summary, "\n"), "\n") {
		line = t.Keep(line)
		for _, f := range faults {
			if strings.HasPrefix(line, string(f)+"  ") {
				line = t.Fault(f, line)
			}
		}
		t.Line("%s", line)
	}
}

// WriteAboutNode adds the findings in which a node is one of those that fail.
func WriteAboutNode(t *screen.Text, all cluster.Comparison, node string) {
	heading := false
	for _, f := range all.Result.Findings {
		if !slices.Contains(f.Failing.First, node) || f.Failing.Count+f.Through.Count < 2 {
			continue
		}
		t.Blank()
		if !heading {
			heading = true
			t.Line("%s", t.Bold("Compared with the other nodes"))
		}
		WriteFinding(t, f)
	}
}
