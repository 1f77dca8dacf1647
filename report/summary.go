package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// width is the number of columns that summaries are wrapped to.
const width = 80

// detail is how many diagnoses a summary shows with their evidence, how many with the
// fix, and how many at all; and whether reachable registries have a row each.
type detail struct {
	full, fixes, all int
	rows             bool
}

// details are the levels of detail, the most detailed first.
var details = []detail{{5, 20, 20, true}, {5, 20, 20, false}, {2, 10, 20, false}, {1, 5, 20, false}, {1, 3, 12, false}}

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

// AllNodesCommand shows the reports of all nodes, one line each.
const AllNodesCommand = "kubectl get cm -A -l pullprobe.dev/report -L pullprobe.dev/fault,pullprobe.dev/cause,pullprobe.dev/stuck"

// Summary returns the report as text for `kubectl describe cm`: verdicts first, by who
// must act, the worst fault first; then the registries, then the node.
func (n NodeReport) Summary() string { return n.summary(details[0]) }

func (n NodeReport) summary(level detail) string {
	var b strings.Builder
	wrapTo(&b, n.Node+": ", 15, n.headline()+".")
	fmt.Fprintf(&b, "Updated %s.\n", Time(n.Time))
	if who := n.whoActs(); who != "" {
		wrapTo(&b, "Who acts: ", 10, who+".")
	}
	n.writeDiskFault(&b)
	merged := n.writeIsolated(&b)
	n.writeDiagnoses(&b, merged, level)
	n.Sweep.writeRegistries(&b, level.rows)
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
	if level.rows {
		lines(&b, "all nodes", AllNodesCommand)
	}
	n.writeIncidents(&b)
	return b.String()
}

// whoActs returns how many pods wait for whom, if there are several.
func (n NodeReport) whoActs() string {
	var parts []string
	for _, f := range []Fault{FaultNode, FaultRegistry, FaultConfig, FaultUndetermined} {
		if pods := n.Faults.Of(f); pods > 0 {
			parts = append(parts, f.Who()+" ("+plural(pods, "pod")+")")
		}
	}
	if len(parts) < 2 {
		return ""
	}
	return strings.Join(parts, ", ")
}

// writeDiagnoses writes the diagnoses that are not merged, under a heading for each who
// must act.
func (n NodeReport) writeDiagnoses(w io.Writer, merged map[int]bool, level detail) {
	shown, left := 0, 0
	heading := ""
	for _, i := range n.byWeight() {
		d := n.Diagnoses[i]
		switch {
		case merged[i]:
			continue
		case shown >= level.all:
			left++
			continue
		}
		fmt.Fprintln(w)
		if h := d.Verdict.Fault.Heading(); h != heading {
			heading = h
			fmt.Fprintln(w, heading)
		}
		shown++
		if shown == level.full+1 {
			fmt.Fprintln(w, "(In short from here. The Events have more.)")
		}
		switch {
		case shown <= level.full:
			d.write(w, n.Time)
		case shown <= level.fixes:
			d.writeAnswer(w, n.Time)
		default:
			d.writeHead(w, n.Time)
			d.writePods(w)
		}
	}
	if left > 0 {
		fmt.Fprintf(w, "\n... and %d more in report.json\n", left)
	}
	if n.Omitted > 0 {
		fmt.Fprintf(w, "\n%d more diagnoses left out to keep this report small\n", n.Omitted)
	}
}

// Heading returns the line above the diagnoses with the fault.
func (f Fault) Heading() string {
	switch f {
	case FaultNone:
		return "Nothing is at fault here:"
	case FaultUndetermined:
		return "Who must act is not known yet:"
	default:
		return "To be fixed by " + f.Who() + ":"
	}
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
	if reasons := n.reasons(); n.Stuck > 1 && reasons > 0 {
		s += ", for " + plural(reasons, "reason")
	}
	if registries := n.Sweep.headline(); registries != "" {
		s += "; " + registries
	}
	if n.diskFails() {
		s += "; " + n.Disk.Cause.Meaning()
	}
	return s
}

// Since returns since when the first of the waiting pods waits; zero: none waits.
func (n NodeReport) Since() time.Time {
	var since time.Time
	for _, d := range n.Diagnoses {
		if d.Pods != nil && !d.Pods.Since.IsZero() && (since.IsZero() || d.Pods.Since.Before(since)) {
			since = d.Pods.Since
		}
	}
	return since
}

// reasons returns how many diagnoses the waiting pods have.
func (n NodeReport) reasons() int {
	reasons := n.Omitted
	for _, d := range n.Diagnoses {
		if d.Pods != nil && !d.Pods.Since.IsZero() {
			reasons++
		}
	}
	return reasons
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

// IsolatedFix is what fixes a node that reaches nothing.
const IsolatedFix = "check what every connection depends on (resolver, route, firewall, proxy), not a single registry"

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
		for _, p := range d.Refs() {
			if !slices.Contains(pods, p.Pod) {
				pods = append(pods, p.Pod)
			}
		}
	}
	fmt.Fprintf(w, "\n%s  %s  (%s)\n", FaultNode, c.Cause, confidence)
	field(w, "why", c.Summary)
	field(w, "fix", "on "+n.Node+": "+IsolatedFix)
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
func (d Diagnosis) Text(w io.Writer) { d.write(w, d.Time) }

