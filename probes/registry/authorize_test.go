package registry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Only authorize.go puts a login into a request. The header of a proxy is the proxy's.
func TestLoginsInOnePlace(t *testing.T) {
	// What makes a login, in the file that sends it, and who makes one, in the file that decides.
	makers := []string{".WithBasic(", ".WithToken("}
	words := []string{`"Authorization"`, `"authorization"`, "SetBasicAuth", `"Basic `, `"Bearer `, `"refresh_token"`, `"grant_type"`, `"password"`, "authorization:", ".authorization = "}
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "lab" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		probes := strings.HasPrefix(path, "../../probes/") || strings.HasPrefix(path, "../../runtimeconfig/")
		if d.IsDir() || !probes || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, w := range append(words, makers...) {
			switch n := strings.Count(string(text), w); {
			case n == 0:
			case strings.HasSuffix(path, "httpclient/login.go"):
				found++
			case slices.Contains(makers, w) && strings.HasSuffix(path, "registry/authorize.go"):
			case w == `"Basic ` && strings.HasSuffix(path, "connect/tunnel.go"): // Proxy-Authorization
			default:
				t.Errorf("%s has %s: only httpclient/login.go may", path, w)
			}
		}
		return err
	})
	if err != nil || found == 0 {
		t.Errorf("%d words in httpclient/login.go: %v", found, err)
	}
}

// A login that was made for one host does not go to another, by any path.
func TestLoginOfAnotherHost(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	var log recorder
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, log.wrap(http.NotFoundHandler())))
	n := newProber(t, ca, nil)
	c := httpclient.New(n, runtimeconfig.Host{Scheme: "https", Host: host}, netipAddr(t, host), httpclient.NewBudget())
	defer c.Close()
	_, err := c.Send(t.Context(), httpclient.Request{Method: "GET", URL: "https://" + host + "/v2/", By: httpclient.Login{}.WithToken("other.lab", "x")})
	var blocked *connect.BlockedError
	if !errors.As(err, &blocked) || len(log.all()) != 0 {
		t.Errorf("%v, requests %q", err, log.all())
	}
}

// probeAs is probe for another target.
func probeAs(t *testing.T, n *connect.Prober, target Target) map[string]report.Check {
	t.Helper()
	_, ref := reference.Parse(target.Image)
	target.Platform = "linux/amd64"
	c := map[string]report.Check{}
	for _, check := range Probe(t.Context(), n, ref, target) {
		t.Logf("%s %s: %s %v", check.Outcome, check.ID, check.Summary, check.Evidence)
		c[check.ID] = check
	}
	return c
}

// withLogin reports how many requests had a login.
func withLogin(r *recorder) (n int) {
	for _, q := range r.all() {
		if strings.Contains(q, "Basic") || strings.Contains(q, "Bearer") {
			n++
		}
	}
	return n
}

