package agent

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/metrics"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/redact"
)

// TestRestart checks that a restarted agent publishes nothing before its first checks,
// handles no request twice and repeats no Event.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	image := examinetest.StartImages(t).Absent()
	w.pod("stuck", image, backOff)
	w.pod("runs", image, corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"})
	stop := w.agent()
	w.diagnosed("stuck", anyDiagnosis)
	asked := time.Now().Add(-time.Second) // the API has whole seconds
	w.annotate("stuck", "now")
	w.annotate("runs", "now")
	w.diagnosed("stuck", func(d report.Diagnosis) bool { return d.Asked == "now" })
	w.diagnosed("runs", func(d report.Diagnosis) bool { return d.Asked == "now" })
	w.until("the Event of each pod, renewed by the request", 10*time.Second, func() bool {
		return len(w.events("stuck")) == 1 && len(w.events("runs")) == 1 && w.events("stuck")[0].LastTimestamp.After(asked)
	})
	stop()

	// The first write of the next agent is recorded.
	var first atomic.Pointer[string]
	w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(rw, r)
		if r.Method == http.MethodPatch {
			_, cm, _ := w.report()
			labels := fmt.Sprint(cm.Labels[report.LabelStuck], " ", cm.Labels[report.LabelFault])
			first.CompareAndSwap(nil, &labels)
		}
	})
	before, _, _ := w.report()
	stop = w.agent()
	w.until("the first write", 10*time.Second, func() bool { return first.Load() != nil })
	if got := *first.Load(); got != "1 "+string(before.Fault) {
		t.Errorf("the restarted agent's first report has %q, want %q", got, "1 "+string(before.Fault))
	}
	d := w.diagnosed("stuck", func(d report.Diagnosis) bool { return d.Time.After(before.Time) })
	if d.Asked != "now" {
		t.Errorf("the request is lost: %q", d.Asked)
	}
	stop() // writes all that was to be written
	if n, m := len(w.events("stuck")), len(w.events("runs")); n != 1 || m != 1 {
		t.Errorf("%d and %d Events after the restart, want one each", n, m)
	}
	if n, _, _ := w.report(); n.Answered[uidOf(w, "runs")] != "now" {
		t.Errorf("what was answered is not remembered: %v", n.Answered)
	}

	// A new request with the same value is handled, too.
	writes := w.agentProxy.count("PATCH configmaps")
	w.agent()
	w.until("a report of the new agent", 10*time.Second, func() bool { return w.agentProxy.count("PATCH configmaps") > writes })
	last := w.events("stuck")[0].LastTimestamp.Time
	time.Sleep(time.Until(last.Add(time.Second))) // the API has whole seconds
	w.annotate("stuck", nil)
	w.annotate("stuck", "now")
	w.until("the Event is renewed", 10*time.Second, func() bool { return w.events("stuck")[0].LastTimestamp.After(last) })
	if e := w.events("stuck"); len(e) != 1 || !e[0].FirstTimestamp.Time.Before(last.Add(time.Second)) {
		t.Errorf("%d Events, the first one at %v", len(e), e[0].FirstTimestamp)
	}
}

func uidOf(w *world, pod string) string {
	n, _, _ := w.report()
	for uid := range n.Answered {
		_, body := w.do(http.MethodGet, w.podPath(pod), "application/json", nil)
		if strings.Contains(string(body), uid) {
			return uid
		}
	}
	return ""
}

// TestNothingIsPublishedBeforeTheFirstCheck checks that an agent that has checked nothing
// yet keeps the previous report.
func TestNothingIsPublishedBeforeTheFirstCheck(t *testing.T) {
	w := newWorld(t)
	w.pod("stuck", examinetest.StartImages(t).Absent(), backOff)
	held := make(chan struct{})
	hold := func(*Agent) {
		w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/pods") {
				select {
				case <-held:
				case <-r.Context().Done():
					return
				}
			}
			next.ServeHTTP(rw, r)
		})
	}
	stop := w.agent(hold, func(a *Agent) { go func() { a.publisher.MarkDirty() }() })
	w.until("a request for the pods", 10*time.Second, func() bool { return w.agentProxy.count("GET pods") > 0 })
	stop()
	if n := w.agentProxy.count("PATCH configmaps"); n != 0 {
		t.Errorf("%d reports of an agent that knows no pod", n)
	}
	close(held)
	w.agent()
	w.until("a report", 10*time.Second, func() bool { _, _, ok := w.report(); return ok })
	if n, _, _ := w.report(); n.Stuck != 1 || n.Fault == report.FaultNone {
		t.Errorf("the first report: %d stuck, %s", n.Stuck, n.Fault)
	}
}

