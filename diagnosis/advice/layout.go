package advice

import (
	"cmp"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// layout is where a distribution of Kubernetes keeps what its runtime reads, if it
// generates the runtime's own files: those are written again, so no fix names them.
type layout struct {
	registries  string // what a mirror or a CA of a registry is set in
	credentials string // what the runtime's own login for a registry is set in
	unit        string // the systemd unit; empty: it has its own
	kubeletLog  string // a command that shows what the kubelet says of credential providers
}

// layoutOf returns the layout of a node by its files; the zero value is that of a node
// whose runtime's files are written by hand.
func layoutOf(e *facts.Evidence) layout {
	config := e.Get(report.IDRuntimeConfig)
	files := strings.Join([]string{
		config.Target, config.Evidence[report.KeyRead], config.Evidence[report.KeyFilesSay], config.Evidence[report.KeyRuns],
	}, " ")
	unit := config.Evidence[report.KeyUnit]
	registry := cmp.Or(e.Fact(report.IDReference, report.KeyDomain), "REGISTRY")
	switch os := config.Evidence[report.KeyOS]; {
	case strings.Contains(files, "/rancher/rke2/"): // docs.rke2.io: Containerd Registry Configuration, Logging
		const file = "/etc/rancher/rke2/registries.yaml (RKE2 generates containerd's files from it)"
		return layout{file, file, cmp.Or(unit, "rke2-agent"), "grep -i credential /var/lib/rancher/rke2/agent/logs/kubelet.log"}
	case strings.Contains(files, "/var/snap/microk8s/"): // microk8s.io: How to use a private registry
		return layout{
			"/var/snap/microk8s/current/args/certs.d/" + registry + "/hosts.toml",
			"/var/snap/microk8s/current/args/containerd-template.toml (microk8s generates containerd.toml from it)",
			cmp.Or(unit, "snap.microk8s.daemon-containerd"), "journalctl -u snap.microk8s.daemon-kubelite | grep -i credential",
		}
	case strings.Contains(files, "/etc/k0s/"): // docs.k0sproject.io: Runtime
		const settings = "a file below /etc/k0s/containerd.d (k0s writes containerd.toml, which imports it)"
		hosts := configPath(e) + "/" + registry + "/hosts.toml"
		if configPath(e) == "" {
			hosts = "the registry's hosts.toml (set config_path in " + settings + ")"
		}
		return layout{hosts, settings, cmp.Or(unit, "k0sworker"), "journalctl -u " + cmp.Or(unit, "k0sworker") + " | grep -i credential"}
	case strings.Contains(files, "/rancher/"): // docs.k3s.io: Private Registry Configuration
		const file = "/etc/rancher/k3s/registries.yaml (k3s generates containerd's files from it)"
		unit = cmp.Or(unit, "k3s")
		return layout{file, file, unit, "journalctl -u " + unit + " | grep -i credential"}
	case os == "talos", strings.Contains(files, "/etc/cri/conf.d"): // docs.siderolabs.com: Pull Through Image Cache
		const registries = "the Talos machine configuration (machine.registries)"
		return layout{registries, registries, unit, "talosctl logs kubelet | grep -i credential"}
	case os == "bottlerocket": // bottlerocket.dev: settings.container-registry
		return layout{
			"the Bottlerocket settings (settings.container-registry.mirrors)",
			"the Bottlerocket settings (settings.container-registry.credentials)",
			unit, "journalctl -u kubelet | grep -i credential",
		}
	}
	return cloudLayout(config.Evidence, registry)
}

// cloudLayout returns the layout of a node that a cloud makes: what is edited on it is lost
// with the node, or at its next boot.
func cloudLayout(config map[string]string, registry string) layout {
	const kubeletLog = "journalctl -u kubelet | grep -i credential"
	hosts := "/etc/containerd/certs.d/" + registry + "/hosts.toml"
	switch {
	case config[report.KeyOS] == "cos": // docs.cloud.google.com: Customize containerd configuration in GKE nodes
		const file = "the node pool's runtime configuration file (gcloud container node-pools update --containerd-config-from-file): " +
			"what is edited on the node is lost at its next boot"
		return layout{file, file, config[report.KeyUnit], kubeletLog}
	case config[report.KeyMadeBy] == "nodeadm": // awslabs.github.io/amazon-eks-ami/nodeadm
		return layout{
			hosts + " by the node group's user data, and config.toml by spec.containerd.config of its NodeConfig (nodeadm writes it at each boot)",
			"spec.containerd.config of the NodeConfig in the node group's user data (nodeadm writes config.toml at each boot)",
			config[report.KeyUnit], kubeletLog,
		}
	case config[report.KeyMadeBy] == "AKS": // github.com/Azure/AgentBaker
		file := hosts + " by what sets up the node pool's nodes, such as a DaemonSet: AKS replaces nodes with their files"
		return layout{file, file, config[report.KeyUnit], kubeletLog}
	}
	return layout{}
}
