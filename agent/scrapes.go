package agent

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

const (
	// maxConnections bounds what whoever reaches the metrics port can take of the
	// agent's memory. Who is not let in is hung up on.
	maxConnections = 64
	// maxScrapes is how many collect the metrics at a time.
	maxScrapes = 4
)

// scrapes is the port for metrics. They name the registries and resolvers of the
// node: unless a cluster chooses otherwise, only who may see them does.
func (a *Agent) scrapes(l net.Listener) (port, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), // strangers fill it
	}
	open := netutil.LimitListener(l, maxConnections)
	if !a.opts.MetricsAuth {
		if addr, ok := l.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
			a.log.Warn("everybody who reaches this port gets the metrics, which name registries and resolvers", "address", l.Addr().String(), "setting", "metrics-auth")
		}
		return port{l: open, server: server}, nil
	}
	cert, err := a.certificate()
	if err != nil {
		return port{}, err
	}
	server.Handler = newGate(a.kube.visitor, a.log).before(mux)
	// HTTP/2 is left out: one connection is one request at a time.
	return port{l: tls.NewListener(open, &tls.Config{GetCertificate: cert.get, NextProtos: []string{"http/1.1"}}), server: server}, nil
}

// certificate is that of the metrics port.
func (a *Agent) certificate() (*certificate, error) {
	if a.opts.MetricsCertFile != "" {
		return newCertificate(fromFiles(a.opts.MetricsCertFile, a.opts.MetricsKeyFile), a.log)
	}
	return newCertificate(selfSigned(a.opts.NodeName), a.log)
}
