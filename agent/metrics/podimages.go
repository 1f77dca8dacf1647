package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/classify"
)

// registryLabel returns the registry that an image name means.
func registryLabel(image string) string {
	if host, ok := pods.RegistryOf(image); ok {
		return host
	}
	return invalid
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
func (p *pulls) saw(old, now pods.Pod, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if old.UID == "" {
		for _, c := range now.Containers {
			for _, image := range c.Images() {
				p.registry(registryLabel(image), at)
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

func (p *pulls) count(a pods.Transition, at time.Time) {
	registry := p.registry(registryLabel(a.Image), at)
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
	l := failureLabels{registry, pods.FailureReason(a.Reason), string(classify.Message(a.Reason + ": " + a.Message).Cause)}
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
