// Package pods holds the pods of one node and the images that they wait for.
package pods

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/corev1"
)

// Pod is the part of a Pod that the agent keeps: enough to see what it waits for.
type Pod struct {
	UID             types.UID
	Namespace, Name string
	Owner           Owner
	Template        string // which template of its owner it was made from: a hash, or a Job; empty: not known
	ServiceAccount  string
	PullSecrets     []string // of the pod's own namespace, in its order
	RuntimeClass    string   // empty: none
	RuntimeHandler  string   // value of the annotation io.containerd.cri.runtime-handler
	Request         string   // value of the probe annotation; empty: none
	Agent           bool     // one of pullprobe's own pods
	Created         time.Time
	SandboxReady    time.Time // when the kubelet reported its sandbox as ready; zero: not yet
	Phase           corev1.PodPhase
	Deleting        bool
	Reason, Message string   // the kubelet's, of a pod that has failed
	Sources         []string // what its volumes are made of, while it has no sandbox
	Containers      []Container
}

// Container is one container of the pod, with the images that it needs.
type Container struct {
	Name         string
	Image        string
	Policy       corev1.PullPolicy
	Volumes      []string               // references of the image volumes that it mounts
	ImageVolumes map[string]ImageVolume // the volumes of these, by reference
	Reason       string                 // of the waiting state; empty: it does not wait
	Message      string
	About        string    // the image that the message is about, if the container has another one now
	Changed      time.Time // when its image was changed; zero: that was not seen
	FailedAt     time.Time // when the kubelet's last failure was first seen
	Started      bool      // runs, or ran
	StartedAt    time.Time // of its first start; zero: there was none, or it was restarted
	HasImage     bool      // the kubelet got past its image, now or before
	State        State

	Init bool // an init container
	// Next reports whether the init containers before this one are done, so that
	// the kubelet works on it. That was at After; zero: there are none.
	Next      bool
	After     time.Time
	Ephemeral bool // added to a running pod: After is when it was first seen
}

// ImageVolume is an image volume of a pod. It has a pull policy of its own.
type ImageVolume struct {
	Name   string
	Policy corev1.PullPolicy
}

func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// containerNamed returns the pod's container of this name.
func (p Pod) containerNamed(name string) (Container, bool) {
	for _, c := range p.Containers {
		if c.Name == name {
			return c, true
		}
	}
	return Container{}, false
}

// ImageOf returns the image of a container; empty: the pod has no such container.
func (p Pod) ImageOf(container string) string {
	c, _ := p.containerNamed(container)
	return c.Image
}

// GotImage reports whether the kubelet got past the image of a container.
func (p Pod) GotImage(container string) bool {
	c, ok := p.containerNamed(container)
	return ok && c.HasImage
}

// HasStarted reports whether a container runs, or ran.
func (p Pod) HasStarted(container string) bool {
	c, ok := p.containerNamed(container)
	return ok && c.Started
}

// The annotations that request a probe. The second is for clusters where the
// first is in use for something else.
const (
	requestAnnotation     = "probe"
	requestAnnotationLong = "pullprobe.dev/probe"
)

// The label of pullprobe's own pods. It counts in the agent's namespace only.
const agentLabel, agentLabelValue = "app.kubernetes.io/name", "pullprobe"

// handlerAnnotation names the runtime handler whose snapshotter containerd uses where the
// kubelet sends none.
const handlerAnnotation = "io.containerd.cri.runtime-handler"

// handlerOf returns the runtime handler that a pod's annotations name. A tenant writes it:
// of what is too long for one, only the beginning is kept.
func handlerOf(annotations map[string]string) string {
	const longest = 253
	value := annotations[handlerAnnotation]
	if len(value) > longest {
		return strings.Clone(value[:longest])
	}
	return value
}

// New returns the part of p that is kept, of a pod that is not in a store.
func New(p *corev1.Pod) Pod { return newPod(p, "") }

