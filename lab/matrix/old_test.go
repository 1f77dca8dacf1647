//go:build matrix

package matrix

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// oldContainerd returns the path of containerd 1.6, which Debian 12 has. The package is
// downloaded once.
func oldContainerd(t *testing.T) string {
	t.Helper()
	program := bin("containerd-1.6")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	dir := t.TempDir()
	for _, args := range [][]string{
		{"sh", "-c", "apt-get -qq download containerd"},
		{"sh", "-c", "dpkg -x containerd_*.deb ."},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s: put a containerd 1.6 at %s", args, err, out, program)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "usr/bin/containerd"))
	must(t, err)
	must(t, os.WriteFile(program+".new", b, 0o755))
	must(t, os.Rename(program+".new", program))
	return program
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
