// Package sweep checks all registries that a node may pull from at an interval,
// whether or not a pod is stuck, and reports what changes.
package sweep

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/probes"
	"github.com/pullprobe/pullprobe/report"
)

// sweeper looks at everything that this node may pull from, whether or not a
// pod is stuck, and keeps what it saw: a fault before it hurts, and the baseline
// of every diagnosis.
type Sweeper struct {
	cfg      Config
	requests chan struct{} // holds one token: somebody wants a sweep now

	mu       sync.Mutex
	hosts    map[string]*hostState
	answers  map[string]answer // of the last look, by host: of those that answered
	leads    map[string]knownLead
	isolated bool // nothing was reachable
	changed  bool // the last sweep brought any
	round    int
	last     *report.Sweep
	began    time.Time // of the last sweep that has ended
	control  controlCache
}

// sweeperConfig is what a sweeper needs.
type Config struct {
	Survey     func(context.Context, examine.SurveyRequest) ([]examine.Observation, []report.Check)
	Images     func() []string                          // that the pods of this node name, whatever their state
	Conditions func(context.Context) []report.Condition // of the Node object
	Settings   func() config.Settings
	Log        *slog.Logger
	OnSweep    func(report.Sweep) // told of every sweep that has ended
	Emit       func(NodeEvent)    // told of what is worth an Event on the Node
}

// answer is what a host said to GET /v2/, and when.
type answer struct {
	report.Check
	at time.Time
}

// learned is a lead and when it was last given.
type knownLead struct {
	examine.Redirect
	at time.Time
}

// nodeEvent is an Event on the Node object.
type NodeEvent struct {
	Reason  string
	Message string
	Warning bool
	Host    string
}

// What is kept of leads: registries, and so in the end tenants, give them.
const (
	maxLeads = 64
	leadTTL  = 24 * time.Hour
)

// maxSwept bounds the registries of one sweep that pods name: tenants do that.
const maxRegistries = 256

func New(c Config) *Sweeper {
	return &Sweeper{
		cfg:      c,
		requests: make(chan struct{}, 1),
		hosts:    map[string]*hostState{},
		answers:  map[string]answer{},
		leads:    map[string]knownLead{},
		control:  controlCache{turn: make(chan struct{}, 1)},
	}
}

// run sweeps until ctx ends: when the pods are known, then at every interval,
// nodes of a cluster spread over it, and whenever it is asked for.
func (s *Sweeper) Run(ctx context.Context, pods <-chan struct{}) {
	select {
	case <-pods:
	case <-ctx.Done():
		return
	}
	wait := rand.N(startupJitter)
	for {
		timer := time.NewTimer(wait)
		if s.cfg.Settings().SweepInterval <= 0 {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			if s.cfg.Settings().SweepInterval <= 0 {
				continue // switched off while it waited
			}
		case <-s.requests:
			timer.Stop()
		}
		s.sweep(ctx)
		interval := s.cfg.Settings().SweepInterval
		if s.needsFastSweep() {
			interval = min(interval, retryInterval)
		}
		wait = interval*9/10 + rand.N(max(interval/5, 1))
	}
}

// soonAgain is when a sweep follows one that brought news, or that reached
// nothing: what has just changed may have been a moment's, and a node that was
// cut off must not read so for long when it is back.
const retryInterval = 30 * time.Second

// firstSweepIn spreads the first sweeps of agents that were started together.
const startupJitter = 3 * time.Second

// now asks for a sweep.
func (s *Sweeper) SweepNow() {
	select {
	case s.requests <- struct{}{}:
	default: // one is asked for, and has not begun
	}
}

// endedAfter reports whether a sweep has ended that began after a time.
func (s *Sweeper) EndedAfter(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began.After(t)
}

// unsettled reports whether the next sweep should not wait for its time.
func (s *Sweeper) needsFastSweep() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isolated || s.changed
}

// report is what the last sweep came to; nil before the first.
func (s *Sweeper) Last() *report.Sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// sweep looks at every host once.
func (s *Sweeper) sweep(ctx context.Context) {
	began := time.Now()
	set := s.cfg.Settings()
	want := s.plan(set, began)
	sightings, amiss := s.cfg.Survey(ctx, want)
	conditions := s.cfg.Conditions(ctx)
	if ctx.Err() != nil {
		return // what was cut short says nothing
	}
	ended := time.Now()
	sweep := s.merge(sightings, set, ended)
	sweep.Time, sweep.Duration, sweep.Conditions = ended.UTC().Truncate(time.Millisecond), report.Millis(ended.Sub(began)), conditions
	sweep.Runtime = amiss
	s.mu.Lock()
	s.last, s.began = &sweep, began
	s.mu.Unlock()
	s.cfg.Log.Debug("swept", "hosts", len(sweep.Registries), "took", ended.Sub(began).Round(time.Millisecond), "control", sweep.Control.Outcome)
	s.cfg.OnSweep(sweep)
}

