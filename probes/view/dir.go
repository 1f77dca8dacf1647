package view

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxFileBytes bounds a file that [Dir] reads.
const maxFileBytes = 4 << 20

// Dir is a directory as the root of a file system; "/" is this machine's own. Links
// may point out of it, so that it must be trusted: a container's root needs a reader
// that stays beneath it.
type Dir string

func (d Dir) path(name string) string { return filepath.Join(string(d), filepath.Clean("/"+name)) }

// ReadFile reads a regular file of at most 4 MiB.
func (d Dir) ReadFile(name string) ([]byte, error) {
	f, err := os.OpenFile(d.path(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: syscall.EISDIR}
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: syscall.EINVAL}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(b) > maxFileBytes {
		err = &fs.PathError{Op: "read", Path: name, Err: syscall.EFBIG}
	}
	return b, err
}

// ReadDir lists a directory.
func (d Dir) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(d.path(name)) }

// Stat describes a file, following links.
func (d Dir) Stat(name string) (fs.FileInfo, error) { return os.Stat(d.path(name)) }
