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
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/registry"
	"github.com/pullprobe/pullprobe/report"
)

// Sweeper checks every host that this node may pull from, whether or not a pod is
// stuck, and keeps the results: a fault shows before it hurts, and every diagnosis
// has something to compare with.
type Sweeper struct {
	cfg      Config
	requests chan struct{} // holds one token: a sweep is requested

	mu       sync.Mutex
	hosts    map[string]*hostState
	answers  map[string]answer // of the last sweep, by host: of those that answered
	leads    map[string]knownLead
	isolated bool // nothing was reachable
	changed  bool // the last sweep found a change
	round    int
	last     *report.Sweep
	began    time.Time // of the last sweep that has ended

	control controlCache
}

// Config is what a sweeper needs.
type Config struct {
	Survey     func(context.Context, examine.SurveyRequest) ([]examine.Observation, []report.Check)
	Images     func() []string                          // that the pods of this node name, whatever their state
	Conditions func(context.Context) []report.Condition // of the Node object
	Settings   func() config.Settings
	Log        *slog.Logger
	OnSweep    func(report.Sweep) // called after every sweep
	Emit       func(NodeEvent)
}

// answer is a host's answer to GET /v2/.
type answer struct {
	report.Check
	at time.Time
}

// knownLead is a lead and when it was last given.
type knownLead struct {
	examine.Redirect
	at time.Time
}

// NodeEvent is an Event on the Node object.
type NodeEvent struct {
	Reason  string
	Message string
	Warning bool
	Host    string
}

// Leads come from registries, and so in the end from tenants: their number and age
// are limited.
const (
	maxLeads = 64
	leadTTL  = 24 * time.Hour
)

// maxRegistries limits the registries of one sweep that pods name: tenants choose
// them.
const maxRegistries = 256

// New returns a sweeper that has seen nothing yet.
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

// Run sweeps until ctx ends: when the pods are known, then at an interval, at which
// the nodes of a cluster are spread, and on request.
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
				continue // disabled while it waited
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

// retryInterval is the time to the next sweep after one that found a change, or that
// reached nothing. The change may have been transient, and a node that was isolated
// must not be reported so for long.
const retryInterval = 30 * time.Second

// startupJitter spreads the first sweeps of agents that start together.
const startupJitter = 3 * time.Second

// SweepNow requests a sweep.
func (s *Sweeper) SweepNow() {
	select {
	case s.requests <- struct{}{}:
	default: // one is requested already and has not begun
	}
}

// EndedAfter reports whether a sweep has ended that began after a time.
func (s *Sweeper) EndedAfter(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began.After(t)
}

// needsFastSweep reports whether the next sweep comes early.
func (s *Sweeper) needsFastSweep() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isolated || s.changed
}

// Last returns the last sweep; nil before the first.
func (s *Sweeper) Last() *report.Sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// sweep checks every host once.
func (s *Sweeper) sweep(ctx context.Context) {
	began := time.Now()
	set := s.cfg.Settings()
	want := s.plan(set, began)
	observations, runtime := s.cfg.Survey(ctx, want)
	conditions := s.cfg.Conditions(ctx)
	if ctx.Err() != nil {
		return // incomplete
	}
	ended := time.Now()
	sweep := s.merge(observations, set, ended)
	sweep.Time, sweep.Duration = ended.UTC().Truncate(time.Millisecond), report.Millis(ended.Sub(began))
	sweep.Conditions, sweep.Runtime = conditions, runtime
	s.mu.Lock()
	s.last, s.began = &sweep, began
	s.mu.Unlock()
	s.cfg.Log.Debug("registries checked", "hosts", len(sweep.Registries),
		"took", ended.Sub(began).Round(time.Millisecond), "control", sweep.Control.Outcome)
	s.cfg.OnSweep(sweep)
}

