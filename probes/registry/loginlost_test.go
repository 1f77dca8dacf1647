package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

var joe = credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"}

// A login stays in the request within the host, as net/http keeps it, and a password that
// the host refuses is sent once.
func TestLoginWithinTheHost(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	blobImage(t, reg, "app")

	t.Run("redirect within the host", func(t *testing.T) {
		auth := basicAuth("joe", "canary-secret", reg)
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			rest, moved := strings.CutPrefix(q.URL.Path, "/moved")
			if !moved && q.Header.Get("Authorization") != "" {
				http.Redirect(w, q, "/moved"+q.URL.Path, http.StatusTemporaryRedirect)
				return
			}
			q.URL.Path = rest
			auth.ServeHTTP(w, q)
		})))
		probetest.Want(t, probe(t, n, host+"/app:1", joe), "blob/"+host, report.Pass, "")
	})
	t.Run("layers refuse the password", func(t *testing.T) {
		var rec recorder
		layers := basicAuth("joe", "another", reg)
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, rec.wrap(basicAuth("joe", "canary-secret",
			http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if strings.Contains(q.URL.Path, "/blobs/") {
					layers.ServeHTTP(w, q)
					return
				}
				reg.ServeHTTP(w, q)
			})))))
		probetest.Want(t, probe(t, n, host+"/app:1", joe), "blob/"+host, report.Fail, report.AccessForbidden, "status=401")
		if sent := rec.count("GET /v2/app/blobs/"); sent != 1 {
			t.Errorf("the refused password was sent %d times: %q", sent, rec.all())
		}
	})
	t.Run("layers on a subdomain, where the runtime sends the login along", func(t *testing.T) {
		below := ca.Good(t, "cdn.r.lab")
		store := fmt.Sprintf("cdn.r.lab:%d", probetest.Serve(t, &below, reg))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, basicAuth("joe", "canary-secret", blobsElsewhere(reg, store))))
		c := probe(t, n, host+"/app:1", joe)
		probetest.Want(t, c, "blob/"+host, report.Pass, "", "runtimeWouldSend=true", "blobHost="+store)
	})
	t.Run("a user name and then a token", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, basicAuth("joe", "canary-secret",
			tokenAuth("https://r.lab/token", reg))))
		probetest.Want(t, probe(t, n, host+"/app:1", joe), "manifest/"+host, report.Fail, report.Undetermined, "status=401")
	})
}

// A redirect turns the POST for a token into a GET without the login. What the token does
// not open then is no answer to the login.
func TestTokenWithoutTheLogin(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	blobImage(t, reg, "app")
	var host string
	port := probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _, withLogin := q.BasicAuth()
		switch given := q.Header.Get("Authorization"); {
		case q.URL.Path == "/token" && q.URL.Query().Get("x") == "":
			http.Redirect(w, q, "/token?x=1", http.StatusFound)
		case q.URL.Path == "/token":
			fmt.Fprintf(w, `{"token":"of-a-login-%v","access_token":"of-a-login-%[1]v"}`, withLogin)
		case given == "Bearer of-a-login-true":
			reg.ServeHTTP(w, q)
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="x"`, host))
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	host = fmt.Sprintf("r.lab:%d", port)
	c := probe(t, n, host+"/app:1", joe)
	lost := "loginNotSent=the token service redirects POST to " + host + ", and the login is lost there"
	probetest.Want(t, c, "token/"+host, report.Pass, "", lost)
	probetest.Want(t, c, "manifest/"+host, report.Fail, report.TokenServiceFailed, lost)
	if c["token/"+host].Is(report.KeyLoginWorks) {
		t.Error("the token counts as the login's")
	}
}
