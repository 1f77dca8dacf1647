package pods

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"

	"github.com/pullprobe/pullprobe/agent/corev1"
)

// quotedImage matches how the kubelet and containerd name the image that they work on. The
// quotes are escaped where one message quotes another. Other quoted names may be anything.
// It is compiled when a pull fails: most nodes never need it.
var quotedImage = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:` + quotedAfter + `) \\?"([^"\\]+)\\?"`) })

var quotedAfter = strings.Join([]string{
	"[Pp]ulling image", "pull image", "pull and unpack image", "Container image", // pkg/kubelet/images, image_pull.go
	"default image tag", "parse image name", "parse image reference", // InvalidImageName
	"resolve image", "resolve reference",
}, "|")

// aboutOtherImage returns the image that the waiting message is about if the container
// does not have it, because its image was changed; else an empty string. The kubelet
// reports the last message until it has tried the new image. A message that names no
// image is about that of the status, which a container that never ran has from the spec.
func (c Container) aboutOtherImage(s corev1.ContainerStatus) string {
	if !c.pullFails() {
		return ""
	}
	other := ""
	for _, m := range quotedImage().FindAllStringSubmatch(c.Message, -1) {
		if c.has(m[1]) {
			return ""
		}
		if other == "" && !strings.HasPrefix(m[1], "sha256:") {
			other = strings.Clone(m[1])
		}
	}
	if other == "" && s.Image != "" && s.ImageID == "" && !c.Started && !c.has(s.Image) {
		other = s.Image
	}
	return other
}

// has reports whether an image is the container's own or that of one of its volumes.
func (c Container) has(image string) bool {
	name := normalized(image)
	return name == normalized(c.Image) || slices.ContainsFunc(c.Volumes, func(v string) bool { return name == normalized(v) })
}

// normalized returns an image name as runtimes write it: "nginx" is
// "docker.io/library/nginx:latest", and a digest drops the tag beside it. An invalid name
// stays as it is.
func normalized(image string) string {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return image
	}
	return named.String()
}

// follow takes over what earlier states of the container have shown of its image and of
// the last failure.
func (c *Container) follow(before Container, now time.Time) {
	c.Changed, c.FailedAt = before.Changed, before.FailedAt
	changed := before.Image != c.Image
	if changed {
		c.Changed, c.FailedAt = now, time.Time{}
	}
	same := c.Reason == before.Reason && c.Message == before.Message
	if c.About != "" || !same || !c.pullFails() || len(quotedImage().FindString(c.Message)) > 0 {
		return
	}
	switch { // the message names no image, and it was there before
	case changed && before.About == "":
		c.About = before.Image
	case before.About != "":
		c.About = before.About
	}
}

// failedAnew reports whether the kubelet has failed since. It does not report every
// attempt: another message shows one, too.
func failedAnew(before, c Container) bool {
	if failedAgain(before, c) {
		return true
	}
	is, was := c.failure(), before.failure()
	return c.fails() && before.fails() && is != "" && was != "" && is != was
}

// backOffPrefix is what the kubelet puts before the last failure while it waits
// (pkg/kubelet/images/image_manager.go, pullImage). Older ones do not add the failure.
var backOffPrefix = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^Back-off pulling image(?: "[^"]*")?(?:: (?:\w+: )?|$)`)
})

// failure returns the message of the last attempt, whether the kubelet reports it after
// the attempt or before the next one.
func (c Container) failure() string { return backOffPrefix().ReplaceAllString(c.Message, "") }
