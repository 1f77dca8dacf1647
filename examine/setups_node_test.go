package examine_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// node is a machine as a distribution of Kubernetes sets it up.
type node struct {
	name    string
	kubelet kubelet
	// config is the path of containerd's configuration, certs the config_path in it;
	// empty: the configuration has none.
	config, certs, socket string
	imported              string           // a file that the configuration imports, with its part about registries
	os                    string           // the ID in os-release; empty: it does not matter
	auths                 map[string]login // credentials in containerd's configuration, by host
	provider              provider
}

// kubelet is how the kubelet runs.
type kubelet struct {
	seen      string   // as the document has it
	args      []string // its command line; nil: it is a part of another process
	ownMounts bool     // it is a container
}

// provider is the credential provider of a node; the zero value is none.
type provider struct {
	name, binDir, config, text string
}

// Where a containerd that was installed from a package has its files.
const (
	usualConfig = "/etc/containerd/config.toml"
	usualCerts  = "/etc/containerd/certs.d"
	usualSocket = "/run/containerd/containerd.sock"
)

// nodes are the distributions, each with the files and flags that it has.
func nodes() []node {
	configuration := func(name string, cache string, args string, images ...string) string {
		text := "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n- name: " + name +
			"\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n  defaultCacheDuration: " + cache + "\n  matchImages:\n"
		for _, image := range images {
			text += fmt.Sprintf("  - %q\n", image)
		}
		return text + args
	}
	ecr := []string{
		"*.dkr.ecr.*.amazonaws.com", "*.dkr-ecr.*.on.aws", "*.dkr.ecr.*.amazonaws.com.cn", "*.dkr.ecr-fips.*.amazonaws.com",
	}
	usual := func(n node) node {
		n.config, n.certs, n.socket = usualConfig, usualCerts, usualSocket
		return n
	}
	return []node{
		// awslabs/amazon-eks-ami, nodeadm/internal/kubelet/image-credential-provider.go
		// and image-credential-provider.template.json.
		usual(node{
			name: "EKS (Amazon Linux 2023)",
			kubelet: kubelet{seen: "yes", args: []string{
				"/usr/bin/kubelet", "--config=/etc/kubernetes/kubelet/config.json", "--kubeconfig=/var/lib/kubelet/kubeconfig",
				"--image-credential-provider-bin-dir=/etc/eks/image-credential-provider",
				"--image-credential-provider-config=/etc/eks/image-credential-provider/config.json",
				"--cloud-provider=external", "--hostname-override=ip-192-168-84-28.eu-west-1.compute.internal",
			}},
			provider: provider{
				"ecr-credential-provider", "/etc/eks/image-credential-provider", "/etc/eks/image-credential-provider/config.json",
				configuration("ecr-credential-provider", "12h", "", ecr...),
			},
		}),
		// bottlerocket-os/bottlerocket, packages/kubernetes-1.27/kubelet-exec-start-conf, and
		// bottlerocket-core-kit, packages/containerd-2.0/containerd-config-toml_k8s_containerd_sock:
		// mirrors and credentials are in containerd's configuration, which has no config_path.
		// Both are made from the settings.
		{
			name: "Bottlerocket",
			kubelet: kubelet{seen: "yes", args: []string{
				"/usr/bin/kubelet", "--cloud-provider", "external", "--kubeconfig", "/etc/kubernetes/kubelet/kubeconfig",
				"--config", "/etc/kubernetes/kubelet/config", "--root-dir", "/var/lib/kubelet",
				"--image-credential-provider-bin-dir", "/usr/libexec/kubernetes/kubelet/plugins",
				"--image-credential-provider-config", "/etc/kubernetes/kubelet/credential-provider-config.yaml",
			}},
			config: usualConfig, socket: usualSocket, os: "bottlerocket",
			auths: map[string]login{harborNode: {"robot$node", strangerPassword}},
			provider: provider{
				"ecr-credential-provider", "/usr/libexec/kubernetes/kubelet/plugins",
				"/etc/kubernetes/kubelet/credential-provider-config.yaml",
				configuration("ecr-credential-provider", "12h", "", ecr...),
			},
		},
		// kubernetes/cloud-provider-gcp, cluster/gce/gci/configure-helper.sh; the kubelet's
		// flags and the file are those of a GKE node.
		usual(node{
			name: "GKE (Container-Optimized OS)",
			kubelet: kubelet{seen: "yes", args: []string{
				"/home/kubernetes/bin/kubelet", "--v=2", "--cloud-provider=external", "--cert-dir=/var/lib/kubelet/pki/",
				"--kubeconfig=/var/lib/kubelet/kubeconfig",
				"--image-credential-provider-config=/etc/srv/kubernetes/cri_auth_config.yaml",
				"--image-credential-provider-bin-dir=/home/kubernetes/bin", "--max-pods=110",
			}},
			provider: provider{
				"auth-provider-gcp", "/home/kubernetes/bin", "/etc/srv/kubernetes/cri_auth_config.yaml",
				configuration("auth-provider-gcp", "1m", "  args:\n  - get-credentials\n  - --v=3\n",
					"container.cloud.google.com", "gcr.io", "*.gcr.io", "*.pkg.dev"),
			},
		}),
		// Azure/AgentBaker, pkg/agent/baker_test.go (KUBELET_FLAGS), and
		// kubernetes-sigs/cloud-provider-azure, site/content/en/topics/credential-provider.md.
		usual(node{
			name: "AKS",
			kubelet: kubelet{seen: "yes", args: []string{
				"/usr/local/bin/kubelet", "--config", "/etc/default/kubeletconfig.json",
				"--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
				"--image-credential-provider-config=/var/lib/kubelet/credential-provider-config.yaml",
				"--image-credential-provider-bin-dir=/var/lib/kubelet/credential-provider",
				"--kubeconfig=/var/lib/kubelet/kubeconfig", "--node-ip=10.224.0.4",
			}},
			provider: provider{
				"acr-credential-provider", "/var/lib/kubelet/credential-provider", "/var/lib/kubelet/credential-provider-config.yaml",
				configuration("acr-credential-provider", "10m", "  args:\n  - /etc/kubernetes/azure.json\n",
					"*.azurecr.io", "*.azurecr.cn", "*.azurecr.de", "*.azurecr.us"),
			},
		}),
		// kubernetes/release, cmd/krel/templates/latest/kubeadm/10-kubeadm.conf.
		usual(node{
			name: "kubeadm",
			kubelet: kubelet{seen: "yes", args: []string{
				"/usr/bin/kubelet", "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
				"--kubeconfig=/etc/kubernetes/kubelet.conf", "--config=/var/lib/kubelet/config.yaml",
				"--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
			}},
		}),
		// k3s-io/k3s, pkg/daemons/agent/agent_linux.go (the kubelet is a goroutine), and
		// pkg/agent/templates: registries.yaml becomes hosts.toml files and, for logins,
		// entries of config.toml.
		{
			name: "k3s", kubelet: kubelet{seen: "no: a part of k3s"},
			config: "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
			certs:  "/var/lib/rancher/k3s/agent/etc/containerd/certs.d",
			socket: "/run/k3s/containerd/containerd.sock",
			auths:  map[string]login{harborNode: {"robot$node", strangerPassword}},
		},
		// rancher/rke2, pkg/executor/staticpod/staticpod.go, Kubelet: a process of its own,
		// with k3s's flags. Both read providers from /var/lib/rancher/credentialprovider.
		{
			name: "RKE2",
			kubelet: kubelet{seen: "yes", args: []string{
				"kubelet", "--volume-plugin-dir=/var/lib/kubelet/volumeplugins", "--file-check-frequency=5s", "--sync-frequency=30s",
				"--config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d",
				"--image-credential-provider-bin-dir=/var/lib/rancher/credentialprovider/bin",
				"--image-credential-provider-config=/var/lib/rancher/credentialprovider/config.yaml",
				"--kubeconfig=/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
			}},
			config: "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
			certs:  "/var/lib/rancher/rke2/agent/etc/containerd/certs.d",
			socket: "/run/k3s/containerd/containerd.sock",
			auths:  map[string]login{harborNode: {"robot$node", strangerPassword}},
			provider: provider{
				"ecr-credential-provider", "/var/lib/rancher/credentialprovider/bin", "/var/lib/rancher/credentialprovider/config.yaml",
				configuration("ecr-credential-provider", "12h", "", ecr...),
			},
		},
		// siderolabs/talos, internal/app/machined/pkg/system/services/kubelet.go (a container
		// with mounts of its own), and internal/pkg/containers/cri/containerd: GenerateHosts
		// writes hosts.toml files, and logins go to cri.toml.
		{
			name: "Talos",
			kubelet: kubelet{seen: "no: mounts of its own", ownMounts: true, args: []string{
				"/usr/local/bin/kubelet", "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubeconfig", "--cert-dir=/var/lib/kubelet/pki",
				"--config=/etc/kubernetes/kubelet.yaml", "--kubeconfig=/etc/kubernetes/kubeconfig-kubelet",
			}},
			config: "/etc/cri/containerd.toml", imported: "/etc/cri/conf.d/cri.toml", certs: "/etc/cri/conf.d/hosts", socket: usualSocket,
			auths: map[string]login{harborNode: {"robot$node", strangerPassword}},
		},
	}
}

