//go:build matrix

package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// space is an unnamed network namespace, held by one thread. Sockets that are opened and
// programs that are started on that thread belong to it. It ends with this process.
type space struct {
	work chan func()
}

// newSpace makes the namespace of the whole matrix. It has no connection to the outside.
func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{work: make(chan func())}
	ready := make(chan error)
	go func() {
		// Never unlocked: the thread must not do anything else, and must not end,
		// because its children die with it.
		runtime.LockOSThread()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range s.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("network namespace (root?): %v", err)
	}
	return s
}

// do runs f on the namespace's thread. f must be short, because all other callers wait.
func (s *space) do(f func() error) error {
	done := make(chan error)
	s.work <- func() { done <- f() }
	return <-done
}

func (s *space) listen(addr string) (l net.Listener, err error) {
	err = s.do(func() error {
		// IPv6 addresses can be bound without being assigned to an interface.
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			var sockErr error
			if err := c.Control(func(fd uintptr) {
				sockErr = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
			}); err != nil {
				return err
			}
			return sockErr
		}}
		l, err = config.Listen(context.Background(), "tcp", addr)
		return err
	})
	return l, err
}

// run runs a program of the host and waits until it has ended.
func (s *space) run(stdin string, name string, args ...string) error {
	return s.do(func() error {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
		}
		return nil
	})
}

// start starts a program that dies with this process.
func (s *space) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return s.do(cmd.Start)
}

// confined is a program with its own mount namespace.
type confined struct {
	Mounts []mount
	Args   []string // Args[0] is a path
	IDs    int      // if not 0: the number of users and groups in its own user namespace
}

// mount is a bind mount of a file or directory, or, with Type, a new file system: a tmpfs,
// or an ext4 in the sparse file From. Its mount point is created if needed.
type mount struct {
	From, To   string
	Type, Data string
}

// diskSize is the size of file systems in files.
const diskSize = 300 << 20

// confinedEnv passes a [confined] to a new process of this binary.
const confinedEnv = "PULLPROBE_MATRIX_CONFINED"

// command returns the program, not yet started.
func (c confined) command(ctx context.Context, env ...string) (*exec.Cmd, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Dir = "/"
	// Nothing of the caller's environment: its proxies and certificates would affect
	// the machines.
	cmd.Env = append([]string{"PATH=" + bin("") + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", confinedEnv + "=" + string(b)}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if c.IDs != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{Size: c.IDs}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{Size: c.IDs}}
	}
	return cmd, nil
}

// execConfined runs in the child: it mounts and replaces itself by the program.
func execConfined(config string) error {
	var c confined
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, m := range c.Mounts {
		if err := m.mount(); err != nil {
			return fmt.Errorf("mount %s: %w", m.To, err)
		}
	}
	os.Unsetenv(confinedEnv)
	return syscall.Exec(c.Args[0], c.Args, os.Environ())
}

func (m mount) mount() error {
	if m.Type == "" {
		return unix.Mount(m.From, m.To, "", unix.MS_BIND, "")
	}
	if err := os.MkdirAll(m.To, 0o755); err != nil {
		return err
	}
	if m.Type == "tmpfs" {
		return unix.Mount(m.Type, m.To, m.Type, 0, m.Data)
	}
	if err := os.WriteFile(m.From, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(m.From, diskSize); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1", m.From},
		{"mount", "-t", m.Type, "-o", "loop,noinit_itable," + m.Data, m.From, m.To}, // unmounting removes the loop device
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// writeFiles writes files below dir. files has their content by name.
func writeFiles(dir string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(forContainerd(content)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
