package agent

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/examine"
)

// nodeKey is the node's own entry among the pods that must be checked first.
const nodeKey types.UID = "node"

// startupGate delays the first report until every pod was checked once: an agent that has
// just started knows nothing, and must not report that all is well.
type startupGate struct {
	done chan struct{} // closed when all were checked, or after startupTimeout

	mu      sync.Mutex
	checked map[types.UID]bool
	pending map[types.UID]bool // nil: the pods are not known yet
	once    sync.Once
}

// startupTimeout limits the wait once the pods are known. A pod that was not checked by
// then counts as stuck without a verdict.
const startupTimeout = examine.VerdictTimeout + 1500*time.Millisecond

func newStartupGate() *startupGate {
	return &startupGate{done: make(chan struct{}), checked: map[types.UID]bool{}}
}

// run waits for the list of pods, and then until they are checked.
func (g *startupGate) run(ctx context.Context, store *pods.Store) {
	select {
	case <-store.Synced():
	case <-ctx.Done():
		return
	}
	g.mu.Lock()
	g.pending = map[types.UID]bool{nodeKey: true}
	for _, p := range store.All() {
		g.pending[p.UID] = true
	}
	for uid := range g.checked {
		delete(g.pending, uid)
	}
	g.openIfDone()
	g.mu.Unlock()
	timer := time.NewTimer(startupTimeout)
	defer timer.Stop()
	select {
	case <-timer.C:
		g.once.Do(func() { close(g.done) })
	case <-g.done:
	case <-ctx.Done():
	}
}

// markPodChecked notes that a pod has its diagnoses, or needs none.
func (g *startupGate) markPodChecked(uid types.UID) {
	select {
	case <-g.done:
		return
	default:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checked[uid] = true
	delete(g.pending, uid)
	g.openIfDone()
}

// openIfDone opens the gate if nothing is pending. g.mu is held.
func (g *startupGate) openIfDone() {
	if g.pending != nil && len(g.pending) == 0 {
		g.once.Do(func() { close(g.done) })
	}
}
