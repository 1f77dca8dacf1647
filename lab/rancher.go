package lab

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
)

// This file is about the nodes of k3s and RKE2. What their programs do is in
// tools/k8s/rancher; the files and paths here are those that their installation makes
// (install.sh of both).

// Layouts of nodes, beside that of kubeadm.
const (
	K3s  = "k3s"
	RKE2 = "rke2"
)

//go:embed config/rancher-kubelet.yaml
var rancherKubeletConfig string

// rancherLayout returns the layout of k3s or RKE2. One service, an agent of the cluster,
// runs containerd and the kubelet.
func rancherLayout(name string) layout {
	unit := name + "-agent"
	return layout{
		socket: "/run/k3s/containerd/containerd.sock", images: "/var/lib/rancher/" + name + "/agent/containerd",
		runtime: unit, kubelet: unit, make: makeRancherFiles, services: rancherServices,
	}
}

// serviceFlags are the flags of the agent in its unit. Its other settings are in config.yaml.
func serviceFlags() []string { return []string{"--kubelet-arg=v=2"} }

// rancherServices returns the agent. Its process has the name and the command line that the
// real one has: without flags, which k3s hides (pkg/agent/run.go, gspt.SetProcTitle).
func rancherServices(n Node) []service {
	return []service{{
		name: n.layout().kubelet, path: agentProgram(n.Layout), args: []string{"/usr/local/bin/" + n.Layout + " agent"},
		env: []string{"LAB_SERVICE_FLAGS=" + strings.Join(serviceFlags(), " ")},
	}}
}

// agentProgram returns the file that the agent runs from: k3s unpacks itself and runs the
// file for its subcommand (cmd/k3s/main.go); the lab may not write to RKE2's /usr/local/bin.
func agentProgram(name string) string {
	if name == RKE2 {
		return "/run/lab/rke2"
	}
	return "/var/lib/rancher/k3s/data/current/bin/k3s-agent"
}

func makeRancherFiles(d Dir, n Node) error {
	// What other distributions have is not there.
	for _, dir := range []string{"/etc/containerd", "/etc/cni", "/etc/kubernetes"} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	name := n.Layout
	data, etc := "/var/lib/rancher/"+name, "/etc/rancher/"+name
	files := map[string]string{
		data + "/agent/kubelet.kubeconfig":  "pki:" + n.Name + ".kubeconfig",
		data + "/agent/client-ca.crt":       "pki:kube-ca.crt",
		data + "/agent/serving-kubelet.crt": "pki:" + n.Name + ".crt",
		data + "/agent/serving-kubelet.key": "pki:" + n.Name + ".key",
		etc + "/config.yaml":                rancherConfig(n),
		"/etc/systemd/system/" + n.unit():   rancherUnit(n),
		rancherCNI(name):                    expandConfig(cniConfig, d, n),
		// People add drop-ins to those that the agent writes (docs.k3s.io, Kubelet
		// Configuration Files).
		data + "/agent/etc/kubelet.conf.d/99-lab.conf": expandConfig(rancherKubeletConfig, d, n),
	}
	if err := writeNodeFiles(d, files); err != nil {
		return err
	}
	if err := makeProviders(d, "/var/lib/rancher/credentialprovider/config.yaml", "/var/lib/rancher/credentialprovider/bin"); err != nil {
		return err
	}
	if err := linkPrograms(d, name); err != nil {
		return err
	}
	return joinService(n)
}

// unit returns the name of the agent's systemd unit.
func (n Node) unit() string { return n.layout().kubelet + ".service" }

// rancherConfig returns config.yaml.
func rancherConfig(n Node) string {
	labels := strings.ReplaceAll(n.labels(), ",", ", ")
	return "node-name: " + n.Name + "\nnode-ip: " + n.Addr + "\npause-image: " + sandboxImage + "\nnode-label: [" + labels + "]\n"
}

// rancherUnit returns the unit of the agent, as the installation writes it.
func rancherUnit(n Node) string {
	flags := ""
	for _, f := range serviceFlags() {
		flags += " \\\n\t'" + f + "'"
	}
	return `[Unit]
Description=Lightweight Kubernetes
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/` + n.unit() + `.env
KillMode=process
Delegate=yes
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/` + n.Layout + ` \
    agent` + flags + "\n"
}

// rancherCNI returns the file with the configuration of the pod network.
func rancherCNI(name string) string {
	if name == RKE2 {
		return "/etc/cni/net.d/10-lab.conflist"
	}
	return "/var/lib/rancher/k3s/agent/etc/cni/net.d/10-lab.conflist"
}

// linkPrograms links the programs of the lab to where those of the distribution are. The
// name of a link becomes the name of the process.
func linkPrograms(d Dir, name string) error {
	const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	data := "/var/lib/rancher/" + name
	release := data + "/data/" + hash
	links := map[string]string{data + "/data/current": release, agentProgram(name): d.program("kubelet")}
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "runc", "ctr", "kubelet", "kubectl"} {
		links[release+"/bin/"+program] = d.program(program)
	}
	if name == K3s {
		delete(links, release+"/bin/kubelet") // a part of k3s
		links[release+"/bin/k3s-agent"] = d.program("kubelet")
		delete(links, agentProgram(name))
		links[data+"/data/cni"] = "/usr/lib/cni"
	} else {
		links[data+"/bin"] = release + "/bin"
	}
	for link, target := range links {
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, link); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// joinService moves this process, and so all that it starts, into the cgroup that systemd
// would give the agent. There it can be seen which service a process belongs to.
func joinService(n Node) error {
	all, err := usedHierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := filepath.Join(h.path, cgroup, n.Name)
		for _, name := range []string{"system.slice", n.unit()} {
			dir = filepath.Join(dir, name)
			if err := makeCgroup(h, dir); err != nil {
				return err
			}
		}
		// 0 is the process that writes.
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	return nil
}
