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

// refusing is a registry that refuses paths with a part of this name. Its answer to
// HEAD has no body.
func refusing(reg http.Handler, part string, status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !strings.Contains(q.URL.Path, part) {
			reg.ServeHTTP(w, q)
			return
		}
		if strings.HasPrefix(body, "{") {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	})
}

// The reason of a refused layer, and of a refused token, is in the answer itself.
func TestRefusedLayerAndToken(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "auth.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	t.Run("layer", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, refusing(reg, "/blobs/", 403, probetest.OCIError("DENIED", "Quota has been exceeded on namespace"))))
		probetest.Want(t, probe(t, n, host+"/app:1"), "blob/"+host, report.Fail, report.AccessForbidden, "refusedFor=quota", "code=DENIED")
	})
	t.Run("layer at another host, with a login", func(t *testing.T) {
		store := probetest.Serve(t, &cert, refusing(nil, "", 403, "<HTML>The distribution is configured to block access from your country."))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			switch {
			case q.Header.Get("Authorization") == "":
				w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
				w.WriteHeader(http.StatusUnauthorized)
			case strings.Contains(q.URL.Path, "/blobs/"):
				http.Redirect(w, q, fmt.Sprintf("https://auth.lab:%d/layer", store), http.StatusTemporaryRedirect)
			default:
				reg.ServeHTTP(w, q)
			}
		})))
		c := probe(t, n, host+"/app:1", credentials.Credential{Source: "pod secret ns/s", Username: "u", Password: "correct horse"})
		probetest.Want(t, c, "blob/"+host, report.Fail, report.BlobHostUnreachable, "refusedFor=country")
	})
	t.Run("layer, unpaid", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, refusing(reg, "/blobs/", 402, "")))
		probetest.Want(t, probe(t, n, host+"/app:1"), "blob/"+host, report.Fail, report.Undetermined, "refusedFor=billing", "status=402")
	})
	for _, tt := range []struct {
		status     int
		body, want string
	}{
		{403, probetest.OCIError("DENIED", "access forbidden"), "none"},
		{403, "<html><body>Since Docker is a US company, we must comply with US export control regulations.", "country"},
		{401, probetest.OCIError("UNAUTHORIZED", "HTTP Basic: Access denied"), "none"},
		{401, probetest.OCIError("UNAUTHORIZED", "the directory is not reachable"), "other"},
	} {
		t.Run(fmt.Sprintf("token, %d %s", tt.status, tt.want), func(t *testing.T) {
			service := probetest.Serve(t, &cert, refusing(nil, "", tt.status, tt.body))
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://auth.lab:%d/token",service="r"`, service))
				w.WriteHeader(http.StatusUnauthorized)
			})))
			c := probe(t, n, host+"/app:1", credentials.Credential{Source: "pod secret ns/s", Username: "u", Password: "correct horse"})["token/"+host]
			if c.Outcome != report.Fail || c.Evidence[report.KeyRefusedFor] != tt.want {
				t.Errorf("%s %s: refused for %q, want %q", c.Outcome, c.Cause, c.Evidence[report.KeyRefusedFor], tt.want)
			}
		})
	}
}

// The reason of a refused manifest comes from a GET beside the HEAD, with the same login.
func TestRefusedManifest(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	tests := []struct {
		name   string
		status int
		body   string
		cause  report.Cause
		want   string // empty: absent
	}{
		{"a plain refusal", 403, probetest.OCIError("DENIED", "requested access to the resource is denied"), report.AccessDeniedOrMissing, "none"},
		{"quota", 403, probetest.OCIError("DENIED", "Quota has been exceeded on namespace"), report.AccessDeniedOrMissing, "quota"},
		{"policy", 412, probetest.OCIError("PROJECTPOLICYVIOLATION", "The image is not signed by cosign."), report.AccessForbidden, "policy"},
		{"billing", 402, "", report.Undetermined, "billing"},
		{"country", 451, "", report.Undetermined, "country"},
		{"a full registry", 507, "", report.RegistryUnavailable, "quota"},
		{"a page without a reason", 403, "<html><body>403 Forbidden</body></html>", report.AccessDeniedOrMissing, ""},
		{"longer than what is read", 403, strings.Repeat("denied ", 1000), report.AccessDeniedOrMissing, ""},
		{"a missing tag", 404, probetest.OCIError("MANIFEST_UNKNOWN", "Quota has been exceeded on namespace"), report.TagNotFound, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rec recorder
			host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, rec.wrap(refusing(reg, "/manifests/", tt.status, tt.body))))
			c := probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Fail, tt.cause)
			if got := c.Evidence[report.KeyRefusedFor]; got != tt.want {
				t.Errorf("refused for %q, want %q", got, tt.want)
			}
			gets := 0
			for _, line := range rec.all() {
				if strings.HasPrefix(line, "GET ") && strings.Contains(line, "/manifests/") {
					gets++
				}
			}
			if gets > 1 {
				t.Errorf("%d GETs: %q", gets, rec.all())
			}
			for _, text := range []string{"cosign", "Quota has"} {
				if strings.Contains(fmt.Sprint(c.Summary, c.Evidence), text) {
					t.Errorf("the registry's text is in the check: %+v", c)
				}
			}
		})
	}
	t.Run("GET is refused otherwise", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodHead {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			w.WriteHeader(http.StatusPaymentRequired)
		})))
		c := probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Fail, report.AccessDeniedOrMissing, "getStatus=402")
		if c.Evidence[report.KeyRefusedFor] != "" {
			t.Errorf("%+v", c.Evidence)
		}
	})
	t.Run("only HEAD is refused", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodHead {
				w.WriteHeader(http.StatusPreconditionFailed)
				return
			}
			reg.ServeHTTP(w, q)
		})))
		c := probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Fail, report.Undetermined, "getStatus=200")
		if c.Evidence[report.KeyRefusedFor] != "" {
			t.Errorf("%+v", c.Evidence)
		}
	})
}
