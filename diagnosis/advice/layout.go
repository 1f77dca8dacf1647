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
	switch os := config.Evidence[report.KeyOS]; {
	case strings.Contains(files, "/rancher/rke2/"): // docs.rke2.io: Containerd Registry Configuration, Logging
		const file = "/etc/rancher/rke2/registries.yaml (RKE2 generates containerd's files from it)"
		return layout{file, file, cmp.Or(unit, "rke2-agent"), "grep -i credential /var/lib/rancher/rke2/agent/logs/kubelet.log"}
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
	return layout{}
}
