package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/turns"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// bench is a cache over made-up examinations.
type bench struct {
	*examCache
	mu       sync.Mutex
	began    []time.Duration // when each examination began, from the start of the test
	after    []time.Time     // before which nothing counts, of each
	requeued atomic.Int32
	comes    func() examine.Result
	takes    time.Duration
	early    bool
	passed   func() time.Duration
}

func hour() time.Duration { return time.Hour }

func newBench(t *testing.T) *bench {
	start := time.Now()
	b := &bench{
		comes:  func() examine.Result { return checked(report.TagNotFound, nil) },
		passed: func() time.Duration { return time.Since(start) },
	}
	b.examCache = newExamCache(cacheConfig{
		MaxAge:  hour,
		Limiter: turns.New(2, func() int { return 1000 }),
		Examine: func(ctx context.Context, s examine.Subject, early func(examine.Result)) examine.Result {
			b.mu.Lock()
			b.began = append(b.began, b.passed())
			b.after = append(b.after, s.After)
			b.mu.Unlock()
			s.Secrets(ctx)
			if b.early {
				early(examine.Result{})
			}
			select {
			case <-time.After(b.takes):
			case <-ctx.Done():
			}
			return b.comes()
		},
		Requeue: func(types.UID) { b.requeued.Add(1) },
	})
	t.Cleanup(b.close)
	return b
}

// checked returns an examination with this cause and evidence of its pull.
func checked(c report.Cause, pull map[string]string) examine.Result {
	return examine.Result{Final: true, Checks: []report.Check{
		{ID: "reference", Outcome: report.Fail, Cause: c}, {ID: "pull", Evidence: pull},
	}}
}

func (b *bench) ask(pod types.UID, key string, edit ...func(*examRequest)) (examination, time.Time, bool) {
	n := examRequest{pod: pod, key: key, subject: examine.Subject{Secrets: func(context.Context) []credentials.SecretLookup { return nil }}}
	for _, f := range edit {
		f(&n)
	}
	return b.get(context.Background(), n)
}

// follow requests the examination of one pod for a while, as the agent does.
func (b *bench) follow(t *testing.T, pod types.UID, for_ time.Duration) {
	t.Helper()
	for end := b.passed() + for_; b.passed() < end; {
		_, due, ok := b.ask(pod, "key")
		synctest.Wait()
		if ok {
			time.Sleep(min(time.Until(due), end-b.passed()))
		} else {
			time.Sleep(time.Millisecond)
		}
	}
}

func minutes(list []time.Duration) []int {
	var out []int
	for _, d := range list {
		out = append(out, int(d.Round(time.Minute).Minutes()))
	}
	return out
}

// TestBackOff checks that an examination with the same result is repeated at growing
// intervals, until the result changes.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.follow(t, "a", 50*time.Minute)
		if got := minutes(b.began); !slices.Equal(got, []int{0, 1, 3, 8, 18, 33, 48}) {
			t.Fatalf("examined at minutes %v", got)
		}
		b.began = nil
		b.comes = func() examine.Result { return checked(report.InvalidReference, nil) }
		b.follow(t, "a", 25*time.Minute) // the next one is due at minute 63
		if got := minutes(b.began); !slices.Equal(got, []int{63, 64, 66, 71}) {
			t.Errorf("after another verdict examined at minutes %v", got)
		}
	})
}

// TestRequestResetsBackOff checks that a request causes an examination at once and
// resets the intervals.
func TestRequestResetsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.follow(t, "a", 20*time.Minute)
		b.began = nil
		asked := time.Now()
		time.Sleep(time.Second)
		if _, _, ok := b.ask("a", "key", func(n *examRequest) { n.beganAfter = asked }); ok {
			t.Fatal("got an examination from before the request")
		}
		synctest.Wait()
		if x, _, ok := b.ask("a", "key", func(n *examRequest) { n.beganAfter = asked }); !ok || !x.began.After(asked) {
			t.Fatal("not answered")
		}
		b.follow(t, "a", 5*time.Minute)
		if got := minutes(b.began); !slices.Equal(got, []int{20, 21, 23}) {
			t.Errorf("examined at minutes %v", got)
		}
	})
}

