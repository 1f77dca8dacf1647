package agent

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

	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/registry"
	"github.com/pullprobe/pullprobe/report"
)

// sweeper looks at everything that this node may pull from, whether or not a
// pod is stuck, and keeps what it saw: a fault before it hurts, and the baseline
// of every diagnosis.
type sweeper struct {
	look       func(context.Context, examine.SurveyRequest) ([]examine.Observation, []report.Check)
	images     func() []string // that the pods of this node name, whatever their state
	conditions func(context.Context) []report.Condition
	settings   func() Settings
	log        *slog.Logger
	swept      func(report.Sweep) // told of every sweep that has ended
	say        func(nodeEvent)    // told of what is worth an Event on the Node

	asked chan struct{} // holds one token: somebody wants a sweep now

	mu      sync.Mutex
	hosts   map[string]*hostState
	answers map[string]answer // of the last look, by host: of those that answered
	leads   map[string]learned
	cut     bool // nothing was reachable
	news    bool // the last sweep brought any
	round   int
	last    *report.Sweep
	began   time.Time // of the last sweep that has ended
	control controlLook
}

// answer is what a host said to GET /v2/, and when.
type answer struct {
	report.Check
	at time.Time
}

// learned is a lead and when it was last given.
type learned struct {
	examine.Redirect
	at time.Time
}

// nodeEvent is an Event on the Node object.
type nodeEvent struct {
	Reason  string
	Message string
	Warning bool
	Host    string
}

// What is kept of leads: registries, and so in the end tenants, give them.
const (
	maxLeads = 64
	leadsFor = 24 * time.Hour
)

// maxSwept bounds the registries of one sweep that pods name: tenants do that.
const maxSwept = 256

func newSweeper(s *sweeper) *sweeper {
	s.asked = make(chan struct{}, 1)
	s.control.turn = make(chan struct{}, 1)
	s.hosts, s.answers, s.leads = map[string]*hostState{}, map[string]answer{}, map[string]learned{}
	return s
}

// run sweeps until ctx ends: when the pods are known, then at every interval,
// nodes of a cluster spread over it, and whenever it is asked for.
func (s *sweeper) run(ctx context.Context, pods <-chan struct{}) {
	select {
	case <-pods:
	case <-ctx.Done():
		return
	}
	wait := rand.N(firstSweepIn)
	for {
		timer := time.NewTimer(wait)
		if s.settings().SweepInterval <= 0 {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			if s.settings().SweepInterval <= 0 {
				continue // switched off while it waited
			}
		case <-s.asked:
			timer.Stop()
		}
		s.sweep(ctx)
		interval := s.settings().SweepInterval
		if s.unsettled() {
			interval = min(interval, soonAgain)
		}
		wait = interval*9/10 + rand.N(max(interval/5, 1))
	}
}

// soonAgain is when a sweep follows one that brought news, or that reached
// nothing: what has just changed may have been a moment's, and a node that was
// cut off must not read so for long when it is back.
const soonAgain = 30 * time.Second

// firstSweepIn spreads the first sweeps of agents that were started together.
const firstSweepIn = 3 * time.Second

// now asks for a sweep.
func (s *sweeper) now() {
	select {
	case s.asked <- struct{}{}:
	default: // one is asked for, and has not begun
	}
}

// endedAfter reports whether a sweep has ended that began after a time.
func (s *sweeper) endedAfter(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began.After(t)
}

// unsettled reports whether the next sweep should not wait for its time.
func (s *sweeper) unsettled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut || s.news
}

// report is what the last sweep came to; nil before the first.
func (s *sweeper) report() *report.Sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// sweep looks at every host once.
func (s *sweeper) sweep(ctx context.Context) {
	began := time.Now()
	set := s.settings()
	want := s.plan(set, began)
	sightings, amiss := s.look(ctx, want)
	conditions := s.conditions(ctx)
	if ctx.Err() != nil {
		return // what was cut short says nothing
	}
	ended := time.Now()
	sweep := s.take(sightings, set, ended)
	sweep.Time, sweep.Duration, sweep.Conditions = ended.UTC().Truncate(time.Millisecond), report.Millis(ended.Sub(began)), conditions
	sweep.Runtime = amiss
	s.mu.Lock()
	s.last, s.began = &sweep, began
	s.mu.Unlock()
	s.log.Debug("swept", "hosts", len(sweep.Registries), "took", ended.Sub(began).Round(time.Millisecond), "control", sweep.Control.Outcome)
	s.swept(sweep)
}

