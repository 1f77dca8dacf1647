package registry

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

func TestProbe(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "registry.lab")
	host := fmt.Sprintf("registry.lab:%d", probetest.Serve(t, &cert, probetest.NewRegistry(t)))
	addr := strings.Replace(host, "registry.lab", "127.0.0.1", 1)
	n := newProber(t, ca, nil)

	t.Run("all is well", func(t *testing.T) {
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "hosts/"+host, report.Pass, "", "order="+host)
		probetest.Want(t, c, "dns/"+host, report.Pass, "", "addresses=127.0.0.1", "from=dns")
		probetest.Want(t, c, "dns/"+host+"/127.0.0.1:"+fmt.Sprint(n.ResolverPort), report.Pass, "", "rcode=NOERROR")
		probetest.Want(t, c, "dial/"+host+"/"+addr, report.Pass, "")
		probetest.Want(t, c, "tls/"+host+"/"+addr, report.Pass, "", "names=registry.lab", "version=TLS 1.3", "daysLeft")
		probetest.Want(t, c, "registry/"+host, report.Pass, "", "isRegistry=true")
		probetest.Want(t, c, "manifest/"+host, report.Pass, "", "digest", "anonymous=true")
		probetest.Want(t, c, "image/"+host, report.Pass, "", "platform=linux/amd64", "layers=2", "size", "config")
	})
	t.Run("missing tag", func(t *testing.T) {
		c := probe(t, n, host+"/app:stabel")
		probetest.Want(t, c, "manifest/"+host, report.Fail, report.TagNotFound, "repository=exists", "similarTags=stable")
	})
	t.Run("missing repository", func(t *testing.T) {
		c := probe(t, n, host+"/nothing:1")
		probetest.Want(t, c, "manifest/"+host, report.Fail, report.RepositoryNotFound, "repository=missing", "code=NAME_UNKNOWN")
		probetest.Want(t, c, "image/"+host, report.Skipped, "")
	})
	t.Run("index without this platform", func(t *testing.T) {
		c := probe(t, n, host+"/multi:1")
		probetest.Want(t, c, "image/"+host, report.Fail, report.PlatformMismatch, "platforms=linux/arm64, linux/s390x")
	})
	t.Run("single manifest of another platform", func(t *testing.T) {
		c := probe(t, n, host+"/arm:1")
		probetest.Want(t, c, "image/"+host, report.Fail, report.PlatformMismatch, "platform=linux/arm64", "note")
	})
	t.Run("no such host", func(t *testing.T) {
		c := probe(t, n, "nosuch.example/app:1")
		probetest.Want(t, c, "dns/nosuch.example", report.Fail, report.HostNotFound, "rcode=NXDOMAIN")
		for _, id := range []string{"dial/nosuch.example", "tls/nosuch.example", "registry/nosuch.example", "manifest/nosuch.example"} {
			if got := probetest.Want(t, c, id, report.Skipped, "").BlockedBy; got != "dns/nosuch.example" {
				t.Errorf("%s is blocked by %q", id, got)
			}
		}
	})
	t.Run("connection refused", func(t *testing.T) {
		port := probetest.ClosedPort(t)
		host := fmt.Sprintf("closed.lab:%d", port)
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, fmt.Sprintf("dial/%s/127.0.0.1:%d", host, port), report.Fail, report.ConnectionRefused, "errno=ECONNREFUSED")
		probetest.Want(t, c, "registry/"+host, report.Skipped, "")
	})
	t.Run("not a port", func(t *testing.T) {
		c := probe(t, n, "registry.lab:99999/app:1")
		probetest.Want(t, c, "dial/registry.lab:99999", report.Fail, report.Undetermined)
		probetest.Want(t, c, "manifest/registry.lab:99999", report.Skipped, "")
	})
	t.Run("packets dropped", func(t *testing.T) {
		m := *n
		m.Limits.Dial = 100 * time.Millisecond
		port := probetest.DroppingPort(t)
		host := fmt.Sprintf("hole.lab:%d", port)
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, fmt.Sprintf("dial/%s/127.0.0.1:%d", host, port), report.Fail, report.ConnectionTimeout, "deadline=true", "timeoutMs")
	})
	t.Run("one address of two", func(t *testing.T) {
		m := *n
		m.Hosts = view.ParseHostsFile([]byte("127.0.0.77 registry.lab\n127.0.0.1 registry.lab\n"))
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, "dial/"+host+"/"+strings.Replace(addr, "127.0.0.1", "127.0.0.77", 1), report.Fail, report.ConnectionRefused)
		probetest.Want(t, c, "manifest/"+host, report.Pass, "")
	})
	t.Run("literal address", func(t *testing.T) {
		cert := ca.Good(t, "127.0.0.1")
		host := fmt.Sprintf("127.0.0.1:%d", probetest.Serve(t, &cert, probetest.NewRegistry(t)))
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "dns/"+host, report.Pass, "", "from=literal")
		probetest.Want(t, c, "manifest/"+host, report.Pass, "")
	})
	t.Run("hosts file", func(t *testing.T) {
		n := newProber(t, ca, map[string]string{"/etc/hosts": "127.0.0.1 registry.LAB # here\n", "/etc/resolv.conf": "nameserver 127.0.0.9\n"})
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "dns/"+host, report.Pass, "", "from=hosts")
		probetest.Want(t, c, "manifest/"+host, report.Pass, "")
	})
	t.Run("loopback is refused unless allowed", func(t *testing.T) {
		m := *n
		m.Guard.Loopback = false
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, "dial/"+host+"/"+addr, report.Skipped, "", "refused=a loopback address")
	})
}

