package agent

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/report"
)

// announced is an announcer under test: its clock, and the Events that it wrote.
type announced struct {
	*announcer
	now  time.Time
	seen []kube.Event
}

func newAnnounced() *announced {
	a := &announced{now: time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)}
	a.announcer = newAnnouncer(func() time.Duration { return 20 * time.Minute }, func(e kube.Event) { a.seen = append(a.seen, e) })
	return a
}

// pass lets time pass, with the announcer's ticks.
func (a *announced) pass(d time.Duration) {
	for end := a.now.Add(d); a.now.Before(end); {
		a.now = a.now.Add(announceTick)
		a.renew(a.now)
	}
}

// found announces a diagnosis of a pod that waits.
func (a *announced) found(p pods.Pod, c report.Cause, requested bool) time.Time {
	return a.announce(finding{pod: p, about: appKey, diagnosis: diagnosisOf(p, c), waits: true, requested: requested}, a.now)
}

// stuckPod is a pod that waits for its image.
func stuckPod(i int) (pods.Pod, []pods.PendingImage) {
	p := pods.Pod{
		UID: types.UID(fmt.Sprint("uid-", i)), Namespace: "shop", Name: fmt.Sprint("web-", i),
		Containers: []pods.Container{{Name: "app", Image: "r.example/app:1"}},
	}
	return p, []pods.PendingImage{{Container: "app", Image: "r.example/app:1", Failing: true}}
}

func diagnosisOf(p pods.Pod, c report.Cause) report.Diagnosis {
	return report.Diagnosis{
		Pod: p.String(), UID: string(p.UID), Container: "app", Image: "r.example/app:1",
		Verdict: report.Verdict{Fault: c.DefaultFault(), Cause: c, Confidence: report.Confirmed, Summary: "it is so"},
	}
}

var appKey = subjectKey{container: "app"}

// TestAnnouncementStays checks that a stuck pod has one Event, which is written again
// before the API server drops it, and that the pod's recovery closes it.
func TestAnnouncementStays(t *testing.T) {
	a := newAnnounced()
	p, waiting := stuckPod(1)
	a.reconciled(p, waiting, a.now)
	began := a.now
	for range 3 { // the same verdict, again and again
		if first := a.found(p, report.TagNotFound, false); !first.Equal(began) {
			t.Errorf("announced first at %v, want %v", first, began)
		}
		a.reconciled(p, waiting, a.now)
	}
	a.pass(65 * time.Minute)
	if len(a.seen) != 4 {
		t.Fatalf("%d writes in 65 min, want 4", len(a.seen))
	}
	for i, e := range a.seen {
		if e.Name != a.seen[0].Name || e.Count != i+1 || !e.First.Equal(began) || !e.Warning {
			t.Errorf("write %d: %+v", i, e)
		}
	}

	// A request with the same result writes the same Event again.
	a.found(p, report.TagNotFound, true)
	if e := a.seen[len(a.seen)-1]; len(a.seen) != 5 || e.Name != a.seen[0].Name || !e.First.Equal(began) || !e.Time.Equal(a.now) {
		t.Errorf("%+v", e)
	}
	// Another verdict replaces the first.
	a.found(p, report.CredentialsMissing, false)
	if e := a.seen[len(a.seen)-1]; len(a.seen) != 6 || e.Name != a.seen[0].Name || e.Count != 1 || !e.First.Equal(a.now) || !strings.Contains(e.Message, "CredentialsMissing") {
		t.Errorf("%+v", e)
	}
	// The image is there.
	p.Containers[0].HasImage = true
	a.pass(time.Minute)
	a.reconciled(p, nil, a.now)
	e := a.seen[len(a.seen)-1]
	if len(a.seen) != 7 || e.Name != a.seen[0].Name || e.Warning || !strings.Contains(e.Message, "Solved") ||
		!strings.Contains(e.Message, "CredentialsMissing for 66 min") {
		t.Errorf("%+v", e)
	}
	a.reconciled(p, nil, a.now)
	a.pass(3 * time.Hour)
	if len(a.seen) != 7 {
		t.Errorf("%d writes after the end", len(a.seen)-7)
	}
	// The next fault is a new one.
	p.Containers[0].HasImage = false
	a.reconciled(p, waiting, a.now)
	a.found(p, report.CredentialsMissing, false)
	if e := a.seen[len(a.seen)-1]; len(a.seen) != 8 || !e.Warning || !e.First.Equal(a.now) {
		t.Errorf("%+v", e)
	}
	// A pod that is gone has no Event.
	a.forget(p.UID)
	a.pass(time.Hour)
	if len(a.seen) != 8 {
		t.Errorf("%d writes about a pod that is gone", len(a.seen)-8)
	}
}

