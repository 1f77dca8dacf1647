package registry

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// What answers in plain HTTP where TLS was expected: a registry, or something else.
func TestHTTPAnswer(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	n := newProber(t, ca, nil)
	site := func(status int, body string, header ...string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	tests := []struct {
		name string
		h    http.Handler
		want string
	}{
		{"a registry", probetest.NewRegistry(t), "registry"},
		{"a registry with a login", site(401, "", "WWW-Authenticate", `Basic realm="r"`, "Docker-Distribution-Api-Version", "registry/2.0"), "registry"},
		{"a registry with tokens", site(401, "", "WWW-Authenticate", `Bearer realm="https://auth.lab/token",service="r"`), "registry"},
		{"a registry without this path", site(404, probetest.OCIError("NAME_UNKNOWN", "x")), "registry"},
		{"a site for machines", site(200, "{}", "WWW-Authenticate", `Bearer realm="x"`), "other"},
		{"a web site", site(200, "<html>hello", "Content-Type", "text/html"), "other"},
		{"a web site with a login", site(401, "<html>", "WWW-Authenticate", `Basic realm="Staging"`), "other"},
		{"a login portal", site(302, "", "Location", "https://portal.lab/login"), "other"},
		{"an API of something else", site(404, `{"errors":[{"status":404}]}`, "Content-Type", "application/json"), "other"},
		{"a proxy without its backend", site(503, probetest.OCIError("UNAVAILABLE", "x")), "other"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rec recorder
			port := probetest.Serve(t, nil, rec.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.Header.Get("Authorization") != "" || q.Header.Get("X-Token") != "" {
					t.Error("a login in plain HTTP")
				}
				tt.h.ServeHTTP(w, q)
			})))
			host := fmt.Sprintf("r.lab:%d", port)
			m := newProber(t, ca, map[string]string{"/etc/containerd/certs.d/" + host + "/hosts.toml": fmt.Sprintf(
				"server = \"https://%s\"\n[host.\"https://%s\"]\n[host.\"https://%s\".header]\nX-Token = \"very-secret-token\"\n", host, host, host)})
			c := probe(t, m, host+"/app:1", credentials.Credential{Source: "pod secret ns/s", Username: "u", Password: "correct horse"})
			probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), report.Fail, report.PlainHTTPRegistry, "httpAnswer="+tt.want)
			probetest.Want(t, c, "manifest/"+host, report.Skipped, "")
			for _, line := range rec.all() {
				if !strings.HasPrefix(line, "GET /v2/") || strings.Contains(line, "manifests") {
					t.Errorf("also asked: %q", line)
				}
			}
		})
	}

	t.Run("through a proxy", func(t *testing.T) {
		target := fmt.Sprintf("127.0.0.1:%d", probetest.Serve(t, nil, probetest.NewRegistry(t)))
		m := *n
		m.Proxy = view.ReadProxy([]string{fmt.Sprintf("HTTPS_PROXY=http://127.0.0.1:%d", probetest.Serve(t, nil, connectProxy(200, target)))})
		probetest.Want(t, probe(t, &m, "r.outside/app:1"), "tls/r.outside/proxy", report.Fail, report.PlainHTTPRegistry, "httpAnswer=registry", "proxy")
	})
	t.Run("not HTTP the second time", func(t *testing.T) {
		first := make(chan bool, 1)
		first <- true
		port := probetest.ListenRaw(t, func(c net.Conn) {
			c.Read(make([]byte, 2000))
			select {
			case <-first:
				io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n")
			default:
				io.WriteString(c, "SSH-2.0\r\n")
			}
		})
		host := fmt.Sprintf("r.lab:%d", port)
		c := probetest.Want(t, probe(t, n, host+"/app:1"), fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), report.Fail, report.PlainHTTPRegistry)
		if a, ok := c.Evidence["httpAnswer"]; ok {
			t.Errorf("answer %q", a)
		}
	})
	t.Run("a header without an end", func(t *testing.T) {
		port := probetest.ListenRaw(t, func(c net.Conn) {
			c.Read(make([]byte, 2000))
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for range 10000 {
				if _, err := io.WriteString(c, "X-Filler: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
					return
				}
			}
		})
		host := fmt.Sprintf("r.lab:%d", port)
		probetest.Want(t, probe(t, n, host+"/app:1"), fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), report.Fail, report.PlainHTTPRegistry)
	})
	t.Run("the runtime falls back to plain HTTP", func(t *testing.T) {
		var rec recorder
		port := probetest.Serve(t, nil, rec.wrap(probetest.NewRegistry(t)))
		host := fmt.Sprintf("localhost:%d", port)
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "manifest/"+host, report.Pass, "")
		if a := c[fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port)].Evidence["httpAnswer"]; a != "" {
			t.Errorf("answer %q", a)
		}
	})
	t.Run("a token service is no registry", func(t *testing.T) {
		cert := ca.Good(t, "r.lab")
		service := probetest.Serve(t, nil, site(200, "{}"))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, site(401, "", "WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://auth.lab:%d/token"`, service))))
		c := probe(t, n, host+"/app:1")
		if a := c[fmt.Sprintf("tls/auth.lab:%d/127.0.0.1:%d", service, service)]; a.Cause != report.PlainHTTPRegistry || a.Evidence["httpAnswer"] != "" {
			t.Errorf("%+v", a)
		}
	})
	t.Run("denied", func(t *testing.T) {
		var rec recorder
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, nil, rec.wrap(probetest.NewRegistry(t))))
		m := *n
		m.Guard.Deny = hostPatterns(t, "127.0.0.0/8")
		probe(t, &m, host+"/app:1")
		if asked := rec.all(); len(asked) > 0 {
			t.Errorf("asked all the same: %q", asked)
		}
	})
}
