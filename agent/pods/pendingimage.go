package pods

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// PendingImage is one image of a pod that has to be checked.
type PendingImage struct {
	Container string
	Image     string
	Policy    corev1.PullPolicy
	Reason    string
	Message   string
	Failing   bool      // the kubelet reports that the pull fails
	FailedAt  time.Time // when its last failure was first seen
	About     string    // the image that the last message is about, if that is another one
	Creating  bool      // the kubelet has reported neither a failure nor the image
	Started   bool      // the container got past its image
	Seen      time.Time // as of when this is so; only [Pod.AllImages] sets it
	// ForSandbox means that Image is not the pod's own but the runtime's sandbox
	// image, which every pod needs before its own.
	ForSandbox bool

	Since   time.Time // when the kubelet began with the container, as far as the pod shows
	Sandbox string    // one of the states below; empty where it does not matter
}

// The states of a pod's sandbox: evidence "sandbox" of the pod check.
const (
	SandboxReady   = "ready"
	SandboxAbsent  = "absent" // the pod waits for a volume, the network or the sandbox's image
	SandboxUnknown = "unknown"
)

// ImageReady reports whether the container waits for something that comes after
// its image. That is every reason of the kubelet's except pull failures and those
// of a container that is still being created, or not begun.
func (w PendingImage) ImageReady() bool {
	return w.Reason != "" && !w.Failing && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" &&
		!slices.Contains(pullFailures, w.Reason)
}

// pullFailures are the kubelet's waiting reasons for an image
// (pkg/kubelet/images/types.go, cri-api pkg/errors; RegistryUnavailable is from
// older kubelets).
var pullFailures = []string{
	"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
	"RegistryUnavailable", "SignatureValidationFailed",
}

// fails reports whether the kubelet has failed with the images that the container has now.
func (c Container) fails() bool { return c.pullFails() && c.About == "" }

// pullFails reports whether the waiting state is about an image. A reason of
// several words is the kubelet's bare error: it uses that for pull secrets that
// it cannot decode (image_manager.go, EnsureImageExists).
func (c Container) pullFails() bool {
	return slices.Contains(pullFailures, c.Reason) || strings.Contains(c.Reason, " ") && !c.Started
}

// The kubelet's back-off between two pulls of an image for a pod doubles from the first
// to the last (pkg/kubelet/kubelet.go: backOffPeriod, MaxImageBackOff).
const (
	firstBackOff = 10 * time.Second
	lastBackOff  = 5 * time.Minute
)

// NextPull returns about when the kubelet pulls next; zero if it has not failed. All
// back-offs before the last failure add up to the time from the first attempt to it.
func (w PendingImage) NextPull() time.Time {
	if !w.Failing || w.FailedAt.IsZero() || w.Policy == corev1.PullNever {
		return time.Time{}
	}
	passed := max(0, w.FailedAt.Sub(w.Since))
	return w.FailedAt.Add(min(passed+firstBackOff, lastBackOff))
}

// GracePeriod is how long the kubelet may work on a container before its image is
// checked although nothing has failed.
const GracePeriod = 10 * time.Second

// isCreating reports whether the kubelet has reported nothing about this container
// yet, or nothing since its image was changed. In a pod with init containers the
// reason is "PodInitializing" for all of them, the init containers included
// (kubelet_pods.go, convertToAPIContainerStatuses).
func (c Container) isCreating() bool {
	return c.Reason == "ContainerCreating" || c.Reason == "PodInitializing" || c.pullFails() && c.About != ""
}

// wantedSince returns the earliest time at which the kubelet can have needed the
// images of a container. The sandbox may be younger: older kubelets report it only
// after the first pull, so nothing follows from a missing condition.
func (p Pod) wantedSince(c Container) time.Time {
	at := p.Created
	for _, t := range []time.Time{p.SandboxReady, c.After, c.Changed} {
		if t.After(at) {
			at = t
		}
	}
	return at
}

// PendingImages returns the images that the pod waits for at a time, in the
// kubelet's order: those whose pull fails, and those of containers that have been
// "creating" for longer than the grace period. Only the runtime knows whether the
// latter are really absent, and whether the sandbox exists. A pod that is being
// deleted waits for nothing.
func (p Pod) PendingImages(now time.Time) []PendingImage {
	if p.Deleting || p.Phase == corev1.PodSucceeded || p.Phase == corev1.PodFailed {
		return nil
	}
	var out []PendingImage
	add := func(c Container, image string, w PendingImage) {
		w.Container, w.Image, w.Policy = c.Name, image, c.policy(image)
		w.setState(c)
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
		case c.fails():
			add(c, c.failingImage(), PendingImage{Failing: true, FailedAt: c.FailedAt, Since: since})
		case c.isCreating() && c.Next && overdue(since):
			add(c, c.Image, PendingImage{Creating: true, Since: since})
		}
	}
	return out
}

// setState adds what the kubelet reports of the container. A message about another image
// is left out.
func (w *PendingImage) setState(c Container) {
	w.Started, w.About = c.Started, c.About
	if c.About == "" {
		w.Reason, w.Message = c.Reason, c.Message
	}
}

// failingImage returns the image that the waiting message is about: an image
// volume that it quotes, else the container's own image. The kubelet reports both
// in the same place (kuberuntime_manager.go, getImageVolumes).
func (c Container) failingImage() string {
	for _, v := range c.Volumes {
		if strings.Contains(c.Message, `"`+v+`"`) && !strings.Contains(c.Message, `"`+c.Image+`"`) {
			return v
		}
	}
	return c.Image
}

// AllImages returns every image of the pod, for a request about a pod that is not
// stuck, or not with all of its images.
func (p Pod) AllImages(now time.Time) []PendingImage {
	out := p.PendingImages(now)
	for _, c := range p.Containers {
		for _, image := range append([]string{c.Image}, c.Volumes...) {
			w := PendingImage{Container: c.Name, Image: image, Policy: c.policy(image), Since: p.wantedSince(c), Seen: now}
			w.setState(c)
			if !p.Covers(out, w) {
				out = append(out, w)
			}
		}
	}
	return out
}

// policy returns the pull policy of the container's image, or of one of its image
// volumes.
func (c Container) policy(image string) corev1.PullPolicy {
	if v, volume := c.ImageVolumes[image]; volume && image != c.Image {
		return v.Policy
	}
	return c.Policy
}

// UsesImage reports whether the pod still has this image: its owner may change it.
func (p Pod) UsesImage(image string) bool {
	return slices.ContainsFunc(p.Containers, func(c Container) bool { return c.Image == image || slices.Contains(c.Volumes, image) })
}

// NextOverdue returns when the next grace period of a creating container ends
// after now; zero if none does.
func (p Pod) NextOverdue(now time.Time) time.Time {
	var next time.Time
	for _, c := range p.Containers {
		if !c.isCreating() || !c.Next || p.Deleting {
			continue
		}
		if at := p.wantedSince(c).Add(GracePeriod); at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}
