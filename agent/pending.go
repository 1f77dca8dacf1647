package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/turns"
	"github.com/pullprobe/pullprobe/cri"
)

// imageFinder finds the images that a pod waits for. What the pod's status leaves open,
// it asks the runtime.
type imageFinder struct {
	runtime podRuntime
	calls   runtimeCalls
}

// podRuntime is what the runtime knows about single pods.
type podRuntime interface {
	ReadySandbox(ctx context.Context, podUID string) (since time.Time, ready bool, err error)
	MissingSandboxImage(ctx context.Context) (image string, err error)
	ImageStatus(ctx context.Context, image string) (status cri.Image, present bool, err error)
}

// pending returns the images that the pod waits for, confirmed by the runtime as
// far as possible, and when to ask it again. The kubelet pulls the images of a pod one
// by one: of those that it has reported nothing about, it can only work on the first.
func (f *imageFinder) pending(ctx context.Context, p pods.Pod, now time.Time) (out []pods.PendingImage, requeueAt time.Time) {
	found := false
	for _, w := range p.PendingImages(now) {
		if w.Creating {
			if found {
				continue
			}
			var retryAt time.Time
			found, retryAt = f.needsExamination(ctx, p, &w, now)
			requeueAt = turns.Earliest(requeueAt, retryAt)
			if !found {
				continue
			}
		}
		out = append(out, w)
	}
	return out, requeueAt
}

// all returns every image of the pod, with the state of its sandbox.
func (f *imageFinder) all(ctx context.Context, p pods.Pod, waiting []pods.PendingImage, now time.Time) []pods.PendingImage {
	out := slices.Clone(waiting)
	for _, w := range p.AllImages(now) {
		if p.Covers(out, w) {
			continue
		}
		w.Creating = false // else it would be in waiting
		if !w.Started && !w.Failing && !w.ImageReady() {
			f.addSandbox(ctx, p, &w)
		}
		out = append(out, w)
	}
	return out
}

// needsExamination reports whether the kubelet really needs an image that it has
// reported nothing about: the pod has had a sandbox for the grace period, and the image
// is absent. It adds the sandbox's state to w, or replaces the image by the sandbox
// image if that is what is missing. If the answer may change without an event, retryAt
// is when to ask again. A runtime that does not answer is a reason to examine.
func (f *imageFinder) needsExamination(
	ctx context.Context, p pods.Pod, w *pods.PendingImage, now time.Time,
) (needed bool, retryAt time.Time) {
	switch f.addSandbox(ctx, p, w); {
	case now.Before(w.Since.Add(pods.GracePeriod)):
		return false, w.Since.Add(pods.GracePeriod)
	case w.Sandbox == pods.SandboxAbsent:
		// The pod may wait for the sandbox image. Volumes and network are out of scope.
		image := f.missingSandboxImage(ctx)
		if image == "" {
			return false, now.Add(pods.GracePeriod / 2)
		}
		w.Image, w.ForSandbox = image, true
		return true, time.Time{}
	}
	present := false
	answered := f.calls.call(ctx, func(ctx context.Context) (err error) {
		_, present, err = f.runtime.ImageStatus(ctx, w.Image)
		return err
	})
	return !answered || !present, time.Time{}
}

// addSandbox adds whether the pod has a sandbox. If that is younger, w waits since then.
func (f *imageFinder) addSandbox(ctx context.Context, p pods.Pod, w *pods.PendingImage) {
	if !p.SandboxReady.IsZero() {
		w.Sandbox = pods.SandboxReady
		return
	}
	w.Sandbox = pods.SandboxUnknown
	var since time.Time
	var ready bool
	if !f.calls.call(ctx, func(ctx context.Context) (err error) {
		since, ready, err = f.runtime.ReadySandbox(ctx, string(p.UID))
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
func (f *imageFinder) missingSandboxImage(ctx context.Context) (image string) {
	f.calls.call(ctx, func(ctx context.Context) (err error) {
		image, err = f.runtime.MissingSandboxImage(ctx)
		return err
	})
	return image
}

// runtimeCalls limits the runtime calls for single pods. The zero value is ready.
type runtimeCalls struct {
	mu           sync.Mutex
	backoffUntil time.Time // until then no call is made
}

// Limits of the runtime calls for single pods. After a call without an answer there are
// no more for a while: a runtime that hangs must not hang the reconciliation of all pods.
const (
	runtimeCallTimeout = time.Second
	runtimeBackoff     = 5 * time.Second
)

// call reports whether the runtime answered.
func (c *runtimeCalls) call(ctx context.Context, call func(context.Context) error) bool {
	c.mu.Lock()
	backoff := time.Now().Before(c.backoffUntil)
	c.mu.Unlock()
	if backoff {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeCallTimeout)
	defer cancel()
	if call(ctx) == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.backoffUntil = time.Now().Add(runtimeBackoff)
	return false
}
