package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// scripted gives the first requests that match the answers of a script, in order; 0 ends
// the connection without one. The rest goes to h.
func scripted(matches func(*http.Request) bool, h http.Handler, script ...int) http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		status := -1
		if matches(q) && len(script) > 0 {
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

func isHead(q *http.Request) bool { return q.Method == http.MethodHead }

// What the runtime repeats is repeated, and no fault if it then works.
func TestRetries(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	for _, tt := range []struct {
		name, version string
		script        []int
		outcome       report.Outcome
		cause         report.Cause
		retried       string
	}{
		{"unavailable once", "", []int{503}, report.Pass, "", "503 200"},
		{"unavailable once, an old runtime", "1.7.29", []int{503}, report.Fail, report.RegistryUnavailable, ""},
		{"unavailable twice", "", []int{503, 503}, report.Fail, report.RegistryUnavailable, "503 503"},
		{"a bad gateway once", "", []int{502}, report.Fail, report.RegistryUnavailable, ""},
		{"broken twice", "", []int{0, 0}, report.Pass, "", "broken broken 200"},
		{"broken, an old runtime", "2.2.0", []int{0}, report.Fail, report.ConnectionReset, ""},
		{"broken for ever", "", []int{0, 0, 0, 0, 0, 0}, report.Fail, report.ConnectionReset, "broken broken broken broken broken"},
		{"a timeout of the server", "1.6.20", []int{408}, report.Pass, "", "408 200"},
		{"limited", "", []int{429}, report.Fail, report.RateLimited, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, scripted(isHead, probetest.NewRegistry(t), tt.script...)))
			c := probeAs(t, n, Target{Image: host + "/app:1", RuntimeVersion: tt.version})
			got := probetest.Want(t, c, "manifest/"+host, tt.outcome, tt.cause)
			if got.Evidence[report.KeyRetried] != tt.retried {
				t.Errorf("retried %q, want %q", got.Evidence[report.KeyRetried], tt.retried)
			}
		})
	}
	t.Run("a layer", func(t *testing.T) {
		isBlob := func(q *http.Request) bool {
			return strings.Contains(q.URL.Path, "/blobs/") && q.Header.Get("Range") != ""
		}
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, scripted(isBlob, probetest.NewRegistry(t), 503)))
		probetest.Want(t, probe(t, n, host+"/app:1"), "blob/"+host, report.Pass, "", "retried=503 206")
	})
}

// GET /v2/ and lists are questions: whatever they answer, a manifest that is there is
// there, and they are not sent at all then.
func TestQuestionsAreNoSteps(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	isBase := func(q *http.Request) bool { return q.URL.Path == "/v2/" }
	for _, status := range []int{0, 401, 403, 404, 429, 500, 503} {
		var log recorder
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, log.wrap(scripted(isBase, probetest.NewRegistry(t), status, status, status))))
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "registry/"+host, report.Pass, "", "isRegistry=true")
		probetest.Want(t, c, "blob/"+host, report.Pass, "")
		if log.count("GET /v2/ ") > 0 || slices.Contains(log.all(), "GET /v2/") {
			t.Errorf("/v2/ was requested: %q", log.all())
		}
	}
	t.Run("a base that hangs, and a missing manifest", func(t *testing.T) {
		m := *n
		release := make(chan struct{})
		defer close(release)
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/v2/" {
				<-release
			}
			w.WriteHeader(http.StatusNotFound)
		})))
		c := probe(t, &m, host+"/app:1")
		if got := probetest.Want(t, c, "registry/"+host, report.Unknown, ""); got.Evidence[report.KeyIsRegistry] != "" {
			t.Errorf("%+v", got)
		}
		probetest.Want(t, c, "manifest/"+host, report.Fail, report.TagNotFound)
	})
}

