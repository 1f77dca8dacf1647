package report

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// rows is how many hosts a summary lists.
const rows = 40

// rowFormat puts the host last: it is the only column that may be of any length.
const rowFormat = "  %-11s  %-23s  %5s  %s\n"

// table writes the registry hosts, those that cannot be had first, each of these
// with the reason.
func (s *Sweep) table(w io.Writer) {
	if s == nil || len(s.Registries) == 0 {
		return
	}
	fmt.Fprintf(w, "\nRegistries, swept %s in %d ms\n", s.Time.UTC().Format(time.RFC3339), time.Duration(s.Duration).Milliseconds())
	fmt.Fprintf(w, rowFormat, "STATE", "DNS/DIAL/TLS/HTTP ms", "CERT", "HOST")
	list := s.Registries[:min(len(s.Registries), rows)]
	for _, r := range list {
		s.row(w, r)
	}
	if left := len(s.Registries) - len(list); left > 0 {
		fmt.Fprintf(w, "  ... and %d more in report.json\n", left)
	}
	if s.Omitted > 0 {
		fmt.Fprintf(w, "  ... and %d more left out to keep this report small\n", s.Omitted)
	}
}

// row is one host, and below it what is to be said of it.
func (s *Sweep) row(w io.Writer, r Registry) {
	what := r.Latency.String()
	if r.State.Bad() {
		what = string(r.Cause)
	}
	state := string(r.State)
	if r.Flapping {
		state = "flapping"
	}
	fmt.Fprintf(w, rowFormat, state, what, r.Certificate.daysLeft(), r.Host)
	if text := s.reason(r); text != "" {
		wrap(w, strings.Repeat(" ", 15), text)
	}
}

// reason is what stands below a host in the table. Where nothing can be reached
// it stands above, once.
func (s *Sweep) reason(r Registry) string {
	if s.Control.Outcome == Fail && r.silent() {
		return ""
	}
	text, since := r.Summary, ""
	if r.State.Bad() {
		since = string(r.Fault) + ", "
	}
	if r.Flapping {
		since += "comes and goes, now " + string(r.State) + " "
	}
	if since != "" {
		since += "since " + r.Since.UTC().Format(time.RFC3339)
		text = strings.TrimSuffix(since+": "+r.Summary, ": ")
	}
	if r.State == Limited && r.NotBefore != nil {
		text += "; not asked before " + r.NotBefore.UTC().Format(time.RFC3339)
	}
	return text
}

// String is the phases in milliseconds, a dash for each that there was none of.
func (l Latency) String() string {
	var out []string
	for _, m := range []Millis{l.DNS, l.Dial, l.TLS, l.HTTP} {
		if m == 0 {
			out = append(out, "-")
			continue
		}
		out = append(out, strconv.FormatInt(time.Duration(m).Round(time.Millisecond).Milliseconds(), 10))
	}
	return strings.Join(out, "/")
}

func (c *Certificate) daysLeft() string {
	if c == nil {
		return "-"
	}
	return strconv.Itoa(c.DaysLeft) + "d"
}

// node writes what a sweep saw of the node itself.
func (s *Sweep) node(w io.Writer) {
	if s == nil {
		return
	}
	var resolvers []string
	for _, r := range s.Resolvers {
		text := strings.TrimSuffix(r.Address, ":53")
		if r.Outcome == Pass {
			text += fmt.Sprintf(" answers (%d ms)", time.Duration(r.Latency).Milliseconds())
		} else {
			text += " " + cmp.Or(string(r.Cause), r.Outcome.String())
		}
		resolvers = append(resolvers, text)
	}
	if len(resolvers) > 0 {
		field(w, "dns", strings.Join(resolvers, ", "))
	}
	if s.Clock.Outcome == Pass || s.Clock.Outcome == Fail {
		field(w, "clock", s.Clock.state())
	}
	for _, c := range s.Runtime {
		field(w, "settings", c.state())
	}
	for _, c := range s.Conditions {
		if c.amiss() {
			field(w, "kubelet", c.Type+" is "+c.Status+" since "+c.Since.UTC().Format(time.RFC3339)+reasonOf(c))
		}
	}
}

func reasonOf(c Condition) string {
	if c.Reason == "" {
		return ""
	}
	return " (" + c.Reason + ")"
}

// amiss reports whether the condition is worth a line: Ready should be True, the
// others False.
func (c Condition) amiss() bool {
	return (c.Status == "True") != (c.Type == "Ready")
}

// bounded makes every text plain and bounds it, and drops registries from the
// end, which are those that are well, until what is said of them in JSON and in
// the summary is no longer than a third of limit, in bytes. Those that cannot be
// had get half of it.
func (s *Sweep) bounded(limit int) *Sweep {
	if s == nil {
		return nil
	}
	text, out := NewRedactor(), *s
	out.Control, out.Clock = text.Check(s.Control), text.Check(s.Clock)
	out.Registries = make([]Registry, 0, len(s.Registries))
	size := 0
	for i, r := range s.Registries {
		r = r.redacted(text)
		size += r.size()
		if i < rows {
			var row strings.Builder
			out.row(&row, r)
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

// redacted makes the texts fit to be published. What the checks said has been
// redacted, but hosts and what is taken from a certificate are others' words.
func (r Registry) redacted(text Redactor) Registry {
	r.Host, r.Summary, r.Because = text.Text(r.Host, maxHost), text.Text(r.Summary, maxSummary), text.Text(r.Because, maxSummary)
	if r.Roles == nil {
		r.Roles = []Role{}
	}
	if r.Certificate != nil {
		c := *r.Certificate
		c.Issuer = text.Text(c.Issuer, maxEvidence)
		r.Certificate = &c
	}
	return r
}
