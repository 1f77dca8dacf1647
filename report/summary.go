package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report/readable"
)

// detail is how much a summary shows.
type detail struct {
	cut   int  // how many of parts are left out of all diagnoses but the first
	fixes int  // how many diagnoses have why and fix
	all   int  // how many diagnoses there are
	rows  bool // reachable registries have a row each
	rest  bool // with past verdicts, and with what is well with the node
}

// part is what a diagnosis has in a summary beside its cause, its pod, why and fix.
type part int

// The parts, in the order in which they are left out.
const (
	partEvidence part = iota // with what was not checked, and how long a pull takes
	partAgain
	partConfirm
	partOthers  // names of other pods and owners
	partChecked // with the kubelet's next pull
	partImage
)

var partNames = []string{"evidence", "check again", "to confirm", "the names of other pods", "checked", "image"}

// maxFull is how many diagnoses have all parts at most, to keep the text short.
const maxFull = 5

// details are the levels of detail, the most detailed first. Past verdicts go first, why and fix last.
var details = func() []detail {
	const most = 20
	out := []detail{{fixes: most, all: most, rows: true, rest: true}, {fixes: most, all: most, rest: true}}
	for cut := range cutAll + 1 {
		out = append(out, detail{cut: cut, fixes: most, all: most})
	}
	for _, fixes := range []int{15, 12, 10, 9, 8, 7, 6, 5, 4, 3} {
		out = append(out, detail{cut: cutAll, fixes: fixes, all: most})
	}
	return append(out, detail{cut: cutAll, fixes: 3, all: 12})
}()

// cutAll is the cut at which the first diagnosis loses all parts, and reachable hosts their names.
const cutAll = int(partImage) + 2

// withoutFixes is the first of details at which a diagnosis loses why and fix.
const withoutFixes = cutAll + 3

// cutOf returns how many parts are left out of a diagnosis, by its place.
func (l detail) cutOf(place int) int {
	switch {
	case l.cut == cutAll:
		return len(partNames)
	case place == 0:
		return 0
	case place >= maxFull:
		return max(l.cut, int(partChecked))
	}
	return l.cut
}

// TimeLayout is how labels carry a time: RFC 3339 has characters that a label
// value may not have.
const TimeLayout = "20060102T150405Z"

// RetryCommand returns the command that requests a new diagnosis of a pod.
func RetryCommand(pod string) string {
	ns, name, ok := strings.Cut(pod, "/")
	if !ok {
		ns, name = "default", pod
	}
	return "kubectl -n " + ns + " annotate pod " + name + " probe=$(date +%s) --overwrite"
}

// Commands that show the reports of all nodes, one line each, and what the fleet says of them.
const (
	AllNodesCommand = "kubectl get cm -A -l pullprobe.dev/report -L pullprobe.dev/fault,pullprobe.dev/cause,pullprobe.dev/stuck"
	FleetCommand    = "kubectl get cm -A -l pullprobe.dev/fleet -o jsonpath='{..summary}'"
)

// allOfIt returns the command that shows the report without a limit of its length.
func (n NodeReport) allOfIt() string {
	return "kubectl get cm -A --field-selector metadata.name=" + ConfigMapName(n.Node, "") + ` -o jsonpath='{.items[*].data.report\.json}'`
}

// Summary returns the report as text: verdicts by who must act, the worst fault first; then hosts, then the node.
func (n NodeReport) Summary() string { return n.summary(details[0]) }

func (n NodeReport) summary(level detail) string {
	var b strings.Builder
	readable.WrapTo(&b, n.Node+": ", 15, n.headline()+".")
	fmt.Fprintf(&b, "Updated %s.\n", readable.Time(n.Time))
	if who := n.whoActs(); who != "" {
		readable.WrapTo(&b, "Who acts: ", 10, who+".")
	}
	n.writeDiskFault(&b)
	merged := n.writeIsolated(&b)
	n.writeDiagnoses(&b, merged, level)
	n.Sweep.writeRegistries(&b, level, n.explains)
	n.writeNode(&b, level)
	if level.rest {
		n.writeIncidents(&b)
	}
	if all := n.allOfIt(); strings.Contains(b.String(), "report.json") && !strings.Contains(b.String(), all) {
		fmt.Fprintf(&b, "\nAll of this report (report.json):\n  %s\n", all)
	}
	if level.cut < cutAll {
		fmt.Fprintf(&b, "\nAll reports:\n  %s\nNodes compared:\n  %s\n", AllNodesCommand, FleetCommand)
	}
	return b.String()
}

