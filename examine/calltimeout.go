package examine

import (
	"sync/atomic"
	"time"
)

// callTimeout limits a call that no context can stop: one that hangs in the
// kernel, for example on a disk that is gone.
const callTimeout = 2 * time.Second

// maxAbandoned is how many such calls may hang before no more are made: each
// keeps a thread.
const maxAbandoned = 4

// timeoutCaller counts the calls that were abandoned and still hang. The zero
// value is ready.
type timeoutCaller struct{ abandoned atomic.Int32 }

// callWithTimeout runs f and abandons it after callTimeout; ok is false then. An
// abandoned call is the one thing that may outlive an examination: nothing can
// end it but the kernel.
func callWithTimeout[T any](c *timeoutCaller, f func() T) (out T, ok bool) {
	if c.abandoned.Load() >= maxAbandoned {
		return out, false
	}
	done := make(chan T, 1)
	var late atomic.Bool // the first to set it is the one that was late
	go func() {
		done <- f()
		if !late.CompareAndSwap(false, true) {
			c.abandoned.Add(-1)
		}
	}()
	timer := time.NewTimer(callTimeout)
	defer timer.Stop()
	select {
	case out = <-done:
		return out, true
	case <-timer.C:
	}
	c.abandoned.Add(1)
	if !late.CompareAndSwap(false, true) {
		c.abandoned.Add(-1) // f ended at the last moment
	}
	return out, false
}