// TestAnnouncedCauseOfWhatIsSolved checks that a solved pod is told the cause that was found,
// not that none was found for the last seconds.
func TestAnnouncedCauseOfWhatIsSolved(t *testing.T) {
	for _, tt := range []struct {
		causes []report.Cause
		want   string
	}{
		{[]report.Cause{report.CredentialsRejected, report.Undetermined}, "It was cluster-config / CredentialsRejected for 2 min."},
		{[]report.Cause{report.Undetermined, report.CredentialsRejected}, "It was cluster-config / CredentialsRejected for 2 min."},
		{[]report.Cause{report.CredentialsRejected, report.Recovered}, "It was cluster-config / CredentialsRejected for 2 min."},
		{[]report.Cause{report.Undetermined, report.Undetermined}, "It took 2 min, and the cause was not found."},
	} {
		a := newAnnounced()
		p, waiting := stuckPod(1)
		for _, c := range tt.causes {
			a.reconciled(p, waiting, a.now)
			a.found(p, c, false)
			a.pass(time.Minute)
		}
		p.Containers[0].HasImage = true
		a.reconciled(p, nil, a.now)
		e := a.seen[len(a.seen)-1]
		if want := "Solved: container app has its image. " + tt.want; e.Message != want {
			t.Errorf("after %v: %s", tt.causes, e.Message)
		}
		for _, e := range a.seen {
			if strings.Contains(e.Message, "undetermined / Undetermined") {
				t.Error(e.Message)
			}
		}
	}
}

// TestAnnouncementAfterARestart checks that a restarted agent neither repeats an Event at
// once nor lets it lapse, and closes that of a pod that recovered meanwhile.
func TestAnnouncementAfterARestart(t *testing.T) {
	a := newAnnounced()
	p, waiting := stuckPod(1)
	old := diagnosisOf(p, report.TagNotFound)
	old.Announced = a.now.Add(-2 * time.Hour)
	a.restore(pods.Pod{UID: p.UID, Namespace: p.Namespace, Name: p.Name}, appKey, old, true)
	a.reconciled(p, waiting, a.now)
	if first := a.found(p, report.TagNotFound, false); !first.Equal(old.Announced) || len(a.seen) != 0 {
		t.Errorf("announced first at %v, %d writes", first, len(a.seen))
	}
	a.pass(6 * time.Minute)
	if len(a.seen) != 1 || !a.seen[0].First.Equal(old.Announced) || a.seen[0].Count != 7 {
		t.Errorf("%+v", a.seen)
	}

	b := newAnnounced()
	b.restore(pods.Pod{UID: p.UID, Namespace: p.Namespace, Name: p.Name}, appKey, old, true)
	p.Containers[0].HasImage = true
	b.reconciled(p, nil, b.now)
	if len(b.seen) != 1 || b.seen[0].Warning || !strings.Contains(b.seen[0].Message, "TagNotFound for 2 h") || b.seen[0].Pod != p.Name {
		t.Errorf("%+v", b.seen)
	}
}

// TestAnnouncementsAreBounded checks how many Events many stuck pods cost, and that each
// has one at every moment.
func TestAnnouncementsAreBounded(t *testing.T) {
	for _, tt := range []struct{ pods, atOnce, perHour int }{{1, 1, 3}, {40, 40, 120}, {500, announceBurst, 900}} {
		a := newAnnounced()
		for i := range tt.pods {
			p, waiting := stuckPod(i)
			a.reconciled(p, waiting, a.now)
			a.found(p, report.TagNotFound, false)
		}
		if len(a.seen) != tt.atOnce {
			t.Errorf("%d pods: %d writes at once, want %d", tt.pods, len(a.seen), tt.atOnce)
		}
		a.pass(2 * time.Hour)
		before := len(a.seen)
		a.pass(time.Hour)
		t.Logf("%d pods: %d writes at once, %d in an hour", tt.pods, tt.atOnce, len(a.seen)-before)
		if n := len(a.seen) - before; n < tt.perHour-tt.perHour/10 || n > tt.perHour+tt.perHour/10 {
			t.Errorf("%d pods: %d writes in an hour, want about %d", tt.pods, n, tt.perHour)
		}
		last := map[string]time.Time{}
		for _, e := range a.seen {
			if gap := e.Time.Sub(last[e.Name]); !last[e.Name].IsZero() && gap > 55*time.Minute {
				t.Errorf("%d pods: %s was not renewed for %v", tt.pods, e.Name, gap)
			}
			last[e.Name] = e.Time
		}
		if len(last) != tt.pods {
			t.Errorf("%d pods have %d Events", tt.pods, len(last))
		}
	}
}

// TestNothingToSolve checks that an answer about a container that has its image stays: there
// is no wait that could end, now or for the next agent.
func TestNothingToSolve(t *testing.T) {
	p, _ := stuckPod(1)
	p.Containers[0].HasImage = true
	crashes := diagnosisOf(p, report.PlatformMismatch)
	a := newAnnounced()
	crashes.Announced = a.announce(finding{pod: p, about: appKey, diagnosis: crashes, requested: true}, a.now)
	a.reconciled(p, nil, a.now)
	a.pass(time.Hour)
	if len(a.seen) != 1 || !strings.Contains(a.seen[0].Message, "PlatformMismatch") {
		t.Errorf("%+v", a.seen)
	}
	next := newAnnounced()
	r := restorer{
		node: "n", announcer: next.announcer, incidents: newIncidents(func(report.Incident) {}),
		pods: pods.NewStore(pods.StoreConfig{}), sweeper: sweep.New(sweep.Config{}),
	}
	crashes.Asked = "now"
	crashes.Checks = []report.Check{{ID: report.IDPod, Evidence: map[string]string{report.KeyState: report.ContainerCrashed}}}
	old, err := json.Marshal(report.NodeReport{Schema: report.Schema, Node: "n", Diagnoses: []report.Diagnosis{crashes}})
	if err != nil {
		t.Fatal(err)
	}
	r.apply(old)
	next.reconciled(p, nil, next.now)
	if len(next.seen) != 0 {
		t.Errorf("the next agent: %+v", next.seen)
	}
}
