package diagnosis_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

// On a node whose files something generates, a fix names what they are generated from,
// never the file that will be overwritten. What is read at the start of a service only is
// followed by its restart.
func TestFixOfLayouts(t *testing.T) {
	const k0s = "/etc/k0s/containerd.toml,/run/k0s/containerd-cri.toml"
	const k3s, rke2 = "/var/lib/rancher/k3s/agent/etc/containerd", "/var/lib/rancher/rke2/agent/etc/containerd"
	for name, tt := range map[string]struct {
		config func(*Check)
		target string // config.toml
		certs  string
		want   string
		never  string
	}{
		"kubeadm": {ev("os", "debian"), "/etc/containerd/config.toml", "/etc/containerd/certs.d",
			"/etc/containerd/certs.d/" + host + "/hosts.toml", "generates"},
		"k3s":  {ev("unit", "k3s-agent.service"), k3s + "/config.toml", k3s + "/certs.d", "/etc/rancher/k3s/registries.yaml", k3s},
		"RKE2": {ev(), rke2 + "/config.toml", rke2 + "/certs.d", "/etc/rancher/rke2/registries.yaml", rke2},
		"microk8s": {ev("unit", "snap.microk8s.daemon-containerd.service"), "/var/snap/microk8s/7123/args/containerd.toml", "/var/snap/microk8s/7123/args/certs.d",
			"/var/snap/microk8s/current/args/certs.d/" + host + "/hosts.toml", "/7123/"},
		"k0s": {ev("unit", "k0sworker.service", "read", k0s), "/etc/k0s/containerd.toml", "/etc/k0s/certs.d",
			"/hosts.toml", "/etc/k0s/containerd.toml"},
		"k0s, its file written by hand": {ev("unit", "k0sworker.service"), "/etc/k0s/containerd.toml", "/etc/k0s/certs.d",
			"/etc/k0s/certs.d/" + host + "/hosts.toml", "/etc/k0s/containerd.d"},
		"k0s without config_path": {ev("read", k0s), "/etc/k0s/containerd.toml", "", "/etc/k0s/containerd.d", "/etc/k0s/containerd.toml"},
		"Talos":                   {ev("os", "talos"), "/etc/cri/containerd.toml", "/etc/cri/conf.d/hosts", "machine configuration", "/etc/cri/conf.d"},
		"Bottlerocket":            {ev("os", "bottlerocket"), "/etc/containerd/config.toml", "", "settings.container-registry.mirrors", "config.toml"},
		"GKE":                     {ev("os", "cos"), "/etc/containerd/config.toml", "/etc/containerd/certs.d", "--containerd-config-from-file", "/etc/containerd/"},
		"GKE on Ubuntu": {ev("os", "ubuntu", "madeBy", "GKE"), "/etc/containerd/config.toml", "/etc/containerd/hosts.d",
			"--containerd-config-from-file", "/etc/containerd/"},
		"EKS on Amazon Linux 2": {ev("os", "amzn", "madeBy", "bootstrap.sh"), "/etc/containerd/config.toml", "/etc/containerd/certs.d",
			"by the node group's user data", "registries.yaml"},
		"EKS": {ev("os", "amzn", "madeBy", "nodeadm"), "/etc/containerd/config.toml", "/etc/containerd/certs.d",
			"by the node group's user data", "registries.yaml"},
		"AKS": {ev("os", "ubuntu", "madeBy", "AKS"), "/etc/containerd/config.toml", "/etc/containerd/certs.d",
			"AKS replaces nodes", "registries.yaml"},
	} {
		c := check("runtime/config.toml", KindRuntime, Pass, "", ev("read", tt.target, "filesSay", tt.certs), tt.config)
		c.Target = tt.target
		hosts := check("hosts/"+host, KindRuntime, Fail, RuntimeConfigInvalid,
			ev("ignored", "true", "file", tt.certs+"/"+host+"/hosts.toml", "reason", "line 1: not TOML"))
		for cause, checks := range map[Cause][]Check{
			RuntimeConfigInvalid: all(reported(CertificateUntrusted), c, hosts, ladder(KindTLS, CertificateUntrusted)),
			CertificateUntrusted: all(reported(CertificateUntrusted), c, ladder(KindTLS, CertificateUntrusted)),
			PlainHTTPRegistry:    all(reported(PlainHTTPRegistry), c, ladder(KindTLS, PlainHTTPRegistry)),
		} {
			if cause == RuntimeConfigInvalid && tt.certs == "" {
				continue // there is no hosts.toml
			}
			v := Diagnose(checks)
			if v.Cause != cause || !strings.Contains(v.Fix, tt.want) || strings.Contains(v.Fix, tt.never) {
				t.Errorf("%s, %s: %s\n%s\nwant %q, and not %q", name, cause, v.Cause, v.Fix, tt.want, tt.never)
			}
			restarts := 0
			if cause == CertificateUntrusted || strings.Contains(tt.want, "registries.yaml") || strings.Contains(tt.want, "containerd.d") {
				restarts = 1
			}
			if got := strings.Count(v.Fix, "restart the "); got != restarts {
				t.Errorf("%s, %s: %d restarts, want %d: %s", name, cause, got, restarts, v.Fix)
			}
		}
	}
}

