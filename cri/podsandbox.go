package cri

import (
	"cmp"
	"context"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The kubelet's labels of a pod's sandbox (pkg/kubelet/types/labels.go).
const (
	podNameLabel      = "io.kubernetes.pod.name"
	podNamespaceLabel = "io.kubernetes.pod.namespace"
	podUIDLabel       = "io.kubernetes.pod.uid"
)

// handlerAnnotation names the handler whose snapshotter containerd uses for a pull that
// has no handler of its own (internal/cri/annotations; to be removed in containerd 2.5).
const handlerAnnotation = "io.containerd.cri.runtime-handler"

// Pod is the pod that an image is pulled for. The runtime may treat its images in a way
// of their own: containerd unpacks them with the snapshotter of the pod's handler, CRI-O has
// a signature policy for each namespace (server/image_pull.go).
type Pod struct {
	Namespace, Name, UID string
	Attempt              uint32 // of the sandbox
	Handler              string // that the kubelet sends with the image; empty: none

	// Annotation is the pod's annotation io.containerd.cri.runtime-handler.
	Annotation string
}

// config returns the part of the kubelet's sandbox configuration that a pull may depend
// on (pkg/kubelet/kuberuntime, generatePodSandboxConfig). A nil pod has none.
func (p *Pod) config() *runtimeapi.PodSandboxConfig {
	if p == nil {
		return nil
	}
	return &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{
			Name:      p.Name,
			Namespace: p.Namespace,
			Uid:       p.UID,
			Attempt:   p.Attempt,
		},
		Labels: map[string]string{
			podNameLabel:      p.Name,
			podNamespaceLabel: p.Namespace,
			podUIDLabel:       p.UID,
		},
		Annotations: p.annotations(),
	}
}

// annotations returns the pod's annotations that a pull may depend on.
func (p *Pod) annotations() map[string]string {
	if p == nil || p.Annotation == "" {
		return nil
	}
	return map[string]string{handlerAnnotation: p.Annotation}
}

// spec returns how the kubelet names an image of the pod (pkg/kubelet/kuberuntime,
// ToRuntimeAPIImageSpec).
func (p *Pod) spec(image string) *runtimeapi.ImageSpec {
	spec := &runtimeapi.ImageSpec{Image: image, Annotations: p.annotations()}
	if p != nil {
		spec.RuntimeHandler = p.Handler
	}
	return spec
}

// handler returns the handler that the runtime uses for the pod's images; empty: its
// default.
func (p *Pod) handler() string {
	if p == nil {
		return ""
	}
	return cmp.Or(p.Handler, p.Annotation)
}

// PodSandbox returns the attempt and the handler of the pod's newest sandbox. The handler
// is empty for the runtime's default, and from runtimes that do not report it. Found is
// false if the pod has no sandbox.
func (c *Client) PodSandbox(ctx context.Context, podUID string) (attempt uint32, handler string, found bool, err error) {
	r, err := c.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{
		LabelSelector: map[string]string{podUIDLabel: podUID},
	}})
	if err != nil || len(r.GetItems()) == 0 {
		return 0, "", false, err
	}
	newest := slices.MaxFunc(r.GetItems(), func(a, b *runtimeapi.PodSandbox) int { return cmp.Compare(a.GetCreatedAt(), b.GetCreatedAt()) })
	return newest.GetMetadata().GetAttempt(), newest.GetRuntimeHandler(), true, nil
}

// ReadySandbox returns when the pod's current sandbox was created, including its
// network. Before, the kubelet pulls none of the pod's images
// (kuberuntime_manager.go, SyncPod): the pod waits for a volume, its network or the
// sandbox image.
func (c *Client) ReadySandbox(ctx context.Context, podUID string) (since time.Time, ok bool, err error) {
	r, err := c.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{
		State:         &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY},
		LabelSelector: map[string]string{podUIDLabel: podUID},
	}})
	if err != nil {
		return time.Time{}, false, err
	}
	for _, s := range r.GetItems() {
		if at := time.Unix(0, s.GetCreatedAt()); !ok || at.After(since) {
			since, ok = at, true
		}
	}
	return since, ok, nil
}
