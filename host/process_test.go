package host

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, err := Peer(conn, path)
	if err != nil {
		t.Fatal(err)
	}
	if p.PID != os.Getpid() {
		t.Errorf("pid %d, want our own, %d", p.PID, os.Getpid())
	}
	if args, err := p.Cmdline(); err != nil || !slices.Equal(args, os.Args) {
		t.Errorf("command line %q, %v", args, err)
	}
	if env, err := p.Environ(); err != nil || len(env) == 0 {
		t.Errorf("environment of %d, %v", len(env), err)
	}
	if start, err := p.StartTime(); err != nil || start.After(time.Now()) || start.Before(fileTime(t, "/proc/1")) {
		t.Errorf("started %v, %v", start, err)
	}
	r, err := p.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := r.Stat(path); err != nil || got.Name() == "" {
		t.Errorf("stat of %s below our own root: %v", path, err)
	}
}

// fileTime is about when a process began to be: of process 1, before ours.
func fileTime(t *testing.T, name string) time.Time {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime().Add(-time.Minute)
}

func TestProcessGone(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, err := ProcessOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	recycled := &Process{PID: os.Getpid(), start: 1} // our pid was once another's
	for name, p := range map[string]*Process{"ended": ended, "recycled": recycled} {
		_, rootErr := p.Root()
		_, envErr := p.Environ()
		_, timeErr := p.StartTime()
		for _, err := range []error{rootErr, envErr, timeErr} {
			if !errors.Is(err, ErrProcessGone) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestParseStartTicks(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for stat, want := range map[string]uint64{
		"7 (containerd)" + rest:     4711,
		"7 (a) b (c)" + rest:        4711, // the command is any text
		"7 (containerd) S 1 2 3":    0,
		"":                          0,
		"7 containerd" + rest:       0,
		"7 (containerd) S 1 2 3 4)": 0,
	} {
		got, err := parseStartTicks([]byte(stat))
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", stat, got, err)
		}
	}
}

func FuzzParseStartTicks(f *testing.F) {
	f.Add([]byte("7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"))
	f.Fuzz(func(t *testing.T, stat []byte) { parseStartTicks(stat) })
}
