package sweep

import (
	"context"
	"slices"
	"time"

	"github.com/pullprobe/pullprobe/diagnosis/control"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// controlCache holds the control hosts as they were last checked for a diagnosis.
// Diagnoses that need them at the same time share one check.
type controlCache struct {
	survey func(context.Context, examine.SurveyRequest) examine.SurveyResult
	known  *hostTable

	turn  chan struct{} // holds one token; its holder may use what follows
	hosts []control.Host
	at    time.Time
}

// How other hosts are checked for a diagnosis.
const (
	maxControlHosts = 4                       // at most
	controlTimeout  = 1500 * time.Millisecond // each
	controlTTL      = 5 * time.Second         // the age up to which another diagnosis uses it too
)

// ControlCheck returns the control check for a diagnosis that cannot reach the
// registry of a domain: whether this node reaches any other host now. The last sweep
// may be minutes old, so a few hosts are checked again.
func (s *Sweeper) ControlCheck(ctx context.Context, domain string) report.Check {
	hosts, ok := s.control.get(ctx, s.cfg.Settings().Control)
	if !ok {
		return report.Check{
			ID:      report.IDControl,
			Kind:    report.KindControl,
			Outcome: report.Unknown,
			Summary: "timed out before other hosts were checked",
		}
	}
	others := slices.DeleteFunc(slices.Clone(hosts), func(v control.Host) bool {
		return report.Serves(v.Host, domain)
	})
	return control.Check(others, true, time.Now())
}

// get returns the control hosts as they were checked within controlTTL, the configured
// ones first; false if ctx ended before.
func (c *controlCache) get(ctx context.Context, configured []string) ([]control.Host, bool) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, false
	}
	if time.Since(c.at) <= controlTTL {
		return c.hosts, true
	}
	want := examine.SurveyRequest{Domains: map[string][]report.Role{}, Width: maxControlHosts + 1, Each: controlTimeout}
	for _, host := range c.known.controlCandidates(configured) {
		want.Domains[host] = []report.Role{report.RoleControl}
	}
	found := c.survey(ctx, want)
	if ctx.Err() != nil {
		return nil, false
	}
	c.hosts, c.at = c.known.controls(found.Observations, configured), time.Now()
	return c.hosts, true
}
