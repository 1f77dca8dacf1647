package turns

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// testQueue is a fairQueue with a clock of its own.
type testQueue struct {
	fairQueue
	now time.Time
}

func newTestQueue(slots, rate int) *testQueue {
	return &testQueue{fairQueue: New(slots, func() int { return rate }).fairQueue, now: time.Unix(0, 0)}
}

func (r *testQueue) queue(n int, namespace, registry string, asked bool) (out []*Waiter) {
	for range n {
		k := NewWaiter(namespace, registry, asked)
		r.add(k)
		out = append(out, k)
	}
	return out
}

// admitAll admits all waiters that may begin, and returns them.
func (r *testQueue) admitAll() (out []*Waiter) {
	for {
		k, _ := r.next(r.now)
		if k == nil {
			return out
		}
		out = append(out, k)
	}
}

func namespacesOf(list []*Waiter) string {
	var out []string
	for _, k := range list {
		out = append(out, k.namespace)
	}
	return strings.Join(out, "")
}

// TestNamespacesTakeTurns checks that namespaces take turns, however many waiters each has.
func TestNamespacesTakeTurns(t *testing.T) {
	r := newTestQueue(8, 1000)
	r.queue(1000, "a", "r", false)
	if got := namespacesOf(r.admitAll()); got != "aaaaaa" {
		t.Fatalf("alone: %s, want all but the last quarter", got)
	}
	late := r.queue(1, "b", "r", false)[0]
	if got := namespacesOf(r.admitAll()); got != "b" {
		t.Fatalf("a newcomer waits: %q", got)
	}
	r.finish(late)
	r.queue(1000, "b", "r", false)
	r.queue(1000, "c", "r", false)
	if got := namespacesOf(r.admitAll()); got != "bc" {
		t.Errorf("when others wait: %s", got)
	}
	for range 6 {
		r.finish(&Waiter{namespace: "a"})
	}
	if got := namespacesOf(r.admitAll()); got != "abcabc" {
		t.Errorf("in turn: %s", got)
	}
}

// TestUrgentFirst checks that urgent waiters go first in their own namespace, and that
// the namespaces take turns all the same.
func TestUrgentFirst(t *testing.T) {
	r := newTestQueue(4, 1000)
	r.queue(10, "a", "r", false)
	last := r.queue(1, "a", "r", true)[0]
	if got := r.admitAll(); got[0] != last {
		t.Error("an urgent waiter waits behind the others of its namespace")
	}
	r = newTestQueue(4, 1000)
	r.queue(1000, "a", "r", true)
	r.queue(1000, "b", "r", false)
	if got := namespacesOf(r.admitAll()); got != "abab" {
		t.Errorf("a namespace that asks about all its pods: %s", got)
	}
}

// TestAskingStarvesNoNamespace checks that a namespace whose users ask more often than the
// rate of a registry allows does not keep another one from this registry.
func TestAskingStarvesNoNamespace(t *testing.T) {
	const rate, asksPerSecond = 4, 5
	r := newTestQueue(8, rate)
	began := map[string]int{}
	admit := func() {
		for _, w := range r.admitAll() {
			began[w.namespace]++
			r.finish(w)
		}
	}
	for range 60 * asksPerSecond {
		r.queue(1, "asks", "shared", true)
		r.now = r.now.Add(time.Second / asksPerSecond)
		admit()
	}
	if left := len(r.waiting["asks"]); left == 0 {
		t.Fatal("the namespace does not ask more often than the rate allows")
	}
	before := began["asks"]
	for n := range 20 {
		r.queue(1, "quiet", "shared", false)
		turns := 0
		for ; began["quiet"] == n; turns++ {
			if turns > 2*asksPerSecond {
				t.Fatalf("pod %d of another namespace is not served within two seconds", n)
			}
			r.queue(1, "asks", "shared", true)
			r.now = r.now.Add(time.Second / asksPerSecond)
			admit()
		}
	}
	if others := began["asks"] - before; others > 3*20 || others == 0 {
		t.Errorf("beside 20 of the quiet namespace %d of the other began", others)
	}
}

