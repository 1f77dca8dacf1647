package host

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.InOwnMounts(m.Run)) }

// start runs a copy of sleep under another name until the test ends.
func start(t *testing.T, name string, wrap ...string) *Process {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	text, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, name)
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	args := append(wrap, program, "600")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p, err := ProcessOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	// Until it has been executed: it has its name a moment before the rest.
	hosttest.Eventually(t, func() bool {
		env, err := p.Environ()
		return p.comm() == name && err == nil && len(env) > 0
	}, func() string { return name + " does not begin" })
	return p
}

// The kubelet shares the runtime's mounts. A program of that name in a container does
// not.
func TestSharesMounts(t *testing.T) {
	self, err := ProcessOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := FindKubelet(self); !errors.Is(err, ErrNoKubelet) {
		t.Skip("a kubelet runs here")
	}
	if os.Geteuid() == 0 {
		tenant := start(t, "kubelet", "unshare", "--mount")
		if tenant.SharesMounts(self) {
			t.Error("a process with mounts of its own counts as the node's")
		}
		if p, err := FindKubelet(self); err == nil {
			t.Errorf("process %d of another mount namespace was taken", p.PID)
		}
	}
	real := start(t, "kubelet")
	p, err := FindKubelet(self)
	if err != nil || p.PID != real.PID || !p.SharesMounts(self) {
		t.Fatalf("found %+v, %v; it is process %d", p, err, real.PID)
	}
	if dir, err := p.Dir(); err != nil || filepath.Base(dir) == "/" {
		t.Errorf("working directory %q, %v", dir, err)
	}
}
