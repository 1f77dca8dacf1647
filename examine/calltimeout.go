package examine

import (
	"sync/atomic"
	"time"
)

// choreIn is how long a call may take that no context can stop: one that
// hangs in the kernel, on a disk that is gone, say.
const choreIn = 2 * time.Second

// maxHung is how many such calls may be left hanging before no more are made:
// each keeps a thread.
const maxHung = 4

// chore makes such calls. The zero value is ready.
type chore struct{ hung atomic.Int32 }

// within runs f, and gives up on it after choreIn.
func within[T any](c *chore, f func() T) (out T, ok bool) {
	if c.hung.Load() >= maxHung {
		return out, false
	}
	done := make(chan T, 1)
	var late atomic.Bool
	go func() {
		done <- f()
		if !late.CompareAndSwap(false, true) {
			c.hung.Add(-1)
		}
	}()
	timer := time.NewTimer(choreIn)
	defer timer.Stop()
	select {
	case out = <-done:
		return out, true
	case <-timer.C:
	}
	c.hung.Add(1)
	if !late.CompareAndSwap(false, true) {
		c.hung.Add(-1) // it came at the last moment
	}
	return out, false
}
