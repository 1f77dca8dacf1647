package examine_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// layoutTree is a node by the files from which its runtime is configured.
type layoutTree struct {
	config string            // the --config of containerd; empty: the flag is not given
	files  map[string]string // by path
	ca     string            // what the fix of an untrusted certificate names
	never  string            // what it does not: it will be overwritten
}

// cri3 is the table of registries of a version 3 configuration.
func cri3(certs string) string {
	return "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = \"" + certs + "\"\n"
}

// cri2 is the table of registries of a version 2 configuration.
func cri2(certs string) string {
	return "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"" + certs + "\"\n"
}

func layoutTrees() map[string]layoutTree {
	const k3s, rke2 = "/var/lib/rancher/k3s/agent/etc/containerd", "/var/lib/rancher/rke2/agent/etc/containerd"
	const snap = "/var/snap/microk8s/8511/args"
	return map[string]layoutTree{
		"kubeadm": {
			"", map[string]string{usualConfig: cri2(usualCerts)}, "the registry's hosts.toml for registry.example (ca = …)", "generates",
		},
		// k3s-io/k3s: pkg/agent/containerd, pkg/agent/templates; docs.k3s.io, Private Registry Configuration.
		"k3s": {
			k3s + "/config.toml", map[string]string{k3s + "/config.toml": cri3(k3s + "/certs.d")}, "/etc/rancher/k3s/registries.yaml", k3s,
		},
		"RKE2": {
			rke2 + "/config.toml", map[string]string{rke2 + "/config.toml": cri3(rke2 + "/certs.d")}, "/etc/rancher/rke2/registries.yaml", rke2,
		},
		// canonical/microk8s: microk8s-resources/default-args, microk8s-resources/wrappers/run-containerd-with-args.
		"microk8s": {
			snap + "/containerd.toml", map[string]string{
				snap + "/containerd.toml": cri2(snap + "/certs.d"), snap + "/containerd-template.toml": "",
			},
			"/var/snap/microk8s/current/args/certs.d/registry.example/hosts.toml", "containerd.toml",
		},
		// k0sproject/k0s: pkg/component/worker/containerd.
		"k0s": {
			"/etc/k0s/containerd.toml", map[string]string{
				"/etc/k0s/containerd.toml":         "# k0s_managed=true\nversion = 2\nimports = [\n\t\"/run/k0s/containerd-cri.toml\",\n]\n",
				"/run/k0s/containerd-cri.toml":     cri2("/etc/k0s/certs.d"),
				"/etc/k0s/containerd.d/certs.toml": cri2("/etc/k0s/certs.d"),
			}, "/etc/k0s/certs.d/registry.example/hosts.toml", "containerd-cri.toml",
		},
		"k0s without config_path": {
			"/etc/k0s/containerd.toml", map[string]string{
				"/etc/k0s/containerd.toml":     "# k0s_managed=true\nversion = 2\nimports = [\"/run/k0s/containerd-cri.toml\"]\n",
				"/run/k0s/containerd-cri.toml": "version = 2\n",
			}, "a file below /etc/k0s/containerd.d", "/etc/k0s/containerd.toml",
		},
		// siderolabs/talos: internal/pkg/containers/cri/containerd.
		"Talos": {
			"/etc/cri/containerd.toml", map[string]string{
				"/etc/cri/containerd.toml":  "version = 3\nimports = [\"/etc/cri/conf.d/cri.toml\"]\n",
				"/etc/cri/conf.d/cri.toml":  cri3("/etc/cri/conf.d/hosts"),
				"/usr/lib/os-release":       "NAME=\"Talos\"\nID=talos\n",
				"/etc/cri/conf.d/hosts/x/y": "",
			}, "the Talos machine configuration (machine.registries)", "/etc/cri",
		},
		// bottlerocket-os/bottlerocket-core-kit: packages/containerd-2.0.
		"Bottlerocket": {
			"", map[string]string{
				usualConfig: "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry.mirrors.\"docker.io\"]\n" +
					"endpoint = [\"https://mirror.example\"]\n",
				"/etc/os-release": "NAME=Bottlerocket\nID=bottlerocket\n",
			}, "the Bottlerocket settings", "/etc/containerd",
		},
		// awslabs/amazon-eks-ami: nodeadm/internal/containerd/config2.template.toml.
		"EKS": {
			usualConfig, map[string]string{
				usualConfig: cri3(usualCerts + ":/etc/docker/certs.d"), "/usr/bin/nodeadm": "", "/etc/eks/bootstrap.sh": "",
				"/etc/os-release": "NAME=\"Amazon Linux\"\nID=\"amzn\"\n",
			}, "by the node group's user data, and config.toml by spec.containerd.config of its NodeConfig", "generates",
		},
		// awslabs/amazon-eks-ami: templates/al2/runtime/bootstrap.sh.
		"EKS on Amazon Linux 2": {
			"", map[string]string{usualConfig: cri2(usualCerts + ":/etc/docker/certs.d"), "/etc/eks/bootstrap.sh": ""},
			"--containerd-config-file of bootstrap.sh", "NodeConfig",
		},
		// cloud.google.com: Customize containerd configuration in GKE nodes.
		"GKE": {
			"", map[string]string{
				usualConfig: cri2("/etc/containerd/hosts.d"), "/home/kubernetes/bin/kubelet": "", "/etc/os-release": "ID=cos\n",
			}, "--containerd-config-from-file", "/etc/containerd/",
		},
		"GKE on Ubuntu": {
			"", map[string]string{
				usualConfig: cri2("/etc/containerd/hosts.d"), "/home/kubernetes/bin/kubelet": "", "/etc/os-release": "ID=ubuntu\n",
			}, "--containerd-config-from-file", "/etc/containerd/",
		},
		// Azure/AgentBaker: parts/linux/cloud-init.
		"AKS": {
			"", map[string]string{
				usualConfig: cri2(usualCerts), "/opt/azure/containers/provision.sh": "", "/etc/os-release": "ID=ubuntu\n",
			}, "by what sets up the node pool's nodes", "generates",
		},
	}
}

