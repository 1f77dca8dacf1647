package agent

import (
	"context"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/examine"
)

// missingSandboxImage is the runtime's sandbox image if it is not on the node.
// A pod without a sandbox may be waiting for it, and its own images do not
// matter until it is there. Empty means that it is here, or that nobody can
// tell.
func (a *Agent) missingSandboxImage(ctx context.Context) (image string) {
	a.askRuntime(ctx, func(ctx context.Context) (err error) {
		image, err = a.runtime.MissingSandboxImage(ctx)
		return err
	})
	return image
}

// sandboxSubject is the examination of the sandbox image. The runtime pulls it
// with its own credentials, never with a pod's, and tries again by itself every
// few seconds: there is nothing to test-pull.
func sandboxSubject(image string) examine.Subject {
	return examine.Subject{
		Image:   image,
		Secrets: func(context.Context) []credentials.Found { return nil },
		NoPull:  examine.NoPullSandbox,
	}
}
