package probetest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	emptyimage "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/miekg/dns"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullprobe/pullprobe/report"
)

// Authority is a certificate authority of a test.
type Authority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
	PEM  []byte
}

// NewAuthority returns an authority: a root, or an intermediate of parent.
func NewAuthority(t testing.TB, parent *Authority) *Authority {
	t.Helper()
	a := &Authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test authority " + t.Name()},
		NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent != nil {
		template.Subject.CommonName = "intermediate " + t.Name()
	}
	a.Cert, a.Key = Sign(t, template, parent)
	a.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Cert.Raw})
	return a
}

// Sign issues a certificate from a template; a nil authority means self-signed.
func Sign(t testing.TB, template *x509.Certificate, by *Authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Cert, by.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// Issue issues a server certificate; a nil authority means self-signed.
func (a *Authority) Issue(t testing.TB, from, until time.Time, names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	cert, key := Sign(t, template, a)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// Good issues a valid server certificate.
func (a *Authority) Good(t testing.TB, names ...string) tls.Certificate {
	return a.Issue(t, time.Now().Add(-time.Hour), time.Now().Add(100*24*time.Hour), names...)
}

// Serve runs an HTTPS server with cert, or an HTTP server without one, on the
// loopback address and returns its port.
func Serve(t testing.TB, cert *tls.Certificate, h http.Handler) uint16 {
	t.Helper()
	return ServeAt(t, "127.0.0.1", 0, cert, h)
}

// ServeAt is [Serve] at another address; port 0 is any.
func ServeAt(t testing.TB, ip string, port uint16, cert *tls.Certificate, h http.Handler) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(int(port))))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if cert != nil {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

// ClosedPort returns a port that nothing listens on.
func ClosedPort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

// ListenRaw accepts connections, calls talk with each and returns the port.
func ListenRaw(t *testing.T, talk func(net.Conn)) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				talk(c)
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

// NewRegistry returns a registry with an image "app:1" (and "app:stable") for amd64,
// an index "multi:1" for arm64 and s390x, and a single-manifest image "arm:1".
func NewRegistry(t *testing.T) http.Handler {
	t.Helper()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	PushImage(t, h, "app", ImageFor(t, "amd64"), "1")
	PushImage(t, h, "app", ImageFor(t, "amd64"), "stable")
	PushImage(t, h, "arm", ImageFor(t, "arm64"), "1")
	index := mutate.IndexMediaType(emptyimage.Index, types.OCIImageIndex)
	for _, arch := range []string{"arm64", "s390x"} {
		img := ImageFor(t, arch)
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		PushImage(t, h, "multi", img, digest.String())
		platform := &v1.Platform{OS: "linux", Architecture: arch}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	text, err := index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	Put(t, h, "/v2/multi/manifests/1", ocispec.MediaTypeImageIndex, text)
	return h
}

// PushImage pushes an image to a registry by its API, with each of the tags.
func PushImage(t *testing.T, h http.Handler, repo string, img v1.Image, tags ...string) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range append(layers, config) {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/v2/"+repo+"/blobs/uploads/", nil))
		location, err := w.Result().Location()
		if err != nil || w.Code != http.StatusAccepted {
			t.Fatalf("start of an upload: %d %s %v", w.Code, w.Body, err)
		}
		q := location.Query()
		q.Set("digest", DigestOf(t, l))
		location.RawQuery = q.Encode()
		Put(t, h, location.RequestURI(), "application/octet-stream", text)
	}
	text, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mediaType, err := img.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		Put(t, h, "/v2/"+repo+"/manifests/"+tag, string(mediaType), text)
	}
}

// Put pushes a manifest to a registry.
func Put(t *testing.T, h http.Handler, path, mediaType string, text []byte) {
	t.Helper()
	req := httptest.NewRequest("PUT", path, bytes.NewReader(text))
	req.Header.Set("Content-Type", mediaType)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, req); w.Code >= 300 {
		t.Fatalf("push to %s: %d %s", path, w.Code, w.Body)
	}
}

// ImageFor returns a random image for an architecture of linux.
func ImageFor(t *testing.T, arch string) v1.Image {
	t.Helper()
	img, err := random.Image(2000, 2)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg.OS, cfg.Architecture = "linux", arch
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		t.Fatal(err)
	}
	return img
}

// DNSPort returns a port that is free for UDP and TCP on the loopback addresses. It
// is below those that the kernel gives to connections (ip_local_port_range), so
// that none of them takes it before it is used.
func DNSPort(t testing.TB) uint16 {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+mathrand.N(12000))
		p, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", addr)
		p.Close()
		if err == nil {
			l.Close()
			return netip.MustParseAddrPort(addr).Port()
		}
	}
	t.Fatal("no port is free for UDP and TCP")
	return 0
}

