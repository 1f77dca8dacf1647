package cri

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// One caller has the slot at a time. A caller that yields makes way, others do not.
func TestSlot(t *testing.T) {
	type taken struct {
		release func()
		err     error
	}
	take := func(s *slot, wait time.Duration, yields bool, makeWay func()) <-chan taken {
		out := make(chan taken, 1)
		go func() {
			release, err := s.take(context.Background(), wait, yields, makeWay)
			out <- taken{release, err}
		}()
		synctest.Wait()
		return out
	}
	t.Run("a good one holds its turn", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s slot
			first := <-take(&s, 0, false, func() { t.Error("it made way") })
			second := <-take(&s, time.Second, false, nil)
			if !errors.Is(second.err, context.DeadlineExceeded) {
				t.Errorf("two at a time: %v", second.err)
			}
			waiting := take(&s, time.Minute, false, nil)
			first.release()
			if third := <-waiting; third.err != nil {
				t.Error(third.err)
			}
		})
	})
	t.Run("a poor one makes way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s slot
			asked := make(chan bool, 1)
			poor := <-take(&s, 0, true, func() { asked <- true })
			another := take(&s, time.Minute, true, nil)
			good := take(&s, time.Minute, false, nil)
			select {
			case <-asked:
			default:
				t.Fatal("the poor one was not asked to make way")
			}
			poor.release()
			synctest.Wait()
			select {
			case got := <-good:
				if got.err != nil {
					t.Fatal(got.err)
				}
				got.release()
			default:
				t.Fatal("the good one did not get its turn")
			}
			if got := <-another; got.err == nil {
				got.release() // it may have its turn now, or have given up before
			}
		})
	})
	t.Run("a yielding caller stops no other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s slot
			first := <-take(&s, 0, true, func() { t.Error("made way for its like") })
			defer first.release()
			if second := <-take(&s, time.Second, true, nil); second.err == nil {
				t.Error("two at a time")
			}
		})
	})
}
