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

// imageStoreSize bounds /var/lib/containerd of each node.
const imageStoreSize = "600m"

// Paths of a node that faults change.
const (
	resolvConf = "/etc/resolv.conf"
	trustFile  = "/etc/ssl/certs/ca-certificates.crt"
	imageStore = "/var/lib/containerd"
)

// Credential providers of the kubelets. At every call each reads its mode from the file
// ProviderMode (see cmd/credential-provider). At first they return no credentials.
const (
	ProviderMode   = "/etc/kubernetes/credential-provider.mode"
	providersFile  = "/etc/kubernetes/credential-providers.yaml"
	providerBinDir = "/etc/kubernetes/credential-providers"
)

// credentialProviders returns the names of the kubelet's credential providers. All are the
// same program.
func credentialProviders() []string {
	return []string{"lab-provider", "lab-token-provider", "lab-role-provider"}
}

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
	for _, dir := range []string{
		imageStore, "/var/lib/kubelet", "/var/lib/cni", "/var/lib/pullprobe", "/var/log/pods", "/var/log/containers",
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := mount("images", imageStore, "tmpfs", 0, "mode=711,size="+imageStoreSize); err != nil {
		return err
	}
	if err := mount("run", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, dir := range []string{"/run/containerd", "/run/lock", "/run/netns"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, name := range hostSysctls() {
		if err := mountPrivateSysctl(d, n, name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(providerBinDir, 0o755); err != nil {
		return err
	}
	for _, name := range credentialProviders() {
		if err := os.Symlink(d.Bin("credential-provider"), filepath.Join(providerBinDir, name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	if err := os.WriteFile("/var/lib/kubelet/config.yaml", []byte(expandConfig(kubeletConfig, d, n)), 0o644); err != nil {
		return err
	}
	// Mounts propagate between kubelet, containerd and containers.
	if err := mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}

	s := newSupervisor(d, nodeLogOpener(d, n), []service{
		{name: "containerd", autoStart: true, args: []string{"containerd", "--config", "/etc/containerd/config.toml"}},
		{name: "kubelet", args: []string{
			"kubelet", "--config=/var/lib/kubelet/config.yaml", "--kubeconfig=/etc/kubernetes/kubelet.conf",
			"--hostname-override=" + n.Name, "--node-ip=" + n.Addr, "--v=2",
			"--node-labels=topology.kubernetes.io/zone=" + n.Zone + ",karpenter.sh/nodepool=" + n.Pool,
			"--image-credential-provider-config=" + providersFile, "--image-credential-provider-bin-dir=" + providerBinDir,
		}},
	})
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
		"containerd/config.toml":             containerdConfig,
		"cni/net.d/10-lab.conflist":          expandConfig(cniConfig, d, n),
		strings.TrimPrefix(ProviderMode, "/etc/"):  "nothing\n",
		strings.TrimPrefix(providersFile, "/etc/"): strings.NewReplacer("@USER@", User, "@PASSWORD@", Password).Replace(providersConfig),
	}
	for name, from := range map[string]string{
		"kubernetes/kubelet.conf":    n.Name + ".kubeconfig",
		"kubernetes/pki/ca.crt":      "kube-ca.crt",
		"kubernetes/pki/kubelet.crt": n.Name + ".crt",
		"kubernetes/pki/kubelet.key": n.Name + ".key",
	} {
		b, err := os.ReadFile(d.PKI(from))
		if err != nil {
			return err
		}
		files[name] = string(b)
	}
	opaque := []string{"ssl/certs", "containerd", "containerd/certs.d", "cni", "kubernetes"}
	return mountPrivateEtc(d, n.Name, opaque, files)
}

// resolvConf returns the node's resolv.conf.
func (n Node) resolvConf() string { return "nameserver " + n.Resolver + "\n" }

// expandConfig replaces the placeholders of a configuration with a node's values.
func expandConfig(config string, d Dir, n Node) string {
	return strings.NewReplacer(
		"@NODE@", n.Name, "@PODS@", n.pods, "@CGROUP@", "/"+cgroup+"/"+n.Name, "@RESOLVER@", n.Resolver,
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
