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
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// exams makes the examinations and keeps what came of them, so that all pods
// that wait for the same image with the same credentials share one. Nobody
// waits for an examination: whoever needs one is told by again when it is
// there. The longer an examination keeps coming to the same, the longer it
// holds.
type examCache struct {
	cfg cacheConfig

	// lookEvery is how often the secrets of a pod that stays stuck are looked at
	// before its examination is due.
	secretsInterval time.Duration

	seed maphash.Seed
	work sync.WaitGroup

	mu     sync.Mutex
	closed bool
	byKey  map[string]*entry
}

// examsConfig is what exams need.
type cacheConfig struct {
	Examine func(ctx context.Context, s examine.Subject, early func(examine.Result)) examine.Result
	Requeue func(types.UID)      // called for every pod that needs what has come
	MaxAge  func() time.Duration // an examination holds at most this long
	Limiter *limiter
}

// standing is what is known under one key.
type entry struct {
	latest       examination
	inFlight     []*inFlight
	startAnother bool // somebody needs a further one, which begins when one of them has ended
	users        map[types.UID]bool

	verdict          report.Verdict // what the latest came to
	repeats          int            // how often it came to the same before
	due              time.Time      // when it is to be made anew
	secretsPrint     uint64         // print of the secrets it was made with; 0: not known
	secretsCheckedAt time.Time      // when they were last looked at
}

// exam is an examination with its time.
type examination struct {
	examine.Result
	began, ended time.Time
}

// flight is an examination that is under way.
type inFlight struct {
	began  time.Time // zero: it waits for its turn
	cancel context.CancelFunc
	waiter *waiter
}

// need is what a pod needs an examination of.
type examRequest struct {
	pod        types.UID
	namespace  string          // of the pod
	urgent     bool            // somebody waits for the answer
	key        string          // needs with equal keys are met by the same examination
	beganAfter time.Time       // it must have begun later than this
	endedAfter time.Time       // it must have ended later than this
	subject    examine.Subject //
	podCheck   report.Check    // what the kubelet says, for the verdict that back-off goes by
}

func newExamCache(c cacheConfig) *examCache {
	return &examCache{cfg: c, secretsInterval: time.Minute, seed: maphash.MakeSeed(), byKey: map[string]*entry{}}
}

// maxFlights is how many examinations with one key are under way at a time:
// who asks again and again takes no place from others.
const maxInFlight = 2

// reuse is how old an examination may be that a pod gets which has had none:
// that it is stuck is news.
const reuseAge = time.Minute

// get gives an examination that meets the need, and when it is due to be made
// anew; ok is false if there is none. One is then under way, or it began just
// now, and the pod is told.
func (e *examCache) get(ctx context.Context, n examRequest) (x examination, due time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.byKey[n.key]
	if s == nil {
		s = &entry{users: map[types.UID]bool{}}
		e.byKey[n.key] = s
	}
	s.users[n.pod] = true
	now := time.Now()
	if x := s.latest; x.began.After(n.beganAfter) && x.ended.After(n.endedAfter) && (now.Before(s.due) || !x.Final) {
		return x, s.due, true
	}
	for _, f := range s.inFlight {
		if f.began.IsZero() && n.urgent {
			e.cfg.Limiter.prioritize(f.waiter)
		}
		if f.began.IsZero() || f.began.After(n.beganAfter) {
			return examination{}, time.Time{}, false
		}
	}
	if len(s.inFlight) >= maxInFlight {
		s.startAnother = true
		return examination{}, time.Time{}, false
	}
	if !n.beganAfter.IsZero() && !s.latest.began.After(n.beganAfter) {
		s.verdict = report.Verdict{} // somebody asks: back to short intervals
	}
	e.start(ctx, s, n)
	return examination{}, time.Time{}, false
}

// start makes an examination in the background; e.mu is held.
func (e *examCache) start(ctx context.Context, s *entry, n examRequest) {
	if e.closed {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	registry, _ := pods.RegistryOf(n.subject.Image) // of an invalid name none will be asked
	f := &inFlight{cancel: cancel, waiter: newWaiter(n.namespace, registry, n.urgent)}
	s.inFlight = append(s.inFlight, f)
	e.work.Go(func() {
		defer cancel()
		if e.cfg.Limiter.acquire(ctx, f.waiter) {
			e.run(ctx, s, f, n)
			e.cfg.Limiter.release(f.waiter)
		}
		e.mu.Lock()
		s.inFlight = slices.DeleteFunc(s.inFlight, func(o *inFlight) bool { return o == f })
		var waiting []types.UID
		if s.startAnother {
			s.startAnother, waiting = false, slices.Collect(maps.Keys(s.users))
		}
		e.mu.Unlock()
		for _, uid := range waiting {
			e.cfg.Requeue(uid)
		}
	})
}

func (e *examCache) run(ctx context.Context, s *entry, f *inFlight, n examRequest) {
	e.mu.Lock()
	f.began = time.Now()
	e.mu.Unlock()
	var secrets uint64
	subject := n.subject
	subject.Secrets = func(ctx context.Context) []credentials.Found {
		found := n.subject.Secrets(ctx)
		secrets = e.fingerprint(found)
		return found
	}
	x := e.cfg.Examine(ctx, subject, func(early examine.Result) { e.store(s, examination{early, f.began, time.Now()}, n.podCheck, 0) })
	if ctx.Err() == nil {
		e.store(s, examination{x, f.began, time.Now()}, n.podCheck, secrets)
	}
}

// land keeps an examination, unless one that began later is there, and tells
// all who need it.
func (e *examCache) store(s *entry, x examination, said report.Check, secrets uint64) {
	e.mu.Lock()
	if !x.began.Before(s.latest.began) {
		s.latest = x
		if x.Final {
			v := report.Diagnose(withPodChecks(x.Result, said))
			switch {
			case !v.Same(s.verdict):
				s.repeats = 0
			case report.Find(x.Checks, report.IDPull).Evidence["skipped"] != "busy": // else it has yet to get its turn
				s.repeats++
			}
			s.verdict, s.secretsPrint, s.secretsCheckedAt = v, secrets, x.ended
			s.due = x.ended.Add(e.validFor(v, s.repeats, report.Find(x.Checks, report.IDPull)))
		}
	}
	users := slices.Collect(maps.Keys(s.users))
	e.mu.Unlock()
	for _, uid := range users {
		e.cfg.Requeue(uid)
	}
}

// steps is how long an examination holds that came to the same as those before
// it: the kubelet's own back-off ends at five minutes.
var validSteps = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute}

