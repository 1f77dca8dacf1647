package agent

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/preflight"
	"github.com/pullprobe/pullprobe/report"
)

// asking creates a pod without a node and with these gates, and returns it as the fleet names it.
func (w *world) asking(name string, gates []string, spec corev1.PodSpec) nodefacts.Pod {
	w.t.Helper()
	for _, g := range gates {
		spec.SchedulingGates = append(spec.SchedulingGates, corev1.PodSchedulingGate{Name: g})
	}
	w.post("/api/v1/namespaces/"+w.ns+"/pods", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec})
	return w.named(name)
}

// named returns a pod as the fleet names it.
func (w *world) named(pod string) nodefacts.Pod {
	w.t.Helper()
	var p corev1.Pod
	_, body := w.do(http.MethodGet, w.podPath(pod), "application/json", nil)
	if err := json.Unmarshal(body, &p); err != nil {
		w.t.Fatal(err)
	}
	return nodefacts.Pod{Namespace: w.ns, Name: pod, UID: string(p.UID)}
}

// checked returns the results on a pod.
func (w *world) checked(pod string) (out []preflight.Result) {
	w.t.Helper()
	for _, e := range w.events(pod) {
		if e.Reason != preflight.ReasonChecked {
			continue
		}
		if e.ReportingInstance != w.node || e.ReportingController != preflight.AgentController || !strings.Contains(e.Message, " on "+w.node+": ") {
			w.t.Errorf("%+v", e)
		}
		r, err := preflight.DecodeResult(e.Annotations[preflight.Annotation])
		if err != nil {
			w.t.Error(err)
		}
		out = append(out, r)
	}
	return out
}

// TestPreflight checks that the images of a gated pod are checked once, with its secrets and
// without a pull, and that no other pod is checked, whatever the fleet says.
func TestPreflight(t *testing.T) {
	w := newWorld(t)
	images := examinetest.StartImages(t)
	w.agent(func(a *Agent) { a.examiner.Node.Runtime, a.examiner.Node.OwnFiles = nil, true })
	gate := []string{preflight.Gate}
	container := func(name, image string) corev1.Container { return corev1.Container{Name: name, Image: image} }
	web := w.asking("web", gate, corev1.PodSpec{
		InitContainers:   []corev1.Container{container("init", images.Absent())},
		Containers:       []corev1.Container{container("a", images.Absent()), container("b", "r.example/UPPER")},
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "regcred"}},
	})
	one := corev1.PodSpec{Containers: []corev1.Container{container("a", images.Absent())}}
	another := w.asking("another", gate, one)
	another.UID = web.UID
	refused := []nodefacts.Pod{
		w.asking("ungated", nil, one), w.asking("other-gate", []string{"example.com/wait"}, one), another,
		{Namespace: w.ns, Name: "absent", UID: "1"},
	}
	w.pod("placed", images.Absent(), corev1.ContainerStateWaiting{Reason: "ContainerCreating"})
	refused = append(refused, w.named("placed"))

	w.fleetSays(nodefacts.Answers{Preflights: append(refused, web)})
	w.until("both images have a result", 20*time.Second, func() bool { return len(w.checked("web")) == 2 })
	for _, r := range w.checked("web") {
		cause, places := report.RepositoryNotFound, "init a"
		if r.Image == "r.example/UPPER" {
			cause, places = report.InvalidReference, "b"
		}
		if r.Verdict.Cause != cause || r.Of != 2 || strings.Join(r.Places, " ") != places {
			t.Errorf("%+v", r)
		}
	}
	// The order of requests: what follows has been refused before.
	second := w.asking("second", gate, one)
	w.fleetSays(nodefacts.Answers{Preflights: append(refused, web, second)})
	w.until("the second pod has a result", 20*time.Second, func() bool { return len(w.checked("second")) == 1 })
	for _, p := range append(refused, another) {
		if n := len(w.checked(p.Name)); n != 0 {
			t.Errorf("pod %s was checked: %d results", p.Name, n)
		}
	}
	for _, e := range w.events("web") {
		if e.Count != 1 || !e.FirstTimestamp.Equal(&e.LastTimestamp) {
			t.Errorf("it was checked again: %+v", e)
		}
	}
	if n, _, _ := w.report(); len(n.Diagnoses) > 1 { // placed may be there
		t.Errorf("the report has what is not on this node: %+v", n.Diagnoses)
	}
	if w.agentProxy.count(http.MethodGet+" secrets") == 0 {
		t.Error("the pod's secret was not read")
	}
}
