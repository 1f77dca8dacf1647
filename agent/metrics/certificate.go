package metrics

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

// certificate is what a port shows. It looks for another one in time, when
// somebody connects; if there is none, the last one stays.
type certificate struct {
	// load gives one, and when to load again.
	load func(now time.Time) (*tls.Certificate, time.Time, error)
	log  *slog.Logger

	mu        sync.Mutex
	current   *tls.Certificate
	reloadAt  time.Time
	lastError string // why the last one could not be had; empty: it could
}

// newCertificate loads the first one.
func newCertificate(load func(time.Time) (*tls.Certificate, time.Time, error), log *slog.Logger) (*certificate, error) {
	c := &certificate{load: load, log: log}
	var err error
	c.current, c.reloadAt, err = load(wallClock())
	return c, err
}

// wallClock is the time that certificates go by.
func wallClock() time.Time { return time.Now().Round(0) }

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
			c.log.Error("no new certificate for the metrics port: the last one stays", "error", err)
		}
		c.lastError = err.Error()
		return c.current, nil
	}
	c.current, c.lastError = cert, ""
	return cert, nil
}

// selfSigned makes certificates that nobody vouches for. They are in memory only.
func selfSigned(node string) func(time.Time) (*tls.Certificate, time.Time, error) {
	return func(now time.Time) (*tls.Certificate, time.Time, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, now, err
		}
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: "pullprobe"}, DNSNames: []string{node},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife), // clocks differ
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, now.Add(certificateLife - renewBefore), err
	}
}

// fromFiles reads certificates that somebody else renews. While one of the two
// files is written they do not fit.
func fromFiles(cert, key string) func(time.Time) (*tls.Certificate, time.Time, error) {
	return func(now time.Time) (*tls.Certificate, time.Time, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		return &pair, now.Add(fileReloadInterval), err
	}
}
