package registry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

func TestTokenRoute(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "mirror.lab", "auth.lab")
	foreign := probetest.NewAuthority(t, nil).Good(t, "auth.lab")
	reg := probetest.NewRegistry(t)
	n := newProber(t, ca, nil)
	good := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/good"}
	var rec recorder
	service := probetest.Serve(t, &cert, tokenService(&rec))
	realm := func(port uint16) string { return fmt.Sprintf("https://auth.lab:%d/token", port) }
	registryWith := func(realm string) string {
		return fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(realm, reg)))
	}

	t.Run("the path is open", func(t *testing.T) {
		host := registryWith(realm(service))
		c := probe(t, n, host+"/app:1", good)
		auth := fmt.Sprintf("auth.lab:%d", service)
		if got := probetest.Want(t, c, "dns/"+auth, report.Pass, "").Host; got != auth {
			t.Errorf("about %s", got)
		}
		probetest.Want(t, c, fmt.Sprintf("dial/%s/127.0.0.1:%d", auth, service), report.Pass, "")
		probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", auth, service), report.Pass, "")
		probetest.Want(t, c, "token/"+host, report.Pass, "")
		probetest.Want(t, c, "manifest/"+host, report.Pass, "")
	})
	t.Run("the path is blocked at TLS", func(t *testing.T) {
		port := probetest.Serve(t, &foreign, tokenService(&rec))
		host := registryWith(realm(port))
		before := len(rec.all())
		c := probe(t, n, host+"/app:1", good)
		id := fmt.Sprintf("tls/auth.lab:%d/127.0.0.1:%[1]d", port)
		probetest.Want(t, c, id, report.Fail, report.CertificateUntrusted)
		if got := probetest.Want(t, c, "token/"+host, report.Fail, report.TokenServiceFailed, "innerCause=CertificateUntrusted", "step=tls").BlockedBy; got != id {
			t.Errorf("blocked by %s", got)
		}
		probetest.Want(t, c, "manifest/"+host, report.Fail, report.TokenServiceFailed)
		if len(rec.all()) != before {
			t.Errorf("asked: %q", rec.all()[before:])
		}
	})
	t.Run("no such service", func(t *testing.T) {
		host := registryWith("https://auth.example/token")
		c := probe(t, n, host+"/app:1", good)
		probetest.Want(t, c, "dns/auth.example", report.Fail, report.HostNotFound)
		probetest.Want(t, c, "token/"+host, report.Fail, report.TokenServiceFailed, "innerCause=HostNotFound", "step=dns")
	})
	t.Run("a realm on this machine is no business of the image's", func(t *testing.T) {
		m := *n
		m.Guard.Loopback = false
		h := runtimeconfig.Host{Scheme: "https", Host: "localhost:10250", Foreign: true}
		if m.LoopbackAllowed(h) {
			t.Error("a server sends us to localhost, and we go")
		}
	})
	t.Run("a mirror hands back the upstream's realm", func(t *testing.T) {
		upstream := registryWith(realm(service))
		mirror := fmt.Sprintf("mirror.lab:%d", probetest.Serve(t, &cert, tokenAuth(realm(service), reg)))
		own := fmt.Sprintf("mirror.lab:%d", probetest.Serve(t, &cert, basicAuth("joe", "canary-secret", reg)))
		dir := "/etc/containerd/certs.d/" + strings.Replace(upstream, ":", "_", 1) + "_/hosts.toml"
		n := newProber(t, ca, map[string]string{dir: fmt.Sprintf("[host.%q]\n[host.%q]\n", "https://"+mirror, "https://"+own)})
		c := probe(t, n, upstream+"/app:1", good)
		probetest.Want(t, c, "token/"+mirror, report.Pass, "", "realmOf="+upstream)
		if got := probetest.Want(t, c, "token/"+upstream, report.Pass, "").Evidence["realmOf"]; got != "" {
			t.Errorf("realmOf=%s", got)
		}
		for id := range c {
			if strings.Contains(id, "#") {
				t.Errorf("looked at twice: %s", id)
			}
		}
	})
	t.Run("also where the upstream is not reached", func(t *testing.T) {
		upstream := fmt.Sprintf("lab:%d", probetest.ClosedPort(t))
		mirror := fmt.Sprintf("mirror.example:%d", probetest.Serve(t, ptr(ca.Good(t, "mirror.example")), tokenAuth(realm(service), reg)))
		dir := "/etc/containerd/certs.d/" + strings.Replace(upstream, ":", "_", 1) + "_/hosts.toml"
		n := newProber(t, ca, map[string]string{dir: fmt.Sprintf("[host.%q]\n", "https://"+mirror), "/etc/hosts": "127.0.0.1 lab mirror.example\n"})
		c := probe(t, n, upstream+"/app:1", good)
		probetest.Want(t, c, "token/"+mirror, report.Pass, "", "realmOf="+upstream)
	})
}

// A proxy that lets the registry through and not its token service.
func TestTokenServiceBehindProxy(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.outside")
	port := probetest.Serve(t, &cert, tokenAuth("https://auth.outside/token", probetest.NewRegistry(t)))
	host := fmt.Sprintf("r.outside:%d", port)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Host != host {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		probetest.TunnelTo(w, fmt.Sprintf("127.0.0.1:%d", port))
	}))
	t.Cleanup(proxy.Close)
	c := probe(t, newProber(t, ca, nil, "HTTPS_PROXY="+proxy.URL), host+"/app:1")
	probetest.Want(t, c, "dial/"+host+"/proxy", report.Pass, "")
	probetest.Want(t, c, "token/"+host, report.Fail, report.ProxyDenied, "innerCause=ProxyDenied", "status=403", "step=connect", "proxyStatus=403", "proxyFor=auth.outside")
	probetest.Want(t, c, "manifest/"+host, report.Fail, report.ProxyDenied)
}
