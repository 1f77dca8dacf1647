package agent

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/report"
)

// sweeping returns an edit that has the agent check these registries, and passes the
// agent to the test.
func sweeping(into **Agent, targets ...string) func(*Agent) {
	return func(a *Agent) {
		*into = a
		set := a.live.Get()
		set.SweepInterval, set.SweepDeadline, set.SweepConcurrency, set.Targets = time.Hour, 2*time.Second, 8, targets
		a.live.Set(set)
	}
}

func (w *world) swept(what string, ok func(*report.Sweep) bool) report.NodeReport {
	w.t.Helper()
	var n report.NodeReport
	w.until(what, 20*time.Second, func() bool {
		n, _, _ = w.report()
		return n.Sweep != nil && ok(n.Sweep)
	})
	return n
}

// TestSweepIsPublished checks that the report contains the node's registries although
// no pod is stuck, and that a change of one causes one Event.
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
	if f := w.facts(); f.At == 0 || f.Fresh < 3600 || len(f.Hosts) != 1 || f.Hosts[0].State != report.Reachable || f.Hosts[0].Used != "127.0.0.1" {
		t.Errorf("facts: %+v", f)
	}
	writes := w.agentProxy.count("PATCH configmaps")
	registry.CloseClientConnections()
	registry.Listener.Close()
	a.sweeper.SweepNow()
	n = w.swept("the registry's end", func(s *report.Sweep) bool { return s.Registries[0].State == report.Unreachable })
	if r := n.Sweep.Registries[0]; r.Cause != report.ConnectionRefused {
		t.Errorf("%+v", r)
	}
	_, cm, _ := w.report()
	if cm.Labels[report.LabelUnreachable] != "1" || !strings.Contains(cm.Data[report.SummaryKey], "1 of 1 host is unreachable") {
		t.Errorf("%v\n%s", cm.Labels, cm.Data[report.SummaryKey])
	}
	if f := w.facts(); f.Hosts[0].Cause != report.ConnectionRefused || !slices.Equal(f.Asks, []string{host}) {
		t.Errorf("facts: %+v", f)
	}
	w.until("an Event on the Node", 10*time.Second, func() bool { return len(w.nodeEvents()) == 1 })
	if e := w.nodeEvents()[0]; e.Reason != "RegistryUnreachable" || e.Type != corev1.EventTypeWarning ||
		!strings.Contains(e.Message, string(report.ConnectionRefused)) {
		t.Errorf("%+v", e)
	}
	began := time.Now()
	a.sweeper.SweepNow()
	w.until("another sweep", 10*time.Second, func() bool { return a.sweeper.EndedAfter(began) })
	if got := w.agentProxy.count("PATCH configmaps"); got != writes+1 {
		t.Errorf("%d writes for one change", got-writes)
	}
}

// facts returns what the node says to the others.
func (w *world) facts() nodefacts.Facts {
	w.t.Helper()
	_, cm, _ := w.report()
	f, err := nodefacts.Decode(cm.Annotations[nodefacts.Annotation])
	if err != nil {
		w.t.Error(err)
	}
	return f
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

// TestReportIsRestored checks that an external change of the report is reverted with the
// next sweep.
func TestReportIsRestored(t *testing.T) {
	w := newWorld(t)
	var a *Agent
	w.agent(sweeping(&a, strings.TrimPrefix(examinetest.StartImages(t).URL, "http://")))
	w.swept("a sweep", func(s *report.Sweep) bool { return len(s.Registries) == 1 })
	path := "/api/v1/namespaces/" + w.ns + "/configmaps/pullprobe-" + w.node

	w.patch(
		path,
		map[string]any{
			"data":     map[string]string{report.SummaryKey: "all is well"},
			"metadata": map[string]any{"labels": map[string]string{report.LabelFault: "none-of-your-business"}},
		},
	)
	a.sweeper.SweepNow()
	w.until("the summary again", 10*time.Second, func() bool {
		_, cm, _ := w.report()
		return strings.HasPrefix(cm.Data[report.SummaryKey], w.node) && cm.Labels[report.LabelFault] == string(report.FaultNone)
	})

	if code, out := w.do(http.MethodDelete, path, "application/json", nil); code != http.StatusOK {
		t.Fatalf("%d %s", code, out)
	}
	a.sweeper.SweepNow()
	w.until("the report again", 10*time.Second, func() bool { _, _, ok := w.report(); return ok })
}

// TestOwnWriteIsNoDrift checks that the agent does not take its own write for an
// external one.
func TestOwnWriteIsNoDrift(t *testing.T) {
	w := newWorld(t)
	log := &logged{}
	w.logs = log
	registry := examinetest.StartImages(t)
	host := strings.TrimPrefix(registry.URL, "http://")
	var a *Agent
	w.agent(sweeping(&a, host))
	w.swept("a sweep", func(s *report.Sweep) bool { return len(s.Registries) == 1 })
	const surprise = "changed or removed externally"
	// A read of the report waits for a write, and the response to a write until the
	// agent reports a change; both for a limited time only.
	written := make(chan struct{}, 100)
	w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
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
	a.sweeper.SweepNow()
	w.swept("the registry's end", func(s *report.Sweep) bool { return s.Registries[0].State == report.Unreachable })
	a.sweeper.SweepNow()
	w.until("another sweep", 10*time.Second, func() bool { return a.sweeper.EndedAfter(began) })
	w.until("a read of the report", 10*time.Second, func() bool { return w.agentProxy.count("GET configmaps") > 1 })
	if strings.Contains(log.String(), surprise) {
		t.Errorf("the agent takes its own write for an external one:\n%s", log)
	}
}

// TestNodeIsReplaced checks that the report gets the UID of a Node that was removed
// and registered again. A report that belongs to the old UID would be removed again
// and again.
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
	a.sweeper.SweepNow()
	w.until("the report of the new Node", 10*time.Second, func() bool { return owner() != "" && owner() != old })
}

