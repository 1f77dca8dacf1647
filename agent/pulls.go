package agent

import (
	"slices"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/classify"
)

// arrival is what a new state of a pod tells of an image that one of its
// containers wants: it is there, or the kubelet has failed once more.
type arrival struct {
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
func arrivals(old, now pod) []arrival {
	var out []arrival
	for i, c := range now.Containers {
		before, _ := old.container(c.Name)
		if c.HasImage && !before.HasImage {
			for _, image := range c.images() {
				if c.policy(image) == corev1.PullNever {
					continue
				}
				a := arrival{Image: image}
				if image == c.Image {
					a.Waited, a.Timed = startWait(old, now, i)
				}
				out = append(out, a)
			}
		}
		if failedAnew(before, c) && !now.Deleting {
			out = append(out, arrival{Image: c.blamed(), Failed: true, Reason: c.Reason, Message: c.Message})
		}
	}
	return out
}

// images are the container's own and those of its volumes, each once.
func (c container) images() []string {
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
func failedAnew(before, c container) bool {
	if !c.pullFails() {
		return false
	}
	was := ""
	if before.pullFails() {
		was = reasonLabel(before.Reason)
	}
	is := reasonLabel(c.Reason)
	return is != was && (is != "ImagePullBackOff" || was == "")
}

// reasonLabel is one of a closed set: a bare error is no word of the kubelet's.
func reasonLabel(reason string) string {
	if slices.Contains(pullFailures, reason) {
		return reason
	}
	return other
}

// startWait is how long container i of a pod took from when the kubelet came
// to it until its first start, as far as the pod tells, in whole seconds.
func startWait(old, now pod, i int) (time.Duration, bool) {
	c := now.Containers[i]
	if c.StartedAt.IsZero() || slices.ContainsFunc(now.Containers, func(c container) bool { return len(c.Volumes) > 0 }) {
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

// registryOf is the registry that an image name means.
func registryOf(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return invalid
	}
	return reference.Domain(named)
}

// What stands for a registry in labels where its name does not; no registry
// has such a name, for want of a dot or a port.
const (
	invalid = "invalid" // the image name cannot be read
	other   = "other"   // there are too many
)

// Tenants name the registries, and their servers the causes, so both are
// bounded. The place of a registry is free again when no image of it has come
// or failed for a while.
const (
	maxRegistries = 100
	maxFailures   = 500
	idleRegistry  = time.Hour
)

// pulls counts what becomes of the images that the pods of this node want, by
// registry.
type pulls struct {
	images   *prometheus.CounterVec
	failures *prometheus.CounterVec
	wait     *prometheus.HistogramVec

	mu   sync.Mutex
	used map[string]time.Time   // the registries that have a place, and when each was last seen
	seen map[failureLabels]bool // series of failures
}

type failureLabels struct{ registry, reason, cause string }

func newPulls() *pulls {
	return &pulls{
		images: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pullprobe_pod_images_total",
			Help: "Images that containers of this node wanted, by what came of it: ready (once a container; pulled or present already) or failed (every failed attempt that the pod's status shows).",
		}, []string{"registry", "result"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pullprobe_pod_image_failures_total",
			Help: "Failures of the kubelet to have an image for a container, by its own reason and the cause that its words tell.",
		}, []string{"registry", "reason", "cause"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pullprobe_container_start_wait_seconds",
			Help:    "Time from when the kubelet came to a container until its first start, by the registry of its image.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800},
		}, []string{"registry"}),
		used: map[string]time.Time{}, seen: map[failureLabels]bool{},
	}
}

// saw counts what a new state of a pod tells. Of what is no news only the
// registries are taken up, so that their series begin at zero.
func (p *pulls) saw(old, now pod, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if old.UID == "" {
		for _, c := range now.Containers {
			for _, image := range c.images() {
				p.registry(registryOf(image), at)
			}
		}
	}
	if !news {
		return
	}
	for _, a := range arrivals(old, now) {
		p.count(a, at)
	}
}

func (p *pulls) count(a arrival, at time.Time) {
	registry := p.registry(registryOf(a.Image), at)
	switch {
	case !a.Failed:
		p.images.WithLabelValues(registry, "ready").Inc()
		if a.Timed {
			p.wait.WithLabelValues(registry).Observe(a.Waited.Seconds())
		}
		return
	case a.Reason != "ErrImageNeverPull" && a.Reason != "InvalidImageName": // else no registry was asked
		p.images.WithLabelValues(registry, "failed").Inc()
	}
	l := failureLabels{registry, reasonLabel(a.Reason), string(classify.Message(a.Reason + ": " + a.Message).Cause)}
	if !p.seen[l] && len(p.seen) >= maxFailures {
		l.registry = other
	} else {
		p.seen[l] = true
	}
	p.failures.WithLabelValues(l.registry, l.reason, l.cause).Inc()
}

// registry gives a registry its label, and makes room for it if it can.
func (p *pulls) registry(host string, at time.Time) string {
	if _, known := p.used[host]; !known && len(p.used) >= maxRegistries {
		oldest := ""
		for h, t := range p.used {
			if oldest == "" || t.Before(p.used[oldest]) {
				oldest = h
			}
		}
		if at.Sub(p.used[oldest]) < idleRegistry {
			return other
		}
		p.forget(oldest)
	}
	p.used[host] = at
	for _, result := range []string{"ready", "failed"} {
		p.images.WithLabelValues(host, result)
	}
	return host
}

// forget takes a registry's series away.
func (p *pulls) forget(host string) {
	delete(p.used, host)
	for l := range p.seen {
		if l.registry == host {
			delete(p.seen, l)
		}
	}
	of := prometheus.Labels{"registry": host}
	p.images.DeletePartialMatch(of)
	p.failures.DeletePartialMatch(of)
	p.wait.DeletePartialMatch(of)
}

// collectors are what p counts with.
func (p *pulls) collectors() []prometheus.Collector {
	return []prometheus.Collector{p.images, p.failures, p.wait}
}
