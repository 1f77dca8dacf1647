// Package pods holds the pods of one node, and the images that they wait for.
package pods

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is what the agent keeps of a Pod: enough to see what it waits for.
type Pod struct {
	UID             types.UID
	Namespace, Name string
	ServiceAccount  string
	PullSecrets     []string // of the pod's own namespace, in its order
	Request         string   // value of the probe annotation; empty: nobody asks
	Agent           bool     // one of pullprobe's own pods
	Created         time.Time
	SandboxReady    time.Time // when its sandbox stood, as the kubelet says; zero: it has not said so
	Phase           corev1.PodPhase
	Deleting        bool
	Containers      []Container
}

// container is one thing of the pod that names an image.
type Container struct {
	Name    string
	Image   string
	Policy  corev1.PullPolicy
	Volumes []string // references of the image volumes that it mounts
	// VolumePolicies are the pull policies of these, which are not the container's.
	VolumePolicies map[string]corev1.PullPolicy
	Reason         string // of the waiting state; empty when it does not wait
	Message        string
	Started        bool      // runs, or ran
	StartedAt      time.Time // of its first start; zero: there was none, or it was restarted
	HasImage       bool      // it got past its image, now or before

	Init bool // an init container
	// The kubelet comes to a container when the init containers before it are
	// done, and that was at After; zero: there are none.
	Next      bool
	After     time.Time
	Ephemeral bool // added to a pod that runs: After is when it was first seen
}

func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// container is the pod's container of a name.
func (p Pod) containerNamed(name string) (Container, bool) {
	for _, c := range p.Containers {
		if c.Name == name {
			return c, true
		}
	}
	return Container{}, false
}

// The annotations that ask for a probe; the second is for clusters where the
// first is taken.
const (
	requestAnnotation     = "probe"
	requestAnnotationLong = "pullprobe.dev/probe"
)

// agentLabel marks pullprobe's own pods; its value is the namespace's business.
const agentLabel, agentLabelValue = "app.kubernetes.io/name", "pullprobe"

// newPod keeps the used fields of p.
func newPod(p *corev1.Pod, ownNamespace string) Pod {
	out := Pod{
		UID: p.UID, Namespace: p.Namespace, Name: p.Name, ServiceAccount: p.Spec.ServiceAccountName,
		Request: requestValue(p.Annotations), Created: p.CreationTimestamp.Time, Phase: p.Status.Phase,
		Deleting: p.DeletionTimestamp != nil,
		Agent:    p.Namespace == ownNamespace && p.Labels[agentLabel] == agentLabelValue,
	}
	if p.Status.StartTime != nil {
		out.Created = p.Status.StartTime.Time // when the kubelet took it on
	}
	initialized := false
	for _, c := range p.Status.Conditions {
		switch {
		case c.Status != corev1.ConditionTrue:
		case c.Type == corev1.PodReadyToStartContainers:
			out.SandboxReady = c.LastTransitionTime.Time
		case c.Type == corev1.PodInitialized:
			initialized = true
		}
	}
	for _, s := range p.Spec.ImagePullSecrets {
		if s.Name != "" && !slices.Contains(out.PullSecrets, s.Name) {
			out.PullSecrets = append(out.PullSecrets, s.Name)
		}
	}
	imageVolumes := map[string]*corev1.ImageVolumeSource{}
	for _, v := range p.Spec.Volumes {
		if v.Image != nil && v.Image.Reference != "" {
			imageVolumes[v.Name] = v.Image
		}
	}
	statuses := map[string]corev1.ContainerStatus{}
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for _, s := range list {
			statuses[s.Name] = s
		}
	}
	add := func(name, image string, policy corev1.PullPolicy, mounts []corev1.VolumeMount) *Container {
		c := Container{Name: name, Image: image, Policy: policy}
		for _, m := range mounts {
			if v := imageVolumes[m.Name]; v != nil {
				c.Volumes = append(c.Volumes, v.Reference)
				if c.VolumePolicies == nil {
					c.VolumePolicies = map[string]corev1.PullPolicy{}
				}
				c.VolumePolicies[v.Reference] = v.PullPolicy
			}
		}
		s := statuses[name]
		if w := s.State.Waiting; w != nil {
			c.Reason, c.Message = w.Reason, w.Message
			if len(c.Message) > maxMessage {
				c.Message = strings.Clone(c.Message[:maxMessage]) // a part of a string keeps all of it
			}
		}
		c.Started = s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil
		switch running, ended := s.State.Running, s.State.Terminated; {
		case s.RestartCount > 0:
		case running != nil:
			c.StartedAt = running.StartedAt.Time
		case ended != nil:
			c.StartedAt = ended.StartedAt.Time
		}
		c.HasImage = c.Started || PendingImage{Reason: c.Reason, Failing: c.pullFails()}.ImageReady()
		out.Containers = append(out.Containers, c)
		return &out.Containers[len(out.Containers)-1]
	}
	turn, after := true, time.Time{}
	for _, c := range p.Spec.InitContainers {
		added := add(c.Name, c.Image, c.ImagePullPolicy, c.VolumeMounts)
		added.Init, added.Next, added.After = true, turn, after
		sidecar := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		done, at := initDone(statuses[c.Name], sidecar)
		turn = turn && done
		if at.After(after) {
			after = at
		}
	}
	for _, c := range p.Spec.Containers {
		added := add(c.Name, c.Image, c.ImagePullPolicy, c.VolumeMounts)
		added.Next, added.After = turn || initialized, after
	}
	for _, c := range p.Spec.EphemeralContainers {
		added := add(c.Name, c.Image, c.ImagePullPolicy, c.VolumeMounts)
		added.Next, added.Ephemeral = true, true
	}
	return out
}

