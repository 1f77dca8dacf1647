package agent

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/turns"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// examCache makes examinations and keeps their results, so that all pods that wait for
// the same image with the same credentials share one. Callers never block: requeue is
// called for every pod that needs a result. The longer the result of an image stays the
// same, the longer it is valid.
type examCache struct {
	cfg cacheConfig

	// secretsInterval is how often the secrets of a stuck pod are compared with those
	// that its examination used.
	secretsInterval time.Duration

	// contradictedInterval is how long after its end an examination is due that does not
	// explain a later failure of the kubelet. It doubles while the result stays the same.
	contradictedInterval time.Duration

	seed maphash.Seed
	work sync.WaitGroup

	mu     sync.Mutex
	closed bool
	byKey  map[string]*entry
}

// cacheConfig is what a cache needs.
type cacheConfig struct {
	Examine func(ctx context.Context, s examine.Subject, early func(examine.Result)) examine.Result
	Requeue func(types.UID)
	MaxAge  func() time.Duration // the longest time for which an examination is valid
	Limiter *turns.Limiter
}

// entry is what is known under one key.
type entry struct {
	latest       examination
	inFlight     []*inFlight
	startAnother bool // a pod needs another examination when one of these has ended
	users        map[types.UID]bool

	verdict          report.Verdict         // of the latest examination, for the back-off only
	repeats          int                    // how often in a row it was the same before
	due              time.Time              // end of its validity
	failures         map[types.UID]failures // of the kubelet, after examinations that found nothing wrong
	messages         map[uint64]bool        // fingerprints of the kubelet's messages that it was made for
	secretsPrint     uint64                 // fingerprint of the secrets that it used; 0: not known
	secretsCheckedAt time.Time              // when they were last compared
}

// resetBackoff has the next results valid for the shortest time again.
func (e *entry) resetBackoff() { e.verdict, e.repeats, e.messages = report.Verdict{}, 0, nil }

// examination is the result of an examination, with its time.
type examination struct {
	examine.Result
	began, ended time.Time
	after        time.Time // what was found before this did not count
	// contradicted is how often one pod failed again after examinations in a row that
	// found nothing wrong.
	contradicted int
}

// answeredBy reports whether an examination that began at a time, for which nothing counted
// that was found before after, is new enough for a request.
func (r examRequest) answeredBy(began, after time.Time) bool {
	return began.After(r.beganAfter) && !after.Before(r.beganAfter)
}

// inFlight is an examination in progress.
type inFlight struct {
	began  time.Time // zero: it waits to begin
	after  time.Time // what was found before this does not count for it
	cancel context.CancelFunc
	waiter *turns.Waiter
}

// examRequest is what a pod needs an examination of.
type examRequest struct {
	pod        types.UID
	namespace  string    // of the pod
	urgent     bool      // a user waits for it
	key        string    // requests with the same key share examinations
	beganAfter time.Time // it must have begun after this, and nothing counts that was found before
	endedAfter time.Time // it must have ended after this
	subject    examine.Subject
	podCheck   report.Check // what the kubelet reports, for the verdict that the back-off depends on
	failedAt   time.Time    // when the kubelet's last failure was first seen
}

func newExamCache(c cacheConfig) *examCache {
	return &examCache{
		cfg:                  c,
		secretsInterval:      time.Minute,
		contradictedInterval: 10 * time.Second,
		seed:                 maphash.MakeSeed(),
		byKey:                map[string]*entry{},
	}
}

// maxInFlight is how many examinations of one key are in progress at a time: repeated
// requests take no slots from others.
const maxInFlight = 2

// reuseAge is how old an examination may be for a pod that has none yet: that it is stuck
// is new.
const reuseAge = time.Minute

// get returns an examination that satisfies the request, and when it is due again. ok is
// false if there is none; then one is in progress, and the pod is queued when it ends.
func (c *examCache) get(ctx context.Context, r examRequest) (x examination, due time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[r.key]
	if e == nil {
		e = &entry{users: map[types.UID]bool{}}
		c.byKey[r.key] = e
	}
	e.users[r.pod] = true
	due = c.dueFor(e, r)
	if e.latest.Final && e.verdict.Fault == report.FaultNone && r.failedAt.After(e.latest.ended) {
		e.noteFailure(r.pod, r.failedAt)
	}
	if x := e.latest; r.answeredBy(x.began, x.after) && x.ended.After(r.endedAfter) && (time.Now().Before(due) || !x.Final) {
		return x, due, true
	}
	for _, f := range e.inFlight {
		if f.began.IsZero() && r.urgent {
			c.cfg.Limiter.Prioritize(f.waiter)
		}
		if f.began.IsZero() && f.after.Before(r.beganAfter) {
			f.after = r.beganAfter
		}
		if f.began.IsZero() || r.answeredBy(f.began, f.after) {
			return examination{}, time.Time{}, false
		}
	}
	if len(e.inFlight) >= maxInFlight {
		e.startAnother = true
		return examination{}, time.Time{}, false
	}
	if !r.beganAfter.IsZero() && !e.latest.began.After(r.beganAfter) {
		e.resetBackoff() // a user asked, or settings changed
	}
	c.start(ctx, e, r)
	return examination{}, time.Time{}, false
}

