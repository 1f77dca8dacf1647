package registry

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// answering is an HTTP proxy that gives this answer to everything.
func answering(t *testing.T, status int, header ...string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestProxyAnswers(t *testing.T) {
	n := newProber(t, probetest.NewAuthority(t, nil), nil)
	tests := []struct {
		name, proxy string
		cause       report.Cause
		facts       []string
	}{
		{"403", answering(t, 403, "X-Squid-Error", "ERR_ACCESS_DENIED 0"), report.ProxyDenied, []string{"status=403", "proxyError=ERR_ACCESS_DENIED 0"}},
		{"407", answering(t, 407, "Proxy-Authenticate", `Basic realm="x"`), report.ProxyDenied, []string{"status=407"}},
		{"502", answering(t, 502), report.RegistryUnavailable, []string{"status=502", "proxyStatus=502", "proxyFor=r.outside"}},
		{"squid cannot resolve", answering(t, 503, "X-Squid-Error", "ERR_DNS_FAIL 0"), report.RegistryUnavailable, []string{"innerCause=HostNotFound"}},
		{"squid is refused", answering(t, 503, "X-Squid-Error", "ERR_CONNECT_FAIL 111"), report.RegistryUnavailable, []string{"innerCause=ConnectionRefused"}},
		{"squid gets no answer", answering(t, 503, "X-Squid-Error", "ERR_CONNECT_FAIL 110"), report.RegistryUnavailable, []string{"innerCause=ConnectionTimeout"}},
		{"by RFC 9209", answering(t, 504, "Proxy-Status", "proxy.lab; error=connection_timeout; details=x"), report.RegistryUnavailable, []string{"innerCause=ConnectionTimeout"}},
		{"not HTTP", fmt.Sprintf("http://127.0.0.1:%d", probetest.ListenRaw(t, func(c net.Conn) { c.Read(make([]byte, 9)); c.Write([]byte("SSH-2.0\r\n")) })), report.ProxyUnreachable, []string{"step=connect"}},
		{"hangs up", fmt.Sprintf("http://127.0.0.1:%d", probetest.ListenRaw(t, func(c net.Conn) { c.Read(make([]byte, 999)) })), report.ProxyUnreachable, []string{"step=connect", "eof=true"}},
		{"https proxy without TLS", strings.Replace(answering(t, 200), "http:", "https:", 1), report.ProxyUnreachable, []string{"step=tls", "innerCause=PlainHTTPRegistry"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := *n
			m.Proxy = view.ReadProxy([]string{"HTTPS_PROXY=" + tt.proxy})
			c := probe(t, &m, "r.outside/app:1")
			probetest.Want(t, c, "dial/r.outside/proxy", report.Fail, tt.cause, append(tt.facts, "proxy="+tt.proxy)...)
			probetest.Want(t, c, "dns/r.outside", report.Skipped, "")
			probetest.Want(t, c, "manifest/r.outside", report.Skipped, "")
		})
	}
}

func TestProxyPaths(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert, proxyCert := ca.Good(t, "r.outside"), ca.Good(t, "proxy.lab")
	reg := probetest.NewRegistry(t)
	port := probetest.Serve(t, &cert, reg)
	target := fmt.Sprintf("127.0.0.1:%d", port)
	host := fmt.Sprintf("r.outside:%d", port)
	n := newProber(t, ca, nil)

	t.Run("https proxy", func(t *testing.T) {
		m := *n
		m.Proxy = view.ReadProxy([]string{fmt.Sprintf("HTTPS_PROXY=https://proxy.lab:%d", probetest.Serve(t, &proxyCert, connectProxy(200, target)))})
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, "dial/"+host+"/proxy", report.Pass, "")
		probetest.Want(t, c, "tls/"+host+"/proxy", report.Pass, "", "names=r.outside")
		probetest.Want(t, c, "manifest/"+host, report.Pass, "")
	})
	t.Run("https proxy with an untrusted certificate", func(t *testing.T) {
		m := *n
		foreign := probetest.NewAuthority(t, nil).Good(t, "proxy.lab")
		m.Proxy = view.ReadProxy([]string{fmt.Sprintf("HTTPS_PROXY=https://proxy.lab:%d", probetest.Serve(t, &foreign, connectProxy(200, target)))})
		probetest.Want(t, probe(t, &m, host+"/app:1"), "dial/"+host+"/proxy", report.Fail, report.ProxyUnreachable, "step=tls", "innerCause=CertificateUntrusted")
	})

	socks := func(user string, reply byte) string {
		return fmt.Sprintf("socks5://%s127.0.0.1:%d", user, probetest.ListenRaw(t, func(c net.Conn) { serveSOCKS(c, "joe:canary-secret", reply, target) }))
	}
	for _, tt := range []struct {
		name, user string
		reply      byte
		outcome    report.Outcome
		cause      report.Cause
		facts      []string
	}{
		{"socks5", "joe:canary-secret@", 0, report.Pass, "", nil},
		{"socks5, wrong login", "joe:canary-wrong@", 0, report.Fail, report.ProxyDenied, []string{"socksReply=254"}},
		{"socks5, no login", "", 0, report.Fail, report.ProxyDenied, []string{"socksReply=255"}},
		{"socks5, not allowed", "joe:canary-secret@", 2, report.Fail, report.ProxyDenied, []string{"socksReply=2"}},
		{"socks5, refused behind it", "joe:canary-secret@", 5, report.Fail, report.RegistryUnavailable, []string{"innerCause=ConnectionRefused"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := *n
			m.Proxy = view.ReadProxy([]string{"HTTPS_PROXY=" + socks(tt.user, tt.reply)})
			c := probe(t, &m, host+"/app:1", credentials.Credential{Password: "canary-secret", Username: "x"}, credentials.Credential{Password: "canary-wrong", Username: "y"})
			probetest.Want(t, c, "dial/"+host+"/proxy", tt.outcome, tt.cause, tt.facts...)
			if tt.outcome == report.Pass {
				probetest.Want(t, c, "tls/"+host+"/proxy", report.Pass, "", "names=r.outside")
				probetest.Want(t, c, "manifest/"+host, report.Pass, "")
			}
		})
	}

	plain := func(proxy string) map[string]report.Check {
		m := *n
		dir := t.TempDir()
		if err := os.MkdirAll(dir+"/r.outside", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/r.outside/hosts.toml", []byte(`server = "http://r.outside"`), 0o644); err != nil {
			t.Fatal(err)
		}
		m.Files, m.Config = view.Dir("/"), runtimeconfig.RegistryConfig{Dirs: []string{dir}}
		m.Proxy = view.ReadProxy([]string{"HTTP_PROXY=" + proxy})
		return probe(t, &m, "r.outside/app:1")
	}
	t.Run("plain HTTP", func(t *testing.T) {
		forward := httptest.NewServer(reg) // absolute URIs, as to a proxy
		defer forward.Close()
		c := plain(forward.URL)
		probetest.Want(t, c, "dial/r.outside/proxy", report.Pass, "")
		probetest.Want(t, c, "manifest/r.outside", report.Pass, "")
	})
	t.Run("plain HTTP, the proxy requires a login", func(t *testing.T) {
		probetest.Want(t, plain(answering(t, 407)), "manifest/r.outside", report.Fail, report.ProxyDenied, "status=407", "proxyStatus=407", "proxyFor=r.outside")
	})
	t.Run("plain HTTP, the proxy cannot resolve", func(t *testing.T) {
		c := plain(answering(t, 503, "X-Squid-Error", "ERR_DNS_FAIL 0"))
		probetest.Want(t, c, "manifest/r.outside", report.Fail, report.RegistryUnavailable, "innerCause=HostNotFound", "proxyStatus=503", "proxyFor=r.outside")
		probetest.Want(t, c, "registry/r.outside", report.Skipped, "")
	})
	t.Run("plain HTTP, the registry itself is down", func(t *testing.T) {
		probetest.Want(t, plain(answering(t, 503)), "manifest/r.outside", report.Fail, report.RegistryUnavailable, "status=503")
	})
}

// serveSOCKS is a SOCKS5 proxy for one connection, which leads to target.
func serveSOCKS(c net.Conn, login string, reply byte, target string) {
	var head [2]byte
	io.ReadFull(c, head[:])
	methods := make([]byte, head[1])
	io.ReadFull(c, methods)
	if !strings.Contains(string(methods), "\x02") {
		c.Write([]byte{5, 0xff})
		return
	}
	c.Write([]byte{5, 2})
	text := func() string {
		var n [1]byte
		io.ReadFull(c, n[:])
		b := make([]byte, n[0])
		io.ReadFull(c, b)
		return string(b)
	}
	io.ReadFull(c, head[:1])
	if text()+":"+text() != login {
		c.Write([]byte{1, 1})
		return
	}
	c.Write([]byte{1, 0})
	var ask [4]byte
	io.ReadFull(c, ask[:])
	if name := text(); ask[3] != 3 || name != "r.outside" {
		reply = 8
	}
	var port uint16
	binary.Read(c, binary.BigEndian, &port)
	c.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
	if reply != 0 {
		return
	}
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	go io.Copy(far, c)
	io.Copy(c, far)
}
