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

// maxDiagnoses is how many diagnoses a summary shows in full.
const maxDiagnoses = 20

// TimeLayout is how labels carry a time: RFC 3339 has characters that a label
// value may not have.
const TimeLayout = "20060102T150405Z"

// RetryCommand returns the command that requests a new diagnosis of a pod.
func RetryCommand(pod string) string {
	ns, name, ok := strings.Cut(pod, "/")
	if !ok {
		ns, name = "default", pod
	}
	return "kubectl annotate pod -n " + ns + " " + name + " probe=$(date +%s) --overwrite"
}

// Summary returns the report as text for `kubectl describe cm`: verdicts first,
// the worst fault first, then the registries, then the node.
func (n NodeReport) Summary() string {
	var b strings.Builder
	wrapTo(&b, n.Node+": ", 15, n.headline()+".")
	fmt.Fprintf(&b, "Updated %s.\n", Time(n.Time))
	n.writeDiskFault(&b)
	merged := n.writeIsolated(&b)
	shown, left := 0, 0
	for _, i := range n.byWeight() {
		switch {
		case merged[i]:
			continue
		case shown >= maxDiagnoses:
			left++
			continue
		}
		shown++
		b.WriteByte('\n')
		n.Diagnoses[i].Text(&b)
	}
	if left > 0 {
		fmt.Fprintf(&b, "\n... and %d more in report.json\n", left)
	}
	if n.Omitted > 0 {
		fmt.Fprintf(&b, "\n%d more diagnoses left out to keep this report small\n", n.Omitted)
	}
	n.Sweep.writeRegistries(&b)
	b.WriteString("\nNode\n")
	if !n.diskFails() {
		disk := n.Disk.line()
		if n.Disk.Is(KeyFullSoon) {
			disk = "WARNING: " + disk
		}
		field(&b, "disk", disk)
	}
	field(&b, "runtime", n.Runtime.line())
	n.Sweep.writeNode(&b)
	return b.String()
}

// headline returns the first line: pods that wait, registries that fail.
func (n NodeReport) headline() string {
	s := fmt.Sprintf("%d pods are waiting for an image", n.Stuck)
	switch n.Stuck {
	case 0:
		s = "no pod is waiting for an image"
	case 1:
		s = "1 pod is waiting for an image"
	}
	if registries := n.Sweep.headline(); registries != "" {
		s += "; " + registries
	}
	if n.diskFails() {
		s += "; " + n.Disk.Cause.Meaning()
	}
	return s
}

func (n NodeReport) diskFails() bool {
	return n.Disk.Outcome == Fail && n.Disk.Cause.Meaning() != ""
}

// writeDiskFault writes what is wrong with the image file system: it concerns every
// pod. The fix is left to the diagnosis of a pod that has it.
func (n NodeReport) writeDiskFault(w io.Writer) {
	if !n.diskFails() {
		return
	}
	field(w, "disk", n.Disk.line())
	if !slices.ContainsFunc(n.Diagnoses, func(d Diagnosis) bool { return d.Verdict.Cause == n.Disk.Cause }) {
		p := StandIns()
		p.Node, p.Disk = n.Node, cmp.Or(n.Disk.Evidence[KeyMount], p.Disk)
		lines(w, "fix", p.Fill(n.Disk.Cause.Fix(n.Disk.Cause.DefaultFault())))
	}
}

// writeIsolated writes one verdict for a node that reaches nothing, with all pods
// that wait for this reason. It returns the indices of their diagnoses.
func (n NodeReport) writeIsolated(w io.Writer) map[int]bool {
	merged := map[int]bool{}
	if n.Sweep == nil || n.Sweep.Control.Outcome != Fail {
		return merged
	}
	c := n.Sweep.Control
	var pods []string
	confidence := Likely
	for i, d := range n.Diagnoses {
		if d.Verdict.Fault != FaultNode || !d.Verdict.Cause.BeforeTLS() {
			continue
		}
		merged[i] = true
		if d.Verdict.Confidence == Confirmed && c.Evidence[KeyWeak] == "" {
			confidence = Confirmed // by the runtime's message
		}
		if d.Pod != "" && !slices.Contains(pods, d.Pod) {
			pods = append(pods, d.Pod)
		}
	}
	fmt.Fprintf(w, "\n%s  %s  (%s)\n", FaultNode, c.Cause, confidence)
	field(w, "why", c.Summary)
	field(w, "fix", "on "+n.Node+": check what every connection depends on (resolver, route, firewall, proxy), not a single registry")
	if len(pods) > 0 {
		field(w, "pods", Abbreviate(pods))
	}
	field(w, "checked", Time(n.Sweep.Time))
	if len(pods) > 0 {
		writeRetry(w, pods[0])
	}
	return merged
}