// writeNode writes the state of the node. What is well has no line if space is short.
func (n NodeReport) writeNode(w io.Writer, level detail) {
	var b strings.Builder
	switch {
	case n.diskFails():
	case n.Disk.Is(KeyFullSoon):
		readable.Field(&b, "disk", "WARNING: "+n.Disk.line())
	case level.rest || n.Disk.Outcome != Pass:
		readable.Field(&b, "disk", n.Disk.line())
	}
	if level.rest || n.Runtime.Outcome != Pass {
		readable.Field(&b, "runtime", n.Runtime.line())
	}
	n.Sweep.writeNode(&b, level.rest)
	if b.Len() > 0 {
		fmt.Fprint(w, "\nNode\n", b.String())
	}
}

// whoActs returns how many pods wait for whom, if there are several.
func (n NodeReport) whoActs() string {
	var parts []string
	add := func(who string, pods int) {
		if pods > 0 {
			parts = append(parts, who+" ("+readable.Plural(pods, "pod")+")")
		}
	}
	limited, limitedWho := n.limited()
	for _, f := range []Fault{FaultNode, FaultRegistry, FaultConfig, FaultUndetermined} {
		if f != FaultRegistry {
			add(f.Who(), n.Faults.Of(f))
			continue
		}
		add(f.Who(), n.Faults.Of(f)-limited)
		add(limitedWho, limited)
	}
	if len(parts) < 2 {
		return ""
	}
	return strings.Join(parts, ", ")
}

// limited returns how many of the pods that count for registries wait because of a limit of
// requests, and who must act on it.
func (n NodeReport) limited() (pods int, who string) {
	for _, d := range n.Diagnoses {
		waits := d.Pods == nil || !d.Pods.Since.IsZero()
		if v := d.Verdict; waits && v.Fault == FaultRegistry && v.Who() != v.Fault.Who() {
			pods, who = pods+d.podCount(), v.Who()
		}
	}
	return min(pods, n.Faults.Of(FaultRegistry)), who
}

// writeDiagnoses writes the diagnoses that are not merged, under headings that say who must act.
func (n NodeReport) writeDiagnoses(w io.Writer, merged map[int]bool, level detail) {
	shown, left := 0, 0
	heading := ""
	if n.isolated() {
		heading = Verdict{Fault: FaultNode}.Heading()
	}
	beside := n.besideFaults()
	for _, i := range n.byWeight() {
		d := n.Diagnoses[i]
		_, isBeside := beside[i]
		switch {
		case merged[i], isBeside:
			continue
		case shown >= level.all:
			left++
			continue
		}
		fmt.Fprintln(w)
		if h := d.Verdict.Heading(); h != heading {
			heading = h
			fmt.Fprintln(w, heading)
		}
		if shown < level.fixes {
			d.write(w, n.Time, n.withoutFault(beside, i), level.cutOf(shown))
		} else {
			d.writeHead(w, n.Time)
			d.writePods(w, true)
		}
		shown++
	}
	if left > 0 {
		fmt.Fprintf(w, "\n... and %d more in report.json\n", left)
	}
	if n.Omitted > 0 {
		fmt.Fprintf(w, "\n%d more diagnoses left out to keep this report small\n", n.Omitted)
	}
	if out := level.leftOut(shown); len(out) > 0 {
		fmt.Fprintln(w)
		readable.WrapTo(w, "", 0, "(To keep this short, left out: "+strings.Join(out, "; ")+". All of it, and a new check of a pod:)")
		fmt.Fprintf(w, "  %s\n  %s\n", n.allOfIt(), RetryCommand("NAMESPACE/POD"))
	}
}

