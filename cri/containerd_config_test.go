package cri

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// mirrorServer answers nothing but 404 and counts who asks; over TLS with a
// certificate of its own authority if secure.
type mirrorServer struct {
	url, ca string
	asked   atomic.Int64
}

func startMirror(t *testing.T, secure bool) *mirrorServer {
	t.Helper()
	m := &mirrorServer{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		m.asked.Add(1)
		http.NotFound(w, nil)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.StartTLS()
		m.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	m.url = s.URL
	return m
}

// tryPull is one pull and what the runtime says.
func (n *node) tryPull(image string) string {
	_, err := n.image.PullImage(n.t.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: image}})
	if err == nil {
		return ""
	}
	return err.Error()
}

// strangerPEM is an authority that has signed nothing.
func strangerPEM(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// checks looks at the running containerd as the agent does.
func (n *node) checks(
	t *testing.T,
) (process *host.Process, root *host.Root, config *runtimeconfig.Config, check report.Check, dirs runtimeconfig.RegistryConfig) {
	t.Helper()
	process, err := n.Process()
	if err != nil {
		t.Fatal(err)
	}
	if root, err = process.Root(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	config, err = runtimeconfig.Read(process, root, n.Version(t.Context()))
	running := n.RegistryPath(t.Context())
	check = runtimeconfig.ConfigCheck(process, root, config, err, running)
	if config == nil {
		t.Fatal(check.Summary)
	}
	return process, root, config, check, config.Registries(running)
}

const registrySection = `[plugins."io.containerd.cri.v1.images".registry]` + "\n"

// containerd reads its configuration, its environment and its trust store once, and
// hosts.toml at every pull.
func TestContainerdKeepsWhatItRead(t *testing.T) {
	n := startNode(t, "registry.invalid/pause:1")
	a, b := startMirror(t, false), startMirror(t, false)
	image := "127.0.0.1:1/app:1" // nothing listens there: only a mirror can respond
	hosts := func(dir string, m *mirrorServer) string {
		hosttest.Write(t, dir+"/127.0.0.1:1/hosts.toml", "[host.\""+m.url+"\"]\n")
		return dir
	}
	one, two := hosts(n.dir+"/one", a), hosts(n.dir+"/two", b)

	n.configure(registrySection + "config_path = \"" + one + "\"")
	n.restart()
	n.tryPull(image)
	_, _, _, check, dirs := n.checks(t)
	if a.asked.Load() == 0 || strings.Join(dirs.Dirs, " ") != one {
		t.Fatalf("config_path is not in effect: %+v", dirs)
	}
	hosttest.Expect(t, check, report.Pass, "newer=", "runs="+one, "filesSay="+one, "differs=")

	n.configure(registrySection + "config_path = \"" + two + "\"")
	n.tryPull(image)
	_, _, _, check, dirs = n.checks(t)
	if b.asked.Load() != 0 || strings.Join(dirs.Dirs, " ") != one {
		t.Errorf("containerd has taken a new config_path without a restart: %+v", dirs)
	}
	if !dirs.Stale || strings.Join(dirs.Passed, " ") != two {
		t.Errorf("what would come into effect is not told: %+v", dirs)
	}
	hosttest.Expect(t, check, report.Pass, "newer=true", "runs="+one, "filesSay="+two, "differs=config_path", "files="+n.dir+"/config.toml")

	n.restart()
	n.tryPull(image)
	if _, _, _, check, _ = n.checks(t); b.asked.Load() == 0 {
		t.Error("not even with a restart")
	}
	hosttest.Expect(t, check, report.Pass, "newer=", "runs="+two)

	before := a.asked.Load()
	hosts(two, a)
	if n.tryPull(image); a.asked.Load() == before {
		t.Error("hosts.toml is not read at every pull")
	}
}

// The trust store is read once, for the first TLS connection and no sooner.
func TestContainerdReadsTheTrustStoreOnce(t *testing.T) {
	n := startNode(t, "registry.invalid/pause:1")
	m, other := startMirror(t, true), strangerPEM(t)
	hosttest.Write(t, n.dir+"/certs.d/127.0.0.1:1/hosts.toml", "server = \""+m.url+"\"\n")
	image := "127.0.0.1:1/app:1"
	bundle := n.dir + "/ca.crt"
	if err := os.Mkdir(n.dir+"/empty", 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"SSL_CERT_FILE=" + bundle, "SSL_CERT_DIR=" + n.dir + "/empty"}
	n.configure(registrySection + "config_path = \"" + n.dir + "/certs.d\"")

	hosttest.Write(t, bundle, other)
	n.restart(env...)
	hosttest.Write(t, bundle, m.ca)
	if got := n.tryPull(image); m.asked.Load() == 0 {
		t.Errorf("an authority that came before the first connection is not used: %s", got)
	}

	m.asked.Store(0)
	hosttest.Write(t, bundle, other)
	n.restart(env...)
	if got := n.tryPull(image); m.asked.Load() != 0 || !strings.Contains(got, "x509") {
		t.Errorf("trusted without its authority: %s", got)
	}
	hosttest.Write(t, bundle, m.ca)
	if got := n.tryPull(image); m.asked.Load() != 0 || !strings.Contains(got, "x509") {
		t.Errorf("an authority that came after the first connection is used: %s", got)
	}
	n.restart(env...)
	if got := n.tryPull(image); m.asked.Load() == 0 {
		t.Errorf("not even with a restart: %s", got)
	}
}

// The client searches a list of directories. The transfer service reads the list as
// one name.
func TestContainerdSearchesAsRegistriesSays(t *testing.T) {
	n := startNode(t, "registry.invalid/pause:1")
	m := startMirror(t, false)
	hosttest.Write(t, n.dir+"/b/127.0.0.1:1/hosts.toml", "[host.\""+m.url+"\"]\n")
	path := "config_path = \"" + n.dir + "/a:" + n.dir + "/b\"\n"
	for name, settings := range map[string]string{
		"transfer service":                   registrySection + path,
		"client":                             "use_local_image_pull = true\n" + registrySection + path,
		"client, because of another setting": "max_concurrent_downloads = 5\n" + registrySection + path,
		"mirrors": registrySection +
			"[plugins.\"io.containerd.cri.v1.images\".registry.mirrors.\"127.0.0.1:1\"]\nendpoint = [\"" + m.url + "\"]\n",
	} {
		t.Run(name, func(t *testing.T) {
			n.configure(settings)
			n.restart()
			m.asked.Store(0)
			n.tryPull("127.0.0.1:1/app:1")
			_, _, _, _, dirs := n.checks(t)
			read := dirs.Mirrors != nil
			for _, dir := range dirs.Dirs {
				read = read || dir == n.dir+"/b"
			}
			if asked := m.asked.Load() > 0; asked != read {
				t.Errorf("the mirror was asked: %v; we say it searches %+v", asked, dirs)
			}
		})
	}
}

// An unusable file that hosts.toml names fails every pull, with a message that may or
// may not name it.
func TestContainerdRefusesBadHostFiles(t *testing.T) {
	n := startNode(t, "registry.invalid/pause:1")
	m := startMirror(t, true)
	n.configure(registrySection + "config_path = \"" + n.dir + "/certs.d\"")
	n.restart()
	dir := n.dir + "/certs.d/127.0.0.1:1"
	hosttest.Write(t, dir+"/good.pem", m.ca)
	hosttest.Write(t, dir+"/empty", "")
	for setting, fails := range map[string]bool{
		`ca = "good.pem"`: false, `ca = "absent.pem"`: true, `ca = "empty"`: true, `ca = "/"`: true,
		"ca = \"good.pem\"\nclient = \"absent.pem\"":                   true,
		"ca = \"good.pem\"\nclient = [[\"good.pem\", \"absent.key\"]]": true,
		"ca = \"good.pem\"\nclient = \"good.pem\"":                     true,
	} {
		m.asked.Store(0)
		hosttest.Write(t, dir+"/hosts.toml", "[host.\""+m.url+"\"]\n"+setting+"\n")
		got := n.tryPull("127.0.0.1:1/app:1")
		if asked := m.asked.Load() > 0; asked == fails || got == "" {
			t.Errorf("%s: asked %v: %s", setting, asked, got)
		}
		t.Logf("%s: %s", setting, got)
	}
}

func TestSandbox(t *testing.T) {
	reg := startRegistry(t)
	pause := reg.push("pause:1", map[string][]byte{"pause": pauseBinary(t)})
	n := startNode(t, pause)
	_, _, config, _, _ := n.checks(t)
	hosttest.Expect(t, n.Sandbox(t.Context(), config), report.Pass, "image="+pause, "present=false")
	if image, err := n.MissingSandboxImage(t.Context()); image != pause || err != nil {
		t.Errorf("%q %v", image, err)
	}
	n.run(pause)
	hosttest.Expect(t, n.Sandbox(t.Context(), config), report.Pass, "present=true")
	if image, err := n.MissingSandboxImage(t.Context()); image != "" || err != nil {
		t.Errorf("%q %v", image, err)
	}
	hosttest.Expect(t, n.Sandbox(t.Context(), nil), report.Pass, "image="+pause, "from=the newest sandbox", "present=true")
}

// A containerd whose CRI plugin is off still tells its version, which says how it reads
// its configuration.
func TestVersionWithoutCRI(t *testing.T) {
	n := startNode(t, "registry.invalid/pause:1")
	with := n.Version(t.Context())
	n.stop()
	text, err := os.ReadFile(n.dir + "/config.toml")
	if err != nil {
		t.Fatal(err)
	}
	hosttest.Write(t, n.dir+"/config.toml", "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"+string(text))
	n.containerd.Start(func() string {
		if n.Version(t.Context()) == "" {
			return "no version"
		}
		return ""
	})
	if c := n.Status(t.Context()); c.Outcome != report.Fail || c.Evidence["why"] != "unimplemented" {
		t.Errorf("%+v", c)
	}
	if without := n.Version(t.Context()); without != with || with == "" {
		t.Errorf("version %q with CRI, %q without", with, without)
	}
	_, _, config, check, _ := n.checks(t)
	if config.Refused == nil || check.Outcome != report.Fail || !strings.Contains(check.Summary, "no CRI plugin") {
		t.Errorf("%+v", check)
	}
}
