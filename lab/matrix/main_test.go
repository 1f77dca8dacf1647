//go:build matrix

package matrix

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pullprobe/pullprobe/lab"
)

var (
	product = flag.String("pullprobe", "../../bin/pullprobe", "the binary under test")
	version = flag.String("containerd", "", "minor version of containerd that the rows run beside, such as 1.7; the default is lab's")
	record  = flag.String("record", "", "directory to write each row's checks to, for report's replay test")
)

// tempPrefix is the prefix of the directories of all runs.
const tempPrefix = "/var/tmp/pullprobe-matrix-"

func TestMain(m *testing.M) {
	if config := os.Getenv(confinedEnv); config != "" {
		fmt.Fprintln(os.Stderr, "matrix: confined program:", execConfined(config))
		os.Exit(127)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// tempDir makes the directory of this run and removes those of interrupted runs. The
// kernel removes everything else of a run: every process of a run dies with it
// (PR_SET_PDEATHSIG), and a namespace ends with its last process.
func tempDir(t *testing.T) string {
	t.Helper()
	old, err := filepath.Glob(tempPrefix + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range old {
		if lock, err := lockDir(dir); err == nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
	dir, err := os.MkdirTemp(filepath.Dir(tempPrefix), filepath.Base(tempPrefix)+"*")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		lock.Close()
	})
	return dir
}

// lockDir marks dir as used by a live process. The kernel releases the lock when that
// process ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// bin returns the path of a program that `lab build` made.
func bin(name string) string { return lab.DefaultDir().Bin(name) }
