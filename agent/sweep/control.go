package sweep

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// sweepControl returns the control check of a whole sweep: whether this node reaches
// anything at all. s.mu is held.
func (s *Sweeper) sweepControl(observations []examine.Observation, set config.Settings, now time.Time) report.Check {
	var hosts []diagnosis.ControlHost
	for _, o := range observations {
		if !o.At.IsZero() {
			hosts = append(hosts, s.controlHost(o, set))
		}
	}
	return diagnosis.Control(hosts, false, now)
}

func (s *Sweeper) controlHost(o examine.Observation, set config.Settings) diagnosis.ControlHost {
	h := s.hosts[o.Host]
	v := diagnosis.ControlHost{
		Registry: diagnosis.StateOf(o.Host, o.Checks, o.At),
		Known:    h != nil && h.wasReached || slices.Contains(set.Control, o.Host),
	}
	v.Roles = o.Roles
	return v
}

// controlCache holds the control hosts as they were last checked for a diagnosis.
// Diagnoses that need them at the same time share one check.
type controlCache struct {
	turn  chan struct{} // holds one token; its holder may use the other fields
	hosts []diagnosis.ControlHost
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
	hosts, ok := s.controlHosts(ctx)
	if !ok {
		return report.Check{
			ID:      report.IDControl,
			Kind:    report.KindControl,
			Outcome: report.Unknown,
			Summary: "timed out before other hosts were checked",
		}
	}
	others := slices.DeleteFunc(slices.Clone(hosts), func(v diagnosis.ControlHost) bool {
		return v.Host == domain || v.Host == upstreamOf(domain)
	})
	return diagnosis.Control(others, true, time.Now())
}

// controlHosts returns the control hosts as they were checked within controlTTL; false
// if ctx ended before.
func (s *Sweeper) controlHosts(ctx context.Context) ([]diagnosis.ControlHost, bool) {
	c := &s.control
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, false
	}
	if time.Since(c.at) <= controlTTL {
		return c.hosts, true
	}
	set := s.cfg.Settings()
	want := examine.SurveyRequest{Domains: map[string][]report.Role{}, Width: maxControlHosts + 1, Each: controlTimeout}
	for _, host := range s.controlCandidates(set) {
		want.Domains[host] = []report.Role{report.RoleControl}
	}
	observations, _ := s.cfg.Survey(ctx, want)
	if ctx.Err() != nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.hosts, c.at = nil, time.Now()
	for _, o := range observations {
		if !o.At.IsZero() {
			c.hosts = append(c.hosts, s.controlHost(o, set))
		}
	}
	return c.hosts, true
}

// upstreamOf returns the host that serves the images of a domain.
func upstreamOf(domain string) string {
	if domain == "docker.io" {
		return "registry-1.docker.io"
	}
	return domain
}

// controlCandidates returns the hosts whose answers prove most: the configured control
// hosts, then those that this node has reached before. It is one more than needed,
// because one may be the host that the diagnosis is about.
func (s *Sweeper) controlCandidates(set config.Settings) []string {
	out := slices.Clone(set.Control)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range []bool{true, false} {
		for _, name := range slices.Sorted(maps.Keys(s.hosts)) {
			h := s.hosts[name]
			registry := slices.Contains(h.Roles, report.RoleRegistry) || slices.Contains(h.Roles, report.RoleTarget)
			if h.wasReached == known && registry && h.NotBefore == nil && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out[:min(len(out), maxControlHosts+1)]
}
