package agent

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/report"
)

// result is the standing diagnosis of one image of one pod.
type result struct {
	report.Diagnosis        // redacted, as it is published
	container, image string // as the pod has them
	stuck            bool   // the pod waits for this image right now
	words            string // the cause that the kubelet's words read as, when it was made
}

// results holds the standing diagnoses of this node.
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

// list gives all diagnoses, newest first, those of stuck pods apart, and how
// many pods are stuck.
func (r *results) list() (all, stuck []report.Diagnosis, pods int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, byImage := range r.byPod {
		waiting := false
		for _, res := range byImage {
			all = append(all, res.Diagnosis)
			if res.stuck {
				stuck = append(stuck, res.Diagnosis)
				waiting = true
			}
		}
		if waiting {
			pods++
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
	return all, stuck, pods
}
