package sweep

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

func TestObserve(t *testing.T) {
	const good, bad, limited, unknown = report.Reachable, report.Unreachable, report.Limited, report.ReachUnknown
	type step struct {
		after time.Duration
		state report.HostState
		cause report.Cause
		want  transition
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"well from the first", []step{{0, good, "", unchanged}, {5 * time.Minute, good, "", unchanged}}},
		{"bad from the first", []step{{0, bad, "X", becameUnavailable}, {5 * time.Minute, bad, "X", unchanged}}},
		{"it goes and comes", []step{{0, good, "", unchanged}, {time.Minute, bad, "X", becameUnavailable}, {time.Minute, good, "", recovered}}},
		{"another cause", []step{{0, bad, "X", becameUnavailable}, {time.Minute, bad, "Y", causeChanged}}},
		{"a limit is bad, too", []step{{0, good, "", unchanged}, {time.Minute, limited, "X", becameUnavailable}, {time.Minute, good, "", recovered}}},
		{"what was not seen is no news", []step{{0, good, "", unchanged}, {time.Minute, unknown, "", unchanged}, {time.Minute, good, "", unchanged}, {time.Minute, bad, "X", becameUnavailable}, {time.Minute, unknown, "", unchanged}, {time.Minute, good, "", recovered}}},
		{"it flaps, and calms down", []step{
			{0, good, "", unchanged}, {5 * time.Minute, bad, "X", becameUnavailable}, {5 * time.Minute, good, "", recovered}, {5 * time.Minute, bad, "X", becameUnavailable},
			{5 * time.Minute, good, "", startedFlapping}, {5 * time.Minute, bad, "X", unchanged}, {5 * time.Minute, bad, "X", unchanged},
			{flapQuiet, bad, "X", stabilized}, {5 * time.Minute, good, "", recovered},
		}},
		{"slow changes are no flapping", []step{
			{0, good, "", unchanged}, {30 * time.Minute, bad, "X", becameUnavailable}, {30 * time.Minute, good, "", recovered}, {30 * time.Minute, bad, "X", becameUnavailable}, {30 * time.Minute, good, "", recovered},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, at := &hostState{}, time.Now()
			since := time.Time{}
			for i, s := range tt.steps {
				at = at.Add(s.after)
				before := h.State
				if got := h.observe(report.Registry{State: s.state, Cause: s.cause, Checked: at}); got != s.want {
					t.Errorf("step %d: %d, want %d", i, got, s.want)
				}
				if h.State != before {
					since = at
				}
				if !h.Since.Equal(since) || !h.Checked.Equal(at) {
					t.Errorf("step %d: since %v, checked %v", i, h.Since, h.Checked)
				}
			}
		})
	}
}

// rig is a sweeper with made-up surveys.
type rig struct {
	*Sweeper
	mu      sync.Mutex
	state   map[string]report.Check // "registry/<host>" by host; absent: it is well
	wants   []examine.SurveyRequest
	emitted []NodeEvent
	swept   []report.Sweep
	set     config.Settings
}

func newRig(images ...string) *rig {
	r := &rig{
		state: map[string]report.Check{},
		set:   config.Settings{SweepInterval: 5 * time.Minute, SweepDeadline: time.Second, SweepConcurrency: 8},
	}
	r.Sweeper = New(Config{
		Images:     func() []string { return images },
		Conditions: func(context.Context) []report.Condition { return nil },
		Settings:   func() config.Settings { return r.set },
		Log:        slog.New(slog.DiscardHandler),
		Opinions:   func(string) []report.Check { return nil },
		OnSweep:    func(s report.Sweep, _ bool) { r.swept = append(r.swept, s) },
		Emit:       func(e NodeEvent) { r.emitted = append(r.emitted, e) },
		Survey: func(_ context.Context, want examine.SurveyRequest) examine.SurveyResult {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.wants = append(r.wants, want)
			var out []examine.Observation
			for _, host := range slices.Sorted(maps.Keys(want.Domains)) {
				s := examine.Observation{Host: host, Roles: want.Domains[host]}
				if !want.Leave[host] {
					s.At, s.Checks = time.Now(), checksOf(host, r.state[host])
				}
				out = append(out, s)
			}
			return examine.SurveyResult{Observations: out}
		},
	})
	return r
}

