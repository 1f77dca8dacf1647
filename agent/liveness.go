package agent

import (
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
