package sweep

import (
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// hostState is what is remembered of a host from sweep to sweep.
type hostState struct {
	report.Registry             // as the last sweep left it
	changes         []time.Time // when it went bad or came back, within flapWindow
	wasReached      bool        // it was reached once
	round           int         // the last sweep that was to look at it
	limitCount      int         // how often in a row it asked to be left alone
}

// A host whose state changes this often within the window is flapping, until
// it has kept one state for calm.
const (
	flapChanges = 4
	flapWindow  = time.Hour
	flapQuiet   = 20 * time.Minute
)

// news is what a look changed.
type transition uint8

const (
	unchanged         transition = iota
	becameUnavailable            // it could be reached, or nobody knew, and now it cannot
	recovered                    // it could not, and now it can
	causeChanged                 // it cannot be reached still, for another reason
	startedFlapping              // it went bad or came back once too often
	stabilized                   // it has kept one state for a while
)

// observe takes over a new look at the host and says what is new.
func (h *hostState) observe(now report.Registry) transition {
	before, first := h.Registry, h.State == ""
	at := now.Checked
	if now.State == report.ReachUnknown && !first && before.State != report.ReachUnknown {
		// The look could not be made: what was known before is still all that is known.
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
