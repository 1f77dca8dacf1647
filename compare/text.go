package compare

import (
	"fmt"
	"io"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// maxShown is how many names of nodes a line has.
const maxShown = 5

// WriteText writes the result for people: a headline for each finding, then who gets
// through, who does not, and what sets them apart.
func (r Result) WriteText(w io.Writer) error {
	var b strings.Builder
	reporting := r.Nodes - r.Silent.Count
	fmt.Fprintf(&b, "%d of %d nodes report", reporting, r.Nodes)
	if r.Silent.Count > 0 {
		fmt.Fprintf(&b, " (no report: %s)", r.Silent)
	}
	bad := 0
	for _, h := range r.Hosts {
		if h.Failing > 0 {
			bad++
		}
	}
	fmt.Fprintf(&b, "; %d of %d hosts fail on some node\n", bad, len(r.Hosts)+r.HostsOmitted)
	for _, f := range r.Findings {
		b.WriteString("\n")
		f.write(&b)
	}
	if r.Omitted > 0 {
		fmt.Fprintf(&b, "\n... and %d more findings\n", r.Omitted)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Text returns the finding for people.
func (f Finding) Text() string {
	var b strings.Builder
	f.write(&b)
	return b.String()
}

func (f Finding) write(b *strings.Builder) {
	v := report.Verdict{Fault: f.Fault, Cause: f.Cause, Confidence: f.Confidence}
	fmt.Fprintf(b, "%s\n  %s\n", v.Title(), f.Summary)
	if who := v.Who(); who != "" {
		line(b, "who acts", who)
	}
	if f.Also.Count > 0 {
		line(b, "also", f.Also.String())
	}
	failing, through := "failing", "through"
	if f.About == AboutNode {
		failing, through = "nodes", "not so"
	}
	line(b, failing, f.Failing.String())
	if len(f.How) > 1 {
		var how []string
		for _, c := range f.How {
			how = append(how, fmt.Sprintf("%s on %d", c.Cause, c.Nodes))
		}
		line(b, "with", strings.Join(how, ", "))
	}
	if f.Through.Count > 0 {
		line(b, through, f.Through.String())
	}
	for _, a := range f.Neither {
		label := "not counted"
		switch a.Rule {
		case otherwise:
			label = "also failing"
		case onlyAsked:
			label = "not affected"
		}
		line(b, label, fmt.Sprintf("%s (%s)", a.Names, a.Why))
	}
	for _, s := range f.SetsApart {
		line(b, "set apart by", s.String())
	}
	for i, s := range f.Shares {
		label := ""
		if i == 0 {
			label = "shares"
		}
		line(b, label, s.String())
	}
	for _, s := range f.Rivals {
		line(b, "or else", s)
	}
	for _, s := range f.WouldDecide {
		line(b, "to confirm", s)
	}
}

// line writes one labelled line. A command keeps a line of its own.
func line(b *strings.Builder, label, text string) {
	for i, part := range strings.Split(text, "\n") {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(b, "  %-12s  %s\n", label, part)
	}
}

// String returns how many nodes there are and the names of the first.
func (n Names) String() string {
	if n.Count == 0 {
		return "0"
	}
	first := n.First[:min(len(n.First), maxShown)]
	text := strings.Join(first, ", ")
	if more := n.Count - len(first); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%d: %s", n.Count, text)
}
