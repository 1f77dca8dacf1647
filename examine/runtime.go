package examine

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
)

// This file holds what an examination asks the runtime about: its state, the pod's
// sandbox and its images.

// runtimeCheck returns the check "runtime".
func (n *NodeReader) runtimeCheck(ctx context.Context) report.Check {
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	if n.Runtime == nil {
		return report.Check{
			ID:      report.IDRuntime,
			Kind:    report.KindRuntime,
			Outcome: report.Skipped,
			Summary: "no runtime endpoint is set: use --runtime-endpoint",
		}
	}
	return n.Runtime.Status(ctx)
}

// podSandbox returns the pod as the kubelet names it to the runtime when it pulls: with
// the handler of its RuntimeClass, which the runtime knows of the pod's sandbox. Unknown
// reports that the handler could not be found out. While the kubelet's feature gates
// cannot be read, it counts as sent: the container needs an image for it anyway.
func (n *NodeReader) podSandbox(ctx context.Context, s Subject) (pod *cri.Pod, unknown bool) {
	if s.Pod == nil || n.Runtime == nil || !s.Failing {
		return s.Pod, false
	}
	named := *s.Pod
	attempt, handler, found, err := n.Runtime.PodSandbox(ctx, named.UID)
	named.Attempt = attempt
	if s.RuntimeClass == "" {
		return &named, false
	}
	if runtime, err := n.Runtime.Process(); err == nil && n.kubelet.sendsNoHandler(runtime) {
		return &named, false
	}
	named.Handler = handler
	return &named, err != nil || !found
}

// localImages returns the check "local/HOST": which images of the same registry
// are on the node. A node that has pulled from a registry before could reach it
// then. It also returns the image itself; the zero image if it is not there.
func (n *NodeReader) localImages(
	ctx context.Context, ref reference.Ref, runtime report.Check, pod *cri.Pod,
) (c report.Check, image cri.Image) {
	if runtime.Outcome != report.Pass {
		c = localCheck(ref.Domain, nil)
		c.Summary, c.BlockedBy = "the runtime is not available", report.IDRuntime
		return c, cri.Image{}
	}
	start := time.Now()
	images, err := n.Runtime.Images(ctx)
	if err != nil {
		c = localCheck(ref.Domain, nil)
		c.Outcome = report.Error
		return c, cri.Image{}
	}
	c = localCheck(ref.Domain, images)
	if n := imagesOf(images, ref.Domain+"/"+ref.Path); n > 0 {
		c.Evidence[report.KeyOfRepository] = strconv.Itoa(n)
	}
	image, present, err := n.Runtime.ImageDetails(ctx, ref.String(), pod)
	c.Evidence[report.KeyPresent] = strconv.FormatBool(err == nil && present)
	if n := cri.LargestOf(images, ref.Domain+"/"+ref.Path); n > 0 {
		c.Evidence[report.KeySameRepository] = strconv.FormatInt(n, 10)
	}
	c.Duration = report.Millis(time.Since(start))
	return c, image
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

// imagesOf counts the images of a repository that the node has pulled.
func imagesOf(images []cri.Image, repository string) (n int) {
	for _, img := range images {
		named := func(name string) bool {
			return strings.HasPrefix(name, repository+":") || strings.HasPrefix(name, repository+"@")
		}
		if !img.Pinned && (slices.ContainsFunc(img.Tags, named) || slices.ContainsFunc(img.Digests, named)) {
			n++
		}
	}
	return n
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
