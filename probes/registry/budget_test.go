package registry

import (
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// meter counts what a server sends, TLS and all.
type meter struct {
	net.Listener
	sent *atomic.Int64
}

func (m meter) Accept() (net.Conn, error) {
	c, err := m.Listener.Accept()
	if err != nil {
		return nil, err
	}
	// What is written has left, or nearly.
	return meteredConn{c, m.sent}, c.(*net.TCPConn).SetWriteBuffer(4 << 10)
}

type meteredConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

// serveMetered is serve with a count of the bytes that go out.
func serveMetered(t *testing.T, cert tls.Certificate, sent *atomic.Int64, h http.Handler) uint16 {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Listener = meter{s.Listener, sent}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return netip.MustParseAddrPort(s.Listener.Addr().String()).Port()
}

// The cost of a diagnosis, counted at the registry, in every branch.
func TestBudget(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "registry.lab", "mirror.lab", "cdn.lab")
	reg := probetest.NewRegistry(t)
	blobImage(t, reg, "big")
	amd64 := pushFor(t, reg, "indexed", "", "linux/amd64")
	pushIndex(t, reg, "indexed", "1", on(amd64, "linux/amd64"), on(pushFor(t, reg, "indexed", "", "linux/arm64"), "linux/arm64"))
	var tags []string
	for i := range 3000 {
		tags = append(tags, fmt.Sprintf("2024.%04d-%s", i, strings.Repeat("x", 60)))
	}
	joe := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"}
	wrong := credentials.Credential{Username: "joe", Password: "canary-wrong", Source: "secret a/wrong"}
	answer := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}

	for _, tt := range []struct {
		name, image string
		h           http.Handler
		creds       []credentials.Credential
		requests    int // at most, all hosts together
	}{
		{"healthy", "big:1", reg, nil, 4},
		{"healthy, blobs without ranges", "big:1", ignoreRange(reg), nil, 4},
		{"index", "indexed:1", reg, nil, 5},
		{"another platform", "multi:1", reg, nil, 2},
		{"missing tag", "app:9.9.9", reg, nil, 9},
		{"missing tag in a long list", "app:2024.1500", longList(reg, "app", tags), nil, 9},
		{"missing repository", "no_thing:1", reg, nil, 9},
		{"credentials missing", "app:1", basicAuth("joe", "canary-secret", reg), nil, 3},
		{"credentials wrong", "app:1", basicAuth("joe", "canary-secret", reg), []credentials.Credential{wrong, wrong}, 4},
		{"credentials right", "big:1", basicAuth("joe", "canary-secret", reg), []credentials.Credential{wrong, joe}, 8},
		{"403", "app:1", status(403, nil, ""), nil, 9},
		{"412", "app:1", status(412, nil, ""), nil, 3},
		{"429", "app:1", status(429, nil, ""), nil, 1},
		{"429 at the door", "app:1", answer(429), nil, 1},
		{"503", "app:1", status(503, nil, ""), nil, 3},
	} {
		for _, mirrored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, mirrors %v", tt.name, mirrored), func(t *testing.T) {
				var sent atomic.Int64
				var rec recorder
				h := rec.wrap(tt.h)
				host := fmt.Sprintf("registry.lab:%d", serveMetered(t, cert, &sent, h))
				tree := map[string]string{}
				hosts := 1
				if mirrored {
					hosts = 3
					conf := ""
					for range 2 {
						conf += fmt.Sprintf("[host.\"https://mirror.lab:%d\"]\ncapabilities = [\"pull\", \"resolve\"]\n", serveMetered(t, cert, &sent, h))
					}
					tree["/etc/containerd/certs.d/"+host+"/hosts.toml"] = conf
				}
				probe(t, newProber(t, ca, tree), host+"/"+tt.image, tt.creds...)
				if got := sent.Load(); got > 64<<10 {
					t.Errorf("%d bytes: %q", got, rec.all())
				}
				gets := 0
				for _, s := range rec.all() {
					if strings.HasPrefix(s, "GET ") && strings.Contains(s, "/manifests/") {
						gets++
					}
				}
				if gets > 2 {
					t.Errorf("%d GETs of manifests: %q", gets, rec.all())
				}
				t.Logf("%d requests, %d GETs of manifests, %d bytes", len(rec.all()), gets, sent.Load())
				if got := len(rec.all()); got > tt.requests*hosts {
					t.Errorf("%d requests, want at most %d: %q", got, tt.requests*hosts, rec.all())
				}
			})
		}
	}
}

