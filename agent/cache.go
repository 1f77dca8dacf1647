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
type exams struct {
	cfg examsConfig

	// lookEvery is how often the secrets of a pod that stays stuck are looked at
	// before its examination is due.
	lookEvery time.Duration

	seed maphash.Seed
	work sync.WaitGroup

	mu     sync.Mutex
	closed bool
	byKey  map[string]*standing
}

// examsConfig is what exams need.
type examsConfig struct {
	Examine func(ctx context.Context, s examine.Subject, early func(examine.Result)) examine.Result
	Requeue func(types.UID)      // called for every pod that needs what has come
	MaxAge  func() time.Duration // an examination holds at most this long
	Limiter *turns
}

// standing is what is known under one key.
type standing struct {
	latest  exam
	flights []*flight
	held    bool // somebody needs a further one, which begins when one of them has ended
	users   map[types.UID]bool

	verdict report.Verdict // what the latest came to
	repeats int            // how often it came to the same before
	due     time.Time      // when it is to be made anew
	secrets uint64         // print of the secrets it was made with; 0: not known
	looked  time.Time      // when they were last looked at
}

// exam is an examination with its time.
type exam struct {
	examine.Result
	began, ended time.Time
}

// flight is an examination that is under way.
type flight struct {
	began  time.Time // zero: it waits for its turn
	cancel context.CancelFunc
	ticket *ticket
}

// need is what a pod needs an examination of.
type need struct {
	pod     types.UID
	ns      string          // of the pod
	asked   bool            // somebody waits for the answer
	key     string          // needs with equal keys are met by the same examination
	after   time.Time       // it must have begun later than this
	fresh   time.Time       // it must have ended later than this
	subject examine.Subject //
	said    report.Check    // what the kubelet says, for the verdict that back-off goes by
}

func newExams(c examsConfig) *exams {
	return &exams{cfg: c, lookEvery: time.Minute, seed: maphash.MakeSeed(), byKey: map[string]*standing{}}
}

// maxFlights is how many examinations with one key are under way at a time:
// who asks again and again takes no place from others.
const maxFlights = 2

// reuse is how old an examination may be that a pod gets which has had none:
// that it is stuck is news.
const reuse = time.Minute

// get gives an examination that meets the need, and when it is due to be made
// anew; ok is false if there is none. One is then under way, or it began just
// now, and the pod is told.
func (e *exams) get(ctx context.Context, n need) (x exam, due time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.byKey[n.key]
	if s == nil {
		s = &standing{users: map[types.UID]bool{}}
		e.byKey[n.key] = s
	}
	s.users[n.pod] = true
	now := time.Now()
	if x := s.latest; x.began.After(n.after) && x.ended.After(n.fresh) && (now.Before(s.due) || !x.Final) {
		return x, s.due, true
	}
	for _, f := range s.flights {
		if f.began.IsZero() && n.asked {
			e.cfg.Limiter.promote(f.ticket)
		}
		if f.began.IsZero() || f.began.After(n.after) {
			return exam{}, time.Time{}, false
		}
	}
	if len(s.flights) >= maxFlights {
		s.held = true
		return exam{}, time.Time{}, false
	}
	if !n.after.IsZero() && !s.latest.began.After(n.after) {
		s.verdict = report.Verdict{} // somebody asks: back to short intervals
	}
	e.start(ctx, s, n)
	return exam{}, time.Time{}, false
}

