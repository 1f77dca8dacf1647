package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// recorder keeps the requests to a server.
type recorder struct {
	mu   sync.Mutex
	seen []string // "HEAD /v2/app/manifests/1 basic"
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

func (r *recorder) count(prefix string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.seen {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// status gives the same answer to every request below /v2/, but not to /v2/ itself.
func status(code int, header map[string]string, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/v2/" {
			return
		}
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	})
}

func TestRegistryAnswers(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	user := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret shop/pull"}
	denied := `{"errors":[{"code":"DENIED","message":"canary-message"}]}`
	tests := []struct {
		name  string
		h     http.Handler
		creds []credentials.Credential
		cause report.Cause
		facts []string
	}{
		{"503", status(503, nil, ""), nil, report.RegistryUnavailable, []string{"status=503"}},
		{"429", status(429, map[string]string{"Retry-After": "77", "RateLimit-Limit": "100;w=21600"}, ""), nil, report.RateLimited, []string{"retryAfter=77", "limit=100;w=21600"}},
		{"403 without credentials", status(403, nil, denied), nil, report.AccessDeniedOrMissing, []string{"code=DENIED"}},
		{"404 that says nothing", status(404, nil, ""), nil, report.TagNotFound, []string{"repository=unknown"}},
		{"404 unknown name", status(404, nil, `{"errors":[{"code":"NAME_UNKNOWN"}]}`), nil, report.RepositoryNotFound, []string{"code=NAME_UNKNOWN", "anonymous=true"}},
		{"404 unknown manifest", status(404, nil, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`), nil, report.TagNotFound, []string{"code=MANIFEST_UNKNOWN"}},
		{"401 without a challenge", status(401, nil, ""), nil, report.Undetermined, nil},
		{"basic, no credentials", basicAuth("joe", "x", status(200, nil, "")), nil, report.CredentialsMissing, []string{"auth=basic"}},
		{"basic, wrong", basicAuth("joe", "x", status(200, nil, "")), []credentials.Credential{user}, report.CredentialsRejected, []string{"credentials=secret shop/pull: 401"}},
		{"basic, right but forbidden", basicAuth("joe", "canary-secret", status(403, nil, denied)), []credentials.Credential{user}, report.AccessForbidden, []string{"code=DENIED"}},
		{"web page", status(200, map[string]string{"Content-Type": "text/html; charset=utf-8"}, "<html>"), nil, report.Undetermined, []string{"contentType=text/html; charset=utf-8"}},
		{"hang up", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path != "/v2/" {
				panic(http.ErrAbortHandler)
			}
		}), nil, report.ConnectionReset, []string{"eof=true"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rec recorder
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, rec.wrap(tt.h)))
			c := probe(t, n, host+"/app:1", tt.creds...)
			probetest.Want(t, c, "manifest/"+host, report.Fail, tt.cause, tt.facts...)
			for _, check := range c {
				if strings.Contains(fmt.Sprint(check), "canary") {
					t.Errorf("a server's words or a secret in %+v", check)
				}
			}
			if tt.cause == report.RateLimited && rec.count("") != 1 {
				t.Errorf("asked again after 429: %q", rec.all())
			}
			if got := rec.count("GET /v2/app/manifests"); got > 2 {
				t.Errorf("%d GETs of a manifest", got)
			}
		})
	}

	t.Run("429 at the door", func(t *testing.T) {
		var rec recorder
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) })
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, rec.wrap(h)))
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "manifest/"+host, report.Fail, report.RateLimited)
		probetest.Want(t, c, "registry/"+host, report.Skipped, "")
		if len(rec.all()) != 1 {
			t.Errorf("asked again after 429: %q", rec.all())
		}
	})
	t.Run("no answer", func(t *testing.T) {
		m := *n
		m.Limits.HTTP = 100 * time.Millisecond
		release := make(chan struct{})
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })))
		defer close(release)
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, "manifest/"+host, report.Fail, report.RegistryUnavailable, "deadline=true")
	})
	t.Run("several credentials, each once", func(t *testing.T) {
		var rec recorder
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, rec.wrap(basicAuth("right", "canary-r", probetest.NewRegistry(t)))))
		wrong := credentials.Credential{Username: "w", Password: "canary-w", Source: "secret a/wrong"}
		right := credentials.Credential{Username: "right", Password: "canary-r", Source: "secret a/right"}
		c := probe(t, n, host+"/app:1", wrong, right, wrong)
		probetest.Want(t, c, "manifest/"+host, report.Pass, "", "usedCredential=secret a/right", "credentials=secret a/wrong: 401; secret a/right: 200")
		probetest.Want(t, c, "image/"+host, report.Pass, "")
		if got := rec.count("HEAD /v2/app/manifests/1 Basic"); got != 2 {
			t.Errorf("asked with credentials %d times: %q", got, rec.all())
		}
	})
	t.Run("credentials are kept from plain HTTP", func(t *testing.T) {
		var rec recorder
		port := probetest.Serve(t, nil, rec.wrap(basicAuth("joe", "canary-secret", probetest.NewRegistry(t))))
		host := fmt.Sprintf("r.lab:%d", port)
		n := newProber(t, ca, map[string]string{"/etc/containerd/certs.d/" + host + "/hosts.toml": `server = "http://` + host + `"`})
		c := probe(t, n, host+"/app:1", user)
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "", "runtimeWouldSend=true")
		if rec.count("HEAD /v2/app/manifests/1 Basic") != 0 {
			t.Errorf("credentials over plain HTTP: %q", rec.all())
		}
	})
	t.Run("credentials do not follow a redirect", func(t *testing.T) {
		var rec recorder
		elsewhere := probetest.Serve(t, ptr(ca.Good(t, "e.lab")), rec.wrap(basicAuth("joe", "canary-secret", probetest.NewRegistry(t))))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, basicAuth("joe", "canary-secret", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, fmt.Sprintf("https://e.lab:%d%s", elsewhere, q.URL.Path), http.StatusTemporaryRedirect)
		}))))
		c := probe(t, n, host+"/app:1", user)
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "", "runtimeWouldSend=true")
		for _, s := range rec.all() {
			if strings.HasSuffix(s, "Basic") {
				t.Errorf("credentials went along: %q", s)
			}
		}
	})
	t.Run("redirect from https to http", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.RedirectHandler("http://e.lab/", 302)))
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "", "refused=a redirect from https to http")
	})
	t.Run("redirect to the metadata service", func(t *testing.T) {
		m := *n
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.RedirectHandler("https://169.254.169.254/latest/", 302)))
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "", "refused=169.254.169.254 is a link-local address")
	})
}

func ptr[T any](v T) *T { return &v }

// basicAuth asks for a user name and password everywhere.
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

// tokenAuth is a registry with a token service of its own at /token, which
// gives a token for all repositories to the user, and for "public" to anonymous
// clients.
func tokenAuth(realm string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		repo := strings.Split(strings.TrimPrefix(q.URL.Path, "/v2/"), "/")[0]
		switch token := strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer "); {
		case token == "user", token == "nobody" && repo == "public":
			h.ServeHTTP(w, q)
		default:
			e := ""
			if token != "" {
				e = `,error="insufficient_scope"`
			}
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="lab",scope="repository:%s:pull"%s`, realm, repo, e))
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
}

func tokenService(rec *recorder) http.Handler {
	return rec.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		give := func(token string) { json.NewEncoder(w).Encode(map[string]string{"token": token}) }
		user, password, sent := q.BasicAuth()
		switch {
		case q.Method == "POST" && (q.PostFormValue("refresh_token") == "canary-identity" || q.PostFormValue("password") == "canary-secret"):
			json.NewEncoder(w).Encode(map[string]string{"access_token": "user"}) // containerd reads no other field
		case q.Method == "POST":
			w.WriteHeader(401)
		case !sent:
			give("nobody")
		case user == "joe" && password == "canary-secret":
			give("user")
		case user == "forbidden":
			w.WriteHeader(403)
		default:
			w.WriteHeader(401)
		}
	}))
}