// plan says what is to be looked at.
func (s *Sweeper) plan(set config.Settings, now time.Time) examine.SurveyRequest {
	want := examine.SurveyRequest{Domains: map[string][]report.Role{}, Leave: map[string]bool{}, Width: set.SweepConcurrency, Each: set.SweepDeadline, Configured: true}
	add := func(domain string, role report.Role) {
		if !slices.Contains(want.Domains[domain], role) {
			want.Domains[domain] = append(want.Domains[domain], role)
		}
	}
	named := map[string]bool{}
	for _, image := range s.cfg.Images() {
		if domain := domainOf(image); domain != "" {
			named[domain] = true
		}
	}
	for _, domain := range slices.Sorted(maps.Keys(named))[:min(len(named), maxRegistries)] {
		add(domain, report.RoleRegistry)
	}
	for _, domain := range set.Targets {
		add(domain, report.RoleTarget)
	}
	for _, domain := range set.Control {
		add(domain, report.RoleControl)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.leads, func(_ string, l knownLead) bool { return now.Sub(l.at) > leadTTL })
	for _, host := range slices.Sorted(maps.Keys(s.leads)) {
		want.Leads = append(want.Leads, s.leads[host].Redirect)
	}
	for host, h := range s.hosts {
		if h.NotBefore != nil && now.Before(*h.NotBefore) {
			want.Leave[host] = true
		}
	}
	return want
}

// domainOf is the registry that an image name means; empty if it is no name.
func domainOf(image string) string {
	_, ref := probes.Reference(image)
	return ref.Domain
}

// take takes over what was seen, and tells what is new.
func (s *Sweeper) merge(sightings []examine.Observation, set config.Settings, now time.Time) report.Sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round++
	control := s.sweepControl(sightings, set, now)
	type told struct {
		transition
		report.Registry
	}
	var all []told
	taken := map[string]bool{}
	s.answers = map[string]answer{}
	for _, sight := range sightings {
		name := sight.Host
		if taken[name] {
			name += " (other settings)"
		}
		taken[name] = true
		h := s.hosts[name]
		if h == nil {
			h = &hostState{}
			s.hosts[name] = h
		}
		h.round = s.round
		if sight.At.IsZero() { // left alone
			h.Roles = sight.Roles
			continue
		}
		at := sight.At.UTC().Truncate(time.Millisecond)
		r := report.Reached(sight.Host, append(slices.Clone(sight.Checks), control), at)
		r.Host, r.Roles = name, sight.Roles
		h.noteLimit(&r, sight.Checks)
		what := h.observe(r)
		if c := report.Find(sight.Checks, "registry/"+sight.Host); c.Outcome == report.Pass {
			s.answers[name] = answer{c, sight.At}
		}
		all = append(all, told{what, h.Registry})
		if sight.Lead != nil {
			s.addLead(*sight.Lead, now)
		}
	}
	maps.DeleteFunc(s.hosts, func(_ string, h *hostState) bool { return h.round != s.round })

	cut := control.Outcome == report.Fail
	switch {
	case cut && !s.isolated:
		s.cfg.Log.Warn("nothing can be reached from this node", "hosts", control.Evidence["hosts"], "cause", control.Cause)
		s.cfg.Emit(NodeEvent{Reason: "NothingReachable", Warning: true, Message: string(report.FaultNode) + " / " + string(control.Cause) + ": " + control.Summary})
	case !cut && s.isolated:
		s.cfg.Log.Info("this node reaches other hosts again", "hosts", control.Evidence["hosts"])
		s.cfg.Emit(NodeEvent{Reason: "Reachable", Message: "this node reaches other hosts again: " + control.Summary})
	}
	quiet := cut || s.isolated // one fault, not one for each host
	s.isolated, s.changed = cut, false
	for _, t := range all {
		s.announce(t.transition, t.Registry, quiet)
		s.changed = s.changed || t.transition != unchanged
	}
	sweep := report.Sweep{Control: control, Registries: []report.Registry{}, Resolvers: summarizeResolvers(sightings), Clock: summarizeClock(sightings)}
	for _, h := range s.hosts {
		sweep.Registries = append(sweep.Registries, h.Registry)
	}
	report.SortRegistries(sweep.Registries)
	return sweep
}

// longestLimit bounds how long a host is left alone that keeps answering 429.
const maxLimit = time.Hour

// limit notes until when a host that answered 429 is left alone: as it asks,
// and longer each time that it asks again.
func (h *hostState) noteLimit(r *report.Registry, checks []report.Check) {
	if r.State != report.Limited {
		h.limitCount = 0
		return
	}
	wait := time.Minute
	for _, c := range checks {
		if c.ID == r.Because {
			wait = examine.RetryAfter(c.Evidence["retryAfter"], r.Checked)
		}
	}
	if h.limitCount > 0 {
		wait = max(wait, min(time.Minute<<min(h.limitCount, 6), maxLimit))
	}
	h.limitCount++
	until := r.Checked.Add(wait).Truncate(time.Second)
	r.NotBefore = &until
}

