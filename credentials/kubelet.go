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

// Kubelet is the running kubelet, as far as it decides about credentials.
type Kubelet struct {
	Args    []string // command line, the program's name first
	Environ []string // may hold secrets
	Dir     string   // working directory
	Started time.Time
	Files   Files

	// Root is a path of the kubelet's root directory that is good for a system
	// call of this process; empty: its root is ours.
	Root string
}

// flag is the value of a flag on the command line, the last one if it is given
// more than once. The kubelet takes _ for - (component-base
// cli/flag.WordSepNormalizeFunc).
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

// getenv is a variable of the kubelet's environment; the first one counts, as
// in os.Getenv of a Go program.
func (k Kubelet) getenv(name string) string {
	for _, e := range k.Environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// abs makes a path absolute as the kubelet would.
func (k Kubelet) abs(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", k.Dir, name)
}