// A manifest without a media type is one that containerd takes for a layer, unless it
// requests it by GET and that has one.
func TestNoContentType(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	without := func(h http.Handler, method string, headers ...string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/manifests/") && (method == "" || q.Method == method) {
				w = &strippedWriter{w, headers}
			}
			h.ServeHTTP(w, q)
		})
	}
	reg := probetest.NewRegistry(t)
	for _, tt := range []struct {
		name     string
		h        http.Handler
		manifest report.Outcome
		image    report.Outcome
	}{
		{"HEAD has none", without(reg, "HEAD", "Content-Type"), report.Fail, report.Skipped},
		{"HEAD has neither type nor digest, GET has the type", without(reg, "HEAD", "Content-Type", "Docker-Content-Digest"), report.Pass, report.Pass},
		{"nothing has one", without(reg, "", "Content-Type", "Docker-Content-Digest"), report.Fail, report.Skipped},
		{"no digest", without(reg, "", "Docker-Content-Digest"), report.Pass, report.Pass},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log recorder
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, log.wrap(tt.h)))
			c := probe(t, n, host+"/app:1")
			got := c["manifest/"+host]
			if got.Outcome != tt.manifest || (got.Evidence[report.KeyNoContentType] == "true") != (tt.manifest == report.Fail) {
				t.Errorf("%+v", got)
			}
			if c["image/"+host].Outcome != tt.image {
				t.Errorf("%+v", c["image/"+host])
			}
			if n := log.count("GET /v2/app/manifests"); n > 2 {
				t.Errorf("%d GETs of manifests: %q", n, log.all())
			}
		})
	}
}

// strippedWriter removes headers from an answer, and lets net/http guess none.
type strippedWriter struct {
	http.ResponseWriter
	remove []string
}

func (w *strippedWriter) WriteHeader(status int) {
	for _, h := range w.remove {
		w.Header().Del(h)
		w.Header()[http.CanonicalHeaderKey(h)] = nil
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *strippedWriter) Write(b []byte) (int, error) { return w.ResponseWriter.Write(b) }

// The token is what containerd gets: by POST, and by GET after the answers of the table.
func TestTokenByPost(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	joe := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"}
	for _, tt := range []struct {
		post, get int // 200 is a token
		outcome   report.Outcome
		cause     report.Cause
		requests  int
	}{
		{200, 200, report.Pass, "", 2},
		{405, 200, report.Pass, "", 2},
		{404, 200, report.Pass, "", 2},
		{401, 200, report.Pass, "", 2},
		{400, 200, report.Pass, "", 2},
		{200, 404, report.Pass, "", 2},
		{500, 200, report.Fail, report.TokenServiceFailed, 2},
		{502, 200, report.Fail, report.TokenServiceFailed, 2},
		{403, 200, report.Fail, report.TokenServiceFailed, 2},
		{404, 500, report.Fail, report.TokenServiceFailed, 2},
		{401, 401, report.Fail, report.CredentialsRejected, 1},
		{429, 200, report.Fail, report.RateLimited, 2},
	} {
		t.Run(fmt.Sprintf("POST %d, GET %d", tt.post, tt.get), func(t *testing.T) {
			var log recorder
			service := log.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				status, field := tt.get, "token"
				if q.Method == http.MethodPost {
					status, field = tt.post, "access_token"
				}
				w.WriteHeader(status)
				if status == http.StatusOK {
					json.NewEncoder(w).Encode(map[string]string{field: "user"})
				}
			}))
			realm := fmt.Sprintf("https://auth.lab:%d/token", probetest.Serve(t, ptr(ca.Good(t, "auth.lab")), service))
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(realm, reg)))
			c := probe(t, n, host+"/app:1", joe)
			got := probetest.Want(t, c, "token/"+host, tt.outcome, tt.cause)
			probetest.Want(t, c, "manifest/"+host, tt.outcome, tt.cause)
			if len(log.all()) != tt.requests {
				t.Errorf("%q", log.all())
			}
			if tt.requests == 2 && got.Evidence[report.KeyPostStatus] != fmt.Sprint(tt.post) || got.Evidence[report.KeyGetStatus] != fmt.Sprint(tt.get) {
				t.Errorf("%+v", got)
			}
			if tt.outcome == report.Pass && got.Evidence[report.KeyLoginWorks] != "true" {
				t.Errorf("the login works: %+v", got)
			}
		})
	}
	t.Run("a token that containerd does not read", func(t *testing.T) {
		realm := fmt.Sprintf("https://auth.lab:%d/token", probetest.Serve(t, ptr(ca.Good(t, "auth.lab")), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(map[string]string{"token": "user"})
		})))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(realm, reg)))
		probetest.Want(t, probe(t, n, host+"/app:1", joe), "token/"+host, report.Fail, report.TokenServiceFailed, "postStatus=200", "getStatus=200")
	})
}
