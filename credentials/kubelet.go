package credentials

import (
	"io/fs"
	"path"
	"strings"
	"time"
)

// Files is the file system of the node as the kubelet sees it. Names are
// absolute.
type Files interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
}

// Kubelet is what decides about credentials in the running kubelet process.
type Kubelet struct {
	Args    []string // command line, the program's name first
	Environ []string // may contain secrets
	Dir     string   // working directory
	Started time.Time
	Files   Files

	// Root is a path of the kubelet's root directory that this process can pass
	// to a system call. Empty: both have the same root.
	Root string
}

// flag returns the value of a command-line flag. The last occurrence wins. The
// kubelet accepts _ for - (component-base cli/flag.WordSepNormalizeFunc).
func (k Kubelet) flag(name string) (value string, given bool) {
	for i := 1; i < len(k.Args); i++ {
		arg, ok := strings.CutPrefix(k.Args[i], "--")
		if !ok {
			continue
		}
		if arg == "" {
			break // "--" ends the flags
		}
		key, v, inline := strings.Cut(arg, "=")
		if strings.ReplaceAll(key, "_", "-") != name {
			continue
		}
		if !inline {
			if i++; i == len(k.Args) {
				break
			}
			v = k.Args[i]
		}
		value, given = v, true
	}
	return value, given
}

// getenv returns a variable of the kubelet's environment. The first occurrence
// wins, as in os.Getenv of a Go program.
func (k Kubelet) getenv(name string) string {
	for _, e := range k.Environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// abs makes a path absolute, relative to the kubelet's working directory.
func (k Kubelet) abs(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", k.Dir, name)
}
