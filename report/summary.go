package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
)

// width is the number of columns that summaries are wrapped to.
const width = 80

// shown is how many diagnoses a summary spells out.
const shown = 20

// TimeLayout is how labels carry a time: RFC 3339 has characters that a label
// value may not have.
const TimeLayout = "20060102T150405Z"

// Ask is the line that asks for a new diagnosis of a pod.
func Ask(pod string) string {
	ns, name, ok := strings.Cut(pod, "/")
	if !ok {
		ns, name = "default", pod
	}
	return "kubectl annotate pod -n " + ns + " " + name + " probe=$(date +%s) --overwrite"
}

// Summary writes the report for a person who reads `kubectl describe cm`:
// verdicts first, the worst fault first, then the registries, then the node.
func (n Node) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s.\nLast looked at %s.\n", n.Node, n.headline(), n.Time.UTC().Format(time.RFC3339))
	told := n.cutOff(&b)
	spelt, left := 0, 0
	for _, i := range n.byWeight() {
		switch {
		case told[i]:
			continue
		case spelt >= shown:
			left++
			continue
		}
		spelt++
		b.WriteByte('\n')
		n.Diagnoses[i].Text(&b)
	}
	if left > 0 {
		fmt.Fprintf(&b, "\n... and %d more in report.json\n", left)
	}
	if n.Omitted > 0 {
		fmt.Fprintf(&b, "\n%d more diagnoses left out to keep this report small\n", n.Omitted)
	}
	n.Sweep.table(&b)
	b.WriteString("\nNode\n")
	field(&b, "disk", n.Disk.state())
	field(&b, "runtime", n.Runtime.state())
	n.Sweep.node(&b)
	return b.String()
}

func (n Node) headline() string {
	s := fmt.Sprintf("%d pods wait for an image", n.Stuck)
	switch n.Stuck {
	case 0:
		s = "no pod waits for an image"
	case 1:
		s = "1 pod waits for an image"
	}
	if n.Sweep != nil {
		all := len(n.Sweep.Registries) + n.Sweep.Omitted
		switch bad := n.Sweep.Bad(); {
		case n.Sweep.Control.Outcome == Fail:
			s += "; nothing can be reached from here"
		case bad > 0 && bad == len(n.Sweep.Registries) && bad < all: // there may be others among those left out
			s += fmt.Sprintf("; at least %d of %d registry hosts cannot be had", bad, all)
		case bad > 0:
			s += fmt.Sprintf("; %d of %d registry hosts cannot be had", bad, all)
		case n.Sweep.count(Reachable)+n.Sweep.Omitted < all:
			s += fmt.Sprintf("; %d of %d registry hosts can be reached", n.Sweep.count(Reachable)+n.Sweep.Omitted, all)
		case all == 1:
			s += "; its one registry host can be reached"
		case all > 0:
			s += fmt.Sprintf("; all %d registry hosts can be reached", all)
		}
	}
	return s
}

// cutOff writes the one verdict on a node that reaches nothing, with the pods
// that wait for no other reason; it gives the diagnoses that are told with it.
func (n Node) cutOff(w io.Writer) map[int]bool {
	told := map[int]bool{}
	if n.Sweep == nil || n.Sweep.Control.Outcome != Fail {
		return told
	}
	var pods []string
	confidence := Likely
	for i, d := range n.Diagnoses {
		if s := stage(d.Verdict.Cause); d.Verdict.Fault == FaultNode && (s == stageDNS || s == stageDial) {
			told[i] = true
			if d.Verdict.Confidence == Confirmed && n.Sweep.Control.Evidence["weak"] == "" {
				confidence = Confirmed // the runtime says so, too
			}
			if d.Pod != "" && !slices.Contains(pods, d.Pod) {
				pods = append(pods, d.Pod)
			}
		}
	}
	c := n.Sweep.Control
	fmt.Fprintf(w, "\n%s  %s  (%s)\n", FaultNode, c.Cause, confidence)
	field(w, "why", c.Summary)
	field(w, "fix", "on "+n.Node+": find what cuts it off from all of them (resolver, route, firewall, proxy), not what is wrong with one registry")
	if len(pods) > 0 {
		field(w, "pods", few(pods))
	}
	field(w, "at", n.Sweep.Time.UTC().Format(time.RFC3339))
	if len(pods) > 0 {
		again(w, pods[0])
	}
	return told
}

