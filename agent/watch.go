package agent

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	backoff "k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

// podStore holds this node's pods, reduced to what is used. The reflector
// feeds it; changed is told of every pod that came, changed or went, and gone
// before that of those that went or are going.
type podStore struct {
	namespace string // the agent's own
	changed   func(types.UID)
	gone      func(types.UID)

	mu       sync.Mutex
	pods     map[types.UID]pod
	answered map[types.UID]string // the last value of the probe annotation that was answered
	synced   bool
}

func newPodStore(namespace string, changed, gone func(types.UID)) *podStore {
	return &podStore{namespace: namespace, changed: changed, gone: gone, pods: map[types.UID]pod{}, answered: map[types.UID]string{}}
}

// run watches until ctx ends. The reflector retries by itself, with back-off,
// while the API server is away.
func (s *podStore) run(ctx context.Context, lw *cache.ListWatch) {
	r := cache.NewReflectorWithOptions(lw, &corev1.Pod{}, s, cache.ReflectorOptions{
		Name: "pods of this node",
		// The default waits up to a minute after an outage, in which pods get stuck unseen.
		Backoff: &backoff.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 20, Cap: 10 * time.Second},
	})
	r.RunWithContext(ctx)
}

func (s *podStore) put(obj any) types.UID {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return ""
	}
	kept := newPod(p, s.namespace)
	s.pods[kept.UID] = kept
	if kept.Asked == "" {
		delete(s.answered, kept.UID) // removed: adding it again asks again
	}
	return kept.UID
}

// Add, Update, Delete, Replace and Resync implement cache.ReflectorStore.
func (s *podStore) Add(obj any) error { return s.Update(obj) }

func (s *podStore) Update(obj any) error {
	s.mu.Lock()
	uid := s.put(obj)
	going := s.pods[uid].Deleting
	s.mu.Unlock()
	if uid == "" {
		return nil
	}
	if going {
		s.gone(uid)
	}
	s.changed(uid)
	return nil
}

func (s *podStore) Delete(obj any) error {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	s.mu.Lock()
	delete(s.pods, p.UID)
	delete(s.answered, p.UID)
	s.mu.Unlock()
	s.gone(p.UID)
	s.changed(p.UID)
	return nil
}

func (s *podStore) Replace(list []any, _ string) error {
	s.mu.Lock()
	touched := map[types.UID]bool{}
	for uid := range s.pods {
		touched[uid] = true
	}
	clear(s.pods)
	for _, obj := range list {
		touched[s.put(obj)] = true
	}
	for uid := range s.answered {
		if _, ok := s.pods[uid]; !ok {
			delete(s.answered, uid)
		}
	}
	s.synced = true
	s.mu.Unlock()
	delete(touched, "")
	for uid := range touched {
		if p, ok := s.get(uid); !ok || p.Deleting {
			s.gone(uid)
		}
		s.changed(uid)
	}
	return nil
}

func (s *podStore) Resync() error { return nil }

// get is the pod as last seen.
func (s *podStore) get(uid types.UID) (pod, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pods[uid]
	return p, ok
}

// all lists the UIDs of all pods.
func (s *podStore) all() []types.UID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []types.UID
	for uid := range s.pods {
		out = append(out, uid)
	}
	return out
}

// question is the annotation's value if it has not been answered yet.
func (s *podStore) question(uid types.UID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pods[uid]; p.Asked != s.answered[uid] {
		return p.Asked
	}
	return ""
}

// answer notes that a question was answered, unless the pod has gone or asks
// something else by now.
func (s *podStore) answer(uid types.UID, question string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.pods[uid]; ok && p.Asked == question {
		s.answered[uid] = question
	}
}

func (s *podStore) hasSynced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced
}