// TestFailureAfterVerdict checks that a verdict that does not explain a failure of the
// kubelet that came after it is replaced soon, and that any other keeps its time.
func TestFailureAfterVerdict(t *testing.T) {
	message := func(text string) report.Check {
		return report.Check{Evidence: map[string]string{report.KeyMessage: text}}
	}
	for _, tt := range []struct {
		name    string
		verdict report.Cause
		message string // of the failure that comes after the verdict
		pull    string // seconds of the test pull
		early   bool
	}{
		{"nothing is wrong", report.Recovered, "port 4711: refused", "", true},
		{"the same failure", report.TagNotFound, "port 4712: refused", "", false},
		{"another message", report.TagNotFound, "no space left on device", "", true},
		{"a slow pull", report.Recovered, "port 4711: refused", "60.000", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				verdict := tt.verdict
				b.comes = func() examine.Result { return checked(verdict, map[string]string{"seconds": tt.pull}) }
				b.ask("a", "key", func(r *examRequest) { r.podCheck = message("port 4711: refused") })
				synctest.Wait()
				if v := b.byKey["key"].verdict; (v.Fault == report.FaultNone) != (verdict == report.Recovered) {
					t.Fatalf("the verdict is %+v", v)
				}
				time.Sleep(time.Second)
				failedAt := time.Now()
				again := func(r *examRequest) { r.podCheck, r.failedAt = message(tt.message), failedAt }
				_, due, ok := b.ask("a", "key", again)
				if wait := time.Until(due); !ok || tt.early != (wait <= b.contradictedInterval) || wait < b.contradictedInterval/2 {
					t.Fatalf("due in %v, %v", wait, ok)
				}
				if !tt.early {
					return
				}
				time.Sleep(time.Until(due))
				b.ask("a", "key", again)
				synctest.Wait()
				x, due, ok := b.ask("a", "key", again)
				if !ok || !x.began.After(failedAt) || time.Until(due) < time.Minute {
					t.Errorf("began %v after the failure, due in %v, %v", x.began.Sub(failedAt), time.Until(due), ok)
				}
			})
		})
	}
}

// TestPullsThatProveNothing checks that a test pull counts no longer as a proof when the
// kubelet has failed twice after such a pull, until something else is found.
func TestPullsThatProveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		podCheck := report.Check{ID: report.IDPod, Kind: report.KindPod, Outcome: report.Fail, Cause: report.Undetermined}
		passes := examine.Result{Final: true, Checks: []report.Check{
			{ID: report.IDReference, Kind: report.KindReference, Outcome: report.Pass},
			{ID: report.IDPull, Kind: report.KindPull, Outcome: report.Pass, Evidence: map[string]string{}},
		}}
		b.comes = func() examine.Result { return passes }
		next := func(failedAt time.Time) report.Cause {
			t.Helper()
			for {
				r := func(r *examRequest) { r.podCheck, r.failedAt = podCheck, failedAt }
				x, due, ok := b.ask("a", "key", r)
				switch {
				case !ok:
					synctest.Wait()
				case failedAt.After(x.ended):
					time.Sleep(time.Until(due))
				default:
					return diagnosis.Diagnose(withPodChecks(x.judged(true), podCheck)).Cause
				}
			}
		}
		for i, want := range []bool{true, true, false, false} {
			if got := next(time.Now()); (got == report.Recovered) != want {
				t.Errorf("after %d failures: %s", i, got)
			}
			time.Sleep(time.Second)
		}
		if got := next(time.Now().Add(-time.Hour)); got == report.Recovered {
			t.Error("forgotten without another finding")
		}
		for i := range 5 { // other pods, whose attempts began before the recovery
			failedAt := time.Now()
			b.ask(types.UID(fmt.Sprint(i)), "other key", func(r *examRequest) { r.podCheck, r.failedAt = podCheck, failedAt })
			synctest.Wait()
			time.Sleep(time.Minute)
		}
		if x := b.byKey["other key"].latest; len(b.began) < 6 || x.contradicted >= maxContradicted {
			t.Errorf("one failure each of several pods: %d examinations, %d", len(b.began), x.contradicted)
		}
		if x := (examination{Result: passes, contradicted: 9}); x.judged(false).Checks[1].Outcome != report.Pass {
			t.Error("a pod that does not fail is judged by the failures")
		}
		b.comes = func() examine.Result { return checked(report.TagNotFound, nil) }
		next(time.Now())
		time.Sleep(time.Second)
		b.comes = func() examine.Result { return passes }
		if got := next(time.Now()); got != report.Recovered {
			t.Errorf("after another verdict: %s", got)
		}
		if passes.Checks[1].Outcome != report.Pass {
			t.Error("the examination itself was changed")
		}
	})
}

