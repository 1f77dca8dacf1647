package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

// The kubelet's own setting counts, by its flags, files and drop-ins, on each
// distribution with its paths.
func TestKubeletEndpoint(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		args  []string // nil: k3s
		want  string   // empty: an error
	}{
		"default": {nil, []string{"kubelet"}, "/run/containerd/containerd.sock"},
		"flag":    {nil, []string{"kubelet", "--container-runtime-endpoint=unix:///run/crio/crio.sock"}, "/run/crio/crio.sock"},
		"file": {map[string]string{"/var/lib/kubelet/config.yaml": "containerRuntimeEndpoint: unix:///var/run/cri-dockerd.sock"},
			[]string{"kubelet", "--config=/var/lib/kubelet/config.yaml"}, "/run/cri-dockerd.sock"},
		"flag over file": {map[string]string{"/k.yaml": "containerRuntimeEndpoint: unix:///a.sock"},
			[]string{"kubelet", "--container-runtime-endpoint", "/b.sock", "--config", "/k.yaml"}, "/b.sock"},
		// rancher/rke2: the kubelet is a process of its own, on the socket of k3s.
		"RKE2": {map[string]string{
			"/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/00-rke2-defaults.conf": "containerRuntimeEndpoint: unix:///run/k3s/containerd/containerd.sock",
			"/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/99-own.conf":           "serializeImagePulls: false",
		}, []string{"kubelet", "--config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d"}, "/run/k3s/containerd/containerd.sock"},
		// canonical/microk8s: microk8s-resources/default-args/kubelet
		"microk8s": {map[string]string{microk8sFlags: "--resolv-conf=/run/x\n--container-runtime-endpoint=${SNAP_COMMON}/run/containerd.sock\n"},
			[]string{"kubelite"}, "/var/snap/microk8s/common/run/containerd.sock"},
		// k0sproject/k0s: pkg/component/worker/kubelet.go
		"k0s": {nil, []string{"kubelet", "--container-runtime-endpoint=unix:///run/k0s/containerd.sock"}, "/run/k0s/containerd.sock"},
		// awslabs/amazon-eks-ami: nodeadm/internal/kubelet/config.go
		"EKS": {map[string]string{"/etc/kubernetes/kubelet/config.json": `{"containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock"}`},
			[]string{"/usr/bin/kubelet", "--config=/etc/kubernetes/kubelet/config.json", "--kubeconfig=/var/lib/kubelet/kubeconfig"}, defaultSocket},
		// bottlerocket-os/bottlerocket-core-kit: packages/kubernetes-1.31/kubelet-config names none
		"Bottlerocket": {map[string]string{"/etc/kubernetes/kubelet/config": "serializeImagePulls: false"},
			[]string{"/usr/bin/kubelet", "--config", "/etc/kubernetes/kubelet/config", "--root-dir", "/var/lib/kubelet"}, defaultSocket},
		// The flags and the file of a GKE node.
		"GKE": {map[string]string{"/home/kubernetes/kubelet-config.yaml": "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock"},
			[]string{"/home/kubernetes/bin/kubelet", "--v=2", "--config", "/home/kubernetes/kubelet-config.yaml"}, defaultSocket},
		// Azure/AgentBaker: pkg/agent/baker_test.go
		"AKS": {map[string]string{"/etc/default/kubeletconfig.json": "{}"}, []string{"/usr/local/bin/kubelet", "--config",
			"/etc/default/kubeletconfig.json", "--container-runtime-endpoint=unix:///run/containerd/containerd.sock"}, defaultSocket},
		// siderolabs/talos: internal/app/machined/pkg/system/services/kubelet.go
		"Talos": {map[string]string{"/etc/kubernetes/kubelet.yaml": "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock"},
			[]string{"/usr/local/bin/kubelet", "--config=/etc/kubernetes/kubelet.yaml"}, defaultSocket},
		"no socket":   {nil, []string{"kubelet", "--container-runtime-endpoint=tcp://127.0.0.1:1"}, ""},
		"k3s":         {nil, nil, "/run/k3s/containerd/containerd.sock"},
		"k3s, own":    {map[string]string{"/etc/rancher/k3s/config.yaml": "container-runtime-endpoint: /run/containerd/containerd.sock"}, nil, "/run/containerd/containerd.sock"},
		"k3s, docker": {map[string]string{"/etc/rancher/k3s/config.yaml": "docker: true"}, nil, "/run/k3s/cri-dockerd/cri-dockerd.sock"},
		"k3s, drop-in": {map[string]string{
			"/etc/rancher/k3s/config.yaml":          "node-name: a",
			"/etc/rancher/k3s/config.yaml.d/1.yaml": "container-runtime-endpoint: unix:///x.sock",
		}, nil, "/x.sock"},
		"k3s, spoilt": {map[string]string{"/etc/rancher/k3s/config.yaml": "a: ["}, nil, ""},
	} {
		files := hosttest.Memory(tt.files)
		got, err := socketFor(files, tt.args)
		if got.Path != tt.want || (err == nil) != (tt.want != "") || err == nil && got.From == "" {
			t.Errorf("%s: %+v, %v; want %q", name, got, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), "--runtime-endpoint") {
			t.Errorf("%s: %v does not say what to set", name, err)
		}
	}
}

