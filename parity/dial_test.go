package parity

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// The runtime's own transport, with a dialer as in docker.DefaultHTTPTransport, uses
// the address that is reported as taken, and tries no other when TLS fails there.
func TestTakenIsTheRuntimes(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	good, bad := ca.Good(t, "r.example"), ca.Good(t, "elsewhere.lab")
	pass := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	port := probetest.ServeAt(t, "127.0.0.61", 0, &bad, pass)
	probetest.ServeAt(t, "127.0.0.62", port, &good, pass)
	host := fmt.Sprintf("r.example:%d", port)

	for _, tt := range []struct {
		addrs string
		taken string // empty if none connects
		open  bool
	}{
		{"127.0.0.61 127.0.0.62", "127.0.0.61", false},
		{"127.0.0.62 127.0.0.61", "127.0.0.62", true},
		{"127.0.0.63 127.0.0.62", "127.0.0.62", true}, // nothing listens at the first
		{"127.0.0.62 ::1", "127.0.0.62", true},
		{"127.0.0.61 ::1", "127.0.0.61", false},
		{"127.0.0.63 ::1", "", false},
	} {
		t.Run(tt.addrs, func(t *testing.T) {
			n := newProber(t, ca)
			n.ResolverPort = probetest.DNSPort(t)
			probetest.ServeDNS(t, "127.0.0.1", n.ResolverPort, probetest.Zone(map[string]string{"r.example.": tt.addrs}))
			c := probe(t, n, host+"/app:1")
			if (c["registry/"+host].Outcome == report.Pass) != tt.open {
				t.Errorf("we say %s %s", c["registry/"+host].Outcome, c["registry/"+host].Summary)
			}
			if tt.taken != "" {
				probetest.Want(t, c, fmt.Sprintf("dial/%s/%s:%d", host, tt.taken, port), report.Pass, "", "taken=true")
			}

			resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(n.Resolv.Servers[0].String(), fmt.Sprint(n.ResolverPort)))
			}}
			dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, FallbackDelay: 300 * time.Millisecond, Resolver: resolver}
			transport := docker.DefaultHTTPTransport(&tls.Config{RootCAs: n.Roots.Pool})
			took := ""
			transport.Proxy = nil
			transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, addr)
				if err == nil {
					took = conn.RemoteAddr().(*net.TCPAddr).IP.String()
				}
				return conn, err
			}
			defer transport.CloseIdleConnections()
			resp, err := (&http.Client{Transport: transport}).Get("https://" + host + "/v2/")
			if err == nil {
				resp.Body.Close()
			}
			if took != tt.taken || (err == nil) != tt.open {
				t.Errorf("the runtime takes %q and ends with %v", took, err)
			}
		})
	}
}