// What repeated test pulls of one image may cost: a twentieth of the time, and
// one is made every hour all the same.
const (
	pullCostFactor  = 20
	maxPullInterval = time.Hour
)

// holds is how long an examination holds that came to this for the n-th time
// more.
func (e *examCache) validFor(v report.Verdict, n int, pull report.Check) time.Duration {
	hold := min(validSteps[min(n, len(validSteps)-1)], e.cfg.MaxAge())
	if v.Cause == report.RuntimeUnavailable {
		return min(10*time.Second, hold) // nothing was pulled, and much hangs on it
	}
	seconds, err := strconv.ParseFloat(pull.Evidence["seconds"], 64)
	if err == nil && seconds > 0 {
		hold = max(hold, min(time.Duration(seconds*pullCostFactor*float64(time.Second)), maxPullInterval))
	}
	return hold
}

// withPod are the checks of an examination with those about the pod, in the
// order of the ladder and redacted.
func withPodChecks(x examine.Result, pod ...report.Check) []report.Check {
	clean := make([]report.Check, len(pod))
	for i, c := range pod {
		clean[i] = x.Redactor.Check(c)
	}
	return slices.Insert(slices.Clone(x.Checks), min(1, len(x.Checks)), clean...)
}

// secretsDue is when the secrets behind an examination are to be looked at;
// zero: never, there are none or they cannot be read.
func (e *examCache) secretsCheckDue(key string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.byKey[key]
	if s == nil || s.secretsPrint == 0 {
		return time.Time{}
	}
	return s.secretsCheckedAt.Add(e.secretsInterval)
}

// sawSecrets makes an examination due if its secrets are no longer what they
// were; what could not be read proves nothing.
func (e *examCache) noteSecrets(key string, found []credentials.Found) (changed bool) {
	now := e.fingerprint(found)
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.byKey[key]
	if s == nil {
		return false
	}
	s.secretsCheckedAt = time.Now()
	if now == 0 || now == s.secretsPrint {
		return false
	}
	s.secretsPrint, s.repeats, s.verdict, s.due = now, 0, report.Verdict{}, time.Time{}
	return true
}

// print is equal for secrets with the same content in this process, and 0 if
// there are none or one could not be read. It tells nothing of the content.
func (e *examCache) fingerprint(found []credentials.Found) uint64 {
	var h maphash.Hash
	h.SetSeed(e.seed)
	for _, f := range found {
		if f.Err != nil {
			return 0
		}
		_, _ = h.WriteString(f.Namespace + "\x00" + f.Name + "\x00")
		if f.Secret == nil {
			_, _ = h.WriteString("absent\x00")
			continue
		}
		_, _ = h.WriteString(f.Secret.Type + "\x00")
		for _, key := range slices.Sorted(maps.Keys(f.Secret.Data)) {
			_, _ = h.WriteString(key + "\x00" + strconv.Itoa(len(f.Secret.Data[key])) + "\x00")
			_, _ = h.Write(f.Secret.Data[key])
		}
	}
	if len(found) == 0 {
		return 0
	}
	return max(h.Sum64(), 1)
}

// leave ends what a pod needed beside the given keys. An examination that
// nobody needs any more is dropped, so that a long test pull for nobody holds
// up no other.
func (e *examCache) release(pod types.UID, but ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, s := range e.byKey {
		if !s.users[pod] || slices.Contains(but, key) {
			continue
		}
		delete(s.users, pod)
		if len(s.users) > 0 {
			continue
		}
		for _, f := range s.inFlight {
			f.cancel()
		}
		delete(e.byKey, key)
	}
}

// wait begins no more examinations and waits for those that are under way;
// their contexts have ended.
func (e *examCache) close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.work.Wait()
}

// examKey is equal for pods whose examination must come to the same: the same
// image, asked for with the same credentials, failing for the same reason by
// the kubelet's words. Other words may speak of another state of the node.
// Credentials are known by where they come from: the pull secrets, and for
// credential providers of the node the ServiceAccount.
func cacheKey(p pods.Pod, s examine.Subject, words report.Cause) string {
	failing := "waits"
	if s.Failing {
		failing = "fails"
	}
	return strings.Join(append([]string{s.Image, s.NoPull, failing, string(words), p.Namespace, p.ServiceAccount}, p.PullSecrets...), "\x00")
}