// leftOut returns what is left out of a summary of so many entries.
func (l detail) leftOut(entries int) (out []string) {
	from := func(place int, what string) {
		if place < entries && what != "" {
			out = append(out, fmt.Sprintf("from entry %d on %s", place+1, what))
		}
	}
	if !l.rest {
		out = []string{"past verdicts, what is well with the node"}
	}
	if l.cut == cutAll {
		out = []string{"all but pods, why, fix"}
	} else {
		from(1, strings.Join(partNames[:l.cut], ", "))
		from(maxFull, strings.Join(partNames[l.cut:l.cutOf(maxFull)], ", "))
	}
	from(l.fixes, "why, fix")
	return out
}

// besideFaults returns which diagnoses without a fault are of pods that another diagnosis
// has with a fault, each with that one. They are a line there: on its own, such a container
// would seem to be all there is to the pod.
func (n NodeReport) besideFaults() map[int]int {
	byPod := map[string]int{}
	for i, d := range n.Diagnoses {
		if d.Verdict.Fault != FaultNone {
			for _, p := range d.Refs() {
				byPod[p.Pod] = i
			}
		}
	}
	beside := map[int]int{}
	for i, d := range n.Diagnoses {
		at, has := byPod[d.Pod]
		own := slices.ContainsFunc(d.Refs(), func(p PodRef) bool { _, has := byPod[p.Pod]; return !has })
		if d.Verdict.Fault == FaultNone && d.Verdict.Fix == "" && len(d.Verdict.Also) == 0 && has && !own {
			beside[i] = at
		}
	}
	return beside
}

// withoutFault returns the containers without a fault that are beside a diagnosis.
func (n NodeReport) withoutFault(beside map[int]int, at int) []string {
	var out []string
	for i, d := range n.Diagnoses {
		if of, has := beside[i]; has && of == at {
			out = append(out, "container "+d.Container+", image "+d.Image)
		}
	}
	return out
}

