package fleet

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/pullprobe/pullprobe/compare"
)

// metrics are the fleet's Prometheus metrics. A replica that is not the
// leader has values of its process only.
type metrics struct {
	registry *prometheus.Registry
	leading  prometheus.Gauge
	nodes    *prometheus.GaugeVec
	findings *prometheus.GaugeVec
	silent   prometheus.Gauge
	oldest   prometheus.Gauge
	writes   prometheus.Counter
	failed   prometheus.Counter
}

func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		leading: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pullprobe_fleet_leader", Help: "1 if this replica is the leader, else 0.",
		}),
		nodes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pullprobe_fleet_nodes", Help: "Nodes that get through to a registry, that fail, and whose observation does not count.",
		}, []string{"registry", "state"}),
		findings: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pullprobe_fleet_findings", Help: "What the nodes show together, by cause and by who must act.",
		}, []string{"cause", "fault"}),
		silent: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pullprobe_fleet_silent_nodes", Help: "Nodes without a report, with one that cannot be read, or with one that is too old.",
		}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pullprobe_fleet_oldest_report_timestamp_seconds", Help: "When the oldest report that counts was written; 0: there is none.",
		}),
		writes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pullprobe_fleet_writes_total", Help: "Writes of the fleet's ConfigMap.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pullprobe_fleet_failed_rounds_total", Help: "Comparisons whose result could not be written.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pullprobe_fleet_build_info", Help: "Always 1; the label has the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(
		m.leading, m.nodes, m.findings, m.silent, m.oldest, m.writes, m.failed, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// The values of the label state: as compare names them.
const (
	stateThrough = "through"
	stateFailing = "failing"
	stateOther   = "not_counted"
)

// observe sets what one comparison found.
func (m *metrics) observe(r compare.Result, oldest time.Time) {
	m.nodes.Reset()
	for _, t := range r.Hosts {
		m.nodes.WithLabelValues(t.Host, stateThrough).Set(float64(t.Through))
		m.nodes.WithLabelValues(t.Host, stateFailing).Set(float64(t.Failing))
		m.nodes.WithLabelValues(t.Host, stateOther).Set(float64(t.Other))
	}
	m.findings.Reset()
	for _, f := range r.Findings {
		m.findings.WithLabelValues(string(f.Cause), string(f.Fault)).Inc()
	}
	m.silent.Set(float64(r.Silent.Count))
	m.oldest.Set(0)
	if !oldest.IsZero() {
		m.oldest.Set(float64(oldest.Unix()))
	}
}