// TestFailureIsExamined checks that a failure with another message is examined soon after
// it is reported, although the last verdict would still be valid.
func TestFailureIsExamined(t *testing.T) {
	w := newWorld(t)
	registry := examinetest.StartImages(t)
	image := registry.Absent()
	w.pod("stuck", image, backOff)
	w.agent(func(a *Agent) { a.cache.contradictedInterval = 100 * time.Millisecond })
	w.diagnosed("stuck", anyDiagnosis)
	asked := registry.Asked.Load()
	w.setWaiting("stuck", corev1.ContainerStateWaiting{
		Reason:  "ErrImagePull",
		Message: `failed to pull and unpack image "` + image + `": failed to resolve reference "` + image + `": ` + image + `: not found`,
	})
	w.until("a second examination", 5*time.Second, func() bool { return registry.Asked.Load() > asked })
}

// TestRecoveredIsNotForEver checks that a pod whose pull goes on failing does not stay
// Recovered because the test pulls succeed.
func TestRecoveredIsNotForEver(t *testing.T) {
	w := newWorld(t)
	fails := func(n int) corev1.ContainerStateWaiting {
		return corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: fmt.Sprintf("unexpected failure of port %d", n)}
	}
	w.pod("stuck", "r.example/app:1", fails(0))
	w.agent(func(a *Agent) {
		a.cache.contradictedInterval = 50 * time.Millisecond
		a.cache.cfg.Examine = func(context.Context, examine.Subject, func(examine.Result)) examine.Result {
			return examine.Result{Final: true, Redactor: redact.New(), Checks: []report.Check{
				{ID: report.IDReference, Kind: report.KindReference, Outcome: report.Pass},
				{ID: report.IDPull, Kind: report.KindPull, Outcome: report.Pass, Evidence: map[string]string{}},
			}}
		}
	})
	w.diagnosed("stuck", func(d report.Diagnosis) bool { return d.Verdict.Cause == report.Recovered })
	for n := 1; n <= 2; n++ {
		time.Sleep(500 * time.Millisecond)
		w.setWaiting("stuck", fails(n))
	}
	d := w.diagnosed("stuck", func(d report.Diagnosis) bool { return d.Verdict.Cause != report.Recovered })
	if d.Verdict.Fault == report.FaultNone {
		t.Errorf("%+v", d.Verdict)
	}
}

// TestImageChangedInPlace checks that the kubelet's message about the image that a pod had
// before is not weighed for the one that it has now.
func TestImageChangedInPlace(t *testing.T) {
	w := newWorld(t)
	old := examinetest.StartImages(t).Absent()
	w.pod("stuck", old, corev1.ContainerStateWaiting{
		Reason:  "ImagePullBackOff",
		Message: `Back-off pulling image "` + old + `": ErrImagePull: failed to pull and unpack image "` + old + `": ` + old + `: not found`,
	})
	w.agent()
	w.diagnosed("stuck", anyDiagnosis)
	w.until("an Event about the first image", 10*time.Second, func() bool { return len(w.events("stuck")) == 1 })
	before := w.events("stuck")
	changed := strings.Replace(old, ":absent", ":other", 1)
	w.patch(w.podPath("stuck"), map[string]any{"spec": corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: changed}}}})
	d := w.diagnosed("stuck", func(d report.Diagnosis) bool { return d.Image == changed })
	if c := report.Find(d.Checks, report.IDPod); c.Cause != "" || c.Evidence[report.KeyAboutImage] != old || c.Evidence[report.KeyMessage] != "" {
		t.Errorf("%+v", c)
	}
	if c := report.Find(d.Checks, report.IDPull); c.Outcome != report.Skipped {
		t.Errorf("nothing has failed yet: %+v", c)
	}
	w.until("an Event about the other image", 10*time.Second, func() bool { return w.events("stuck")[0].Message != before[0].Message })
	if all := w.events("stuck"); len(all) != 1 || strings.Contains(all[0].Message, "TagNotFound") {
		t.Errorf("Events by the old message: %+v", all)
	}
}

