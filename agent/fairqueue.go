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
type turns struct {
	mu sync.Mutex
	fair
	timer *time.Timer // for the next look at who may begin
}

func newTurns(slots int, rate func() int) *turns {
	return &turns{fair: fair{slots: slots, rate: rate, running: map[string]int{}, waiting: map[string][]*ticket{}, buckets: map[string]*bucket{}}}
}

// wait returns when it is the ticket's turn, or false when ctx has ended. After
// the turn comes done.
func (t *turns) wait(ctx context.Context, k *ticket) bool {
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
		t.leave(k)
	default:
		t.remove(k)
	}
	t.grant()
	return false
}

func (t *turns) done(k *ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leave(k)
	t.grant()
}

// promote has a ticket that waits go first: somebody asks.
func (t *turns) promote(k *ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.asked = true
	t.grant()
}

// grant lets begin who may; t.mu is held.
func (t *turns) grant() {
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
type ticket struct {
	namespace string
	registry  string // empty: none is asked
	asked     bool   // by somebody, who waits for the answer
	granted   chan struct{}
}

func newTicket(namespace, registry string, asked bool) *ticket {
	return &ticket{namespace: namespace, registry: registry, asked: asked, granted: make(chan struct{})}
}

// fair decides who begins next. It knows no clock.
//
// Namespaces take turns. While others could begin, one holds at most half of
// the slots, and never the last quarter: who comes then must not wait for
// examinations that hang. Who is asked about goes first, within these bounds. A
// registry, and a namespace, gets no more examinations in a time than its rate.
type fair struct {
	slots int
	rate  func() int // examinations of one registry in a second

	running map[string]int // by namespace
	total   int
	waiting map[string][]*ticket // by namespace, first come first served
	order   []string             // namespaces that wait, in their turn
	buckets map[string]*bucket
}

const (
	// burst is how many seconds' worth of examinations may begin at once.
	burst = 4
	// perNamespace is how much more a namespace may than a registry: it has
	// several.
	perNamespace = 4
)

func (f *fair) add(k *ticket) {
	if len(f.waiting[k.namespace]) == 0 {
		f.order = append(f.order, k.namespace)
	}
	f.waiting[k.namespace] = append(f.waiting[k.namespace], k)
}

// remove takes out a ticket that waits.
func (f *fair) remove(k *ticket) {
	left := slices.DeleteFunc(f.waiting[k.namespace], func(o *ticket) bool { return o == k })
	f.waiting[k.namespace] = left
	if len(left) == 0 {
		delete(f.waiting, k.namespace)
		f.order = slices.DeleteFunc(f.order, func(ns string) bool { return ns == k.namespace })
	}
}

// leave gives back the place of a ticket that was let in.
func (f *fair) leave(k *ticket) {
	f.total--
	if f.running[k.namespace]--; f.running[k.namespace] == 0 {
		delete(f.running, k.namespace)
	}
}

// next lets in the ticket whose turn it is. If there is none, again is when one
// may begin though nothing else changes; zero: none will.
func (f *fair) next(now time.Time) (k *ticket, again time.Time) {
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
				k, at := f.first(ns, asked, now)
				if k != nil {
					f.begin(k, now)
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
func (f *fair) first(ns string, asked bool, now time.Time) (k *ticket, again time.Time) {
	if at := f.ready(ofNamespace(ns), perNamespace, now); at.After(now) {
		return nil, at
	}
	full := map[string]bool{}
	for _, k := range f.waiting[ns] {
		if asked && !k.asked || full[k.registry] {
			continue
		}
		at := now
		if k.registry != "" {
			at = f.ready(ofRegistry(k.registry), 1, now)
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

func (f *fair) begin(k *ticket, now time.Time) {
	f.remove(k)
	if i := slices.Index(f.order, k.namespace); i >= 0 { // to the end of the row
		f.order = append(slices.Delete(f.order, i, i+1), k.namespace)
	}
	f.total++
	f.running[k.namespace]++
	f.take(ofNamespace(k.namespace), perNamespace, now)
	if k.registry != "" {
		f.take(ofRegistry(k.registry), 1, now)
	}
}

func ofNamespace(name string) string { return "namespace " + name }
func ofRegistry(host string) string  { return "registry " + host }

// bucket holds what may begin at once; a full one is as good as none.
type bucket struct {
	tokens float64
	at     time.Time
}

func (f *fair) perSecond(times int) float64 { return float64(max(1, f.rate()) * times) }

// maxBuckets is how many are kept before those that have filled up go: tenants
// name the registries.
const maxBuckets = 128

// fill brings a bucket up to date.
func (f *fair) fill(key string, times int, now time.Time) *bucket {
	rate := f.perSecond(times)
	b := f.buckets[key]
	if b == nil {
		return &bucket{tokens: rate * burst, at: now}
	}
	b.tokens, b.at = min(rate*burst, b.tokens+rate*now.Sub(b.at).Seconds()), now
	return b
}

// ready is when the bucket lets the next one begin.
func (f *fair) ready(key string, times int, now time.Time) time.Time {
	b := f.fill(key, times, now)
	if b.tokens >= 1 {
		return now
	}
	// A moment later than the exact time, which is not one that can be told.
	return now.Add(time.Duration((1-b.tokens)/f.perSecond(times)*float64(time.Second)) + time.Microsecond)
}

func (f *fair) take(key string, times int, now time.Time) {
	b := f.fill(key, times, now)
	b.tokens--
	if len(f.buckets) >= maxBuckets {
		oldest := now.Add(-burst * time.Second) // whatever it had then, it is full now
		maps.DeleteFunc(f.buckets, func(_ string, b *bucket) bool { return !b.at.After(oldest) })
	}
	f.buckets[key] = b
}
