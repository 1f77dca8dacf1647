package agent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// The parts of the hostile tests: servers on addresses of their own that write
// down all that comes, and a node that reaches them by names.

// What must not reach a host that is not meant to have it, nor be published.
const (
	canaryUser     = "canary-user-7f3a"
	canaryPassword = "canary-password-7f3a"
	canaryToken    = "canary-token-7f3a"
	canaryHeader   = "canary-header-7f3a"
)

func canaryBasic() string {
	return base64.StdEncoding.EncodeToString([]byte(canaryUser + ":" + canaryPassword))
}

// stage is a set of hosts around one agent. Three of them may be contacted. The victim
// may not: it is on a loopback address that no setting allows.
type stage struct {
	*world
	registry, tokens, other, victim *spy
	port                            int // of all four
	dir                             string
	resolver                        netip.Addr
	ca                              *x509.CertPool
	cert                            tls.Certificate
	logged                          *buffer
	sweep                           func()   // by itself there is none
	examined                        sync.Map // Examination by image
}

// spy is a server that records what it receives.
type spy struct {
	host     string // name and port
	addr     netip.AddrPort
	accepted atomic.Int32
	sent     atomic.Int64 // bytes that it got rid of
	handler  atomic.Pointer[http.HandlerFunc]

	mu   sync.Mutex
	seen []string
}

func (s *spy) record(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, text)
}

// all returns everything that was received.
func (s *spy) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.seen, "\n")
}

func (s *spy) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func (s *spy) serve(h http.HandlerFunc) { s.handler.Store(&h) }

func (s *spy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	dump, err := httputil.DumpRequest(r, true)
	s.record(string(dump) + fmt.Sprint(err))
	if h := s.handler.Load(); h != nil {
		(*h)(w, r)
		return
	}
	http.NotFound(w, r)
}

// spyListener counts connections and the bytes sent on them. The kernel buffers little
// of what is not read.
type spyListener struct {
	net.Listener
	spy *spy
}

func (l spyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.spy.accepted.Add(1)
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetWriteBuffer(16 << 10)
	}
	return spyConn{c, l.spy}, nil
}

type spyConn struct {
	net.Conn
	spy *spy
}

func (c spyConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.spy.sent.Add(int64(n))
	return n, err
}

var stages atomic.Int32

// newStage starts the servers, with TLS unless plain.
func newStage(t *testing.T, plain bool) *stage {
	s := &stage{world: newWorld(t), dir: t.TempDir(), logged: &buffer{}}
	s.logs = s.logged
	n := byte(stages.Add(1))
	s.resolver = netip.AddrFrom4([4]byte{127, 53, n, 53})
	good := func(host byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 10, n, host}) }
	s.cert, s.ca = s.certify("registry.test", "tokens.test", "other.test", "victim.test", "rebind.test", "own.test")
	names := []string{"registry.test", "tokens.test", "other.test", "victim.test"}
	addrs := []netip.Addr{good(1), good(2), good(3), netip.AddrFrom4([4]byte{127, 66, n, 1})}
	spies := make([]*spy, len(names))
	hosts := ""
	for i, name := range names {
		l := s.listen(addrs[i])
		spies[i] = &spy{host: fmt.Sprintf("%s:%d", name, s.port), addr: netip.AddrPortFrom(addrs[i], uint16(s.port))}
		hosts += addrs[i].String() + " " + name + "\n"
		server := &http.Server{Handler: spies[i], ErrorLog: log.New(io.Discard, "", 0)}
		spied := spyListener{l, spies[i]}
		if plain {
			go func() { _ = server.Serve(spied) }()
		} else {
			server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
			server.TLSConfig = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { c := s.cert; return &c, nil }}
			go func() { _ = server.ServeTLS(spied, "", "") }()
		}
		t.Cleanup(func() { _ = server.Close() })
	}
	s.registry, s.tokens, s.other, s.victim = spies[0], spies[1], spies[2], spies[3]
	s.file("hosts", hosts+"127.0.0.1 localhost\n")
	s.file("resolv.conf", "nameserver "+s.resolver.String()+"\n")
	s.file("nsswitch.conf", "hosts: files dns\n")
	return s
}

// listen listens on the one port of all servers.
func (s *stage) listen(a netip.Addr) net.Listener {
	s.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(a.String(), strconv.Itoa(s.port)))
	if err != nil {
		s.t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	return l
}

func (s *stage) file(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

// hostsTOML configures the registry on the node.
func (s *stage) hostsTOML(text string) {
	s.t.Helper()
	s.file("certs.d/registry.test_"+strconv.Itoa(s.port)+"_/hosts.toml", text)
}

// certify creates a CA, which the node trusts from then on, and a server certificate
// for these names.
func (s *stage) certify(names ...string) (tls.Certificate, *x509.CertPool) {
	s.t.Helper()
	return s.issue(&x509.Certificate{DNSNames: names}, pkix.Name{CommonName: "hostile test"}, true)
}

// issue creates a server certificate with a CA of its own, which the node trusts if
// trusted.
func (s *stage) issue(leaf *x509.Certificate, issuer pkix.Name, trusted bool) (tls.Certificate, *x509.CertPool) {
	s.t.Helper()
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: issuer, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err3 := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	leaf.SerialNumber, leaf.NotBefore, leaf.NotAfter = big.NewInt(2), ca.NotBefore, ca.NotAfter
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server, err4 := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		s.t.Fatal(err)
	}
	if trusted {
		s.file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	}
	return tls.Certificate{Certificate: [][]byte{server}, PrivateKey: key}, nil
}

