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

	ca, client string // what names a CA, and a client certificate, for {host} in registries; empty: as in hosts.toml
	restart    string // how to restart the runtime if its unit is not known
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
		return rancherLayout("rke2", "RKE2", unit, "grep -i credential /var/lib/rancher/rke2/agent/logs/kubelet.log")
	case strings.Contains(files, "/var/snap/microk8s/"): // microk8s.io: How to use a private registry
		return layout{
			registries: "/var/snap/microk8s/current/args/certs.d/" + registry + "/hosts.toml",
			credentials: "/var/snap/microk8s/current/args/containerd-template.toml (microk8s generates containerd.toml from it" +
				report.Reload + ")",
			unit:       cmp.Or(unit, "snap.microk8s.daemon-containerd"),
			kubeletLog: "journalctl -u snap.microk8s.daemon-kubelite | grep -i credential",
		}
	case strings.Contains(files, "/etc/k0s/") && strings.Contains(files, "/run/k0s/containerd-cri.toml"):
		// docs.k0sproject.io: Runtime. Without the second, someone writes the first by hand.
		const settings = "a file below /etc/k0s/containerd.d (k0s generates containerd's files from it" + report.Reload + ")"
		hosts := configPath(e) + "/" + registry + "/hosts.toml"
		if configPath(e) == "" {
			hosts = "the registry's hosts.toml (set config_path in " + settings + ")"
		}
		return layout{
			registries: hosts, credentials: settings, unit: cmp.Or(unit, "k0sworker"),
			kubeletLog: "journalctl -u " + cmp.Or(unit, "k0sworker") + " | grep -i credential",
		}
	case strings.Contains(files, "/rancher/"): // docs.k3s.io: Private Registry Configuration
		return rancherLayout("k3s", "k3s", unit, "journalctl -u "+cmp.Or(unit, "k3s")+" | grep -i credential")
	case os == "talos", strings.Contains(files, "/etc/cri/conf.d"): // docs.siderolabs.com: Pull Through Image Cache
		const registries = "the Talos machine configuration (machine.registries)"
		const tls = "machine.registries.config.{host}.tls."
		return layout{
			registries: registries, credentials: registries, unit: unit, kubeletLog: "talosctl logs kubelet | grep -i credential",
			ca: tls + "ca", client: tls + "clientIdentity",
		}
	case os == "bottlerocket": // bottlerocket.dev: settings.container-registry
		return layout{
			registries:  "the Bottlerocket settings (settings.container-registry.mirrors)",
			credentials: "the Bottlerocket settings (settings.container-registry.credentials)",
			unit:        unit, kubeletLog: "journalctl -u kubelet | grep -i credential", ca: "a CA: settings.pki",
		}
	}
	return cloudLayout(config.Evidence, registry)
}

// FixOfHost returns the fix of a host that is not reachable, if it names a file that is
// generated on this node; else it is empty.
func FixOfHost(e *facts.Evidence, v report.Verdict) string {
	template := v.Cause.Fix(v.Fault)
	if layoutOf(e).registries == "" || !strings.Contains(template, "{hostsFile}") {
		return ""
	}
	return Fill(e, v, unread(e, template)) + Fill(e, v, template)
}

// unread returns what to do before a fix: the file that it names was changed already, and is
// read at the start of the runtime's service only. Else it is empty.
func unread(e *facts.Evidence, fix string) string {
	file, note, _ := strings.Cut(layoutOf(e).registries, " (")
	changed := e.Fact(report.IDRuntimeConfig, report.KeyFiles)
	if !strings.Contains(note, report.Reload) || !strings.Contains(fix, "{hostsFile}") || !strings.Contains(changed, file) {
		return ""
	}
	return "on {node}, because " + file + " changed after the runtime was started, {restart}\nif that does not help, "
}

// rancherLayout returns the layout of k3s or RKE2, which read registries.yaml at their start.
func rancherLayout(name, called, unit, kubeletLog string) layout {
	file := "/etc/rancher/" + name + "/registries.yaml (" + called + " generates containerd's files from it" + report.Reload + ")"
	const tls = "configs.{host}.tls." // docs.k3s.io: Private Registry Configuration
	return layout{
		registries: file, credentials: file, unit: cmp.Or(unit, name), kubeletLog: kubeletLog,
		ca: tls + "ca_file", client: tls + "cert_file, key_file", restart: "restart the service of " + called,
	}
}

// cloudLayout returns the layout of a node that a cloud makes: what is edited on it is lost
// with the node, or at its next boot.
func cloudLayout(config map[string]string, registry string) layout {
	const kubeletLog = "journalctl -u kubelet | grep -i credential"
	hosts := "/etc/containerd/certs.d/" + registry + "/hosts.toml"
	switch {
	case config[report.KeyOS] == "cos", config[report.KeyMadeBy] == "GKE":
		// docs.cloud.google.com: Customize containerd configuration in GKE nodes
		const file = "the node pool's runtime configuration file (gcloud container node-pools update --containerd-config-from-file): " +
			"what is edited on the node is lost at its next boot"
		return layout{registries: file, credentials: file, unit: config[report.KeyUnit], kubeletLog: kubeletLog}
	case config[report.KeyMadeBy] == "nodeadm": // awslabs.github.io/amazon-eks-ami/nodeadm
		return layout{
			registries: hosts + " by the node group's user data, and config.toml by spec.containerd.config of its NodeConfig " +
				"(nodeadm writes it at each boot)",
			credentials: "spec.containerd.config of the NodeConfig in the node group's user data (nodeadm writes config.toml at each boot)",
			unit:        config[report.KeyUnit], kubeletLog: kubeletLog,
		}
	case config[report.KeyMadeBy] == "bootstrap.sh": // github.com/awslabs/amazon-eks-ami, templates/al2/runtime/bootstrap.sh
		return layout{
			registries:  hosts + " by the node group's user data, and config.toml by --containerd-config-file of bootstrap.sh in it",
			credentials: "the file for --containerd-config-file of bootstrap.sh in the node group's user data",
			unit:        config[report.KeyUnit], kubeletLog: kubeletLog,
		}
	case config[report.KeyMadeBy] == "AKS": // github.com/Azure/AgentBaker
		file := hosts + " by what sets up the node pool's nodes, such as a DaemonSet: AKS replaces nodes with their files"
		return layout{registries: file, credentials: file, unit: config[report.KeyUnit], kubeletLog: kubeletLog}
	}
	return layout{}
}
