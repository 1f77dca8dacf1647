// Package sweep checks all registries that a node may pull from at an interval,
// whether or not a pod is stuck, and reports what changes.
package sweep

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/diagnosis/control"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
)

// Sweeper checks every host that this node may pull from, whether or not a pod is
// stuck, and keeps the results: a fault shows before it hurts, and every diagnosis
// has something to compare with.
type Sweeper struct {
	cfg      Config
	requests chan struct{} // holds one token: a sweep is requested

	hosts    *hostTable
	leads    leadTable
	control  controlCache
	announce announcer

	mu       sync.Mutex
	isolated bool // nothing was reachable
	changed  bool // the last sweep found a change
	last     *report.Sweep
	wanted   []nodefacts.Wanted // hosts that other nodes want to be checked
	owed     bool               // the next sweep is for others: its result is written although nothing has changed
	began    time.Time          // of the last sweep that has ended
}

// Config is what a sweeper needs.
type Config struct {
	Survey     func(context.Context, examine.SurveyRequest) examine.SurveyResult
	Images     func() []string                          // that the pods of this node name, whatever their state
	Conditions func(context.Context) []report.Condition // of the Node object
	Settings   func() config.Settings
	Log        *slog.Logger
	Opinions   func(host string) []report.Check // of other nodes

	// OnSweep is called after every sweep. Its result is to be written although nothing has
	// changed if other nodes wait for it.
	OnSweep func(sweep report.Sweep, awaited bool)
	Emit    func(NodeEvent)
}

// NodeEvent is an Event on the Node object.
type NodeEvent struct {
	Reason  string
	Message string
	Who     string // who must act; empty: nothing is to be fixed
	Fix     string // empty: nothing is to be fixed
	Warning bool
	Host    string
}

// maxRegistries limits the registries of one sweep that pods name: tenants choose
// them.
const maxRegistries = 256