// start makes an examination in the background; e.mu is held.
func (e *exams) start(ctx context.Context, s *standing, n need) {
	if e.closed {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	registry, _ := pods.RegistryOf(n.subject.Image) // of an invalid name none will be asked
	f := &flight{cancel: cancel, ticket: newTicket(n.ns, registry, n.asked)}
	s.flights = append(s.flights, f)
	e.work.Go(func() {
		defer cancel()
		if e.cfg.Limiter.wait(ctx, f.ticket) {
			e.fly(ctx, s, f, n)
			e.cfg.Limiter.done(f.ticket)
		}
		e.mu.Lock()
		s.flights = slices.DeleteFunc(s.flights, func(o *flight) bool { return o == f })
		var waiting []types.UID
		if s.held {
			s.held, waiting = false, slices.Collect(maps.Keys(s.users))
		}
		e.mu.Unlock()
		for _, uid := range waiting {
			e.cfg.Requeue(uid)
		}
	})
}

func (e *exams) fly(ctx context.Context, s *standing, f *flight, n need) {
	e.mu.Lock()
	f.began = time.Now()
	e.mu.Unlock()
	var secrets uint64
	subject := n.subject
	subject.Secrets = func(ctx context.Context) []credentials.Found {
		found := n.subject.Secrets(ctx)
		secrets = e.print(found)
		return found
	}
	x := e.cfg.Examine(ctx, subject, func(early examine.Result) { e.land(s, exam{early, f.began, time.Now()}, n.said, 0) })
	if ctx.Err() == nil {
		e.land(s, exam{x, f.began, time.Now()}, n.said, secrets)
	}
}

// land keeps an examination, unless one that began later is there, and tells
// all who need it.
func (e *exams) land(s *standing, x exam, said report.Check, secrets uint64) {
	e.mu.Lock()
	if !x.began.Before(s.latest.began) {
		s.latest = x
		if x.Final {
			v := report.Diagnose(withPod(x.Result, said))
			switch {
			case !v.Same(s.verdict):
				s.repeats = 0
			case report.Find(x.Checks, report.IDPull).Evidence["skipped"] != "busy": // else it has yet to get its turn
				s.repeats++
			}
			s.verdict, s.secrets, s.looked = v, secrets, x.ended
			s.due = x.ended.Add(e.holds(v, s.repeats, report.Find(x.Checks, report.IDPull)))
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
var steps = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute}

// What repeated test pulls of one image may cost: a twentieth of the time, and
// one is made every hour all the same.
const (
	pullShare  = 20
	pullHourly = time.Hour
)

// holds is how long an examination holds that came to this for the n-th time
// more.
func (e *exams) holds(v report.Verdict, n int, pull report.Check) time.Duration {
	hold := min(steps[min(n, len(steps)-1)], e.cfg.MaxAge())
	if v.Cause == report.RuntimeUnavailable {
		return min(10*time.Second, hold) // nothing was pulled, and much hangs on it
	}
	seconds, err := strconv.ParseFloat(pull.Evidence["seconds"], 64)
	if err == nil && seconds > 0 {
		hold = max(hold, min(time.Duration(seconds*pullShare*float64(time.Second)), pullHourly))
	}
	return hold
}

// withPod are the checks of an examination with those about the pod, in the
// order of the ladder and redacted.
func withPod(x examine.Result, pod ...report.Check) []report.Check {
	clean := make([]report.Check, len(pod))
	for i, c := range pod {
		clean[i] = x.Redactor.Check(c)
	}
	return slices.Insert(slices.Clone(x.Checks), min(1, len(x.Checks)), clean...)
}

// secretsDue is when the secrets behind an examination are to be looked at;
// zero: never, there are none or they cannot be read.
func (e *exams) secretsDue(key string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.byKey[key]
	if s == nil || s.secrets == 0 {
		return time.Time{}
	}
	return s.looked.Add(e.lookEvery)
}

// sawSecrets makes an examination due if its secrets are no longer what they
// were; what could not be read proves nothing.
func (e *exams) sawSecrets(key string, found []credentials.Found) (changed bool) {
	now := e.print(found)
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.byKey[key]
	if s == nil {
		return false
	}
	s.looked = time.Now()
	if now == 0 || now == s.secrets {
		return false
	}
	s.secrets, s.repeats, s.verdict, s.due = now, 0, report.Verdict{}, time.Time{}
	return true
}

// print is equal for secrets with the same content in this process, and 0 if
// there are none or one could not be read. It tells nothing of the content.
func (e *exams) print(found []credentials.Found) uint64 {
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
func (e *exams) leave(pod types.UID, but ...string) {
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
		for _, f := range s.flights {
			f.cancel()
		}
		delete(e.byKey, key)
	}
}

// wait begins no more examinations and waits for those that are under way;
// their contexts have ended.
func (e *exams) wait() {
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
func examKey(p pods.Pod, s examine.Subject, words report.Cause) string {
	failing := "waits"
	if s.Failing {
		failing = "fails"
	}
	return strings.Join(append([]string{s.Image, s.NoPull, failing, string(words), p.Namespace, p.ServiceAccount}, p.PullSecrets...), "\x00")
}