// state is the check as one line.
func (c Check) state() string {
	switch {
	case c.Outcome == Unknown:
		return "not looked at yet"
	case c.Outcome == Fail && c.Cause != "":
		return string(c.Cause) + ": " + c.Summary
	case c.Outcome == Skipped:
		return "not looked at: " + c.Summary
	}
	return c.Summary
}

// Text writes one diagnosis for a person.
func (d Diagnosis) Text(w io.Writer) {
	v := d.Verdict
	fmt.Fprintf(w, "%s  %s  (%s)\n", v.Fault, v.Cause, v.Confidence)
	if d.Pod != "" {
		pod := d.Pod
		if d.Container != "" {
			pod += " (" + d.Container + ")"
		}
		field(w, "pod", pod)
	}
	field(w, "image", d.Image)
	field(w, "why", v.Summary)
	if v.Fix != "" {
		field(w, "fix", v.Fix)
	}
	for _, s := range v.WouldDecide {
		field(w, "decides", s)
	}
	if len(v.Because) > 0 {
		field(w, "because", strings.Join(v.Because, ", "))
	}
	if len(v.Also) > 0 {
		also := make([]string, len(v.Also))
		for i, c := range v.Also {
			also[i] = string(c)
		}
		field(w, "also", strings.Join(also, ", "))
	}
	if not := d.notChecked(); not != "" {
		field(w, "skipped", not)
	}
	if !d.Time.IsZero() {
		field(w, "at", d.Time.UTC().Format(time.RFC3339))
	}
	if d.Pod != "" {
		again(w, d.Pod)
	}
}

// again is the line that asks again: whole, to be copied.
func again(w io.Writer, pod string) { fmt.Fprintf(w, "  %-8s %s\n", "again", Ask(pod)) }

// notChecked names the checks that nobody blocked and that were still not
// made, with the reason.
func (d Diagnosis) notChecked() string {
	var out []string
	for _, c := range d.Checks {
		if c.Outcome == Skipped && c.BlockedBy == "" && c.Kind != KindControl {
			out = append(out, c.ID+" ("+c.Summary+")")
		}
	}
	return strings.Join(out, "; ")
}

// ASCII writes a question mark for every character outside ASCII, for terminals
// that show nothing else.
func ASCII(text string) string {
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, text)
}

// field writes a labelled text, wrapped with a hanging indent. Words longer
// than a line are left whole: they are names to be copied.
func field(w io.Writer, label, text string) {
	wrap(w, fmt.Sprintf("  %-8s ", label), text)
}

// wrap writes a text after a head, and wraps it to lines that are indented as
// far as the head reaches.
func wrap(w io.Writer, head, text string) {
	indent := len(head)
	line, col, first := head, indent, true
	for word := range strings.FieldsSeq(text) {
		if !first && col+1+len(word) > width {
			fmt.Fprintln(w, line)
			line, col, first = strings.Repeat(" ", indent), indent, true
		}
		if !first {
			line += " "
			col++
		}
		line += word
		col += len(word)
		first = false
	}
	fmt.Fprintln(w, line)
}

// Worst is the verdict that speaks for a node: the most severe fault, and of
// those the newest. Without diagnoses the node is healthy as far as is known.
func Worst(diagnoses []Diagnosis) (Fault, Cause) {
	fault, cause := FaultNone, Healthy
	var at time.Time
	for _, d := range diagnoses {
		v := d.Verdict
		if Worse(v.Fault, fault) || v.Fault == fault && (cause == Healthy || d.Time.After(at)) {
			fault, cause, at = v.Fault, cmp.Or(v.Cause, Undetermined), d.Time
		}
	}
	return fault, cause
}
