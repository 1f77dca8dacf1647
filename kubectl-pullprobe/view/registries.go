package view

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/report"
)

// HostRow is one host in the list of registries.
type HostRow struct {
	compare.Tally
	Fault      report.Fault      `json:"fault,omitempty"`
	Cause      report.Cause      `json:"cause,omitempty"`
	Confidence report.Confidence `json:"confidence,omitempty"`
}

// HostRows returns the hosts, those at which most nodes fail first.
func HostRows(r compare.Result) []HostRow {
	out := make([]HostRow, 0, len(r.Hosts))
	for _, h := range r.Hosts {
		row := HostRow{Tally: h}
		for _, f := range r.Findings {
			if f.About == compare.AboutHost && about(f, h.Host) {
				row.Fault, row.Cause, row.Confidence = f.Fault, f.Cause, f.Confidence
				break
			}
		}
		out = append(out, row)
	}
	return out
}

// WriteRegistries adds the table of hosts, and what the nodes show together about hosts.
func WriteRegistries(t *screen.Text, all cluster.Comparison, wide bool) {
	rows := HostRows(all.Result)
	if len(rows) == 0 {
		t.Para("No node has checked a registry yet.")
		return
	}
	shown := rows
	if !wide && len(rows) > maxRows {
		shown = rows[:maxRows]
	}
	cells := make([][]screen.Cell, 0, len(shown))
	for _, r := range shown {
		row := screen.Cells(r.Host, strconv.Itoa(r.Through), strconv.Itoa(r.Failing), strconv.Itoa(r.Other), string(r.Cause), string(r.Fault))
		f := report.FaultNone
		if r.Failing > 0 {
			f = cmp.Or(r.Fault, report.FaultUndetermined)
		}
		row[0].Paint = func(s string) string { return t.Fault(f, s) }
		cells = append(cells, row)
	}
	t.Table([]string{"HOST", "THROUGH", "FAILING", "NOT COUNTED", "CAUSE", "WHO ACTS"}, cells)
	if more := len(rows) - len(shown) + all.Result.HostsOmitted; more > 0 {
		t.Line("... and %s more, none of them worse: -o wide shows all", screen.Plural(more, "host"))
	}
	writeFindings(t, all.Result, func(f compare.Finding) bool { return f.About == compare.AboutHost })
}

// Sight is how one node sees a host.
type Sight struct {
	Node string `json:"node"`
	nodefacts.Host
	Counts bool `json:"counts"` // the observation is recent enough
}

// Sights returns how the nodes see a host, those that fail first.
func Sights(all cluster.Comparison, host string, now time.Time) (out []Sight) {
	for _, n := range all.Nodes {
		if n.Facts == nil {
			continue
		}
		if h, ok := n.Facts.Host(host); ok {
			out = append(out, Sight{n.Name, h, !n.Silent(now)})
		}
	}
	rank := []report.HostState{report.Unreachable, report.Limited, report.ReachUnknown, report.Reachable}
	slices.SortStableFunc(out, func(a, b Sight) int {
		return cmp.Or(slices.Index(rank, a.State)-slices.Index(rank, b.State), cmp.Compare(a.Node, b.Node))
	})
	return out
}

// WriteRegistry adds what the nodes see of one host, and what sets those apart that fail.
func WriteRegistry(t *screen.Text, all cluster.Comparison, host string, now time.Time, wide bool) {
	sights := Sights(all, host, now)
	for _, h := range all.Result.Hosts {
		if h.Host == host {
			t.Para(tally(h))
		}
	}
	writeFindings(t, all.Result, func(f compare.Finding) bool { return f.About == compare.AboutHost && about(f, host) })
	t.Blank()
	shown := sights
	if !wide && len(sights) > maxRows {
		shown = sights[:maxRows]
	}
	header := []string{"NODE", "STATE", "CAUSE", "SINCE", "ADDRESS"}
	if wide {
		header = append(header, "CERTIFICATE", "MIRRORS", "CHECKED")
	}
	cells := make([][]screen.Cell, 0, len(shown))
	for _, s := range shown {
		row := screen.Cells(s.Node, stateOf(s), string(s.Cause), ago(s.Since.Time(), now), s.Used)
		f := report.FaultNone
		switch {
		case s.State.Bad():
			f = report.FaultNode
		case s.State != report.Reachable || !s.Counts:
			f = report.FaultUndetermined
		}
		row[1].Paint = func(text string) string { return t.Fault(f, text) }
		if wide {
			row = append(row, screen.Cells(s.Certificate, strings.Join(s.Mirrors, ","), ago(s.Checked.Time(), now))...)
		}
		cells = append(cells, row)
	}
	t.Table(header, cells)
	if more := len(sights) - len(shown); more > 0 {
		t.Line("... and %s more, none of them worse: -o wide shows all", screen.Plural(more, "node"))
	}
}

// stateOf returns the state of a host as a node sees it.
func stateOf(s Sight) string {
	text := string(s.State)
	if s.Flapping {
		text += ", flapping"
	}
	if !s.Counts {
		text += " (silent)"
	}
	return text
}

func tally(h compare.Tally) string {
	text := h.Host + ": " + screen.Plural(h.Through, "node") + " " + verb(h.Through, "get", "gets") + " through, " +
		strconv.Itoa(h.Failing) + " " + verb(h.Failing, "do", "does") + " not"
	if h.Other > 0 {
		text += "; of " + strconv.Itoa(h.Other) + " the check does not count"
	}
	return text + "."
}

// verb returns the form of a verb for so many.
func verb(n int, many, one string) string {
	if n == 1 {
		return one
	}
	return many
}