// newPod returns the part of p that is kept.
func newPod(p *corev1.Pod, ownNamespace string) Pod {
	out := Pod{
		UID:            p.UID,
		Namespace:      p.Namespace,
		Name:           p.Name,
		Owner:          ownerOf(p),
		ServiceAccount: p.Spec.ServiceAccountName,
		RuntimeHandler: handlerOf(p.Annotations),
		Request:        requestValue(p.Annotations),
		Agent:          p.Namespace == ownNamespace && p.Labels[agentLabel] == agentLabelValue,
		Created:        p.CreationTimestamp.Time,
		Phase:          p.Status.Phase,
		Deleting:       p.DeletionTimestamp != nil,
	}
	out.Template = cmp.Or(out.Owner.Job, p.Labels[deploymentHash], p.Labels[rolloutHash])
	if p.Spec.RuntimeClassName != nil {
		out.RuntimeClass = *p.Spec.RuntimeClassName
	}
	if p.Status.StartTime != nil {
		out.Created = p.Status.StartTime.Time // when the kubelet accepted it
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
	if p.Status.Phase == corev1.PodFailed {
		out.Reason, out.Message = bounded(p.Status.Reason, 64), bounded(p.Status.Message, 1<<10)
	}
	if p.Status.Phase == corev1.PodPending && out.SandboxReady.IsZero() {
		out.Sources = sources(p.Spec.Volumes)
	}
	out.Containers = containersOf(p, initialized)
	return out
}

// containersOf returns all containers of a pod, in the order in which the kubelet
// starts them.
func containersOf(p *corev1.Pod, initialized bool) []Container {
	volumes := map[string]*corev1.ImageVolumeSource{}
	for _, v := range p.Spec.Volumes {
		if v.Image != nil && v.Image.Reference != "" {
			volumes[v.Name] = v.Image
		}
	}
	statuses := map[string]corev1.ContainerStatus{}
	for _, list := range [][]corev1.ContainerStatus{
		p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses,
	} {
		for _, s := range list {
			statuses[s.Name] = s
		}
	}
	var out []Container
	next, after := true, time.Time{}
	for _, spec := range p.Spec.InitContainers {
		c := newContainer(spec, statuses[spec.Name], volumes)
		c.Init, c.Next, c.After = true, next, after
		out = append(out, c)
		sidecar := spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
		done, at := initDone(statuses[spec.Name], sidecar)
		next = next && done
		if at.After(after) {
			after = at
		}
	}
	for _, spec := range p.Spec.Containers {
		c := newContainer(spec, statuses[spec.Name], volumes)
		c.Next, c.After = next || initialized, after
		out = append(out, c)
	}
	for _, e := range p.Spec.EphemeralContainers {
		spec := corev1.Container(e.EphemeralContainerCommon)
		c := newContainer(spec, statuses[spec.Name], volumes)
		c.Next, c.Ephemeral = true, true
		out = append(out, c)
	}
	return out
}

// newContainer returns the part of a container that is kept. The volumes are the
// pod's image volumes, by name.
func newContainer(spec corev1.Container, s corev1.ContainerStatus, volumes map[string]*corev1.ImageVolumeSource) Container {
	c := Container{Name: spec.Name, Image: spec.Image, Policy: spec.ImagePullPolicy}
	for _, m := range spec.VolumeMounts {
		if v := volumes[m.Name]; v != nil {
			c.Volumes = append(c.Volumes, v.Reference)
			if c.ImageVolumes == nil {
				c.ImageVolumes = map[string]ImageVolume{}
			}
			c.ImageVolumes[v.Reference] = ImageVolume{Name: m.Name, Policy: v.PullPolicy}
		}
	}
	if w := s.State.Waiting; w != nil {
		c.Reason, c.Message = w.Reason, w.Message
		if len(c.Message) > maxMessage {
			c.Message = strings.Clone(c.Message[:maxMessage]) // a part of a string keeps all of it in memory
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
	c.State = newState(spec, s)
	c.About = c.aboutOtherImage(s)
	c.HasImage = c.Started || PendingImage{Reason: c.Reason, Failing: c.pullFails()}.ImageReady()
	return c
}

// maxMessage bounds what is kept of a waiting message, in bytes: the rest is not
// read.
const maxMessage = 16 << 10

// initDone reports whether the kubelet continues with the next container after
// this init container, and since when. A sidecar keeps running.
func initDone(s corev1.ContainerStatus, sidecar bool) (bool, time.Time) {
	switch {
	case sidecar && s.State.Running != nil && s.Started != nil && *s.Started:
		return true, s.State.Running.StartedAt.Time
	case !sidecar && s.State.Terminated != nil && s.State.Terminated.ExitCode == 0:
		return true, s.State.Terminated.FinishedAt.Time
	}
	return false, time.Time{}
}

// requestValue returns the value that requests a probe. Both annotations together
// are one request. A tenant writes it and it is published: a long one is
// truncated and gets its hash, so that it stays distinct from the next one.
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