// The files of a node by which a test controls its provider.
const (
	providerScript = "/run/test/provider"
	providerAnswer = "/run/test/answer.json"
)

// files returns the files of the node, by their paths.
func (n node) files(authorities []byte) map[string]string {
	imports := ""
	if n.imported != "" {
		imports = fmt.Sprintf("imports = [%q]\n", n.imported)
	}
	config := "version = 3\n" + imports + fmt.Sprintf(`
root = "/var/lib/containerd"
state = "/run/containerd/state"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
]
[grpc]
  address = %q
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_cgroup = true
`, n.socket)
	registries := "[plugins.\"io.containerd.cri.v1.images\".registry]\n"
	if n.certs != "" {
		registries += fmt.Sprintf("  config_path = %q\n", n.certs)
	}
	for host, l := range n.auths {
		registries += fmt.Sprintf("[plugins.\"io.containerd.cri.v1.images\".registry.configs.%q.auth]\n  username = %q\n  password = %q\n",
			host, l.user, l.password)
	}
	files := map[string]string{
		"/etc/resolv.conf":                   "nameserver " + resolver + "\n",
		"/etc/hosts":                         "127.0.0.1 localhost\n",
		"/etc/nsswitch.conf":                 "hosts: files dns\n",
		"/etc/passwd":                        "root:x:0:0:root:/root:/bin/sh\n",
		"/etc/ssl/certs/ca-certificates.crt": string(authorities),
		n.config:                             config + registries,
		providerScript:                       "exit 1\n",
	}
	if n.imported != "" {
		files[n.config], files[n.imported] = config, "version = 3\n"+registries
	}
	if n.os != "" {
		files["/etc/os-release"] = "NAME=\"A name\"\nID=" + n.os + "\n"
	}
	if n.certs != "" {
		files[n.certs+"/.keep"] = ""
	}
	if p := n.provider; p.name != "" {
		files[p.config] = p.text
		files[p.binDir+"/"+p.name] = "#!/bin/sh\ncat >/dev/null\n. " + providerScript + "\n"
	}
	return files
}

