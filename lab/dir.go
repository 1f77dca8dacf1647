package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Dir is the lab's state directory. Built binaries in bin/ outlive the lab. A
// running lab has everything below run/, and `lab down` removes it.
type Dir string

// DefaultDir returns $PULLPROBE_LAB_DIR, or /var/tmp/pullprobe-lab.
func DefaultDir() Dir {
	if d := os.Getenv("PULLPROBE_LAB_DIR"); d != "" {
		return Dir(d)
	}
	return "/var/tmp/pullprobe-lab"
}

// Bin returns the path of a built binary.
func (d Dir) Bin(name string) string { return filepath.Join(string(d), "bin", name) }

// Run returns a path below run/.
func (d Dir) Run(elem ...string) string {
	return filepath.Join(append([]string{string(d), "run"}, elem...)...)
}

// Log returns the path of one component's log.
func (d Dir) Log(name string) string { return d.Run("log", name+".log") }

// PKI returns the path of one of the lab's keys or certificates.
func (d Dir) PKI(name string) string { return d.Run("pki", name) }

// Check returns an error if the directory cannot be used. The nodes hide some of the
// host's directories behind their own, and Unix sockets need short paths.
func (d Dir) Check() error {
	s := string(d)
	if !filepath.IsAbs(s) || filepath.Clean(s) != s {
		return fmt.Errorf("state directory %q: must be a clean absolute path", s)
	}
	for _, hidden := range []string{"/etc", "/run", "/var/run", "/var/lib", "/var/log", "/proc", "/sys", "/dev"} {
		if s == hidden || strings.HasPrefix(s, hidden+"/") {
			return fmt.Errorf("state directory %q: each node has its own %s, so the directory must be elsewhere", s, hidden)
		}
	}
	if len(s) > 60 {
		return fmt.Errorf("state directory %q: it is longer than 60 bytes, too long for the sockets in it", s)
	}
	return nil
}