func TestTLSFaults(t *testing.T) {
	ca, other := probetest.NewAuthority(t, nil), probetest.NewAuthority(t, nil)
	n := newProber(t, ca, nil)
	now := time.Now()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {})
	past := now.Add(-30 * 24 * time.Hour)
	tests := []struct {
		name  string
		cert  tls.Certificate
		h     http.Handler
		cause report.Cause
		facts []string
	}{
		{"unknown authority", other.Good(t, "r.lab"), ok, report.CertificateUntrusted, []string{"issuer", "intermediates=0"}},
		{"self-signed", (*probetest.Authority)(nil).Good(t, "r.lab"), ok, report.CertificateUntrusted, []string{"selfSigned=true"}},
		{"missing intermediate", probetest.NewAuthority(t, ca).Good(t, "r.lab"), ok, report.CertificateUntrusted, []string{"intermediates=0"}},
		{"expired", ca.Issue(t, past, now.Add(-time.Hour), "r.lab"), ok, report.CertificateExpired, []string{"skewSeconds", "notAfter"}},
		{"not yet valid", ca.Issue(t, now.Add(time.Hour), now.Add(48*time.Hour), "r.lab"), ok, report.CertificateNotYetValid, nil},
		{"clock behind", ca.Issue(t, now.Add(time.Hour), now.Add(48*time.Hour), "r.lab"), dated(2*time.Hour, ok), report.ClockSkewed, []string{"byNodeClock=CertificateNotYetValid"}},
		{"clock ahead", ca.Issue(t, past, now.Add(-time.Hour), "r.lab"), dated(-2*time.Hour, ok), report.ClockSkewed, []string{"byNodeClock=CertificateExpired"}},
		{"both wrong", ca.Issue(t, past, now.Add(-48*time.Hour), "r.lab"), dated(-2*time.Hour, ok), report.CertificateExpired, nil},
		{"other name", ca.Good(t, "elsewhere.lab"), ok, report.CertificateNameMismatch, []string{"names=elsewhere.lab"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			port := probetest.Serve(t, &tt.cert, tt.h)
			host := fmt.Sprintf("r.lab:%d", port)
			c := probe(t, n, host+"/app:1")
			probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), report.Fail, tt.cause, tt.facts...)
			probetest.Want(t, c, "manifest/"+host, report.Skipped, "")
		})
	}

	raw := []struct {
		name  string
		talk  func(net.Conn)
		cause report.Cause
		facts []string
	}{
		{"plain HTTP", func(c net.Conn) { c.Read(make([]byte, 10)); c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, report.PlainHTTPRegistry, nil},
		{"another protocol", func(c net.Conn) { c.Write([]byte("SSH-2.0-OpenSSH\r\n")); c.Read(make([]byte, 1000)) }, report.TLSHandshakeFailed, []string{"firstBytes"}},
		{"closes", func(c net.Conn) { c.Read(make([]byte, 5000)) }, report.TLSHandshakeFailed, []string{"eof=true"}},
		{"resets", func(c net.Conn) { c.Read(make([]byte, 1)); c.(*net.TCPConn).SetLinger(0) }, report.ConnectionReset, []string{"errno=ECONNRESET"}},
		{"alert", func(c net.Conn) {
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{ca.Good(t, "r.lab")}, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, MaxVersion: tls.VersionTLS12}).Handshake()
		}, report.TLSHandshakeFailed, []string{"alert=tls: handshake failure"}},
	}
	for _, tt := range raw {
		t.Run(tt.name, func(t *testing.T) {
			port := probetest.ListenRaw(t, tt.talk)
			host := fmt.Sprintf("r.lab:%d", port)
			c := probe(t, n, host+"/app:1")
			probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), report.Fail, tt.cause, tt.facts...)
		})
	}
	t.Run("silent", func(t *testing.T) {
		m := *n
		m.Limits.TLS = 100 * time.Millisecond
		done := make(chan struct{})
		defer close(done)
		port := probetest.ListenRaw(t, func(net.Conn) { <-done })
		host := fmt.Sprintf("r.lab:%d", port)
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), report.Fail, report.TLSHandshakeFailed, "deadline=true")
	})
	t.Run("trust store unknown", func(t *testing.T) {
		m := *n
		m.Roots = nil
		cert := ca.Good(t, "r.lab")
		port := probetest.Serve(t, &cert, ok)
		host := fmt.Sprintf("r.lab:%d", port)
		c := probe(t, &m, host+"/app:1")
		got := probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), report.Skipped, "", "trust=unknown", "names=r.lab")
		if got.BlockedBy != "runtime/ca" {
			t.Errorf("blocked by %q", got.BlockedBy)
		}
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "")
	})
	t.Run("trust store unknown, wrong name all the same", func(t *testing.T) {
		m := *n
		m.Roots = nil
		cert := ca.Good(t, "elsewhere.lab")
		port := probetest.Serve(t, &cert, ok)
		host := fmt.Sprintf("r.lab:%d", port)
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), report.Fail, report.CertificateNameMismatch)
	})
}
