package host

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxFile limits [Root.ReadFile], in bytes.
const maxFile = 4 << 20

// maxEntries limits [Root.ReadDir].
const maxEntries = 4096

// maxLinks limits the symbolic links that are followed in one name, as the kernel does.
const maxLinks = 40

var (
	// ErrTooLarge: the file or directory is larger than what is read.
	ErrTooLarge = errors.New("too large")
	// ErrNotRegular: the name is a device, pipe, socket or directory.
	ErrNotRegular = errors.New("not a regular file")
)

// Root is a directory that is used as "/": names, and the symbolic links in them,
// absolute or not, resolve beneath it, and ".." does not lead out of it. So the
// runtime's files are read as the runtime sees them, and a malicious link cannot lead
// out. (os.Root rejects absolute links, which /etc/resolv.conf often is.)
//
// Names are slash-separated, with or without a leading slash. It is safe for
// concurrent use.
type Root struct {
	dir *os.File
}

// OpenRoot opens dir. If dir is a link (/proc/PID/root), it is followed.
func OpenRoot(dir string) (*Root, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Root{dir: f}, nil
}

// Close releases the directory. Paths from [Root.Path] are invalid afterwards.
func (r *Root) Close() error { return r.dir.Close() }

// ReadFile reads a regular file of at most 4 MiB. It opens nothing else: a pipe could
// hang, and a device could do worse.
func (r *Root) ReadFile(name string) ([]byte, error) {
	f, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, pathError("read", name, ErrNotRegular)
	}
	rd, err := reopen(f, 0)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	defer rd.Close()
	b, err := io.ReadAll(io.LimitReader(rd, maxFile+1))
	if err != nil {
		return nil, pathError("read", name, err)
	}
	if len(b) > maxFile {
		return nil, pathError("read", name, ErrTooLarge)
	}
	return b, nil
}

// ReadDir lists a directory of at most 4096 entries, sorted by name. An entry that is a
// link describes the link.
func (r *Root) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rd, err := reopen(f, unix.O_DIRECTORY)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	defer rd.Close()
	list, err := rd.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, pathError("readdir", name, err)
	}
	if len(list) > maxEntries {
		return nil, pathError("readdir", name, ErrTooLarge)
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	out := make([]fs.DirEntry, 0, len(list))
	for _, e := range list {
		info, err := e.Info() // now, while f is open: it looks below f's path
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, pathError("lstat", path.Join(name, e.Name()), err)
		}
		out = append(out, fs.FileInfoToDirEntry(info))
	}
	return out, nil
}

// Stat describes the file of this name, links followed.
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	f, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// Changed returns when the file of this name, links followed, was last changed: its content, its
// attributes, or a link in its path (ctime, which only the kernel sets).
func (r *Root) Changed(name string) (time.Time, error) {
	var last time.Time
	see := func(info fs.FileInfo) {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			if t := time.Unix(st.Ctim.Unix()); t.After(last) {
				last = t
			}
		}
	}
	_, f, err := r.walk(name, see)
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return time.Time{}, pathError("stat", name, err)
	}
	see(info)
	return last, nil
}

// Path returns a path for name that this process can pass to any system call, such as
// statfs. All links are resolved. It is valid until Close. Show name to people, not
// this path.
func (r *Root) Path(name string) (string, error) {
	resolved, f, err := r.walk(name, nil)
	if err != nil {
		return "", err
	}
	f.Close()
	return fdPath(r.dir) + "/" + resolved, nil
}

// open resolves name beneath the root and returns a handle (O_PATH), which serves for
// fstat and has no side effects on the file.
func (r *Root) open(name string) (*os.File, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(int(r.dir.Fd()), cleanName(name), how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case (err == unix.EAGAIN || err == unix.EINTR) && try < 8:
			continue // something was renamed at the same time: openat2(2)
		case err == unix.ENOSYS, err == unix.EPERM, err == unix.EAGAIN:
			// Linux before 5.6, or a seccomp profile that does not know the call.
			_, f, err := r.walk(name, nil)
			return f, err
		default:
			return nil, pathError("open", name, err)
		}
	}
}

// walk resolves name component by component. It holds a handle on every directory
// above, so that ".." is the parent that it came through, and a directory that is
// renamed at the same time cannot let name leave the root. It calls link, unless that is nil, for
// every link in the path.
func (r *Root) walk(name string, link func(fs.FileInfo)) (resolved string, _ *os.File, err error) {
	root, err := dup(r.dir)
	if err != nil {
		return "", nil, pathError("open", name, err)
	}
	handles := []*os.File{root} // handles[0] is the root, the last is where we are
	var names []string          // names[i] is the name of handles[i+1] in handles[i]
	defer func() {
		for _, h := range handles {
			h.Close()
		}
	}()

	todo := strings.Split(cleanName(name), "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(names) > 0 {
				handles[len(names)].Close()
				handles, names = handles[:len(names)], names[:len(names)-1]
			}
			continue
		}
		at := handles[len(names)]
		next, err := openAt(at, part)
		if err != nil {
			return "", nil, pathError("open", name, err)
		}
		info, err := next.Stat()
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if link != nil {
				link(info)
			}
			var target string
			target, err = readLink(next)
			next.Close()
			if links++; links > maxLinks {
				err = unix.ELOOP
			}
			if err != nil {
				return "", nil, pathError("open", name, err)
			}
			if strings.HasPrefix(target, "/") {
				for _, h := range handles[1:] {
					h.Close()
				}
				handles, names = handles[:1], nil
			}
			todo = append(strings.Split(target, "/"), todo...)
			continue
		}
		handles, names = append(handles, next), append(names, part)
		if err != nil {
			return "", nil, pathError("stat", name, err)
		}
	}
	f, err := dup(handles[len(names)])
	if err != nil {
		return "", nil, pathError("open", name, err)
	}
	return strings.Join(names, "/"), f, nil
}

// cleanName makes name relative. It keeps "..": "a/../b" is not "b" if a is a link.
func cleanName(name string) string {
	if name = strings.TrimLeft(name, "/"); name == "" {
		return "."
	}
	return name
}

func openAt(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func readLink(f *os.File) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buf)
	if err != nil {
		return "", err
	}
	if n == len(buf) {
		return "", unix.ENAMETOOLONG
	}
	return string(buf[:n]), nil
}

func dup(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// reopen opens the file of the handle f for reading. O_NONBLOCK is for a file that has
// become something else on a network file system.
func reopen(f *os.File, flags int) (*os.File, error) {
	return os.OpenFile(fdPath(f), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|flags, 0)
}

func fdPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

func pathError(op, name string, err error) error {
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		if errno, ok := errors.AsType[syscall.Errno](inner.Err); ok {
			err = errno // the inner path is a handle's
		}
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// String returns the name of the directory that was opened.
func (r *Root) String() string { return r.dir.Name() }
