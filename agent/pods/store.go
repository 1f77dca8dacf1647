package pods

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	backoff "k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"

	"github.com/pullprobe/pullprobe/agent/corev1"
)

// Store holds this node's pods. A reflector feeds it.
type Store struct {
	cfg StoreConfig

	mu          sync.Mutex
	pods        map[types.UID]Pod
	requestedAt map[types.UID]time.Time // when the probe annotation was first seen with its current value
	handled     map[types.UID]string    // the last value of the probe annotation that was handled
	synced      chan struct{}           // closed by the first list
}

// StoreConfig is what a store needs.
type StoreConfig struct {
	Namespace string // the agent's own
	// Enqueue is called for every pod that was added, changed or removed.
	Enqueue func(types.UID)
	// OnTransition is called for every pod that the API server sent, with what was
	// known of it before: the zero pod if nothing was. news is false for what the
	// first list contains. It may be nil.
	OnTransition func(old, now Pod, news bool)
}

// NewStore returns an empty store.
func NewStore(c StoreConfig) *Store {
	return &Store{
		cfg:         c,
		pods:        map[types.UID]Pod{},
		requestedAt: map[types.UID]time.Time{},
		handled:     map[types.UID]string{},
		synced:      make(chan struct{}),
	}
}

// Run watches until ctx ends. The reflector retries with back-off while the API
// server is unavailable.
func (s *Store) Run(ctx context.Context, lw *cache.ListWatch) {
	r := cache.NewReflectorWithOptions(lw, &corev1.Pod{}, s, cache.ReflectorOptions{
		Name: "pods of this node",
		// The default waits up to a minute after an outage, in which pods get stuck unseen.
		Backoff: &backoff.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 20, Cap: 10 * time.Second},
	})
	r.RunWithContext(ctx)
}

// podChange is a pod as the API server sent it, with what was known before.
type podChange struct {
	old, now Pod
	news     bool
}

// notify passes changes on. It is called with the store unlocked.
func (s *Store) notify(list ...podChange) {
	if s.cfg.OnTransition == nil {
		return
	}
	for _, p := range list {
		s.cfg.OnTransition(p.old, p.now, p.news)
	}
}

// put stores one object; ok is false if it is not a pod. s.mu is held.
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
		if known {
			c.follow(before, now)
		}
		if failedAnew(before, *c) {
			c.FailedAt = now
		}
	}
	s.pods[kept.UID] = kept
	switch {
	case kept.Request == "":
		delete(s.handled, kept.UID) // removed: adding it again is a new request
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

// Get returns the pod as last seen.
func (s *Store) Get(uid types.UID) (Pod, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pods[uid]
	return p, ok
}

// Images returns all images that the pods name.
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

// All returns all pods.
func (s *Store) All() []Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.pods))
}

// PendingRequest returns the value of the probe annotation if it has not been
// handled yet, and when it was first seen.
func (s *Store) PendingRequest(uid types.UID) (value string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pods[uid]; p.Request != s.handled[uid] {
		return p.Request, s.requestedAt[uid]
	}
	return "", time.Time{}
}

// MarkHandled notes that a request was answered: value is that of the pod's annotation
// "probe". It does nothing if the pod is gone, or has another request by now.
func (s *Store) MarkHandled(uid types.UID, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.pods[uid]; ok && p.Request == value {
		s.handled[uid] = value
	}
}

// Handled returns the requests that are on the pods and were handled, by UID.
func (s *Store) Handled() map[types.UID]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.handled)
}

// Restore takes over what an earlier agent has handled. It is called before the
// first list.
func (s *Store) Restore(handled map[types.UID]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.handled, handled)
}

// Synced returns a channel that is closed by the first list.
func (s *Store) Synced() <-chan struct{} { return s.synced }

// HasSynced reports whether the pods were listed.
func (s *Store) HasSynced() bool {
	select {
	case <-s.synced:
		return true
	default:
		return false
	}
}
