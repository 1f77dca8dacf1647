// Package turns limits how many examinations are in progress, and shares them fairly between
// namespaces and registries.
package turns

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter limits how many examinations are in progress, so that a namespace full of stuck
// pods neither starves others nor overloads a registry. [fairQueue] decides; Limiter
// waits.
type Limiter struct {
	mu sync.Mutex
	fairQueue
	timer *time.Timer // for the time at which the next one may begin
}

// New returns a Limiter with so many slots, and a rate of examinations per second and
// registry.
func New(slots int, perSecond func() int) *Limiter {
	return &Limiter{fairQueue: fairQueue{
		slots:     slots,
		perSecond: perSecond,
		running:   map[string]int{},
		waiting:   map[string][]*Waiter{},
		buckets:   map[string]*rate.Limiter{},
	}}
}

// Acquire waits until the waiter may begin. It returns false if ctx ended before. After
// true, Release must be called.
func (l *Limiter) Acquire(ctx context.Context, w *Waiter) bool {
	l.mu.Lock()
	l.add(w)
	l.grant()
	l.mu.Unlock()
	select {
	case <-w.granted:
		return true
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.granted:
		l.finish(w)
	default:
		l.remove(w)
	}
	l.grant()
	return false
}

// Release ends what a waiter began.
func (l *Limiter) Release(w *Waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish(w)
	l.grant()
}

// Prioritize makes a waiter urgent because a user asked.
func (l *Limiter) Prioritize(w *Waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.urgent = true
	l.grant()
}

// grant lets all begin that may. l.mu is held.
func (l *Limiter) grant() {
	for {
		w, retryAt := l.next(time.Now())
		if w != nil {
			close(w.granted)
			continue
		}
		if l.timer != nil {
			l.timer.Stop()
		}
		if !retryAt.IsZero() {
			l.timer = time.AfterFunc(time.Until(retryAt), func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.grant()
			})
		}
		return
	}
}

// Waiter is one examination that waits to begin, or has begun.
type Waiter struct {
	namespace string
	registry  string // empty: no registry is contacted
	urgent    bool   // a user waits for it
	granted   chan struct{}
}

// NewWaiter returns a Waiter for an examination of a namespace. An empty registry: none is
// contacted. It is urgent if a user waits for it.
func NewWaiter(namespace, registry string, urgent bool) *Waiter {
	return &Waiter{namespace: namespace, registry: registry, urgent: urgent, granted: make(chan struct{})}
}

// fairQueue decides which examination begins next. It takes the time as an argument.
//
// Namespaces take turns. While others wait, one namespace holds at most half of the
// slots. It never holds the last quarter: a newcomer must not wait for examinations that
// hang. Urgent examinations go before the others of their own namespace only: else one
// namespace that asks all the time would keep the others from a registry that they share.
// Each namespace and each registry is rate-limited.
type fairQueue struct {
	slots     int
	perSecond func() int // examinations per second and registry

	running map[string]int // by namespace
	total   int
	waiting map[string][]*Waiter // by namespace, in order of arrival
	order   []string             // namespaces that wait, in their turn
	buckets map[string]*rate.Limiter
}

const (
	// BurstSeconds is for how many seconds of the rate examinations may begin at once.
	BurstSeconds = 4
	// namespaceFactor is the rate of a namespace in rates of a registry: it has several.
	namespaceFactor = 4
)

func (f *fairQueue) add(w *Waiter) {
	if len(f.waiting[w.namespace]) == 0 {
		f.order = append(f.order, w.namespace)
	}
	f.waiting[w.namespace] = append(f.waiting[w.namespace], w)
}

// remove removes a waiter that has not begun.
func (f *fairQueue) remove(w *Waiter) {
	left := slices.DeleteFunc(f.waiting[w.namespace], func(o *Waiter) bool { return o == w })
	f.waiting[w.namespace] = left
	if len(left) == 0 {
		delete(f.waiting, w.namespace)
		f.order = slices.DeleteFunc(f.order, func(ns string) bool { return ns == w.namespace })
	}
}