// From the files that a distribution has, a fix names those that last.
func TestLayoutTrees(t *testing.T) {
	for name, tt := range layoutTrees() {
		t.Run(name, func(t *testing.T) {
			root, err := host.OpenRoot(hosttest.Tree(t, tt.files))
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			p := startContainerd(t, tt.config)
			config, err := runtimeconfig.Read(p, root, "v2.2.0")
			check := runtimeconfig.ConfigCheck(p, root, config, err, nil)
			if err != nil || check.Outcome != report.Pass {
				t.Fatalf("%v; %+v", err, check)
			}
			fail := report.Check{
				ID: report.TLSID("registry.example") + "/192.0.2.1:443", Kind: report.KindTLS, Host: "registry.example",
				Target: "192.0.2.1:443", Outcome: report.Fail, Cause: report.CertificateUntrusted,
			}
			domain := report.Check{
				ID: report.IDReference, Kind: report.KindReference, Outcome: report.Pass,
				Evidence: map[string]string{report.KeyDomain: "registry.example"},
			}
			r := diagnosis.StateOf("registry.example", []report.Check{domain, check, fail}, time.Time{})
			if fix := r.HowToFix(); !strings.Contains(fix, tt.ca) || strings.Contains(fix, tt.never) {
				t.Errorf("the fix is %q, want %q and not %q\n%+v", fix, tt.ca, tt.never, check)
			}
		})
	}
}

// startContainerd starts a process with containerd's command line.
func startContainerd(t *testing.T, config string) *host.Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", hosttest.Write(t, filepath.Join(t.TempDir(), "wait"), "sleep 600; true\n"))
	cmd.Args[0] = "containerd"
	if config != "" {
		cmd.Args = append(cmd.Args, "--config", config)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	examinetest.Executed(t, cmd.Process.Pid)
	p, err := host.ProcessOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