// tell says one thing that is new, in the log and, unless it is one of many
// that have one reason, as an Event.
func (s *Sweeper) announce(what transition, r report.Registry, quiet bool) {
	e := NodeEvent{Host: r.Host}
	fields := []any{"registry", r.Host, "state", r.State}
	switch what {
	case unchanged:
		return
	case becameUnavailable:
		e.Reason, e.Warning = "RegistryUnreachable", true
		e.Message = r.Host + ": " + string(r.Fault) + " / " + string(r.Cause) + ": " + r.Summary
		if r.State == report.Limited {
			e.Reason = "RegistryLimited"
		}
		s.cfg.Log.Warn("a registry can not be had", append(fields, "fault", r.Fault, "cause", r.Cause, "because", r.Because)...)
	case recovered:
		e.Reason = "RegistryReachable"
		e.Message = r.Host + " can be reached again"
		s.cfg.Log.Info("a registry can be had again", fields...)
	case causeChanged:
		s.cfg.Log.Info("a registry can not be had for another reason", append(fields, "fault", r.Fault, "cause", r.Cause, "because", r.Because)...)
		return
	case startedFlapping:
		e.Reason, e.Warning = "RegistryFlapping", true
		e.Message = r.Host + " comes and goes: " + strconv.Itoa(flapChanges) + " changes within an hour, the last to " + string(r.State) + ". No further Events until it has kept one state for " + flapQuiet.String()
		s.cfg.Log.Warn("a registry is flapping", fields...)
	case stabilized:
		e.Reason, e.Warning = "RegistryStable", r.State.Bad()
		e.Message = r.Host + " has been " + string(r.State) + " since " + r.Since.UTC().Format(time.RFC3339)
		s.cfg.Log.Info("a registry no longer flaps", fields...)
	}
	if !quiet {
		s.cfg.Emit(e)
	}
}

// learn keeps where a registry sends the runtime; s.mu is held.
func (s *Sweeper) addLead(l examine.Redirect, now time.Time) {
	if _, known := s.leads[l.Host]; !known && len(s.leads) >= maxLeads {
		return
	}
	s.leads[l.Host] = knownLead{l, now}
}

// learnFrom takes leads out of an examination: hosts that layers come from, and
// token services.
func (s *Sweeper) LearnFrom(checks []report.Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range checks {
		if host := c.Evidence["blobHost"]; host != "" && c.Kind == report.KindBlob && host != c.Host {
			s.addLead(examine.Redirect{Lead: probes.Lead{Host: host}, Via: c.Host, Role: report.RoleBlob}, time.Now())
		}
	}
}

// freshFor is how old an answer may be that a diagnosis goes by.
const answerTTL = 15 * time.Second

// known is what a host answered to a sweep a moment ago, and how old that is.
func (s *Sweeper) CachedAnswer(host string, after time.Time) (report.Check, time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.answers[host]
	age := time.Since(a.at)
	return a.Check, age, ok && age <= answerTTL && a.at.After(after)
}

// resolversIn sums up the checks of single resolvers.
func summarizeResolvers(sightings []examine.Observation) []report.Resolver {
	var out []report.Resolver
	for _, s := range sightings {
		for _, c := range s.Checks {
			if c.Kind != report.KindDNS || c.Target == "" || c.ID != "dns/"+c.Host+"/"+c.Target {
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

// clockIn is the check "clock" of the node: one host that agrees acquits it.
func summarizeClock(sightings []examine.Observation) report.Check {
	clock := report.Check{ID: "clock", Kind: report.KindClock, Outcome: report.Skipped, Summary: "no host has told its time"}
	told := 0
	for _, s := range sightings {
		for _, c := range s.Checks {
			if c.Kind != report.KindClock || c.ID != "clock/"+c.Host {
				continue
			}
			told++
			if clock.Outcome == report.Skipped || c.Outcome == report.Pass && clock.Outcome == report.Fail {
				skew := c.Evidence["skewSeconds"]
				clock.Outcome, clock.Cause, clock.Summary = c.Outcome, c.Cause, c.Summary
				clock.Evidence = map[string]string{"skewSeconds": skew}
				if wrong := c.Evidence["wrongClock"]; wrong != "" {
					clock.Evidence = map[string]string{"skewSeconds": "0"}
					clock.Summary = "this node's clock agrees with " + cmp.Or(c.Evidence["agreesWith"], "another host")
				}
			}
		}
	}
	if told > 0 {
		clock.Evidence["servers"] = strconv.Itoa(told)
	}
	return clock
}

// recall takes over what an earlier agent's sweep came to, so that what it said
// is not said again, and what it reached counts as reached.
func (s *Sweeper) Restore(old *report.Sweep) {
	if old == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isolated = old.Control.Outcome == report.Fail
	for _, r := range old.Registries {
		if len(s.hosts) >= maxRegistries || s.hosts[r.Host] != nil || strings.TrimSpace(r.Host) == "" {
			continue
		}
		if !r.State.Known() || r.NotBefore != nil && time.Until(*r.NotBefore) > maxLimit {
			continue // somebody has edited it
		}
		s.hosts[r.Host] = &hostState{Registry: r, wasReached: r.State == report.Reachable}
	}
}
