package registry

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// dated is h on a machine whose clock is off.
func dated(off time.Duration, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		h.ServeHTTP(w, q)
	})
}

func TestClock(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "auth.lab", "mirror.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	claims := func(nbf, exp time.Time) string {
		text, _ := json.Marshal(map[string]int64{"nbf": nbf.Unix(), "exp": exp.Unix()})
		return "e30." + base64.RawURLEncoding.EncodeToString(text) + ".sig"
	}
	withToken := func(offRegistry, offService time.Duration) string {
		service := dated(offService, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			now := time.Now().Add(offService)
			json.NewEncoder(w).Encode(map[string]string{"token": claims(now, now.Add(5*time.Minute))})
		}))
		realm := fmt.Sprintf("https://auth.lab:%d/token", probetest.Serve(t, &cert, service))
		return fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, dated(offRegistry, tokenAuth(realm, reg))))
	}
	plain := func(off time.Duration) string {
		return fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, dated(off, reg)))
	}

	t.Run("agrees", func(t *testing.T) {
		host := plain(time.Minute)
		probetest.Want(t, probe(t, n, host+"/app:1"), "clock/"+host, report.Pass, "", "skewSeconds", "servers=1")
	})
	t.Run("one server that differs", func(t *testing.T) {
		host := plain(2 * time.Hour)
		c := probe(t, n, host+"/app:1")
		check := probetest.Want(t, c, "clock/"+host, report.Fail, report.ClockSkewed, "servers=1", "sources")
		if !strings.HasPrefix(check.Evidence["skewSeconds"], "-7") || !strings.Contains(check.Summary, "behind") {
			t.Errorf("%+v", check)
		}
		probetest.Want(t, c, "manifest/"+host, report.Pass, "") // off the path
	})
	t.Run("two servers that differ alike", func(t *testing.T) {
		host := withToken(-time.Hour, -time.Hour)
		probetest.Want(t, probe(t, n, host+"/app:1"), "clock/"+host, report.Fail, report.ClockSkewed, "servers=2")
	})
	t.Run("the token service agrees with the node", func(t *testing.T) {
		host := withToken(-time.Hour, 0)
		c := probe(t, n, host+"/app:1")
		check := probetest.Want(t, c, "clock/"+host, report.Pass, "", "servers=2", "wrongClock="+host)
		if !strings.HasPrefix(check.Evidence["agreesWith"], "auth.lab:") {
			t.Errorf("%+v", check)
		}
		probetest.Want(t, c, "token/"+host, report.Pass, "", "byRegistryClock=not yet valid", "tokenNotBefore", "tokenExpires")
	})
	t.Run("a token from a clock that is a little ahead", func(t *testing.T) {
		host := withToken(-30*time.Second, 0)
		probetest.Want(t, probe(t, n, host+"/app:1"), "token/"+host, report.Pass, "", "byRegistryClock=valid")
	})
	t.Run("a token that the registry finds expired", func(t *testing.T) {
		host := withToken(time.Hour, 0)
		probetest.Want(t, probe(t, n, host+"/app:1"), "token/"+host, report.Pass, "", "byRegistryClock=expired")
	})
	t.Run("an answer from a cache", func(t *testing.T) {
		old := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Age", "3600")
			reg.ServeHTTP(w, q)
		})
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, dated(-time.Hour, old)))
		probetest.Want(t, probe(t, n, host+"/app:1"), "clock/"+host, report.Pass, "")
	})
	t.Run("an expired certificate on a server with a wrong clock", func(t *testing.T) {
		expired := ca.Issue(t, time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour), "mirror.lab")
		mirror := fmt.Sprintf("mirror.lab:%d", probetest.Serve(t, &expired, dated(-2*time.Hour, reg)))
		host := plain(0)
		dir := "/etc/containerd/certs.d/" + strings.Replace(host, ":", "_", 1) + "_/hosts.toml"
		n := newProber(t, ca, map[string]string{dir: fmt.Sprintf("[host.%q]\n", "https://"+mirror)})
		c := probe(t, n, host+"/app:1")
		id := "tls/" + mirror + "/" + strings.Replace(mirror, "mirror.lab", "127.0.0.1", 1)
		probetest.Want(t, c, id, report.Fail, report.CertificateExpired, "agreesWith="+host, "byNodeClock=CertificateExpired")
		probetest.Want(t, c, "clock/"+mirror, report.Pass, "", "wrongClock="+mirror)
		probetest.Want(t, c, "clock/"+host, report.Pass, "")
	})
}