// plan returns what this sweep checks.
func (s *Sweeper) plan(set config.Settings, now time.Time) examine.SurveyRequest {
	want := examine.SurveyRequest{
		Domains:    map[string][]report.Role{},
		Leave:      map[string]bool{},
		Width:      set.SweepConcurrency,
		Each:       set.SweepDeadline,
		Configured: true,
	}
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

// domainOf returns the registry of an image name; empty if the name is not valid.
func domainOf(image string) string {
	_, ref := reference.Parse(image)
	return ref.Domain
}

// hostChange is what a sweep changed for one host.
type hostChange struct {
	transition
	report.Registry
}

// merge adds the results of a sweep to what is known, announces the changes, and
// returns the new state.
func (s *Sweeper) merge(observations []examine.Observation, set config.Settings, now time.Time) report.Sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round++
	control := s.sweepControl(observations, set, now)
	changes := s.mergeHosts(observations, control, now)
	isolated := control.Outcome == report.Fail
	quiet := isolated || s.isolated // one fault, not one for each host
	s.announceIsolation(control)
	s.isolated, s.changed = isolated, false
	for _, c := range changes {
		s.announce(c.transition, c.Registry, quiet)
		s.changed = s.changed || c.transition != unchanged
	}
	sweep := report.Sweep{
		Control:    control,
		Registries: []report.Registry{},
		Resolvers:  summarizeResolvers(observations),
		Clock:      summarizeClock(observations),
	}
	for _, h := range s.hosts {
		sweep.Registries = append(sweep.Registries, h.Registry)
	}
	report.SortRegistries(sweep.Registries)
	return sweep
}

// mergeHosts updates the state of every host and returns what changed. Hosts that
// were not part of this sweep are removed. s.mu is held.
func (s *Sweeper) mergeHosts(observations []examine.Observation, control report.Check, now time.Time) []hostChange {
	var changes []hostChange
	seen := map[string]bool{}
	s.answers = map[string]answer{}
	for _, o := range observations {
		name := o.Host
		if seen[name] {
			name += " (other settings)"
		}
		seen[name] = true
		h := s.hosts[name]
		if h == nil {
			h = &hostState{}
			s.hosts[name] = h
		}
		h.round = s.round
		if o.At.IsZero() { // not checked this time
			h.Roles = o.Roles
			continue
		}
		at := o.At.UTC().Truncate(time.Millisecond)
		r := diagnosis.StateOf(o.Host, append(slices.Clone(o.Checks), control), at)
		r.Host, r.Roles = name, o.Roles
		h.noteLimit(&r, o.Checks)
		what := h.observe(r)
		if c := report.Find(o.Checks, report.RegistryID(o.Host)); c.Outcome == report.Pass {
			s.answers[name] = answer{c, o.At}
		}
		changes = append(changes, hostChange{what, h.Registry})
		if o.Lead != nil {
			s.addLead(*o.Lead, now)
		}
	}
	maps.DeleteFunc(s.hosts, func(_ string, h *hostState) bool { return h.round != s.round })
	return changes
}

// maxLimit is the longest time that a host is not checked because it keeps answering
// 429.
const maxLimit = time.Hour

// noteLimit sets until when a host that answered 429 is not checked: as long as it
// asks, and longer each time in a row.
func (h *hostState) noteLimit(r *report.Registry, checks []report.Check) {
	if r.State != report.Limited {
		h.limitCount = 0
		return
	}
	wait := time.Minute
	for _, c := range checks {
		if c.ID == r.Because {
			wait = examine.RetryAfter(c.Evidence[report.KeyRetryAfter], r.Checked)
		}
	}
	if h.limitCount > 0 {
		wait = max(wait, min(time.Minute<<min(h.limitCount, 6), maxLimit))
	}
	h.limitCount++
	until := r.Checked.Add(wait).Truncate(time.Second)
	r.NotBefore = &until
}

