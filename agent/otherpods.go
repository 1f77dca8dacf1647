package agent

import (
	"maps"
	"slices"
	"strconv"

	corev1 "github.com/pullprobe/pullprobe/agent/corev1"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/probes/similar"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// addSecretOfOthers adds to the check of a pod a pull secret that other pods of its
// namespace use, and that the pod probably means: it has nearly the name of one of the
// pod's, which none of them uses; or they run images of the same registry with it.
func addSecretOfOthers(c *report.Check, p pods.Pod, image string, all []pods.Pod) {
	users, sameRegistry := map[string]int{}, map[string]int{}
	registry, _ := pods.RegistryOf(image)
	for _, other := range all {
		if other.Namespace != p.Namespace || other.UID == p.UID || other.Owner.Name != "" && other.Owner == p.Owner {
			continue
		}
		runsImage := other.Phase == corev1.PodRunning && slices.ContainsFunc(other.Containers, func(c pods.Container) bool {
			host, ok := pods.RegistryOf(c.Image)
			return ok && host == registry && c.Started
		})
		for _, name := range other.PullSecrets {
			users[name]++
			if runsImage {
				sameRegistry[name]++
			}
		}
	}
	found, uses := "", 0
	for _, name := range p.PullSecrets {
		near := similar.Near(name, slices.Sorted(maps.Keys(users)))
		if near != "" && users[name] == 0 && !slices.Contains(p.PullSecrets, near) {
			found, uses = near, users[near]
		}
	}
	if found == "" {
		for _, name := range slices.Sorted(maps.Keys(sameRegistry)) {
			if sameRegistry[name] > uses && !slices.Contains(p.PullSecrets, name) {
				found, uses = name, sameRegistry[name]
			}
		}
		if found != "" {
			c.Evidence[report.KeySimilarFor] = registry
		}
	}
	if found != "" {
		c.Evidence[report.KeySimilarSecret], c.Evidence[report.KeySimilarUsers] = found, strconv.Itoa(uses)
	}
}

// addNewerImage adds to the check of a pod the image that the newest pod of the same owner
// has for the same container, if that was made later from another template.
func addNewerImage(c *report.Check, p pods.Pod, container string, all []pods.Pod) {
	newest := p
	for _, other := range all {
		if other.Namespace == p.Namespace && other.Owner.Name == p.Owner.Name && other.Template != "" && other.Created.After(newest.Created) {
			newest = other
		}
	}
	if p.Template == "" || newest.Template == p.Template {
		return
	}
	image, now := p.ImageOf(container), newest.ImageOf(container)
	if now != "" && now != image {
		c.Evidence[report.KeyNewerImage] = readable.Clean(now, 512)
	}
}
