package advice

import (
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// fixOfNode returns the fix of the runtime or of a setting of the node, by its reason.
func (a adviser) fixOfNode() string {
	config := a.Get(report.IDRuntimeConfig)
	switch {
	case a.Cause == report.RuntimeUnavailable && a.Fact(report.IDRuntime, report.KeyWhy) == "unimplemented" &&
		config.Outcome == report.Fail && layoutOf(a.Evidence).registries == "":
		return "on {node}: correct " + config.Evidence[report.KeyFile] + " (" + config.Evidence[report.KeyReason] + "), and restart the runtime"
	case a.Cause == report.RuntimeUnavailable && a.Fact(report.IDRuntime, report.KeyWhy) == "unimplemented":
		return "on {node}: enable the CRI plugin of the runtime (remove cri from disabled_plugins in its configuration), and restart the runtime"
	case a.Cause == report.RuntimeUnavailable && a.Decided(report.KeyWhy) == "unimplemented":
		return "on {node}: remove cri from disabled_plugins in the runtime's configuration, or upgrade the runtime; then restart it; " +
			"its log shows why the plugin did not load:\njournalctl -u {unit}"
	case a.Cause == report.SandboxImageUnavailable && a.Fact(report.IDRuntimeSandbox, report.KeyImage) != "":
		return a.Cause.Fix(a.Fault) + ":\ncrictl pull {sandbox}"
	case a.Cause == report.RuntimeConfigInvalid:
		return a.fixOfHostsFile()
	case a.Cause == report.PullTimedOut && strings.HasPrefix(a.Get(report.BlobID(a.UsedHost())).Target, "sha256:"):
		return "measure the download speed on {node}:\ncurl -L -o /dev/null https://" + a.UsedHost() +
			"/v2/{repository}/blobs/" + a.Get(report.BlobID(a.UsedHost())).Target
	case a.Cause == report.NetworkUnreachable && a.Decided(report.KeyOnlyFamily) != "":
		only, other := a.Decided(report.KeyOnlyFamily), "IPv4"
		if only == other {
			other = "IPv6"
		}
		return "use a registry or a mirror with " + only + " addresses, or give {node} a route to " + other + " addresses:\nip route get {ip}"
	case a.Cause == report.ResolverWrongAnswer && a.Fact(report.DNSID(a.names.Host), report.KeyFrom) == "hosts":
		return "correct the entry for {host} in /etc/hosts on {node}"
	}
	return ""
}

// fixOfHostsFile returns the fix of the registry's hosts.toml, or of a file that it
// names.
func (a adviser) fixOfHostsFile() string {
	c := a.Get(report.HostsID(a.names.Registry))
	file, reason := c.Evidence[report.KeyFile], c.Evidence[report.KeyReason]
	switch {
	case c.Evidence[report.KeyRemedy] != "" && layoutOf(a.Evidence).registries == "":
		return "on {node}: " + c.Evidence[report.KeyRemedy] + "; then {restart}"
	case strings.HasPrefix(reason, "config_path"):
		return "on {node}: name one directory in config_path of {runtime}'s configuration, the one above {hostsFile}; then {restart}"
	case file == "" || strings.HasSuffix(file, ".toml"):
		return ""
	case strings.Contains(reason, "ENOENT"):
		return "on {node}: create " + file + ", or remove it from {hostsFile}"
	}
	return "on {node}: correct " + file + ", or remove it from {hostsFile}"
}
