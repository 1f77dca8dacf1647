//go:build load

package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/agent/turns"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// What the load is made of.
const (
	loadPods       = 1000
	loadNamespaces = 4
	loadRegistries = 50
)

// loaded is the result of a load test.
type loaded struct {
	all       time.Duration // until the last verdict
	lone      int           // examinations that ended between the lone pod and its verdict
	left      int           // examinations that were still to come then
	requests  int           // to all registries
	most      int           // to one registry in one second
	each      float64       // requests of an examination, on the average
	heap, rss uint64        // at the peak, of the whole test process
	blind     int           // verdicts without the pull secret, which could not be read in time
	live      uint64        // heap that is in use in the end, beyond that before the agent
}

// busy is a registry that fails in one way and records the times of requests.
type busy struct {
	host  string
	fails string

	mu    sync.Mutex
	times []time.Time
}

func (b *busy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.times = append(b.times, time.Now())
	b.mu.Unlock()
	switch b.fails {
	case "hangs":
		<-r.Context().Done()
	case "limits":
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	case "requires a login":
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
		}
	}
}

// most returns the most requests within one second.
func (b *busy) most() (most int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.times {
		n, _ := slices.BinarySearchFunc(b.times[i:], b.times[i].Add(time.Second), time.Time.Compare)
		most = max(most, n)
	}
	return most
}

// fault spreads the faults over the registries.
func fault(i int) string {
	switch {
	case i%16 == 15:
		return "hangs"
	case i%5 == 1:
		return "requires a login"
	case i%5 == 2:
		return "limits"
	case i%5 == 3:
		return "refuses"
	}
	return "has nothing"
}

// load runs an agent against 1,000 stuck pods, and one that comes later.
func load(t testing.TB) (out loaded) {
	w := newWorld(t)
	w.logs = io.Discard // a thousand diagnoses
	var registries []*busy
	for i := range loadRegistries {
		b := &busy{fails: fault(i)}
		s := httptest.NewUnstartedServer(b)
		b.host = s.Listener.Addr().String()
		if b.fails == "refuses" {
			s.Listener.Close()
		} else {
			s.Start()
			t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
		}
		registries = append(registries, b)
	}
	namespaces := []string{w.ns}
	for i := range loadNamespaces {
		namespaces = append(namespaces, fmt.Sprintf("%s-%d", w.ns, i))
		w.post("/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": namespaces[i+1]}})
	}
	for _, ns := range namespaces {
		w.post("/api/v1/namespaces/"+ns+"/secrets", map[string]any{
			"type": "kubernetes.io/dockerconfigjson", "metadata": map[string]any{"name": "login"},
			"stringData": map[string]any{".dockerconfigjson": `{"auths":{"127.0.0.1":{"username":"u","password":"secret-of-load"}}}`},
		})
	}
	stuck := func(ns, name, image string, secrets ...string) {
		made := corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.PodSpec{NodeName: w.node, Containers: []corev1.Container{{Name: "app", Image: image}}},
		}
		for _, s := range secrets {
			made.Spec.ImagePullSecrets = append(made.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
		}
		status := corev1.PodStatus{
			Phase: corev1.PodPending, StartTime: &metav1.Time{Time: time.Now().Add(-time.Minute)},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{Waiting: &backOff}}},
		}
		path := "/api/v1/namespaces/" + ns + "/pods"
		if code, text := w.do(http.MethodPost, path, "application/json", made); code/100 != 2 {
			t.Errorf("POST %s: %d %s", path, code, text)
		}
		if code, text := w.do(http.MethodPatch, path+"/"+name+"/status", "application/merge-patch+json", map[string]any{"status": status}); code/100 != 2 {
			t.Errorf("PATCH %s: %d %s", path, code, text)
		}
	}
	var making sync.WaitGroup
	for worker := range 8 {
		making.Go(func() {
			for i := worker; i < loadPods; i += 8 {
				// Half of all pods are in the first namespace.
				ns := 1
				if i%2 == 1 {
					ns += i / 2 % loadNamespaces
				}
				var secrets []string
				if i%4 == 0 {
					secrets = []string{"login"}
				}
				stuck(namespaces[ns], fmt.Sprintf("pod-%d", i), fmt.Sprintf("%s/app:v%d", registries[i%loadRegistries].host, i), secrets...)
			}
		})
	}
	making.Wait()
	if t.Failed() {
		t.FailNow()
	}

	lone := registries[0].host + "/lone:1"
	var mu sync.Mutex
	var ended []string
	var began atomic.Int32
	var a *Agent
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	// What the test itself needs is there before.
	idle := inUse()
	start := time.Now()
	w.agent(func(started *Agent) {
		a = started
		a.examiner.Puller = nil
		run := a.cache.cfg.Examine
		a.cache.cfg.Examine = func(ctx context.Context, s examine.Subject, early func(examine.Result)) examine.Result {
			began.Add(1)
			x := run(ctx, s, early)
			withRuntime(x)
			mu.Lock()
			ended = append(ended, s.Image)
			mu.Unlock()
			return x
		}
	})
	done := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(ended)
	}
	measure := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		out.heap = max(out.heap, m.HeapInuse)
	}
	w.until("the first examinations", 20*time.Second, func() bool { return done() >= loadPods/10 })
	before := done()
	stuck(w.ns, "lone", lone)
	w.until("the verdict on the lone pod", 30*time.Second, func() bool { measure(); _, ok := a.verdictOf(w.ns + "/lone"); return ok })
	mu.Lock()
	out.lone = slices.Index(ended, lone) - before
	mu.Unlock()
	out.left = loadPods - done()
	w.until("all verdicts", 2*time.Minute, func() bool {
		measure()
		all, _ := a.results.list()
		return len(all) == loadPods+1
	})
	out.all = time.Since(start)
	all, _ := a.results.list()
	for _, d := range all {
		if report.Find(d.Checks, "credentials").Outcome == report.Skipped {
			out.blind++
		}
	}
	w.until("all of them in the report", 20*time.Second, func() bool {
		n, _, _ := w.report()
		return n.Stuck == loadPods+1 && podsOf(n) == loadPods+1
	})
	for _, b := range registries {
		out.requests += len(b.times)
		out.most = max(out.most, b.most())
	}
	out.each = float64(out.requests) / float64(began.Load())
	out.rss = peakRSS()
	out.live = inUse() - idle
	return out
}

