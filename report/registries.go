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
	"github.com/pullprobe/pullprobe/report/redact"
)

// maxRows is how many hosts a summary lists.
const maxRows = 40

// maxFixes is how many hosts of a summary have a fix, the worst ones.
const maxFixes = 3

// rowFormat puts the host last: it is the only column of any length.
const rowFormat = "  %-11s  %-23s  %5s  %s\n"

// headline returns how many hosts are reachable; empty if there are none.
func (s *Sweep) headline() string {
	if s == nil {
		return ""
	}
	all := s.count(ReachUnknown) + s.count(Reachable) + s.Bad() + s.Omitted
	unreachable, limited := s.count(Unreachable), s.count(Limited)
	atLeast := ""
	if s.Bad() == len(s.Registries) && s.Omitted > 0 { // there may be others among those left out
		atLeast = "at least "
	}
	reached := s.count(Reachable) + s.Omitted
	switch {
	case s.Control.Outcome == Fail:
		return "nothing is reachable from this node"
	case unreachable > 0 && limited > 0:
		return fmt.Sprintf("%s%d of %d hosts do not serve this node (%d unreachable, %d rate-limited)",
			atLeast, unreachable+limited, all, unreachable, limited)
	case unreachable > 0:
		return atLeast + ofAll(unreachable, all, "unreachable")
	case limited > 0:
		return atLeast + ofAll(limited, all, "rate-limited")
	case reached < all:
		return ofAll(reached, all, "reachable")
	case all == 0:
		return ""
	case all == 1:
		return "its only host is reachable"
	}
	return fmt.Sprintf("all %d hosts are reachable", all)
}

func ofAll(n, all int, state string) string {
	verb := "are"
	if n == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%d of %s %s %s", n, readable.Plural(all, "host"), verb, state)
}

// writeRegistries writes the table of hosts, the unreachable ones first, each of
// these with the reason. Without rows for all, it only names the hosts that are
// reachable and have no remark, or counts them. A host of which the diagnoses above the table have the cause
// refers to it.
func (s *Sweep) writeRegistries(w io.Writer, level detail, explains func(Registry) Cause) {
	if s == nil || len(s.Registries) == 0 {
		return
	}
	fmt.Fprintf(w, "\nHosts (checked %s, in %s)\n", readable.Time(s.Time), readable.Duration(time.Duration(s.Duration)))
	s.writeHeading(w, level.rows)
	single := slices.DeleteFunc(s.writeMerged(w), Registry.ForOthers) // they are no registries of this node
	var plain []string
	if !level.rows {
		single = slices.DeleteFunc(single, func(r Registry) bool {
			if r.plain() {
				plain = append(plain, r.Host)
			}
			return r.plain()
		})
	}
	list := single[:min(len(single), maxRows)]
	fixes := 0
	for _, r := range list {
		above := explains(r)
		s.writeRow(w, r, above)
		fix := r.HowToFix()
		if r.State.Bad() && above == "" && fix != "" && fixes < maxFixes && s.Control.Outcome != Fail {
			readable.LinesAfter(w, strings.Repeat(" ", 15)+"fix: ", fix)
			fixes++
		}
	}
	if left := len(single) - len(list); left > 0 {
		fmt.Fprintf(w, "  ... and %d more in report.json\n", left)
	}
	switch {
	case len(plain) > 0 && level.cut == cutAll:
		fmt.Fprintf(w, "  %-11s  %s\n", Reachable, readable.Plural(len(plain), "host"))
	case len(plain) > 0:
		readable.Wrap(w, fmt.Sprintf("  %-11s  ", Reachable), strings.Join(plain, ", "))
	}
	if s.Omitted > 0 {
		fmt.Fprintf(w, "  ... and %d more left out to keep this report small\n", s.Omitted)
	}
}

// nothingExplains is where no diagnosis is above the table.
func nothingExplains(Registry) Cause { return "" }

