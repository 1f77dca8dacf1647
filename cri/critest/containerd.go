// Package critest runs a real containerd for tests. Nothing of the product imports it.
package critest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

// Containerd is a real containerd of one test, in a mount namespace of its own.
type Containerd struct {
	Dir string // everything that it writes is below

	t            testing.TB
	bin          string
	sandboxImage string
	cmd          *exec.Cmd
	exit         chan struct{}
}

// New configures a containerd that is found through $PULLPROBE_CONTAINERD or $PATH, with
// its shim and runc beside it or on $PATH. The sandbox image is containerd's default if
// it is empty. New skips the test if containerd cannot run here.
func New(t testing.TB, sandboxImage string) *Containerd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to run containerd")
	}
	bin := hosttest.Containerd(t)
	dir, err := os.MkdirTemp("", "cri") // short: the paths of sockets are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &Containerd{Dir: dir, t: t, bin: bin, sandboxImage: sandboxImage}
	c.Configure("")
	return c
}

// Socket returns the path of containerd's socket.
func (c *Containerd) Socket() string { return c.Dir + "/c.sock" }

// Configure writes the configuration, with these settings of the images plugin.
// containerd reads it when it starts.
func (c *Containerd) Configure(images string) {
	c.t.Helper()
	config := fmt.Sprintf(`version = 3
root = %q
state = %q
[grpc]
  address = %q
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_cgroup = true
`, c.Dir+"/root", c.Dir+"/state", c.Socket())
	if c.sandboxImage != "" {
		config += fmt.Sprintf("[plugins.\"io.containerd.cri.v1.images\".pinned_images]\n  sandbox = %q\n", c.sandboxImage)
	}
	config += "[plugins.\"io.containerd.cri.v1.images\"]\n" + images
	hosttest.Write(c.t, c.Dir+"/config.toml", config)
}

// Start starts containerd, with this environment in addition to the test's, and waits
// until ready returns no problem. The test's end stops it.
func (c *Containerd) Start(ready func() (problem string), env ...string) {
	c.t.Helper()
	logs, err := os.OpenFile(c.Dir+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer logs.Close()
	// The context of a test ends before its clean-up, which may need containerd.
	cmd := exec.CommandContext(context.WithoutCancel(c.t.Context()), c.bin, "--config", c.Dir+"/config.toml")
	exit := make(chan struct{})
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(c.bin)+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	first := c.cmd == nil
	c.cmd, c.exit = cmd, exit
	go func() { _ = cmd.Wait(); close(exit) }()
	if first {
		c.t.Cleanup(c.Stop)
	}
	problem := ""
	hosttest.Eventually(c.t, func() bool { problem = ready(); return problem == "" }, func() string {
		out, _ := os.ReadFile(c.Dir + "/log")
		return fmt.Sprintf("containerd is not ready: %s\n%s", problem, out)
	})
}

// Stop kills containerd, as a crash would.
func (c *Containerd) Stop() {
	_ = c.cmd.Process.Kill()
	<-c.exit
}