// endless writes until the client closes the connection.
func endless(w io.Writer, q *http.Request) {
	chunk := []byte(strings.Repeat(`{"errors":[{"code":"X"}],`, 1000))
	for q.Context().Err() == nil && q.Method != http.MethodHead {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// A hostile server costs bounded bytes and time, at every request.
func TestHostileServers(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "registry.lab")
	n := newProber(t, ca, nil)
	n.Limits = connect.Limits{Overall: 2 * time.Second, HTTP: 500 * time.Millisecond}
	good := probetest.NewRegistry(t)
	blobImage(t, good, "big")
	const index = "application/vnd.oci.image.index.v1+json"
	bomb := func(w http.ResponseWriter) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		chunk := make([]byte, 1<<20)
		for range 64 {
			z.Write(chunk)
		}
		z.Close()
	}
	at := func(part string, do func(http.ResponseWriter, *http.Request)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, part) && q.Method == http.MethodGet {
				do(w, q)
				return
			}
			good.ServeHTTP(w, q)
		})
	}
	talk := func(w http.ResponseWriter, q *http.Request) { endless(w, q) }
	drip := func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodHead {
			return // with no body to write, nothing tells the handler that the client is gone
		}
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-q.Context().Done():
				tick.Stop()
				return
			case <-tick.C:
				w.Write([]byte(" "))
				w.(http.Flusher).Flush()
			}
		}
	}
	headers := func(w http.ResponseWriter, _ *http.Request) {
		for i := range 2000 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
		}
	}
	loop := func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("X-Fill", strings.Repeat("x", 15<<10))
		http.Redirect(w, q, q.URL.Path+"x", http.StatusTemporaryRedirect)
	}

	for _, tt := range []struct {
		name, image string
		h           http.Handler
	}{
		{"/v2/ that never ends", "big:1", http.HandlerFunc(talk)},
		{"/v2/ drips", "big:1", http.HandlerFunc(drip)},
		{"giant headers", "big:1", http.HandlerFunc(headers)},
		{"15 KiB of headers each time", "app:9", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("X-Fill", strings.Repeat("x", 15<<10))
			if q.URL.Path != "/v2/" {
				w.WriteHeader(http.StatusNotFound)
			}
		})},
		{"redirects in a circle", "big:1", http.HandlerFunc(loop)},
		{"manifest without end", "big:1", at("/manifests/", talk)},
		{"manifest of 10 MB", "big:1", at("/manifests/", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 10<<20)) })},
		{"manifest that drips", "big:1", at("/manifests/", drip)},
		{"manifest that is a bomb", "big:1", at("/manifests/", func(w http.ResponseWriter, _ *http.Request) { bomb(w) })},
		{"index without end", "big:1", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/manifests/") {
				w.Header().Set("Content-Type", index)
				if q.Method == http.MethodGet {
					endless(w, q)
				}
			}
		})},
		{"blobs without end", "big:1", at("/blobs/", talk)},
		{"blobs that drip", "big:1", at("/blobs/", drip)},
		{"blobs in a circle", "big:1", at("/blobs/", loop)},
		{"tags without end", "app:9", at("/tags/", talk)},
		{"tags that are a bomb", "app:9", at("/tags/", func(w http.ResponseWriter, _ *http.Request) { bomb(w) })},
		{"catalog without end", "none:1", at("/_catalog", talk)},
		{"errors without end", "app:1", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path != "/v2/" {
				w.WriteHeader(http.StatusForbidden)
				endless(w, q)
			}
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sent atomic.Int64
			host := fmt.Sprintf("registry.lab:%d", serveMetered(t, cert, &sent, tt.h))
			start := time.Now()
			c := probe(t, n, host+"/"+tt.image)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
			t.Logf("%d bytes", sent.Load())
			if got := sent.Load(); got > 64<<10+hostileSlack {
				t.Errorf("%d bytes", got)
			}
			size := 0
			for _, check := range c {
				size += len(fmt.Sprint(check))
				if check.Kind == report.KindImage && check.Cause == report.PlatformMismatch {
					t.Errorf("a verdict from nothing: %+v", check)
				}
			}
			if size > 16<<10 {
				t.Errorf("the checks take %d bytes", size)
			}
		})
	}
}

// hostileSlack is what a server may have put into the sockets beyond what was
// read: handshakes, and the receive buffers of a few connections.
const hostileSlack = 64 << 10