// A CA is named as the file that the fix names has it.
func TestCAOfLayouts(t *testing.T) {
	for target, want := range map[string]string{
		"/etc/containerd/config.toml":                            "(ca = …)",
		"/var/lib/rancher/k3s/agent/etc/containerd/config.toml":  "(configs." + host + ".tls.ca_file)",
		"/var/lib/rancher/rke2/agent/etc/containerd/config.toml": "(configs." + host + ".tls.ca_file)",
		"/etc/cri/conf.d/cri.toml":                               "(machine.registries.config." + host + ".tls.ca)",
	} {
		c := check("runtime/config.toml", KindRuntime, Pass, "", ev("read", target))
		if v := Diagnose(all(reported(CertificateUntrusted), c, ladder(KindTLS, CertificateUntrusted))); !strings.Contains(v.Fix, want) {
			t.Errorf("%s: %s; want %s", target, v.Fix, want)
		}
	}
}

// The fix of a host in the table of registries names no generated file either.
func TestFixOfHostOnLayouts(t *testing.T) {
	for target, want := range map[string]string{
		"/etc/containerd/config.toml":                           "",
		"/var/lib/rancher/k3s/agent/etc/containerd/config.toml": "/etc/rancher/k3s/registries.yaml",
	} {
		c := check("runtime/config.toml", KindRuntime, Pass, "", ev("read", target, "unit", "k3s.service"))
		r := StateOf(host, all(c, ladder(KindTLS, CertificateUntrusted)), time.Time{})
		if r.Cause != CertificateUntrusted || !strings.Contains(r.Fix, want) || (r.Fix == "") != (want == "") {
			t.Errorf("%s: %s %q; want %q", target, r.Cause, r.Fix, want)
		}
		if got := r.HowToFix(); got == "" || r.Fix != "" && got != r.Fix {
			t.Errorf("%s: %q", target, got)
		}
	}
}

// A file that was changed, and that the service has not read yet, is not to be changed again.
func TestFixOfUnreadRegistries(t *testing.T) {
	const file = "/etc/rancher/rke2/registries.yaml"
	c := check("runtime/config.toml", KindRuntime, Pass, "", ev("unit", "rke2-agent.service", "newer", "true", "files", file,
		"read", "/var/lib/rancher/rke2/agent/etc/containerd/config.toml"))
	const restart = "because " + file + " changed after the runtime was started, " +
		"restart the runtime:\nsystemctl restart rke2-agent.service\nif that does not help, "
	for cause, want := range map[Cause]string{CertificateUntrusted: restart, PlainHTTPRegistry: restart, ConnectionRefused: ""} {
		v := Diagnose(all(reported(cause), c, ladder(KindTLS, cause)))
		if got := strings.Contains(v.Fix, restart); got != (want != "") {
			t.Errorf("%s: %s", cause, v.Fix)
		}
		if r := StateOf(host, all(c, ladder(KindTLS, cause)), time.Time{}); strings.Contains(r.Fix, restart) != (want != "") {
			t.Errorf("%s: %s", cause, r.Fix)
		}
	}
}