// writeAnswer writes what is wrong, where, and what fixes it, as of a time.
func (d Diagnosis) writeAnswer(w io.Writer, at time.Time) {
	v := d.Verdict
	d.writeHead(w, at)
	d.writePods(w)
	field(w, "image", d.Image)
	field(w, "why", v.Summary)
	if v.Fix != "" {
		lines(w, "fix", v.Fix)
	}
	if others := d.otherFixes(); others != "" {
		field(w, "likewise", others)
	}
}

// write writes one diagnosis in full, as of a time.
func (d Diagnosis) write(w io.Writer, at time.Time) {
	d.writeAnswer(w, at)
	v := d.Verdict
	for _, s := range v.ToConfirm() {
		lines(w, "to confirm", s)
	}
	if len(v.Because) > 0 {
		field(w, "evidence", strings.Join(v.Because, ", "))
	}
	d.writeAlso(w)
	if not := d.notChecked(); not != "" {
		field(w, "not checked", not)
	}
	if !d.Time.IsZero() {
		field(w, "checked", Time(d.Time))
	}
	if d.Pods != nil && d.Pods.NextTry.After(at) {
		field(w, "next pull", "by the kubelet, "+When(d.Pods.NextTry, at))
	}
	if d.Pull != nil {
		field(w, "pull takes", d.Pull.String())
	}
	if d.Pod != "" {
		writeRetry(w, d.Pod)
	}
}

// Head returns fault, cause and confidence: the first line of a diagnosis.
func (v Verdict) Head() string {
	confidence := string(v.Confidence)
	switch {
	case v.Fault != FaultUndetermined || v.Cause == Undetermined:
	case v.Confidence == Confirmed:
		confidence = "seen; who must act is open"
	case v.Confidence == Likely:
		confidence = "likely; who must act is open"
	}
	return fmt.Sprintf("%s  %s  (%s)", v.Fault, v.Cause, confidence)
}

// writeHead writes fault, cause and confidence, and how many pods wait since when.
func (d Diagnosis) writeHead(w io.Writer, at time.Time) {
	head := d.Verdict.Head()
	tail := ""
	if d.Pods != nil && !d.Pods.Since.IsZero() {
		tail = plural(d.Pods.Count, "pod") + ", " + Roughly(max(0, at.Sub(d.Pods.Since)))
	}
	if tail != "" {
		head += strings.Repeat(" ", max(2, width-len(head)-len(tail))) + tail
	}
	fmt.Fprintln(w, head)
}

// writePods writes the pod, or the owners of several pods with the name of one.
func (d Diagnosis) writePods(w io.Writer) {
	if d.Pod == "" {
		return
	}
	namespace, name, _ := strings.Cut(d.Pod, "/")
	container := ""
	if d.Container != "" {
		container = " (" + d.Container + ")"
	}
	if d.Pods == nil || d.Pods.Count < 2 {
		text := d.Pod + container
		if d.Pods != nil && len(d.Pods.Owners) == 1 && d.Pods.Owners[0].Name != NoOwner {
			text += " of " + d.Pods.Owners[0].Name
		}
		field(w, "pod", text)
		return
	}
	var owners []string
	for _, o := range d.Pods.Owners[:min(3, len(d.Pods.Owners))] {
		if o.Name == NoOwner {
			owners = append(owners, plural(o.Pods, "pod")+" without an owner")
		} else {
			owners = append(owners, o.Name+" ("+plural(o.Pods, "pod")+")")
		}
	}
	text := strings.Join(owners, ", ")
	if more := len(d.Pods.Owners) + d.Pods.Omitted - len(owners); more > 0 {
		text += " and " + strconv.Itoa(more) + " more"
	}
	field(w, "pods", fmt.Sprintf("%s in %s: %s%s and %s", text, namespace, name, container, plural(d.Pods.Count-1, "other")))
}

// otherFixes returns for which other owners the fix is the same with their own names.
func (d Diagnosis) otherFixes() string {
	if d.Pods == nil {
		return ""
	}
	var names []string
	for _, o := range d.Pods.Owners {
		if o.Fix != "" {
			names = append(names, o.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return Abbreviate(names) + " (each command is in the Event on the pod, and in report.json)"
}

// plural returns a number with a noun in the right form.
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
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

// writeAlso writes a line for each other cause.
func (d Diagnosis) writeAlso(w io.Writer) {
	for _, text := range d.AlsoFound() {
		field(w, "also", text)
	}
}

// AlsoFound returns the other causes in words: what, where, and who must act.
func (d Diagnosis) AlsoFound() []string {
	var out []string
	for _, cause := range d.Verdict.Also {
		text := string(cause)
		if at := slices.IndexFunc(d.Checks, func(c Check) bool { return c.Outcome == Fail && c.Cause == cause }); at >= 0 {
			c := d.Checks[at]
			if c.Host != "" && !strings.Contains(c.Summary, c.Host) {
				text += " at " + c.Host
			}
			if c.Summary != "" && !strings.Contains(d.Verdict.Summary, c.Summary) {
				text += ": " + c.Summary
			}
		}
		if d.Verdict.Fault == FaultNone && d.Verdict.Cause != NotAPullProblem {
			text += "; does not block the pull"
		} else if who := cause.DefaultFault().Who(); who != "" {
			text += " (" + who + ")"
		}
		out = append(out, text)
	}
	return out
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