// writeHeading writes the heads of the columns. The second has the cause of hosts that fail,
// and times of the others.
func (s *Sweep) writeHeading(w io.Writer, all bool) {
	const phases = "DNS/DIAL/TLS/HTTP"
	causes, times := false, false
	for _, r := range s.Registries {
		switch {
		case r.ForOthers():
		case r.State.Bad():
			causes = true
		default:
			times = times || r.Latency != (Latency{}) && (all || !r.plain())
		}
	}
	head := phases + " ms"
	if causes {
		head = "CAUSE"
		if times {
			head = "CAUSE, OR TIMES IN ms"
		}
	}
	fmt.Fprintf(w, rowFormat, "STATE", head, "CERT", "HOST")
	if causes && times {
		fmt.Fprintf(w, "%15s(%s)\n", "", phases)
	}
}

// HowToFix returns what makes the host reachable; empty if it is.
func (r Registry) HowToFix() string {
	_, fix := Advice(r.Cause, r.Fault, Reading{Host: r.Host})
	if r.Cause == HostNotFound && slices.Equal(r.Roles, []Role{RoleMirror}) {
		fix = "correct the name " + r.Host + " in the hosts.toml of this node that has it, or make it resolve here"
	}
	return cmp.Or(r.Fix, fix)
}

// plain reports whether the host is reachable and nothing else is worth saying.
func (r Registry) plain() bool { return r.State == Reachable && !r.Flapping && r.Summary == "" }

// writeMerged writes one row for all hosts that are silent with the same cause, if
// this node reaches nothing: the reason is above the table. It returns the others.
func (s *Sweep) writeMerged(w io.Writer) (single []Registry) {
	silent := map[Cause]int{}
	for _, r := range s.Registries {
		if s.Control.Outcome == Fail && r.Silent() {
			silent[r.Cause]++
		}
	}
	written := map[Cause]bool{}
	for _, r := range s.Registries {
		n := silent[r.Cause]
		if n < 2 || !r.Silent() {
			single = append(single, r)
			continue
		}
		if !written[r.Cause] {
			written[r.Cause] = true
			hosts := fmt.Sprintf("%d of %d", n, len(s.Registries)+s.Omitted)
			if n == len(s.Registries)+s.Omitted {
				hosts = fmt.Sprintf("all %d", n)
			}
			fmt.Fprintf(w, rowFormat, Unreachable, r.Cause, "-", hosts)
		}
	}
	return single
}

// writeRow writes one host, and below it what is worth saying about it, or the cause above
// the table that says it.
func (s *Sweep) writeRow(w io.Writer, r Registry, above Cause) {
	what := r.Latency.String()
	if r.State.Bad() {
		what = string(r.Cause)
	}
	state := string(r.State)
	if r.Flapping {
		state = "flapping"
	}
	fmt.Fprintf(w, rowFormat, state, what, r.Certificate.daysLeft(), r.Host)
	if text := s.reason(r, above); text != "" {
		readable.Wrap(w, strings.Repeat(" ", 15), text)
	}
}

// reason returns the text below a host in the table. If this node reaches nothing,
// the reason is above the table, once.
func (s *Sweep) reason(r Registry, above Cause) string {
	if s.Control.Outcome == Fail && r.Silent() {
		return ""
	}
	text := r.Summary
	since := "since " + readable.Time(r.Since)
	if r.Flapping {
		since = "keeps changing; " + string(r.State) + " " + since
	}
	switch {
	case r.State.Bad() && above != "":
		text = since + ": see " + string(above) + " above"
	case r.State.Bad() && r.Fault == FaultUndetermined:
		text = strings.TrimSuffix(since+": "+r.Summary, ": ") + "; who must act: not known"
	case r.State.Bad():
		text = strings.TrimSuffix(string(r.Fault)+", "+since+": "+r.Summary, ": ")
	case r.Flapping:
		text = strings.TrimSuffix(since+": "+r.Summary, ": ")
	}
	if r.State == Limited && r.NotBefore != nil {
		text += "; next check not before " + readable.Time(*r.NotBefore)
	}
	return text
}

// String returns the phases in milliseconds, with a dash for those that did not
// take place, and one dash if none did.
func (l Latency) String() string {
	var out []string
	for _, m := range []Millis{l.DNS, l.Dial, l.TLS, l.HTTP} {
		if m == 0 {
			out = append(out, "-")
			continue
		}
		out = append(out, strconv.FormatInt(time.Duration(m).Round(time.Millisecond).Milliseconds(), 10))
	}
	if l == (Latency{}) {
		return "-"
	}
	return strings.Join(out, "/")
}

