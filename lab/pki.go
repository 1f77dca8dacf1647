package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Authority is a CA: its certificate and its signing key.
type Authority struct {
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

// leafSpec describes a certificate to issue.
type leafSpec struct {
	name  string   // common name
	org   string   // Kubernetes group
	sans  []string // names and addresses
	since time.Duration
	until time.Duration // both relative to now; zero: from an hour ago, for a year
}

// NewAuthority makes a root that is valid from 60 days ago, for ten years from now.
func NewAuthority(name string) (*Authority, error) { return newAuthority(name, nil) }

// Intermediate makes an authority with a certificate signed by a.
func (a *Authority) Intermediate(name string) (*Authority, error) { return newAuthority(name, a) }

func newAuthority(name string, parent *Authority) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.AddDate(0, 0, -60),
		NotAfter:     now.AddDate(10, 0, 0),
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	if parent == nil {
		parent = &Authority{cert: t, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent.cert, key.Public(), parent.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: key}, nil
}

// PEM returns the authority's certificate.
func (a *Authority) PEM() []byte { return a.pem }

// DER returns the authority's certificate.
func (a *Authority) DER() []byte { return a.cert.Raw }

// Sign makes a certificate from the template t, with a new serial number and key.
func (a *Authority) Sign(t *x509.Certificate) (der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	t.SerialNumber = serialNumber()
	der, err = x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	return der, key, err
}

// issue makes a certificate and its key, both in PEM.
func (a *Authority) issue(l leafSpec) (cert, key []byte, err error) {
	if l.since == 0 && l.until == 0 {
		l.since, l.until = -time.Hour, 365*24*time.Hour
	}
	now := time.Now()
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: l.name},
		NotBefore:   now.Add(l.since),
		NotAfter:    now.Add(l.until),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if l.org != "" {
		t.Subject.Organization = []string{l.org}
	}
	for _, s := range l.sans {
		if ip := net.ParseIP(s); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, s)
		}
	}
	der, k, err := a.Sign(t)
	if err != nil {
		return nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key, err = keyPEM(k)
	return cert, key, err
}

func keyPEM(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func serialNumber() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return n
}

// makePKI writes every key and certificate of the lab below run/pki.
//
// The authorities are registry-ca (in the nodes' trust store), other-ca (trusted
// nowhere), kube-ca, and public-ca. The last signs nothing. It is in the nodes' trust
// store so that the store is not empty when registry-ca is missing.
func makePKI(d Dir) error {
	if err := os.MkdirAll(d.Run("pki"), 0o755); err != nil {
		return err
	}
	w := pkiWriter{dir: d.Run("pki")}
	registry, other, kube := w.authority("registry-ca"), w.authority("other-ca"), w.authority("kube-ca")
	w.authority("public-ca")
	if w.err != nil {
		return w.err
	}

	var good []string
	for _, h := range Hosts() {
		if h.cert == "registry" {
			good = append(good, h.Name)
			if h.V6.IsValid() { // an image may name it: [fd77::26]:443/app:1
				good = append(good, h.V6.String())
			}
		}
	}
	day := 24 * time.Hour
	good = append(good, "*"+AnyHost)
	w.leaf(registry, "registry", leafSpec{name: "registry.lab", sans: good})
	w.leaf(other, "intercept", leafSpec{name: "registry.lab", sans: append(good, "intercept.lab")})
	w.leaf(registry, "expired", leafSpec{name: "expired.lab", sans: []string{"expired.lab"}, since: -30 * day, until: -day})
	w.leaf(registry, "wrongname", leafSpec{name: "elsewhere.lab", sans: []string{"elsewhere.lab"}})
	w.leaf(other, "badca", leafSpec{name: "badca.lab", sans: []string{"badca.lab"}})
	w.htpasswd("htpasswd", User, Password)
	w.tokenKey("token")

	w.leaf(kube, "apiserver", leafSpec{name: "kube-apiserver", sans: []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1", ServiceAddr, InfraAddr,
	}})
	w.leaf(kube, "apiserver-kubelet-client", leafSpec{name: "kube-apiserver-kubelet-client", org: "system:masters"})
	w.leaf(kube, "admin", leafSpec{name: "admin", org: "system:masters"})
	// An administrator, so that its controllers need no ServiceAccounts: creating
	// and reading those would delay the start by five seconds.
	w.leaf(kube, "controller-manager", leafSpec{name: "system:kube-controller-manager", org: "system:masters"})
	w.leaf(kube, "scheduler", leafSpec{name: "system:kube-scheduler"})
	w.serviceAccountKey("sa")
	users := []string{"admin", "controller-manager", "scheduler"}
	for _, n := range Nodes() {
		w.leaf(kube, n.Name, leafSpec{name: "system:node:" + n.Name, org: "system:nodes", sans: []string{n.Name, n.Addr, n.V6}})
		users = append(users, n.Name)
	}
	for _, u := range users {
		w.kubeconfig(u)
	}
	return w.err
}

