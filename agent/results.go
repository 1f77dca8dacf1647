package agent

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/report"
)

// result is the standing diagnosis of one image of one pod.
type result struct {
	report.Diagnosis        // redacted, as it is published
	container, image string // as the pod has them
	stuck            bool   // the pod waits for this image right now
	failing          bool   // and the kubelet says that the pull fails
	since            time.Time
	kubeletCause     report.Cause // that the kubelet's words read as, when it was made
	key              string       // of the examination behind it
	began            time.Time    // when that began
	final            bool         // nothing of it is still under way
	queue            report.Check // zero: nothing is known to hold the pull up
}

// results holds the standing diagnoses of this node.
type results struct {
	mu         sync.Mutex
	byPod      map[types.UID]map[string]result         // then by container and image
	lastEvents map[types.UID]map[string]report.Verdict // the last that an Event said
}

func newResults() *results {
	return &results{byPod: map[types.UID]map[string]result{}, lastEvents: map[types.UID]map[string]report.Verdict{}}
}

func resultKey(container, image string) string { return container + "\x00" + image }

func (r *results) get(uid types.UID, container, image string) (result, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	res, ok := r.byPod[uid][resultKey(container, image)]
	return res, ok
}

func (r *results) put(uid types.UID, res result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byPod[uid] == nil {
		r.byPod[uid] = map[string]result{}
	}
	r.byPod[uid][resultKey(res.container, res.image)] = res
}

// keep drops the diagnoses of a pod for which the function says no; it reports
// whether any went or changed.
func (r *results) keep(uid types.UID, keep func(result) (result, bool)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := false
	for k, res := range r.byPod[uid] {
		kept, ok := keep(res)
		switch {
		case !ok:
			delete(r.byPod[uid], k)
			changed = true
		case kept.stuck != res.stuck:
			r.byPod[uid][k] = kept
			changed = true
		}
	}
	if len(r.byPod[uid]) == 0 {
		delete(r.byPod, uid)
	}
	return changed
}

// forget drops all of a pod that has gone; it reports whether there was a
// diagnosis.
func (r *results) forget(uid types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, had := r.byPod[uid]
	delete(r.byPod, uid)
	delete(r.lastEvents, uid)
	return had
}

// maxSaid bounds what is remembered of one pod: its owner may name one image
// after the other.
const maxEventsKept = 64

// say notes what an Event says of an image, and reports whether that is news.
func (r *results) noteEvent(uid types.UID, container, image string, v report.Verdict) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := resultKey(container, image)
	old, ok := r.lastEvents[uid][key]
	if r.lastEvents[uid] == nil || len(r.lastEvents[uid]) >= maxEventsKept {
		r.lastEvents[uid] = map[string]report.Verdict{}
	}
	r.lastEvents[uid][key] = report.Verdict{Fault: v.Fault, Cause: v.Cause, Confidence: v.Confidence}
	return !ok || !old.Same(v)
}

// olderThan counts the standing diagnoses of waiting pods from examinations that
// had begun by then.
func (r *results) countOlder(then time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, byImage := range r.byPod {
		for _, res := range byImage {
			if res.stuck && (!res.began.After(then) || !res.final) {
				n++
			}
		}
	}
	return n
}

// others are the standing diagnoses of images that other pods wait for.
func (r *results) others(uid types.UID, image string) []result {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []result
	for other, byImage := range r.byPod {
		for _, res := range byImage {
			if other != uid && res.stuck && res.image != image {
				out = append(out, res)
			}
		}
	}
	return out
}

// behind are the pods that wait without a failure of their own: what becomes
// of another pull may matter to them.
func (r *results) queuedPods() []types.UID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []types.UID
	for uid, byImage := range r.byPod {
		for _, res := range byImage {
			if res.queue.ID != "" {
				out = append(out, uid)
				break
			}
		}
	}
	return out
}

// list gives all diagnoses, newest first, and those of stuck pods apart.
func (r *results) list() (all, stuck []report.Diagnosis) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, byImage := range r.byPod {
		for _, res := range byImage {
			all = append(all, res.Diagnosis)
			if res.stuck {
				stuck = append(stuck, res.Diagnosis)
			}
		}
	}
	newest := func(a, b report.Diagnosis) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return slices.Compare([]string{a.Pod, a.Container, a.Image}, []string{b.Pod, b.Container, b.Image})
	}
	slices.SortFunc(all, newest)
	slices.SortFunc(stuck, newest)
	return all, stuck
}
