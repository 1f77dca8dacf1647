package agent

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// pulse is the time of the last look at a pod.
type liveness struct{ at atomic.Pointer[time.Time] } // not a number: clocks are set

func (p *liveness) mark() { now := time.Now(); p.at.Store(&now) }

// unwell is how long there may be none. A sign of life is queued with every
// round of clean-up, of which the longest lies well within it.
const livenessTimeout = 5 * time.Minute

// alive returns why /healthz fails; nil if it does not.
func (p *liveness) alive() error {
	if age := time.Since(*p.at.Load()); age > livenessTimeout {
		return fmt.Errorf("no sign of life for %v", age.Round(time.Second))
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