// checksOf returns the checks of a host that fails with this check, or of one that is
// reachable.
func checksOf(host string, bad report.Check) []report.Check {
	goal := report.Check{ID: "registry/" + host, Kind: report.KindRegistry, Host: host, Outcome: report.Pass, Summary: "fine"}
	if bad.Kind == "" {
		return []report.Check{goal}
	}
	bad.Outcome, bad.Host, bad.Summary = report.Fail, host, "it is broken"
	if bad.Kind == report.KindRegistry {
		bad.ID = goal.ID
		return []report.Check{bad}
	}
	bad.ID = string(bad.Kind) + "/" + host + "/192.0.2.1:443"
	goal.Outcome, goal.BlockedBy = report.Skipped, bad.ID
	return []report.Check{bad, goal}
}

// faultOf has faults of a host.
var faultOf = map[string]report.Check{
	"silent":  {Kind: report.KindDial, Cause: report.ConnectionTimeout},
	"expired": {Kind: report.KindTLS, Cause: report.CertificateExpired},
	"limited": {Kind: report.KindRegistry, Cause: report.RateLimited, Evidence: map[string]string{"retryAfter": "600"}},
}

// breaks sets a fault for these hosts, and none for all others.
func (r *rig) breaks(fault string, hosts ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = map[string]report.Check{}
	for _, h := range hosts {
		r.state[h] = faultOf[fault]
	}
}

func (r *rig) reasons() (out []string) {
	for _, e := range r.emitted {
		out = append(out, e.Reason+" "+e.Host)
	}
	r.emitted = nil
	return out
}

func (r *rig) stateOf(host string) report.HostState {
	for _, reg := range r.Last().Registries {
		if reg.Host == host {
			return reg.State
		}
	}
	return ""
}

func TestSweepTargets(t *testing.T) {
	r := newRig("nginx", "a.example/x:1", "a.example/y:2", "b.example:5000/z", "UPPER CASE")
	r.set.Targets, r.set.Control = []string{"t.example", "a.example"}, []string{"c.example"}
	r.sweep(t.Context())
	want := map[string][]report.Role{
		"docker.io": {report.RoleRegistry}, "a.example": {report.RoleRegistry, report.RoleTarget}, "b.example:5000": {report.RoleRegistry},
		"t.example": {report.RoleTarget}, "c.example": {report.RoleControl},
	}
	got := r.wants[0].Domains
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
	for host, roles := range want {
		if !slices.Equal(got[host], roles) {
			t.Errorf("%s: %v, want %v", host, got[host], roles)
		}
	}
	// What an examination found is checked by the next sweep.
	r.LearnFrom([]report.Check{
		{Kind: report.KindBlob, Host: "a.example", Evidence: map[string]string{"blobHost": "cdn.example"}},
		{Kind: report.KindBlob, Host: "a.example", Evidence: map[string]string{"blobHost": "a.example"}},
	})
	r.sweep(t.Context())
	if leads := r.wants[1].Leads; len(leads) != 1 || leads[0].Host != "cdn.example" || leads[0].Via != "a.example" ||
		leads[0].Role != report.RoleBlob {
		t.Errorf("leads %+v", leads)
	}
	for i := range 1000 {
		r.LearnFrom(
			[]report.Check{
				{Kind: report.KindBlob, Host: "a.example", Evidence: map[string]string{"blobHost": fmt.Sprintf("cdn%d.example", i)}},
			},
		)
	}
	if len(r.leads.byHost) > maxLeads {
		t.Errorf("%d leads are kept", len(r.leads.byHost))
	}
}

func TestSweepTransitions(t *testing.T) {
	r := newRig("a.example/x", "b.example/x", "c.example/x")
	check := func(what string, want ...string) {
		t.Helper()
		r.sweep(t.Context())
		if got := r.reasons(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("all is well")
	r.state["a.example"] = faultOf["expired"]
	check("one goes bad", "RegistryUnreachable a.example")
	check("and stays so")
	if r.stateOf("a.example") != report.Unreachable || r.Last().Bad() != 1 || r.Last().Registries[0].Host != "a.example" {
		t.Errorf("%+v", r.Last().Registries)
	}
	delete(r.state, "a.example")
	check("it comes back", "RegistryReachable a.example")

	r.state["a.example"], r.state["b.example"], r.state["c.example"] = faultOf["silent"], faultOf["silent"], faultOf["silent"]
	check("all egress is cut: one fault", "NothingReachable ")
	if c := r.Last().Control; c.Outcome != report.Fail || c.Cause != report.ConnectionTimeout {
		t.Errorf("%+v", c)
	}
	for _, reg := range r.Last().Registries {
		if reg.Fault != report.FaultNode {
			t.Errorf("%s: %s", reg.Host, reg.Fault)
		}
	}
	check("and it stays cut")
	r.state = map[string]report.Check{"b.example": faultOf["expired"]}
	check("and is fixed", "Reachable ")
}

func TestSweepHeedsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig("a.example/x", "b.example/x")
		r.state["a.example"] = faultOf["limited"]
		r.sweep(t.Context())
		reg := r.Last().Registries[0]
		if reg.State != report.Limited || reg.NotBefore == nil || reg.NotBefore.Sub(reg.Checked).Round(time.Minute) != 10*time.Minute {
			t.Fatalf("%+v", reg)
		}
		time.Sleep(5 * time.Minute)
		r.sweep(t.Context())
		if !r.wants[1].Leave["a.example"] || r.stateOf("a.example") != report.Limited {
			t.Errorf("it asked for ten minutes: %v %s", r.wants[1].Leave, r.stateOf("a.example"))
		}
		time.Sleep(6 * time.Minute)
		delete(r.state, "a.example")
		r.sweep(t.Context())
		if r.wants[2].Leave["a.example"] || r.stateOf("a.example") != report.Reachable {
			t.Errorf("the ten minutes are over: %v %s", r.wants[2].Leave, r.stateOf("a.example"))
		}
	})
}

