package command

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/report"
)

const notFound = `failed to pull and unpack image "registry.example/web:v9": registry.example/web:v9: not found`

var running = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}

// TestPod checks what is said of one pod, in each state of it and of its agent.
func TestPod(t *testing.T) {
	w := newWorld(t)
	w.node(t, "node-a")
	ns := w.namespace(t, "pod")
	p := w.pod(t, ns, "web-0", "node-a", "registry.example/web:v9", waitingFor("ImagePullBackOff", notFound))
	w.run(t, "web-0", "-n", ns).check(t, int(ExitFault), "cluster-config TagNotFound", "there is no report of node-a in namespace pullprobe")

	w.write(t, "node-a", map[string]report.HostState{"registry.example": report.Reachable}, missingTag(p, report.Confirmed))
	got := w.run(t, "web-0", "-n", ns)
	got.check(t, int(ExitFault), "cluster-config TagNotFound (confirmed)", "tag \"v9\" does not exist", "kubectl -n pod set image pod/web-0 app=registry.example/web:v1",
		"next pull by the kubelet", "✓ dial 3 ms connected", "✗ manifest 8 ms registry.example has no tag v9 of web (evidence)",
		"– image not checked: manifest/registry.example failed", "kubectl pullprobe ask web-0 -n pod")
	if strings.Contains(got.out, "\x1b") {
		t.Error("a pipe gets escape sequences")
	}
	for i, line := range strings.Split(got.out, "\n") {
		if n := len([]rune(line)); n > 80 && !strings.HasPrefix(strings.TrimSpace(line), "kubectl") {
			t.Errorf("line %d has %d columns: %s", i+1, n, line)
		}
	}
	w.run(t, "pod/web-0", "-n", ns, "--ascii").check(t, int(ExitFault), "x manifest", "+ dial", "- image")
	w.run(t, "web-0", "-n", ns, "--color=always").check(t, int(ExitFault), "\x1b[1;31mcluster-config TagNotFound")
	w.run(t, "web-0", "-n", ns, "--color=red").check(t, int(ExitUnknown), "--color=red: must be auto, always or never")

	var list struct {
		Waiting []struct {
			Pod, Source string
			Verdict     report.Verdict
			Checks      []report.Check
		}
	}
	if err := json.Unmarshal([]byte(w.run(t, "web-0", "-n", ns, "-o", "json").out), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Waiting) != 1 || list.Waiting[0].Verdict.Cause != report.TagNotFound || len(list.Waiting[0].Checks) != 3 || list.Waiting[0].Source != "report" {
		t.Errorf("-o json: %+v", list)
	}

	w.run(t, "web-0", "-n", "default").check(t, int(ExitUnknown), `pod "web-0" not found in namespace "default"; namespace pod has one: add -n pod`)
	w.run(t, "web-0", "--context", "other").check(t, int(ExitUnknown), `not found in namespace "other"`)
	w.run(t, "nonsense/web-0", "-n", ns).check(t, int(ExitUsage), `the cluster has no resource type "nonsense"`)
	w.setState(t, p, running)
	w.write(t, "node-a", nil)
	w.run(t, "web-0", "-n", ns).check(t, int(ExitOK), "Pod pod/web-0 runs, and is ready. It does not wait for an image.")
	w.write(t, "node-a", nil, missingTag(p, report.Confirmed))
	zero := int64(0)
	if err := w.api.CoreV1().Pods(ns).Delete(t.Context(), "web-0", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	w.run(t, "web-0", "-n", ns).check(t, int(ExitUnknown), "it was deleted. Its last verdict, on node-a: cluster-config TagNotFound")
}

// TestOwner checks that the fix is that of the pod's owner, and that forty pods of one Deployment
// are one group.
func TestOwner(t *testing.T) {
	w := newWorld(t)
	w.node(t, "node-a")
	ns := w.namespace(t, "owner")
	rs := w.deployment(t, ns, "web")
	var first *corev1.Pod
	for i := range 40 {
		p := w.pod(t, ns, "web-abc-"+string(rune('a'+i/26))+string(rune('a'+i%26)), "node-a", "registry.example/web:v9", waitingFor("ErrImagePull", notFound), ownedBy(rs))
		if first == nil {
			first = p
		}
	}
	d := missingTag(first, report.Confirmed)
	d.Pods.Count = 40
	d.Pods.Owners = []report.Owner{{Name: "deployment/web", Pods: 40, Fix: "kubectl -n owner set image deployment/web app=registry.example/web:v1"}}
	w.write(t, "node-a", nil, d)
	for _, args := range [][]string{{"deployment/web", "-n", ns}, {"-n", ns}, {"deploy/web", "-n", ns}} {
		w.run(t, args...).check(t, int(ExitFault), "40 pods on 1", "set image deployment/web", "deployment/web (40 pods)")
	}
	w.run(t, "web-abc-ab", "-n", ns).check(t, int(ExitFault), "set image deployment/web", "of deployment/web", "the report names other pods of deployment/web, with the same image")
	if got := w.run(t, "-n", ns, "--pods"); strings.Count(got.out, "TagNotFound") != 40 {
		t.Errorf("--pods:\n%s", got.out)
	}
	if got := w.run(t, "-n", ns, "-o", "name"); strings.Count(got.out, "pod/web-abc-") != 40 {
		t.Errorf("-o name:\n%s", got.out)
	}
	w.run(t, "-n", ns, "-l", "app=other").check(t, int(ExitOK), "No pod in namespace owner waits for an image.")
}

// TestRights checks that a right that is missing is one sentence, and what is shown instead.
func TestRights(t *testing.T) {
	w := newWorld(t)
	w.node(t, "node-a")
	ns := w.namespace(t, "rights")
	p := w.pod(t, ns, "web-0", "node-a", "registry.example/web:v9", waitingFor("ImagePullBackOff", notFound))
	w.write(t, "node-a", map[string]report.HostState{"registry.example": report.Reachable}, missingTag(p, report.Confirmed))
	w.as(t, "no", "web-0", "-n", ns).check(t, int(ExitUnknown), "you may not get pods in namespace rights: nothing can be shown of it")
	w.as(t, "no", "-n", ns).check(t, int(ExitUnknown), "you may not list pods in namespace rights")
	w.as(t, "no", "nodes").check(t, int(ExitUnknown), "you may not list configmaps in namespace pullprobe: nothing can be shown; the Role pullprobe-report-reader grants this right")
	w.as(t, "no", "doctor", "-n", ns).check(t, int(ExitUnknown), "? daemonset", "you may not list daemonsets in namespace pullprobe")

	w.grant(t, "tenant", ns, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "events"}, Verbs: []string{"get", "list"}})
	got := w.as(t, "tenant", "web-0", "-n", ns)
	got.check(t, int(ExitFault), "cluster-config TagNotFound (likely)", "you may not get configmaps in namespace pullprobe: only the Events on the pod are shown")
	if strings.Contains(got.out, "Checks") {
		t.Errorf("without a report there are no checks:\n%s", got.out)
	}
	w.event(t, p, "registry / RateLimited (confirmed): registry.example is rate-limiting this node (429).\nWho acts: the operator of the registry\nFix: wait 1 min")
	w.as(t, "tenant", "web-0", "-n", ns).check(t, int(ExitFault), "registry RateLimited (confirmed)", "fix wait 1 min", "you may not get configmaps in namespace pullprobe")
	w.as(t, "tenant", "-n", ns).check(t, int(ExitFault), "registry RateLimited (confirmed)")
	w.as(t, "tenant", "ask", "web-0", "-n", ns).check(t, int(ExitFault), "you may not patch pods in namespace rights: no diagnosis was requested, and the last answer is shown", "RateLimited")

	w.grant(t, "reader", "pullprobe", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch"}})
	w.as(t, "reader", "-n", ns).check(t, int(ExitFault), "TagNotFound (confirmed)", "you may not list pods in namespace rights: only the pods that the reports name are shown")
	w.as(t, "reader", "registries").check(t, int(ExitOK), "registry.example", "you may not list nodes: only nodes that have a report are compared")
}