// maxMessage bounds what is kept of a waiting message, in bytes: no more of it
// is read.
const maxMessage = 16 << 10

// initDone reports whether the kubelet goes on to the next container after this
// init container, and since when. A sidecar is one that keeps running.
func initDone(s corev1.ContainerStatus, sidecar bool) (bool, time.Time) {
	switch {
	case sidecar && s.State.Running != nil && s.Started != nil && *s.Started:
		return true, s.State.Running.StartedAt.Time
	case !sidecar && s.State.Terminated != nil && s.State.Terminated.ExitCode == 0:
		return true, s.State.Terminated.FinishedAt.Time
	}
	return false, time.Time{}
}

// asked is the value that asks for a probe. Both annotations together are one
// question. It is a tenant's text and goes into the report: a long one is cut,
// with its hash, so that it stays another question than the next.
func requestValue(annotations map[string]string) string {
	short, long := annotations[requestAnnotation], annotations[requestAnnotationLong]
	value := short + long
	if short != "" && long != "" {
		value = short + "," + long
	}
	const longest = 64
	if len(value) > longest {
		return fmt.Sprintf("%s~%08x", strings.ToValidUTF8(value[:longest], ""), crc32.ChecksumIEEE([]byte(value)))
	}
	return value
}

// wait is one image of a pod that has to be looked at.
type PendingImage struct {
	Container string
	Image     string
	Policy    corev1.PullPolicy
	Reason    string
	Message   string
	Failing   bool // the kubelet says that the pull fails here
	Creating  bool // nothing has failed yet, but nothing has come either
	Started   bool // the container got past its image
	// ForSandbox says that Image is not the pod's own but the runtime's, which
	// every pod needs before its own.
	ForSandbox bool

	Since   time.Time // when the kubelet came to the container, as far as the pod tells
	Sandbox string    // whether the pod's sandbox stands: one of the words below, or empty where it does not matter
}

// Whether a pod has a sandbox: evidence "sandbox" of the pod check.
const (
	SandboxReady   = "ready"
	SandboxAbsent  = "absent" // the pod waits for a volume, the network or the sandbox's image
	SandboxUnknown = "unknown"
)

// pastImage reports whether the container waits for something that comes after
// its image: every reason of the kubelet's but those of a container that is
// still being created, or not begun.
func (w PendingImage) ImageReady() bool {
	return w.Reason != "" && !w.Failing && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing"
}

// pullFailures are the waiting reasons that the kubelet gives for an image
// (pkg/kubelet/images/types.go, cri-api pkg/errors; RegistryUnavailable is
// older kubelets').
var pullFailures = []string{
	"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
	"RegistryUnavailable", "SignatureValidationFailed",
}

// pullFails reports whether the waiting state is about an image. A reason that
// is no single word is the kubelet's bare error: it uses that for pull secrets
// that it cannot decode (image_manager.go, EnsureImageExists).
func (c Container) pullFails() bool {
	return slices.Contains(pullFailures, c.Reason) || strings.Contains(c.Reason, " ") && !c.Started
}

