package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
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
