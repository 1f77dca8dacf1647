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

// rows is how many hosts a summary lists.
const rows = 40

// clockLayout is how a summary tells times of the same day or so.
const clockLayout = "01-02 15:04Z"

// table writes the registry hosts, those that cannot be had first, each of these
// with the reason.
func (s *Sweep) table(w io.Writer) {
	if s == nil || len(s.Registries) == 0 {
		return
	}
	list := s.Registries[:min(len(s.Registries), rows)]
	host := len("HOST")
	for _, r := range list {
		host = max(host, min(len(r.Host), 30))
	}
	fmt.Fprintf(w, "\nRegistries, swept %s in %d ms\n", s.Time.UTC().Format(time.RFC3339), time.Duration(s.Duration).Milliseconds())
	line := func(state, name, what, cert, since string) {
		text := fmt.Sprintf("  %-11s  %-*s  %-23s  %5s  %s", state, host, name, what, cert, since)
		fmt.Fprintln(w, strings.TrimRight(text, " "))
	}
	line("STATE", "HOST", "DNS/DIAL/TLS/HTTP ms", "CERT", "SINCE")
	for _, r := range list {
		what := r.Latency.String()
		if r.State.Bad() {
			what = string(r.Cause)
		} else if r.State == ReachUnknown {
			what = "-"
		}
		state := string(r.State)
		if r.Flapping {
			state = "flapping"
		}
		line(state, r.Host, what, r.Certificate.daysLeft(), r.Since.UTC().Format(clockLayout))
		if text := s.reason(r); text != "" {
			wrap(w, strings.Repeat(" ", 15), text)
		}
	}
	if left := len(s.Registries) + s.Omitted - len(list); left > 0 {
		fmt.Fprintf(w, "  ... and %d more\n", left)
	}
}

// reason is what stands below a host in the table. Where nothing can be reached
// it stands above, once.
func (s *Sweep) reason(r Registry) string {
	switch {
	case s.Control.Outcome == Fail && r.silent():
		return ""
	case r.State == Limited && r.NotBefore != nil:
		return r.Summary + "; not asked before " + r.NotBefore.UTC().Format(time.RFC3339)
	case r.State.Bad():
		return string(r.Fault) + ": " + r.Summary
	}
	return r.Summary
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
		return ""
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

// bounded drops registries from the end, which are those that are well, until
// the JSON of the list is no longer than limit bytes.
func (s *Sweep) bounded(limit int) *Sweep {
	if s == nil {
		return nil
	}
	size := 0
	for i, r := range s.Registries {
		if size += r.size(); size > limit {
			out := *s
			out.Registries, out.Omitted = slices.Clone(s.Registries[:i]), s.Omitted+len(s.Registries)-i
			return &out
		}
	}
	return s
}
