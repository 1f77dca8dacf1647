package agent

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// announcer keeps one Event per container of a pod that waits for an image, for as long as
// it waits. The API server drops an Event some time after its last write (--event-ttl, an
// hour by default), so each is written again before that. A new verdict replaces the old one
// in the same Event, and the end of the wait closes it.
type announcer struct {
	renewal func() time.Duration // how often an Event is written again
	emit    func(kube.Event)
	news    *rate.Limiter // of what is said first, or on request
	again   *rate.Limiter // of what is said again

	mu    sync.Mutex
	byPod map[types.UID]map[subjectKey]*announcement
}

// Writes of Events: many at once after a fault, then so many a second; and so many an hour
// for as long as it lasts. What exceeds them is written later.
const (
	announceBurst  = 50
	newsInterval   = 200 * time.Millisecond
	renewsInterval = 4 * time.Second
)

// subjectKey is what an Event on a pod is about.
type subjectKey struct {
	container string
	volume    string // the image volume; empty: the container's own image
}

// announcement is the Event on one container, and what it said last.
type announcement struct {
	pod     pods.Pod
	latest  report.Diagnosis
	verdict report.Verdict // that was announced, without texts
	first   time.Time      // when this verdict was announced first
	due     time.Time      // when the Event is to be written; zero: when the verdict changes
	waits   bool           // the container waits for the image
	said    bool           // what is due was said before
	writes  int            // of this agent, with this verdict
	closed  bool           // it got past the image, and the Event is to say so

	fault report.Verdict // the last verdict that named a fault, and a cause if one was found; without texts
	since time.Time      // when the first such verdict was announced; zero: there was none
}

func newAnnouncer(renewal func() time.Duration, emit func(kube.Event)) *announcer {
	return &announcer{
		renewal: renewal,
		emit:    emit,
		news:    rate.NewLimiter(rate.Every(newsInterval), announceBurst),
		again:   rate.NewLimiter(rate.Every(renewsInterval), announceBurst),
		byPod:   map[types.UID]map[subjectKey]*announcement{},
	}
}

// maxAnnounced limits what is remembered of one pod.
const maxAnnounced = 64

// at returns the announcement on a container; the caller holds the lock.
func (a *announcer) at(uid types.UID, key subjectKey) *announcement {
	all := a.byPod[uid]
	if all == nil || len(all) >= maxAnnounced && all[key] == nil {
		all = map[subjectKey]*announcement{}
		a.byPod[uid] = all
	}
	if all[key] == nil {
		all[key] = &announcement{}
	}
	return all[key]
}

// finding is a diagnosis that is to be announced.
type finding struct {
	pod       pods.Pod
	about     subjectKey
	diagnosis report.Diagnosis
	waits     bool // the pod waits for this image
	requested bool // a user asked for it
}

// announce announces a diagnosis: at once if its verdict is new, or if a user asked. It
// returns when the verdict was announced first.
func (a *announcer) announce(f finding, now time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.at(f.pod.UID, f.about)
	isNew := n.first.IsZero() || n.closed || !n.verdict.Same(f.diagnosis.Verdict) || n.latest.Image != f.diagnosis.Image
	changed := newerImage(n.latest) != newerImage(f.diagnosis) // and so is the fix
	n.pod, n.latest, n.waits, n.closed = f.pod, f.diagnosis, f.waits, false
	switch {
	case isNew:
		n.note(f.diagnosis.Verdict, now, f.waits)
		n.due, n.said, n.writes = now, false, 0
	case f.requested, changed:
		n.due, n.said = now, false
	case n.due.IsZero(): // an earlier agent announced it, some time ago
		n.due, n.said = now.Add(spread(f.pod.UID, a.renewal()/4)), true
	}
	a.write(n, f.about, now)
	return n.first
}

// newerImage returns what the newest pod of the same owner has, if that is another image.
func newerImage(d report.Diagnosis) string {
	return report.Find(d.Checks, report.IDPod).Evidence[report.KeyNewerImage]
}

