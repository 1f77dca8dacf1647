// Package hosttest holds what the tests of host, runtimeconfig and cri share.
// Nothing of the product imports it.
package hosttest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Tree writes files below a new directory and returns its path. Names are
// absolute, as below a root directory.
func Tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		Write(t, filepath.Join(dir, name), text)
	}
	return dir
}

// Write writes a file, and makes its directory. It returns the name of the file.
func Write(t testing.TB, file, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Eventually polls until ok returns true. After 30 s the test fails with what
// otherwise returns.
func Eventually(t testing.TB, ok func() bool, otherwise func() string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(otherwise())
		}
	}
}

// Memory is a file system in memory: texts by absolute name.
type Memory map[string]string

func (m Memory) ReadFile(name string) ([]byte, error) {
	if text, ok := m[name]; ok {
		return []byte(text), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (m Memory) ReadDir(dir string) ([]fs.DirEntry, error) {
	var out []fs.DirEntry
	for name := range m {
		if filepath.Dir(name) == filepath.Clean(dir) {
			out = append(out, memoryEntry(filepath.Base(name)))
		}
	}
	return out, nil
}

type memoryEntry string

func (e memoryEntry) Name() string               { return string(e) }
func (e memoryEntry) IsDir() bool                { return false }
func (e memoryEntry) Type() fs.FileMode          { return 0 }
func (e memoryEntry) Info() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

// Closed is a Memory with a directory that is closed to this process.
type Closed struct {
	Memory
	Dir string
}

func (c Closed) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == c.Dir {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return c.Memory.ReadDir(name)
}

// Containerd returns the path of containerd, found through $PULLPROBE_CONTAINERD or $PATH.
func Containerd(t testing.TB) string {
	t.Helper()
	bin := os.Getenv("PULLPROBE_CONTAINERD")
	if bin == "" {
		var err error
		if bin, err = exec.LookPath("containerd"); err != nil {
			t.Skip("no containerd: set PULLPROBE_CONTAINERD or put it on PATH")
		}
	}
	return bin
}

// Expect fails the test unless a check has this outcome, a summary and these
// facts, each as "key=value".
func Expect(t testing.TB, k report.Check, outcome report.Outcome, facts ...string) {
	t.Helper()
	if k.Outcome != outcome || k.Summary == "" {
		t.Errorf("%s: %s %q, want %s", k.ID, k.Outcome, k.Summary, outcome)
	}
	for _, f := range facts {
		name, value, _ := strings.Cut(f, "=")
		if got := k.Evidence[name]; got != value {
			t.Errorf("%s: %s is %q, want %q (%s %v)", k.ID, name, got, value, k.Summary, k.Evidence)
		}
	}
}

// InOwnMounts runs the tests of a package in a mount namespace of their own, if they run
// as root, and returns the exit code. A process that one package calls "kubelet" is not
// found by the tests of another one then: the kubelet shares the runtime's mounts.
func InOwnMounts(run func() int) int {
	const done = "TEST_IN_OWN_MOUNTS"
	if os.Geteuid() != 0 || os.Getenv(done) != "" {
		return run()
	}
	runtime.LockOSThread() // Pdeathsig: the end of the thread that starts it
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), done+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil { // for example in a container without CAP_SYS_ADMIN
		return run()
	}
	_ = cmd.Wait() // the tests have printed why they fail
	return cmd.ProcessState.ExitCode()
}
