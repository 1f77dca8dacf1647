package command

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/report"
)

// TestWait checks the exit codes of wait, and what it says.
func TestWait(t *testing.T) {
	w := newWorld(t)
	w.node(t, "node-a")
	ns := w.namespace(t, "wait")
	rs := w.deployment(t, ns, "web")
	p := w.pod(t, ns, "web-abc-1", "node-a", "registry.example/web:v9", waitingFor("ContainerCreating", ""), ownedBy(rs))
	w.run(t, "wait", "deployment/web", "-n", ns, "--timeout", "100ms").check(t, int(ExitUnknown), "deployment/web is not ready after", "1 pod is being created")

	t.Run("ends as soon as a verdict is confirmed", func(t *testing.T) {
		done := w.running(t, "wait", "deployment/web", "-n", ns, "--timeout", "50s")
		w.setState(t, p, waitingFor("ErrImagePull", notFound))
		w.write(t, "node-a", nil, missingTag(p, report.Likely)) // it may be wrong
		w.write(t, "node-a", nil, missingTag(p, report.Confirmed))
		(<-done).check(t, int(ExitFault), "cluster-config TagNotFound (confirmed)", "✗ manifest")
	})
	t.Run("what is likely counts at the timeout", func(t *testing.T) {
		w.write(t, "node-a", nil, missingTag(p, report.Likely))
		w.run(t, "wait", "deployment/web", "-n", ns, "--timeout", "2s").check(t, int(ExitFault), "cluster-config TagNotFound (likely)")
	})
	t.Run("stuck for another reason", func(t *testing.T) {
		w.write(t, "node-a", nil)
		w.setState(t, p, waitingFor("CrashLoopBackOff", "back-off 10s restarting failed container"))
		w.run(t, "wait", "deployment/web", "-n", ns, "--timeout", "2s").check(t, int(ExitUnknown), "deployment/web is not ready after", "CrashLoopBackOff")
	})
	t.Run("its deadline has passed", func(t *testing.T) {
		w.setState(t, p, waitingFor("ImagePullBackOff", notFound))
		w.write(t, "node-a", nil, missingTag(p, report.Likely))
		d := made[*appsv1.Deployment](t)(w.api.AppsV1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{}))
		d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded"}}
		made[*appsv1.Deployment](t)(w.api.AppsV1().Deployments(ns).UpdateStatus(t.Context(), d, metav1.UpdateOptions{}))
		w.run(t, "wait", "deployment/web", "-n", ns, "--timeout", "50s").check(t, int(ExitFault), "cluster-config TagNotFound (likely)")
		w.write(t, "node-a", nil)
		w.setState(t, p, waitingFor("CrashLoopBackOff", ""))
		w.run(t, "wait", "deployment/web", "-n", ns, "--timeout", "50s").check(t, int(ExitUnknown), "deployment/web has failed", "CrashLoopBackOff")
	})
	t.Run("an older revision does not count", func(t *testing.T) {
		w.setRollout(t, ns, "web", 0)
		old := w.pod(t, ns, "web-old", "node-a", "registry.example/web:v8", waitingFor("ImagePullBackOff", notFound), func(p *corev1.Pod) {
			p.Labels = map[string]string{"app": "web", "pod-template-hash": "old"}
		})
		w.write(t, "node-a", nil, missingTag(old, report.Confirmed))
		w.run(t, "wait", "deployment/web", "-n", ns, "--timeout", "1s").check(t, int(ExitUnknown), "CrashLoopBackOff")
	})
	t.Run("rolled out", func(t *testing.T) {
		done := w.running(t, "wait", "deployment/web", "-n", ns, "--timeout", "50s")
		w.setState(t, p, running)
		w.setRollout(t, ns, "web", 1)
		(<-done).check(t, int(ExitOK), `deployment "web" successfully rolled out`)
	})
	t.Run("deleted meanwhile", func(t *testing.T) {
		w.pod(t, ns, "gone", "node-a", "registry.example/web:v9", waitingFor("ContainerCreating", ""))
		done := w.running(t, "wait", "pod/gone", "-n", ns, "--timeout", "50s")
		zero := int64(0)
		if err := w.api.CoreV1().Pods(ns).Delete(t.Context(), "gone", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Fatal(err)
		}
		got := <-done
		if got.code != int(ExitUnknown) {
			t.Errorf("exit code %d: %s%s", got.code, got.out, got.err)
		}
	})
	w.run(t, "wait", "deployment/web", "-n", ns, "--timeout", "0s").check(t, int(ExitUsage), "--timeout=0s: must be greater than 0")
	w.run(t, "wait", "replicaset/web-abc", "-n", ns).check(t, int(ExitUsage), "wait is for a Deployment, DaemonSet, StatefulSet, Job or Pod")
}

