package agent

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// liveness is when a worker last processed an item of the queue.
type liveness struct{ at atomic.Pointer[time.Time] } // not a number: the wall clock may jump

// mark notes that an item was processed.
func (l *liveness) mark() { now := time.Now(); l.at.Store(&now) }

// livenessTimeout is the longest time without a processed item. heartbeatItem is queued
// with every round of clean-up, which takes much less.
const livenessTimeout = 5 * time.Minute

// alive returns why /healthz fails; nil if it does not.
func (l *liveness) alive() error {
	if age := time.Since(*l.at.Load()); age > livenessTimeout {
		return fmt.Errorf("no work was done for %v", age.Round(time.Second))
	}
	return nil
}

// readiness returns why /readyz fails; nil if it does not.
func (a *Agent) readiness() error {
	switch {
	case !a.pods.HasSynced():
		return errors.New("the pods of this node have not been listed yet")
	case a.publisher.LastPublished().IsZero():
		return errors.New("the report has not been published yet")
	}
	return nil
}