// New returns a sweeper that has seen nothing yet.
func New(c Config) *Sweeper {
	hosts := newHostTable()
	return &Sweeper{
		cfg:      c,
		requests: make(chan struct{}, 1),
		hosts:    hosts,
		leads:    leadTable{byHost: map[string]knownLead{}},
		control:  controlCache{survey: c.Survey, known: hosts, turn: make(chan struct{}, 1)},
		announce: announcer{log: c.Log, emit: c.Emit},
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
	s.mu.Lock()
	awaited := s.owed
	s.owed = false
	s.mu.Unlock()
	want := s.plan(set, began)
	found := s.cfg.Survey(ctx, want)
	conditions := s.cfg.Conditions(ctx)
	if ctx.Err() != nil {
		return // incomplete
	}
	ended := time.Now()
	sweep := s.merge(found.Observations, set, ended)
	sweep.Time, sweep.Duration = ended.UTC().Truncate(time.Millisecond), report.Millis(ended.Sub(began))
	sweep.Conditions, sweep.Runtime, sweep.Traits = conditions, found.Problems, found.Traits
	s.mu.Lock()
	s.last, s.began = &sweep, began
	s.mu.Unlock()
	s.cfg.Log.Debug("registries checked", "hosts", len(sweep.Registries),
		"took", ended.Sub(began).Round(time.Millisecond), "control", sweep.Control.Outcome)
	s.cfg.OnSweep(sweep, awaited)
}

// plan returns what this sweep checks.
func (s *Sweeper) plan(set config.Settings, now time.Time) examine.SurveyRequest {
	want := examine.SurveyRequest{
		Domains:    map[string][]report.Role{},
		Leads:      s.leads.list(now),
		Leave:      s.hosts.limited(now),
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
	for _, domain := range slices.Concat(set.Targets, set.Required) {
		add(domain, report.RoleTarget)
	}
	for _, domain := range set.Control {
		add(domain, report.RoleControl)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.wanted {
		add(w.Host, report.RoleAsked)
	}
	return want
}

// domainOf returns the registry of an image name; empty if the name is not valid.
func domainOf(image string) string {
	_, ref := reference.Parse(image)
	return ref.Domain
}

// merge adds the results of a sweep to what is known, announces the changes, and
// returns the new state.
func (s *Sweeper) merge(observations []examine.Observation, set config.Settings, now time.Time) report.Sweep {
	check := control.Check(s.hosts.controls(observations, set.Control), false, now)
	changes := s.hosts.observe(observations, check, s.cfg.Opinions)
	for _, o := range observations {
		if o.Lead != nil && !o.At.IsZero() {
			s.leads.add(*o.Lead, now)
		}
	}
	isolated := check.Outcome == report.Fail
	s.mu.Lock()
	wasIsolated := s.isolated
	s.isolated = isolated
	s.changed = slices.ContainsFunc(changes, func(c hostChange) bool { return c.transition != unchanged })
	s.mu.Unlock()
	s.announce.isolation(check, wasIsolated)
	for _, c := range changes {
		s.announce.change(c, isolated || wasIsolated || c.ForOthers()) // one fault, not one for each host
	}
	return report.Sweep{
		Control:    check,
		Registries: s.hosts.registries(),
		Resolvers:  summarizeResolvers(observations),
		Clock:      summarizeClock(observations),
	}
}

// LearnFrom takes leads from the checks of an examination: the hosts that serve
// layers. If they contradict what the last sweep found of a host, it requests a sweep, so
// that the table of registries agrees with the diagnoses.
func (s *Sweeper) LearnFrom(checks []report.Check) {
	now := time.Now()
	s.leads.learn(checks, now)
	s.mu.Lock()
	swept := s.cfg.Settings().SweepInterval > 0 && s.last != nil
	var wait time.Duration
	if swept {
		wait = contradictedInterval - now.Sub(s.last.Time)
	}
	s.mu.Unlock()
	if swept && (s.hosts.contradictedBy(checks, now) || s.isNew(checks)) {
		time.AfterFunc(wait, s.SweepNow)
	}
}

// isNew reports whether checks are about a registry of a pod that no sweep has checked.
func (s *Sweeper) isNew(checks []report.Check) bool {
	for _, image := range s.cfg.Images() {
		host := domainOf(image)
		asked := slices.ContainsFunc(checks, func(c report.Check) bool { return c.Host == host && c.Kind == report.KindDNS })
		if asked && !s.hosts.knows(host) {
			return true
		}
	}
	return false
}

// CheckFor has the hosts checked that other nodes want a second opinion on, with every sweep,
// and soon where the last check is older than they want.
func (s *Sweeper) CheckFor(wanted []nodefacts.Wanted) {
	if s.cfg.Settings().SweepInterval <= 0 {
		wanted = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = wanted
	wait := wantedInterval - time.Since(s.began)
	for _, w := range wanted {
		if nodefacts.StampOf(s.began) < w.Since || s.last == nil || !s.last.Has(w.Host) {
			s.owed = true
			wait = max(wait, min(time.Until(w.Since.Time()), wantedInterval)) // not before the time that they want
		}
	}
	if s.owed {
		time.AfterFunc(wait, s.SweepNow)
	}
}

// SweepSoon requests a sweep because other nodes say something else.
func (s *Sweeper) SweepSoon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	time.AfterFunc(wantedInterval-time.Since(s.began), s.SweepNow)
}

// wantedInterval is the least time between a sweep and one because other nodes want it.
const wantedInterval = 3 * time.Second

// contradictedInterval is the least time between a sweep and one because a diagnosis
// contradicts it.
const contradictedInterval = 10 * time.Second

// CachedAnswer returns a host's answer to the last sweep, and its age; ok is false if
// it is older than a time or too old.
func (s *Sweeper) CachedAnswer(host string, after time.Time) (c report.Check, age time.Duration, ok bool) {
	return s.hosts.answer(host, after)
}

// Restore takes over the last sweep of an earlier agent, so that its Events are not
// repeated and the hosts that it reached count as reached.
func (s *Sweeper) Restore(old *report.Sweep) {
	if old == nil {
		return
	}
	s.mu.Lock()
	s.isolated = old.Control.Outcome == report.Fail
	s.mu.Unlock()
	s.hosts.restore(old.Registries)
}
