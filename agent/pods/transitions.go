package pods

import (
	"slices"
	"time"

	"github.com/distribution/reference"

	"github.com/pullprobe/pullprobe/agent/corev1"
)

// Transition is what a new state of a pod shows about an image that one of its
// containers needs: the image is there, or the kubelet has failed again.
type Transition struct {
	Image  string
	Failed bool

	Reason, Message string // the kubelet's, of a failure

	// Waited is how long the container that has the image took to start; known
	// only if Timed.
	Waited time.Duration
	Timed  bool
}

// Transitions compares two states of a pod. An image is there once for every
// container, when that first gets past it: the pod does not show whether anything
// was pulled for that. Images that are never pulled are left out.
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

// Images returns the container's own image and those of its volumes, each once.
func (c Container) Images() []string {
	out := []string{c.Image}
	for _, v := range c.Volumes {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// failedAgain reports whether the kubelet has failed with an image since. It
// reports ErrImagePull after an attempt and ImagePullBackOff before the next one,
// so the latter is a failure of its own only where the former was not seen.
func failedAgain(before, c Container) bool {
	if !c.fails() {
		return false
	}
	was := ""
	if before.fails() {
		was = FailureReason(before.Reason)
	}
	is := FailureReason(c.Reason)
	return is != was && (is != "ImagePullBackOff" || was == "")
}

// FailureReason returns the kubelet's reason for a failure, one of a closed set:
// "other" stands for a bare error.
func FailureReason(reason string) string {
	if slices.Contains(pullFailures, reason) {
		return reason
	}
	return "other"
}

// startWait returns how long container i of a pod took from when the kubelet began
// with it until its first start, as far as the pod shows, in whole seconds.
func startWait(old, now Pod, i int) (time.Duration, bool) {
	c := now.Containers[i]
	if c.StartedAt.IsZero() || slices.ContainsFunc(now.Containers, func(c Container) bool { return len(c.Volumes) > 0 }) {
		return 0, false // the images of all volumes come before the first container
	}
	from := []time.Time{now.Created, c.After}
	// Older kubelets report the sandbox only after the first start, with the time of
	// that report.
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

// RegistryOf returns the registry of an image name; ok is false if the name is not
// valid.
func RegistryOf(image string) (host string, ok bool) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", false
	}
	return reference.Domain(named), true
}