func (c *Certificate) daysLeft() string {
	if c == nil {
		return "-"
	}
	return strconv.Itoa(c.DaysLeft) + "d"
}

// writeNode writes what a sweep found about the node itself, what is well only if asked for.
func (s *Sweep) writeNode(w io.Writer, well bool) {
	if s == nil {
		return
	}
	var resolvers []string
	for _, r := range s.Resolvers {
		if r.Outcome == Pass && !well {
			continue
		}
		text := strings.TrimSuffix(r.Address, ":53")
		switch {
		case r.Outcome == Pass:
			text += " answers (" + readable.Duration(time.Duration(r.Latency)) + ")"
		case r.Cause == ResolverUnreachable:
			text += " does not answer"
		default:
			text += " " + cmp.Or(string(r.Cause), r.Outcome.String())
		}
		resolvers = append(resolvers, text)
	}
	if len(resolvers) > 0 {
		readable.Field(w, "dns", strings.Join(resolvers, ", "))
	}
	if s.Clock.Outcome == Pass && well || s.Clock.Outcome == Fail {
		readable.Field(w, "clock", s.Clock.line())
	}
	for _, c := range s.Runtime {
		readable.Field(w, "config", c.line())
	}
	for _, c := range s.Conditions {
		if c.abnormal() {
			readable.Field(w, "kubelet", c.line())
		}
	}
}

// line returns the condition as one line.
func (c Condition) line() string {
	if c.Type == "DiskPressure" && c.Status == "True" {
		return "DiskPressure since " + readable.Time(c.Since) + ": the kubelet deletes images and evicts pods"
	}
	s := c.Type + " is " + c.Status + " since " + readable.Time(c.Since)
	if c.Reason != "" {
		s += " (" + c.Reason + ")"
	}
	return s
}

// abnormal reports whether the condition is worth a line: Ready should be True,
// the others False.
func (c Condition) abnormal() bool {
	return (c.Status == "True") != (c.Type == "Ready")
}

// Redacted returns the sweep with its texts prepared for publication. s may be nil.
func (s *Sweep) Redacted() *Sweep {
	if s == nil {
		return nil
	}
	text, out := redact.New(), *s
	out.Control, out.Clock = s.Control.Redacted(text), s.Clock.Redacted(text)
	out.Registries = slices.Clone(s.Registries)
	for i, r := range out.Registries {
		out.Registries[i] = r.redacted(text)
	}
	return &out
}

// fit returns a redacted copy that fits into limit, in bytes of JSON and summary together:
// the table may take limit/2, and no reachable host is added beyond limit/3. Unreachable
// hosts come first. Omitted counts those that were left out.
func (s *Sweep) fit(limit int) *Sweep {
	if s == nil {
		return nil
	}
	s = s.Redacted()
	out := *s
	out.Registries = make([]Registry, 0, len(s.Registries))
	size := 0
	for i, r := range s.Registries {
		size += r.size()
		if i < maxRows {
			var row strings.Builder
			out.writeRow(&row, r, "")
			size += row.Len()
		}
		if size > limit/2 || size > limit/3 && !r.State.Bad() {
			out.Omitted += len(s.Registries) - i
			break
		}
		out.Registries = append(out.Registries, r)
	}
	return &out
}

// maxHost is the longest name of a host with its port, in bytes.
const maxHost = 260

// redacted prepares the texts for publication. Summaries of checks are redacted
// already, but hosts and certificates are foreign text.
func (r Registry) redacted(text redact.Redactor) Registry {
	r.Host, r.Summary, r.Because = text.Text(r.Host, maxHost), text.Text(r.Summary, maxSummary), text.Text(r.Because, maxSummary)
	r.Fix = text.Text(r.Fix, 2*maxSummary)
	if r.Roles == nil {
		r.Roles = []Role{}
	}
	r.Mirrors = slices.Clone(r.Mirrors)
	for i := range r.Mirrors {
		r.Mirrors[i] = text.Text(r.Mirrors[i], maxHost)
	}
	if r.Certificate != nil {
		c := *r.Certificate
		c.Issuer = text.Text(c.Issuer, maxEvidence)
		r.Certificate = &c
	}
	return r
}