func (a *Agent) verdictOf(pod string) (cause string, ok bool) {
	all, _ := a.results.list()
	for _, d := range all {
		if d.Pod == pod {
			return string(d.Verdict.Cause), true
		}
	}
	return "", false
}

// peakRSS returns the peak memory use of the process, in bytes.
func peakRSS() uint64 {
	text, _ := os.ReadFile("/proc/self/status")
	var kb uint64
	if _, rest, ok := strings.Cut(string(text), "VmHWM:"); ok {
		_, _ = fmt.Sscan(rest, &kb)
	}
	return kb << 10
}

// TestLoad checks that each of 1,000 stuck pods gets its verdict, that no registry
// gets more than its rate, and that the last pod does not wait for those before.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time")
	}
	l := load(t)
	t.Logf(
		"%d pods on %d registries: all verdicts after %v; the lone pod's after %d other examinations, %d were left",
		loadPods,
		loadRegistries,
		l.all.Round(time.Millisecond),
		l.lone,
		l.left,
	)
	t.Logf(
		"%d requests, %.1f an examination, at most %d in a second to one registry; heap %d MiB, RSS %d MiB at the peak, the test's own servers included; the agent keeps %d MiB",
		l.requests,
		l.each,
		l.most,
		l.heap>>20,
		l.rss>>20,
		l.live>>20,
	)
	if l.all > time.Minute {
		t.Errorf("all verdicts after %v", l.all)
	}
	if l.blind > 0 {
		t.Errorf("%d verdicts without the pull secret", l.blind)
	}
	if l.lone > 40 || l.left < loadPods/4 {
		t.Errorf("the lone pod waits for %d examinations of others, %d are left", l.lone, l.left)
	}
	const perExamination = 10
	if limit := (turns.BurstSeconds + 1) * 4 * perExamination; l.most > limit {
		t.Errorf("%d requests in a second to one registry, want at most %d", l.most, limit)
	}
	if l.each > perExamination {
		t.Errorf("%.1f requests an examination", l.each)
	}
	if l.heap > 200<<20 || l.live > 50<<20 {
		t.Errorf("%d MiB of heap, %d of it kept by the agent", l.heap>>20, l.live>>20)
	}
}

func BenchmarkLoad(b *testing.B) {
	for range b.N {
		l := load(b)
		b.ReportMetric(l.all.Seconds(), "s/all")
		b.ReportMetric(float64(l.lone), "examinations/lone")
		b.ReportMetric(float64(l.requests), "requests")
		b.ReportMetric(float64(l.most), "requests/s/registry")
		b.ReportMetric(float64(l.heap>>20), "MiB-heap")
		b.ReportMetric(float64(l.rss>>20), "MiB-rss")
		b.ReportMetric(float64(l.live>>20), "MiB-kept")
		b.ReportMetric(0, "ns/op")
	}
}
