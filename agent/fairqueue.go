package agent

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// turns gives out the places for examinations, so that a namespace full of
// stuck pods neither starves others nor hammers a registry. What it decides is
// in [fair]; turns waits.
type limiter struct {
	mu sync.Mutex
	fairQueue
	timer *time.Timer // for the next look at who may begin
}

func newLimiter(slots int, rate func() int) *limiter {
	return &limiter{fairQueue: fairQueue{slots: slots, rate: rate, running: map[string]int{}, waiting: map[string][]*waiter{}, buckets: map[string]*bucket{}}}
}

// wait returns when it is the ticket's turn, or false when ctx has ended. After
// the turn comes done.
func (t *limiter) acquire(ctx context.Context, k *waiter) bool {
	t.mu.Lock()
	t.add(k)
	t.grant()
	t.mu.Unlock()
	select {
	case <-k.granted:
		return true
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-k.granted:
		t.finish(k)
	default:
		t.remove(k)
	}
	t.grant()
	return false
}

func (t *limiter) release(k *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finish(k)
	t.grant()
}

// promote has a ticket that waits go first: somebody asks.
func (t *limiter) prioritize(k *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.urgent = true
	t.grant()
}

// grant lets begin who may; t.mu is held.
func (t *limiter) grant() {
	for {
		k, again := t.next(time.Now())
		if k != nil {
			close(k.granted)
			continue
		}
		if t.timer != nil {
			t.timer.Stop()
		}
		if !again.IsZero() {
			t.timer = time.AfterFunc(time.Until(again), func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				t.grant()
			})
		}
		return
	}
}

// ticket is one examination that waits for its turn, or has it.
type waiter struct {
	namespace string
	registry  string // empty: none is asked
	urgent    bool   // by somebody, who waits for the answer
	granted   chan struct{}
}

func newWaiter(namespace, registry string, asked bool) *waiter {
	return &waiter{namespace: namespace, registry: registry, urgent: asked, granted: make(chan struct{})}
}

// fair decides who begins next. It knows no clock.
//
// Namespaces take turns. While others could begin, one holds at most half of
// the slots, and never the last quarter: who comes then must not wait for
// examinations that hang. Who is asked about goes first, within these bounds. A
// registry, and a namespace, gets no more examinations in a time than its rate.
type fairQueue struct {
	slots int
	rate  func() int // examinations of one registry in a second

	running map[string]int // by namespace
	total   int
	waiting map[string][]*waiter // by namespace, first come first served
	order   []string             // namespaces that wait, in their turn
	buckets map[string]*bucket
}

const (
	// burst is how many seconds' worth of examinations may begin at once.
	burstSeconds = 4
	// perNamespace is how much more a namespace may than a registry: it has
	// several.
	namespaceFactor = 4
)

func (f *fairQueue) add(k *waiter) {
	if len(f.waiting[k.namespace]) == 0 {
		f.order = append(f.order, k.namespace)
	}
	f.waiting[k.namespace] = append(f.waiting[k.namespace], k)
}

// remove takes out a ticket that waits.
func (f *fairQueue) remove(k *waiter) {
	left := slices.DeleteFunc(f.waiting[k.namespace], func(o *waiter) bool { return o == k })
	f.waiting[k.namespace] = left
	if len(left) == 0 {
		delete(f.waiting, k.namespace)
		f.order = slices.DeleteFunc(f.order, func(ns string) bool { return ns == k.namespace })
	}
}

// leave gives back the place of a ticket that was let in.
func (f *fairQueue) finish(k *waiter) {
	f.total--
	if f.running[k.namespace]--; f.running[k.namespace] == 0 {
		delete(f.running, k.namespace)
	}
}

// next lets in the ticket whose turn it is. If there is none, again is when one
// may begin though nothing else changes; zero: none will.
func (f *fairQueue) next(now time.Time) (k *waiter, again time.Time) {
	if f.total >= f.slots {
		return nil, again
	}
	half, most := max(1, f.slots/2), f.slots-f.slots/4
	for _, share := range []int{half, most} {
		for _, asked := range []bool{true, false} {
			for _, ns := range f.order {
				if f.running[ns] >= share {
					continue
				}
				k, at := f.firstReady(ns, asked, now)
				if k != nil {
					f.admit(k, now)
					return k, time.Time{}
				}
				if again.IsZero() || !at.IsZero() && at.Before(again) {
					again = at
				}
			}
		}
	}
	return nil, again
}

// first is the first ticket of a namespace that its rates let begin.
func (f *fairQueue) firstReady(ns string, asked bool, now time.Time) (k *waiter, again time.Time) {
	if at := f.ready(namespaceKey(ns), namespaceFactor, now); at.After(now) {
		return nil, at
	}
	full := map[string]bool{}
	for _, k := range f.waiting[ns] {
		if asked && !k.urgent || full[k.registry] {
			continue
		}
		at := now
		if k.registry != "" {
			at = f.ready(registryKey(k.registry), 1, now)
		}
		if !at.After(now) {
			return k, time.Time{}
		}
		full[k.registry] = true
		if again.IsZero() || at.Before(again) {
			again = at
		}
	}
	return nil, again
}

func (f *fairQueue) admit(k *waiter, now time.Time) {
	f.remove(k)
	if i := slices.Index(f.order, k.namespace); i >= 0 { // to the end of the row
		f.order = append(slices.Delete(f.order, i, i+1), k.namespace)
	}
	f.total++
	f.running[k.namespace]++
	f.take(namespaceKey(k.namespace), namespaceFactor, now)
	if k.registry != "" {
		f.take(registryKey(k.registry), 1, now)
	}
}

func namespaceKey(name string) string { return "namespace " + name }
func registryKey(host string) string  { return "registry " + host }

// bucket holds what may begin at once; a full one is as good as none.
type bucket struct {
	tokens float64
	at     time.Time
}

func (f *fairQueue) perSecond(times int) float64 { return float64(max(1, f.rate()) * times) }

// maxBuckets is how many are kept before those that have filled up go: tenants
// name the registries.
const maxBuckets = 128

// fill brings a bucket up to date.
func (f *fairQueue) fill(key string, times int, now time.Time) *bucket {
	rate := f.perSecond(times)
	b := f.buckets[key]
	if b == nil {
		return &bucket{tokens: rate * burstSeconds, at: now}
	}
	b.tokens, b.at = min(rate*burstSeconds, b.tokens+rate*now.Sub(b.at).Seconds()), now
	return b
}

// ready is when the bucket lets the next one begin.
func (f *fairQueue) ready(key string, times int, now time.Time) time.Time {
	b := f.fill(key, times, now)
	if b.tokens >= 1 {
		return now
	}
	// A moment later than the exact time, which is not one that can be told.
	return now.Add(time.Duration((1-b.tokens)/f.perSecond(times)*float64(time.Second)) + time.Microsecond)
}

func (f *fairQueue) take(key string, times int, now time.Time) {
	b := f.fill(key, times, now)
	b.tokens--
	if len(f.buckets) >= maxBuckets {
		oldest := now.Add(-burstSeconds * time.Second) // whatever it had then, it is full now
		maps.DeleteFunc(f.buckets, func(_ string, b *bucket) bool { return !b.at.After(oldest) })
	}
	f.buckets[key] = b
}