// plan says what is to be looked at.
func (s *sweeper) plan(set Settings, now time.Time) examine.SurveyRequest {
	want := examine.SurveyRequest{Domains: map[string][]report.Role{}, Leave: map[string]bool{}, Width: set.SweepConcurrency, Each: set.SweepDeadline, Configured: true}
	add := func(domain string, role report.Role) {
		if !slices.Contains(want.Domains[domain], role) {
			want.Domains[domain] = append(want.Domains[domain], role)
		}
	}
	named := map[string]bool{}
	for _, image := range s.images() {
		if domain := domainOf(image); domain != "" {
			named[domain] = true
		}
	}
	for _, domain := range slices.Sorted(maps.Keys(named))[:min(len(named), maxSwept)] {
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
	maps.DeleteFunc(s.leads, func(_ string, l learned) bool { return now.Sub(l.at) > leadsFor })
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
	_, ref := reference.Parse(image)
	return ref.Domain
}

// take takes over what was seen, and tells what is new.
func (s *sweeper) take(sightings []examine.Observation, set Settings, now time.Time) report.Sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round++
	control := s.controlOf(sightings, set, now)
	type told struct {
		news
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
		h.sweep = s.round
		if sight.At.IsZero() { // left alone
			h.Roles = sight.Roles
			continue
		}
		at := sight.At.UTC().Truncate(time.Millisecond)
		r := report.Reached(sight.Host, append(slices.Clone(sight.Checks), control), at)
		r.Host, r.Roles = name, sight.Roles
		h.limit(&r, sight.Checks)
		what := h.observe(r)
		if c := report.Find(sight.Checks, "registry/"+sight.Host); c.Outcome == report.Pass {
			s.answers[name] = answer{c, sight.At}
		}
		all = append(all, told{what, h.Registry})
		if sight.Lead != nil {
			s.learn(*sight.Lead, now)
		}
	}
	maps.DeleteFunc(s.hosts, func(_ string, h *hostState) bool { return h.sweep != s.round })

	cut := control.Outcome == report.Fail
	switch {
	case cut && !s.cut:
		s.log.Warn("nothing can be reached from this node", "hosts", control.Evidence["hosts"], "cause", control.Cause)
		s.say(nodeEvent{Reason: "NothingReachable", Warning: true, Message: string(report.FaultNode) + " / " + string(control.Cause) + ": " + control.Summary})
	case !cut && s.cut:
		s.log.Info("this node reaches other hosts again", "hosts", control.Evidence["hosts"])
		s.say(nodeEvent{Reason: "Reachable", Message: "this node reaches other hosts again: " + control.Summary})
	}
	quiet := cut || s.cut // one fault, not one for each host
	s.cut, s.news = cut, false
	for _, t := range all {
		s.tell(t.news, t.Registry, quiet)
		s.news = s.news || t.news != noNews
	}
	sweep := report.Sweep{Control: control, Registries: []report.Registry{}, Resolvers: resolversIn(sightings), Clock: clockIn(sightings)}
	for _, h := range s.hosts {
		sweep.Registries = append(sweep.Registries, h.Registry)
	}
	report.SortRegistries(sweep.Registries)
	return sweep
}

// longestLimit bounds how long a host is left alone that keeps answering 429.
const longestLimit = time.Hour

