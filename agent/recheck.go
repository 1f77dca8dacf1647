package agent

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/agent/sweep"
)

// rechecker has everything on this node checked again, when the settings have changed
// or a user requests it.
type rechecker struct {
	log       *slog.Logger
	settings  *config.LiveSettings
	pods      *pods.Store
	enqueue   func(types.UID) // has a pod reconciled
	results   *results
	node      *nodeWatcher
	sweeper   *sweep.Sweeper
	publisher *publish.Publisher

	mu         sync.Mutex
	validAfter time.Time // examinations that began before are no longer valid
}

// followSettings acts on changed settings.
func (r *rechecker) followSettings(ctx context.Context) {
	// The results of examinations depend on these.
	examined := []string{"allow", "deny", "test-pull", "test-pull-max-bytes", "credential-providers", "credential-provider-tokens"}
	old, replaced := r.settings.Watch()
	for {
		select {
		case <-ctx.Done():
			return
		case <-replaced:
		}
		var now config.Settings
		now, replaced = r.settings.Watch()
		if slices.ContainsFunc(now.ChangedNames(old), func(name string) bool { return slices.Contains(examined, name) }) {
			r.reexamineAll(time.Now(), "")
		}
		if now.SweepInterval > 0 {
			r.sweeper.SweepNow() // with the new settings, and not only after the old interval
		}
		old = now
	}
}

// reexamineAll makes examinations that began before a time invalid, and queues all pods
// except one. It reports whether that was not done yet.
func (r *rechecker) reexamineAll(since time.Time, except types.UID) bool {
	r.mu.Lock()
	begins := since.After(r.validAfter)
	if begins {
		r.validAfter = since
	}
	r.mu.Unlock()
	if begins {
		for _, p := range r.pods.All() {
			if p.UID != except {
				r.enqueue(p.UID)
			}
		}
	}
	return begins
}

// reexaminedSince returns the time before which no examination is valid.
func (r *rechecker) reexaminedSince() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.validAfter
}

// How the result of a requested sweep is waited for.
const (
	sweepRequestTimeout = 30 * time.Second
	sweepRequestPoll    = 100 * time.Millisecond
)

// answer handles the probe annotation of the agent's own pod: everything on this node
// is checked again. The request is handled when all of it has ended; until then, answer
// must be called again.
func (r *rechecker) answer(ctx context.Context, self types.UID, request probeRequest) (handled bool) {
	if r.reexamineAll(request.at, self) {
		r.sweeper.SweepNow()
		r.node.check(ctx)
	}
	complete := r.results.countOlder(request.at) == 0 && r.sweeper.EndedAfter(request.at)
	if !complete && time.Since(request.at) < sweepRequestTimeout {
		return false
	}
	r.pods.MarkHandled(self, request.value)
	r.publisher.ForceWrite()
	r.log.Info("requested sweep done", "asked", request.value)
	return true
}
