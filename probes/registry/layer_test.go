package registry

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
)

// bigLayer is the size of the largest layer of blobImage, compressed or not.
const bigLayer = 70000

// blobImage pushes app:1 with a large and a small layer and returns the
// digests of the large one and of the config.
func blobImage(t *testing.T, h http.Handler, repo string) (layer, config string) {
	t.Helper()
	big, err := random.Layer(bigLayer, types.DockerLayer)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(probetest.ImageFor(t, "amd64"), big)
	if err != nil {
		t.Fatal(err)
	}
	probetest.PushImage(t, h, repo, img, "1")
	return probetest.DigestOf(t, big), configDigest(t, img)
}

func configDigest(t *testing.T, img v1.Image) string {
	t.Helper()
	d, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// blobsElsewhere sends requests for blobs to another host, as registries on
// object stores do.
func blobsElsewhere(h http.Handler, host string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.Contains(q.URL.Path, "/blobs/sha256:") {
			http.Redirect(w, q, "https://"+host+q.URL.Path+"?sig=canary-signature", http.StatusTemporaryRedirect)
			return
		}
		h.ServeHTTP(w, q)
	})
}

// blobsBy has another handler for requests of one blob.
func blobsBy(h http.Handler, digest string, answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/blobs/"+digest) {
			answer(w, q)
			return
		}
		h.ServeHTTP(w, q)
	})
}

