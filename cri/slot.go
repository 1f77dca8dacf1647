package cri

import (
	"context"
	"sync"
	"time"
)

// slot is the turn of the one test pull that may be under way. The zero value
// is free.
type slot struct {
	mu      sync.Mutex
	makeWay func()        // of the holder, if it yields
	waiting int           // those that do not yield and wait
	freed   chan struct{} // closed when the holder goes; nil: free
}

// take waits for its turn, or until ctx is done or the wait was too long; 0
// waits as long as ctx lasts. Who yields gets makeWay called when somebody who
// does not yield waits, and no turn before those.
func (s *slot) take(ctx context.Context, wait time.Duration, yields bool, makeWay func()) (release func(), err error) {
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !yields {
		s.waiting++
		defer func() { s.waiting-- }()
	}
	for s.freed != nil || yields && s.waiting > 0 {
		if s.freed == nil {
			return nil, context.DeadlineExceeded // the others are about to take it
		}
		if !yields && s.makeWay != nil {
			s.makeWay()
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	s.freed, s.makeWay = make(chan struct{}), nil
	if yields {
		s.makeWay = makeWay
	}
	return s.release, nil
}

func (s *slot) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.freed)
	s.freed, s.makeWay = nil, nil
}