// socketFor returns the socket of a kubelet with these arguments; nil: that of k3s.
func socketFor(files Files, args []string) (RuntimeSocket, error) {
	if args == nil {
		s, err := readK3s(files, "")
		if err != nil && !errors.Is(err, errHiddenFlags) {
			return RuntimeSocket{}, &endpointError{err.Error() + ": set --runtime-endpoint"}
		}
		return s.socket()
	}
	if args[0] == "kubelite" {
		var err error
		if args, err = microk8sArgs(files); err != nil {
			return RuntimeSocket{}, err
		}
	}
	return kubeletEndpoint(files, args, "/")
}

// The kubelet's socket counts though another one exists; without a kubelet, a socket of a
// distribution of Kubernetes before the default one, which may be Docker's.
func TestFindRuntimeSocket(t *testing.T) {
	const root = "/host"
	kubelet := func(path string) func() (RuntimeSocket, error) {
		return func() (RuntimeSocket, error) { return RuntimeSocket{Path: path, From: "the kubelet"}, nil }
	}
	none := func() (RuntimeSocket, error) { return RuntimeSocket{}, ErrNoKubelet }
	for name, tt := range map[string]struct {
		kubelet    func() (RuntimeSocket, error)
		exist      string
		path, dial string // empty: an error
	}{
		"mounted":                            {kubelet(defaultSocket), defaultSocket, defaultSocket, defaultSocket},
		"not mounted":                        {kubelet(k3sSocket), root + k3sSocket + " " + defaultSocket, k3sSocket, root + k3sSocket},
		"not there yet":                      {kubelet(k3sSocket), defaultSocket, k3sSocket, k3sSocket},
		"no kubelet":                         {none, defaultSocket, defaultSocket, defaultSocket},
		"no kubelet, Docker's as well":       {none, defaultSocket + " " + root + k0sSocket, k0sSocket, root + k0sSocket},
		"no kubelet, a socket that was left": {none, "dead:" + root + k3sSocket + " " + defaultSocket, defaultSocket, defaultSocket},
		"no kubelet, the runtime restarts":   {none, "dead:" + defaultSocket, defaultSocket, defaultSocket},
		"no kubelet, microk8s":               {none, root + microk8sSocket, microk8sSocket, root + microk8sSocket},
		"no kubelet, second runtime": {none, root + "/run/host-containerd/containerd.sock " + root + "/run/docker/containerd/containerd.sock " +
			root + "/system/run/containerd/containerd.sock", "", ""},
		"no kubelet, nothing":         {none, "", "", ""},
		"a setting that is no socket": {func() (RuntimeSocket, error) { return socketOf("tcp://x", "the flag") }, defaultSocket, "", ""},
	} {
		f := socketFinder{
			kubelet: tt.kubelet, root: root,
			exists: func(file string) bool {
				return slices.Contains(strings.Fields(strings.ReplaceAll(tt.exist, "dead:", "")), file)
			},
			listens: func(file string) bool { return slices.Contains(strings.Fields(tt.exist), file) },
		}
		got, err := f.find()
		if got.Path != tt.path || got.Dial != tt.dial || (err == nil) != (tt.path != "") {
			t.Errorf("%s: %+v, %v; want %s at %s", name, got, err, tt.path, tt.dial)
		}
		if err != nil && !strings.Contains(err.Error(), "--runtime-endpoint") {
			t.Errorf("%s: %v does not say what to set", name, err)
		}
		if _, nothing := errors.AsType[*NoRuntimeSocketError](err); nothing && !strings.Contains(err.Error(), k3sSocket) {
			t.Errorf("%s: %v does not say what was looked for", name, err)
		}
	}
}

// The kubelet that runs on this host is found by its process, and its flag read.
func TestSocketOfRunningKubelet(t *testing.T) {
	if os.Getenv("PULLPROBE_PRINT_SOCKET") != "" {
		s, err := FindRuntimeSocket()
		fmt.Println("socket:", s.Path, s.From, err)
		return
	}
	bash, err := exec.LookPath("bash")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs root and bash")
	}
	text, err := os.ReadFile(bash)
	if err != nil {
		t.Fatal(err)
	}
	kubelet := filepath.Join(t.TempDir(), "kubelet")
	if err := os.WriteFile(kubelet, text, 0o755); err != nil {
		t.Fatal(err)
	}
	// A namespace of processes, whose first one has the kubelet's mounts and not the test's.
	script := `"$1" -c "sleep 60; true" --container-runtime-endpoint=unix:///run/some/runtime.sock & k=$!
		until grep -qx kubelet /proc/$k/comm && grep -q endpoint /proc/$k/cmdline; do sleep 0.01; done
		unshare -m "$0" -test.run '^TestSocketOfRunningKubelet$'; kill $k`
	cmd := exec.CommandContext(t.Context(), "unshare", "-mpf", "--mount-proc", "bash", "-c", script, os.Args[0], kubelet)
	cmd.Env = append(os.Environ(), "PULLPROBE_PRINT_SOCKET=1")
	out, err := cmd.CombinedOutput()
	if want := "socket: /run/some/runtime.sock the kubelet's flag --container-runtime-endpoint <nil>"; !strings.Contains(string(out), want) {
		t.Errorf("%v: %s", err, out)
	}
}