// pkiWriter writes files and remembers the first error.
type pkiWriter struct {
	dir string
	err error
}

func (w *pkiWriter) file(name string, data []byte, mode os.FileMode, err error) {
	if w.err != nil {
		return
	}
	if w.err = err; err == nil {
		w.err = os.WriteFile(filepath.Join(w.dir, name), data, mode)
	}
}

func (w *pkiWriter) authority(name string) *Authority {
	a, err := NewAuthority("lab-" + name)
	if err != nil {
		w.file(name, nil, 0, err)
		return nil
	}
	w.file(name+".crt", a.pem, 0o644, nil)
	return a
}

func (w *pkiWriter) leaf(a *Authority, name string, l leafSpec) {
	cert, key, err := a.issue(l)
	w.file(name+".crt", cert, 0o644, err)
	w.file(name+".key", key, 0o600, err)
}

func (w *pkiWriter) serviceAccountKey(name string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.file(name, nil, 0, err)
		return
	}
	key, err := keyPEM(k)
	w.file(name+".key", key, 0o600, err)
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	w.file(name+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644, err)
}

// tokenKey writes the key that signs registry tokens, and the key set (RFC 7517) that
// the registry trusts.
func (w *pkiWriter) tokenKey(name string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.file(name, nil, 0, err)
		return
	}
	key, err := keyPEM(k)
	w.file(name+".key", key, 0o600, err)
	point, err := k.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		w.file(name, nil, 0, err)
		return
	}
	b64 := base64.RawURLEncoding.EncodeToString
	jwks, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": tokenKeyID,
		"x": b64(point[1:33]), "y": b64(point[33:]),
	}}})
	w.file(name+".jwks", jwks, 0o644, err)
}

func (w *pkiWriter) htpasswd(name, user, password string) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	w.file(name, fmt.Appendf(nil, "%s:%s\n", user, hash), 0o644, err)
}

// kubeconfig writes a kubeconfig with embedded keys and certificates. It works wherever
// the API server is reachable.
func (w *pkiWriter) kubeconfig(user string) {
	if w.err != nil {
		return
	}
	data := map[string]string{}
	for _, f := range []string{"kube-ca.crt", user + ".crt", user + ".key"} {
		b, err := os.ReadFile(filepath.Join(w.dir, f))
		if err != nil {
			w.err = err
			return
		}
		data[f] = base64.StdEncoding.EncodeToString(b)
	}
	w.file(user+".kubeconfig", fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: lab
  cluster: {server: "https://%s", certificate-authority-data: %s}
users:
- name: %s
  user: {client-certificate-data: %s, client-key-data: %s}
contexts:
- name: lab
  context: {cluster: lab, user: %s}
current-context: lab
`, APIAddr, data["kube-ca.crt"], user, data[user+".crt"], data[user+".key"], user), 0o600, nil)
}
