//go:build matrix

package matrix

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/lab"
)

// world is everything outside the machines: an isolated network, resolvers, a registry,
// certificate authorities. Rows create what they need with random names and addresses, and
// remove it when they end.
type world struct {
	*space
	dir      string
	registry string // the socket of a CNCF distribution registry
	product  string // the binary under test

	trustedCA *lab.Authority // in the machines' trust stores
	privateCA *lab.Authority // in none
	common    *machine       // for all rows that do not need their own machine
	old       *machine       // as common, with containerd 1.6; nil if that is missing

	mu          sync.Mutex
	names       map[string]map[string]lab.Answer // by resolver, then name
	next        map[netip.Prefix]netip.Addr
	pinnedNames []*pinnedName
	resolvers   int // resolvers of single rows
}

// Networks of the world. All addresses are local: they refuse connections until something
// listens. Packets to the dark networks are dropped.
var (
	private4 = netip.MustParsePrefix("10.88.0.0/16")
	public4  = netip.MustParsePrefix("140.82.112.0/20")
	public6  = netip.MustParsePrefix("2001:db8:88::/64")
	// metadata6 has the metadata service of AWS, nat64 the local prefix of RFC 8215.
	metadata6 = netip.MustParsePrefix("fd00:ec2::/32")
	nat64     = netip.MustParsePrefix("64:ff9b:1::/48")
	dark4     = netip.MustParsePrefix("10.99.0.0/16")
	dark6     = netip.MustParsePrefix("2001:db8:99::/64")
)

// Resolvers of the common machine, in its order. Each knows every name of a row, unless
// the row sets another answer.
const (
	resolver1 = "10.53.0.1"
	resolver2 = "10.53.0.2"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{space: newSpace(t), dir: tempDir(t), names: map[string]map[string]lab.Answer{}, next: map[netip.Prefix]netip.Addr{}}
	must(t, w.space.run(strings.Join([]string{
		"link set lo up",
		"route add local 10.53.0.0/24 dev lo",
		"route add local " + private4.String() + " dev lo",
		"route add local " + public4.String() + " dev lo",
		"addr add " + w.addr(public6).String() + "/128 dev lo nodad",
		"route add local " + public6.String() + " dev lo",
		"route add local " + metadata6.String() + " dev lo",
		"route add local " + nat64.String() + " dev lo",
		"route add local " + dark4.String() + " dev lo",
		"route add local " + dark6.String() + " dev lo",
		// Rows add rules before the one for local addresses.
		"rule add pref 1000 lookup local",
		"rule del pref 0",
	}, "\n"), "ip", "-batch", "-"))
	must(t, w.space.run("", "iptables", "-A", "INPUT", "-d", dark4.String(), "-j", "DROP"))
	must(t, w.space.run("", "ip6tables", "-A", "INPUT", "-d", dark6.String(), "-j", "DROP"))

	for _, r := range []string{resolver1, resolver2} {
		w.names[r] = map[string]lab.Answer{}
		must(t, w.do(func() error {
			_, _, err := lab.ServeDNS(net.JoinHostPort(r, "53"), func(name string) lab.Answer { return w.lookup(r, name) }, func(lab.Query) {})
			return err
		}))
	}
	var err error
	w.trustedCA, err = lab.NewAuthority("Corporate Root " + randomWord())
	must(t, err)
	w.privateCA, err = lab.NewAuthority("Corporate Root " + randomWord())
	must(t, err)
	w.startRegistry(t)
	w.common = w.newMachine(t, machineSpec{hosts: w.makePinnedNames(20)})
	if err := lab.UnpackDebianContainerd(t.Context(), lab.DefaultDir()); err == nil {
		w.old = w.newMachine(t, machineSpec{program: lab.DefaultDir().Containerd(oldContainerd), config: oldConfig(oldConfigPath)})
	} else {
		t.Log("rows beside containerd 1.6 are skipped: ", err)
	}
	return w
}

func (w *world) lookup(resolver, name string) lab.Answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if a, ok := w.names[resolver][name]; ok {
		return a
	}
	for _, domain, ok := strings.Cut(name, "."); ok; _, domain, ok = strings.Cut(domain, ".") {
		if a, ok := w.names[resolver]["*."+domain]; ok { // a wildcard record
			return a
		}
	}
	return lab.Answer{Rcode: "NXDOMAIN"}
}

// setDNS sets the answer of these resolvers for name. Without resolvers it sets it for
// all.
func (w *world) setDNS(name string, a lab.Answer, resolvers ...string) {
	if len(resolvers) == 0 {
		resolvers = []string{resolver1, resolver2}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range resolvers {
		w.names[r][strings.ToLower(name)] = a
	}
}

// addr returns a new address of p. The first one is random.
func (w *world) addr(p netip.Prefix) netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.next[p]
	if !ok {
		b := p.Addr().AsSlice()
		b[len(b)-2] |= byte(randomNumber(4))
		b[len(b)-1] = byte(1 + randomNumber(200))
		a, _ = netip.AddrFromSlice(b)
	}
	a = a.Next()
	w.next[p] = a
	return a
}

// pinnedName is a name and its address in the common machine's hosts file. The file is
// written before containerd starts, because Go checks it for changes only every five
// seconds.
type pinnedName struct {
	name string
	addr netip.Addr
}

func (w *world) makePinnedNames(n int) string {
	text := ""
	for range n {
		p := &pinnedName{w.name(), w.addr(private4)}
		w.pinnedNames = append(w.pinnedNames, p)
		text += p.addr.String() + " " + p.name + "\n"
	}
	return text
}

func (w *world) takePinnedName(t *testing.T) *pinnedName {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pinnedNames) == 0 {
		t.Fatal("no pinned name left: make more in newWorld")
	}
	p := w.pinnedNames[0]
	w.pinnedNames = w.pinnedNames[1:]
	return p
}

func (w *world) startRegistry(t *testing.T) {
	t.Helper()
	w.registry = filepath.Join(w.dir, "registry.sock")
	config := filepath.Join(w.dir, "registry.yaml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http: {net: unix, addr: %s, relativeurls: true}
`, filepath.Join(w.dir, "registry"), w.registry), 0o644))
	cmd := exec.Command(bin("registry"), "serve", config)
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"}
	w.launch(t, cmd, "registry")
	eventually(t, "the registry", func() error {
		c, err := net.Dial("unix", w.registry)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// launch starts a program, with its output in a log, and kills it when the test ends.
func (w *world) launch(t *testing.T, cmd *exec.Cmd, log string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(w.dir, log+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(t, err)
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	must(t, w.start(cmd))
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// registryTransport returns an HTTP transport to the registry itself, for pushes.
func (w *world) registryTransport() http.RoundTripper {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", w.registry)
	}}
}

// name returns a new random host name.
func (w *world) name() string { return randomWord() + "." + randomWord() + ".net" }

// randomWord returns a random word that is valid in DNS names, repositories and tags.
func randomWord() string {
	b := make([]byte, 4)
	rand.Read(b)
	return string(rune('a'+randomNumber(26))) + hex.EncodeToString(b)
}

// randomNumber returns a random number from 0 to n-1.
func randomNumber(n int64) int64 {
	i, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return i.Int64()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually calls f until it returns nil, for conditions without an event.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for err := f(); err != nil; err = f() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(25 * time.Millisecond)
	}
}
