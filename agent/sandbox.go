package agent

import (
	"context"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
)

// SandboxInTheWay is the runtime's sandbox image if the pod with this UID
// waits for it: it is not on the node, and the pod has no sandbox. The pod's
// own images do not matter until it is there. Empty means that it is not so,
// or that nobody can tell.
func (e *Examiner) SandboxInTheWay(ctx context.Context, podUID string) string {
	if e.Runtime == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	image, err := e.Runtime.MissingSandboxImage(ctx, podUID)
	if err != nil {
		return ""
	}
	return image
}

// sandboxSubject is the examination of the sandbox image on behalf of a pod.
// The runtime pulls it with its own credentials, never with the pod's, and
// tries again by itself every few seconds: there is nothing to test-pull.
func sandboxSubject(image, podUID string) Subject {
	return Subject{
		Image: image, PodUID: podUID,
		Secrets: func(context.Context) []credentials.Found { return nil },
		NoPull:  "the runtime pulls its sandbox image itself, with each attempt to start the pod",
	}
}