// TestOneExaminationForAll checks that one finding causes one write and one Event, and
// that 50 replicas that wait for the same image cause one examination.
func TestOneExaminationForAll(t *testing.T) {
	w := newWorld(t)
	registry := examinetest.StartImages(t)
	image := registry.Absent()
	w.pod("alone", image, backOff)
	w.agent()
	w.diagnosed("alone", anyDiagnosis)
	w.until("its Event", 10*time.Second, func() bool { return len(w.events("alone")) == 1 })
	one := registry.Asked.Load()
	if one == 0 {
		t.Fatal("the registry was not asked")
	}
	const replicas = 50
	for i := range replicas {
		w.pod(fmt.Sprintf("replica-%d", i), image, backOff)
	}
	w.until("all verdicts", 30*time.Second, func() bool {
		n, _, _ := w.report()
		return n.Stuck == replicas+1 && len(n.Diagnoses) == 1 && n.Diagnoses[0].Pods.Count == replicas+1
	})
	if n := registry.Asked.Load(); n != one {
		t.Errorf("the registry was asked %d times for %d pods, and %d times for the first", n, replicas+1, one)
	}
	w.until("an Event for each", 30*time.Second, func() bool { return len(w.events(fmt.Sprintf("replica-%d", replicas-1))) == 1 })
}

// TestWritesOnChangeOnly checks that an examination with the same result causes no
// write, that an Event causes none, and that a request does.
func TestWritesOnChangeOnly(t *testing.T) {
	w := newWorld(t)
	w.pod("stuck", examinetest.StartImages(t).Absent(), backOff)
	var ended atomic.Int32
	w.agent(func(a *Agent) {
		a.examiner.Puller = nil
		run := a.cache.cfg.Examine
		a.cache.cfg.MaxAge = func() time.Duration { return 200 * time.Millisecond } // so that it is examined often
		a.cache.cfg.Examine = func(ctx context.Context, s examine.Subject, early func(examine.Result)) examine.Result {
			defer ended.Add(1)
			return run(ctx, s, early)
		}
	})
	w.diagnosed("stuck", anyDiagnosis)
	w.until("ten more examinations", 20*time.Second, func() bool { return ended.Load() > 10 })
	if n, m := w.agentProxy.count("PATCH configmaps"), w.agentProxy.count("PATCH events"); n != 1 || m != 1 {
		t.Errorf("%d writes of the report and %d Events for one finding", n, m)
	}
	w.annotate("stuck", "now")
	w.diagnosed("stuck", func(d report.Diagnosis) bool { return d.Asked == "now" })
	w.until("the answer's Event", 10*time.Second, func() bool { return w.agentProxy.count("PATCH events") == 2 })
	if n := w.agentProxy.count("PATCH configmaps"); n > 2 {
		t.Errorf("%d writes of the report for one finding and one request", n)
	}
}

// TestEventWithoutAnswer checks that an Event is written once although the API
// server's answer is lost.
func TestEventWithoutAnswer(t *testing.T) {
	w := newWorld(t)
	w.pod("stuck", examinetest.StartImages(t).Absent(), backOff)
	var posts atomic.Int32
	w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/events/") && posts.Add(1) <= 2 {
			next.ServeHTTP(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler) // accepted, and the connection breaks
		}
		next.ServeHTTP(rw, r)
	})
	w.agent()
	w.until("a third attempt", 20*time.Second, func() bool { return posts.Load() >= 3 })
	w.until("its Event", 5*time.Second, func() bool { return len(w.events("stuck")) > 0 })
	if list := w.events("stuck"); len(list) != 1 {
		t.Errorf("%d Events for one diagnosis", len(list))
	}
}