// grant gives a user rights in a namespace.
func (w *world) grant(t *testing.T, user, namespace string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rules}
	made[*rbacv1.Role](t)(w.api.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{}))
	made[*rbacv1.RoleBinding](t)(w.api.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}, metav1.CreateOptions{}))
	t.Cleanup(func() {
		api := w.api.RbacV1()
		_ = api.Roles(namespace).Delete(testContext(), user, metav1.DeleteOptions{})
		_ = api.RoleBindings(namespace).Delete(testContext(), user, metav1.DeleteOptions{})
	})
}

// event writes an Event of an agent on a pod.
func (w *world) event(t *testing.T, p *corev1.Pod, message string) *corev1.Event {
	t.Helper()
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: p.Name + ".", Namespace: p.Namespace},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
		Reason:         "ImagePullDiagnosed", Message: message, Type: corev1.EventTypeWarning, Source: corev1.EventSource{Component: report.FieldManager},
		LastTimestamp: metav1.NewTime(time.Now()),
	}
	return made[*corev1.Event](t)(w.api.CoreV1().Events(p.Namespace).Create(t.Context(), e, metav1.CreateOptions{}))
}

// TestNodesAndRegistries checks what is said of nodes and hosts.
func TestNodesAndRegistries(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"node-a", "node-b", "node-c", "node-d"} {
		w.node(t, n)
	}
	w.run(t, "nodes").check(t, int(ExitUnknown), "there is no report in namespace pullprobe")
	good, bad := map[string]report.HostState{"registry.example": report.Reachable}, map[string]report.HostState{"registry.example": report.Unreachable}
	w.write(t, "node-a", good)
	w.write(t, "node-b", good)
	w.write(t, "node-c", bad)
	w.run(t, "nodes").check(t, int(ExitFault), "node-c hosts fail ConnectionTimeout 0 1 of 1 fail", "node-d no report", "node-a ok")
	w.run(t, "nodes", "-o", "wide").check(t, int(ExitFault), "zone-1")
	w.run(t, "registries").check(t, int(ExitFault), "registry.example 2 1 0 ConnectionTimeout", "1 of 3 nodes does not get through")
	w.run(t, "registry", "registry.example").check(t, int(ExitFault), "registry.example: 2 nodes get through, 1 does not.", "node-c unreachable ConnectionTimeout")
	w.run(t, "registry", "other.example").check(t, int(ExitUnknown), "no node has checked other.example")
	w.run(t, "node", "node-c").check(t, int(ExitFault), "1 of 1 host is unreachable", "Compared with the other nodes")
	w.run(t, "node", "node-a").check(t, int(ExitOK), "no pod is waiting for an image")
	w.run(t, "node", "node-d").check(t, int(ExitUnknown), `there is no report of node "node-d"`)
	w.run(t, "node/node-a", "-o", "yaml").check(t, int(ExitOK), "schema: pullprobe.dev/v1")
	w.run(t, "nodes", "-o", "xml").check(t, int(ExitUsage), "--output=xml: must be wide, json, yaml, name")
}