func TestLayer(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	layer, config := blobImage(t, reg, "big")
	cert, cdnCert := ca.Good(t, "r.lab"), ca.Good(t, "cdn.lab")
	other := probetest.NewAuthority(t, nil)

	t.Run("here", func(t *testing.T) {
		var rec recorder
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, rec.wrap(reg)))
		c := probe(t, n, host+"/big:1")
		check := probetest.Want(t, c, "blob/"+host, report.Pass, "", "status=206")
		if check.Target != layer {
			t.Errorf("asked for %s, want the largest layer %s", check.Target, layer)
		}
		if _, ok := check.Evidence["blobHost"]; ok {
			t.Errorf("another host: %v", check.Evidence)
		}
		if got := rec.count("GET /v2/big/blobs/" + layer); got != 1 {
			t.Errorf("%d requests for the layer: %q", got, rec.all())
		}
	})

	cdn := func(t *testing.T, cert *tls.Certificate, h http.Handler) (host string, c map[string]report.Check) {
		t.Helper()
		host = fmt.Sprintf("cdn.lab:%d", probetest.Serve(t, cert, h))
		return host, probeBlobs(t, n, ptr(ca.Good(t, "r.lab")), reg, host)
	}
	answer := func(code int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if k, v, ok := strings.Cut(header, ": "); ok {
				w.Header().Set(k, v)
			}
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	s3 := func(code string) string {
		return `<?xml version="1.0" encoding="UTF-8"?><Error><Code>` + code + `</Code><Message>canary-message</Message></Error>`
	}
	for _, tt := range []struct {
		name    string
		cert    tls.Certificate
		h       http.Handler
		outcome report.Outcome
		cause   report.Cause
		facts   []string
	}{
		{"elsewhere", cdnCert, reg, report.Pass, "", []string{"status=206"}},
		{"range ignored", cdnCert, ignoreRange(reg), report.Pass, "", []string{"rangeIgnored=true"}},
		{"expired certificate", ca.Issue(t, time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour), "cdn.lab"), reg, report.Fail, report.BlobHostUnreachable, []string{"innerCause=CertificateExpired"}},
		{"certificate of another authority", other.Good(t, "cdn.lab"), reg, report.Fail, report.BlobHostUnreachable, []string{"innerCause=CertificateUntrusted"}},
		{"certificate for another name", ca.Good(t, "elsewhere.lab"), reg, report.Fail, report.BlobHostUnreachable, []string{"innerCause=CertificateNameMismatch"}},
		{"hangs up", cdnCert, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), report.Fail, report.BlobHostUnreachable, []string{"innerCause=ConnectionReset", "eof=true"}},
		{"breaks off", cdnCert, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "70000")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}), report.Fail, report.BlobHostUnreachable, []string{"innerCause=ConnectionReset"}},
		{"403 of a store", cdnCert, answer(403, "", s3("AccessDenied")), report.Fail, report.BlobHostUnreachable, []string{"innerCause=AccessForbidden", "code=AccessDenied", "status=403"}},
		{"403 without a word", cdnCert, answer(403, "", ""), report.Fail, report.BlobHostUnreachable, []string{"innerCause=AccessForbidden"}},
		{"403 of a filter", cdnCert, answer(403, "Content-Type: text/html", "<html>canary-page"), report.Fail, report.BlobHostUnreachable, []string{"contentType=text/html", "innerCause=Undetermined"}},
		{"portal", cdnCert, answer(200, "Content-Type: text/html", "<html>canary-page"), report.Fail, report.BlobHostUnreachable, []string{"contentType=text/html"}},
		{"404 of a store", cdnCert, answer(404, "", s3("NoSuchKey")), report.Fail, report.LayerCorrupt, []string{"code=NoSuchKey"}},
		{"429", cdnCert, answer(429, "Retry-After: 77", ""), report.Fail, report.RateLimited, []string{"retryAfter=77"}},
		{"503", cdnCert, answer(503, "", ""), report.Fail, report.RegistryUnavailable, []string{"status=503"}},
		{"401", cdnCert, answer(401, "", ""), report.Fail, report.BlobHostUnreachable, []string{"innerCause=AccessForbidden", "status=401"}},
		{"another size", cdnCert, answer(206, "Content-Range: bytes 0-0/12582912", "x"), report.Fail, report.LayerCorrupt, []string{"size=12582912"}},
		{"size unknown", cdnCert, answer(206, "Content-Range: bytes 0-0/*", "x"), report.Pass, "", nil},
		{"empty", cdnCert, answer(200, "Content-Length: 0", ""), report.Fail, report.LayerCorrupt, []string{"size=0"}},
		{"no ranges at all", cdnCert, answer(416, "", ""), report.Unknown, "", []string{"status=416"}},
		{"418", cdnCert, answer(418, "", ""), report.Fail, report.Undetermined, []string{"status=418"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, c := cdn(t, &tt.cert, tt.h)
			check := probetest.Want(t, c, "blob", tt.outcome, tt.cause, append(tt.facts, "blobHost="+host)...)
			probetest.Want(t, c, "manifest", report.Pass, "")
			probetest.Want(t, c, "image", report.Pass, "", "platform=linux/amd64")
			if strings.Contains(fmt.Sprint(check), "canary") {
				t.Errorf("what a server said, or a signature: %+v", check)
			}
		})
	}

	for _, tt := range []struct{ name, target, inner string }{
		{"unresolvable", "cdn.example", "HostNotFound"},
		{"refuses connections", fmt.Sprintf("cdn.lab:%d", probetest.ClosedPort(t)), "ConnectionRefused"},
		{"speaks plain HTTP", fmt.Sprintf("cdn.lab:%d", probetest.Serve(t, nil, reg)), "PlainHTTPRegistry"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := probeBlobs(t, n, &cert, reg, tt.target)
			probetest.Want(t, c, "blob", report.Fail, report.BlobHostUnreachable, "innerCause="+tt.inner, "blobHost="+tt.target)
		})
	}
	t.Run("packets dropped", func(t *testing.T) {
		m := *n
		m.Limits.Dial = 100 * time.Millisecond
		c := probeBlobs(t, &m, &cert, reg, fmt.Sprintf("cdn.lab:%d", probetest.DroppingPort(t)))
		probetest.Want(t, c, "blob", report.Fail, report.BlobHostUnreachable, "innerCause=ConnectionTimeout", "deadline=true")
	})
	t.Run("no answer", func(t *testing.T) {
		m := *n
		m.Limits.HTTP = 200 * time.Millisecond
		release := make(chan struct{})
		host := fmt.Sprintf("cdn.lab:%d", probetest.Serve(t, &cdnCert, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })))
		defer close(release)
		c := probeBlobs(t, &m, &cert, reg, host)
		probetest.Want(t, c, "blob", report.Fail, report.BlobHostUnreachable, "innerCause=ConnectionTimeout", "deadline=true")
	})
	t.Run("a byte, and no end", func(t *testing.T) {
		release := make(chan struct{})
		host := fmt.Sprintf("cdn.lab:%d", probetest.Serve(t, &cdnCert, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			<-release
		})))
		defer close(release)
		c := probeBlobs(t, n, &cert, reg, host)
		probetest.Want(t, c, "blob", report.Pass, "", "blobHost="+host)
	})
	t.Run("redirect to the metadata service", func(t *testing.T) {
		c := probeBlobs(t, n, &cert, reg, "169.254.169.254")
		probetest.Want(t, c, "blob", report.Skipped, "", "refused=169.254.169.254 is a link-local address")
	})
	t.Run("redirect from host to host for ever", func(t *testing.T) {
		var host string
		port := probetest.Serve(t, &cdnCert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "https://"+host+q.URL.Path, http.StatusFound)
		}))
		host = fmt.Sprintf("cdn.lab:%d", port)
		c := probeBlobs(t, n, &cert, reg, host)
		probetest.Want(t, c, "blob", report.Fail, report.RegistryUnavailable, "refused=more than 10 redirects: the runtime gives up after 10")
	})

	for _, tt := range []struct {
		name, kind, body string
		want             report.Cause
	}{
		{"a page of 404", "text/html", "<html><body>404 Not Found</body></html>", report.Undetermined},
		{"a line of 404", "text/plain", "404 page not found", report.Undetermined},
		{"a store's 404", "application/xml", "<Error><Code>NoSuchKey</Code></Error>", report.LayerCorrupt},
		{"an empty 404", "", "", report.LayerCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, blobsBy(reg, layer, answer(404, "Content-Type: "+tt.kind, tt.body))))
			probetest.Want(t, probe(t, n, host+"/big:1"), "blob/"+host, report.Fail, tt.want, "status=404")
		})
	}
	t.Run("missing", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, blobsBy(reg, layer, noBlob)))
		c := probe(t, n, host+"/big:1")
		probetest.Want(t, c, "blob/"+host, report.Fail, report.LayerCorrupt, "status=404")
		probetest.Want(t, c, "image/"+host, report.Pass, "")
	})
	t.Run("the config is missing", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, blobsBy(reg, config, noBlob)))
		c := probe(t, n, host+"/big:1")
		if got := probetest.Want(t, c, "blob/"+host, report.Fail, report.LayerCorrupt, "status=404").Target; got != config {
			t.Errorf("asked for %s, want the config %s", got, config)
		}
		probetest.Want(t, c, "image/"+host, report.Skipped, "")
	})
	t.Run("forbidden, though the manifest is not", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, blobsBy(reg, layer, answer(403, "Content-Type: application/json", `{"errors":[{"code":"DENIED"}]}`))))
		probetest.Want(t, probe(t, n, host+"/big:1"), "blob/"+host, report.Fail, report.AccessForbidden, "code=DENIED")
	})
	t.Run("credentials for the layers only", func(t *testing.T) {
		auth := basicAuth("joe", "canary-secret", reg)
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, blobsBy(reg, layer, auth.ServeHTTP)))
		probetest.Want(t, probe(t, n, host+"/big:1"), "blob/"+host, report.Fail, report.AccessForbidden, "status=401")
	})
	t.Run("no credentials along the redirect", func(t *testing.T) {
		var rec recorder
		store := fmt.Sprintf("cdn.lab:%d", probetest.Serve(t, &cdnCert, rec.wrap(reg)))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, basicAuth("joe", "canary-secret", blobsElsewhere(reg, store))))
		c := probe(t, n, host+"/big:1", credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"})
		probetest.Want(t, c, "blob/"+host, report.Pass, "", "blobHost="+store)
		for _, s := range rec.all() {
			if strings.HasSuffix(s, "Basic") {
				t.Errorf("credentials went along: %q", s)
			}
		}
	})
	t.Run("another host that wants credentials, as the runtime would send", func(t *testing.T) {
		store := fmt.Sprintf("cdn.lab:%d", probetest.Serve(t, &cdnCert, basicAuth("joe", "canary-secret", reg)))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, basicAuth("joe", "canary-secret", blobsElsewhere(reg, store))))
		c := probe(t, n, host+"/big:1", credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"})
		probetest.Want(t, c, "blob/"+host, report.Skipped, "", "runtimeWouldSend=true")
	})
	t.Run("no manifest, no question", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, reg))
		if got := probetest.Want(t, probe(t, n, host+"/big:2"), "blob/"+host, report.Skipped, "").BlockedBy; got != "manifest/"+host {
			t.Errorf("blocked by %q", got)
		}
		if got := probetest.Want(t, probe(t, n, host+"/multi:1"), "blob/"+host, report.Skipped, "").BlockedBy; got != "image/"+host {
			t.Errorf("blocked by %q", got)
		}
	})
}

