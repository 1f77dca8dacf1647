package config

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// mounted is a directory like those at which the kubelet mounts a ConfigMap.
type mounted struct {
	t   *testing.T
	dir string
	n   int
}

func newMounted(t *testing.T, text string) *mounted {
	m := &mounted{t: t, dir: t.TempDir()}
	m.put(text)
	m.do(os.Symlink(filepath.Join("..data", "config.yaml"), m.file()))
	return m
}

func (m *mounted) file() string { return filepath.Join(m.dir, "config.yaml") }

func (m *mounted) do(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// put changes the content as the kubelet does: a new directory, and a symbolic link
// that is renamed onto the old one (pkg/volume/util/atomic_writer.go).
func (m *mounted) put(text string) {
	m.t.Helper()
	old := fmt.Sprintf("..%d", m.n)
	m.n++
	version := fmt.Sprintf("..%d", m.n)
	m.do(os.Mkdir(filepath.Join(m.dir, version), 0o700))
	m.do(os.WriteFile(filepath.Join(m.dir, version, "config.yaml"), []byte(text), 0o600))
	m.do(os.Symlink(version, filepath.Join(m.dir, "..data_tmp")))
	m.do(os.Rename(filepath.Join(m.dir, "..data_tmp"), filepath.Join(m.dir, "..data")))
	m.do(os.RemoveAll(filepath.Join(m.dir, old)))
}

// lockedBuffer is a buffer that one goroutine writes and another reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was written since the last call.
func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func TestReload(t *testing.T) {
	m := newMounted(t, "heartbeat: 2m\n")
	opts, err := Parse(
		[]string{"--node-name=n", "--config=" + m.file(), "--cool-down=1m"},
		func(string) string { return "" },
	)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		l := NewLive(opts.Settings)
		var taken, refused int
		var last time.Time // when a file was taken
		r := NewReloader(opts, l, slog.New(slog.NewTextHandler(&log, nil)), func(ok bool, at time.Time) {
			if !ok {
				refused++
				return
			}
			taken, last = taken+1, at
		})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.Run(ctx)
		// after returns what was logged over a minute, in which the file is read six times.
		after := func() []string {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			return strings.Split(strings.TrimSuffix(log.take(), "\n"), "\n")
		}
		logs := func(parts ...string) {
			t.Helper()
			lines := after()
			if len(lines) != 1 {
				t.Errorf("%d lines: %q", len(lines), lines)
			}
			for _, w := range parts {
				if !strings.Contains(lines[0], w) {
					t.Errorf("%q, want %q", lines[0], w)
				}
			}
		}
		figures := func(ok, failed int, heartbeat time.Duration) {
			t.Helper()
			if taken != ok+1 || refused != failed || l.Get().Heartbeat != heartbeat { // the first is the one at the start
				t.Errorf("%d taken, %d failed, heartbeat %v; want %d, %d, %v", taken-1, refused, l.Get().Heartbeat, ok, failed, heartbeat)
			}
		}

		began := last
		logs("")
		figures(0, 0, 2*time.Minute)

		_, replaced := l.Watch()
		m.put("heartbeat: 3m\ndeny: [a.example]\n")
		logs("level=INFO", m.file(), `changed="deny, heartbeat"`)
		figures(1, 0, 3*time.Minute)
		select {
		case <-replaced:
		default:
			t.Error("the channel is not closed")
		}
		if !last.After(began) {
			t.Error("the time of the last success does not change")
		}

		before := last
		m.put("heartbeat: 4m\nsweep-interval: never\nascii: 7\n")
		logs(
			"level=ERROR",
			m.file(),
			"keeping the previous settings",
			"config.yaml: ascii: must be true or false; ",
			"config.yaml: sweep-interval: must be a duration",
		)
		figures(1, 1, 3*time.Minute)
		logs("")
		if !last.Equal(before) {
			t.Error("a failure counts as a success")
		}

		m.do(os.Rename(m.file(), m.file()+".away"))
		logs("level=ERROR", "no such file", "create the file")
		figures(1, 2, 3*time.Minute)
		logs("")
		m.do(os.Rename(m.file()+".away", m.file()))
		logs("level=ERROR", "sweep-interval")
		figures(1, 3, 3*time.Minute)

		m.put("heartbeat: 3m\ndeny: [a.example]\n# good again\n")
		logs("level=INFO", `changed=""`)
		figures(2, 3, 3*time.Minute)

		m.put("cool-down: 2m\n")
		lines := after()
		if len(lines) != 2 || !strings.Contains(lines[0], `changed="deny, heartbeat"`) || !strings.Contains(lines[1], "level=WARN") ||
			!strings.Contains(lines[1], "settings=cool-down") {
			t.Errorf("a setting that a flag overrides: %q", lines)
		}
		figures(3, 3, 10*time.Minute)
		if l.Get().CoolDown != time.Minute {
			t.Error("the file overrides a flag")
		}
	})
}