func TestTokens(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	n := newProber(t, ca, nil)
	var rec recorder
	service := probetest.Serve(t, ptr(ca.Good(t, "auth.lab")), tokenService(&rec))
	reg := probetest.NewRegistry(t)
	probetest.PushImage(t, reg, "public", probetest.ImageFor(t, "amd64"), "1")
	realm := fmt.Sprintf("https://auth.lab:%d/token", service)
	cert := ca.Good(t, "r.lab")
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(realm, reg)))
	good := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/good"}
	identity := credentials.Credential{IdentityToken: "canary-identity", Source: "secret a/identity"}
	wrong := credentials.Credential{Username: "joe", Password: "canary-wrong", Source: "secret a/wrong"}
	forbidden := credentials.Credential{Username: "forbidden", Password: "canary-f", Source: "secret a/forbidden"}
	ignored := credentials.Credential{Source: "secret a/ignored"}

	tests := []struct {
		name, image string
		creds       []credentials.Credential
		token       report.Cause
		manifest    report.Cause
		facts       []string
	}{
		{"public", "public:1", nil, "", "", []string{"anonymous=true"}},
		{"good", "app:1", []credentials.Credential{good}, "", "", []string{"usedCredential=secret a/good"}},
		{"identity token", "app:1", []credentials.Credential{identity}, "", "", []string{"usedCredential=secret a/identity"}},
		{"missing tag", "app:2", []credentials.Credential{good}, "", report.TagNotFound, []string{"repository=exists"}},
		{"anonymous", "app:1", nil, "", report.AccessDeniedOrMissing, []string{"error=insufficient_scope", "anonymous=true"}},
		{"ignored kind", "app:1", []credentials.Credential{ignored}, "", report.AccessDeniedOrMissing, []string{"anonymous=true"}},
		{"wrong", "app:1", []credentials.Credential{wrong}, report.CredentialsRejected, report.CredentialsRejected, []string{"credentials=secret a/wrong: 401"}},
		{"forbidden", "app:1", []credentials.Credential{forbidden}, report.AccessForbidden, report.AccessForbidden, nil},
		{"wrong, then good", "app:1", []credentials.Credential{wrong, good}, "", "", []string{"usedCredential=secret a/good"}},
		{"wrong identity", "app:1", []credentials.Credential{{IdentityToken: "canary-other", Source: "s"}}, report.CredentialsRejected, report.CredentialsRejected, nil},
	}
	outcome := func(c report.Cause) report.Outcome {
		if c == "" {
			return report.Pass
		}
		return report.Fail
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := probe(t, n, host+"/"+tt.image, tt.creds...)
			probetest.Want(t, c, "token/"+host, outcome(tt.token), tt.token, fmt.Sprintf("realmHost=auth.lab:%d", service))
			probetest.Want(t, c, "manifest/"+host, outcome(tt.manifest), tt.manifest, tt.facts...)
		})
	}

	services := []struct {
		name, realm string
		cause       report.Cause
		facts       []string
	}{
		{"service unresolvable", "https://auth.example/token", report.TokenServiceFailed, []string{"innerCause=HostNotFound"}},
		{"service refuses connections", fmt.Sprintf("https://auth.lab:%d/token", probetest.ClosedPort(t)), report.TokenServiceFailed, []string{"innerCause=ConnectionRefused"}},
		{"service with another certificate", fmt.Sprintf("https://auth.lab:%d/token", probetest.Serve(t, &cert, reg)), report.TokenServiceFailed, []string{"innerCause=CertificateNameMismatch"}},
		{"service down", fmt.Sprintf("https://r.lab:%d/token", probetest.Serve(t, &cert, status(503, nil, ""))), report.TokenServiceFailed, []string{"status=503"}},
		{"web page", fmt.Sprintf("https://r.lab:%d/token", probetest.Serve(t, &cert, status(200, map[string]string{"Content-Type": "text/html"}, "<html>"))), report.TokenServiceFailed, []string{"contentType=text/html"}},
		{"web page of a filter", fmt.Sprintf("https://r.lab:%d/token", probetest.Serve(t, &cert, status(403, map[string]string{"Content-Type": "text/html"}, "<html>"))), report.TokenServiceFailed, []string{"contentType=text/html", "status=403"}},
		{"no realm", "", report.TokenServiceFailed, nil},
	}
	for _, tt := range services {
		t.Run(tt.name, func(t *testing.T) {
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(tt.realm, reg)))
			c := probe(t, n, host+"/app:1", good)
			probetest.Want(t, c, "token/"+host, report.Fail, tt.cause, tt.facts...)
			probetest.Want(t, c, "manifest/"+host, report.Fail, tt.cause)
		})
	}
	for _, tt := range []struct{ name, realm string }{
		{"plain HTTP realm", fmt.Sprintf("http://auth.lab:%d/token", probetest.Serve(t, nil, tokenService(&rec)))},
		{"link-local realm", "https://169.254.169.254/token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(rec.all())
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(tt.realm, reg)))
			c := probe(t, n, host+"/app:1", good)
			probetest.Want(t, c, "token/"+host, report.Skipped, "")
			probetest.Want(t, c, "manifest/"+host, report.Skipped, "")
			if len(rec.all()) != before {
				t.Errorf("the service was asked: %q", rec.all()[before:])
			}
		})
	}
}