// TestFailuresAreBounded checks that a kubelet that fails all the time, while the test
// pull works, or that writes another message each time, causes few examinations.
func TestFailuresAreBounded(t *testing.T) {
	for _, verdict := range []report.Cause{report.Recovered, report.TagNotFound} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.comes = func() examine.Result { return checked(verdict, nil) }
			for i := range 1800 {
				b.ask("a", "key", func(r *examRequest) {
					r.failedAt = time.Now()
					r.podCheck.Evidence = map[string]string{report.KeyMessage: strings.Repeat("x", i)}
				})
				time.Sleep(time.Second)
			}
			if n := len(b.began); n < 5 || n > 36 {
				t.Errorf("%s: %d examinations in half an hour", verdict, n)
			}
		})
	}
}

// TestSlowPullsAreRare checks that a slow test pull is not repeated soon.
func TestSlowPullsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.comes = func() examine.Result { return checked(report.Healthy, map[string]string{"seconds": "60.000"}) }
		b.follow(t, "a", 45*time.Minute)
		if got := minutes(b.began); !slices.Equal(got, []int{0, 20, 40}) {
			t.Errorf("examined at minutes %v", got)
		}
	})
}

// TestSharing checks that all pods with the same key share one examination, also those
// that come while it is in progress, and that none is queued before it has ended.
func TestSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.takes = 4 * time.Second
		for i := range 50 {
			if _, _, ok := b.ask(types.UID(fmt.Sprint(i)), "key"); ok {
				t.Fatal("an examination out of nothing")
			}
			synctest.Wait()
		}
		time.Sleep(5 * time.Second)
		if n := b.requeued.Load(); n != 50 || len(b.began) != 1 {
			t.Errorf("%d pods were told, %d examinations", n, len(b.began))
		}
		// A later pod gets a recent examination, and no old one.
		fresh := func(n *examRequest) { n.endedAfter = time.Now().Add(-reuseAge) }
		if _, _, ok := b.ask("new", "key", fresh); !ok {
			t.Error("an examination of just now is not shared")
		}
		b.follow(t, "0", 10*time.Minute)
		time.Sleep(2 * time.Minute)
		if _, _, ok := b.ask("newer", "key", fresh); ok {
			t.Error("an old examination is taken for a new pod")
		}
	})
}

// TestEarlyAnswer checks that an early result is returned while the examination is in
// progress, and the final one after it.
func TestEarlyAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.takes, b.early = time.Minute, true
		b.ask("a", "key")
		synctest.Wait()
		if x, _, ok := b.ask("a", "key"); !ok || x.Final {
			t.Errorf("no first answer: %v %+v", ok, x)
		}
		time.Sleep(2 * time.Minute)
		_, _, ok := b.ask("a", "key")
		synctest.Wait()
		if ok || len(b.began) != 2 {
			t.Errorf("%d examinations when the first is due again", len(b.began))
		}
	})
}

// TestHangingExaminations checks that an examination that hangs holds its own slot
// only, and none when no pod needs it.
func TestHangingExaminations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.takes = 24 * time.Hour
		b.ask("a", "hangs")
		b.ask("b", "hangs too")
		synctest.Wait()
		b.takes = 0
		b.ask("c", "waits") // both places are taken
		synctest.Wait()
		if len(b.began) != 2 {
			t.Fatalf("%d examinations at a time", len(b.began))
		}
		b.release("a")
		synctest.Wait()
		if _, _, ok := b.ask("c", "waits"); !ok {
			t.Error("the first is not needed any more, and keeps its slot")
		}
		b.release("b")
	})
}

// TestRepeatedRequests checks that requests that come faster than examinations end
// get the result of the last request, and leave slots to others.
func TestRepeatedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.cfg.Limiter = turns.New(16, func() int { return 1000 })
		b.takes = 10 * time.Second
		var asked time.Time
		for range 100 {
			asked = time.Now()
			time.Sleep(100 * time.Millisecond)
			b.ask("a", "key", func(n *examRequest) { n.beganAfter = asked })
		}
		synctest.Wait()
		if n := len(b.began); n > maxInFlight {
			t.Errorf("%d examinations at a time", n)
		}
		for end := b.passed() + time.Minute; b.passed() < end; time.Sleep(time.Second) {
			before := b.requeued.Load()
			x, _, ok := b.ask("a", "key", func(n *examRequest) { n.beganAfter = asked })
			if ok && x.began.After(asked) {
				return
			}
			for b.requeued.Load() == before && b.passed() < end {
				time.Sleep(time.Second) // a pod that is not queued is not reconciled
			}
		}
		t.Error("the last request got no result")
	})
}

