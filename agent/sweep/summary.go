package sweep

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// summarizeResolvers returns the state of each resolver. One that answered for any
// name passes.
func summarizeResolvers(observations []examine.Observation) []report.Resolver {
	var out []report.Resolver
	for _, o := range observations {
		for _, c := range o.Checks {
			if c.Kind != report.KindDNS || c.Target == "" || c.ID != report.DNSID(c.Host, c.Target) {
				continue
			}
			i := slices.IndexFunc(out, func(r report.Resolver) bool { return r.Address == c.Target })
			if i < 0 {
				i = len(out)
				out = append(out, report.Resolver{Address: c.Target})
			}
			r := &out[i]
			r.Latency = max(r.Latency, c.Duration)
			switch {
			case c.Outcome == report.Pass, c.Cause == report.HostNotFound: // it answered
				r.Outcome, r.Cause = report.Pass, ""
			case c.Outcome == report.Fail && r.Outcome != report.Pass:
				r.Outcome, r.Cause = report.Fail, c.Cause
			}
		}
	}
	return out
}

// summarizeClock returns the check "clock" of the node. It passes if the clock of any
// host agrees.
func summarizeClock(observations []examine.Observation) report.Check {
	clock := report.Check{
		ID:      report.IDClock,
		Kind:    report.KindClock,
		Outcome: report.Skipped,
		Summary: "no host returned a Date header",
	}
	servers := 0
	for _, o := range observations {
		for _, c := range o.Checks {
			if c.Kind != report.KindClock || c.ID != report.ClockID(c.Host) {
				continue
			}
			servers++
			if clock.Outcome != report.Skipped && (c.Outcome != report.Pass || clock.Outcome != report.Fail) {
				continue
			}
			clock.Outcome, clock.Cause, clock.Summary = c.Outcome, c.Cause, c.Summary
			clock.Evidence = map[string]string{report.KeySkewSeconds: c.Evidence[report.KeySkewSeconds]}
			if c.Evidence[report.KeyWrongClock] != "" {
				clock.Evidence[report.KeySkewSeconds] = "0"
				clock.Summary = "this node's clock agrees with " + cmp.Or(c.Evidence[report.KeyAgreesWith], "another host")
			}
		}
	}
	if servers > 0 {
		clock.Evidence[report.KeyServers] = strconv.Itoa(servers)
	}
	return clock
}
