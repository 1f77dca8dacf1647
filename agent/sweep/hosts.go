package sweep

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/diagnosis/control"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// hostTable is what is known of the hosts, from one sweep to the next.
type hostTable struct {
	mu      sync.Mutex
	byName  map[string]*hostState
	answers map[string]answer // to the last sweep, by host: of those that answered
	round   int               // of the last sweep
}

func newHostTable() *hostTable {
	return &hostTable{byName: map[string]*hostState{}, answers: map[string]answer{}}
}

// answer is a host's answer to GET /v2/.
type answer struct {
	report.Check
	at time.Time
}

// hostChange is what a sweep changed for one host.
type hostChange struct {
	transition
	report.Registry
}

// observe updates the state of every host and returns what changed. Hosts that were
// not part of this sweep are removed.
func (t *hostTable) observe(
	observations []examine.Observation, check report.Check, opinions func(host string) []report.Check,
) []hostChange {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.round++
	var changes []hostChange
	seen := map[string]bool{}
	t.answers = map[string]answer{}
	for _, o := range observations {
		name := o.Host
		if seen[name] {
			name += " (other settings)"
		}
		seen[name] = true
		h := t.byName[name]
		if h == nil {
			h = &hostState{}
			t.byName[name] = h
		}
		h.round = t.round
		if o.At.IsZero() { // not checked this time
			h.Roles = o.Roles
			continue
		}
		at := o.At.UTC().Truncate(time.Millisecond)
		r := diagnosis.StateOf(o.Host, slices.Concat(o.Checks, []report.Check{check}, opinions(o.Host)), at)
		r.Host, r.Roles = name, o.Roles
		h.noteLimit(&r, o.Checks)
		what := h.observe(r)
		if c := report.Find(o.Checks, report.RegistryID(o.Host)); c.Outcome == report.Pass {
			t.answers[name] = answer{c, o.At}
		}
		changes = append(changes, hostChange{what, h.Registry})
	}
	maps.DeleteFunc(t.byName, func(_ string, h *hostState) bool { return h.round != t.round })
	return changes
}

// registries returns the state of every host, in the order of the report.
func (t *hostTable) registries() []report.Registry {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := []report.Registry{}
	for _, h := range t.byName {
		out = append(out, h.Registry)
	}
	report.SortRegistries(out)
	return out
}

// limited returns the hosts that want no requests at a time.
func (t *hostTable) limited(now time.Time) map[string]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]bool{}
	for name, h := range t.byName {
		if h.NotBefore != nil && now.Before(*h.NotBefore) {
			out[name] = true
		}
	}
	return out
}

// controls returns what the hosts that were checked show about this node. The
// configured ones count as known.
func (t *hostTable) controls(observations []examine.Observation, configured []string) []control.Host {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []control.Host
	for _, o := range observations {
		if o.At.IsZero() {
			continue
		}
		h := t.byName[o.Host]
		v := control.Host{
			Registry: diagnosis.StateOf(o.Host, o.Checks, o.At),
			Known:    h != nil && h.wasReached || slices.Contains(configured, o.Host),
		}
		v.Roles = o.Roles
		out = append(out, v)
	}
	return out
}

// controlCandidates returns the hosts whose answers prove most: the configured control
// hosts, then those that this node has reached before. It is one more than needed,
// because one may be the host that the diagnosis is about.
func (t *hostTable) controlCandidates(configured []string) []string {
	out := slices.Clone(configured)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, known := range []bool{true, false} {
		for _, name := range slices.Sorted(maps.Keys(t.byName)) {
			h := t.byName[name]
			registry := slices.Contains(h.Roles, report.RoleRegistry) || slices.Contains(h.Roles, report.RoleTarget)
			if h.wasReached == known && registry && h.NotBefore == nil && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out[:min(len(out), maxControlHosts+1)]
}

// knows reports whether the host was part of the last sweep.
func (t *hostTable) knows(host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byName[host] != nil
}

// contradictedBy reports whether checks found a host reachable that was not, or the
// reverse, or one that is not reachable and was in no sweep.
func (t *hostTable) contradictedBy(checks []report.Check, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	asked := map[string]bool{}
	for _, c := range checks {
		if c.Host != "" && (c.Kind == report.KindDNS || c.Kind == report.KindDial || c.Kind == report.KindRegistry) {
			asked[c.Host] = true
		}
	}
	for host := range asked {
		h := t.byName[host]
		found := diagnosis.StateOf(host, checks, now).State
		switch {
		case h == nil && found.Bad():
			return true // no sweep has seen it yet
		case h == nil, !h.State.Known(), h.State == report.ReachUnknown:
			continue
		}
		if found != report.ReachUnknown && found.Bad() != h.State.Bad() {
			return true
		}
	}
	return false
}

// answerTTL is how old an answer may be that a diagnosis uses.
const answerTTL = 15 * time.Second

// answer returns a host's answer to the last sweep, and its age; ok is false if it is
// older than a time or too old.
func (t *hostTable) answer(host string, after time.Time) (c report.Check, age time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.answers[host]
	age = time.Since(a.at)
	return a.Check, age, ok && age <= answerTTL && a.at.After(after)
}

// restore takes over the state of hosts that are not known yet.
func (t *hostTable) restore(old []report.Registry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range old {
		if len(t.byName) >= maxRegistries || t.byName[r.Host] != nil || strings.TrimSpace(r.Host) == "" {
			continue
		}
		if !r.State.Known() || r.NotBefore != nil && time.Until(*r.NotBefore) > maxLimit {
			continue // the report was edited
		}
		t.byName[r.Host] = &hostState{Registry: r, wasReached: r.State == report.Reachable}
	}
}
