package pods

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	backoff "k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

// podStore holds this node's pods, reduced to what is used. The reflector
// feeds it.
type Store struct {
	cfg StoreConfig

	mu          sync.Mutex
	pods        map[types.UID]Pod
	requestedAt map[types.UID]time.Time // when the probe annotation was first seen with the value it has
	handled     map[types.UID]string    // the last value of the probe annotation that was answered
	synced      chan struct{}           // closed by the first list
}

// storeConfig is what a store needs.
type StoreConfig struct {
	Namespace string // the agent's own
	// Changed is told of every pod that came, changed or went.
	Enqueue func(types.UID)
	// Saw is told of every pod that the API server sent, with what was known of it
	// before: the zero pod if nothing was. What the first list brings is no news.
	// It may be nil.
	OnTransition func(old, now Pod, news bool)
}

func NewStore(c StoreConfig) *Store {
	return &Store{
		cfg:         c,
		pods:        map[types.UID]Pod{},
		requestedAt: map[types.UID]time.Time{},
		handled:     map[types.UID]string{},
		synced:      make(chan struct{}),
	}
}

// run watches until ctx ends. The reflector retries by itself, with back-off,
// while the API server is away.
func (s *Store) Run(ctx context.Context, lw *cache.ListWatch) {
	r := cache.NewReflectorWithOptions(lw, &corev1.Pod{}, s, cache.ReflectorOptions{
		Name: "pods of this node",
		// The default waits up to a minute after an outage, in which pods get stuck unseen.
		Backoff: &backoff.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 20, Cap: 10 * time.Second},
	})
	r.RunWithContext(ctx)
}

// seen is what the API server sent of one pod, with what was known before.
type podChange struct {
	old, now Pod
	news     bool
}

// tell reports what was put. It is called with the store unlocked.
func (s *Store) notify(list ...podChange) {
	if s.cfg.OnTransition == nil {
		return
	}
	for _, p := range list {
		s.cfg.OnTransition(p.old, p.now, p.news)
	}
}

// put keeps one object; ok is false if it is no pod. s.mu is held.
func (s *Store) put(obj any) (c podChange, ok bool) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return podChange{}, false
	}
	kept, now := newPod(p, s.cfg.Namespace), time.Now()
	old := s.pods[kept.UID]
	for i := range kept.Containers {
		c := &kept.Containers[i]
		before, known := old.containerNamed(c.Name)
		switch {
		case c.Ephemeral && known:
			c.After = before.After
		case c.Ephemeral:
			c.After = now
		}
		c.HasImage = c.HasImage || before.HasImage
	}
	s.pods[kept.UID] = kept
	switch {
	case kept.Request == "":
		delete(s.handled, kept.UID) // removed: adding it again asks again
		delete(s.requestedAt, kept.UID)
	case kept.Request != old.Request:
		s.requestedAt[kept.UID] = now
	}
	return podChange{old, kept, s.HasSynced()}, true
}

// Add, Update, Delete, Replace and Resync implement cache.ReflectorStore.
func (s *Store) Add(obj any) error { return s.Update(obj) }

func (s *Store) Update(obj any) error {
	s.mu.Lock()
	change, ok := s.put(obj)
	s.mu.Unlock()
	if ok {
		s.notify(change)
		s.cfg.Enqueue(change.now.UID)
	}
	return nil
}

func (s *Store) Delete(obj any) error {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	s.mu.Lock()
	delete(s.pods, p.UID)
	delete(s.handled, p.UID)
	delete(s.requestedAt, p.UID)
	s.mu.Unlock()
	s.cfg.Enqueue(p.UID)
	return nil
}

func (s *Store) Replace(list []any, _ string) error {
	s.mu.Lock()
	touched := map[types.UID]bool{}
	for uid := range s.pods {
		touched[uid] = true
	}
	listed := map[types.UID]bool{}
	var changes []podChange
	for _, obj := range list {
		if change, ok := s.put(obj); ok {
			uid := change.now.UID
			touched[uid], listed[uid] = true, true
			changes = append(changes, change)
		}
	}
	absent := func(uid types.UID) bool { return !listed[uid] }
	maps.DeleteFunc(s.pods, func(uid types.UID, _ Pod) bool { return absent(uid) })
	maps.DeleteFunc(s.requestedAt, func(uid types.UID, _ time.Time) bool { return absent(uid) })
	maps.DeleteFunc(s.handled, func(uid types.UID, _ string) bool { return absent(uid) })
	if !s.HasSynced() {
		close(s.synced)
	}
	s.mu.Unlock()
	s.notify(changes...)
	for uid := range touched {
		s.cfg.Enqueue(uid)
	}
	return nil
}

func (s *Store) Resync() error { return nil }

// get is the pod as last seen.
func (s *Store) Get(uid types.UID) (Pod, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pods[uid]
	return p, ok
}

// images are all that the pods name.
func (s *Store) Images() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	named := map[string]bool{}
	for _, p := range s.pods {
		for _, c := range p.Containers {
			named[c.Image] = true
			for _, v := range c.Volumes {
				named[v] = true
			}
		}
	}
	return slices.Collect(maps.Keys(named))
}

// all lists all pods.
func (s *Store) All() []Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.pods))
}

// question is the annotation's value if it has not been answered yet, and
// since when it is asked.
func (s *Store) PendingRequest(uid types.UID) (string, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pods[uid]; p.Request != s.handled[uid] {
		return p.Request, s.requestedAt[uid]
	}
	return "", time.Time{}
}

// answer notes that a question was answered, unless the pod has gone or asks
// something else by now.
func (s *Store) MarkHandled(uid types.UID, question string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.pods[uid]; ok && p.Request == question {
		s.handled[uid] = question
	}
}

// answers are the questions that stand on the pods and were answered.
func (s *Store) Handled() map[types.UID]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.handled)
}

// recall takes over what an earlier agent has answered. It is called before
// the first list.
func (s *Store) Restore(answered map[types.UID]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.handled, answered)
}

// syncedC returns a channel that is closed by the first list.
func (s *Store) Synced() <-chan struct{} { return s.synced }

// hasSynced reports whether the pods were listed.
func (s *Store) HasSynced() bool {
	select {
	case <-s.synced:
		return true
	default:
		return false
	}
}
