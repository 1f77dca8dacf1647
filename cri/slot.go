package cri

import (
	"context"
	"sync"
	"time"
)

// slot is the right to make a test pull: one pull has it at a time. The zero value
// is free.
type slot struct {
	mu      sync.Mutex
	makeWay func()        // stops the holder, if it yields
	waiting int           // how many wait that do not yield
	freed   chan struct{} // closed on release; nil: free
}

// take waits for the slot until ctx is done, and no longer than wait unless that is
// 0. If another caller that does not yield waits, a yielding holder's makeWay is
// called, and a yielding caller gets an error.
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
			return nil, context.DeadlineExceeded // one of the others is about to take it
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
