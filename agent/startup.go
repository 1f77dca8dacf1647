package agent

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/examine"
)

// nodeItself stands for the node among the pods whose first look is waited for.
const nodeItself types.UID = "node"

// firstLooks holds the report back until every pod has been looked at once: an
// agent that has just started knows nothing, and must not say that all is well.
type firstLooks struct {
	done chan struct{} // closed when they are made, or were waited for long enough

	mu   sync.Mutex
	seen map[types.UID]bool
	left map[types.UID]bool // nil: the pods are not known yet
	once sync.Once
}

// firstLooksIn bounds the wait once the pods are known: what nobody has looked
// at by then counts as stuck without a verdict.
const firstLooksIn = examine.VerdictTimeout + 1500*time.Millisecond

func newFirstLooks() *firstLooks {
	return &firstLooks{done: make(chan struct{}), seen: map[types.UID]bool{}}
}

// run waits for the list of pods and then for the looks at them.
func (f *firstLooks) run(ctx context.Context, store *pods.Store) {
	select {
	case <-store.Synced():
	case <-ctx.Done():
		return
	}
	f.mu.Lock()
	f.left = map[types.UID]bool{nodeItself: true}
	for _, p := range store.All() {
		f.left[p.UID] = true
	}
	for uid := range f.seen {
		delete(f.left, uid)
	}
	f.check()
	f.mu.Unlock()
	timer := time.NewTimer(firstLooksIn)
	defer timer.Stop()
	select {
	case <-timer.C:
		f.once.Do(func() { close(f.done) })
	case <-f.done:
	case <-ctx.Done():
	}
}

// looked notes that a pod has its diagnoses, or needs none.
func (f *firstLooks) looked(uid types.UID) {
	select {
	case <-f.done:
		return
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[uid] = true
	delete(f.left, uid)
	f.check()
}

func (f *firstLooks) check() {
	if f.left != nil && len(f.left) == 0 {
		f.once.Do(func() { close(f.done) })
	}
}
