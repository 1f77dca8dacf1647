//go:build matrix

package matrix

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// oldContainerd returns the path of containerd 1.6, which Debian 12 has. The package is
// downloaded once.
func oldContainerd(t *testing.T) (string, error) {
	t.Helper()
	program := bin("containerd-1.6")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	dir := t.TempDir()
	for _, command := range []string{"apt-get -qq download containerd=1.6.*", "dpkg -x containerd_*.deb ."} {
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w: %s", command, err, out)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "usr/bin/containerd"))
	must(t, err)
	must(t, os.WriteFile(program+".new", b, 0o755))
	must(t, os.Rename(program+".new", program))
	return program, nil
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
		s.t.Skipf("needs containerd 1.6 as %s", bin("containerd-1.6"))
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