func TestMirrors(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	mirrorCA := probetest.NewAuthority(t, nil)
	var mirrorSeen recorder
	reg := probetest.NewRegistry(t)
	upstream := fmt.Sprintf("registry.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "registry.lab")), reg))
	mirrorHandler := mirrorSeen.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Query().Get("ns") != upstream && q.URL.Path != "/v2/" {
			w.WriteHeader(400)
			return
		}
		reg.ServeHTTP(w, q)
	}))
	mirror := fmt.Sprintf("mirror.lab:%d", probetest.Serve(t, ptr(mirrorCA.Good(t, "mirror.lab")), mirrorHandler))
	dir := "/etc/containerd/certs.d/" + strings.Replace(upstream, ":", "_", 1) + "_"
	conf := fmt.Sprintf("server = %q\n[host.%q]\n  ca = \"ca.pem\"\n", "https://"+upstream, "https://"+mirror)

	t.Run("both", func(t *testing.T) {
		n := newProber(t, ca, map[string]string{dir + "/hosts.toml": conf, dir + "/ca.pem": string(mirrorCA.PEM)})
		c := probe(t, n, upstream+"/app:1")
		probetest.Want(t, c, "hosts/"+upstream, report.Pass, "", "order="+mirror+","+upstream, "file="+dir+"/hosts.toml")
		probetest.Want(t, c, "manifest/"+mirror, report.Pass, "")
		probetest.Want(t, c, "manifest/"+upstream, report.Pass, "")
		probetest.Want(t, c, "image/"+mirror, report.Pass, "")
		if _, ok := c["image/"+upstream]; ok {
			t.Error("the image was looked at twice")
		}
	})
	t.Run("the authority is the mirror's alone", func(t *testing.T) {
		n := newProber(t, mirrorCA, map[string]string{dir + "/hosts.toml": conf, dir + "/ca.pem": string(mirrorCA.PEM)})
		c := probe(t, n, upstream+"/app:1")
		probetest.Want(t, c, "manifest/"+mirror, report.Pass, "")
		probetest.Want(t, c, "tls/"+upstream+"/"+strings.Replace(upstream, "registry.lab", "127.0.0.1", 1), report.Fail, report.CertificateUntrusted)
	})
	t.Run("ca file missing", func(t *testing.T) {
		n := newProber(t, ca, map[string]string{dir + "/hosts.toml": conf})
		c := probe(t, n, upstream+"/app:1")
		probetest.Want(t, c, "hosts/"+upstream, report.Fail, report.RuntimeConfigInvalid, "file="+dir+"/ca.pem")
		probetest.Want(t, c, "manifest/"+upstream, report.Skipped, "")
	})
	t.Run("no host that resolves tags", func(t *testing.T) {
		n := newProber(t, ca, map[string]string{dir + "/hosts.toml": "capabilities = [\"push\"]\nserver = \"https://" + upstream + "\"\n"})
		c := probe(t, n, upstream+"/app:1")
		probetest.Want(t, c, "hosts/"+upstream, report.Fail, report.RuntimeConfigInvalid)
		probetest.Want(t, c, "manifest/"+upstream, report.Skipped, "")
	})
	t.Run("syntax error", func(t *testing.T) {
		n := newProber(t, ca, map[string]string{dir + "/hosts.toml": "server = \"https://" + upstream + "\n[host"})
		c := probe(t, n, upstream+"/app:1")
		check := probetest.Want(t, c, "hosts/"+upstream, report.Fail, report.RuntimeConfigInvalid, "ignored=true", "order="+upstream)
		if !strings.Contains(check.Summary, "line 1") {
			t.Errorf("the summary does not say where: %s", check.Summary)
		}
		probetest.Want(t, c, "manifest/"+upstream, report.Pass, "")
	})
	t.Run("misspelt key", func(t *testing.T) {
		n := newProber(t, ca, map[string]string{dir + "/hosts.toml": conf + "capabilites = [\"pull\"]\n", dir + "/ca.pem": string(mirrorCA.PEM)})
		c := probe(t, n, upstream+"/app:1")
		probetest.Want(t, c, "hosts/"+upstream, report.Pass, "", "unknownKeys")
	})
	t.Run("mirror by plain HTTP behind skip_verify", func(t *testing.T) {
		port := probetest.Serve(t, nil, mirrorHandler)
		host := fmt.Sprintf("mirror.lab:%d", port)
		n := newProber(t, ca, map[string]string{dir + "/hosts.toml": fmt.Sprintf("[host.%q]\nskip_verify = true\n", "http://"+host)})
		c := probe(t, n, upstream+"/app:1")
		probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), report.Skipped, "")
		probetest.Want(t, c, "manifest/"+host, report.Pass, "")
	})
	t.Run("skip_verify", func(t *testing.T) {
		n := newProber(t, ca, map[string]string{dir + "/hosts.toml": fmt.Sprintf("[host.%q]\nskip_verify = true\n", "https://"+mirror)})
		c := probe(t, n, upstream+"/app:1")
		probetest.Want(t, c, "tls/"+mirror+"/"+strings.Replace(mirror, "mirror.lab", "127.0.0.1", 1), report.Pass, "", "skipVerify=true", "unverified=CertificateUntrusted")
		probetest.Want(t, c, "manifest/"+mirror, report.Pass, "")
	})
}