// enter makes this process the only one of a new machine: it has a root directory of
// its own, below dir, with the programs of this machine and the files of the node.
func (n node) enter(t *testing.T, dir, containerd string, authorities []byte) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"))
	bind := func(from string) {
		must(t, os.MkdirAll(dir+from, 0o755))
		must(t, unix.Mount(from, dir+from, "", unix.MS_BIND|unix.MS_REC, ""))
	}
	bind("/dev")
	bind("/sys")
	for _, name := range []string{"/bin", "/sbin", "/lib", "/lib64"} {
		if to, err := os.Readlink(name); err == nil {
			must(t, os.Symlink(to, dir+name))
		} else if _, err := os.Stat(name); err == nil {
			bind(name)
		}
	}
	for _, name := range []string{"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64"} {
		if _, err := os.Stat(name); err == nil {
			bind(name)
		}
	}
	for _, name := range []string{"/proc", "/tmp", "/run", "/var/lib/containerd", "/root", "/opt/bin", "/old"} {
		must(t, os.MkdirAll(dir+name, 0o755))
	}
	must(t, unix.Mount("proc", dir+"/proc", "proc", 0, ""))
	must(t, os.WriteFile(dir+"/opt/bin/containerd", nil, 0o755))
	must(t, unix.Mount(containerd, dir+"/opt/bin/containerd", "", unix.MS_BIND, ""))
	must(t, os.WriteFile(dir+"/opt/bin/kubelet", self, 0o755))
	for name, text := range n.files(authorities) {
		hosttest.Write(t, filepath.Join(dir, name), text)
	}
	if p := n.provider; p.name != "" {
		must(t, os.Chmod(filepath.Join(dir, p.binDir, p.name), 0o755))
	}
	must(t, unix.PivotRoot(dir, dir+"/old"))
	must(t, os.Chdir("/"))
	must(t, unix.Unmount("/old", unix.MNT_DETACH))
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"route", "add", "local", "10.53.0.0/24", "dev", "lo"},
		{"route", "add", "local", "140.82.112.0/20", "dev", "lo"},
	} {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// start starts containerd and the kubelet, and returns a client of the runtime.
func (n node) start(t *testing.T) *cri.Client {
	t.Helper()
	run := func(cmd *exec.Cmd) {
		cmd.Env = []string{"PATH=/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
		cmd.Dir = "/"
		must(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		examinetest.Executed(t, cmd.Process.Pid)
	}
	containerd := exec.Command("/opt/bin/containerd", "-c", n.config)
	log, err := os.Create("/tmp/containerd.log")
	must(t, err)
	defer log.Close()
	containerd.Stdout, containerd.Stderr = log, log
	run(containerd)
	if n.kubelet.args != nil {
		fake := &exec.Cmd{Path: "/opt/bin/kubelet", Args: n.kubelet.args, SysProcAttr: &syscall.SysProcAttr{}}
		if n.kubelet.ownMounts {
			fake.SysProcAttr.Cloneflags = unix.CLONE_NEWNS
		}
		run(fake)
	}
	c, err := cri.New(n.socket)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	hosttest.Eventually(t, func() bool { return c.Status(t.Context()).Outcome == report.Pass }, func() string {
		text, _ := os.ReadFile("/tmp/containerd.log")
		return "containerd is not ready: " + string(text)
	})
	return c
}

// setProvider sets what the node's provider does from now on.
func setProvider(t *testing.T, script, answer string) {
	t.Helper()
	hosttest.Write(t, providerScript, script)
	hosttest.Write(t, providerAnswer, answer)
}

// TestMain is the kubelet of a node if the test binary has its name.
func TestMain(m *testing.M) {
	if self, err := os.Executable(); err == nil && filepath.Base(self) == "kubelet" {
		time.Sleep(time.Hour)
		return
	}
	os.Exit(hosttest.InOwnMounts(m.Run))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// resolver is the address of the nodes' name server.
const resolver = "10.53.0.1"

// serveNames runs the name server. Any name below Amazon's domain of registries has an
// address: it is the account's number.
func serveNames(t *testing.T, names []string) {
	t.Helper()
	records := map[string]string{}
	for i, name := range names {
		records[name+"."] = fmt.Sprintf("140.82.112.%d", i+1)
	}
	probetest.ServeDNS(t, resolver, 53, probetest.AnythingBelow("dkr.ecr.eu-west-1.amazonaws.com.", "140.82.113.1", records))
}
