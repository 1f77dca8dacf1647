package examine

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

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
	node        nodeView
	disk        report.Check // without regard to the size of the image
	credentials credentials.Resolution
}

// gather asks the runtime, reads the node's files and resolves the credentials,
// side by side. It takes no longer than ctx lasts. The caller closes the node.
func (e *Examiner) gather(ctx context.Context, s Subject, refCheck report.Check, ref reference.Ref) gathered {
	g := gathered{ref: ref, reference: refCheck}
	var wg sync.WaitGroup
	wg.Go(func() {
		// One deadline for both: a runtime that hangs must leave time for the probes.
		asking, stop := context.WithTimeout(ctx, runtimeTimeout)
		defer stop()
		g.runtime = e.runtimeCheck(asking)
		g.pod, g.noHandler = e.podSandbox(asking, s)
		g.local = e.localImages(asking, ref, g.runtime, g.pod)
	})
	wg.Go(func() {
		g.node = e.readNode(ctx)
		g.disk = e.diskCheck(g.node, 0)
	})
	wg.Go(func() {
		reading, stop := context.WithTimeout(ctx, ProvidersTimeout)
		defer stop()
		g.credentials = e.Credentials(reading, ref.Domain+"/"+ref.Path, s)
	})
	wg.Wait()
	return g
}

// runtimeCheck returns the check "runtime".
func (e *Examiner) runtimeCheck(ctx context.Context) report.Check {
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	if e.Runtime == nil {
		return report.Check{
			ID:      report.IDRuntime,
			Kind:    report.KindRuntime,
			Outcome: report.Skipped,
			Summary: "no runtime endpoint is set: use --runtime-endpoint",
		}
	}
	return e.Runtime.Status(ctx)
}

// handlerGate is the kubelet's feature gate without which it sends no runtime handler
// with an image (pkg/kubelet/kuberuntime, getPodRuntimeHandler). It is alpha since 1.29.
const handlerGate = "RuntimeClassInImageCriApi"

// podSandbox returns the pod as the kubelet names it to the runtime when it pulls: with
// the handler of its RuntimeClass, which the runtime knows of the pod's sandbox. Unknown
// reports that the handler could not be found out. While the kubelet's feature gates
// cannot be read, it counts as sent: the container needs an image for it anyway.
func (e *Examiner) podSandbox(ctx context.Context, s Subject) (pod *cri.Pod, unknown bool) {
	if s.Pod == nil || e.Runtime == nil || !s.Failing {
		return s.Pod, false
	}
	named := *s.Pod
	attempt, handler, found, err := e.Runtime.PodSandbox(ctx, named.UID)
	named.Attempt = attempt
	if s.RuntimeClass == "" || e.kubeletSendsNoHandler() {
		return &named, false
	}
	named.Handler = handler
	return &named, err != nil || !found
}

// kubeletSendsNoHandler reports whether the kubelet is known to send no handler.
func (e *Examiner) kubeletSendsNoHandler() bool {
	runtime, err := e.Runtime.Process()
	if err != nil {
		return false
	}
	kubelet, err := e.findKubelet(runtime)
	if err != nil {
		return false
	}
	on, err := kubelet.AlphaGate(handlerGate)
	return err == nil && !on
}

// localImages returns the check "local/HOST": which images of the same registry
// are on the node. A node that has pulled from a registry before could reach it
// then.
func (e *Examiner) localImages(ctx context.Context, ref reference.Ref, runtime report.Check, pod *cri.Pod) report.Check {
	if runtime.Outcome != report.Pass {
		c := localCheck(ref.Domain, nil)
		c.Summary, c.BlockedBy = "the runtime is not available", report.IDRuntime
		return c
	}
	start := time.Now()
	images, err := e.Runtime.Images(ctx)
	if err != nil {
		c := localCheck(ref.Domain, nil)
		c.Outcome = report.Error
		return c
	}
	c := localCheck(ref.Domain, images)
	_, present, err := e.Runtime.ImageStatusFor(ctx, ref.String(), pod)
	c.Evidence[report.KeyPresent] = strconv.FormatBool(err == nil && present)
	c.Duration = report.Millis(time.Since(start))
	return c
}

// localCheck returns the check "local/HOST" of these images; nil: the runtime did
// not list them.
func localCheck(domain string, images []cri.Image) report.Check {
	c := report.Check{
		ID:      report.LocalID(domain),
		Kind:    report.KindImage,
		Host:    domain,
		Outcome: report.Skipped,
		Summary: "the runtime did not list its images",
	}
	if images == nil {
		return c
	}
	count, example := imagesFrom(images, domain)
	c.Outcome = report.Pass
	c.Evidence = map[string]string{report.KeyCount: strconv.Itoa(count)}
	c.Summary = strconv.Itoa(count) + " images from " + domain + " are on this node"
	if example != "" {
		c.Evidence[report.KeyExample] = example
		c.Summary += ", for example " + example
	}
	return c
}

// imagesFrom counts the images that the node has pulled from a registry, and
// returns the name of one.
func imagesFrom(images []cri.Image, domain string) (count int, example string) {
	for _, img := range images {
		if img.Pinned {
			continue // loaded with the node, not pulled by it
		}
		for _, name := range append(img.Tags, img.Digests...) {
			if host, _, ok := strings.Cut(name, "/"); ok && host == domain {
				count++
				example = name
				break
			}
		}
	}
	return count, example
}
