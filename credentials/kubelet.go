package credentials

import (
	"io/fs"
	"path"
	"time"

	"github.com/pullprobe/pullprobe/host"
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
	WorkDir string   // working directory
	Started time.Time
	Files   Files

	Minor int // minor version: 33 of Kubernetes 1.33; 0: not known

	// Root is a path of the kubelet's root directory that this process can pass
	// to a system call. Empty: both have the same root.
	Root string
}

// strictSince is the first minor version of a kubelet that rejects unknown and duplicate
// fields in the configuration of its providers and in their responses (plugin.go, codecs).
const strictSince = 32

// strict reports whether the kubelet rejects unknown and duplicate fields.
func (k Kubelet) strict() bool { return k.Minor == 0 || k.Minor >= strictSince }

// The kubelet's flags that decide about credentials.
const (
	flagRootDir        = "root-dir"
	flagProviderConfig = "image-credential-provider-config"
	flagProviderBinDir = "image-credential-provider-bin-dir"
)

// flag returns the value of a command-line flag.
func (k Kubelet) flag(name string) (value string, given bool) {
	return host.ParseFlags(k.Args, flagRootDir, flagProviderConfig, flagProviderBinDir).Last(name)
}

// getenv returns a variable of the kubelet's environment; empty if it is not set.
func (k Kubelet) getenv(name string) string {
	value, _ := host.Env(k.Environ).Lookup(name)
	return value
}

// abs makes a path absolute, relative to the kubelet's working directory.
func (k Kubelet) abs(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", k.WorkDir, name)
}