// TestRestore checks that a restarted agent repeats no Event, and knows which
// hosts were reached before.
func TestRestore(t *testing.T) {
	r := newRig("a.example/x", "b.example/x")
	r.state["a.example"] = faultOf["expired"]
	r.sweep(t.Context())
	old := r.Last()
	r.reasons()

	again := newRig("a.example/x", "b.example/x")
	again.state["a.example"] = faultOf["expired"]
	again.Restore(old)
	again.sweep(t.Context())
	if got := again.reasons(); len(got) != 0 {
		t.Errorf("repeated: %q", got)
	}
	if a, b := old.Registries[0], again.Last().Registries[0]; !a.Since.Equal(b.Since) {
		t.Errorf("since %v, before %v", b.Since, a.Since)
	}
	again.state["b.example"] = faultOf["silent"]
	if c := again.ControlCheck(t.Context(), "a.example"); c.Outcome != report.Fail || c.Evidence["weak"] != "true" {
		t.Errorf("b.example was reached before: %+v", c)
	}
}

// TestSweepOnRequest checks that a requested sweep begins at once, and that its end is
// known.
func TestSweepOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig("a.example/x")
		r.set.SweepInterval = 0 // never by itself
		ctx, cancel := context.WithCancel(t.Context())
		pods := make(chan struct{})
		close(pods)
		done := make(chan struct{})
		go func() { r.Run(ctx, pods); close(done) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(r.swept) != 0 {
			t.Errorf("%d sweeps", len(r.swept))
		}
		asked := time.Now()
		time.Sleep(time.Millisecond)
		r.SweepNow()
		synctest.Wait()
		if len(r.swept) != 1 || !r.EndedAfter(asked) || r.EndedAfter(time.Now()) {
			t.Errorf("%d sweeps", len(r.swept))
		}
		r.set.SweepInterval = 5 * time.Minute
		r.SweepNow()
		time.Sleep(22 * time.Minute)
		synctest.Wait()
		if n := len(r.swept); n < 5 || n > 7 {
			t.Errorf("%d sweeps in 22 minutes", n)
		}
		// After a change there is one early sweep; while the node is isolated, all are early.
		r.breaks("expired", "a.example")
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		before := len(r.swept)
		time.Sleep(retryInterval * 2)
		synctest.Wait()
		if n := len(r.swept) - before; n > 1 {
			t.Errorf("%d sweeps within a minute of old news", n)
		}
		cancel()
		<-done
	})
}

func TestFastSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig("a.example/x", "b.test/x")
		ctx, cancel := context.WithCancel(t.Context())
		pods := make(chan struct{})
		close(pods)
		done := make(chan struct{})
		go func() { r.Run(ctx, pods); close(done) }()
		time.Sleep(startupJitter)
		synctest.Wait()
		r.breaks("silent", "a.example", "b.test")
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if r.Last().Control.Outcome != report.Fail {
			t.Fatal("the node reads as if it reached something")
		}
		r.breaks("")
		time.Sleep(retryInterval * 3 / 2)
		synctest.Wait()
		if r.Last().Control.Outcome != report.Pass {
			t.Error("the node is back, and still reads as cut off")
		}
		cancel()
		<-done
	})
}

