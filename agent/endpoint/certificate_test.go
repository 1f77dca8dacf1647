package endpoint

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

// shownBy returns the certificate that a client gets now.
func shownBy(t *testing.T, c *certificate) *x509.Certificate {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go func() { _ = tls.Server(far, &tls.Config{GetCertificate: c.get}).HandshakeContext(t.Context()) }()
	conn := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	cert := conn.ConnectionState().PeerCertificates[0]
	if now := time.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		t.Errorf("at %v it shows one that is good from %v to %v", now, cert.NotBefore, cert.NotAfter)
	}
	return cert
}

// TestSelfSignedCertificate checks that the self-signed certificate names its node,
// and is replaced in time.
func TestSelfSignedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := newCertificate(selfSigned("node-a.example"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		first := shownBy(t, c)
		if err := first.VerifyHostname("node-a.example"); err != nil {
			t.Error(err)
		}
		time.Sleep(certificateLife - renewBefore - time.Minute)
		if !shownBy(t, c).Equal(first) {
			t.Error("another one though the first is good for a month")
		}
		time.Sleep(2 * time.Minute)
		second := shownBy(t, c)
		if second.Equal(first) || second.NotAfter.Sub(first.NotAfter) < 300*24*time.Hour {
			t.Errorf("the first ends %v, what follows %v", first.NotAfter, second.NotAfter)
		}
		time.Sleep(3 * certificateLife) // no client connects for long
		shownBy(t, c)
	})
}

// TestCertificateFromFiles checks that a certificate from files follows them, and that
// the last one stays while they do not match.
func TestCertificateFromFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
		issue := func() (cert, key string) {
			pair, _, err := selfSigned("n")(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
			if err != nil {
				t.Fatal(err)
			}
			return string(
					pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
				), string(
					pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
				)
		}
		var log bytes.Buffer
		load := func() (*certificate, error) {
			return newCertificate(fromFiles(certFile, keyFile), slog.New(slog.NewTextHandler(&log, nil)))
		}
		if _, err := load(); !os.IsNotExist(err) {
			t.Errorf("without files: %v", err)
		}
		cert, key := issue()
		hosttest.Write(t, certFile, cert)
		hosttest.Write(t, keyFile, key)
		c, err := load()
		if err != nil {
			t.Fatal(err)
		}
		first := shownBy(t, c)

		cert, key = issue()
		hosttest.Write(t, certFile, cert)
		for range 3 {
			time.Sleep(fileReloadInterval)
			if !shownBy(t, c).Equal(first) {
				t.Error("a certificate without its key")
			}
		}
		if n := strings.Count(log.String(), "keeping the last one"); n != 1 {
			t.Errorf("logged %d times: %s", n, log.String())
		}
		hosttest.Write(t, keyFile, key)
		time.Sleep(fileReloadInterval)
		if shownBy(t, c).Equal(first) {
			t.Error("the new one is not shown")
		}
	})
}
