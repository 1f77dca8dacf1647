package agent

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/report"
)

// TestRequestForPodThatHasEnded checks that a pod that needs no image is told so, without a
// request to the registry, and that the answer stays until the next one.
func TestRequestForPodThatHasEnded(t *testing.T) {
	w := newWorld(t)
	registry := examinetest.StartImages(t)
	w.pod("job", registry.Absent(), corev1.ContainerStateWaiting{})
	w.patch(w.podPath("job")+"/status", map[string]any{"status": corev1.PodStatus{
		Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory.",
	}})
	w.agent()
	w.annotate("job", "1")
	const want = "the pod has failed (Evicted); it needs no image, so nothing was checked: The node was low on resource: memory."
	for _, value := range []string{"1", "2"} {
		w.annotate("job", value)
		d := w.diagnosed("job", func(d report.Diagnosis) bool { return d.Asked == value })
		if d.Verdict.Summary != want || d.Verdict.Cause != report.NotAPullProblem || len(d.Checks) != 1 {
			t.Errorf("%+v", d)
		}
	}
	w.until("its Event", 10*time.Second, func() bool {
		e := w.events("job")
		return len(e) == 1 && e[0].Type == corev1.EventTypeNormal && strings.Contains(e[0].Message, want)
	})
	if n, _, _ := w.report(); len(n.Diagnoses) != 1 || n.Stuck != 0 {
		t.Errorf("%d stuck, %+v", n.Stuck, n.Diagnoses)
	}
	if n := registry.Asked.Load(); n != 0 {
		t.Errorf("%d requests to the registry", n)
	}
}
