package examine

import "time"

// task is a function that runs in a goroutine of its own. Its owner waits for
// it.
type task[T any] struct {
	ended  chan struct{}
	result T // set when ended is closed
}

// run starts f.
func run[T any](f func() T) *task[T] {
	t := &task[T]{ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		t.result = f()
	}()
	return t
}

// wait returns the result of the function.
func (t *task[T]) wait() T {
	<-t.ended
	return t.result
}

// waitUntil returns the result if the function ends before a time. Else ok is
// false, and wait must be called.
func (t *task[T]) waitUntil(at time.Time) (result T, ok bool) {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-t.ended:
		return t.result, true
	case <-timer.C:
		return result, false
	}
}
