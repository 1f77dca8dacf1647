package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pullprobe/pullprobe/report"
)

// pulse is the time of the last look at a pod.
type pulse struct{ at atomic.Pointer[time.Time] } // not a number: clocks are set

func (p *pulse) beat()              { now := time.Now(); p.at.Store(&now) }
func (p *pulse) age() time.Duration { return time.Since(*p.at.Load()) }

// unwell is how long there may be none. A sign of life is queued with every
// round of clean-up, of which the longest lies well within it.
const unwell = 5 * time.Minute

// listen opens the port for health and metrics; what it returns serves there
// until its context ends.
func (a *Agent) listen() (func(context.Context), error) {
	a.pulse.beat()
	if a.opts.HealthAddr == "" {
		return func(context.Context) {}, nil
	}
	l, err := net.Listen("tcp", a.opts.HealthAddr) //nolint:noctx // of a literal address: it does not wait
	if err != nil {
		return nil, fmt.Errorf("--health-addr: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if age := a.pulse.age(); age > unwell {
			http.Error(w, fmt.Sprintf("no sign of life for %v", age.Round(time.Second)), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case !a.pods.hasSynced():
			http.Error(w, "the pods of this node have not been listed yet", http.StatusServiceUnavailable)
		case a.publish.lastPublished().IsZero():
			http.Error(w, "the report has not been published yet", http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "ok")
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	return func(ctx context.Context) {
		stop := context.AfterFunc(ctx, func() { _ = server.Close() })
		defer stop()
		if err := server.Serve(l); err != nil && ctx.Err() == nil {
			a.log.Error("health port failed", "error", err)
		}
	}, nil
}

// metrics are the agent's own figures.
type metrics struct {
	registry      *prometheus.Registry
	stuck         prometheus.Gauge
	publishErrors prometheus.Counter
	diagnoses     *prometheus.CounterVec
	duration      prometheus.Histogram
}

func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		stuck: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pullprobe_stuck_pods", Help: "Pods of this node that wait for an image.",
		}),
		publishErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pullprobe_publish_errors_total", Help: "Failed attempts to write the report or an Event.",
		}),
		diagnoses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pullprobe_diagnoses_total", Help: "Diagnoses made, by cause.",
		}, []string{"cause"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pullprobe_diagnosis_duration_seconds", Help: "Time from looking at a pod to its verdict.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120},
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pullprobe_build_info", Help: "Constant 1, with the agent's version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.stuck, m.publishErrors, m.diagnoses, m.duration, build,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return m
}

func (m *metrics) diagnosed(v report.Verdict, took time.Duration) {
	m.diagnoses.WithLabelValues(string(v.Cause)).Inc()
	m.duration.Observe(took.Seconds())
}