// line returns the check as one line.
func (c Check) line() string {
	switch {
	case c.Outcome == Unknown:
		return "not checked yet"
	case c.Outcome == Fail && c.Cause != "":
		return string(c.Cause) + ": " + c.Summary
	case c.Outcome == Skipped:
		return "not checked: " + c.Summary
	}
	return c.Summary
}

// Text writes one diagnosis for people.
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
	if fix := v.Fix; fix != "" {
		if v.Fault == FaultUndetermined && v.Confidence == Confirmed {
			fix = "who acts: not known; " + fix
		}
		lines(w, "fix", fix)
	}
	for _, s := range v.ToConfirm() {
		lines(w, "to confirm", s)
	}
	if len(v.Because) > 0 {
		field(w, "evidence", strings.Join(v.Because, ", "))
	}
	if len(v.Also) > 0 {
		field(w, "also", d.also())
	}
	if not := d.notChecked(); not != "" {
		field(w, "not checked", not)
	}
	if !d.Time.IsZero() {
		field(w, "checked", Time(d.Time))
	}
	if d.Pod != "" {
		writeRetry(w, d.Pod)
	}
}

func joinCauses(causes []Cause) string {
	names := make([]string, len(causes))
	for i, c := range causes {
		names[i] = string(c)
	}
	return strings.Join(names, ", ")
}

// ToConfirm returns what would settle an open question, without what fix or summary
// have already.
func (v Verdict) ToConfirm() []string {
	return slices.DeleteFunc(slices.Clone(v.WouldDecide), func(s string) bool {
		return strings.Contains(v.Fix, s) || strings.Contains(v.Summary, s)
	})
}

// also lists the other causes. If the image can be pulled, it says where each was found.
func (d Diagnosis) also() string {
	if d.Verdict.Fault != FaultNone || d.Verdict.Cause == NotAPullProblem {
		return joinCauses(d.Verdict.Also)
	}
	var out []string
	for _, cause := range d.Verdict.Also {
		text := string(cause)
		if i := slices.IndexFunc(d.Checks, func(c Check) bool { return c.Outcome == Fail && c.Cause == cause && c.Host != "" }); i >= 0 {
			text += " (" + d.Checks[i].Host + "; does not block the pull)"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// writeRetry writes the command that requests a new diagnosis, unwrapped, so that
// it can be copied.
func writeRetry(w io.Writer, pod string) {
	fmt.Fprintf(w, labelFormat+"%s\n", "retry", RetryCommand(pod))
}

// notChecked lists the checks that were not made although no other check blocked
// them, with the reason. What a silent runtime leaves unknown is one entry.
func (d Diagnosis) notChecked() string {
	const runtimeView = "everything that needs the runtime's view (it does not answer)"
	var out []string
	for _, c := range d.Checks {
		switch {
		case c.Outcome != Skipped, c.BlockedBy != "", c.Kind == KindControl, slices.Contains(d.Verdict.WouldDecide, c.ByHand()):
		case d.Verdict.Cause == RuntimeUnavailable && c.NeedsRuntimeView():
			if !slices.Contains(out, runtimeView) {
				out = append(out, runtimeView)
			}
		default:
			out = append(out, c.ID+" ("+c.Summary+")")
		}
	}
	return strings.Join(out, "; ")
}

// ASCII returns the text with a question mark for every character outside ASCII,
// for terminals that show nothing else.
func ASCII(text string) string {
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, text)
}

// labelFormat indents a label and pads it to the longest, "not checked".
const labelFormat = "  %-11s  "

// field writes a labelled text, wrapped with a hanging indent. It does not break
// words longer than a line: they are names to be copied.
func field(w io.Writer, label, text string) {
	wrap(w, fmt.Sprintf(labelFormat, label), text)
}

// lines writes a labelled text that may have several lines. A command is not wrapped, so
// that it can be copied.
func lines(w io.Writer, label, text string) {
	linesAfter(w, fmt.Sprintf(labelFormat, label), text)
}

// linesAfter writes the lines of a text after a head, as [lines] does.
func linesAfter(w io.Writer, head, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		if IsCommand(line) {
			fmt.Fprintln(w, head+line)
		} else {
			wrap(w, head, line)
		}
		head = strings.Repeat(" ", len(head))
	}
}

// wrap writes a text after a head, in lines that are indented as far as the head
// reaches.
func wrap(w io.Writer, head, text string) { wrapTo(w, head, len(head), text) }

// wrapTo writes a text after a head, with the following lines indented.
func wrapTo(w io.Writer, head string, indent int, text string) {
	line, col, first := head, len(head), true
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
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

// Worst returns the verdict that represents a node: the most severe fault, and of
// those the newest. Without diagnoses a node is healthy as far as is known.
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