// patience is how long the kubelet may be at a container before its image is
// looked at although nothing has failed.
const GracePeriod = 10 * time.Second

// begins reports whether the kubelet has said nothing of this container yet. In
// a pod with init containers that reads "PodInitializing" for all of them, those
// included (kubelet_pods.go, convertToAPIContainerStatuses).
func (c Container) isCreating() bool {
	return c.Reason == "ContainerCreating" || c.Reason == "PodInitializing"
}

// since is the earliest time at which the kubelet can have wanted the images
// of a container. The sandbox may have come later: older kubelets say so only
// after the first pull, so that nothing follows from their silence.
func (p Pod) wantedSince(c Container) time.Time {
	at := p.Created
	for _, t := range []time.Time{p.SandboxReady, c.After} {
		if t.After(at) {
			at = t
		}
	}
	return at
}

// waits lists what the pod waits for at a time, in the order in which the
// kubelet comes to it: images whose pull fails, and those of containers that
// have been "creating" for longer than patience. Whether the latter's image is
// really absent, and the sandbox there, only the runtime can tell. Pods on
// their way out wait for nothing.
func (p Pod) PendingImages(now time.Time) []PendingImage {
	if p.Deleting || p.Phase == corev1.PodSucceeded || p.Phase == corev1.PodFailed {
		return nil
	}
	var out []PendingImage
	add := func(c Container, image string, w PendingImage) {
		w.Container, w.Image, w.Policy, w.Reason, w.Message, w.Started = c.Name, image, c.policy(image), c.Reason, c.Message, c.Started
		out = append(out, w)
	}
	overdue := func(since time.Time) bool { return !now.Before(since.Add(GracePeriod)) }
	// The kubelet pulls the images of all volumes before it starts any container
	// (kuberuntime_manager.go, SyncPod).
	for _, c := range p.Containers {
		if since := p.wantedSince(Container{}); c.isCreating() && overdue(since) {
			for _, image := range c.Volumes {
				add(c, image, PendingImage{Creating: true, Since: since})
			}
		}
	}
	for _, c := range p.Containers {
		switch since := p.wantedSince(c); {
		case c.pullFails():
			add(c, c.failingImage(), PendingImage{Failing: true, Since: since})
		case c.isCreating() && c.Next && overdue(since):
			add(c, c.Image, PendingImage{Creating: true, Since: since})
		}
	}
	return out
}

// blamed is the image that the waiting message speaks of: one of an image
// volume if it is quoted there, else the container's own. The kubelet reports
// both in the same place (kuberuntime_manager.go, getImageVolumes).
func (c Container) failingImage() string {
	for _, v := range c.Volumes {
		if strings.Contains(c.Message, `"`+v+`"`) && !strings.Contains(c.Message, `"`+c.Image+`"`) {
			return v
		}
	}
	return c.Image
}

// all lists every image of the pod, for somebody who asks about a pod that is
// not stuck, or not with all of its images.
func (p Pod) AllImages(now time.Time) []PendingImage {
	out := p.PendingImages(now)
	for _, c := range p.Containers {
		for _, image := range append([]string{c.Image}, c.Volumes...) {
			if !slices.ContainsFunc(out, func(w PendingImage) bool { return w.Image == image }) {
				out = append(out, PendingImage{
					Container: c.Name, Image: image, Policy: c.policy(image), Reason: c.Reason, Message: c.Message, Started: c.Started, Since: p.wantedSince(c),
				})
			}
		}
	}
	return out
}

// policy is the pull policy for the container's image or one of its volumes'.
func (c Container) policy(image string) corev1.PullPolicy {
	if p, volume := c.VolumePolicies[image]; volume && image != c.Image {
		return p
	}
	return c.Policy
}

// names reports whether the pod has an image (still): its owner may change it.
func (p Pod) UsesImage(image string) bool {
	return slices.ContainsFunc(p.Containers, func(c Container) bool { return c.Image == image || slices.Contains(c.Volumes, image) })
}

// outOfPatience is when the next of the pod's creating containers runs out of
// patience after now; zero if none does.
func (p Pod) NextOverdue(now time.Time) time.Time {
	var next time.Time
	for _, c := range p.Containers {
		if at := p.wantedSince(c).Add(GracePeriod); c.isCreating() && c.Next && !p.Deleting && at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}