// Where the list of hosts is a guess, a mirror gets no login; the registry of the image
// does.
func TestNoLoginForGuessedMirrors(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "m.lab")
	var mirrorLog, log recorder
	closed := basicAuth("joe", "canary-secret", probetest.NewRegistry(t))
	var headers atomic.Int32
	mirror := fmt.Sprintf("m.lab:%d", probetest.Serve(t, &cert, mirrorLog.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("X-Key") != "" {
			headers.Add(1)
		}
		closed.ServeHTTP(w, q)
	}))))
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, log.wrap(closed)))
	tree := map[string]string{"/etc/containerd/certs.d/" + host + "/hosts.toml": "[host.\"https://" + mirror + "\"]\n[host.\"https://" + mirror + "\".header]\nX-Key = \"canary-header\"\n"}
	joe := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"}
	for _, tt := range []struct {
		name             string
		assumed          bool
		runtime, version string
		mirror           bool // gets the login
	}{
		{"containerd that is known", false, "containerd", "2.1.3", true},
		{"no version", false, "", "", true},
		{"configuration unknown", true, "containerd", "2.1.3", false},
		{"CRI-O", false, "cri-o", "1.33.0", false},
		{"a version before the model", false, "containerd", "1.4.13", false},
		{"a version after the model", false, "containerd", "3.0.0", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newProber(t, ca, tree)
			n.Config.Assumed = tt.assumed
			before, own := withLogin(&mirrorLog), withLogin(&log)
			headers.Store(0)
			c := probeAs(t, n, Target{Image: host + "/app:1", Credentials: []credentials.Credential{joe}, Runtime: tt.runtime, RuntimeVersion: tt.version})
			if got := withLogin(&mirrorLog) > before; got != tt.mirror {
				t.Errorf("the mirror got the login: %v", got)
			}
			if got := headers.Load() > 0; got != tt.mirror {
				t.Errorf("the mirror got the header of hosts.toml: %v", got)
			}
			if (c["hosts/"+host].Evidence["assumed"] == "") != tt.mirror {
				t.Errorf("%+v", c["hosts/"+host])
			}
			if withLogin(&log) == own {
				t.Error("the registry got no login")
			}
			if want := map[bool]report.Outcome{true: report.Pass, false: report.Skipped}[tt.mirror]; c["manifest/"+mirror].Outcome != want {
				t.Errorf("%+v", c["manifest/"+mirror])
			}
			if !tt.mirror && c["manifest/"+mirror].Evidence[report.KeyLoginNotSent] == "" {
				t.Errorf("the check does not say that no login was sent: %+v", c["manifest/"+mirror])
			}
		})
	}
}