// note takes over a verdict that is announced first at a time, and whether the container
// waits for its image: only then there is an end of the wait to announce.
func (n *announcement) note(v report.Verdict, at time.Time, waits bool) {
	n.verdict, n.first = report.Verdict{Fault: v.Fault, Cause: v.Cause, Confidence: v.Confidence}, at
	if v.Fault == report.FaultNone || !waits {
		return
	}
	if n.fault.Cause == "" || v.Cause != report.Undetermined {
		n.fault = n.verdict
	}
	if n.since.IsZero() {
		n.since = at
	}
}

// spread returns a part of a time that is the same for a pod each time.
func spread(uid types.UID, over time.Duration) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(uid))
	return over * time.Duration(h.Sum32()%1000) / 1000
}

// restore takes over what an earlier agent has announced of a container, which waited then
// for its image or did not.
func (a *announcer) restore(p pods.Pod, key subjectKey, d report.Diagnosis, waited bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.at(p.UID, key)
	n.pod, n.latest = p, d
	n.note(d.Verdict, d.Announced, waited)
}

// reconciled takes over which images a pod waits for, and closes the Events on containers
// that got past theirs.
func (a *announcer) reconciled(p pods.Pod, waiting []pods.PendingImage, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, n := range a.byPod[p.UID] {
		n.waits = slices.ContainsFunc(waiting, func(w pods.PendingImage) bool {
			return w.Container == key.container && p.VolumeOf(w) == key.volume
		})
		if !n.waits && n.due.After(now) {
			n.due = time.Time{} // no renewal
		}
		if n.waits || n.closed || n.since.IsZero() || p.Deleting || !p.GotImage(key.container) {
			continue
		}
		n.closed, n.due, n.said = true, now, false
		a.write(n, key, now)
	}
}

// forget drops everything about a pod that is gone.
func (a *announcer) forget(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byPod, uid)
}

// write writes an Event that is due, if the limit allows; the caller holds the lock.
func (a *announcer) write(n *announcement, key subjectKey, now time.Time) {
	limit := a.news
	if n.said {
		limit = a.again
	}
	if n.due.IsZero() || n.due.After(now) || !limit.AllowN(now, 1) {
		return
	}
	n.said = true
	n.writes++
	every := a.renewal()
	a.emit(n.event(key, now, every))
	n.due = time.Time{}
	switch {
	case n.closed:
		n.since, n.fault = time.Time{}, report.Verdict{}
	case n.waits:
		n.due = now.Add(every)
	}
}

// event returns the Event as it is to be written now. Its count is that of the renewals
// which its age holds, so that no agent has to remember it; or of more writes, if users asked.
func (n *announcement) event(key subjectKey, now time.Time, every time.Duration) kube.Event {
	e := eventFor(n.pod, n.latest)
	e.Name = eventName(n.pod, key)
	e.First, e.Time, e.Count = n.first, now, max(n.writes, 1+int(now.Sub(n.first)/every))
	if n.closed {
		e.Warning, e.First, e.Count = false, now, 1
		took := readable.Roughly(now.Sub(n.since))
		was := fmt.Sprintf("It was %s for %s.", n.fault.Conclusion(), took)
		if n.fault.Cause == report.Undetermined {
			was = "It took " + took + ", and the cause was not found."
		}
		e.Message = "Solved: container " + key.container + " has its image. " + was
	}
	return e
}

// announceTick is how often the announcer looks for Events that are due.
const announceTick = time.Second

// run renews Events until ctx ends.
func (a *announcer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-time.After(min(announceTick, a.renewal()/8)):
			a.renew(now)
		}
	}
}

// renew writes the Events that are due of containers that still wait, and of those whose
// wait has ended: the one that is due longest comes first.
func (a *announcer) renew(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	type item struct {
		key subjectKey
		*announcement
	}
	var due []item
	for _, all := range a.byPod {
		for key, n := range all {
			if !n.due.IsZero() && !n.due.After(now) {
				due = append(due, item{key, n})
			}
		}
	}
	slices.SortFunc(due, func(a, b item) int { return a.due.Compare(b.due) })
	for _, n := range due {
		a.write(n.announcement, n.key, now)
	}
}