// TestRegistryRate checks that a registry gets no more than its rate, and does not
// delay waiters for another one.
func TestRegistryRate(t *testing.T) {
	r := newTestQueue(10000, 4)
	r.queue(1000, "a", "slow", false)
	others := r.queue(3, "a", "other", false)
	got := r.admitAll()
	if n := len(got); n != 16+3 || !slices.Contains(got, others[2]) {
		t.Fatalf("%d begin at once", n)
	}
	total := 0
	for range 10 {
		_, again := r.next(r.now)
		if again.IsZero() || again.Sub(r.now) > 251*time.Millisecond {
			t.Fatalf("the next one at %v", again.Sub(r.now))
		}
		r.now = r.now.Add(time.Second)
		total += len(r.admitAll())
	}
	if total < 39 || total > 40 {
		t.Errorf("%d in 10 s", total)
	}
	// A namespace with many registries has a rate of its own.
	r = newTestQueue(10000, 4)
	for i := range 500 {
		r.queue(2, "a", fmt.Sprint(i), false)
	}
	if n := len(r.admitAll()); n != 64 {
		t.Errorf("%d of one namespace begin at once", n)
	}
	if n := len(r.buckets); n > maxBuckets {
		t.Errorf("%d buckets", n)
	}
	r.now = r.now.Add(time.Hour)
	r.queue(1, "b", "new", false)
	if r.admitAll(); len(r.buckets) > maxBuckets {
		t.Errorf("%d buckets", len(r.buckets))
	}
}

// TestFairQueueAtRandom checks with random input that the limits hold, that no waiter that
// may begin waits, and that all get their turn.
func TestFairQueueAtRandom(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		slots, rate := 1+rnd.IntN(20), 1+rnd.IntN(8)
		r := newTestQueue(slots, rate)
		var running []*Waiter
		began := map[string][]time.Time{}
		left := 300
		for steps := 0; left > 0 || len(running) > 0 || len(r.waiting) > 0; steps++ {
			if steps > 100000 {
				t.Fatalf("seed %d: %d wait for ever", seed, len(r.waiting))
			}
			r.now = r.now.Add(time.Duration(rnd.IntN(100)) * time.Millisecond)
			switch rnd.IntN(4) {
			case 0:
				if left > 0 {
					left--
					r.queue(1, fmt.Sprint(rnd.IntN(4)), fmt.Sprint("r", rnd.IntN(3)), rnd.IntN(5) == 0)
				}
			case 1:
				if len(running) > 0 {
					i := rnd.IntN(len(running))
					r.finish(running[i])
					running = slices.Delete(running, i, i+1)
				}
			case 2:
				if rnd.IntN(20) == 0 && len(r.order) > 0 {
					r.remove(r.waiting[r.order[0]][0])
				}
			}
			for _, k := range r.admitAll() {
				running = append(running, k)
				began[k.registry] = append(began[k.registry], r.now)
			}
			if len(running) != r.total || r.total > slots {
				t.Fatalf("seed %d: %d of %d slots are taken, %d running", seed, r.total, slots, len(running))
			}
			for ns, n := range r.running {
				if n > max(1, slots-slots/4) {
					t.Fatalf("seed %d: %s holds %d of %d", seed, ns, n, slots)
				}
			}
		}
		for registry, times := range began {
			for i := range times {
				if j := i + BurstSeconds*rate + rate; j < len(times) && times[j].Sub(times[i]) < time.Second-time.Millisecond {
					t.Fatalf("seed %d: %d of %s begin within %v", seed, j-i, registry, times[j].Sub(times[i]))
				}
			}
		}
	}
}

// TestAcquire checks that waiters begin when there is a slot or time has
// passed, and that a canceled one leaves no trace.
func TestAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New(4, func() int { return 1 })
		var wg sync.WaitGroup
		start := time.Now()
		for range 12 { // 4 at once, then one a second
			k := NewWaiter("a", "r", false)
			wg.Go(func() {
				if !turns.Acquire(t.Context(), k) {
					t.Error("not let in")
				}
				turns.Release(k)
			})
		}
		wg.Wait()
		if took := time.Since(start); took < 8*time.Second || took > 9*time.Second {
			t.Errorf("12 turns took %v", took)
		}

		time.Sleep(time.Minute)
		var held []*Waiter
		for _, ns := range []string{"a", "a", "b", "b"} {
			held = append(held, NewWaiter(ns, "", false))
			turns.Acquire(t.Context(), held[len(held)-1])
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan bool)
		go func() { gone <- turns.Acquire(ctx, NewWaiter("c", "", false)) }()
		synctest.Wait()
		cancel()
		if <-gone {
			t.Error("let in without a place")
		}
		asked, plain := NewWaiter("d", "", false), NewWaiter("d", "", false)
		var order []string
		for _, k := range []*Waiter{plain, asked} {
			wg.Go(func() {
				turns.Acquire(t.Context(), k)
				if k == asked {
					order = append(order, "asked")
				} else {
					order = append(order, "plain")
				}
				turns.Release(k)
			})
			synctest.Wait()
		}
		turns.Prioritize(asked)
		turns.Release(held[0])
		wg.Wait()
		if !slices.Equal(order, []string{"asked", "plain"}) {
			t.Errorf("in the order %v", order)
		}
		for _, k := range held[1:] {
			turns.Release(k)
		}
		if turns.total != 0 || len(turns.waiting)+len(turns.running)+len(turns.order) != 0 {
			t.Errorf("left over: %+v", turns.fairQueue)
		}
	})
}
