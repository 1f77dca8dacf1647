// Package metrics holds the agent's Prometheus metrics, and the ports that serve
// them and the health checks.
package metrics

import (
	"cmp"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// metrics are the agent's figures; docs/metrics.md says what each means.
type Metrics struct {
	Registry *prometheus.Registry

	stuck     prometheus.Gauge
	gauges    *gauges
	podImages *podImages
	verdicts  *prometheus.CounterVec
	duration  prometheus.Histogram

	testPulls        *prometheus.CounterVec
	testPullDuration *prometheus.HistogramVec
	testPullBytes    prometheus.Counter

	watchErrors   prometheus.Counter
	publishErrors prometheus.Counter
	written       *prometheus.GaugeVec

	reloads    *prometheus.CounterVec
	reloadedOK *prometheus.GaugeVec
	reloadedAt *prometheus.GaugeVec
}

func New(version string) *Metrics {
	// A gauge without labels is there only once it is set.
	once := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, nil)
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Registry: prometheus.NewRegistry(), gauges: newGauges(), podImages: newPodImages(),
		stuck: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pullprobe_stuck_pods", Help: "Pods of this node that wait for an image.",
		}),
		verdicts: counters("pullprobe_diagnoses_total", "Diagnoses made, by what they came to.", "fault", "cause", "confidence"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pullprobe_diagnosis_duration_seconds", Help: "Time that the examinations of an image took to the verdict.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120},
		}),
		testPulls: counters("pullprobe_test_pulls_total", "Test pulls, by how they ended and why.", "result", "reason"),
		testPullDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pullprobe_test_pull_duration_seconds", Help: "Time that test pulls took, by how they ended.",
			Buckets: []float64{.01, .05, .1, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"result"}),
		testPullBytes: counter("pullprobe_test_pull_bytes_total", "Size of the images that were test-pulled."),
		watchErrors:   counter("pullprobe_watch_errors_total", "Failed attempts to list this node's pods or to begin to watch them."),
		publishErrors: counter("pullprobe_publish_errors_total", "Failed attempts to write the report or an Event."),
		written:       once("pullprobe_report_written_timestamp_seconds", "When the report was last written."),
		reloads:       counters("pullprobe_config_reloads_total", "Configurations that were read anew, by whether they were taken over.", "result"),
		reloadedOK:    once("pullprobe_config_last_reload_successful", "Whether the last configuration that was read was taken over."),
		reloadedAt:    once("pullprobe_config_last_reload_success_timestamp_seconds", "When a configuration was last taken over."),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pullprobe_build_info", Help: "Constant 1, with the agent's version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.Registry.MustRegister(m.stuck, m.gauges, m.verdicts, m.duration, m.testPulls, m.testPullDuration, m.testPullBytes,
		m.watchErrors, m.publishErrors, m.written, m.reloads, m.reloadedOK, m.reloadedAt, build,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	m.Registry.MustRegister(m.podImages.collectors()...)
	return m
}

func (m *Metrics) ObserveDiagnosis(v report.Verdict, took time.Duration) {
	m.verdicts.WithLabelValues(string(v.Fault), string(v.Cause), string(v.Confidence)).Inc()
	m.duration.Observe(took.Seconds())
}

// examined counts the test pull of an examination, which many pods may share.
func (m *Metrics) ObserveExamination(x examine.Result) {
	pull := report.Find(x.Checks, report.IDPull)
	result, reason := "", ""
	switch pull.Outcome {
	case report.Unknown:
		return // there is none
	case report.Pass:
		result, reason = "pulled", "none"
	case report.Fail:
		result, reason = "failed", string(pull.Cause)
	case report.Error:
		result, reason = "stopped", pull.Evidence["stopped"]
		if pull.Evidence["timedOut"] != "" {
			reason = "deadline"
		}
		reason = cmp.Or(reason, "runtimeUnavailable")
	case report.Skipped:
		result, reason = "skipped", pull.Evidence["skipped"]
		if pull.BlockedBy != "" {
			reason = "runtimeUnavailable"
		}
		reason = cmp.Or(reason, "off")
	}
	m.testPulls.WithLabelValues(result, reason).Inc()
	if seconds, ok := number(pull, "seconds"); ok {
		m.testPullDuration.WithLabelValues(result).Observe(seconds)
	}
	if bytes, ok := number(pull, "bytes"); ok && bytes > 0 {
		m.testPullBytes.Add(bytes)
	}
}

// figure is a number from a check's evidence, if it has that.
func number(c report.Check, key string) (float64, bool) {
	n, err := strconv.ParseFloat(c.Evidence[key], 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// reportWritten notes that the report was written.
func (m *Metrics) ReportWritten(at time.Time) { m.written.WithLabelValues().Set(epoch(at)) }

// publishFailed counts a failed write of the report or of an Event.
func (m *Metrics) PublishFailed() { m.publishErrors.Inc() }

// watchFailed counts a failed list or watch of the pods.
func (m *Metrics) WatchFailed() { m.watchErrors.Inc() }

// setStuck sets how many pods wait for an image.
func (m *Metrics) SetStuckPods(n int) { m.stuck.Set(float64(n)) }

// podSeen counts what a new state of a pod tells of its images.
func (m *Metrics) ObservePod(old, now pods.Pod, news bool) { m.podImages.observe(old, now, news) }

// reloaded notes that a configuration was read anew, and whether it was taken
// over.
func (m *Metrics) ObserveReload(ok bool, at time.Time) {
	if !ok {
		m.reloads.WithLabelValues("failure").Inc()
		m.reloadedOK.WithLabelValues().Set(0)
		return
	}
	m.reloads.WithLabelValues("success").Inc()
	m.reloadedOK.WithLabelValues().Set(1)
	m.reloadedAt.WithLabelValues().Set(epoch(at))
}

func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
