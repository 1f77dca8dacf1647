package lab

import (
	"os"
	"path/filepath"
	"strings"
)

// layout is where a node has its runtime and its kubelet.
type layout struct {
	socket  string // of containerd
	images  string // containerd's image store
	runtime string // the service to restart for containerd
	kubelet string // the service to restart for the kubelet

	make     func(d Dir, n Node) error // makes the files, inside the node
	services func(n Node) []service
}

// layout returns the layout of the node: that of kubeadm if it has no other.
func (n Node) layout() layout {
	if n.Layout != "" {
		return rancherLayout(n.Layout)
	}
	return layout{
		socket: "/run/containerd/containerd.sock", images: "/var/lib/containerd", runtime: "containerd", kubelet: "kubelet",
		make: makeKubeadmFiles, services: kubeadmServices,
	}
}

// oneService reports whether a restart of the kubelet's service restarts containerd, too.
func (l layout) oneService() bool { return l.runtime == l.kubelet }

// layoutOf returns the layout of a node that the lab knows.
func layoutOf(node string) (layout, error) {
	n, err := findNode(node)
	if err != nil {
		return layout{}, err
	}
	return n.layout(), nil
}

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

func makeKubeadmFiles(d Dir, n Node) error {
	files := map[string]string{
		"/etc/containerd/config.toml":     containerdConfigOf(d.Versions().Containerd),
		"/etc/cni/net.d/10-lab.conflist":  expandConfig(cniConfig, d, n),
		"/etc/kubernetes/kubelet.conf":    "pki:" + n.Name + ".kubeconfig",
		"/etc/kubernetes/pki/ca.crt":      "pki:kube-ca.crt",
		"/etc/kubernetes/pki/kubelet.crt": "pki:" + n.Name + ".crt",
		"/etc/kubernetes/pki/kubelet.key": "pki:" + n.Name + ".key",
		"/var/lib/kubelet/config.yaml":    expandConfig(kubeletConfig, d, n),
	}
	if err := os.MkdirAll("/etc/containerd/certs.d", 0o755); err != nil {
		return err
	}
	if err := makeProviders(d, providersFile, providerBinDir); err != nil {
		return err
	}
	return writeNodeFiles(d, files)
}

func kubeadmServices(n Node) []service {
	return []service{
		{name: "containerd", autoStart: true, args: []string{"containerd", "--config", "/etc/containerd/config.toml"}},
		{name: "kubelet", args: []string{
			"kubelet", "--config=/var/lib/kubelet/config.yaml", "--kubeconfig=/etc/kubernetes/kubelet.conf",
			"--hostname-override=" + n.Name, "--node-ip=" + n.nodeIP(), "--v=2", "--node-labels=" + n.labels(),
			"--image-credential-provider-config=" + providersFile, "--image-credential-provider-bin-dir=" + providerBinDir,
		}},
	}
}

// labels returns the labels that the kubelet gives its Node.
func (n Node) labels() string {
	return "topology.kubernetes.io/zone=" + n.Zone + ",karpenter.sh/nodepool=" + n.Pool
}

// makeProviders writes the configuration of the credential providers, and their directory.
func makeProviders(d Dir, file, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range credentialProviders() {
		if err := os.Symlink(d.Bin("credential-provider"), filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	config := strings.NewReplacer("@USER@", User, "@PASSWORD@", Password).Replace(providersConfigOf(d.Versions().Kubernetes))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	return writeNodeFiles(d, map[string]string{ProviderMode: "nothing\n"})
}

// writeNodeFiles writes files of the node that this process is in. "pki:NAME" is the content
// of a file of the lab's PKI, which only root may read.
func writeNodeFiles(d Dir, files map[string]string) error {
	for name, content := range files {
		mode := os.FileMode(0o644)
		if key, ok := strings.CutPrefix(content, "pki:"); ok {
			b, err := os.ReadFile(d.PKI(key))
			if err != nil {
				return err
			}
			content, mode = string(b), 0o600
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			return err
		}
	}
	return nil
}