// A token service at the registry's own host gets the headers of hosts.toml from containerd
// since 2.1 only. The registry gets them from every version.
func TestHeadersForTokens(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	reg := probetest.NewRegistry(t)
	var host string
	var forToken, forManifest atomic.Int32
	host = fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		has := q.Header.Get("X-Key") != "" && q.Header.Get("Authorization") != ""
		switch {
		case q.URL.Path == "/token":
			if has {
				forToken.Add(1)
			}
			io.WriteString(w, `{"token": "a-token-of-some-length"}`)
		case !strings.HasPrefix(q.Header.Get("Authorization"), "Bearer "):
			if has {
				forManifest.Add(1)
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+host+`/token",service="r"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			reg.ServeHTTP(w, q)
		}
	})))
	tree := map[string]string{"/etc/containerd/certs.d/" + host + "/hosts.toml": fmt.Sprintf(
		"server = \"https://%s\"\n[host.\"https://%[1]s\"]\n[host.\"https://%[1]s\".header]\nX-Key = \"canary-header\"\nAuthorization = \"Basic cm9ib3Q6eA==\"\n", host)}
	for version, want := range map[string]bool{"1.7.35": false, "2.0.14": false, "2.1.0": true, "": true} {
		n := newProber(t, ca, tree)
		forToken.Store(0)
		forManifest.Store(0)
		c := probeAs(t, n, Target{Image: host + "/app:1", Runtime: "containerd", RuntimeVersion: version})
		if c["token/"+host].Outcome != report.Pass || forManifest.Load() == 0 {
			t.Fatalf("%s: %d requests with the headers, %+v", version, forManifest.Load(), c["token/"+host])
		}
		if got := forToken.Load() > 0; got != want {
			t.Errorf("%q: the token service got the headers: %v, want %v", version, got, want)
		}
	}
}

// The runtime's own login for a registry does not go to its mirror for layers.
func TestOwnLoginAndLayersMirror(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "m.lab")
	var mirrorLog recorder
	reg := probetest.NewRegistry(t)
	mirror := fmt.Sprintf("m.lab:%d", probetest.Serve(t, &cert, mirrorLog.wrap(basicAuth("joe", "canary-secret", reg))))
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, basicAuth("joe", "canary-secret", reg)))
	n := newProber(t, ca, map[string]string{"/etc/containerd/certs.d/" + host + "/hosts.toml": "[host.\"https://" + mirror + "\"]\ncapabilities = [\"pull\"]\n"})
	for _, only := range []string{host, mirror, ""} {
		before := withLogin(&mirrorLog)
		probeAs(t, n, Target{Image: host + "/app:1", Credentials: []credentials.Credential{{Username: "joe", Password: "canary-secret", Source: "s", Host: only}}})
		if got, want := withLogin(&mirrorLog) > before, only == "" && len(mirrorLog.all()) > 0; got != want {
			t.Errorf("login for %q: the mirror got it: %v, want %v (%q)", only, got, want, mirrorLog.all())
		}
	}
}

// Three mirrors and their registry name one realm: it gets a wrong password once, in
// this diagnosis and, where refusals are remembered, in later ones.
func TestOneRealmGetsAWrongPasswordOnce(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "m.lab")
	var log recorder
	realm := fmt.Sprintf("https://auth.lab:%d/token", probetest.Serve(t, ptr(ca.Good(t, "auth.lab")), tokenService(&log)))
	reg := probetest.NewRegistry(t)
	at := func(name string) string {
		return fmt.Sprintf("%s:%d", name, probetest.Serve(t, &cert, tokenAuth(realm, reg)))
	}
	host, mirrors := at("r.lab"), []string{at("m.lab"), at("m.lab"), at("m.lab")}
	conf := ""
	for _, m := range mirrors {
		conf += "[host.\"https://" + m + "\"]\n"
	}
	n := newProber(t, ca, map[string]string{"/etc/containerd/certs.d/" + host + "/hosts.toml": conf})
	for _, user := range []string{"joe", "forbidden"} {
		before := len(log.all())
		target := Target{
			Image: host + "/app:1", Credentials: []credentials.Credential{{Username: user, Password: "canary-wrong", Source: "secret a/b"}},
			Refusals: &credentials.RejectionCache{TTL: func() time.Duration { return time.Minute }},
		}
		c := probeAs(t, n, target)
		for _, h := range append(mirrors, host) {
			if c["manifest/"+h].Outcome != report.Fail || c["token/"+h].Outcome != report.Fail {
				t.Errorf("%s: %+v %+v", h, c["manifest/"+h], c["token/"+h])
			}
		}
		if got := log.all()[before:]; len(got) != 1 {
			t.Errorf("%s: the realm got %q", user, got)
		}
	}
	target := Target{
		Image: host + "/app:1", Credentials: []credentials.Credential{{Username: "joe", Password: "canary-wrong", Source: "secret a/b"}},
		Refusals: &credentials.RejectionCache{TTL: func() time.Duration { return time.Minute }},
	}
	probeAs(t, n, target)
	sent := len(log.all())
	target.Image = mirrors[0] + "/app:1" // another registry with the same realm
	if c := probeAs(t, n, target); c["manifest/"+mirrors[0]].Evidence["remembered"] != "true" || len(log.all()) != sent {
		t.Errorf("%+v, sent %q", c["manifest/"+mirrors[0]], log.all()[sent:])
	}
}

// containerd 1.x before 1.7.32 ignores a hosts.toml without a [host] table, and so sends
// no login to the mirror that it names as the server.
func TestHostsTOMLWithoutHosts(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "m.lab")
	var mirrorLog recorder
	closed := basicAuth("joe", "canary-secret", probetest.NewRegistry(t))
	mirror := fmt.Sprintf("m.lab:%d", probetest.Serve(t, &cert, mirrorLog.wrap(closed)))
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, closed))
	n := newProber(t, ca, map[string]string{"/etc/containerd/certs.d/" + host + "/hosts.toml": "server = \"https://" + mirror + "\"\n"})
	for version, ignored := range map[string]bool{"1.6.20": true, "v1.7.31": true, "1.7.32": false, "2.0.0": false, "": false} {
		before := len(mirrorLog.all())
		c := probeAs(t, n, Target{
			Image: host + "/app:1", RuntimeVersion: version,
			Credentials: []credentials.Credential{{Username: "joe", Password: "canary-secret", Source: "secret a/b"}},
		})
		if got := len(mirrorLog.all()) == before; got != ignored {
			t.Errorf("%q: ignored %v, want %v: %+v", version, got, ignored, c["hosts/"+host])
		}
		if ignored != (c["hosts/"+host].Evidence["ignored"] == "true") {
			t.Errorf("%q: %+v", version, c["hosts/"+host])
		}
	}
}