// noBlob answers as a registry does that lacks a layer.
func noBlob(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprint(w, probetest.OCIError("BLOB_UNKNOWN", "blob unknown to registry"))
}

// Each layer is asked for only if no test pull shows that it is there.
func TestEveryLayer(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	reg := probetest.NewRegistry(t)
	blobImage(t, reg, "app")
	lost := map[string]bool{}
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if digest := path.Base(q.URL.Path); lost[digest] {
			noBlob(w, q)
			return
		}
		reg.ServeHTTP(w, q)
	})))
	n := newProber(t, ca, nil)
	probe := func(every bool) map[string]report.Check {
		_, ref := reference.Parse(host + "/app:1")
		byID := map[string]report.Check{}
		for _, c := range Probe(t.Context(), n, ref, Target{Image: host + "/app:1", Platform: "linux/amd64", EveryLayer: every}) {
			byID[c.ID] = c
		}
		return byID
	}
	all := probe(true)
	c := probetest.Want(t, all, "blob/"+host, report.Pass, "", "layersSeen=3 of 3")
	big := c.Target
	if c := probetest.Want(t, probe(false), "blob/"+host, report.Pass, ""); c.Evidence[report.KeyLayersSeen] != "" {
		t.Errorf("evidence %v", c.Evidence)
	}
	for _, l := range layersOf(t, reg, "app") {
		lost[l] = l != big
	}
	probetest.Want(t, probe(false), "blob/"+host, report.Pass, "")
	if c := probetest.Want(t, probe(true), "blob/"+host, report.Fail, report.LayerCorrupt, "status=404"); c.Target == big {
		t.Errorf("the check is about %s", c.Target)
	}
}

