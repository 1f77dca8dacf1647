package parity

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/registry"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// newProber returns the prober of a node that trusts ca and resolves every name in
// lab to 127.0.0.1.
func newProber(t *testing.T, ca *probetest.Authority) *connect.Prober {
	t.Helper()
	port := probetest.DNSPort(t)
	probetest.ServeDNS(t, "127.0.0.1", port, func(w dns.ResponseWriter, q *dns.Msg) {
		if name := q.Question[0].Name; strings.HasSuffix(name, ".lab.") {
			probetest.Zone(map[string]string{name: "127.0.0.1"})(w, q)
		} else {
			probetest.Always(dns.RcodeNameError)(w, q)
		}
	})
	files := probetest.Files(t, map[string]string{
		"/etc/resolv.conf":                   "nameserver 127.0.0.1\n",
		"/etc/hosts":                         "127.0.0.1 localhost\n",
		"/etc/ssl/certs/ca-certificates.crt": string(ca.PEM),
	})
	node, checks := view.Read(view.Dir(files), []string{"PATH=/bin"}, view.Paths{HostsDir: "/etc/containerd/certs.d"})
	if len(checks) > 0 {
		t.Fatalf("%+v", checks)
	}
	p := connect.NewProber(node)
	p.ResolverPort, p.Guard.Loopback = port, true
	return p
}

// probe returns the checks of an image, by id.
func probe(t *testing.T, p *connect.Prober, image string, creds ...credentials.Credential) map[string]report.Check {
	t.Helper()
	_, ref := reference.Parse(image)
	target := registry.Target{Image: image, Credentials: creds, Platform: "linux/amd64"}
	out := map[string]report.Check{}
	for _, c := range registry.Probe(t.Context(), p, ref, target) {
		t.Logf("%s %s: %s %v", c.Outcome, c.ID, c.Summary, c.Evidence)
		out[c.ID] = c
	}
	return out
}

// recorder notes the requests that a server gets: "HEAD /v2/app/manifests/1 Basic".
type recorder struct {
	mu   sync.Mutex
	seen []string
}

func (r *recorder) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		scheme, _, _ := strings.Cut(q.Header.Get("Authorization"), " ")
		r.mu.Lock()
		r.seen = append(r.seen, strings.TrimSpace(q.Method+" "+q.URL.RequestURI()+" "+scheme))
		r.mu.Unlock()
		h.ServeHTTP(w, q)
	})
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// headAnswers gives these statuses to HEAD, one after the other, and then what h
// answers; 0 breaks the connection.
func headAnswers(h http.Handler, script ...int) http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		status := -1
		if q.Method == http.MethodHead && len(script) > 0 {
			status, script = script[0], script[1:]
		}
		mu.Unlock()
		switch status {
		case -1:
			h.ServeHTTP(w, q)
		case 0:
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(status)
		}
	})
}

// strippedWriter leaves out headers of an answer.
type strippedWriter struct {
	http.ResponseWriter
	remove []string
}

func (w *strippedWriter) WriteHeader(status int) {
	for _, h := range w.remove {
		w.Header()[http.CanonicalHeaderKey(h)] = nil
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *strippedWriter) Write(b []byte) (int, error) { return w.ResponseWriter.Write(b) }

// basicAuth requires a user name and a password.
func basicAuth(user, password string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if u, p, _ := q.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, q)
	})
}

// tokenAuth requires the token "user".
func tokenAuth(realm string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "Bearer user" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="lab",scope="repository:app:pull"`, realm))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, q)
	})
}
