package sweep

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// controlOf is the control check of a whole sweep: is there anything at all
// that this node reaches? s.mu is held.
func (s *Sweeper) sweepControl(sightings []examine.Observation, set config.Settings, now time.Time) report.Check {
	var hosts []report.Vantage
	for _, sight := range sightings {
		if !sight.At.IsZero() {
			hosts = append(hosts, s.controlHost(sight, set))
		}
	}
	return report.Control(hosts, false, now)
}

func (s *Sweeper) controlHost(sight examine.Observation, set config.Settings) report.Vantage {
	h := s.hosts[sight.Host]
	v := report.Vantage{
		Registry: report.Reached(sight.Host, sight.Checks, sight.At),
		Known:    h != nil && h.wasReached || slices.Contains(set.Control, sight.Host),
	}
	v.Roles = sight.Roles
	return v
}

// controlLook is a look at the control set for diagnoses, shared by those that
// want one at the same time. Whoever has its turn may read and write the rest.
type controlCache struct {
	turn  chan struct{} // holds one token
	hosts []report.Vantage
	at    time.Time
}

// How a diagnosis looks at other hosts.
const (
	maxControlHosts = 4                       // at most
	controlTimeout  = 1500 * time.Millisecond // each
	controlTTL      = 5 * time.Second         // the age up to which another diagnosis uses it too
)

// elsewhere is the control check for a diagnosis that finds the way to a
// registry blocked: whether this node reaches any other host, now. The sweep's
// own words may be minutes old, so a few hosts are asked again.
func (s *Sweeper) ControlCheck(ctx context.Context, domain string) report.Check {
	hosts, ok := s.controlHosts(ctx)
	if !ok {
		return report.Check{ID: "control", Kind: report.KindControl, Outcome: report.Unknown, Summary: "the time was up before other hosts had been asked"}
	}
	others := slices.DeleteFunc(slices.Clone(hosts), func(v report.Vantage) bool { return v.Host == domain || v.Host == upstreamOf(domain) })
	return report.Control(others, true, time.Now())
}

// controlSet is the control set as it was seen a moment ago; false if ctx ended
// before that was known.
func (s *Sweeper) controlHosts(ctx context.Context) ([]report.Vantage, bool) {
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
	sightings, _ := s.cfg.Survey(ctx, want)
	if ctx.Err() != nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.hosts, c.at = nil, time.Now()
	for _, sight := range sightings {
		if !sight.At.IsZero() {
			c.hosts = append(c.hosts, s.controlHost(sight, set))
		}
	}
	return c.hosts, true
}

// upstreamOf is the host that the images of a domain come from.
func upstreamOf(domain string) string {
	if domain == "docker.io" {
		return "registry-1.docker.io"
	}
	return domain
}

// best are the hosts whose answer tells most: the configured control set, then
// those that this node has reached before, one more than are needed since one
// may be the host that the diagnosis is about.
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
