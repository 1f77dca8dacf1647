package agent

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/cri"
)

// runtimeStub is a runtime with one pod.
type runtimeStub struct {
	down         bool
	sandbox      time.Time // when the pod's sandbox was made; zero: it has none
	sandboxImage string    // the sandbox image, if it is missing
	images       []string  // that are on the node
	calls        int
}

func (s *runtimeStub) answer() error {
	s.calls++
	if s.down {
		return errors.New("no answer")
	}
	return nil
}

func (s *runtimeStub) ReadySandbox(context.Context, string) (time.Time, bool, error) {
	return s.sandbox, !s.sandbox.IsZero(), s.answer()
}

func (s *runtimeStub) MissingSandboxImage(context.Context) (string, error) {
	return s.sandboxImage, s.answer()
}

func (s *runtimeStub) ImageStatus(_ context.Context, image string) (cri.Image, bool, error) {
	return cri.Image{}, slices.Contains(s.images, image), s.answer()
}

// TestPendingImages checks which images a pod waits for whose kubelet has reported
// nothing, by what the runtime answers.
func TestPendingImages(t *testing.T) {
	now := time.Now()
	pod := pods.Pod{
		UID:     "uid",
		Created: now.Add(-time.Hour),
		Containers: []pods.Container{
			{Name: "a", Image: "r.example/a:1", Reason: "ContainerCreating", Next: true},
			{Name: "b", Image: "r.example/b:1", Reason: "ContainerCreating", Next: true},
		},
	}
	for name, tt := range map[string]struct {
		runtime runtimeStub
		want    []string
		retry   bool
		calls   int
	}{
		"the first that is absent": {runtimeStub{sandbox: now.Add(-time.Hour)}, []string{"r.example/a:1"}, false, 2},
		"the first is present": {
			runtimeStub{sandbox: now.Add(-time.Hour), images: []string{"r.example/a:1"}}, []string{"r.example/b:1"}, false, 4,
		},
		"a young sandbox":       {runtimeStub{sandbox: now}, nil, true, 2},
		"no sandbox":            {runtimeStub{}, nil, true, 4},
		"no sandbox image":      {runtimeStub{sandboxImage: "r.example/pause:3"}, []string{"r.example/pause:3"}, false, 2},
		"no answer, asked once": {runtimeStub{down: true}, []string{"r.example/a:1"}, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := &imageFinder{runtime: &tt.runtime}
			found, retryAt := f.pending(t.Context(), pod, now)
			var got []string
			for _, w := range found {
				got = append(got, w.Image)
			}
			if !slices.Equal(got, tt.want) || retryAt.After(now) != tt.retry || tt.runtime.calls != tt.calls {
				t.Errorf("%q, again at %v, after %d calls", got, retryAt, tt.runtime.calls)
			}
		})
	}
}
