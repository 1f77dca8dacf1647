//go:build matrix

package matrix

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/lab"
)

// machine is a containerd with its own files: /etc, /run, /var/lib, /tmp.
type machine struct {
	w    *world
	spec machineSpec
	dir  string // holds etc, run, lib
	cmd  *exec.Cmd
	conn *grpc.ClientConn
}

// machineSpec describes a machine. The comments give the defaults.
type machineSpec struct {
	resolvConf string            // "nameserver …" for both resolvers
	nsswitch   string            // "hosts: files dns"
	hosts      string            // additional lines of /etc/hosts
	trust      []byte            // the world's trusted authority
	env        []string          // none
	store      mount             // on /var/lib/containerd: a tmpfs of 512 MiB
	config     string            // config.toml: containerdConfig
	files      map[string]string // further files in /etc
	program    string            // the containerd of `lab build`
	ids        int               // all users; otherwise containerd is in a user namespace with so many
}

// containerdConfig is a config.toml that names the registry configuration
// directory.
const containerdConfig = containerdBasics + `
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "/etc/containerd/certs.d"
`

// containerdAlone is a config.toml of a containerd that is not configured for
// Kubernetes.
const containerdAlone = `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "/run/containerd/containerd.sock"
`

// containerdBasics disables what machines do not need: running containers. By default the
// transfer service allows three downloads for the whole process (core/transfer/local,
// limiterD): a row whose layers stall would block others.
const containerdBasics = `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_cgroup = true

[plugins."io.containerd.transfer.v1.local"]
  max_concurrent_downloads = 100
`

func (w *world) newMachine(t *testing.T, spec machineSpec) *machine {
	t.Helper()
	m := &machine{w: w, spec: spec}
	var err error
	m.dir, err = os.MkdirTemp(w.dir, "m")
	must(t, err)
	for _, d := range []string{"run", "lib"} {
		must(t, os.Mkdir(filepath.Join(m.dir, d), 0o755))
	}
	trust := spec.trust
	if trust == nil {
		trust = w.trustedCA.PEM()
	}
	must(t, writeFiles(filepath.Join(m.dir, "etc"), map[string]string{
		"resolv.conf":                   cmp.Or(spec.resolvConf, "nameserver "+resolver1+"\nnameserver "+resolver2+"\n"),
		"hosts":                         "127.0.0.1 localhost\n::1 localhost\n" + spec.hosts,
		"nsswitch.conf":                 cmp.Or(spec.nsswitch, "hosts: files dns\n"),
		"passwd":                        "root:x:0:0:root:/root:/bin/sh\n",
		"group":                         "root:x:0:\n",
		"ssl/certs/ca-certificates.crt": string(trust),
		"containerd/config.toml":        cmp.Or(spec.config, containerdConfig),
		"containerd/certs.d/.keep":      "",
	}))
	must(t, writeFiles(filepath.Join(m.dir, "etc"), spec.files))
	m.conn, err = grpc.NewClient("unix://"+m.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { m.stop(); m.conn.Close() })
	m.start(t)
	return m
}

// socket returns the path of containerd's socket, for processes outside.
func (m *machine) socket() string {
	return filepath.Join(m.dir, "run/containerd/containerd.sock")
}

// etc returns the path, for processes outside, of a file in the machine's /etc.
func (m *machine) etc(name string) string { return filepath.Join(m.dir, "etc", name) }

// store returns the path, for processes outside, of the image file system.
func (m *machine) store() string {
	return fmt.Sprintf("/proc/%d/root/var/lib/containerd", m.cmd.Process.Pid)
}

func (m *machine) start(t *testing.T) {
	t.Helper()
	store := m.spec.store
	if store.Type == "" {
		store = mount{Type: "tmpfs", Data: "size=512m"}
	}
	store.To = "/var/lib/containerd"
	var err error
	m.cmd, err = confined{
		Mounts: []mount{
			{From: filepath.Join(m.dir, "run"), To: "/run"},
			{From: filepath.Join(m.dir, "lib"), To: "/var/lib"},
			{Type: "tmpfs", To: "/tmp"},
			store,
			{From: filepath.Join(m.dir, "etc"), To: "/etc"}, // last: mkfs.ext4 reads the host's /etc/mke2fs.conf
		},
		Args: []string{cmp.Or(m.spec.program, lab.DefaultDir().Containerd(*version)), "--config", "/etc/containerd/config.toml"},
		IDs:  m.spec.ids,
	}.command(context.Background(), m.spec.env...)
	must(t, err)
	log, err := os.OpenFile(m.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(t, err)
	defer log.Close()
	m.cmd.Stdout, m.cmd.Stderr = log, log
	must(t, m.w.start(m.cmd))
	eventually(t, "containerd, see "+m.logFile(), m.ready)
}

func (m *machine) logFile() string { return filepath.Join(m.dir, "containerd.log") }

func (m *machine) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r, err := runtimeapi.NewRuntimeServiceClient(m.conn).Status(ctx, &runtimeapi.StatusRequest{}, grpc.WaitForReady(true))
	if status.Code(err) == codes.Unimplemented && m.spec.config != "" {
		return nil // up, without the CRI plugin
	}
	if err != nil {
		return err
	}
	for _, c := range r.GetStatus().GetConditions() {
		if c.GetType() == runtimeapi.RuntimeReady && c.GetStatus() {
			return nil
		}
	}
	return fmt.Errorf("not ready: %v", r.GetStatus())
}

// stop kills containerd. Its images are lost with the mount.
func (m *machine) stop() {
	if m.cmd == nil || m.cmd.Process == nil {
		return
	}
	m.cmd.Process.Kill()
	m.cmd.Wait()
	m.cmd = nil
}

// restart starts containerd again, with another environment.
func (m *machine) restart(t *testing.T, env ...string) {
	t.Helper()
	m.stop()
	m.spec.env = env
	m.start(t)
}

// pulled is the result of one CRI PullImage call.
type pulled struct {
	code    codes.Code
	message string
	took    time.Duration
}

// pull makes containerd pull an image, as the kubelet would, and cancels after limit.
func (m *machine) pull(ctx context.Context, image string, auth *login, limit time.Duration) pulled {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	_, err := runtimeapi.NewImageServiceClient(m.conn).PullImage(ctx, &runtimeapi.PullImageRequest{
		Image: &runtimeapi.ImageSpec{Image: image}, Auth: auth.config(),
	})
	s := status.Convert(err)
	p := pulled{code: s.Code(), message: s.Message(), took: time.Since(began)}
	if ctx.Err() != nil {
		p.code, p.message = codes.DeadlineExceeded, fmt.Sprintf("did not finish within %v", limit)
	}
	return p
}

// remove removes an image, if the machine has it.
func (m *machine) remove(t *testing.T, image string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request := &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image}}
	_, err := runtimeapi.NewImageServiceClient(m.conn).RemoveImage(ctx, request)
	must(t, err)
}

// hostsTOML writes the registry configuration for a host (name or name:port).
func (m *machine) hostsTOML(t *testing.T, host, text string) {
	t.Helper()
	must(t, writeFiles(m.etc("containerd/certs.d/"+host), map[string]string{"hosts.toml": text}))
}

// login is a user and password. nil means anonymous.
type login struct{ user, password string }

func (l *login) config() *runtimeapi.AuthConfig {
	if l == nil {
		return nil
	}
	return &runtimeapi.AuthConfig{Username: l.user, Password: l.password}
}
