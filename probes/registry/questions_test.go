package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/imagemanifest"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// A refused HEAD has a GET beside it, which tells a gateway from a missing image.
func TestGetBesideHead(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	headAnswers := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodHead && strings.Contains(q.URL.Path, "/manifests/") {
				w.WriteHeader(status)
				return
			}
			reg.ServeHTTP(w, q)
		})
	}
	for _, tt := range []struct {
		status    int
		image     string
		cause     report.Cause
		getStatus string
	}{
		{404, "app:1", report.Undetermined, "200"},
		{403, "app:1", report.Undetermined, "200"},
		{400, "app:1", report.Undetermined, "200"},
		{501, "app:1", report.Undetermined, "200"},
		{404, "app:9.9", report.TagNotFound, "404"},
	} {
		t.Run(fmt.Sprintf("HEAD %d of %s", tt.status, tt.image), func(t *testing.T) {
			if tt.status == 501 { // a server error for containerd, which does not repeat it
				tt.cause = report.Undetermined
			}
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, headAnswers(tt.status)))
			c := probe(t, n, host+"/"+tt.image)
			probetest.Want(t, c, "manifest/"+host, report.Fail, tt.cause, "getStatus="+tt.getStatus)
		})
	}
}

// Whether a missing tag is in the registry's own list, as far as the list was read.
func TestListed(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	var many []string
	for i := range 3000 {
		many = append(many, fmt.Sprintf("2024.%04d", i))
	}
	for _, tt := range []struct {
		name, tag string
		list      []string // nil: the registry's own
		want      string
	}{
		{"a short list without it", "9.9", nil, "false"},
		{"a short list with it", "9.9", []string{"1", "9.9"}, "true"},
		{"a long list with it", "2024.2500", many, "true"},
		{"a long list without it", "2024.2500x", many, "false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Handler(reg)
			if tt.list != nil {
				h = longList(reg, "app", tt.list)
			}
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, h))
			probetest.Want(t, probe(t, n, host+"/app:"+tt.tag), "manifest/"+host, report.Fail, report.TagNotFound, "listed="+tt.want, "getStatus=404")
		})
	}
}

// What a host is: a registry by its answers, or none.
func TestIsRegistry(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	site := func(status int, contentType, challenge, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			if challenge != "" {
				w.Header().Set("WWW-Authenticate", challenge)
			}
			w.WriteHeader(status)
			w.Write([]byte(body))
		})
	}
	for _, tt := range []struct {
		name       string
		h          http.Handler
		isRegistry string
	}{
		{"a registry without the tag", probetest.NewRegistry(t), "true"},
		{"a web site", site(404, "text/html", "", "<html>"), "false"},
		{"a web site with a login", site(401, "text/html", `Basic realm="Staging site"`, "<html>"), "false"},
		{"a backend that knows no path", site(404, "text/plain", "", "default backend - 404"), "false"},
		{"a registry with a login", site(401, "application/json", `Basic realm="r"`, `{"errors":[{"code":"UNAUTHORIZED"}]}`), "true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tt.h))
			c := probe(t, n, host+"/nothing:9")
			if got := c["registry/"+host]; got.Outcome == report.Fail || got.Evidence["isRegistry"] != tt.isRegistry {
				t.Errorf("%+v", got)
			}
			if got := c["dns/"+host].Evidence["sibling"]; got != "same" {
				t.Errorf("sibling %q", got)
			}
		})
	}
	for product, header := range map[string][2]string{
		"artifactory": {"X-JFrog-Version", "Artifactory/7.77.5"},
		"harbor":      {"X-Harbor-Csrf-Token", "x"},
		"nexus":       {"Server", "Nexus/3.70.1-02 (OSS)"},
		"acr":         {"Server", "AzureContainerRegistry"},
	} {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, status(404, map[string]string{header[0]: header[1], "Docker-Distribution-Api-Version": "registry/2.0"}, "")))
		probetest.Want(t, probe(t, n, host+"/app:1"), "registry/"+host, report.Pass, "", "product="+product, "isRegistry=true")
	}
}

// Whether a login was used, and whether one would have been.
func TestChallengedAndLoginUsed(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	joe := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"}
	reg := probetest.NewRegistry(t)
	open := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, reg))
	closed := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, basicAuth("joe", "canary-secret", reg)))
	for _, tt := range []struct {
		host                  string
		creds                 []credentials.Credential
		challenged, loginUsed string
	}{
		{open, []credentials.Credential{joe}, "", ""}, // a login that is never used
		{closed, []credentials.Credential{joe}, "true", "true"},
		{closed, nil, "true", ""},
	} {
		e := probe(t, n, tt.host+"/app:9.9", tt.creds...)["manifest/"+tt.host].Evidence
		if e["challenged"] != tt.challenged || e["loginUsed"] != tt.loginUsed {
			t.Errorf("%s with %d logins: %v", tt.host, len(tt.creds), e)
		}
	}
}

