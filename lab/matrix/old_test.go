//go:build matrix

package matrix

import (
	"strings"

	"github.com/pullprobe/pullprobe/lab"
)

// oldContainerd is the version of containerd that sends other requests than later ones.
// Debian 12 has it; the package is downloaded once.
const oldContainerd = "1.6"

// forContainerd returns a config.toml as the containerd of this run reads it. Rows are
// written for format 3, which containerd 1.x does not read.
func forContainerd(text string) string {
	if !strings.HasPrefix(*version, "1.") || !strings.Contains(text, "version = 3\n") {
		return text
	}
	return strings.NewReplacer(
		"version = 3\n", "version = 2\n",
		`"io.containerd.cri.v1.images"`, `"io.containerd.grpc.v1.cri"`,
		`"io.containerd.cri.v1.runtime"`, `"io.containerd.grpc.v1.cri"`,
	).Replace(text)
}

// old returns the common machine with containerd 1.6. Without that program the row is
// skipped.
func (s *scene) old() *machine {
	s.t.Helper()
	s.needOld()
	return s.w.old
}

// newOldMachine makes a machine with containerd 1.6.
func (s *scene) newOldMachine(config string) *machine {
	s.t.Helper()
	s.needOld()
	return s.w.newMachine(s.t, machineSpec{program: s.w.old.spec.program, config: config})
}

func (s *scene) needOld() {
	s.t.Helper()
	if s.w.old == nil {
		s.t.Skipf("needs containerd 1.6 as %s", lab.DefaultDir().Containerd(oldContainerd))
	}
}

// oldConfig returns a config.toml for containerd 1.6.
func oldConfig(registry string) string {
	return `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  disable_cgroup = true
` + registry
}

const oldConfigPath = `
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
`
