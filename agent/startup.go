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
const nodeKey types.UID = "node"

// firstLooks holds the report back until every pod has been looked at once: an
// agent that has just started knows nothing, and must not say that all is well.
type startupGate struct {
	done chan struct{} // closed when they are made, or were waited for long enough

	mu      sync.Mutex
	checked map[types.UID]bool
	pending map[types.UID]bool // nil: the pods are not known yet
	once    sync.Once
}

// firstLooksIn bounds the wait once the pods are known: what nobody has looked
// at by then counts as stuck without a verdict.
const startupTimeout = examine.VerdictTimeout + 1500*time.Millisecond

func newStartupGate() *startupGate {
	return &startupGate{done: make(chan struct{}), checked: map[types.UID]bool{}}
}

// run waits for the list of pods and then for the looks at them.
func (f *startupGate) run(ctx context.Context, store *pods.Store) {
	select {
	case <-store.Synced():
	case <-ctx.Done():
		return
	}
	f.mu.Lock()
	f.pending = map[types.UID]bool{nodeKey: true}
	for _, p := range store.All() {
		f.pending[p.UID] = true
	}
	for uid := range f.checked {
		delete(f.pending, uid)
	}
	f.openIfDone()
	f.mu.Unlock()
	timer := time.NewTimer(startupTimeout)
	defer timer.Stop()
	select {
	case <-timer.C:
		f.once.Do(func() { close(f.done) })
	case <-f.done:
	case <-ctx.Done():
	}
}

// looked notes that a pod has its diagnoses, or needs none.
func (f *startupGate) markChecked(uid types.UID) {
	select {
	case <-f.done:
		return
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checked[uid] = true
	delete(f.pending, uid)
	f.openIfDone()
}

func (f *startupGate) openIfDone() {
	if f.pending != nil && len(f.pending) == 0 {
		f.once.Do(func() { close(f.done) })
	}
}
