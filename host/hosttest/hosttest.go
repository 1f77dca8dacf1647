// Package hosttest holds what the tests of host, runtimeconfig and cri share.
// Nothing of the product imports it.
package hosttest

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
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