// running runs the plugin beside the test.
func (w *world) running(t *testing.T, args ...string) <-chan result {
	return w.beside(func() result { return w.run(t, args...) })
}

func (w *world) beside(run func() result) <-chan result {
	done := make(chan result, 1)
	go func() { done <- run() }()
	return done
}

// agent answers requests for diagnoses in a namespace, as the agent of node-a does, until the
// test ends.
func (w *world) agent(t *testing.T, namespace string) {
	t.Helper()
	events, err := w.api.CoreV1().Pods(namespace).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	answered := map[types.UID]string{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range events.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok || p.Annotations["probe"] == answered[p.UID] {
				continue
			}
			answered[p.UID] = p.Annotations["probe"]
			d := missingTag(p, report.Confirmed)
			d.Asked = p.Annotations["probe"]
			w.write(t, "node-a", nil, d)
		}
	}()
	t.Cleanup(func() { events.Stop(); <-ended })
}

// TestAsk checks that ask waits for the answer to its own request, and why there is none.
func TestAsk(t *testing.T) {
	w := newWorld(t)
	w.node(t, "node-a")
	ns := w.namespace(t, "ask")
	p := w.pod(t, ns, "web-0", "node-a", "registry.example/web:v9", waitingFor("ErrImagePull", notFound))
	w.run(t, "ask", "web-0", "-n", ns, "--timeout", "100ms").check(t, int(ExitUnknown), "no answer from node node-a within", "no agent runs there")
	old := missingTag(p, report.Likely)
	old.Asked = "before"
	w.write(t, "node-a", nil, old)
	w.run(t, "ask", "web-0", "-n", ns, "--timeout", "100ms").check(t, int(ExitUnknown), "no answer from node node-a within")

	w.pod(t, "pullprobe", "pullprobe-x", "node-a", "registry.example/pullprobe:v1", waitingFor("CrashLoopBackOff", ""), func(p *corev1.Pod) {
		p.Labels = map[string]string{"app.kubernetes.io/name": "pullprobe"}
	})
	w.run(t, "ask", "web-0", "-n", ns, "--timeout", "100ms").check(t, int(ExitUnknown), "its agent, pod pullprobe/pullprobe-x, waits: container app (CrashLoopBackOff)")

	w.agent(t, ns)
	w.run(t, "ask", "web-0", "-n", ns).check(t, int(ExitFault), "cluster-config TagNotFound (confirmed)", "checked")
	got, err := w.api.CoreV1().Pods(ns).Get(context.Background(), "web-0", metav1.GetOptions{})
	if err != nil || got.Annotations["probe"] == "" {
		t.Errorf("the pod has annotations %v, %v", got.Annotations, err)
	}
	w.grant(t, "tenant", ns, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "events"}, Verbs: []string{"get", "list", "watch", "patch"}})
	e := w.event(t, p, "cluster-config / TagNotFound (likely): tag v9 does not exist.\nFix: use v1\nChecked: 2026-11-30 12:00:00 UTC. Check again: kubectl annotate")
	w.as(t, "tenant", "ask", "web-0", "-n", ns, "--timeout", "1s").check(t, int(ExitUnknown), "no answer from node node-a", "you may not get configmaps")
	got = made[*corev1.Pod](t)(w.api.CoreV1().Pods(ns).Get(t.Context(), "web-0", metav1.GetOptions{}))
	done := w.beside(func() result { return w.as(t, "tenant", "ask", "web-0", "-n", ns) })
	annotated := func() bool {
		now, err := w.api.CoreV1().Pods(ns).Get(t.Context(), "web-0", metav1.GetOptions{})
		return err == nil && now.Annotations["probe"] != got.Annotations["probe"]
	}
	for !annotated() {
		time.Sleep(20 * time.Millisecond)
	}
	e.Message = strings.Replace(e.Message, "(likely)", "(confirmed)", 1) // checked in the same second
	made[*corev1.Event](t)(w.api.CoreV1().Events(ns).Update(t.Context(), e, metav1.UpdateOptions{}))
	(<-done).check(t, int(ExitFault), "cluster-config TagNotFound (confirmed)")

	w.pod(t, ns, "nowhere", "", "registry.example/web:v9", waitingFor("", ""))
	w.run(t, "ask", "nowhere", "-n", ns).check(t, int(ExitUnknown), "no agent can check it")
	w.run(t, "ask", "deployment/none", "-n", ns).check(t, int(ExitUnknown), `"none" not found`)
}
