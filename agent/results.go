package agent

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/report"
)

// result is the current diagnosis of one image of one pod.
type result struct {
	report.Diagnosis        // redacted, as it is published
	container, image string // as the pod has them
	stuck            bool   // the pod waits for this image now
	failing          bool   // and the kubelet reports that the pull fails
	since, nextPull  time.Time
	owner            string       // KIND/NAME; empty: the pod has none
	kubeletCause     report.Cause // of the kubelet's message, when it was made
	key              string       // of the examination
	began            time.Time    // when the examination began
	final            bool         // the examination has ended
	queue            report.Check // zero: no other pull is known to come first
	opinion          string       // what other nodes see of its failing hosts
	newerImage       string       // of a newer pod of the same owner
	fixed            fixedFault   // zero: the kubelet's last failure is not known to be out of date
}

// outdated reports whether the diagnosis says that the pod has no sandbox, and the container
// has started since. One that waits for something else keeps the answer to its request.
func (r result) outdated(p pods.Pod) bool {
	return p.HasStarted(r.container) && report.Find(r.Checks, report.IDPod).Evidence[report.KeySandbox] == pods.SandboxAbsent
}

// fixedFault is what kubelet and checks agreed on before the checks passed.
type fixedFault struct {
	cause report.Cause
	check string    // the id of the check that found it
	since time.Time // when the checks began that did not find it any more
}

// results holds the current diagnoses of this node.
type results struct {
	mu    sync.Mutex
	byPod map[types.UID]map[string]result // then by container and image
}

func newResults() *results { return &results{byPod: map[types.UID]map[string]result{}} }

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

// update calls f for every diagnosis of a pod. f returns the new one, of which only stuck
// may differ, and whether to keep it. update reports whether any was removed or changed.
func (r *results) update(uid types.UID, f func(result) (updated result, keep bool)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := false
	for k, res := range r.byPod[uid] {
		updated, keep := f(res)
		switch {
		case !keep:
			delete(r.byPod[uid], k)
			changed = true
		case updated.stuck != res.stuck:
			r.byPod[uid][k] = updated
			changed = true
		}
	}
	if len(r.byPod[uid]) == 0 {
		delete(r.byPod, uid)
	}
	return changed
}

// forget removes everything about a pod that is gone. It reports whether there was a
// diagnosis.
func (r *results) forget(uid types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, had := r.byPod[uid]
	delete(r.byPod, uid)
	return had
}

// countOlder counts the diagnoses of waiting pods whose examinations began before a time
// or have not ended.
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

// others returns the diagnoses of other images that other pods wait for.
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

// podsBehindPulls returns the pods whose pull has not failed, and may wait for another pull
// of the kubelet.
func (r *results) podsBehindPulls() []types.UID {
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

// about returns the pods whose diagnosis is about one of these images, or has a failed check
// of one of these hosts.
func (r *results) about(hosts, images []string) []types.UID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []types.UID
	for uid, byImage := range r.byPod {
		for _, res := range byImage {
			ofHost := slices.ContainsFunc(failingHosts(res.Checks), func(h string) bool { return slices.Contains(hosts, h) })
			if ofHost || slices.Contains(images, res.image) {
				out = append(out, uid)
				break
			}
		}
	}
	return out
}

// list returns the current diagnoses of all containers, and those of waiting ones
// separately.
func (r *results) list() (all, waiting []publish.Waiting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, byImage := range r.byPod {
		for _, res := range byImage {
			w := publish.Waiting{Diagnosis: res.Diagnosis, Owner: res.owner, Key: res.key}
			if res.stuck {
				w.Since, w.NextTry = res.since, res.nextPull
				waiting = append(waiting, w)
			}
			all = append(all, w)
		}
	}
	return all, waiting
}
