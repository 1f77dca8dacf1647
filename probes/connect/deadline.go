package connect

import (
	"context"
	"errors"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// timeUp is the cause of a context that ended because the whole call timed out, not
// one step.
type timeUp struct{}

func (timeUp) Error() string { return "this diagnosis timed out" }

// Begin starts a call: it bounds ctx by [Limits].Overall and returns a prober
// for this call alone. The call ends a moment before the caller's own deadline, so
// that the cause of a step that was cut short is known.
func (p *Prober) Begin(ctx context.Context) (*Prober, context.Context, context.CancelFunc) {
	own := *p
	own.call = new(call)
	end := time.Now().Add(p.Limits.WithDefaults().Overall)
	if d, ok := ctx.Deadline(); ok && d.Add(-10*time.Millisecond).Before(end) {
		end = d.Add(-10 * time.Millisecond)
	}
	ctx, cancel := context.WithDeadlineCause(ctx, end, timeUp{})
	return &own, ctx, cancel
}

// BeginSweep returns a prober for a sweep over many hosts. It keeps the
// connection of a handshake that passed for the request that follows. Each host
// is bounded by [Prober.HostContext].
func (p *Prober) BeginSweep() *Prober {
	own := *p
	own.call = &call{keepConns: true}
	return &own
}

// HostContext bounds the probes of one host of a sweep by [Limits].Overall.
func (p *Prober) HostContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadlineCause(ctx, time.Now().Add(p.Limits.WithDefaults().Overall), timeUp{})
}

// cutShort reports whether ctx, that of one step, ended with the whole call rather
// than by the step's own deadline.
func cutShort(ctx context.Context) bool {
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		<-ctx.Done() // a socket's deadline may be a moment ahead of its context's
	}
	cause := context.Cause(ctx)
	return errors.Is(cause, timeUp{}) || errors.Is(cause, context.Canceled)
}

// unfinishedError is the error of a step that had not ended when the whole call
// timed out. It tells nothing about the peer.
type unfinishedError struct{ err error }

func (e *unfinishedError) Error() string { return timeUp{}.Error() + ": " + e.err.Error() }
func (e *unfinishedError) Unwrap() error { return e.err }

// MarkUnfinished marks the error of a step that the end of the call cut short.
func MarkUnfinished(ctx context.Context, err error) error {
	if err == nil || errors.As(err, new(*unfinishedError)) || !endedEarly(err) || !cutShort(ctx) {
		return err
	}
	return &unfinishedError{err}
}

// Apply fills in the check of a step that ended in f; prefix is the beginning of
// its summary. A step that was cut short has neither failed nor passed.
func (f Failure) Apply(check *report.Check, prefix string) {
	check.Outcome, check.Cause = report.Fail, f.Cause
	if f.Unfinished {
		check.Outcome, check.Cause = report.Unknown, ""
	}
	check.Summary = prefix + f.Message
	check.Evidence = f.Facts.Checked()
}
