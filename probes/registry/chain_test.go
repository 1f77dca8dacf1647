package registry

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// mint issues a server certificate from a template.
func mint(t *testing.T, a *probetest.Authority, change func(*x509.Certificate), chain ...*probetest.Authority) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "r.lab"}, DNSNames: []string{"r.lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	cert, key := probetest.Sign(t, template, a)
	out := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	for _, ca := range chain {
		out.Certificate = append(out.Certificate, ca.Cert.Raw)
	}
	return out
}

// named is an authority with a subject of its own.
func named(t *testing.T, subject pkix.Name, until time.Time, parent *probetest.Authority) *probetest.Authority {
	t.Helper()
	a := &probetest.Authority{}
	a.Cert, a.Key = probetest.Sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: subject, NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, parent)
	a.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Cert.Raw})
	return a
}

func TestChain(t *testing.T) {
	later := time.Now().Add(1000 * time.Hour)
	ca := probetest.NewAuthority(t, nil)
	between := probetest.NewAuthority(t, ca)
	aia := func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://ca.example/ca.crt"} }
	private := named(t, pkix.Name{CommonName: "private authority"}, later, nil)
	remade := named(t, ca.Cert.Subject, later, nil)
	old := named(t, pkix.Name{CommonName: "old authority"}, time.Now().Add(-time.Hour), nil)
	oldBetween := named(t, pkix.Name{CommonName: "old intermediate"}, time.Now().Add(-time.Hour), ca)
	zscaler := named(t, pkix.Name{CommonName: "Zscaler Root CA", Organization: []string{"Zscaler Inc."}}, later, nil)
	n := newProber(t, ca, map[string]string{"/etc/ssl/certs/old.pem": string(old.PEM)})
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

	tests := []struct {
		name    string
		cert    tls.Certificate
		outcome report.Outcome
		cause   report.Cause
		facts   []string
		not     []string
	}{
		{"ends soon", mint(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(13 * 24 * time.Hour) }), report.Pass, "", []string{"expiresSoon=true", "daysLeft=12"}, nil},
		{"with its intermediate", mint(t, between, aia, between), report.Pass, "", []string{"root", "intermediates=1"}, []string{"expiresSoon", "missingIntermediate"}},
		{"without its intermediate", mint(t, between, aia), report.Fail, report.CertificateUntrusted, []string{"missingIntermediate=likely"}, []string{"issuerKnownByName"}},
		{"private authority", mint(t, private, nil), report.Fail, report.CertificateUntrusted, nil, []string{"missingIntermediate", "issuerKnownByName"}},
		{"an authority issued again", mint(t, remade, aia), report.Fail, report.CertificateUntrusted, []string{"issuerKnownByName=true", "knownIssuerFrom"}, []string{"missingIntermediate"}},
		{"an expired authority on the node", mint(t, old, nil), report.Fail, report.CertificateExpired, []string{"expired=CN=old authority", "expiredFrom=node"}, nil},
		{"an expired intermediate from the server", mint(t, oldBetween, nil, oldBetween), report.Fail, report.CertificateExpired, []string{"expired=CN=old intermediate", "expiredFrom=server"}, nil},
		{"a product that opens TLS", mint(t, zscaler, nil, zscaler), report.Fail, report.CertificateUntrusted, []string{"interceptor=Zscaler", "issuerOrg=Zscaler Inc."}, []string{"publicRegistry"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			port := probetest.Serve(t, &tt.cert, ok)
			host := fmt.Sprintf("r.lab:%d", port)
			c := probe(t, n, host+"/app:1")
			check := probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), tt.outcome, tt.cause, tt.facts...)
			for _, k := range tt.not {
				if v := check.Evidence[k]; v != "" {
					t.Errorf("%s=%s", k, v)
				}
			}
		})
	}

	t.Run("another address sends the intermediate", func(t *testing.T) {
		bare, whole := mint(t, between, nil), mint(t, between, nil, between)
		port := probetest.ServeAt(t, "127.0.0.51", 0, &bare, ok)
		probetest.ServeAt(t, "127.0.0.52", port, &whole, ok)
		m := *n
		m.Hosts = view.ParseHostsFile([]byte("127.0.0.51 r.lab\n127.0.0.52 r.lab\n"))
		host := fmt.Sprintf("r.lab:%d", port)
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.51:%d", host, port), report.Fail, report.CertificateUntrusted, "missingIntermediate=true", fmt.Sprintf("sentBy=127.0.0.52:%d", port))
	})
	t.Run("a public registry under a private authority", func(t *testing.T) {
		leaf := func(scts bool) tls.Certificate {
			return mint(t, ca, func(c *x509.Certificate) {
				c.DNSNames = []string{"ghcr.io"}
				if scts {
					c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: []byte{4, 2, 0, 0}}}
				}
			})
		}
		for scts, text := range map[bool]string{false: "false", true: "true"} {
			cert := leaf(scts)
			port := probetest.Serve(t, &cert, ok)
			m := *n
			m.Hosts = view.ParseHostsFile([]byte("127.0.0.1 ghcr.io\n"))
			host := fmt.Sprintf("ghcr.io:%d", port)
			c := probe(t, &m, host+"/app:1")
			probetest.Want(t, c, "dns/"+host, report.Pass, "", "publicRegistry=true", "special=loopback")
			probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), report.Pass, "", "publicRegistry=true", "sct="+text)
		}
	})
	t.Run("which of the two stores trusts it", func(t *testing.T) {
		for cert, by := range map[*probetest.Authority]string{ca: "node", zscaler: "ca", old: "none"} {
			leaf := mint(t, cert, nil)
			port := probetest.Serve(t, &leaf, ok)
			host := fmt.Sprintf("r.lab:%d", port)
			dir := "/etc/containerd/certs.d/" + strings.Replace(host, ":", "_", 1) + "_"
			n := newProber(t, ca, map[string]string{dir + "/hosts.toml": "server = \"https://" + host + "\"\nca = \"ca.pem\"\n", dir + "/ca.pem": string(zscaler.PEM)})
			c := probe(t, n, host+"/app:1")
			if got := c[fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port)].Evidence["trustedBy"]; got != by {
				t.Errorf("trusted by %q, want %q", got, by)
			}
		}
	})
}