// Heading returns the line above the diagnoses of those who must act.
func (v Verdict) Heading() string {
	switch v.Fault {
	case FaultNone:
		return "No fault of image, node or registry:"
	case FaultUndetermined:
		return "Who must act is not known yet:"
	default:
		return "T" + strings.TrimPrefix(v.Who(), "t") + " must act:"
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
		s += ", for " + readable.Plural(reasons, "reason")
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
	beside := n.besideFaults()
	for i, d := range n.Diagnoses {
		if _, isBeside := beside[i]; !isBeside && d.Pods != nil && !d.Pods.Since.IsZero() {
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
	readable.Field(w, "disk", n.Disk.line())
	if !slices.ContainsFunc(n.Diagnoses, func(d Diagnosis) bool { return d.Verdict.Cause == n.Disk.Cause }) {
		p := StandIns()
		p.Node, p.Disk = n.Node, cmp.Or(n.Disk.Evidence[KeyMount], p.Disk)
		readable.Lines(w, "fix", p.Fill(n.Disk.Cause.Fix(n.Disk.Cause.DefaultFault())))
	}
}

// IsolatedFix returns what fixes a node that reaches nothing, by what all hosts fail with. An
// empty name is that of the node where this is read.
func IsolatedFix(node string, c Cause) string {
	p := StandIns()
	p.Node = cmp.Or(node, p.Node)
	if c.Stage() == StageDNS && c.DefaultFault() == FaultNode && c != ResolverWrongAnswer {
		return p.Fill(c.Fix(FaultNode))
	}
	return p.Fill("on {node}: check what every connection depends on (resolver, route, firewall, proxy), not a single registry")
}

// isolated reports whether the node reaches nothing.
func (n NodeReport) isolated() bool { return n.Sweep != nil && n.Sweep.Control.Outcome == Fail }

// writeIsolated writes one verdict for a node that reaches nothing, with all pods
// that wait for this reason. It returns the indices of their diagnoses.
func (n NodeReport) writeIsolated(w io.Writer) map[int]bool {
	merged := map[int]bool{}
	if !n.isolated() {
		return merged
	}
	c := n.Sweep.Control
	var pods []string
	v := Verdict{Fault: FaultNode, Cause: c.Cause, Confidence: Likely, Fix: IsolatedFix(n.Node, c.Cause)}
	for i, d := range n.Diagnoses {
		own := d.Verdict
		sure := own.Confidence == Confirmed
		switch {
		case own.Fault != FaultNode || !own.Cause.BeforeTLS():
			continue
		case sure && own.Cause == c.Cause: // by the runtime's message
			v.Confidence = Confirmed
			if own.Cause.Stage() == StageDNS {
				v.Fix = cmp.Or(own.Fix, v.Fix)
			}
		case sure && own.Cause.Stage() == StageDNS:
			continue // it says more than that the node reaches nothing
		case sure && c.Evidence[KeyWeak] == "":
			v.Confidence = Confirmed
		}
		merged[i] = true
		for _, p := range d.Refs() {
			if !slices.Contains(pods, p.Pod) {
				pods = append(pods, p.Pod)
			}
		}
	}
	fmt.Fprintf(w, "\n%s\n%s\n", v.Heading(), v.Title())
	readable.Field(w, "why", n.whyIsolated(merged))
	readable.Lines(w, "fix", v.Fix)
	if len(pods) > 0 {
		readable.Field(w, "pods", readable.Abbreviate(pods))
	}
	readable.Field(w, "checked", readable.Time(n.Sweep.Time))
	if len(pods) > 0 {
		readable.Lines(w, "check again", RetryCommand(pods[0]))
	}
	return merged
}

// whyIsolated returns that the node reaches nothing, with the hosts that waiting pods need
// first, and what all hosts fail with where that is the resolver.
func (n NodeReport) whyIsolated(merged map[int]bool) string {
	const most, fill = 5, 3
	c := n.Sweep.Control
	var hosts, others []string
	for _, r := range n.Sweep.Registries {
		switch {
		case !r.Silent() || r.ForOthers():
		case slices.ContainsFunc(n.Diagnoses, func(d Diagnosis) bool { return d.needs(r.Host) }):
			hosts = append(hosts, r.Host)
		default:
			others = append(others, r.Host)
		}
	}
	why := c.Summary
	if all, err := strconv.Atoi(c.Evidence[KeyAsked]); err == nil && len(hosts) > 0 {
		names := append(hosts[:min(len(hosts), most)], others[:min(len(others), max(0, fill-len(hosts)))]...)
		text := strings.Join(names, ", ")
		if more := all - len(names); more > 0 {
			text += " and " + strconv.Itoa(more) + " more"
		}
		why = "this node cannot reach any of " + readable.Plural(all, "host") + " (" + text + ")"
	}
	if c.Cause.Stage() == StageDNS {
		why += ": " + c.Cause.Meaning()
	}
	return why
}

// needs reports whether pods wait because this host was not reached.
func (d Diagnosis) needs(host string) bool {
	return d.Verdict.Fault != FaultNone && slices.ContainsFunc(d.Verdict.Because, func(id string) bool { return isAbout(id, host) })
}

// isAbout reports whether a check is about a host, by its id.
func isAbout(id, host string) bool { return slices.Contains(strings.Split(id, "/"), host) }

// explains returns the cause of the diagnosis that explains why a host fails; empty if none
// does.
func (n NodeReport) explains(r Registry) Cause {
	for _, d := range n.Diagnoses {
		v := d.Verdict
		if v.Fault != FaultNone && (slices.Contains(v.Because, r.Because) || v.Cause == r.Cause && d.needs(r.Host)) {
			return v.Cause
		}
	}
	return ""
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
func (d Diagnosis) Text(w io.Writer) { d.write(w, d.Time, nil, 0) }

// write writes one diagnosis, as of a time, with the containers beside it that have no fault,
// and without the first so many parts.
func (d Diagnosis) write(w io.Writer, at time.Time, noFault []string, cut int) {
	has := func(p part) bool { return int(p) >= cut }
	v := d.Verdict
	d.writeHead(w, at)
	d.writePods(w, has(partOthers))
	if has(partImage) {
		readable.Field(w, "image", d.Image)
	}
	readable.Field(w, "why", v.Summary)
	if v.Fix != "" {
		readable.Lines(w, "fix", v.Fix)
	}
	if others := d.otherFixes(); others != "" && has(partOthers) {
		readable.Field(w, "likewise", others)
	}
	if has(partConfirm) {
		for _, s := range v.ToConfirm() {
			readable.Lines(w, "to confirm", s)
		}
	}
	if len(v.Because) > 0 && has(partEvidence) {
		readable.Field(w, "evidence", strings.Join(v.Because, ", "))
	}
	for _, text := range d.AlsoFound() {
		readable.Field(w, "also", text)
	}
	for _, s := range noFault {
		readable.Field(w, "no fault", s)
	}
	if not := d.notChecked(); not != "" && has(partEvidence) {
		readable.Field(w, "not checked", not)
	}
	if has(partChecked) {
		if !d.Time.IsZero() {
			readable.Field(w, "checked", readable.Time(d.Time))
		}
		if d.Pods != nil && d.Pods.NextTry.After(at) {
			readable.Field(w, "next pull", "by the kubelet, about "+readable.Time(d.Pods.NextTry))
		}
	}
	if d.Pull != nil && has(partEvidence) {
		readable.Field(w, "pull takes", d.Pull.String())
	}
	if d.Pod != "" && has(partAgain) {
		readable.Lines(w, "check again", RetryCommand(d.Pod))
	}
}

// writeHead writes fault, cause and confidence, and how many pods wait since when. A time is
// right for a later reader, too; an age is not.
func (d Diagnosis) writeHead(w io.Writer, at time.Time) {
	head := d.Verdict.Title()
	if d.Pods != nil {
		layout := " since 15:04:05 UTC"
		switch {
		case d.Pods.Since.IsZero():
			layout = ", not waiting"
		case at.Sub(d.Pods.Since) >= 12*time.Hour:
			layout = " since 2006-01-02 15:04 UTC"
		}
		tail := readable.Plural(d.Pods.Count, "pod") + d.Pods.Since.UTC().Format(layout)
		if gap := readable.Width - len(head) - len(tail); gap >= 2 {
			fmt.Fprintln(w, head+strings.Repeat(" ", gap)+tail)
		} else {
			fmt.Fprintf(w, "%s\n%*s\n", head, readable.Width, tail)
		}
		return
	}
	fmt.Fprintln(w, head)
}

// writePods writes the pod; or, of several, the owners and the name of one.
func (d Diagnosis) writePods(w io.Writer, others bool) {
	if d.Pod == "" {
		return
	}
	namespace, name, _ := strings.Cut(d.Pod, "/")
	container := ""
	if d.Container != "" {
		container = " (" + d.Container + ")"
	}
	switch {
	case d.Pods == nil || d.Pods.Count < 2:
		text := d.Pod + container
		if d.Pods != nil && len(d.Pods.Owners) == 1 && d.Pods.Owners[0].Name != NoOwner {
			text += " of " + d.Pods.Owners[0].Name
		}
		readable.Field(w, "pod", text)
		return
	case !others:
		readable.Field(w, "pods", d.Pod+container+" and "+readable.Plural(d.Pods.Count-1, "other"))
		return
	}
	var owners []string
	for _, o := range d.Pods.Owners[:min(3, len(d.Pods.Owners))] {
		if o.Name == NoOwner {
			owners = append(owners, readable.Plural(o.Pods, "pod")+" without an owner")
		} else {
			owners = append(owners, o.Name+" ("+readable.Plural(o.Pods, "pod")+")")
		}
	}
	text := strings.Join(owners, ", ")
	if more := len(d.Pods.Owners) + d.Pods.Omitted - len(owners); more > 0 {
		text += " and " + strconv.Itoa(more) + " more"
	}
	readable.Field(w, "pods", fmt.Sprintf("%s in %s: %s%s and %s", text, namespace, name, container, readable.Plural(d.Pods.Count-1, "other")))
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
	return readable.Abbreviate(names) + " (each command is in the Event on the pod, and in report.json)"
}

// ToConfirm returns what would settle an open question, without what fix or summary
// have already.
func (v Verdict) ToConfirm() []string {
	return slices.DeleteFunc(slices.Clone(v.WouldDecide), func(s string) bool {
		return strings.Contains(v.Fix, s) || strings.Contains(v.Summary, s)
	})
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
		} else if who := whoActs(cause.DefaultFault(), cause); who != "" {
			text += " (" + who + ")"
		}
		out = append(out, text)
	}
	return out
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
