package probes

import (
	"context"
	"errors"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// timeUp is the cause of a context that ended because the time of the whole
// call was over, not that of one step.
type timeUp struct{}

func (timeUp) Error() string { return "the time of this diagnosis was over" }

// begin bounds a whole call and gives it a node of its own. The call ends a
// moment before the caller's own deadline, so that it is known what cut a step
// short.
func (n *Node) begin(ctx context.Context) (*Node, context.Context, context.CancelFunc) {
	own := *n
	own.call = new(call)
	end := time.Now().Add(n.Limits.withDefaults().Overall)
	if d, ok := ctx.Deadline(); ok && d.Add(-10*time.Millisecond).Before(end) {
		end = d.Add(-10 * time.Millisecond)
	}
	ctx, cancel := context.WithDeadlineCause(ctx, end, timeUp{})
	return &own, ctx, cancel
}

// cutShort says whether ctx, that of one step, ended with the whole call
// rather than by the step's own deadline.
func cutShort(ctx context.Context) bool {
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		<-ctx.Done() // a socket's deadline may be a moment ahead of its context's
	}
	cause := context.Cause(ctx)
	return errors.Is(cause, timeUp{}) || errors.Is(cause, context.Canceled)
}

// unfinishedError is a step that had not ended when the time of the whole call
// was over. It says nothing of who was asked.
type unfinishedError struct{ err error }

func (e *unfinishedError) Error() string { return timeUp{}.Error() + ": " + e.err.Error() }
func (e *unfinishedError) Unwrap() error { return e.err }

// unfinished marks the error of a step that was cut short.
func unfinished(ctx context.Context, err error) error {
	var already *unfinishedError
	if err == nil || errors.As(err, &already) || !isTimeout(err) || !cutShort(ctx) {
		return err
	}
	return &unfinishedError{err}
}

// settle fills in the check of a step that ended in f; words stand before what
// happened. A step that was cut short neither failed nor passed.
func (f fault) settle(check *report.Check, words string) {
	check.Outcome, check.Cause = report.Fail, f.cause
	if f.unfinished {
		check.Outcome, check.Cause = report.Unknown, ""
	}
	check.Summary = words + f.words
	check.Evidence = f.facts.checked()
}
