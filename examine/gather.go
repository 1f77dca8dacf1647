package examine

import (
	"context"
	"sync"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
)

// gathered is what this node knows before a registry is contacted.
type gathered struct {
	ref         reference.Ref
	reference   report.Check
	runtime     report.Check
	pod         *cri.Pod     // that needs the image, with its handler; nil: none
	noHandler   bool         // the handler is not known
	local       report.Check // images of the same registry that are on the node
	present     report.Check // the image itself; zero: it is not on the node
	node        nodeView
	disk        report.Check // without regard to the size of the image
	credentials credentials.Resolution
}

// gather asks the runtime, reads the node's files and resolves the credentials,
// side by side. It takes no longer than ctx lasts. The caller closes the node.
func (e *Examiner) gather(ctx context.Context, s Subject, refCheck report.Check, ref reference.Ref) gathered {
	g := gathered{ref: ref, reference: refCheck}
	var image cri.Image
	var wg sync.WaitGroup
	wg.Go(func() {
		// One deadline for both: a runtime that hangs must leave time for the probes.
		asking, stop := context.WithTimeout(ctx, runtimeTimeout)
		defer stop()
		g.runtime = e.Node.runtimeCheck(asking)
		g.pod, g.noHandler = e.Node.podSandbox(asking, s)
		g.local, image = e.Node.localImages(asking, ref, g.runtime, g.pod)
	})
	wg.Go(func() {
		g.node = e.Node.read(ctx)
		g.disk = e.Node.disks.check(g.node.disk, 0)
	})
	wg.Go(func() {
		reading, stop := context.WithTimeout(ctx, ProvidersTimeout)
		defer stop()
		g.credentials = e.Credentials(reading, ref.Domain+"/"+ref.Path, s)
	})
	wg.Wait()
	g.present = presentImage(ref, image, e.Platform, g.node.Files)
	return g
}