// A limit that only a question met is none of the runtime's, and a host that says it is
// nearly used up gets no question.
func TestQuestionsLeaveTheLimit(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	t.Run("the question is refused", func(t *testing.T) {
		var log recorder
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, log.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method != http.MethodHead {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			reg.ServeHTTP(w, q)
		}))))
		probetest.Want(t, probe(t, n, host+"/app:9.9"), "manifest/"+host, report.Fail, report.TagNotFound, "limited=429")
		if len(log.all()) > 2 {
			t.Errorf("asked again after 429: %q", log.all())
		}
	})
	t.Run("few are left", func(t *testing.T) {
		var log recorder
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, log.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("RateLimit-Remaining", "3;w=21600")
			reg.ServeHTTP(w, q)
		}))))
		probetest.Want(t, probe(t, n, host+"/app:9.9"), "manifest/"+host, report.Fail, report.TagNotFound, "limited=few left", "remaining=3;w=21600")
		if got := log.all(); len(got) != 1 {
			t.Errorf("questions were sent: %q", got)
		}
		checks := probe(t, n, host+"/app:1")
		probetest.Want(t, checks, "blob/"+host, report.Pass, "") // the runtime's own go on
		probetest.Want(t, checks, "manifest/"+host, report.Pass, "", "remaining=3;w=21600")
	})
}

// A step that was not seen says what, and does not pass.
func TestNotSeen(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	blobsGoTo := func(address string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/blobs/") && q.Header.Get("Range") != "" {
				http.Redirect(w, q, address+q.URL.Path, http.StatusTemporaryRedirect)
				return
			}
			reg.ServeHTTP(w, q)
		})
	}
	large := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", imagemanifest.DockerManifest)
			w.Write(make([]byte, 100<<10))
			return
		}
		reg.ServeHTTP(w, q)
	})
	closedStore := fmt.Sprintf("https://store.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "store.lab")), basicAuth("joe", "x", reg)))
	for _, tt := range []struct {
		name, check string
		h           http.Handler
		login       bool
	}{
		{"a manifest that is too large", "image/", large, false},
		{"layers of a manifest that was not read", "blob/", large, false},
		{"a redirect that is refused", "blob/", blobsGoTo("https://169.254.169.254"), false},
		{"a redirect without TLS", "blob/", blobsGoTo("http://store.lab"), false},
		{"a store that requires a login", "blob/", basicAuth("joe", "canary-secret", blobsGoTo(closedStore)), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tt.h))
			var creds []credentials.Credential
			if tt.login {
				creds = append(creds, credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"})
			}
			got := probe(t, n, host+"/app:1", creds...)[tt.check+host]
			if got.Outcome != report.Skipped && got.Outcome != report.Unknown || got.Evidence["notSeen"] == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A proxy that refuses the host of the layers, or cannot reach it, is named.
func TestLayersBehindProxy(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.outside")
	reg := probetest.NewRegistry(t)
	port := probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.Contains(q.URL.Path, "/blobs/") && q.Header.Get("Range") != "" {
			http.Redirect(w, q, "https://cdn.outside"+q.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		reg.ServeHTTP(w, q)
	}))
	host := fmt.Sprintf("r.outside:%d", port)
	for refusal, want := range map[int]report.Cause{403: report.ProxyDenied, 407: report.ProxyDenied, 451: report.ProxyDenied, 502: report.BlobHostUnreachable} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Host != host {
				w.WriteHeader(refusal)
				return
			}
			probetest.TunnelTo(w, fmt.Sprintf("127.0.0.1:%d", port))
		}))
		m := *newProber(t, ca, nil)
		m.Proxy = view.ReadProxy([]string{"HTTPS_PROXY=" + proxy.URL})
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, "blob/"+host, report.Fail, want, fmt.Sprintf("proxyStatus=%d", refusal), "proxyFor=cdn.outside", "blobHost=cdn.outside", "innerCause")
		proxy.Close()
	}
}

// A realm over plain HTTP is named: the runtime would send the login in clear.
func TestRealmPlain(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	probetest.PushImage(t, reg, "public", probetest.ImageFor(t, "amd64"), "1")
	var log recorder
	realm := fmt.Sprintf("http://auth.lab:%d/token", probetest.Serve(t, nil, tokenService(&log)))
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(realm, reg)))
	joe := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"}
	probetest.Want(t, probe(t, n, host+"/app:1", joe), "token/"+host, report.Skipped, "", "realmPlain=true")
	if withLogin(&log) > 0 {
		t.Errorf("the login was sent: %q", log.all())
	}
	probetest.Want(t, probe(t, n, host+"/public:1"), "token/"+host, report.Pass, "", "realmPlain=true")
}

// A login that the token service refuses for a guessed repository is not sent for others.
func TestGuessesEndAtARefusal(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	var refused atomic.Int32
	service := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if scope := q.FormValue("scope"); !strings.Contains(scope, "repository:team/web_app:pull") {
			refused.Add(1)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"token": "t", "access_token": "t"})
	})
	realm := fmt.Sprintf("https://auth.lab:%d/token", probetest.Serve(t, ptr(ca.Good(t, "auth.lab")), service))
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(realm, probetest.NewRegistry(t))))
	joe := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"}
	probetest.Want(t, probe(t, n, host+"/team/web_app:1", joe), "manifest/"+host, report.Fail, report.AccessDeniedOrMissing, "loginUsed=true")
	if got := refused.Load(); got != 1 {
		t.Errorf("the login was refused %d times", got)
	}
}