// TestSweepsAreDisabled checks that sweeps disabled during an interval happen on
// request only, and that they do not wait for the old interval when enabled again.
func TestSweepsAreDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig("a.example/x")
		ctx, cancel := context.WithCancel(t.Context())
		pods := make(chan struct{})
		close(pods)
		done := make(chan struct{})
		go func() { r.Run(ctx, pods); close(done) }()
		sweeps := func() int { synctest.Wait(); return len(r.swept) }
		time.Sleep(startupJitter)
		if n := sweeps(); n != 1 {
			t.Fatalf("%d sweeps at first", n)
		}
		r.set.SweepInterval = 0
		time.Sleep(time.Hour)
		if n := sweeps(); n != 1 {
			t.Errorf("%d sweeps after they were switched off", n-1)
		}
		r.SweepNow()
		if n := sweeps(); n != 2 {
			t.Error("no sweep on request")
		}
		time.Sleep(time.Hour)
		r.set.SweepInterval = 5 * time.Minute
		r.SweepNow()
		time.Sleep(6 * time.Minute)
		if n := sweeps(); n != 4 {
			t.Errorf("%d sweeps since they were switched on again", n-2)
		}
		cancel()
		<-done
	})
}

func TestControlCheck(t *testing.T) {
	r := newRig("a.example/x", "b.example/x", "docker.io/x")
	r.sweep(t.Context())
	r.state["a.example"] = faultOf["silent"]
	c := r.ControlCheck(t.Context(), "a.example")
	if c.Outcome != report.Pass || strings.Contains(c.Summary, "a.example") {
		t.Errorf("%+v", c)
	}
	if n := len(r.wants); n != 2 || r.wants[1].Configured || len(r.wants[1].Leads) != 0 {
		t.Errorf("surveys: %+v", r.wants)
	}
	// Another diagnosis at the same time contacts no host again.
	if r.ControlCheck(t.Context(), "b.example"); len(r.wants) != 2 {
		t.Errorf("%d surveys", len(r.wants))
	}
	empty := newRig()
	if c := empty.ControlCheck(t.Context(), "a.example"); c.Outcome != report.Skipped || !strings.Contains(c.Summary, "control") {
		t.Errorf("%+v", c)
	}
}

func TestResolversAndClockOfASweep(t *testing.T) {
	dns := func(host, resolver string, outcome report.Outcome, cause report.Cause) report.Check {
		return report.Check{
			ID:       "dns/" + host + "/" + resolver,
			Kind:     report.KindDNS,
			Host:     host,
			Target:   resolver,
			Outcome:  outcome,
			Cause:    cause,
			Duration: report.Millis(time.Millisecond),
		}
	}
	clock := func(host string, outcome report.Outcome, cause report.Cause) report.Check {
		return report.Check{
			ID:       "clock/" + host,
			Kind:     report.KindClock,
			Host:     host,
			Outcome:  outcome,
			Cause:    cause,
			Summary:  "by " + host,
			Evidence: map[string]string{"skewSeconds": "1"},
		}
	}
	sightings := []examine.Observation{
		{
			Host: "a",
			Checks: []report.Check{
				dns("a", "1", report.Pass, ""),
				dns("a", "2", report.Fail, report.ResolverUnreachable),
				clock("a", report.Fail, report.ClockSkewed),
			},
		},
		{
			Host: "b",
			Checks: []report.Check{
				dns("b", "1", report.Fail, report.HostNotFound),
				dns("b", "2", report.Fail, report.ResolverFailed),
				clock("b", report.Pass, ""),
			},
		},
	}
	got := summarizeResolvers(sightings)
	if len(got) != 2 || got[0].Outcome != report.Pass || got[1].Outcome != report.Fail || got[1].Cause != report.ResolverFailed {
		t.Errorf("%+v", got)
	}
	if c := summarizeClock(sightings); c.Outcome != report.Pass || c.Summary != "by b" || c.Evidence["servers"] != "2" {
		t.Errorf("one host that agrees acquits the clock: %+v", c)
	}
	if c := summarizeClock(nil); c.Outcome != report.Skipped {
		t.Errorf("%+v", c)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, header := range []string{"60", "-1", "99999999999999999999", "Sat, 21 Nov 2026 09:00:00 GMT", "x"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
		if got := examine.RetryAfter(header, now); got <= 0 || got > 24*time.Hour {
			t.Errorf("%q: %v", header, got)
		}
	})
}

// A diagnosis that contradicts the last sweep leads to another one, 10 s after it at the earliest.
func TestContradiction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig("a.example/x")
		r.sweep(t.Context())
		time.Sleep(time.Second)
		r.LearnFrom(checksOf("a.example", report.Check{}))
		r.LearnFrom(checksOf("a.example", faultOf["expired"]))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(r.requests) > 0 {
			t.Error("a sweep is requested 6 s after the last one")
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(r.requests) != 1 {
			t.Error("no sweep is requested")
		}
	})
}
