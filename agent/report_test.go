package agent

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/report"
)

// sweeping has an agent sweep these registries, and gives it to the test.
func sweeping(into **Agent, targets ...string) func(*Agent) {
	return func(a *Agent) {
		*into = a
		a.sweeper.settings = func() Settings {
			return Settings{SweepInterval: time.Hour, SweepDeadline: 2 * time.Second, SweepConcurrency: 8, Targets: targets}
		}
	}
}

func (w *world) swept(what string, ok func(*report.Sweep) bool) report.Node {
	w.t.Helper()
	var n report.Node
	w.until(what, 20*time.Second, func() bool {
		n, _, _ = w.report()
		return n.Sweep != nil && ok(n.Sweep)
	})
	return n
}

// The registries of a node stand in its report, whether or not a pod is stuck;
// what happens to one is told once.
func TestSweepIsPublished(t *testing.T) {
	w := newWorld(t)
	registry := examinetest.StartImages(t)
	host := strings.TrimPrefix(registry.URL, "http://")
	var a *Agent
	w.agent(sweeping(&a, host))
	n := w.swept("a sweep", func(s *report.Sweep) bool { return len(s.Registries) == 1 && s.Registries[0].State == report.Reachable })
	if n.Fault != report.FaultNone || n.Stuck != 0 {
		t.Errorf("%s, %d stuck", n.Fault, n.Stuck)
	}
	writes := w.way.count("PATCH configmaps")
	registry.CloseClientConnections()
	registry.Listener.Close()
	a.sweeper.now()
	n = w.swept("the registry's end", func(s *report.Sweep) bool { return s.Registries[0].State == report.Unreachable })
	if r := n.Sweep.Registries[0]; r.Cause != report.ConnectionRefused {
		t.Errorf("%+v", r)
	}
	_, cm, _ := w.report()
	if cm.Labels[labelBad] != "1" || !strings.Contains(cm.Data[summaryKey], "1 of 1 registry is unreachable") {
		t.Errorf("%v\n%s", cm.Labels, cm.Data[summaryKey])
	}
	w.until("an Event on the Node", 10*time.Second, func() bool { return len(w.nodeEvents()) == 1 })
	if e := w.nodeEvents()[0]; e.Reason != "RegistryUnreachable" || e.Type != corev1.EventTypeWarning || !strings.Contains(e.Message, string(report.ConnectionRefused)) {
		t.Errorf("%+v", e)
	}
	began := time.Now()
	a.sweeper.now()
	w.until("another sweep", 10*time.Second, func() bool { return a.sweeper.endedAfter(began) })
	if got := w.way.count("PATCH configmaps"); got != writes+1 {
		t.Errorf("%d writes for one change", got-writes)
	}
}

func (w *world) nodeEvents() (out []corev1.Event) {
	w.t.Helper()
	for _, e := range w.eventsIn("default", w.node) {
		if e.InvolvedObject.Kind == "Node" {
			out = append(out, e)
		}
	}
	return out
}

// What somebody else does to the report is mended with the next sweep.
func TestReportIsMended(t *testing.T) {
	w := newWorld(t)
	var a *Agent
	w.agent(sweeping(&a, strings.TrimPrefix(examinetest.StartImages(t).URL, "http://")))
	w.swept("a sweep", func(s *report.Sweep) bool { return len(s.Registries) == 1 })
	path := "/api/v1/namespaces/" + w.ns + "/configmaps/pullprobe-" + w.node

	w.patch(path, map[string]any{"data": map[string]string{summaryKey: "all is well, says somebody"}, "metadata": map[string]any{"labels": map[string]string{labelFault: "none-of-your-business"}}})
	a.sweeper.now()
	w.until("the summary again", 10*time.Second, func() bool {
		_, cm, _ := w.report()
		return strings.HasPrefix(cm.Data[summaryKey], w.node) && cm.Labels[labelFault] == string(report.FaultNone)
	})

	if code, out := w.do(http.MethodDelete, path, "application/json", nil); code != http.StatusOK {
		t.Fatalf("%d %s", code, out)
	}
	a.sweeper.now()
	w.until("the report again", 10*time.Second, func() bool { _, _, ok := w.report(); return ok })
}