// start runs the agent. The pods' secret "login" is for the registry.
func (s *stage) start(edit ...func(*Agent)) {
	s.t.Helper()
	s.post("/api/v1/namespaces/"+s.ns+"/secrets", map[string]any{
		"type": "kubernetes.io/dockerconfigjson", "metadata": map[string]any{"name": "login"},
		"stringData": map[string]any{
			".dockerconfigjson": fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, s.registry.host, canaryUser, canaryPassword),
		},
	})
	s.agent(append([]func(*Agent){func(a *Agent) {
		e := a.examiner.Node
		e.AllowLoopback, e.OwnFiles = false, true
		e.Paths = view.Paths{
			ResolvConf: filepath.Join(
				s.dir,
				"resolv.conf",
			), Hosts: filepath.Join(s.dir, "hosts"), NSSwitch: filepath.Join(s.dir, "nsswitch.conf"),
			HostsDir: filepath.Join(s.dir, "certs.d"), CAFile: filepath.Join(s.dir, "ca.pem"),
		}
		set := a.live.Get()
		set.RegistryRate = 1000
		p, err := guard.ParsePattern("127.10.0.0/16")
		if err != nil {
			s.t.Error(err)
		}
		set.Allow = []guard.Pattern{p}
		set.SweepDeadline, set.SweepConcurrency, set.Targets = 2*time.Second, 8, []string{s.registry.host}
		a.live.Set(set)
		s.sweep = a.sweeper.SweepNow
		run := a.cache.cfg.Examine
		a.cache.cfg.Examine = func(ctx context.Context, sub examine.Subject, early func(examine.Result)) examine.Result {
			x := run(ctx, sub, early)
			withRuntime(x)
			s.examined.Store(sub.Image, x)
			return x
		}
	}}, edit...)...)
}

// withRuntime edits an examination as if the runtime were available, so that the
// registries decide.
func withRuntime(x examine.Result) {
	for i := range x.Checks {
		if x.Checks[i].ID == "runtime" {
			x.Checks[i].Outcome, x.Checks[i].Cause = report.Pass, ""
		}
	}
}

// checks returns the checks of the last examination of an image, before the report is
// bounded.
func (s *stage) checks(image string) []report.Check {
	x, ok := s.examined.Load(image)
	if !ok {
		return nil
	}
	return x.(examine.Result).Checks
}

// parts is an image with one layer, and how a registry serves it.
type parts struct {
	s *stage

	challenge                                 string // WWW-Authenticate of a 401
	v2, head, get, config, blob, token, lists http.HandlerFunc
	any                                       http.HandlerFunc // takes all of the registry's requests, if set

	manifest, configBody, layer []byte
	mediaType                   string
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// honest returns a registry with a token service that behaves correctly.
func (s *stage) honest() *parts {
	p := &parts{s: s, layer: []byte("a layer"), mediaType: "application/vnd.oci.image.manifest.v1+json"}
	p.challenge = fmt.Sprintf(`Bearer realm="https://%s/token",service="registry",scope="repository:app:pull"`, s.tokens.host)
	p.configBody = []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	p.manifest = p.manifestOf(
		fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}`, digestOf(p.layer), len(p.layer)),
	)
	p.v2 = func(w http.ResponseWriter, _ *http.Request) { p.unauthorized(w) }
	p.head = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", p.mediaType)
		w.Header().Set("Docker-Content-Digest", digestOf(p.manifest))
		w.Header().Set("Content-Length", strconv.Itoa(len(p.manifest)))
	}
	p.get = func(w http.ResponseWriter, r *http.Request) { p.head(w, r); _, _ = w.Write(p.manifest) }
	p.config = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(p.configBody) }
	p.blob = func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.layer))
	}
	p.lists = func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
	p.token = func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != canaryUser || password != canaryPassword {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"token":%q}`, canaryToken)
	}
	return p
}

func (p *parts) manifestOf(layers string) []byte {
	return fmt.Appendf(
		nil,
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[%s]}`,
		digestOf(p.configBody),
		len(p.configBody),
		layers,
	)
}

func (p *parts) unauthorized(w http.ResponseWriter) {
	if p.challenge != "" {
		w.Header().Set("WWW-Authenticate", p.challenge)
	}
	w.WriteHeader(http.StatusUnauthorized)
}

// open serves the parts on the stage.
func (p *parts) open() {
	p.s.tokens.serve(func(w http.ResponseWriter, r *http.Request) { p.token(w, r) })
	p.s.registry.serve(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case p.any != nil:
			p.any(w, r)
		case path == "/v2/":
			p.v2(w, r)
		case r.Header.Get("Authorization") != "Bearer "+canaryToken && r.Header.Get("Authorization") != "Basic "+canaryBasic():
			p.unauthorized(w)
		case strings.HasSuffix(path, "/tags/list"), strings.HasSuffix(path, "/_catalog"):
			p.lists(w, r)
		case strings.Contains(path, "/manifests/") && r.Method == http.MethodHead:
			p.head(w, r)
		case strings.Contains(path, "/manifests/"):
			p.get(w, r)
		case strings.HasSuffix(path, digestOf(p.configBody)):
			p.config(w, r)
		default:
			p.blob(w, r)
		}
	})
}

// buffer is a log that is read while it grows.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
