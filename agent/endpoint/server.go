// Package endpoint serves metrics and health checks: who may read the metrics, and with
// which certificate.
package endpoint

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// ServerConfig is what the agent's two ports need.
type ServerConfig struct {
	HealthAddr string       // empty: no such port
	Alive      func() error // why /healthz fails; nil: it does not
	Ready      func() error // why /readyz fails; nil: it does not
	CanPull    func() error // why /pullz fails; nil: it does not. Without the function there is no /pullz

	MetricsAddr string // empty: no such port
	Gatherer    prometheus.Gatherer
	Auth        bool // HTTPS, and a bearer token that Authorize accepts
	Authorize   func(ctx context.Context, token string) (status int, err error)
	CertFile    string // empty: a self-signed certificate for NodeName
	KeyFile     string
	NodeName    string

	Log *slog.Logger
}

const (
	// maxConnections bounds the memory of the agent that callers of the metrics
	// port can use. A rejected caller is disconnected.
	maxConnections = 64
	// maxScrapes is how many scrapes are answered at a time.
	maxScrapes = 4
)

// Server is one port that the agent serves.
type Server struct {
	flag string
	l    net.Listener
	http *http.Server
	auth *authenticator // nil: no authentication
}

// Listen opens the ports that are configured.
func Listen(c ServerConfig) (servers []*Server, err error) {
	for _, f := range []struct {
		flag, addr string
		open       func(net.Listener) (*Server, error)
	}{{"health-addr", c.HealthAddr, c.health}, {"metrics-addr", c.MetricsAddr, c.metrics}} {
		if f.addr == "" {
			continue
		}
		var s *Server
		l, err := net.Listen("tcp", f.addr) //nolint:noctx // a literal address: it does not wait
		if err == nil {
			if s, err = f.open(l); err != nil {
				_ = l.Close()
			}
		}
		if err != nil {
			for _, s := range servers {
				_ = s.l.Close()
			}
			return nil, fmt.Errorf("--%s: %w", f.flag, err)
		}
		s.flag = f.flag
		servers = append(servers, s)
	}
	return servers, nil
}

// Serve serves until ctx ends. It returns when no review of a token is in progress any
// more.
func (s *Server) Serve(ctx context.Context, log *slog.Logger) {
	stop := context.AfterFunc(ctx, func() { _ = s.http.Close() })
	defer stop()
	if err := s.http.Serve(s.l); err != nil && ctx.Err() == nil {
		log.Error("port failed", "port", s.flag, "error", err)
	}
	if s.auth != nil {
		s.auth.stop()
	}
}

// addr returns the address of the port.
func (s *Server) addr() net.Addr { return s.l.Addr() }

func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// health returns the port for the kubelet's probes, and for who asks whether this node can
// pull images.
func (c ServerConfig) health(l net.Listener) (*Server, error) {
	mux := http.NewServeMux()
	for path, check := range map[string]func() error{"GET /healthz": c.Alive, "GET /readyz": c.Ready, "GET /pullz": c.CanPull} {
		if check == nil {
			continue
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if err := check(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintln(w, "ok")
		})
	}
	return &Server{l: l, http: newHTTPServer(mux)}, nil
}

// metrics returns the port for scrapers. The metrics name the registries and resolvers
// of the node, so they are for authorized callers only, unless the cluster decides
// otherwise.
func (c ServerConfig) metrics(l net.Listener) (*Server, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	s := &Server{l: netutil.LimitListener(l, maxConnections), http: newHTTPServer(mux)}
	s.http.ReadTimeout = 10 * time.Second
	s.http.ErrorLog = slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug) // callers can fill it
	if !c.Auth {
		if addr, ok := l.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
			c.Log.Warn("metrics are served without authentication on a non-loopback address",
				"address", l.Addr().String(), "setting", "metrics-auth")
		}
		return s, nil
	}
	load := selfSigned(c.NodeName)
	if c.CertFile != "" {
		load = fromFiles(c.CertFile, c.KeyFile)
	}
	cert, err := newCertificate(load, c.Log)
	if err != nil {
		return nil, err
	}
	s.auth = newAuthenticator(c.Authorize, c.Log)
	s.http.Handler = s.auth.wrap(mux)
	// No HTTP/2: one connection is one request at a time.
	s.l = tls.NewListener(s.l, &tls.Config{GetCertificate: cert.get, NextProtos: []string{"http/1.1"}})
	return s, nil
}