// What the agent itself is just writing is not somebody else's change.
func TestOwnWriteIsNoSurprise(t *testing.T) {
	w := newWorld(t)
	log := &logged{}
	w.logs = log
	registry := examinetest.StartImages(t)
	host := strings.TrimPrefix(registry.URL, "http://")
	var a *Agent
	w.agent(sweeping(&a, host))
	w.swept("a sweep", func(s *report.Sweep) bool { return len(s.Registries) == 1 })
	const surprise = "somebody else"
	// A look at the report is held until one is being written, and the answer to
	// who writes until the agent wonders; either only for so long.
	written := make(chan struct{}, 100)
	w.way.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.Contains(r.URL.Path, "/configmaps/") {
			next.ServeHTTP(rw, r)
			return
		}
		if r.Method != http.MethodPatch {
			select {
			case <-written:
			case <-time.After(500 * time.Millisecond):
			}
			next.ServeHTTP(rw, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		written <- struct{}{}
		for end := time.Now().Add(time.Second); time.Now().Before(end) && !strings.Contains(log.String(), surprise); {
			time.Sleep(10 * time.Millisecond)
		}
		maps.Copy(rw.Header(), answer.Header())
		rw.WriteHeader(answer.Code)
		_, _ = rw.Write(answer.Body.Bytes())
	})
	registry.CloseClientConnections()
	registry.Listener.Close()
	began := time.Now()
	a.sweeper.now()
	w.swept("the registry's end", func(s *report.Sweep) bool { return s.Registries[0].State == report.Unreachable })
	a.sweeper.now()
	w.until("another sweep", 10*time.Second, func() bool { return a.sweeper.endedAfter(began) })
	w.until("a look at the report", 10*time.Second, func() bool { return w.way.count("GET configmaps") > 1 })
	if strings.Contains(log.String(), surprise) {
		t.Errorf("the agent takes its own writing for another's:\n%s", log)
	}
}

// A Node that was removed and registered again has another UID: a report that
// belonged to the old one would be removed again and again.
func TestNodeIsReplaced(t *testing.T) {
	w := newWorld(t)
	var a *Agent
	w.agent(sweeping(&a, strings.TrimPrefix(examinetest.StartImages(t).URL, "http://")))
	owner := func() string {
		_, cm, ok := w.report()
		if !ok || len(cm.OwnerReferences) != 1 {
			return ""
		}
		return string(cm.OwnerReferences[0].UID)
	}
	w.until("a report", 20*time.Second, func() bool { return owner() != "" })
	old := owner()
	for _, path := range []string{"/api/v1/nodes/" + w.node, "/api/v1/namespaces/" + w.ns + "/configmaps/pullprobe-" + w.node} { // the second is the garbage collector's part
		if code, out := w.do(http.MethodDelete, path, "application/json", nil); code != http.StatusOK {
			t.Fatalf("%d %s", code, out)
		}
	}
	w.post("/api/v1/nodes", map[string]any{"metadata": map[string]any{"name": w.node}})
	a.sweeper.now()
	w.until("the report of the new Node", 10*time.Second, func() bool { return owner() != "" && owner() != old })
}

// Two agents of one node do not fight: each writes when it has news, and mends
// once a sweep at most.
func TestTwoAgents(t *testing.T) {
	w := newWorld(t)
	host := strings.TrimPrefix(examinetest.StartImages(t).URL, "http://")
	w.pod("stuck", host+"/app:absent", backOff)
	var a, b *Agent
	w.agent(sweeping(&a, host))
	stop := w.agent(sweeping(&b, host))
	w.diagnosed("stuck", whatever)
	for range 3 {
		before := w.way.count("PATCH configmaps")
		began := time.Now()
		a.sweeper.now()
		b.sweeper.now()
		w.until("both sweeps", 10*time.Second, func() bool { return a.sweeper.endedAfter(began) && b.sweeper.endedAfter(began) })
		if got := w.way.count("PATCH configmaps") - before; got > 4 {
			t.Errorf("%d writes in one round", got)
		}
	}
	stop()
	began := time.Now()
	a.sweeper.now()
	w.until("a sweep of the one that is left", 10*time.Second, func() bool { return a.sweeper.endedAfter(began) })
	n := w.swept("its report", func(s *report.Sweep) bool { return len(s.Registries) == 1 })
	if n.Stuck != 1 || len(n.Diagnoses) != 1 {
		t.Errorf("%d stuck, %d diagnoses", n.Stuck, len(n.Diagnoses))
	}
}

// Of 500 stuck pods the report holds as many as fit, the worst and the newest
// among them, and says how many do not.
func TestManyStuckPods(t *testing.T) {
	w := newWorld(t)
	image := examinetest.StartImages(t).Absent()
	const pods = 500
	for i := range pods - 1 {
		w.pod(fmt.Sprintf("stuck-%d", i), image, backOff)
	}
	w.agent()
	w.until("all verdicts", 2*time.Minute, func() bool {
		n, _, _ := w.report()
		return n.Stuck == pods-1 && len(n.Diagnoses)+n.Omitted == pods-1
	})
	// The newest is the worst, too: its pull runs into a hole.
	w.pod("newest", strings.TrimPrefix(examinetest.Silent(t, "tcp", "127.0.0.1:0").Addr().String(), "http://")+"/app:1", corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "i/o timeout"})
	w.diagnosed("newest", whatever)
	n, cm, _ := w.report()
	if size := len(cm.Data[summaryKey]) + len(cm.Data[reportKey]); size > report.MaxReport {
		t.Errorf("%d bytes", size)
	}
	if n.Stuck != pods || len(n.Diagnoses)+n.Omitted != pods || n.Omitted == 0 || cm.Labels[labelStuck] != fmt.Sprint(pods) {
		t.Errorf("%d stuck, %d diagnoses, %d left out", n.Stuck, len(n.Diagnoses), n.Omitted)
	}
	if !strings.Contains(cm.Data[summaryKey], fmt.Sprintf("%d more diagnoses left out", n.Omitted)) {
		t.Error("the summary does not say what is left out")
	}
}
