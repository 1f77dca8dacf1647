package registry

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// hostile servers by name: what they do with a connection.
func hostile(cert tls.Certificate) map[string]func(net.Conn) {
	afterTLS := func(talk func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
			if s.Handshake() == nil {
				http.ReadRequest(bufio.NewReader(s))
				talk(s)
			}
		}
	}
	forever := func(head, again string) func(net.Conn) {
		block := strings.Repeat(again, 1+(32<<10)/len(again))
		return func(c net.Conn) {
			for _, err := io.WriteString(c, head); err == nil; _, err = io.WriteString(c, block) {
			}
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	return map[string]func(net.Conn){
		"endless headers":  afterTLS(forever(ok, "X-A: b\r\n")),
		"giant header":     afterTLS(forever(ok+"X-A: ", "aaaaaaaa")),
		"endless status":   afterTLS(forever("HTTP/1.1 200 ", "OK ")),
		"endless 100s":     afterTLS(forever("", "HTTP/1.1 100 Continue\r\n\r\n")),
		"endless chunks":   afterTLS(forever(ok+"Transfer-Encoding: chunked\r\n\r\n", "1;"+strings.Repeat("x", 99)+"\r\na\r\n")),
		"drip of a header": afterTLS(func(c net.Conn) { io.WriteString(c, ok); probetest.Drip(c, []byte("X-A: b\r\n")) }),
		"drip of a body": afterTLS(func(c net.Conn) {
			io.WriteString(c, ok+"Content-Length: 999999\r\n\r\n")
			probetest.Drip(c, []byte("{"))
		}),
		"drip of a ServerHello": func(c net.Conn) { probetest.Drip(c, []byte{22, 3, 3, 0x3f, 0xff, 2, 0, 0x3f, 0xfb}) },
		"endless handshake":     func(c net.Conn) { c.Read(make([]byte, 999)); forever("", "\x16\x03\x03\x00\x04\x00\x00\x00\x00")(c) },
		"10 MB chain": func(c net.Conn) {
			huge := cert
			for n := 0; n < 10<<20; n += len(cert.Certificate[0]) {
				huge.Certificate = append(huge.Certificate, cert.Certificate[0])
			}
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{huge}}).Handshake()
			c.Read(make([]byte, 1))
		},
	}
}

// TestHostileServer is the server process of TestHostile, so that what it
// allocates itself does not count.
func TestHostileServer(t *testing.T) {
	kind, pair := os.Getenv("HOSTILE"), os.Getenv("HOSTILE_PAIR")
	if kind == "" {
		return
	}
	cert, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("port %d\n", probetest.ListenRaw(t, hostile(cert)[kind]))
	io.Copy(io.Discard, os.Stdin) // until the parent is done
}

func startHostile(t *testing.T, kind, pair string) (port uint16) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHostileServer$")
	c.Env = append(os.Environ(), "HOSTILE="+kind, "HOSTILE_PAIR="+pair)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Wait() })
	if _, err := fmt.Fscanf(out, "port %d\n", &port); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
	return port
}

// Every hostile server ends as a check that did not pass, in the time of the
// step and in bounded memory.
func TestHostile(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	pair := t.TempDir() + "/pair.pem"
	if err := os.WriteFile(pair, []byte(probetest.PairPEM(t, cert)), 0o600); err != nil {
		t.Fatal(err)
	}
	n := newProber(t, ca, nil)
	n.Limits = connect.Limits{Overall: 20 * time.Second, TLS: 400 * time.Millisecond, HTTP: 400 * time.Millisecond}
	for kind := range hostile(cert) {
		t.Run(kind, func(t *testing.T) {
			host := fmt.Sprintf("r.lab:%d", startHostile(t, kind, pair))
			var c map[string]report.Check
			if bytes := probetest.Allocated(func() { c = probe(t, n, host+"/app:1") }); bytes > probetest.MaxHostile {
				t.Errorf("%d bytes", bytes)
			}
			for id, check := range c {
				if (check.Kind == report.KindManifest || check.Kind == report.KindImage) && check.Outcome == report.Pass {
					t.Errorf("%s passed: %s", id, check.Summary)
				}
			}
		})
	}
	t.Run("redirect loop", func(t *testing.T) {
		var rec recorder
		var host string
		host = fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, rec.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "https://"+host+q.URL.Path+"x", http.StatusFound)
		}))))
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "manifest/"+host, report.Fail, report.RegistryUnavailable, "refused=more than 10 redirects: the runtime gives up after 10")
		if got := len(rec.all()); got > 2*(httpclient.MaxRedirects+1) {
			t.Errorf("%d requests", got)
		}
	})
	t.Run("a proxy with endless headers", func(t *testing.T) {
		m := *n
		m.Proxy = view.ReadProxy([]string{fmt.Sprintf("HTTPS_PROXY=http://127.0.0.1:%d", probetest.ListenRaw(t, func(c net.Conn) {
			c.Read(make([]byte, 999))
			for _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"); err == nil; _, err = io.WriteString(c, "X-A: b\r\n") {
			}
		}))})
		var c map[string]report.Check
		if bytes := probetest.Allocated(func() { c = probe(t, &m, "r.outside/app:1") }); bytes > probetest.MaxHostile {
			t.Errorf("%d bytes", bytes)
		}
		probetest.Want(t, c, "dial/r.outside/proxy", report.Fail, report.ProxyUnreachable, "step=connect")
	})
}
