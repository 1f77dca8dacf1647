// Package metrics holds the agent's Prometheus metrics.
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

// Metrics are the agent's Prometheus metrics; docs/metrics.md describes each.
type Metrics struct {
	Registry *prometheus.Registry

	stuck     prometheus.Gauge
	gauges    *gauges
	podImages *podImages
	examined  *examined
	verdicts  *prometheus.CounterVec
	duration  prometheus.Histogram
	incidents *prometheus.HistogramVec

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

// New returns the metrics of an agent of this version.
func New(version string) *Metrics {
	m := &Metrics{
		Registry:  prometheus.NewRegistry(),
		gauges:    newGauges(),
		podImages: newPodImages(),
		examined:  newExamined(),
		stuck: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pullprobe_stuck_pods", Help: "Pods of this node that wait for an image.",
		}),
		verdicts: counterVec("pullprobe_diagnoses_total", "Diagnoses, by verdict.", "fault", "cause", "confidence"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pullprobe_diagnosis_duration_seconds", Help: "Time from the first check of an image to its verdict.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120},
		}),
		incidents: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pullprobe_incident_duration_seconds", Help: "How long pods waited for an image with one verdict, once that has ended.",
			Buckets: []float64{30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600},
		}, []string{"cause"}),
		testPulls: counterVec("pullprobe_test_pulls_total", "Test pulls, by result and reason.", "result", "reason"),
		testPullDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pullprobe_test_pull_duration_seconds", Help: "Duration of test pulls, by result.",
			Buckets: []float64{.01, .05, .1, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"result"}),
		testPullBytes: counter("pullprobe_test_pull_bytes_total", "Size of the images of test pulls."),
		watchErrors:   counter("pullprobe_watch_errors_total", "Failed attempts to list or watch this node's pods."),
		publishErrors: counter("pullprobe_publish_errors_total", "Failed attempts to write the report or an Event."),
		written:       lateGauge("pullprobe_report_written_timestamp_seconds", "When the report was last written."),
		reloads:       counterVec("pullprobe_config_reloads_total", "Reloads of the configuration file, by result.", "result"),
		reloadedOK:    lateGauge("pullprobe_config_last_reload_successful", "Whether the last reload of the configuration file succeeded."),
		reloadedAt: lateGauge("pullprobe_config_last_reload_success_timestamp_seconds",
			"When a reload of the configuration file last succeeded."),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pullprobe_build_info", Help: "Always 1; the label is the agent's version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.Registry.MustRegister(m.stuck, m.gauges, m.examined, m.verdicts, m.duration, m.incidents,
		m.testPulls, m.testPullDuration, m.testPullBytes, m.watchErrors, m.publishErrors, m.written, m.reloads, m.reloadedOK, m.reloadedAt, build,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	m.Registry.MustRegister(m.podImages.collectors()...)
	return m
}

// lateGauge returns a gauge that is absent until it is set.
func lateGauge(name, help string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, nil)
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// ObserveDiagnosis counts a verdict and how long it took.
func (m *Metrics) ObserveDiagnosis(v report.Verdict, took time.Duration) {
	m.verdicts.WithLabelValues(string(v.Fault), string(v.Cause), string(v.Confidence)).Inc()
	m.duration.Observe(took.Seconds())
}

// ObserveIncident counts how long a verdict lasted.
func (m *Metrics) ObserveIncident(x report.Incident) {
	m.incidents.WithLabelValues(string(x.From.Cause)).Observe(x.Ended.Sub(x.Began).Seconds())
}

// ObserveExamination counts the test pull of an examination, which many pods may
// share, and keeps what the examination shows of quotas and credentials.
func (m *Metrics) ObserveExamination(x examine.Result) {
	m.examined.observe(x.Checks, time.Now())
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
		result, reason = "stopped", pull.Evidence[report.KeyStopped]
		if pull.Evidence[report.KeyTimedOut] != "" {
			reason = "deadline"
		}
		reason = cmp.Or(reason, "runtimeUnavailable")
	case report.Skipped:
		result, reason = "skipped", pull.Evidence[report.KeySkipped]
		if pull.BlockedBy != "" {
			reason = "runtimeUnavailable"
		}
		reason = cmp.Or(reason, "off")
	}
	m.testPulls.WithLabelValues(result, reason).Inc()
	if seconds, ok := number(pull, report.KeySeconds); ok {
		m.testPullDuration.WithLabelValues(result).Observe(seconds)
	}
	if bytes, ok := number(pull, report.KeyBytes); ok && bytes > 0 {
		m.testPullBytes.Add(bytes)
	}
}

// SetPullRate sets the rate of the last test pull from a registry.
func (m *Metrics) SetPullRate(registry string, bytesPerSecond float64) {
	m.examined.addRate(registry, bytesPerSecond, time.Now())
}

// number returns a number of a check's evidence; ok is false if there is none.
func number(c report.Check, key string) (n float64, ok bool) {
	n, err := strconv.ParseFloat(c.Evidence[key], 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// ReportWritten sets when the report was last written.
func (m *Metrics) ReportWritten(at time.Time) { m.written.WithLabelValues().Set(epoch(at)) }

// PublishFailed counts a failed attempt to write the report or an Event.
func (m *Metrics) PublishFailed() { m.publishErrors.Inc() }

// WatchFailed counts a failed attempt to list or watch the pods.
func (m *Metrics) WatchFailed() { m.watchErrors.Inc() }

// SetStuckPods sets how many pods wait for an image, one verdict each.
func (m *Metrics) SetStuckPods(verdicts []report.Conclusion) {
	m.stuck.Set(float64(len(verdicts)))
	m.gauges.setStuck(verdicts)
}

// ObservePod counts what a new state of a pod shows about its images. Of a state that
// is not news it only registers the registries, so that their series begin at zero.
func (m *Metrics) ObservePod(old, now pods.Pod, news bool) { m.podImages.observe(old, now, news) }

// ObserveReload counts a reload of the configuration file, and whether it succeeded.
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
