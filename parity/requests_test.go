package parity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// resolver is containerd's own, for hosts on the loopback address that ca signed for.
func resolver(t *testing.T, ca *probetest.Authority) func(image, user, password string) error {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(address)
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}}
	return func(image, user, password string) error {
		creds := func(string) (string, string, error) { return user, password, nil }
		r := docker.NewResolver(docker.ResolverOptions{Hosts: func(host string) ([]docker.RegistryHost, error) {
			return []docker.RegistryHost{{
				Client: client, Host: host, Scheme: "https", Path: "/v2", Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
				Authorizer: docker.NewDockerAuthorizer(docker.WithAuthClient(client), docker.WithAuthCreds(creds)),
			}}, nil
		}})
		_, _, err := r.Resolve(t.Context(), image)
		return err
	}
}

// containerd's own resolver and the probe meet the same server: the same requests in the
// same order, and the same end. What the probe adds are questions, which come after.
func TestResolvesAsContainerd(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca)
	resolve := resolver(t, ca)
	reg := probetest.NewRegistry(t)
	stripped := func(method string, headers ...string) func() http.Handler {
		return func() http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.Method == method || method == "" {
					w = &strippedWriter{w, headers}
				}
				reg.ServeHTTP(w, q)
			})
		}
	}
	// On HTTP/1.1 an answer to HEAD without a length is one that net/http does not know.
	noLength := func() http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodHead {
				w.Header().Set("Transfer-Encoding", "chunked")
				w = &strippedWriter{w, []string{"Content-Length"}}
			}
			reg.ServeHTTP(w, q)
		})
	}
	found := httptest.NewRecorder()
	reg.ServeHTTP(found, httptest.NewRequest(http.MethodHead, "/v2/app/manifests/1", nil))
	byDigest := "app@" + found.Header().Get("Docker-Content-Digest")
	script := func(answers ...int) func() http.Handler {
		return func() http.Handler { return headAnswers(reg, answers...) }
	}
	for _, tt := range []struct {
		name  string
		serve func() http.Handler
		login bool
	}{
		{"all is well", script(), false},
		{"unavailable once", script(503), false},
		{"unavailable twice", script(503, 503), false},
		{"two kinds of errors", script(500, 503, 504), false},
		{"bad gateway", script(502), false},
		{"broken once", script(0), false},
		{"broken, then unavailable", script(0, 503), false},
		{"broken for ever", script(0, 0, 0, 0, 0, 0, 0), false},
		{"request timeout", script(408, 408), false},
		{"request timeout for ever", script(408, 408, 408, 408, 408, 408, 408), false},
		{"no HEAD", script(405, 405, 405), false},
		{"not found", script(404, 404), false},
		{"no digest", stripped("", "Docker-Content-Digest"), false},
		{"no length to HEAD", noLength, false},
		{"no digest to HEAD", stripped("HEAD", "Docker-Content-Digest"), false},
		{"a login", func() http.Handler { return basicAuth("joe", "canary-secret", reg) }, true},
		{"no login", func() http.Handler { return basicAuth("joe", "canary-secret", reg) }, false},
		{"a login that is refused", func() http.Handler { return basicAuth("joe", "other", reg) }, true},
	} {
		for _, image := range []string{"app:1", byDigest} {
			t.Run(tt.name+" "+image[:4], func(t *testing.T) {
				user, password := "", ""
				var creds []credentials.Credential
				if tt.login {
					user, password = "joe", "canary-secret"
					creds = append(creds, credentials.Credential{Username: user, Password: password, Source: "secret a/b"})
				}
				// On one port each, so that nothing but the script is in common.
				var theirs, ours recorder
				their := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, theirs.wrap(tt.serve())))
				err := resolve(their+"/"+image, user, password)
				our := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, ours.wrap(tt.serve())))
				c := probe(t, n, our+"/"+image, creds...)
				if passed := c["manifest/"+our].Outcome == report.Pass; passed != (err == nil) {
					t.Errorf("containerd: %v, the check: %+v", err, c["manifest/"+our])
				}
				want := theirs.all()
				got := ours.all()
				if tt.name == "a login that is refused" { // containerd sends it again and again
					want = slices.Compact(want)
				}
				// What only the blobs have is no manifest (see plan).
				want = slices.DeleteFunc(want, func(q string) bool { return strings.Contains(q, "/blobs/") })
				if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
					t.Errorf("requests\n%s\ncontainerd's\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		}
	}
}

// A token service answers POST and GET in every combination: a login that gets a token
// for containerd gets one here. The one exception is a service that refuses a password by
// GET: it does not get it again by POST.
func TestTokensAsContainerd(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert, authCert := ca.Good(t, "r.lab"), ca.Good(t, "auth.lab")
	n := newProber(t, ca)
	resolve := resolver(t, ca)
	reg := probetest.NewRegistry(t)
	post, get := 0, 0
	realm := fmt.Sprintf("https://auth.lab:%d/token", probetest.Serve(t, &authCert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		status := get
		if q.Method == http.MethodPost {
			status = post
		}
		w.WriteHeader(status)
		if status == http.StatusOK {
			json.NewEncoder(w).Encode(map[string]string{"token": "user", "access_token": "user"})
		}
	})))
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(realm, reg)))
	statuses := []int{200, 400, 401, 403, 404, 405, 429, 500, 502}
	for _, cred := range []credentials.Credential{
		{Username: "joe", Password: "canary-secret", Source: "secret a/b"},
		{IdentityToken: "canary-identity", Source: "secret a/b"},
		{},
	} {
		for _, post = range statuses {
			for _, get = range statuses {
				user, secret := httpclient.UsernameAndSecret(cred)
				err := resolve(host+"/app:1", user, secret)
				c := probe(t, n, host+"/app:1", cred)
				passed := c["manifest/"+host].Outcome == report.Pass
				refusedByGet := user != "" && (get == 401 || get == 403 || get == 429)
				refusedByPost := user == "" && secret != "" && post == 401 && get == 200
				if passed != (err == nil) && !refusedByGet && !refusedByPost {
					t.Errorf("%q: POST %d, GET %d: containerd %v, the check %+v", user, post, get, err, c["manifest/"+host])
				}
			}
		}
	}
}
