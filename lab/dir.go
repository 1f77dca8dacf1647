package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Dir is the lab's state directory. Built binaries in bin/ outlive the lab;
// everything of a running lab is under run/ and goes with it.
type Dir string

// DefaultDir is $PULLPROBE_LAB_DIR, or /var/tmp/pullprobe-lab.
func DefaultDir() Dir {
	if d := os.Getenv("PULLPROBE_LAB_DIR"); d != "" {
		return Dir(d)
	}
	return "/var/tmp/pullprobe-lab"
}

// Bin is the path of a built binary.
func (d Dir) Bin(name string) string { return filepath.Join(string(d), "bin", name) }

// Run is a path below run/.
func (d Dir) Run(elem ...string) string {
	return filepath.Join(append([]string{string(d), "run"}, elem...)...)
}

// Log is the path of one part's log.
func (d Dir) Log(name string) string { return d.Run("log", name+".log") }

// PKI is a path among the lab's keys and certificates.
func (d Dir) PKI(name string) string { return d.Run("pki", name) }

// Check says why the directory can't serve: the nodes hide some of the host's
// directories behind their own, and Unix sockets need short paths.
func (d Dir) Check() error {
	s := string(d)
	if !filepath.IsAbs(s) || filepath.Clean(s) != s {
		return fmt.Errorf("state directory %q: must be a clean absolute path", s)
	}
	for _, hidden := range []string{"/etc", "/run", "/var/run", "/var/lib", "/var/log", "/proc", "/sys", "/dev"} {
		if s == hidden || strings.HasPrefix(s, hidden+"/") {
			return fmt.Errorf("state directory %q: the nodes have a %s of their own, so it can't lie there", s, hidden)
		}
	}
	if len(s) > 60 {
		return fmt.Errorf("state directory %q: longer than 60 bytes, too long for the sockets in it", s)
	}
	return nil
}
