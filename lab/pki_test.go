package lab

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"testing"
)

func testPKI(t *testing.T) Dir {
	t.Helper()
	d := Dir(t.TempDir())
	if err := makePKI(d); err != nil {
		t.Fatal(err)
	}
	return d
}

func certificate(t *testing.T, d Dir, name string) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(d.PKI(name + ".crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("%s: no PEM", name)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Each host's certificate has exactly the fault of its host, judged by the nodes'
// trust store.
func TestCertificatesAreGoodAndBadAsMeant(t *testing.T) {
	d := testPKI(t)
	store, err := trustStore(d, "public-ca", "registry-ca")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(store)) {
		t.Fatal("empty trust store")
	}
	for _, h := range Hosts() {
		if h.cert == "" {
			continue
		}
		_, err := certificate(t, d, h.cert).Verify(x509.VerifyOptions{DNSName: h.Name, Roots: roots})
		switch h.Name {
		case "expired.lab":
			if e, ok := errors.AsType[x509.CertificateInvalidError](err); !ok || e.Reason != x509.Expired {
				t.Errorf("%s: %v, want expired", h.Name, err)
			}
		case "badca.lab", "intercept.lab":
			if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
				t.Errorf("%s: %v, want unknown authority", h.Name, err)
			}
		case "wrongname.lab":
			if _, ok := errors.AsType[x509.HostnameError](err); !ok {
				t.Errorf("%s: %v, want wrong name", h.Name, err)
			}
		default:
			if err != nil {
				t.Errorf("%s: %v", h.Name, err)
			}
		}
	}
}

func TestWithoutItsCATheTrustStoreTrustsNoRegistry(t *testing.T) {
	d := testPKI(t)
	store, err := trustStore(d, "public-ca")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(store)) {
		t.Fatal("empty: Go would look elsewhere for roots")
	}
	_, err = certificate(t, d, "registry").Verify(x509.VerifyOptions{DNSName: "registry.lab", Roots: roots})
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		t.Errorf("got %v, want unknown authority", err)
	}
}

func TestNodeCertificateIsANodesIdentity(t *testing.T) {
	d := testPKI(t)
	for _, n := range Nodes() {
		c := certificate(t, d, n.Name)
		if c.Subject.CommonName != "system:node:"+n.Name || len(c.Subject.Organization) != 1 || c.Subject.Organization[0] != "system:nodes" {
			t.Errorf("%s: subject %v", n.Name, c.Subject)
		}
		if err := c.VerifyHostname(n.Addr); err != nil {
			t.Error(err)
		}
	}
}

func TestKeysAreForRootOnly(t *testing.T) {
	d := testPKI(t)
	for _, name := range []string{"registry.key", "admin.key", "admin.kubeconfig", "sa.key", "token.key"} {
		st, err := os.Stat(d.PKI(name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", name, st.Mode())
		}
	}
}
