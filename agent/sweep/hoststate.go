package sweep

import (
	"time"

	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// hostState is what is remembered of a host between sweeps.
type hostState struct {
	report.Registry             // after the last sweep
	changes         []time.Time // when it became unavailable or recovered, within flapWindow
	wasReached      bool        // at least once
	round           int         // the last sweep that included it
	limitCount      int         // how often in a row it answered 429
}

// A host whose state changes flapChanges times within flapWindow is flapping, until
// it has kept one state for flapQuiet.
const (
	flapChanges = 4
	flapWindow  = time.Hour
	flapQuiet   = 20 * time.Minute
)

// transition is what an observation changed.
type transition uint8

const (
	unchanged         transition = iota
	becameUnavailable            // it was reachable or not known
	recovered                    // it was unavailable and is reachable
	causeChanged                 // it is still unavailable, for another cause
	startedFlapping              // its state has changed too often
	stabilized                   // it has kept one state for flapQuiet
)

// observe takes over a new observation of the host and returns what it changed.
func (h *hostState) observe(now report.Registry) transition {
	before, first := h.Registry, h.State == ""
	at := now.Checked
	if now.State == report.ReachUnknown && !first && before.State != report.ReachUnknown {
		// The check was not possible: the earlier result stays.
		now.State, now.Fault, now.Cause = before.State, before.Fault, before.Cause
	}
	now.Since = before.Since
	if first || now.State != before.State {
		now.Since = at
	}
	h.wasReached = h.wasReached || now.State == report.Reachable
	bad, wasBad := now.State.Bad(), before.State.Bad()
	turned := !first && bad != wasBad
	if turned {
		h.changes = append(h.changes, at)
	}
	for len(h.changes) > 0 && at.Sub(h.changes[0]) > flapWindow {
		h.changes = h.changes[1:]
	}
	switch {
	case len(h.changes) >= flapChanges && !before.Flapping:
		now.Flapping = true
	case before.Flapping:
		now.Flapping = len(h.changes) > 0 && at.Sub(h.changes[len(h.changes)-1]) < flapQuiet
	}
	if !now.Flapping && before.Flapping {
		h.changes = nil
	}
	h.Registry = now
	switch {
	case now.Flapping && !before.Flapping:
		return startedFlapping
	case !now.Flapping && before.Flapping:
		return stabilized
	case now.Flapping:
		return unchanged
	case bad && (first || !wasBad):
		return becameUnavailable
	case turned:
		return recovered
	case bad && now.Cause != before.Cause:
		return causeChanged
	}
	return unchanged
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