// ServeDNS runs a DNS server at ip; with a nil handler it listens and never answers.
func ServeDNS(t testing.TB, ip string, port uint16, h dns.HandlerFunc) {
	t.Helper()
	addr := net.JoinHostPort(ip, strconv.Itoa(int(port)))
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if h == nil {
		return
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: p, Handler: h}, {Listener: l, Handler: h}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
}

// Zone answers from a table of rooted names; others do not exist.
func Zone(records map[string]string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.RecursionAvailable = true
		value, ok := records[strings.ToLower(q.Question[0].Name)]
		if !ok {
			m.Rcode = dns.RcodeNameError
		}
		for _, s := range strings.Fields(value) {
			header := dns.RR_Header{Name: q.Question[0].Name, Class: dns.ClassINET, Ttl: 60, Rrtype: q.Question[0].Qtype}
			ip := net.ParseIP(s)
			switch {
			case q.Question[0].Qtype == dns.TypeA && ip.To4() != nil:
				m.Answer = append(m.Answer, &dns.A{Hdr: header, A: ip})
			case q.Question[0].Qtype == dns.TypeAAAA && ip.To4() == nil:
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: header, AAAA: ip})
			}
		}
		w.WriteMsg(m)
	}
}

// Always answers every query with this code.
func Always(rcode int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetRcode(q, rcode)
		m.RecursionAvailable = true
		w.WriteMsg(m)
	}
}

// Tree is a directory that is the root of a node.
type Tree string

// ReadFile reads a file beneath the root.
func (d Tree) ReadFile(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), name))
}

// ReadDir lists a directory beneath the root.
func (d Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	return os.ReadDir(filepath.Join(string(d), name))
}

// Stat describes a file beneath the root, following links.
func (d Tree) Stat(name string) (fs.FileInfo, error) { return os.Stat(filepath.Join(string(d), name)) }

// Files writes files under a new root.
func Files(t testing.TB, tree map[string]string) Tree {
	t.Helper()
	root := t.TempDir()
	for name, text := range tree {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Tree(root)
}

// Want checks the outcome, cause and facts ("key=value", or "key" for any) of
// the check with this id.
func Want(
	t *testing.T, checks map[string]report.Check, id string, outcome report.Outcome, cause report.Cause, facts ...string,
) report.Check {
	t.Helper()
	c, ok := checks[id]
	if !ok {
		ids := []string{}
		for id := range checks {
			ids = append(ids, id)
		}
		t.Errorf("no check %s among %s", id, ids)
		return c
	}
	if c.Outcome != outcome || c.Cause != cause {
		t.Errorf("%s: %s %s, want %s %s: %s %v", id, c.Outcome, c.Cause, outcome, cause, c.Summary, c.Evidence)
	}
	for _, f := range facts {
		k, v, exact := strings.Cut(f, "=")
		if got, ok := c.Evidence[k]; !ok || exact && got != v {
			t.Errorf("%s: %s is %q, want %q (%s)", id, k, got, v, c.Summary)
		}
	}
	return c
}

// TunnelTo makes a tunnel to target of w.
func TunnelTo(w http.ResponseWriter, target string) {
	far, err := net.Dial("tcp", target)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	done := make(chan struct{}, 2)
	go func() { io.Copy(far, near); done <- struct{}{} }()
	go func() { io.Copy(near, far); done <- struct{}{} }()
	<-done
}

// PairPEM returns a certificate and its key in one PEM file.
func PairPEM(t *testing.T, c tls.Certificate) string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

// DroppingPort returns a port whose backlog is full, so that the kernel drops what
// else wants to connect, as a firewall would.
func DroppingPort(t *testing.T) uint16 {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*syscall.SockaddrInet4).Port
	for range 10 {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 50*time.Millisecond)
		if err != nil {
			return uint16(port)
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this kernel does not drop connections beyond the backlog")
	return 0
}

// AnythingBelow answers every A query below suffix with address, and others
// from a table.
func AnythingBelow(suffix, address string, records map[string]string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if name := q.Question[0].Name; strings.HasSuffix(name, "."+suffix) {
			Zone(map[string]string{name: address})(w, q)
			return
		}
		Zone(records)(w, q)
	}
}

// MaxHostile bounds what one probe of a hostile server may allocate in all, in
// bytes, its DNS server and the test around it included.
const MaxHostile = 8 << 20

// Drip sends b slowly, without end.
func Drip(c net.Conn, b []byte) {
	for {
		for i := range b {
			if _, err := c.Write(b[i : i+1]); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// Allocated returns how many bytes do allocates in all.
func Allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// DigestOf returns the digest of a layer.
func DigestOf(t *testing.T, l v1.Layer) string {
	t.Helper()
	d, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// OCIError returns the JSON of an error of the distribution specification.
func OCIError(code, message string) string {
	return fmt.Sprintf(`{"errors":[{"code":%q,"message":%q,"detail":{}}]}`, code, message)
}