// limit notes until when a host that answered 429 is left alone: as it asks,
// and longer each time that it asks again.
func (h *hostState) limit(r *report.Registry, checks []report.Check) {
	if r.State != report.Limited {
		h.limits = 0
		return
	}
	wait := time.Minute
	for _, c := range checks {
		if c.ID == r.Because {
			wait = examine.RetryAfter(c.Evidence["retryAfter"], r.Checked)
		}
	}
	if h.limits > 0 {
		wait = max(wait, min(time.Minute<<min(h.limits, 6), longestLimit))
	}
	h.limits++
	until := r.Checked.Add(wait).Truncate(time.Second)
	r.NotBefore = &until
}

// tell says one thing that is new, in the log and, unless it is one of many
// that have one reason, as an Event.
func (s *sweeper) tell(what news, r report.Registry, quiet bool) {
	e := nodeEvent{Host: r.Host}
	fields := []any{"registry", r.Host, "state", r.State}
	switch what {
	case noNews:
		return
	case wentBad:
		e.Reason, e.Warning = "RegistryUnreachable", true
		e.Message = r.Host + ": " + string(r.Fault) + " / " + string(r.Cause) + ": " + r.Summary
		if r.State == report.Limited {
			e.Reason = "RegistryLimited"
		}
		s.log.Warn("a registry can not be had", append(fields, "fault", r.Fault, "cause", r.Cause, "because", r.Because)...)
	case cameBack:
		e.Reason = "RegistryReachable"
		e.Message = r.Host + " can be reached again"
		s.log.Info("a registry can be had again", fields...)
	case otherCause:
		s.log.Info("a registry can not be had for another reason", append(fields, "fault", r.Fault, "cause", r.Cause, "because", r.Because)...)
		return
	case beganFlaps:
		e.Reason, e.Warning = "RegistryFlapping", true
		e.Message = r.Host + " comes and goes: " + strconv.Itoa(flapChanges) + " changes within an hour, the last to " + string(r.State) + ". No further Events until it has kept one state for " + flapCalm.String()
		s.log.Warn("a registry is flapping", fields...)
	case stoppedFlaps:
		e.Reason, e.Warning = "RegistryStable", r.State.Bad()
		e.Message = r.Host + " has been " + string(r.State) + " since " + r.Since.UTC().Format(time.RFC3339)
		s.log.Info("a registry no longer flaps", fields...)
	}
	if !quiet {
		s.say(e)
	}
}

// learn keeps where a registry sends the runtime; s.mu is held.
func (s *sweeper) learn(l examine.Redirect, now time.Time) {
	if _, known := s.leads[l.Host]; !known && len(s.leads) >= maxLeads {
		return
	}
	s.leads[l.Host] = learned{l, now}
}

// learnFrom takes leads out of an examination: hosts that layers come from, and
// token services.
func (s *sweeper) learnFrom(checks []report.Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range checks {
		if host := c.Evidence["blobHost"]; host != "" && c.Kind == report.KindBlob && host != c.Host {
			s.learn(examine.Redirect{Lead: registry.Lead{Host: host}, Via: c.Host, Role: report.RoleBlob}, time.Now())
		}
	}
}

// freshFor is how old an answer may be that a diagnosis goes by.
const freshFor = 15 * time.Second

// known is what a host answered to a sweep a moment ago, and how old that is.
func (s *sweeper) known(host string, after time.Time) (report.Check, time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.answers[host]
	age := time.Since(a.at)
	return a.Check, age, ok && age <= freshFor && a.at.After(after)
}

// resolversIn sums up the checks of single resolvers.
func resolversIn(sightings []examine.Observation) []report.Resolver {
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
func clockIn(sightings []examine.Observation) report.Check {
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
func (s *sweeper) recall(old *report.Sweep) {
	if old == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = old.Control.Outcome == report.Fail
	for _, r := range old.Registries {
		if len(s.hosts) >= maxSwept || s.hosts[r.Host] != nil || strings.TrimSpace(r.Host) == "" {
			continue
		}
		if !r.State.Known() || r.NotBefore != nil && time.Until(*r.NotBefore) > longestLimit {
			continue // somebody has edited it
		}
		s.hosts[r.Host] = &hostState{Registry: r, known: r.State == report.Reachable}
	}
}
