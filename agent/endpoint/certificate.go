package endpoint

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"sync"
	"time"
)

const (
	certificateLife    = 365 * 24 * time.Hour
	renewBefore        = 30 * 24 * time.Hour // its end
	fileReloadInterval = 10 * time.Second    // how often certificate files are read
)

// certificate is the certificate of a port. It is loaded again in time, when a client
// connects. If that fails, the last one stays.
type certificate struct {
	// load returns a certificate, and when to load again.
	load func(now time.Time) (*tls.Certificate, time.Time, error)
	log  *slog.Logger

	mu        sync.Mutex
	current   *tls.Certificate
	reloadAt  time.Time
	lastError string // why the last load failed; empty: it did not
}

// newCertificate returns a certificate, and loads it.
func newCertificate(load func(time.Time) (*tls.Certificate, time.Time, error), log *slog.Logger) (*certificate, error) {
	c := &certificate{load: load, log: log}
	var err error
	c.current, c.reloadAt, err = load(wallClock())
	return c, err
}

// wallClock returns the time that the validity of certificates depends on.
func wallClock() time.Time { return time.Now().Round(0) }

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := wallClock()
	if now.Before(c.reloadAt) {
		return c.current, nil
	}
	cert, again, err := c.load(now)
	c.reloadAt = again
	if err != nil {
		if err.Error() != c.lastError {
			c.log.Error("cannot load a certificate for the metrics port, keeping the last one", "error", err)
		}
		c.lastError = err.Error()
		return c.current, nil
	}
	c.current, c.lastError = cert, ""
	return cert, nil
}

// selfSigned makes self-signed certificates for a node. They are in memory only.
func selfSigned(node string) func(time.Time) (*tls.Certificate, time.Time, error) {
	return func(now time.Time) (*tls.Certificate, time.Time, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, now, err
		}
		template := &x509.Certificate{
			Subject:               pkix.Name{CommonName: "pullprobe"},
			DNSNames:              []string{node},
			NotBefore:             now.Add(-time.Hour), // clocks differ
			NotAfter:              now.Add(certificateLife),
			KeyUsage:              x509.KeyUsageDigitalSignature,
			ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, now.Add(certificateLife - renewBefore), err
	}
}

// fromFiles reads certificates that another process renews. While that writes one of
// the two files they do not match, and load fails.
func fromFiles(cert, key string) func(time.Time) (*tls.Certificate, time.Time, error) {
	return func(now time.Time) (*tls.Certificate, time.Time, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		return &pair, now.Add(fileReloadInterval), err
	}
}
