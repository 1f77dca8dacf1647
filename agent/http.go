package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// pulse is the time of the last look at a pod.
type pulse struct{ at atomic.Pointer[time.Time] } // not a number: clocks are set

func (p *pulse) beat()              { now := time.Now(); p.at.Store(&now) }
func (p *pulse) age() time.Duration { return time.Since(*p.at.Load()) }

// unwell is how long there may be none. A sign of life is queued with every
// round of clean-up, of which the longest lies well within it.
const unwell = 5 * time.Minute

// port is one that the agent serves.
type port struct {
	flag   string
	l      net.Listener
	server *http.Server
}

// serve serves until ctx ends.
func (p port) serve(ctx context.Context, log *slog.Logger) {
	stop := context.AfterFunc(ctx, func() { _ = p.server.Close() })
	defer stop()
	if err := p.server.Serve(p.l); err != nil && ctx.Err() == nil {
		log.Error("a port failed", "port", p.flag, "error", err)
	}
}

// listen opens the ports that are asked for.
func (a *Agent) listen() (ports []port, err error) {
	a.pulse.beat()
	for _, f := range []struct {
		flag, addr string
		open       func(net.Listener) (port, error)
	}{{"health-addr", a.opts.HealthAddr, a.health}, {"metrics-addr", a.opts.MetricsAddr, a.scrapes}} {
		if f.addr == "" {
			continue
		}
		var p port
		l, err := net.Listen("tcp", f.addr) //nolint:noctx // of a literal address: it does not wait
		if err == nil {
			if p, err = f.open(l); err != nil {
				_ = l.Close()
			}
		}
		if err != nil {
			for _, p := range ports {
				_ = p.l.Close()
			}
			return nil, fmt.Errorf("--%s: %w", f.flag, err)
		}
		p.flag = f.flag
		ports = append(ports, p)
	}
	return ports, nil
}

// health is the port that the kubelet asks.
func (a *Agent) health(l net.Listener) (port, error) {
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
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	return port{l: l, server: server}, nil
}
