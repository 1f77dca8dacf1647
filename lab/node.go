package lab

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed config/containerd.toml
var containerdConfig string

//go:embed config/kubelet.yaml
var kubeletConfig string

//go:embed config/cni.conflist
var cniConfig string

//go:embed config/credential-providers.yaml
var providersConfig string

// imageStoreSize bounds the image store of each node.
const imageStoreSize = "600m"

// Paths of a node that faults change.
const (
	resolvConf = "/etc/resolv.conf"
	trustFile  = "/etc/ssl/certs/ca-certificates.crt"
)

// hostSysctls returns settings of the whole machine that a kubelet writes. Each node has
// its own files mounted over them.
func hostSysctls() []string {
	return []string{
		"kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	}
}

// nodeInit makes the namespace look like a node, with the paths of a real one. It runs
// containerd, and the kubelet on request.
func nodeInit(d Dir, n Node) error {
	if err := unix.Sethostname([]byte(n.Name)); err != nil {
		return err
	}
	if err := isolateMounts(); err != nil {
		return err
	}
	if err := makeNodeEtc(d, n); err != nil {
		return err
	}
	for _, dir := range []string{"/var/lib", "/var/log"} {
		if err := bindMount(d.Run(n.Name, strings.TrimPrefix(dir, "/")), dir); err != nil {
			return err
		}
	}
	l := n.layout()
	for _, dir := range []string{
		l.images, "/var/lib/kubelet", "/var/lib/cni", "/var/lib/pullprobe", "/var/log/pods", "/var/log/containers",
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := mount("images", l.images, "tmpfs", 0, "mode=711,size="+imageStoreSize); err != nil {
		return err
	}
	if err := mount("run", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(l.socket), "/run/lock", "/run/netns"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, name := range hostSysctls() {
		if err := mountPrivateSysctl(d, n, name); err != nil {
			return err
		}
	}
	if err := l.make(d, n); err != nil {
		return err
	}
	// Mounts propagate between kubelet, containerd and containers.
	if err := mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}

	s := newSupervisor(d, nodeLogOpener(d, n), l.services(n))
	if err := serveControl(d, n.Name, controlHandler(s)); err != nil {
		return err
	}
	return s.run(context.Background())
}

func makeNodeEtc(d Dir, n Node) error {
	trust, err := trustStore(d, "public-ca", "registry-ca")
	if err != nil {
		return err
	}
	files := map[string]string{
		"resolv.conf":                        n.resolvConf(),
		"hosts":                              "127.0.0.1 localhost " + n.Name + "\n::1 localhost\n",
		"hostname":                           n.Name + "\n",
		"nsswitch.conf":                      "passwd: files\ngroup: files\nhosts: files dns\n",
		"ssl/certs/" + "ca-certificates.crt": trust,
	}
	opaque := []string{"ssl/certs", "containerd", "cni", "kubernetes", "rancher"}
	return mountPrivateEtc(d, n.Name, opaque, files)
}

// nodeIP returns the addresses of the Node object.
func (n Node) nodeIP() string {
	return [...]string{V4Node: n.Addr, DualNode: n.Addr + "," + n.V6, V6Node: n.V6}[n.Families]
}

// resolvConf returns the node's resolv.conf.
func (n Node) resolvConf() string { return "nameserver " + n.Resolver + "\n" }

// expandConfig replaces the placeholders of a configuration with a node's values.
func expandConfig(config string, d Dir, n Node) string {
	everywhere := "0.0.0.0/0"
	if n.Families == V6Node {
		everywhere = "::/0"
	}
	return strings.NewReplacer(
		"@EVERYWHERE@", everywhere, "@NODE@", n.Name, "@PODS@", n.pods, "@CGROUP@", "/"+cgroup+"/"+n.Name, "@RESOLVER@", n.Resolver,
	).Replace(config)
}

func mountPrivateSysctl(d Dir, n Node, name string) error {
	real := "/proc/sys/" + name
	value, err := os.ReadFile(real)
	if err != nil {
		return err
	}
	own := d.Run(n.Name, "sysctl", name)
	if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(own, value, 0o644); err != nil {
		return err
	}
	return mount(own, real, "", unix.MS_BIND, "")
}

func nodeLogOpener(d Dir, n Node) func(string) (*os.File, error) {
	return func(service string) (*os.File, error) { return openLog(d, fmt.Sprintf("%s-%s", service, n.Name)) }
}

// openLog opens a log to append to it.
func openLog(d Dir, name string) (*os.File, error) {
	return os.OpenFile(d.Log(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}