// TestRequestJoinsWhatWaits checks that a request is answered by an examination in which
// nothing counts that was remembered before the request, also if that was queued, or had
// just begun, without the request.
func TestRequestJoinsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.takes = 10 * time.Second
		b.ask("a", "first")
		b.ask("b", "second")
		synctest.Wait()
		b.ask("c", "waits") // both slots are taken
		time.Sleep(time.Second)
		asked := time.Now()
		request := func(n *examRequest) { n.beganAfter = asked }
		b.ask("c", "waits", request)
		time.Sleep(30 * time.Second)
		if n := len(b.after); n != 3 || !b.after[2].Equal(asked) {
			t.Errorf("%d examinations at %v: %v", n, b.began, b.after)
		}

		asked = time.Now()
		time.Sleep(time.Second)
		b.ask("d", "just begun")
		time.Sleep(time.Millisecond)
		b.ask("d", "just begun", request)
		time.Sleep(30 * time.Second)
		if x, _, ok := b.ask("d", "just begun", request); !ok || !b.after[len(b.after)-1].Equal(asked) {
			t.Errorf("answered by an examination in which older results counted: %v, %v, %v", ok, x.after, b.after)
		}
	})
}

// TestLaterExaminationWins checks that of two examinations the one that began later
// counts, whichever ends first.
func TestLaterExaminationWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.takes = 10 * time.Second
		b.ask("a", "key")
		synctest.Wait()
		time.Sleep(time.Second)
		asked := time.Now()
		time.Sleep(time.Second)
		b.takes = time.Second
		b.ask("a", "key", func(n *examRequest) { n.beganAfter = asked })
		time.Sleep(20 * time.Second)
		if x, _, ok := b.ask("a", "key", func(n *examRequest) { n.beganAfter = asked }); !ok || !x.began.After(asked) {
			t.Errorf("the answer is gone: %v %+v", ok, x)
		}
	})
}

// TestFingerprint checks that the fingerprint of secrets depends on their content,
// and that unreadable ones prove nothing.
func TestFingerprint(t *testing.T) {
	e := newExamCache(cacheConfig{MaxAge: hour, Limiter: turns.New(1, nil)})
	secret := func(password string) []credentials.SecretLookup {
		return []credentials.SecretLookup{
			{Namespace: "shop", Name: "login", Secret: &credentials.Secret{Type: "t", Data: map[string][]byte{"k": []byte(password)}}},
		}
	}
	absent := []credentials.SecretLookup{{Namespace: "shop", Name: "login"}}
	forbidden := []credentials.SecretLookup{{Namespace: "shop", Name: "login", Err: context.DeadlineExceeded}}
	first, again := e.fingerprint(secret("a")), e.fingerprint(secret("a"))
	if first != again || first == e.fingerprint(secret("b")) || first == e.fingerprint(absent) {
		t.Error("the content does not decide")
	}
	if e.fingerprint(forbidden) != 0 || e.fingerprint(nil) != 0 || e.fingerprint(absent) == 0 {
		t.Error("what is not known is taken for something")
	}
}

// TestCacheKey checks that a pod shares no examination with one whose image the runtime may
// treat differently.
func TestCacheKey(t *testing.T) {
	key := func(edit func(*pods.Pod)) string {
		p := pods.Pod{Namespace: "shop", Name: "web", UID: "1"}
		edit(&p)
		return cacheKey(p, podSubject(p, pods.PendingImage{Image: "r.example/app:1", Failing: true}, secretReader{}), report.TagNotFound)
	}
	first := key(func(*pods.Pod) {})
	if other := key(func(p *pods.Pod) { p.Name, p.UID = "web-2", "2" }); other != first {
		t.Error("two pods of one Deployment share no examination")
	}
	for what, edit := range map[string]func(*pods.Pod){
		"RuntimeClass": func(p *pods.Pod) { p.RuntimeClass = "kata" },
		"annotation":   func(p *pods.Pod) { p.RuntimeHandler = "kata" },
		"namespace":    func(p *pods.Pod) { p.Namespace = "other" },
		"pull secrets": func(p *pods.Pod) { p.PullSecrets = []string{"s"} },
	} {
		if key(edit) == first {
			t.Errorf("two pods with another %s share an examination", what)
		}
	}
}
