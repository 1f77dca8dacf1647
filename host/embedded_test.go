package host

import (
	"errors"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

const (
	k3sUnit    = "/etc/systemd/system/k3s.service"
	k3sDropIns = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d"
	providers  = "/var/lib/rancher/credentialprovider"
)

// The kubelet of k3s is set by k3s's files and by the flags of its service.
func TestK3sKubelet(t *testing.T) {
	// As the script of get.k3s.io writes it.
	unit := "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--kubelet-arg' \\\n\t'image-gc-high-threshold=70' \\\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"as installed": {map[string]string{
			k3sUnit: "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\n", k3sDropIns + "/00-k3s-defaults.conf": "{}",
		}, "kubelet --config-dir=" + k3sDropIns},
		"before 1.32": {map[string]string{k3sUnit: unit},
			"kubelet --eviction-hard=imagefs.available<5%,nodefs.available<5% --image-gc-high-threshold=70"},
		"providers at their default place": {map[string]string{
			k3sUnit: unit, k3sDropIns + "/x.conf": "{}", providers + "/bin/ecr-credential-provider": "", providers + "/config.yaml": "{}",
		}, "kubelet --config-dir=" + k3sDropIns + " --image-credential-provider-bin-dir=" + providers +
			"/bin --image-credential-provider-config=" + providers + "/config.yaml --image-gc-high-threshold=70"},
		"a provider without its configuration": {map[string]string{
			k3sUnit: unit, k3sDropIns + "/x.conf": "{}", providers + "/bin/ecr-credential-provider": "",
		}, "kubelet --config-dir=" + k3sDropIns + " --image-gc-high-threshold=70"},
		"its own files": {map[string]string{
			k3sUnit:                                 "[Service]\nExecStart=/usr/local/bin/k3s server --image-credential-provider-bin-dir /b\n",
			"/etc/rancher/k3s/config.yaml":          "data-dir: /data\nimage-credential-provider-config: /c.yaml\nkubelet-arg: [a=1, b=2]",
			"/etc/rancher/k3s/config.yaml.d/1.yaml": "kubelet-arg+: c=3\n",
			"/data/agent/etc/kubelet.conf.d/x.conf": "{}", "/b/p": "", "/c.yaml": "{}",
		}, "kubelet --config-dir=/data/agent/etc/kubelet.conf.d --image-credential-provider-bin-dir=/b " +
			"--image-credential-provider-config=/c.yaml --a=1 --b=2 --c=3"},
		"no service":     {map[string]string{k3sDropIns + "/x.conf": "{}"}, ""},
		"a spoilt file":  {map[string]string{k3sUnit: unit, "/etc/rancher/k3s/config.yaml": "a: ["}, ""},
		"a wrong number": {map[string]string{k3sUnit: unit, "/etc/rancher/k3s/config.yaml": "kubelet-arg: {a: 1}"}, ""},
	} {
		root := rootOf(t, tt.files)
		settings, err := readK3s(root, "k3s.service")
		var args []string
		if err == nil {
			args, err = settings.kubeletArgs(root)
		}
		if got := strings.Join(args, " "); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s:\n%s %v, want\n%s", name, got, err, tt.want)
		}
	}
	if _, err := readK3s(rootOf(t, nil), ""); !errors.Is(err, errHiddenFlags) {
		t.Errorf("got %v", err)
	}
}

// The eviction thresholds of k3s are those of its drop-ins.
func TestK3sEviction(t *testing.T) {
	root := rootOf(t, map[string]string{
		k3sUnit:                              "[Service]\nExecStart=/usr/local/bin/k3s agent\n",
		k3sDropIns + "/00-k3s-defaults.conf": "evictionHard: {imagefs.available: 5%, nodefs.available: 5%}",
		k3sDropIns + "/90-own.conf":          "evictionHard: {imagefs.available: 7%}\nimageGCHighThresholdPercent: 80",
	})
	settings, err := readK3s(root, "k3s.service")
	if err != nil {
		t.Fatal(err)
	}
	args, err := settings.kubeletArgs(root)
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := readEviction(root, parseEvictionFlags(args, "/"))
	if err != nil || len(e.Bytes) != 2 || e.Bytes[0].Percent != 7 || e.Bytes[1].Percent != 5 || e.GCHigh != 80 {
		t.Errorf("%+v %v", e, err)
	}
}

func TestMicrok8sArgs(t *testing.T) {
	args, err := microk8sArgs(rootOf(t, map[string]string{microk8sFlags: "# kubelet\n--root-dir=${SNAP_COMMON}/var/lib/kubelet\n" +
		"--image-credential-provider-config=$SNAP_DATA/args/providers.yaml\n--eviction-hard=\"memory.available<100Mi,nodefs.available<1Gi\"\n"}))
	want := "kubelet --root-dir=/var/snap/microk8s/common/var/lib/kubelet " +
		"--image-credential-provider-config=/var/snap/microk8s/current/args/providers.yaml " +
		"--eviction-hard=memory.available<100Mi,nodefs.available<1Gi"
	if got := strings.Join(args, " "); got != want || err != nil {
		t.Errorf("%s %v", got, err)
	}
	if _, err := microk8sArgs(hosttest.Memory{}); err == nil {
		t.Error("no file, and no error")
	}
}

func FuzzReadK3s(f *testing.F) {
	f.Add("kubelet-arg: [a=1]\ndocker: true", "[Service]\nExecStart=/k3s server '--kubelet-arg' 'a=1'\n")
	f.Add("kubelet-arg+: x", "[Service]\nExecStart=\nExecStart=/k3s agent \\\n")
	f.Fuzz(func(t *testing.T, file, unit string) {
		root := hosttest.Memory{"/etc/rancher/k3s/config.yaml": file, k3sUnit: unit}
		s, err := readK3s(root, "k3s.service")
		if err == nil {
			_, _ = s.kubeletArgs(root)
		}
		_, _ = s.socket()
	})
}