// discard is a response that is lost.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// TestFixedSecret checks that a fixed secret is noticed before the examination is due
// again.
func TestFixedSecret(t *testing.T) {
	w := newWorld(t)
	registry := examinetest.StartImages(t)
	host := strings.TrimPrefix(registry.URL, "http://")
	secret := func(password string) map[string]any {
		return map[string]any{"type": "kubernetes.io/dockerconfigjson", "metadata": map[string]any{"name": "login"},
			"stringData": map[string]any{".dockerconfigjson": fmt.Sprintf(`{"auths":{%q:{"username":"u","password":%q}}}`, host, password)}}
	}
	w.post("/api/v1/namespaces/"+w.ns+"/secrets", secret("wrong"))
	w.pod("stuck", registry.Absent(), backOff, "login")
	var examined atomic.Int32
	w.agent(func(a *Agent) {
		run := a.cache.cfg.Examine
		a.cache.cfg.Examine = func(ctx context.Context, s examine.Subject, early func(examine.Result)) examine.Result {
			defer examined.Add(1)
			x := run(ctx, s, early)
			for i := range x.Checks { // as if the runtime were there, so that it holds for a minute
				if x.Checks[i].ID == "runtime" {
					x.Checks[i].Outcome, x.Checks[i].Cause = report.Pass, ""
				}
			}
			return x
		}
		a.cache.secretsInterval = 100 * time.Millisecond
	})
	w.diagnosed("stuck", anyDiagnosis)
	gets := w.agentProxy.count("GET secrets")
	w.until("reads of the secret", 20*time.Second, func() bool { return w.agentProxy.count("GET secrets") > gets+3 })
	if n := examined.Load(); n != 1 {
		t.Errorf("%d examinations, and nothing has changed", n)
	}
	w.patch("/api/v1/namespaces/"+w.ns+"/secrets/login", secret("right"))
	w.until("another examination", 20*time.Second, func() bool { return examined.Load() == 2 })
}

// TestSlowAPIServer checks that neither a secret that cannot be read nor an API server
// that is slow with Events delays the verdicts on other pods.
func TestSlowAPIServer(t *testing.T) {
	w := newWorld(t)
	image := examinetest.StartImages(t).Absent()
	release := make(chan struct{})
	w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/secrets/") || strings.Contains(r.URL.Path, "/events/") {
			select {
			case <-release:
			case <-r.Context().Done():
				return
			}
		}
		next.ServeHTTP(rw, r)
	})
	for i := range 20 {
		w.pod(fmt.Sprintf("hangs-%d", i), fmt.Sprintf("%s-%d", image, i), backOff, "login", "other", "third")
	}
	w.agent()
	t.Cleanup(func() { close(release) })
	began := time.Now()
	w.pod("quick", image, backOff)
	w.diagnosed("quick", anyDiagnosis)
	w.diagnosed("hangs-19", anyDiagnosis)
	t.Logf("all verdicts after %v", time.Since(began).Round(time.Millisecond))
}

var creating = corev1.ContainerStateWaiting{Reason: "ContainerCreating"}

// TestHungRuntimeIsNotCalledForEveryPod checks that a runtime that does not answer is not called
// for every pod.
func TestHungRuntimeIsNotCalledForEveryPod(t *testing.T) {
	var c runtimeCalls
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	if c.call(t.Context(), hangs) {
		t.Error("no answer is taken for one")
	}
	if c.call(t.Context(), func(context.Context) error { t.Error("asked again at once"); return nil }) {
		t.Error("an answer out of nothing")
	}
	c.backoffUntil = time.Now()
	if !c.call(t.Context(), func(context.Context) error { return nil }) {
		t.Error("it is back, and not asked")
	}
}

// TestHungRuntime checks that every pod gets a verdict while the runtime hangs.
func TestHungRuntime(t *testing.T) {
	w := newWorld(t)
	w.runtime = examinetest.Silent(t, "unix", filepath.Join(t.TempDir(), "r.sock")).Addr().String()
	image := examinetest.StartImages(t).Absent()
	for i := range 20 {
		w.pod(fmt.Sprintf("creating-%d", i), fmt.Sprintf("%s-%d", image, i), creating)
	}
	w.pod("stuck", image, backOff)
	began := time.Now()
	w.agent()
	w.diagnosed("stuck", func(d report.Diagnosis) bool { return d.Verdict.Cause == report.RuntimeUnavailable })
	w.until(
		"all other verdicts",
		time.Minute,
		func() bool { n, _, _ := w.report(); return n.Stuck == 21 && len(n.Diagnoses)+n.Omitted == 21 },
	)
	t.Logf("all verdicts after %v", time.Since(began).Round(time.Millisecond))
}

