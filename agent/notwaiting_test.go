package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/report"
)

// TestRequestForPodThatHasEnded checks that a pod that needs no image is told so, without a
// request to the registry, and that the answer stays until the next one.
func TestRequestForPodThatHasEnded(t *testing.T) {
	w := newWorld(t)
	registry := examinetest.StartImages(t)
	containers := []corev1.Container{{Name: "app", Image: registry.Absent()}, {Name: "log", Image: registry.Absent() + "-log"}}
	w.post("/api/v1/namespaces/"+w.ns+"/pods", corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "job"}, Spec: corev1.PodSpec{NodeName: w.node, Containers: containers},
	})
	w.setWaiting("job", corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"})
	w.agent()
	w.annotate("job", "0")
	w.until("an answer for each container", 20*time.Second, func() bool { n, _, _ := w.report(); return len(n.Diagnoses) == 2 })
	asked := registry.Asked.Load()
	w.patch(w.podPath("job")+"/status", map[string]any{"status": corev1.PodStatus{
		Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory.",
	}})
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
		return slices.ContainsFunc(e, func(e corev1.Event) bool {
			return e.Type == corev1.EventTypeNormal && strings.Contains(e.Message, want)
		})
	})
	if n, _, _ := w.report(); len(n.Diagnoses) != 1 || n.Stuck != 0 {
		t.Errorf("%d stuck, %+v", n.Stuck, n.Diagnoses)
	}
	if n := registry.Asked.Load() - asked; n != 0 {
		t.Errorf("%d more requests to the registry", n)
	}
}
