package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/report"
)

// mounted is a directory such as the kubelet mounts a ConfigMap at.
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

// put changes the content as the kubelet does: a new directory, and a symbolic
// link that is renamed onto the old one (pkg/volume/util/atomic_writer.go).
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

// take gives what was written since the last time.
func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func TestReload(t *testing.T) {
	m := newMounted(t, "heartbeat: 2m\n")
	opts, err := ParseOptions([]string{"--node-name=n", "--config=" + m.file(), "--cool-down=1m"}, func(string) string { return "" }, new(strings.Builder))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		l := newLive(opts.Settings)
		var taken, refused int
		var last time.Time // when a file was taken
		r := newReloader(opts, l, slog.New(slog.NewTextHandler(&log, nil)), func(ok bool, at time.Time) {
			if !ok {
				refused++
				return
			}
			taken, last = taken+1, at
		})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.run(ctx)
		// after gives what was logged over a minute, which is enough for six looks.
		after := func() []string {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			return strings.Split(strings.TrimSuffix(log.take(), "\n"), "\n")
		}
		said := func(words ...string) {
			t.Helper()
			lines := after()
			if len(lines) != 1 {
				t.Errorf("%d lines: %q", len(lines), lines)
			}
			for _, w := range words {
				if !strings.Contains(lines[0], w) {
					t.Errorf("%q, want %q", lines[0], w)
				}
			}
		}
		figures := func(ok, failed int, heartbeat time.Duration) {
			t.Helper()
			if taken != ok+1 || refused != failed || l.get().Heartbeat != heartbeat { // the first is the one at the start
				t.Errorf("%d taken, %d failed, heartbeat %v; want %d, %d, %v", taken-1, refused, l.get().Heartbeat, ok, failed, heartbeat)
			}
		}

		began := last
		said("")
		figures(0, 0, 2*time.Minute)

		_, replaced := l.watch()
		m.put("heartbeat: 3m\ndeny: [a.example]\n")
		said("level=INFO", m.file(), `changed="deny, heartbeat"`)
		figures(1, 0, 3*time.Minute)
		select {
		case <-replaced:
		default:
			t.Error("nobody is told")
		}
		if !last.After(began) {
			t.Error("the time of the last success stands still")
		}

		before := last
		m.put("heartbeat: 4m\nsweep-interval: never\nascii: 7\n")
		said("level=ERROR", m.file(), "stay in force", "config.yaml: ascii: must be true or false; ", "config.yaml: sweep-interval: must be a duration")
		figures(1, 1, 3*time.Minute)
		said("")
		if !last.Equal(before) {
			t.Error("a failure counts as a success")
		}

		m.do(os.Rename(m.file(), m.file()+".away"))
		said("level=ERROR", "no such file", "put the file there")
		figures(1, 2, 3*time.Minute)
		said("")
		m.do(os.Rename(m.file()+".away", m.file()))
		said("level=ERROR", "sweep-interval")
		figures(1, 3, 3*time.Minute)

		m.put("heartbeat: 3m\ndeny: [a.example]\n# good again\n")
		said("level=INFO", `changed=""`)
		figures(2, 3, 3*time.Minute)

		m.put("cool-down: 2m\n")
		lines := after()
		if len(lines) != 2 || !strings.Contains(lines[0], `changed="deny, heartbeat"`) || !strings.Contains(lines[1], "level=WARN") || !strings.Contains(lines[1], "settings=cool-down") {
			t.Errorf("a setting that a flag overrides: %q", lines)
		}
		figures(3, 3, 10*time.Minute)
		if l.get().CoolDown != time.Minute {
			t.Error("the file overrides a flag")
		}
	})
}

// Whoever needs a setting asks for the one that holds.
func TestSettingsAreLive(t *testing.T) {
	s := defaultSettings()
	a, err := New(Options{NodeName: "n", Kubeconfig: kubeconfig(t, "http://127.0.0.1:1"), RuntimeEndpoint: "unix:///does/not/exist", Workers: 1, Settings: s}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	pulls := func() bool { return a.examiner.Policy().TestPull }
	denied := func() int { return len(a.examiner.Policy().Deny) }
	largest := func(p *cri.Puller) int64 { return p.MaxBytes() }
	holds := func() time.Duration {
		return a.exams.holds(report.Verdict{Cause: report.TagNotFound}, 9, report.Check{})
	}
	if !pulls() || denied() != 0 || largest(a.puller) != cri.DefaultPullMaxBytes || holds() != 15*time.Minute || a.publish.nextHeartbeat() < 9*time.Minute {
		t.Errorf("at the start: %t %d %d %v", pulls(), denied(), largest(a.puller), holds())
	}
	s.TestPull, s.PullMaxBytes, s.CoolDown, s.Heartbeat = false, 7, time.Minute, time.Minute
	s.Deny = []guard.Pattern{{}}
	a.live.set(s)
	if pulls() || denied() != 1 || largest(a.puller) != 7 || holds() != time.Minute || a.publish.nextHeartbeat() > 2*time.Minute {
		t.Errorf("after a reload: %t %d %d %v", pulls(), denied(), largest(a.puller), holds())
	}
}

// What was examined under other settings is examined anew, and a host that is
// denied since is left alone.
func TestReloadExaminesAnew(t *testing.T) {
	w := newWorld(t)
	registry := examinetest.StartImages(t)
	w.pod("stuck", registry.Absent(), backOff)
	var a *Agent
	w.agent(func(started *Agent) { a = started })
	w.diagnosed("stuck", func(d report.Diagnosis) bool {
		_, denied := guard.FirstDenied(d.Checks)
		return !denied
	})
	asked := registry.Asked.Load()
	deny, err := guard.ParsePattern("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	s := a.live.get()
	s.Deny = []guard.Pattern{deny}
	a.live.set(s)
	// By itself it would be after 10 s: the runtime is away.
	w.until("a diagnosis under the new settings", 5*time.Second, func() bool {
		n, _, _ := w.report()
		_, denied := guard.FirstDenied(n.Diagnoses[0].Checks)
		return denied
	})
	if n := registry.Asked.Load(); asked == 0 || n != asked {
		t.Errorf("asked %d times before and %d times after", asked, n)
	}
}

// A shorter heartbeat does not wait for the end of the longer one before it.
func TestHeartbeatIsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writes := 0
		answer := roundTrip(func(*http.Request) (*http.Response, error) {
			writes++
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
		})
		client, err := rest.RESTClientForConfigAndClient(&rest.Config{Host: "http://api.example", APIPath: "/api", ContentConfig: rest.ContentConfig{
			GroupVersion: &corev1.SchemeGroupVersion, NegotiatedSerializer: serializer.NewCodecFactory(runtime.NewScheme()),
		}}, &http.Client{Transport: answer})
		if err != nil {
			t.Fatal(err)
		}
		s := defaultSettings()
		s.Heartbeat = time.Hour
		ready := make(chan struct{})
		close(ready)
		p := &publisher{
			metrics: newMetrics("test"),
			kube:    &kube{client: client}, log: slog.New(slog.DiscardHandler), node: "n", namespace: "ns", settings: newLive(s), uid: "uid",
			snapshot: func() report.Node { return report.Node{Time: time.Now()} }, dirty: make(chan struct{}, 1), ready: ready,
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go p.run(ctx)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if writes != 1 {
			t.Errorf("%d writes in a sixth of a heartbeat", writes)
		}
		s.Heartbeat = time.Minute
		p.settings.set(s)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if writes < 9 {
			t.Errorf("%d writes in ten heartbeats", writes)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
