package pods

import (
	"slices"
	"time"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
)

// arrival is what a new state of a pod tells of an image that one of its
// containers wants: it is there, or the kubelet has failed once more.
type Transition struct {
	Image  string
	Failed bool

	Reason, Message string // the kubelet's, of a failure

	// Waited is how long the container that has the image took to start; known
	// only if Timed.
	Waited time.Duration
	Timed  bool
}

// arrivals compares two states of a pod. An image is there once for every
// container, when that first gets past it: whether anything was pulled for
// that, the pod does not tell. Images that are never pulled are no arrivals.
func Transitions(old, now Pod) []Transition {
	var out []Transition
	for i, c := range now.Containers {
		before, _ := old.containerNamed(c.Name)
		if c.HasImage && !before.HasImage {
			for _, image := range c.Images() {
				if c.policy(image) == corev1.PullNever {
					continue
				}
				a := Transition{Image: image}
				if image == c.Image {
					a.Waited, a.Timed = startWait(old, now, i)
				}
				out = append(out, a)
			}
		}
		if failedAgain(before, c) && !now.Deleting {
			out = append(out, Transition{Image: c.failingImage(), Failed: true, Reason: c.Reason, Message: c.Message})
		}
	}
	return out
}

// images are the container's own and those of its volumes, each once.
func (c Container) Images() []string {
	out := []string{c.Image}
	for _, v := range c.Volumes {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// failedAnew reports whether the kubelet has failed with an image since. It
// says ErrImagePull after an attempt and ImagePullBackOff before the next one,
// so that the latter is a failure of its own only where the former went unseen.
func failedAgain(before, c Container) bool {
	if !c.pullFails() {
		return false
	}
	was := ""
	if before.pullFails() {
		was = FailureReason(before.Reason)
	}
	is := FailureReason(c.Reason)
	return is != was && (is != "ImagePullBackOff" || was == "")
}

// reasonLabel is one of a closed set: "other" stands for a bare error, which is
// no reason of the kubelet's.
func FailureReason(reason string) string {
	if slices.Contains(pullFailures, reason) {
		return reason
	}
	return "other"
}

// startWait is how long container i of a pod took from when the kubelet came
// to it until its first start, as far as the pod tells, in whole seconds.
func startWait(old, now Pod, i int) (time.Duration, bool) {
	c := now.Containers[i]
	if c.StartedAt.IsZero() || slices.ContainsFunc(now.Containers, func(c Container) bool { return len(c.Volumes) > 0 }) {
		return 0, false // the images of all volumes come before the first container
	}
	from := []time.Time{now.Created, c.After}
	// Older kubelets say only after the first start that the sandbox stands, and
	// then since when they know.
	if ready := now.SandboxReady; ready.Before(c.StartedAt) || ready.Equal(old.SandboxReady) {
		from = append(from, ready)
	}
	for _, earlier := range now.Containers[:i] {
		if earlier.Init || c.Ephemeral {
			continue
		}
		// The kubelet starts one after the other.
		if earlier.StartedAt.IsZero() {
			return 0, false // what it took for that one would count as this one's
		}
		from = append(from, earlier.StartedAt)
	}
	latest := slices.MaxFunc(from, time.Time.Compare).Truncate(time.Second)
	return c.StartedAt.Sub(latest), !c.StartedAt.Before(latest)
}

// registryOf returns the registry that an image name means; ok is false if the
// name is not valid.
func RegistryOf(image string) (host string, ok bool) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", false
	}
	return reference.Domain(named), true
}
