package registry

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

func ecrPassword(until time.Time) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"payload":"canary-secret","version":"2","type":"DATA_KEY","expiration":%d}`, until.Unix()))
}

func webToken(until time.Time) string {
	return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, until.Unix())) + ".canary-secret"
}

// Only the login itself shows that it has expired: the registry's answer is the same
// as to a login without access.
func TestExpiredCredentials(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	past, future := time.Now().Add(-13*time.Hour), time.Now().Add(time.Hour)
	refuse := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			switch _, _, ok := q.BasicAuth(); {
			case ok:
				w.WriteHeader(code)
				if q.Method == http.MethodGet {
					fmt.Fprint(w, `{"errors":[{"code":"DENIED"}]}`)
				}
			default:
				w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
	}
	dated := func(at time.Time, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Date", at.UTC().Format(http.TimeFormat))
			h.ServeHTTP(w, q)
		})
	}
	for _, tt := range []struct {
		name, password string
		h              http.Handler
		cause          report.Cause
		facts          []string
	}{
		{"ECR, 403", ecrPassword(past), refuse(403), report.CredentialsExpired, []string{"status=403", "code=DENIED", "credentialExpires"}},
		{"ECR, 403, still good", ecrPassword(future), refuse(403), report.AccessForbidden, []string{"credentialExpires"}},
		{"web token, 401", webToken(past), refuse(401), report.CredentialsExpired, []string{"status=401"}},
		{"web token, 401, still good", webToken(future), refuse(401), report.CredentialsRejected, nil},
		{"good by the registry's clock", webToken(past), dated(past.Add(-time.Hour), refuse(401)), report.CredentialsRejected, nil},
		{"expired by the registry's clock", webToken(future), dated(future.Add(time.Hour), refuse(401)), report.CredentialsExpired, nil},
		{"a word", "canary-secret", refuse(403), report.AccessForbidden, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tt.h))
			cred := credentials.Credential{Username: "AWS", Password: tt.password, Source: "node /var/lib/kubelet/config.json"}
			c := probetest.Want(t, probe(t, n, host+"/app:1", cred), "manifest/"+host, report.Fail, tt.cause, append(tt.facts, "usedCredential="+cred.Source)...)
			if strings.Contains(fmt.Sprint(c), "canary") {
				t.Errorf("a secret in %+v", c)
			}
		})
	}
	t.Run("accepted all the same", func(t *testing.T) {
		password := webToken(past)
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, basicAuth("AWS", password, probetest.NewRegistry(t))))
		probetest.Want(t, probe(t, n, host+"/app:1", credentials.Credential{Username: "AWS", Password: password}), "manifest/"+host, report.Pass, "")
	})
	t.Run("at the token service", func(t *testing.T) {
		var rec recorder
		realm := fmt.Sprintf("https://auth.lab:%d/token", probetest.Serve(t, ptr(ca.Good(t, "auth.lab")), tokenService(&rec)))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(realm, probetest.NewRegistry(t))))
		for _, cred := range []credentials.Credential{
			{Username: "00000000-0000-0000-0000-000000000000", Password: webToken(past), Source: "provider acr"},
			{IdentityToken: webToken(past), Source: "provider acr"},
		} {
			c := probe(t, n, host+"/app:1", cred)
			probetest.Want(t, c, "token/"+host, report.Fail, report.CredentialsExpired)
			probetest.Want(t, c, "manifest/"+host, report.Fail, report.CredentialsExpired, "credentialExpires", "usedCredential=provider acr")
		}
	})
}

func TestRefusedManifests(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	start := func(t *testing.T, h http.Handler) string {
		return fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, h))
	}

	t.Run("a token that does not open it", func(t *testing.T) {
		// The login is valid; whether it has no access or the repository does not exist
		// is unknown.
		var rec recorder
		realm := fmt.Sprintf("https://auth.lab:%d/token", probetest.Serve(t, ptr(ca.Good(t, "auth.lab")), tokenService(&rec)))
		host := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="lab",error="insufficient_scope"`, realm))
			w.WriteHeader(http.StatusUnauthorized)
		}))
		c := probe(t, n, host+"/app:1", credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"})
		probetest.Want(t, c, "token/"+host, report.Pass, "")
		probetest.Want(t, c, "manifest/"+host, report.Fail, report.AccessDeniedOrMissing, "existence=hidden", "usedCredential=secret a/b")
	})
	t.Run("a door that is shut to this node", func(t *testing.T) {
		host := start(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			if q.Method != http.MethodHead {
				fmt.Fprint(w, `{"errors":[{"code":"DENIED"}]}`)
			}
		}))
		probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Fail, report.AccessDeniedOrMissing, "registryStatus=403", "code=DENIED")
	})
	t.Run("a rule of the registry", func(t *testing.T) {
		host := start(t, status(412, nil, `{"errors":[{"code":"PROJECTPOLICYVIOLATION"}]}`))
		probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Fail, report.AccessForbidden, "policy=true")
	})
	t.Run("a list of no tags", func(t *testing.T) {
		// Some registries answer with an empty list for any name.
		host := start(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			switch {
			case q.URL.Path == "/v2/":
			case strings.HasSuffix(q.URL.Path, "/tags/list"):
				fmt.Fprint(w, `{"name":"app","tags":[]}`)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Fail, report.TagNotFound, "repository=unknown", "tags=none")
	})
	t.Run("Harbor", func(t *testing.T) {
		host := start(t, status(404, nil, `{"errors":[{"code":"NOT_FOUND"}]}`))
		probetest.Want(t, probe(t, n, host+"/p/app:1"), "manifest/"+host, report.Fail, report.RepositoryNotFound, "repository=missing", "code=NOT_FOUND")
	})
}
