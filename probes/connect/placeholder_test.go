package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// The certificate that a server shows is compared with the known placeholders.
func TestPlaceholder(t *testing.T) {
	for _, tt := range []struct {
		subject, issuer pkix.Name
		want            string
	}{
		{pkix.Name{CommonName: "r.lab"}, pkix.Name{CommonName: "(STAGING) Artificial Apricot R3", Organization: []string{"(STAGING) Let's Encrypt"}}, "Let's Encrypt staging"},
		{pkix.Name{CommonName: "r.lab"}, pkix.Name{CommonName: "Fake LE Intermediate X1"}, "Let's Encrypt staging"},
		{pkix.Name{CommonName: "r.lab"}, pkix.Name{CommonName: "mkcert root@builder"}, "mkcert, a developer's authority"},
		{pkix.Name{CommonName: "Kubernetes Ingress Controller Fake Certificate", Organization: []string{"Acme Co"}}, pkix.Name{}, "ingress-nginx default"},
		{pkix.Name{CommonName: "TRAEFIK DEFAULT CERT"}, pkix.Name{}, "traefik default"},
		{pkix.Name{CommonName: "Plesk", Organization: []string{"Plesk"}}, pkix.Name{}, "Plesk default"},
		{pkix.Name{CommonName: "localhost"}, pkix.Name{}, "localhost"},
		{pkix.Name{CommonName: "r.lab", Organization: []string{"Internet Widgits Pty Ltd"}}, pkix.Name{}, "openssl default"},
		{pkix.Name{CommonName: "localhost.registry.example"}, pkix.Name{CommonName: "Example Corp Root CA"}, ""},
		{pkix.Name{CommonName: "r.lab"}, pkix.Name{CommonName: "R10", Organization: []string{"Let's Encrypt"}}, ""},
		{pkix.Name{CommonName: "unified.example"}, pkix.Name{CommonName: "Corp Test CA"}, ""},
	} {
		if got := placeholderOf([]*x509.Certificate{{Subject: tt.subject, Issuer: tt.issuer}}); got != tt.want {
			t.Errorf("%s by %s: %q, want %q", tt.subject, tt.issuer, got, tt.want)
		}
	}
}

// A handshake reports the placeholder that the server shows.
func TestPlaceholderInHandshake(t *testing.T) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7),
		Subject:      pkix.Name{CommonName: "TRAEFIK DEFAULT CERT"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"x.traefik.default"},
	}
	leaf, key := probetest.Sign(t, template, nil)
	cert := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
	address := fmt.Sprintf("127.0.0.1:%d", probetest.Serve(t, &cert, http.NotFoundHandler()))
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	result := NewProber(&view.Node{}).Handshake(context.Background(), runtimeconfig.Host{Scheme: "https", Host: "r.lab"}, conn, address)
	if got := result.Check.Evidence[report.KeyPlaceholder]; got != "traefik default" {
		t.Errorf("%q: %+v", got, result.Check)
	}
}
