package probes

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"path"
	"strings"
)

// Roots is the trust store of the runtime process.
type Roots struct {
	Pool    *x509.CertPool
	Count   int      // certificates in Pool
	From    []string // files and directories that they were read from
	Assumed bool     // the runtime's SSL_CERT_FILE and SSL_CERT_DIR are unknown; the standard places were read

	certs []*x509.Certificate // those in Pool
}

// ReadRoots reads the system's certificate authorities in the places where a Go
// program such as containerd does (crypto/x509/root_linux.go and root_unix.go
// of the Go distribution), honouring SSL_CERT_FILE and SSL_CERT_DIR of env. A
// caFile stands for SSL_CERT_FILE. An error means that what the runtime trusts
// is unknown.
func ReadRoots(f Files, env []string, caFile string) (*Roots, error) {
	files := []string{
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ssl/cert.pem",
	}
	if caFile = orDefault(caFile, lookupEnv(env, "SSL_CERT_FILE")); caFile != "" {
		files = []string{caFile}
	}
	dirs := []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
	if d := lookupEnv(env, "SSL_CERT_DIR"); d != "" {
		dirs = strings.Split(d, ":")
	}

	roots := &Roots{Pool: x509.NewCertPool(), Assumed: env == nil}
	// The directories repeat what the bundle holds; each is parsed once.
	seen := map[[sha256.Size]byte]bool{}
	var firstErr error
	note := func(err error) {
		if firstErr == nil && !errors.Is(err, fs.ErrNotExist) {
			firstErr = err
		}
	}
	for _, name := range files {
		b, err := f.ReadFile(name)
		if err != nil {
			note(err)
			continue
		}
		roots.add(b, name, seen)
		break // as Go does: the first one that can be read
	}
	for _, dir := range dirs {
		entries, err := f.ReadDir(dir)
		if err != nil {
			note(err)
			continue
		}
		for _, e := range entries {
			if b, err := f.ReadFile(path.Join(dir, e.Name())); err == nil {
				roots.add(b, dir, seen)
			}
		}
	}
	if roots.Count == 0 && firstErr != nil {
		return nil, firstErr
	}
	return roots, nil
}

// add takes the certificates of a PEM file into the pool; others blocks and
// what does not parse are passed over, as in [x509.CertPool.AppendCertsFromPEM].
func (r *Roots) add(text []byte, from string, seen map[[sha256.Size]byte]bool) (added int) {
	for len(text) > 0 {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) != 0 {
			continue
		}
		sum := sha256.Sum256(block.Bytes)
		if seen[sum] {
			continue
		}
		seen[sum] = true
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		r.Pool.AddCert(cert)
		r.certs = append(r.certs, cert)
		added++
	}
	if added > 0 {
		r.Count += added
		if len(r.From) == 0 || r.From[len(r.From)-1] != from {
			r.From = append(r.From, from)
		}
	}
	return added
}