// layersOf returns the digests of the layers of an image's tag 1.
func layersOf(t *testing.T, reg http.Handler, repo string) []string {
	t.Helper()
	w := httptest.NewRecorder()
	reg.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v2/"+repo+"/manifests/1", nil))
	m, err := v1.ParseManifest(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range m.Layers {
		out = append(out, l.Digest.String())
	}
	return out
}

// TestBlobOfMirrors holds what containerd does: for content it asks the hosts
// in order again, whichever of them had the manifest.
func TestLayerOfMirrors(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	reg := probetest.NewRegistry(t)
	layer, _ := blobImage(t, reg, "big")
	missing := func(w http.ResponseWriter, q *http.Request) { noBlob(w, q) }
	setup := func(t *testing.T, mirror, upstream http.Handler, capabilities string) (n *connect.Prober, m, u string) {
		t.Helper()
		u = fmt.Sprintf("registry.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "registry.lab")), upstream))
		m = fmt.Sprintf("mirror.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "mirror.lab")), mirror))
		return newProber(t, ca, map[string]string{"/etc/containerd/certs.d/" + u + "/hosts.toml": fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = %s\n", "https://"+u, "https://"+m, capabilities)}), m, u
	}
	both := `["pull", "resolve"]`

	t.Run("the mirror lacks the layer", func(t *testing.T) {
		n, m, u := setup(t, blobsBy(reg, layer, missing), reg, both)
		c := probe(t, n, u+"/big:1")
		probetest.Want(t, c, "manifest/"+m, report.Pass, "")
		probetest.Want(t, c, "blob/"+m, report.Fail, report.LayerCorrupt, "status=404")
		probetest.Want(t, c, "blob/"+u, report.Pass, "")
	})
	t.Run("the mirror has it", func(t *testing.T) {
		var rec recorder
		n, m, u := setup(t, reg, rec.wrap(reg), both)
		c := probe(t, n, u+"/big:1")
		probetest.Want(t, c, "blob/"+m, report.Pass, "")
		if _, ok := c["blob/"+u]; ok || rec.count("GET /v2/big/blobs") != 0 {
			t.Errorf("the registry was asked though the mirror has it: %q", rec.all())
		}
	})
	t.Run("the mirror has the layer and not the manifest", func(t *testing.T) {
		n, m, u := setup(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/manifests/") || strings.Contains(q.URL.Path, "/tags/") {
				http.NotFound(w, q)
				return
			}
			reg.ServeHTTP(w, q)
		}), blobsBy(reg, layer, missing), both)
		c := probe(t, n, u+"/big:1")
		probetest.Want(t, c, "image/"+u, report.Pass, "")
		probetest.Want(t, c, "blob/"+m, report.Pass, "")
	})
	t.Run("the mirror lacks both", func(t *testing.T) {
		n, m, u := setup(t, http.NotFoundHandler(), reg, both)
		c := probe(t, n, u+"/big:1")
		if got := probetest.Want(t, c, "blob/"+m, report.Skipped, "", "status=404").BlockedBy; got != "manifest/"+m {
			t.Errorf("blocked by %q", got)
		}
		probetest.Want(t, c, "blob/"+u, report.Pass, "")
	})
	t.Run("a mirror for content only", func(t *testing.T) {
		n, m, u := setup(t, reg, blobsBy(reg, layer, missing), `["pull"]`)
		c := probe(t, n, u+"/big:1")
		probetest.Want(t, c, "hosts/"+u, report.Pass, "", "order="+u, "blobsOnly="+m)
		probetest.Want(t, c, "blob/"+m, report.Pass, "")
		if _, ok := c["manifest/"+m]; ok {
			t.Error("it was asked for the manifest")
		}
	})
	t.Run("a mirror for content only, with a login", func(t *testing.T) {
		n, m, u := setup(t, basicAuth("joe", "canary-secret", reg), basicAuth("joe", "canary-secret", reg), `["pull"]`)
		c := probe(t, n, u+"/big:1", credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"})
		probetest.Want(t, c, "blob/"+m, report.Pass, "", "usedCredential=secret a/b")
	})
	t.Run("a dead mirror for content only", func(t *testing.T) {
		u := fmt.Sprintf("registry.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "registry.lab")), reg))
		m := fmt.Sprintf("mirror.lab:%d", probetest.ClosedPort(t))
		n := newProber(t, ca, map[string]string{"/etc/containerd/certs.d/" + u + "/hosts.toml": fmt.Sprintf("[host.%q]\ncapabilities = [\"pull\"]\n", "https://"+m)})
		c := probe(t, n, u+"/big:1")
		if got := probetest.Want(t, c, "blob/"+m, report.Skipped, "").BlockedBy; !strings.HasPrefix(got, "dial/"+m) {
			t.Errorf("blocked by %q", got)
		}
		probetest.Want(t, c, "blob/"+u, report.Pass, "")
	})
	t.Run("a mirror that hangs leaves time for the registry", func(t *testing.T) {
		release := make(chan struct{})
		n, m, u := setup(t, blobsBy(reg, layer, func(http.ResponseWriter, *http.Request) { <-release }), reg, both)
		defer close(release)
		n.Limits.Overall = time.Second
		c := probe(t, n, u+"/big:1")
		probetest.Want(t, c, "blob/"+m, report.Fail, report.RegistryUnavailable, "deadline=true")
		probetest.Want(t, c, "blob/"+u, report.Pass, "")
	})
	t.Run("no second request after a 429", func(t *testing.T) {
		var rec recorder
		n, m, u := setup(t, rec.wrap(blobsBy(reg, layer, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) })), reg, both)
		c := probe(t, n, u+"/big:1")
		probetest.Want(t, c, "blob/"+m, report.Fail, report.RateLimited)
		probetest.Want(t, c, "blob/"+u, report.Pass, "")
		if got := rec.count("GET /v2/big/blobs/" + layer); got != 1 {
			t.Errorf("asked %d times: %q", got, rec.all())
		}
	})
}

// probeBlobs looks at a registry that keeps its blobs on store. The checks
// have the ids "blob", "image" and "manifest" for short.
func probeBlobs(t *testing.T, n *connect.Prober, cert *tls.Certificate, reg http.Handler, store string) map[string]report.Check {
	t.Helper()
	// The config is here, so that only the layers are in question.
	layers := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Range") != "" {
			blobsElsewhere(reg, store).ServeHTTP(w, q)
			return
		}
		reg.ServeHTTP(w, q)
	})
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, cert, layers))
	checks := probe(t, n, host+"/big:1")
	for id, check := range checks {
		if kind, ok := strings.CutSuffix(id, "/"+host); ok {
			checks[kind] = check
		}
	}
	return checks
}

// ignoreRange serves blobs without regard to the Range.
func ignoreRange(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		q.Header.Del("Range")
		h.ServeHTTP(w, q)
	})
}
