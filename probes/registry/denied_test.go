package registry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// A denied host is not contacted, wherever it is named.
func TestDenied(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "auth.lab", "blobs.lab", "r.outside")
	var rec recorder
	images := probetest.NewRegistry(t)
	port := probetest.Serve(t, &cert, rec.wrap(images))
	host := fmt.Sprintf("r.lab:%d", port)
	deny := func(n *connect.Prober, list ...string) *connect.Prober {
		m := *n
		m.Guard.Deny = hostPatterns(t, list...)
		return &m
	}
	n := newProber(t, ca, nil)
	silent := func(t *testing.T) {
		t.Helper()
		if asked := rec.all(); len(asked) > 0 {
			t.Errorf("asked all the same: %q", asked)
		}
	}

	t.Run("by name", func(t *testing.T) {
		c := probe(t, deny(n, "*.lab"), host+"/app:1")
		probetest.Want(t, c, "dial/"+host, report.Skipped, "", "refused=refused by the setting deny: *.lab", "runtimeWouldDial=true")
		for _, id := range []string{"registry/" + host, "manifest/" + host} {
			if got := probetest.Want(t, c, id, report.Skipped, "").BlockedBy; got != "dial/"+host {
				t.Errorf("%s is blocked by %q", id, got)
			}
		}
		if _, asked := c["dns/"+host]; asked {
			t.Error("its name is resolved")
		}
		silent(t)
	})
	t.Run("by address", func(t *testing.T) {
		c := probe(t, deny(n, "127.0.0.0/8"), host+"/app:1")
		probetest.Want(t, c, fmt.Sprintf("dial/%s/127.0.0.1:%d", host, port), report.Skipped, "", "refused=refused by the setting deny: 127.0.0.0/8")
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "")
		silent(t)
	})
	t.Run("a sweep", func(t *testing.T) {
		checks := surveyOf(t, deny(n, "r.lab"), host)[host].Checks
		if c, ok := guard.FirstDenied(checks); !ok || c.ID != "dial/"+host {
			t.Errorf("%+v", checks)
		}
		silent(t)
	})
	t.Run("a token service", func(t *testing.T) {
		service := probetest.Serve(t, &cert, rec.wrap(tokenService(new(recorder))))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(fmt.Sprintf("https://auth.lab:%d/token", service), images)))
		c := probe(t, deny(n, "auth.lab"), host+"/app:1")
		probetest.Want(t, c, "token/"+host, report.Skipped, "", "refused=auth.lab is refused by the setting deny: auth.lab", "runtimeWouldSend=true")
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "")
		silent(t)
	})
	t.Run("a redirect", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, fmt.Sprintf("https://BLOBS.lab:%d%s", port, q.URL), http.StatusTemporaryRedirect)
		})))
		c := probe(t, deny(n, "blobs.lab"), host+"/app:1")
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "", "refused=BLOBS.lab is refused by the setting deny: blobs.lab")
		silent(t)
	})
	t.Run("a redirect to an address", func(t *testing.T) {
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, fmt.Sprintf("https://blobs.lab:%d%s", port, q.URL), http.StatusTemporaryRedirect)
		})))
		c := probe(t, deny(n, fmt.Sprintf("127.0.0.1:%d", port)), host+"/app:1")
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "", fmt.Sprintf("refused=127.0.0.1 is refused by the setting deny: 127.0.0.1:%d", port))
		silent(t)
	})
	t.Run("behind a proxy", func(t *testing.T) {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			rec.wrap(http.NotFoundHandler()).ServeHTTP(w, q)
		}))
		t.Cleanup(proxy.Close)
		n := newProber(t, ca, nil, "HTTPS_PROXY="+proxy.URL)
		c := probe(t, deny(n, "192.0.2.0/24"), "192.0.2.7:5000/app:1")
		probetest.Want(t, c, "dial/192.0.2.7:5000", report.Skipped, "", "refused=refused by the setting deny: 192.0.2.0/24")
		c = probe(t, deny(n, "*.outside"), "r.outside/app:1")
		probetest.Want(t, c, "dial/r.outside", report.Skipped, "", "refused=refused by the setting deny: *.outside")
		c = probe(t, n, "169.254.169.254/app:1")
		probetest.Want(t, c, "dial/169.254.169.254/proxy", report.Skipped, "", "refused=169.254.169.254 is a link-local address")
		silent(t)
	})
	t.Run("a proxy is the node's own business", func(t *testing.T) {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { probetest.TunnelTo(w, fmt.Sprintf("127.0.0.1:%d", port)) }))
		t.Cleanup(proxy.Close)
		host := fmt.Sprintf("r.outside:%d", port)
		c := probe(t, deny(newProber(t, ca, nil, "HTTPS_PROXY="+proxy.URL), "127.0.0.0/8"), host+"/app:1")
		probetest.Want(t, c, "dial/"+host+"/proxy", report.Pass, "")
		probetest.Want(t, c, "manifest/"+host, report.Pass, "")
	})
}

// The setting allow permits an address that is otherwise refused.
func TestAllowed(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, probetest.NewRegistry(t)))
	n := newProber(t, ca, nil)
	n.Guard = guard.Guard{Allow: hostPatterns(t, "r.lab")}
	probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Pass, "")
	n.Guard.Deny = hostPatterns(t, "127.0.0.1")
	probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Skipped, "")
}

func hostPatterns(t *testing.T, list ...string) (out []guard.Pattern) {
	t.Helper()
	for _, s := range list {
		p, err := guard.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}
