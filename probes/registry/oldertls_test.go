package registry

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// A server of RSA key exchange only is too old for the probes, not for containerd before
// 2.0. A server that rejects any handshake is at fault for both.
func TestStrictTLS(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"r.lab"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	old := &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}
	none := old.Clone()
	none.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{0xfefe}}, nil
	}
	n := newProber(t, probetest.NewAuthority(t, nil), nil)
	for _, tt := range []struct {
		name, version string
		config        *tls.Config
		outcome       report.Outcome
		cause         report.Cause
	}{
		{"older runtime", "v1.7.27", old, report.Unknown, ""},
		{"newer runtime", "v2.1.0", old, report.Fail, report.TLSHandshakeFailed},
		{"no suite at all", "v1.7.27", none, report.Fail, report.TLSHandshakeFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port := probetest.ListenRaw(t, func(c net.Conn) { _ = tls.Server(c, tt.config).Handshake() })
			host := fmt.Sprintf("r.lab:%d", port)
			c := probeAs(t, n, Target{Image: host + "/app:1", RuntimeVersion: tt.version})
			probetest.Want(t, c, fmt.Sprintf("tls/%s/127.0.0.1:%d", host, port), tt.outcome, tt.cause)
		})
	}
}
