package agent

import (
	"context"
	"time"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/examine"
)

// Limits of the runtime calls for single pods. After a call without an answer there are
// no more for a while: a runtime that hangs must not hang the reconciliation of all pods.
const (
	runtimeCallTimeout = time.Second
	runtimeBackoff     = 5 * time.Second
)

// callRuntime reports whether the runtime answered.
func (a *Agent) callRuntime(ctx context.Context, call func(context.Context) error) bool {
	a.scheduleMu.Lock()
	backoff := time.Now().Before(a.runtimeBackoffUntil)
	a.scheduleMu.Unlock()
	if backoff {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeCallTimeout)
	defer cancel()
	if call(ctx) == nil {
		return true
	}
	a.scheduleMu.Lock()
	defer a.scheduleMu.Unlock()
	a.runtimeBackoffUntil = time.Now().Add(runtimeBackoff)
	return false
}

// addSandbox adds whether the pod has a sandbox. If that is younger, w waits since then.
func (a *Agent) addSandbox(ctx context.Context, p pods.Pod, w *pods.PendingImage) {
	if !p.SandboxReady.IsZero() {
		w.Sandbox = pods.SandboxReady
		return
	}
	w.Sandbox = pods.SandboxUnknown
	var since time.Time
	var ready bool
	if !a.callRuntime(ctx, func(ctx context.Context) (err error) {
		since, ready, err = a.runtime.ReadySandbox(ctx, string(p.UID))
		return err
	}) {
		return
	}
	w.Sandbox = pods.SandboxAbsent
	if ready {
		w.Sandbox = pods.SandboxReady
		if since.After(w.Since) {
			w.Since = since
		}
	}
}

// missingSandboxImage returns the runtime's sandbox image if it is not on the node. A
// pod without a sandbox may wait for it, and its own images do not matter until then.
// It returns an empty name if the image is present, or if the runtime does not answer.
func (a *Agent) missingSandboxImage(ctx context.Context) (image string) {
	a.callRuntime(ctx, func(ctx context.Context) (err error) {
		image, err = a.runtime.MissingSandboxImage(ctx)
		return err
	})
	return image
}

// sandboxSubject returns the examination of the sandbox image. The runtime pulls it with
// its own credentials, never with a pod's, and retries every few seconds, so there is no
// test pull.
func sandboxSubject(image string) examine.Subject {
	return examine.Subject{
		Image:   image,
		Secrets: func(context.Context) []credentials.SecretLookup { return nil },
		NoPull:  examine.NoPullSandbox,
	}
}