func TestProxy(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "registry.outside")
	port := probetest.Serve(t, &cert, probetest.NewRegistry(t))
	image := fmt.Sprintf("registry.outside:%d/app:1", port) // no resolver here knows it
	host := fmt.Sprintf("registry.outside:%d", port)
	proxy := httptest.NewServer(connectProxy(http.StatusOK, fmt.Sprintf("127.0.0.1:%d", port)))
	t.Cleanup(proxy.Close)

	t.Run("through", func(t *testing.T) {
		n := newProber(t, ca, nil, "HTTPS_PROXY="+strings.Replace(proxy.URL, "http://", "http://u:canary-secret@", 1))
		c := probe(t, n, image, credentials.Credential{Username: "x", Password: "canary-secret"})
		probetest.Want(t, c, "dns/"+host, report.Skipped, "")
		probetest.Want(t, c, "dial/"+host+"/proxy", report.Pass, "")
		probetest.Want(t, c, "tls/"+host+"/proxy", report.Pass, "", "names=registry.outside")
		probetest.Want(t, c, "manifest/"+host, report.Pass, "")
		probetest.Want(t, c, "image/"+host, report.Pass, "")
	})
	t.Run("denied", func(t *testing.T) {
		denying := httptest.NewServer(connectProxy(http.StatusForbidden, ""))
		t.Cleanup(denying.Close)
		n := newProber(t, ca, nil, "HTTPS_PROXY="+denying.URL)
		c := probe(t, n, image)
		probetest.Want(t, c, "dial/"+host+"/proxy", report.Fail, report.ProxyDenied, "status=403")
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "")
	})
	t.Run("unreachable", func(t *testing.T) {
		n := newProber(t, ca, nil, fmt.Sprintf("HTTPS_PROXY=http://127.0.0.1:%d", probetest.ClosedPort(t)))
		c := probe(t, n, image)
		probetest.Want(t, c, "dial/"+host+"/proxy", report.Fail, report.ProxyUnreachable, "innerCause=ConnectionRefused")
	})
	t.Run("unresolvable", func(t *testing.T) {
		n := newProber(t, ca, nil, "HTTPS_PROXY=http://proxy.example:3128")
		c := probe(t, n, image)
		probetest.Want(t, c, "dial/"+host+"/proxy", report.Fail, report.ProxyUnreachable, "innerCause=HostNotFound")
	})
	t.Run("not for this host", func(t *testing.T) {
		n := newProber(t, ca, nil, "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=.outside")
		c := probe(t, n, image)
		probetest.Want(t, c, "dns/"+host, report.Fail, report.HostNotFound)
	})
}

// connectProxy answers CONNECT with code, and with 200 tunnels to target.
func connectProxy(code int, target string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method != http.MethodConnect || code != http.StatusOK {
			w.WriteHeader(code)
			return
		}
		probetest.TunnelTo(w, target)
	})
}