// finish frees the slot of a waiter that has begun.
func (f *fairQueue) finish(w *Waiter) {
	f.total--
	if f.running[w.namespace]--; f.running[w.namespace] == 0 {
		delete(f.running, w.namespace)
	}
}

// next takes the waiter that begins now. If there is none, retryAt is when one may begin
// although nothing else changes; zero: none will.
func (f *fairQueue) next(now time.Time) (w *Waiter, retryAt time.Time) {
	if f.total >= f.slots {
		return nil, retryAt
	}
	half, most := max(1, f.slots/2), f.slots-f.slots/4
	for _, quota := range []int{half, most} {
		for _, ns := range f.order {
			if f.running[ns] >= quota {
				continue
			}
			w, at := f.firstReady(ns, now)
			if w != nil {
				f.admit(w, now)
				return w, time.Time{}
			}
			retryAt = Earliest(retryAt, at)
		}
	}
	return nil, retryAt
}

// firstReady returns the first waiter of a namespace that the rates allow to begin, an
// urgent one if there is one, or when they allow one.
func (f *fairQueue) firstReady(ns string, now time.Time) (first *Waiter, retryAt time.Time) {
	if at := f.readyAt(namespaceKey(ns), namespaceFactor, now); at.After(now) {
		return nil, at
	}
	ready := map[string]bool{} // by registry
	for _, w := range f.waiting[ns] {
		if first != nil && !w.urgent {
			continue
		}
		isReady, known := ready[w.registry]
		if !known {
			at := now
			if w.registry != "" {
				at = f.readyAt(registryKey(w.registry), 1, now)
			}
			isReady = !at.After(now)
			ready[w.registry] = isReady
			if !isReady {
				retryAt = Earliest(retryAt, at)
			}
		}
		switch {
		case isReady && w.urgent:
			return w, time.Time{}
		case isReady:
			first = w
		}
	}
	if first != nil {
		return first, time.Time{}
	}
	return nil, retryAt
}

// admit lets a waiter begin.
func (f *fairQueue) admit(w *Waiter, now time.Time) {
	f.remove(w)
	if i := slices.Index(f.order, w.namespace); i >= 0 { // its namespace is the last one now
		f.order = append(slices.Delete(f.order, i, i+1), w.namespace)
	}
	f.total++
	f.running[w.namespace]++
	f.consume(namespaceKey(w.namespace), namespaceFactor, now)
	if w.registry != "" {
		f.consume(registryKey(w.registry), 1, now)
	}
}

func namespaceKey(name string) string { return "namespace " + name }
func registryKey(host string) string  { return "registry " + host }

// bucket returns a token bucket with the current rate, times factor. A missing one counts
// as full.
func (f *fairQueue) bucket(key string, factor int, now time.Time) *rate.Limiter {
	perSecond := max(1, f.perSecond()) * factor
	b := f.buckets[key]
	switch {
	case b == nil:
		b = rate.NewLimiter(rate.Limit(perSecond), perSecond*BurstSeconds)
	case b.Burst() != perSecond*BurstSeconds:
		b.SetLimitAt(now, rate.Limit(perSecond))
		b.SetBurstAt(now, perSecond*BurstSeconds)
	}
	return b
}

// readyAt returns when a bucket lets the next one begin.
func (f *fairQueue) readyAt(key string, factor int, now time.Time) time.Time {
	b := f.bucket(key, factor, now)
	missing := 1 - b.TokensAt(now)
	if missing <= 0 {
		return now
	}
	// Rounded up: at the exact time there may be a little less than one token.
	return now.Add(time.Duration(missing/float64(b.Limit())*float64(time.Second)) + time.Microsecond)
}

// maxBuckets is how many buckets are kept before full ones are dropped: tenants name the
// registries.
const maxBuckets = 128

// consume takes one token from a bucket.
func (f *fairQueue) consume(key string, factor int, now time.Time) {
	b := f.bucket(key, factor, now)
	b.AllowN(now, 1)
	if len(f.buckets) >= maxBuckets {
		maps.DeleteFunc(f.buckets, func(_ string, b *rate.Limiter) bool { return b.TokensAt(now) >= float64(b.Burst()) })
	}
	f.buckets[key] = b
}

// Earliest returns the earlier of two times; a zero time does not count.
func Earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
