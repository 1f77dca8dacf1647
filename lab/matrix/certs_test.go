//go:build matrix

package matrix

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"time"

	"github.com/pullprobe/pullprobe/lab"
)

// leafSpec describes a server's certificate.
type leafSpec struct {
	name         string
	since, until time.Duration // relative to now; zero: from an hour ago, for a year
	noNames      bool          // the name as common name only
	organization string        // of the subject
	more         []string      // further names
	aia          string        // URL of the issuer's certificate
	chain        [][]byte      // sent with the certificate
}

func (l leafSpec) template() *x509.Certificate {
	if l.since == 0 && l.until == 0 {
		l.since, l.until = -time.Hour, 365*day
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(randomNumber(1 << 40)),
		Subject:      l.subject(),
		NotBefore:    now.Add(l.since), NotAfter: now.Add(l.until),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if !l.noNames {
		t.DNSNames = append([]string{l.name}, l.more...)
	}
	if l.aia != "" {
		t.IssuingCertificateURL = []string{l.aia}
	}
	return t
}

func (l leafSpec) subject() pkix.Name {
	n := pkix.Name{CommonName: l.name}
	if l.organization != "" {
		n.Organization = []string{l.organization}
	}
	return n
}

const day = 24 * time.Hour

// certificate makes a server's certificate, signed by a.
func (s *scene) certificate(a *lab.Authority, l leafSpec) tls.Certificate {
	s.t.Helper()
	der, key, err := a.Sign(l.template())
	must(s.t, err)
	return tls.Certificate{Certificate: append([][]byte{der}, l.chain...), PrivateKey: key}
}

// certificateForAddress makes a certificate of the trusted authority for an address.
func (s *scene) certificateForAddress(addr netip.Addr) tls.Certificate {
	s.t.Helper()
	t := leafSpec{name: addr.String(), noNames: true}.template()
	t.IPAddresses = []net.IP{addr.AsSlice()}
	der, key, err := s.w.trustedCA.Sign(t)
	must(s.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// selfSigned makes a self-signed server certificate.
func (s *scene) selfSigned(name string) tls.Certificate { return s.selfSignedAs(leafSpec{name: name}) }

func (s *scene) selfSignedAs(l leafSpec) tls.Certificate {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(s.t, err)
	t := l.template()
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	must(s.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// pemOf returns the first certificate of a chain in PEM.
func pemOf(c tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}
