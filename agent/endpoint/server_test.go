package endpoint

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestHeldConnections checks that clients that only hold connections get a limited
// number, and do not keep them.
func TestHeldConnections(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	servers, err := Listen(ServerConfig{MetricsAddr: "127.0.0.1:0", Auth: true, NodeName: "n", Gatherer: prometheus.NewRegistry(), Log: log})
	if err != nil || len(servers) != 1 {
		t.Fatalf("%d servers, %v", len(servers), err)
	}
	go servers[0].Serve(t.Context(), log)
	addr := servers[0].addr().String()
	for range maxConnections {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	began := time.Now()
	if got := status(t, "https://"+addr+"/metrics"); got != http.StatusUnauthorized {
		t.Errorf("behind them: %d", got)
	}
	if took := time.Since(began); took < time.Second || took > 10*time.Second {
		t.Errorf("it waited %v", took)
	}
}

// TestPorts checks that the health port has no metrics, and that only configured ports
// are opened.
func TestPorts(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	c := ServerConfig{
		HealthAddr: "127.0.0.1:0",
		Alive:      func() error { return nil },
		Ready:      func() error { return errors.New("not yet") },
		Auth:       true,
		Log:        log,
	}
	servers, err := Listen(c)
	if err != nil || len(servers) != 1 {
		t.Fatalf("%d servers, %v", len(servers), err)
	}
	go servers[0].Serve(t.Context(), log)
	taken := servers[0].addr().String()
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/metrics": http.StatusNotFound} {
		if got := status(t, "http://"+taken+path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	// A port that cannot be opened closes the other one.
	c.MetricsAddr, c.Gatherer = taken, prometheus.NewRegistry()
	if _, err := Listen(c); err == nil || !strings.Contains(err.Error(), "--metrics-addr: ") {
		t.Errorf("a port that is taken: %v", err)
	}
	c.HealthAddr, c.MetricsAddr, c.CertFile, c.KeyFile = freeAddr(), freeAddr(), "/does/not/exist", "/does/not/exist"
	for range 2 { // the second time as well: it was closed
		if _, err := Listen(c); err == nil || !strings.Contains(err.Error(), "--metrics-addr: open /does/not/exist") {
			t.Errorf("no certificate: %v", err)
		}
	}
}

// status returns the status of a GET without a token.
func status(t *testing.T, url string) int {
	t.Helper()
	client := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		Timeout:   20 * time.Second,
	}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// freeAddr returns an address that is free now.
func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}