// announceIsolation logs and emits that the node has become isolated, or is no longer
// so. s.mu is held.
func (s *Sweeper) announceIsolation(control report.Check) {
	hosts := control.Evidence[report.KeyHosts]
	switch isolated := control.Outcome == report.Fail; {
	case isolated && !s.isolated:
		s.cfg.Log.Warn("this node cannot reach any host", "hosts", hosts, "cause", control.Cause)
		s.cfg.Emit(NodeEvent{
			Reason:  "NothingReachable",
			Warning: true,
			Message: string(report.FaultNode) + " / " + string(control.Cause) + ": " + control.Summary,
		})
	case !isolated && s.isolated:
		s.cfg.Log.Info("this node reaches other hosts again", "hosts", hosts)
		s.cfg.Emit(NodeEvent{Reason: "Reachable", Message: "this node reaches other hosts again: " + control.Summary})
	}
}

// announce logs one change and, unless quiet, emits an Event. Changes that have one
// common reason are quiet.
func (s *Sweeper) announce(what transition, r report.Registry, quiet bool) {
	e := NodeEvent{Host: r.Host}
	fields := []any{"registry", r.Host, "state", r.State}
	why := append(slices.Clone(fields), "fault", r.Fault, "cause", r.Cause, "because", r.Because)
	switch what {
	case unchanged:
		return
	case becameUnavailable:
		e.Reason, e.Warning = "RegistryUnreachable", true
		e.Message = r.Host + ": " + string(r.Fault) + " / " + string(r.Cause) + ": " + r.Summary
		if r.State == report.Limited {
			e.Reason = "RegistryLimited"
		}
		s.cfg.Log.Warn("registry unreachable", why...)
	case recovered:
		e.Reason = "RegistryReachable"
		e.Message = r.Host + " is reachable again"
		s.cfg.Log.Info("registry reachable again", fields...)
	case causeChanged:
		s.cfg.Log.Info("registry still unreachable, cause changed", why...)
		return
	case startedFlapping:
		e.Reason, e.Warning = "RegistryFlapping", true
		e.Message = r.Host + " is flapping: " + strconv.Itoa(flapChanges) + " changes within an hour, now " + string(r.State) +
			"; no Events until stable for " + report.Duration(flapQuiet)
		s.cfg.Log.Warn("registry is flapping", fields...)
	case stabilized:
		e.Reason, e.Warning = "RegistryStable", r.State.Bad()
		e.Message = r.Host + " has been " + string(r.State) + " since " + report.Time(r.Since)
		s.cfg.Log.Info("registry is stable again", fields...)
	}
	if !quiet {
		s.cfg.Emit(e)
	}
}

// addLead keeps where a registry sends the runtime. s.mu is held.
func (s *Sweeper) addLead(l examine.Redirect, now time.Time) {
	if _, known := s.leads[l.Host]; !known && len(s.leads) >= maxLeads {
		return
	}
	s.leads[l.Host] = knownLead{l, now}
}

// LearnFrom takes leads from the checks of an examination: the hosts that serve
// layers.
func (s *Sweeper) LearnFrom(checks []report.Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range checks {
		if host := c.Evidence[report.KeyBlobHost]; host != "" && c.Kind == report.KindBlob && host != c.Host {
			s.addLead(examine.Redirect{Lead: registry.Lead{Host: host}, Via: c.Host, Role: report.RoleBlob}, time.Now())
		}
	}
}

// answerTTL is how old an answer may be that a diagnosis uses.
const answerTTL = 15 * time.Second

// CachedAnswer returns a host's answer to the last sweep, and its age; ok is false if
// it is older than a time or too old.
func (s *Sweeper) CachedAnswer(host string, after time.Time) (c report.Check, age time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.answers[host]
	age = time.Since(a.at)
	return a.Check, age, ok && age <= answerTTL && a.at.After(after)
}

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

// Restore takes over the last sweep of an earlier agent, so that its Events are not
// repeated and the hosts that it reached count as reached.
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
			continue // the report was edited
		}
		s.hosts[r.Host] = &hostState{Registry: r, wasReached: r.State == report.Reachable}
	}
}