// start begins an examination in the background. c.mu is held.
func (c *examCache) start(ctx context.Context, e *entry, r examRequest) {
	if c.closed {
		return
	}
	e.noteMessage(c.messagePrint(r))
	ctx, cancel := context.WithCancel(ctx)
	registry, _ := pods.RegistryOf(r.subject.Image) // none is contacted for an invalid name
	f := &inFlight{cancel: cancel, after: r.beganAfter, waiter: turns.NewWaiter(r.namespace, registry, r.urgent)}
	e.inFlight = append(e.inFlight, f)
	c.work.Go(func() {
		defer cancel()
		if c.cfg.Limiter.Acquire(ctx, f.waiter) {
			c.run(ctx, e, f, r)
			c.cfg.Limiter.Release(f.waiter)
		}
		c.mu.Lock()
		e.inFlight = slices.DeleteFunc(e.inFlight, func(o *inFlight) bool { return o == f })
		var waiting []types.UID
		if e.startAnother {
			e.startAnother, waiting = false, slices.Collect(maps.Keys(e.users))
		}
		c.mu.Unlock()
		for _, uid := range waiting {
			c.cfg.Requeue(uid)
		}
	})
}

// run makes an examination and stores its results.
func (c *examCache) run(ctx context.Context, e *entry, f *inFlight, r examRequest) {
	c.mu.Lock()
	f.began = time.Now()
	after := f.after
	c.mu.Unlock()
	var secrets uint64
	subject := r.subject
	subject.After = after
	subject.Secrets = func(ctx context.Context) []credentials.SecretLookup {
		found := r.subject.Secrets(ctx)
		secrets = c.fingerprint(found)
		return found
	}
	x := c.cfg.Examine(ctx, subject, func(early examine.Result) {
		c.store(e, examination{Result: early, began: f.began, ended: time.Now(), after: after}, r.podCheck, 0)
	})
	if ctx.Err() == nil {
		c.store(e, examination{Result: x, began: f.began, ended: time.Now(), after: after}, r.podCheck, secrets)
	}
}

// store keeps an examination, unless there is one that began later. In any case it queues
// all pods that need one. secrets is the fingerprint of the pull secrets that were used.
func (c *examCache) store(e *entry, x examination, podCheck report.Check, secrets uint64) {
	c.mu.Lock()
	if !x.began.Before(e.latest.began) {
		e.latest = x
		for _, f := range e.failures {
			e.latest.contradicted = max(e.latest.contradicted, f.count)
		}
		if x.Final {
			v := diagnosis.Diagnose(withPodChecks(x.Result, podCheck))
			if v.Fault != report.FaultNone {
				e.failures = nil
			}
			switch {
			case !v.Same(e.verdict):
				e.repeats = 0
			case report.Find(x.Checks, report.IDPull).Evidence[report.KeySkipped] != "busy": // else its test pull is still to come
				e.repeats++
			}
			e.verdict, e.secretsPrint, e.secretsCheckedAt = v, secrets, x.ended
			e.due = x.ended.Add(c.validFor(v, e.repeats, report.Find(x.Checks, report.IDPull)))
		}
	}
	users := slices.Collect(maps.Keys(e.users))
	c.mu.Unlock()
	for _, uid := range users {
		c.cfg.Requeue(uid)
	}
}

// maxContradicted is how often the kubelet may fail after a test pull that succeeded before
// such pulls prove nothing about its own.
const maxContradicted = 2

// judged returns the checks of x as they count for a pod. Where the kubelet fails again and
// again although the test pulls succeed, these are not what the kubelet does, and do not
// show that the image can be pulled.
func (x examination) judged(failing bool) examine.Result {
	at := slices.IndexFunc(x.Checks, func(c report.Check) bool { return c.ID == report.IDPull && c.Outcome == report.Pass })
	if !failing || at < 0 || x.contradicted < maxContradicted {
		return x.Result
	}
	out := x.Result
	out.Checks = slices.Clone(out.Checks)
	out.Checks[at].Outcome = report.Error
	out.Checks[at].Summary = "the kubelet's own pulls have failed again after " + strconv.Itoa(x.contradicted) +
		" test pulls that succeeded, so these prove nothing about them"
	return out
}

// withPodChecks returns the checks of an examination with those about the pod, in the
// order in which they depend on each other, and redacted.
func withPodChecks(x examine.Result, pod ...report.Check) []report.Check {
	clean := make([]report.Check, len(pod))
	for i, c := range pod {
		clean[i] = c.Redacted(x.Redactor)
	}
	return slices.Insert(slices.Clone(x.Checks), min(1, len(x.Checks)), clean...)
}

// release ends a pod's need for all keys except the given ones. An examination that no pod
// needs any more is canceled, so that a long test pull does not delay others.
func (c *examCache) release(pod types.UID, except ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.byKey {
		if !e.users[pod] || slices.Contains(except, key) {
			continue
		}
		delete(e.users, pod)
		delete(e.failures, pod)
		if len(e.users) > 0 {
			continue
		}
		for _, f := range e.inFlight {
			f.cancel()
		}
		delete(c.byKey, key)
	}
}

// close starts no more examinations and waits for those in progress, whose contexts have
// ended.
func (c *examCache) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.work.Wait()
}

// cacheKey returns a key that is equal for pods whose examinations must have the same
// result: the same image, requested with the same credentials and for the same runtime
// handler, failing for the same reason by the kubelet's message. Another message may be
// about another state of the node. Credentials are identified by their sources: the pull
// secrets, and for the node's credential providers the ServiceAccount.
func cacheKey(p pods.Pod, s examine.Subject, cause report.Cause) string {
	failing := "waits"
	if s.Failing {
		failing = "fails"
	}
	parts := []string{s.Image, s.NoPull, failing, string(cause), s.RuntimeClass}
	if s.Pod != nil {
		parts = append(parts, s.Pod.Annotation)
	}
	parts = append(parts, p.Namespace, p.ServiceAccount)
	return strings.Join(append(parts, p.PullSecrets...), "\x00")
}
