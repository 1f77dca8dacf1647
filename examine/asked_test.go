package examine

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// A request is answered by the registry, not by a refusal that is remembered: the account
// may have been unlocked since. If the login is refused again, that is remembered again.
func TestRequestAsksTheRegistry(t *testing.T) {
	var logins, unlocked atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			logins.Add(1)
			if unlocked.Load() != 0 {
				http.NotFound(w, r)
				return
			}
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "https://")
	e := &Examiner{
		Node: &NodeReader{
			AllowLoopback: true,
			OwnFiles:      true,
			Paths:         view.Paths{CAFile: ca, HostsDir: t.TempDir()},
		},
		Refusals: &credentials.RejectionCache{TTL: func() time.Duration { return time.Hour }},
	}
	manifest := func(after time.Time) report.Check {
		t.Helper()
		logins.Store(0)
		x := e.Examine(t.Context(), Subject{
			Image: host + "/app:1",
			After: after,
			Secrets: func(context.Context) []credentials.SecretLookup {
				return []credentials.SecretLookup{{Namespace: "shop", Name: "s", Secret: &credentials.Secret{
					Namespace: "shop",
					Name:      "s",
					Type:      "kubernetes.io/dockerconfigjson",
					Data: map[string][]byte{
						".dockerconfigjson": []byte(`{"auths":{"` + host + `":{"username":"joe","password":"canary-secret"}}}`),
					},
				}}}
			},
		}, nil)
		return report.Find(x.Checks, report.ManifestID(host))
	}
	want := func(c report.Check, cause report.Cause, sent bool) {
		t.Helper()
		if c.Cause != cause || (logins.Load() > 0) != sent || c.Is(report.KeyRemembered) == sent {
			t.Errorf("%s after %d logins, want %s: %+v", c.Cause, logins.Load(), cause, c)
		}
	}
	want(manifest(time.Time{}), report.CredentialsRejected, true)
	want(manifest(time.Time{}), report.CredentialsRejected, false)
	want(manifest(time.Now()), report.CredentialsRejected, true) // on request
	want(manifest(time.Time{}), report.CredentialsRejected, false)
	unlocked.Store(1)
	if c := manifest(time.Now()); c.Cause == report.CredentialsRejected || logins.Load() == 0 {
		t.Errorf("the account is unlocked: %+v", c)
	}
	if c := manifest(time.Time{}); c.Cause == report.CredentialsRejected || logins.Load() == 0 {
		t.Errorf("after that, without a request: %+v", c)
	}
}