// TestTwoAgents checks that two agents of one node do not fight: each writes when it
// has a change, and reverts the other's report once a sweep at most.
func TestTwoAgents(t *testing.T) {
	w := newWorld(t)
	host := strings.TrimPrefix(examinetest.StartImages(t).URL, "http://")
	w.pod("stuck", host+"/app:absent", backOff)
	var a, b *Agent
	w.agent(sweeping(&a, host))
	stop := w.agent(sweeping(&b, host))
	w.diagnosed("stuck", anyDiagnosis)
	for range 3 {
		before := w.agentProxy.count("PATCH configmaps")
		began := time.Now()
		a.sweeper.SweepNow()
		b.sweeper.SweepNow()
		w.until("both sweeps", 10*time.Second, func() bool { return a.sweeper.EndedAfter(began) && b.sweeper.EndedAfter(began) })
		if got := w.agentProxy.count("PATCH configmaps") - before; got > 4 {
			t.Errorf("%d writes in one round", got)
		}
	}
	stop()
	began := time.Now()
	a.sweeper.SweepNow()
	w.until("a sweep of the one that is left", 10*time.Second, func() bool { return a.sweeper.EndedAfter(began) })
	n := w.swept("its report", func(s *report.Sweep) bool { return len(s.Registries) == 1 })
	if n.Stuck != 1 || len(n.Diagnoses) != 1 {
		t.Errorf("%d stuck, %d diagnoses", n.Stuck, len(n.Diagnoses))
	}
}

// TestManyStuckPods checks that 500 pods which wait for the same reason are one diagnosis,
// and that the report is small.
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
		return n.Stuck == pods-1 && podsOf(n) == pods-1
	})
	w.pod(
		"newest",
		strings.TrimPrefix(examinetest.Silent(t, "tcp", "127.0.0.1:0").Addr().String(), "http://")+"/app:1",
		corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "i/o timeout"},
	)
	w.diagnosed("newest", anyDiagnosis)
	n, cm, _ := w.report()
	if size := len(cm.Data[report.SummaryKey]) + len(cm.Data[publish.ReportKey]); size > report.MaxReport {
		t.Errorf("%d bytes", size)
	}
	if n.Stuck != pods || len(n.Diagnoses) != 2 || podsOf(n) != pods || cm.Labels[report.LabelStuck] != fmt.Sprint(pods) {
		t.Errorf("%d stuck, %d diagnoses of %d pods", n.Stuck, len(n.Diagnoses), podsOf(n))
	}
	summary := strings.Join(strings.Fields(cm.Data[report.SummaryKey]), " ")
	if !strings.HasPrefix(summary, w.node+": 500 pods are waiting for an image, for 2 reasons") ||
		!strings.Contains(summary, " 499 pods since ") || !strings.Contains(summary, " and 498 others ") {
		t.Errorf("%s", summary)
	}
}
