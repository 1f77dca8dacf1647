package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/classify"
)

// registryOf returns the registry of an image name, or invalidRegistry.
func registryOf(image string) string {
	if host, ok := pods.RegistryOf(image); ok {
		return host
	}
	return invalidRegistry
}

// The values of the label registry that are not a registry. No registry has such a
// name, which has neither a dot nor a port.
const (
	invalidRegistry = "invalid" // the image name is not valid
	otherRegistries = "other"   // beyond the limit
)

// Tenants name the registries, and their servers determine the causes, so the number
// of both is limited. A registry is removed when no image of it has arrived or failed
// for a while and another one needs its place.
const (
	maxRegistries   = 100
	maxFailures     = 500
	registryIdleTTL = time.Hour
)

// podImages counts what happens to the images that the pods of this node need, by
// registry.
type podImages struct {
	images   *prometheus.CounterVec
	failures *prometheus.CounterVec
	wait     *prometheus.HistogramVec

	mu            sync.Mutex
	registries    map[string]time.Time   // that have series, and when each was last seen
	failureSeries map[failureLabels]bool // series of failures
}

type failureLabels struct{ registry, reason, cause string }

func newPodImages() *podImages {
	return &podImages{
		images: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pullprobe_pod_images_total",
			Help: "Images that containers of this node needed, by result: ready (once per container; pulled or already present) " +
				"or failed (every failed attempt that the pod's status shows).",
		}, []string{"registry", "result"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pullprobe_pod_image_failures_total",
			Help: "Failures of the kubelet to pull an image for a container, by the kubelet's reason and the cause in its message.",
		}, []string{"registry", "reason", "cause"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pullprobe_container_start_wait_seconds",
			Help:    "Time from when the kubelet began with a container to its first start, by the registry of its image.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800},
		}, []string{"registry"}),
		registries: map[string]time.Time{}, failureSeries: map[failureLabels]bool{},
	}
}

// observe implements [Metrics.ObservePod].
func (p *podImages) observe(old, now pods.Pod, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if old.UID == "" {
		for _, c := range now.Containers {
			for _, image := range c.Images() {
				p.registryLabel(registryOf(image), at)
			}
		}
	}
	if !news {
		return
	}
	for _, a := range pods.Transitions(old, now) {
		p.count(a, at)
	}
}

func (p *podImages) count(a pods.Transition, at time.Time) {
	registry := p.registryLabel(registryOf(a.Image), at)
	switch {
	case !a.Failed:
		p.images.WithLabelValues(registry, "ready").Inc()
		if a.Timed {
			p.wait.WithLabelValues(registry).Observe(a.Waited.Seconds())
		}
		return
	case a.Reason != "ErrImageNeverPull" && a.Reason != "InvalidImageName": // else the kubelet contacted no registry
		p.images.WithLabelValues(registry, "failed").Inc()
	}
	l := failureLabels{registry, pods.FailureReason(a.Reason), string(classify.Message(a.Reason + ": " + a.Message).Cause)}
	if !p.failureSeries[l] && len(p.failureSeries) >= maxFailures {
		l.registry = otherRegistries
	} else {
		p.failureSeries[l] = true
	}
	p.failures.WithLabelValues(l.registry, l.reason, l.cause).Inc()
}

// registryLabel returns the label for a registry: otherRegistries if there are too
// many. It adds the registry's series.
func (p *podImages) registryLabel(host string, at time.Time) string {
	if _, known := p.registries[host]; !known && len(p.registries) >= maxRegistries {
		oldest := ""
		for h, t := range p.registries {
			if oldest == "" || t.Before(p.registries[oldest]) {
				oldest = h
			}
		}
		if at.Sub(p.registries[oldest]) < registryIdleTTL {
			return otherRegistries
		}
		p.forget(oldest)
	}
	p.registries[host] = at
	for _, result := range []string{"ready", "failed"} {
		p.images.WithLabelValues(host, result)
	}
	p.wait.WithLabelValues(host)
	return host
}

// forget removes a registry's series.
func (p *podImages) forget(host string) {
	delete(p.registries, host)
	for l := range p.failureSeries {
		if l.registry == host {
			delete(p.failureSeries, l)
		}
	}
	of := prometheus.Labels{"registry": host}
	p.images.DeletePartialMatch(of)
	p.failures.DeletePartialMatch(of)
	p.wait.DeletePartialMatch(of)
}

// collectors returns what p counts with.
func (p *podImages) collectors() []prometheus.Collector {
	return []prometheus.Collector{p.images, p.failures, p.wait}
}