// TestBehindAnotherPull checks that a pod that waits behind a hanging pull of another
// pod gets that pod's name, also when it is known only later.
func TestBehindAnotherPull(t *testing.T) {
	w := newWorld(t)
	w.pod("hog", examinetest.Silent(t, "tcp", "127.0.0.1:0").Addr().String()+"/hog:1", creating)
	w.patch(
		w.podPath("hog")+"/status",
		map[string]any{"status": map[string]any{"startTime": time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)}},
	)
	w.pod("good", examinetest.StartImages(t).Absent(), creating)
	w.agent()
	d := w.diagnosed("good", func(d report.Diagnosis) bool { return report.Find(d.Checks, "queue").Evidence["aheadHangs"] == "true" })
	c := report.Find(d.Checks, "queue")
	if c.Evidence["ahead"] != w.ns+"/hog" || !strings.Contains(c.Summary, w.ns+"/hog") ||
		!strings.HasSuffix(c.Evidence["aheadImage"], "/hog:1") {
		t.Errorf("%+v", c)
	}
	hog := w.diagnosed("hog", anyDiagnosis)
	if c := report.Find(hog.Checks, "queue"); c.Evidence["ahead"] != "" {
		t.Errorf("the first waits behind the second: %+v", c)
	}
	// When the hanging pull is gone, nothing comes first.
	if code, out := w.do(http.MethodDelete, w.podPath("hog")+"?gracePeriodSeconds=0", "application/json", nil); code/100 != 2 {
		t.Fatalf("%d %s", code, out)
	}
	w.diagnosed("good", func(d report.Diagnosis) bool { return report.Find(d.Checks, "queue").Evidence["ahead"] == "" })
}

// FuzzApplyPrevious checks that the agent starts whatever is in the existing report.
func FuzzApplyPrevious(f *testing.F) {
	for _, s := range []string{
		"", "{", `{"schema":"pullprobe.dev/v1","node":"n","answered":{"u":"now"},"diagnoses":[{"uid":"u","asked":"now","verdict":{"cause":"TagNotFound"}}]}`,
		`{"schema":"pullprobe.dev/v1","node":"n","answered":null,"diagnoses":[null,{}]}`, `{"schema":"pullprobe.dev/v2","node":"n","answered":{"u":"now"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		r := restorer{
			node:      "n",
			announcer: newAnnouncer(func() time.Duration { return time.Minute }, func(kube.Event) {}),
			pods:      pods.NewStore(pods.StoreConfig{}),
			incidents: newIncidents(func(report.Incident) {}),
			sweeper:   sweep.New(sweep.Config{}),
		}
		r.apply(data)
	})
}

// TestAgentCounts checks the metrics of a working agent: what it sees of pods, what it
// finds, what it writes.
func TestAgentCounts(t *testing.T) {
	w := newWorld(t)
	image := examinetest.StartImages(t).Absent()
	w.pod("before", image, backOff)
	var m *metrics.Metrics
	w.agent(func(a *Agent) { m = a.metrics })
	w.diagnosed("before", anyDiagnosis)
	w.pod("stuck", image, backOff)
	w.diagnosed("stuck", anyDiagnosis)
	registry, _, _ := strings.Cut(image, "/")
	got := scrape(t, m)
	for _, want := range []string{
		`pullprobe_pod_images_total{registry="` + registry + `",result="failed"} 1`,
		`pullprobe_pod_image_failures_total{cause="TagNotFound",reason="ImagePullBackOff",registry="` + registry + `"} 1`,
		`pullprobe_diagnoses_total{cause="RuntimeUnavailable",`,
		`pullprobe_test_pulls_total{reason="runtimeUnavailable",result="skipped"} 1`,
		"pullprobe_runtime_ready 0",
		`pullprobe_node_fault{cause="RuntimeUnavailable",check="runtime",`,
		"pullprobe_stuck_pods 2",
		`pullprobe_stuck_pods_by_cause{cause="RuntimeUnavailable",fault="node-infrastructure"} 2`,
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	w.until("the time of a write", 5*time.Second, func() bool {
		return strings.Contains(scrape(t, m), "\npullprobe_report_written_timestamp_seconds ")
	})
}

// scrape returns the metrics as text.
func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}
