package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/preflight"
	"github.com/pullprobe/pullprobe/report"
)

// answers are what the fleet and the agents say about a pod: the results by node.
type answers func(*corev1.Pod) (preflight.Plan, map[string][]preflight.Result)

// answering plays the fleet and the agents for the gated pods of a namespace, until the test ends.
// It returns a channel with the pods that it has seen.
func (w *world) answering(t *testing.T, namespace string, say answers) <-chan *corev1.Pod {
	t.Helper()
	seen := make(chan *corev1.Pod, 16)
	pods, err := w.api.CoreV1().Pods(namespace).Watch(t.Context(), metav1.ListOptions{LabelSelector: preflight.Label})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pods.Stop)
	go func() {
		for e := range pods.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok || e.Type != "ADDED" || p.DeletionTimestamp != nil {
				continue
			}
			plan, results := say(p)
			if len(plan.Kinds)+len(plan.Excluded) > 0 {
				text, err := plan.Encode()
				w.tell(t, p, "plan", preflight.ReasonPlanned, preflight.FleetController, "", text, err)
			}
			for node, list := range results {
				for _, r := range list {
					text, err := r.Encode()
					w.tell(t, p, fmt.Sprint(node, r.Index), preflight.ReasonChecked, preflight.AgentController, node, text, err)
				}
			}
			seen <- p
		}
	}()
	return seen
}

// tell writes an Event of a preflight.
func (w *world) tell(t *testing.T, p *corev1.Pod, id, reason, controller, node, text string, err error) {
	if err == nil {
		_, err = w.api.CoreV1().Events(p.Namespace).Create(context.Background(), &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: p.Name + "." + id, Annotations: map[string]string{preflight.Annotation: text}},
			InvolvedObject: corev1.ObjectReference{
				APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID,
			},
			Reason: reason, Type: corev1.EventTypeNormal, Source: corev1.EventSource{Component: "pullprobe", Host: node},
			EventTime: metav1.NowMicro(), Action: "Check", ReportingController: controller, ReportingInstance: "x",
		}, metav1.CreateOptions{})
	}
	if err != nil {
		t.Error(err)
	}
}

// planned are two kinds of nodes, one of which has no agent if its node is empty.
func planned(second string) preflight.Plan {
	return preflight.Plan{
		Kinds: []preflight.Kind{
			{Arch: "amd64", Zone: "zone-1", Nodes: 12, Node: "node-a"}, {Arch: "arm64", Zone: "zone-1", Nodes: 2, Node: second},
		},
		Excluded: []preflight.Excluded{{Why: "cordoned", Nodes: 1}},
	}
}

var (
	healthy  = report.Verdict{Fault: report.FaultNone, Cause: report.Healthy, Confidence: report.Likely}
	mismatch = report.Verdict{
		Fault: report.FaultRegistry, Cause: report.PlatformMismatch, Confidence: report.Likely,
		Summary: "registry.example/web:v9 has no image for linux/arm64", Fix: "push an image for linux/arm64",
	}
)

// resultsOf returns a result for each container.
func resultsOf(p *corev1.Pod, v report.Verdict) (out []preflight.Result) {
	for i, c := range p.Spec.Containers {
		out = append(out, preflight.Result{
			Image: c.Image, Places: []string{c.Name}, Index: i + 1, Of: len(p.Spec.Containers), Verdict: v, Bytes: 52 << 20, Seconds: 3,
			Remarks: []string{"tag latest: nodes that pull at different times may run different images"},
		})
	}
	return out
}

// wellExcept answers that all is healthy, except on the second node.
func wellExcept(v report.Verdict) answers {
	return func(p *corev1.Pod) (preflight.Plan, map[string][]preflight.Result) {
		return planned("node-b"), map[string][]preflight.Result{"node-a": resultsOf(p, healthy), "node-b": resultsOf(p, v)}
	}
}

const chart = `
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}},
    spec: {containers: [{name: app, image: "registry.example/web:v9"}, {name: sidecar, image: registry.example/sidecar}]}}}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly}, spec: {schedule: "@daily", jobTemplate: {spec: {template:
  {spec: {restartPolicy: Never, containers: [{name: app, image: "registry.example/cron:1"}]}}}}}}
`

// preflight runs the command with a manifest on standard input.
func (w *world) preflight(ctx context.Context, user, namespace, manifest string, args ...string) result {
	var out, errs bytes.Buffer
	app := NewApp(testVersion, func(string) string { return "" }, strings.NewReader(manifest), &out, &errs)
	all := append([]string{"preflight", "-f", "-", "-n", namespace, "--kubeconfig=" + w.kubeconfig(user), "--cache-dir=" + w.dir}, args...)
	return result{Run(ctx, app, all), out.String(), errs.String()}
}

// noPods fails a test unless a namespace has no pods.
func (w *world) noPods(t *testing.T, namespace string) {
	t.Helper()
	list := made[*corev1.PodList](t)(w.api.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{}))
	for _, p := range list.Items {
		t.Errorf("pod %s is left", p.Name)
	}
}

// TestPreflight checks the table, the verdicts and remarks below it, the exit codes, and that no
// pod is left.
func TestPreflight(t *testing.T) {
	w := newWorld(t)
	ns := w.namespace(t, "preflight")
	pods := w.answering(t, ns, wellExcept(mismatch))
	r := w.preflight(t.Context(), "admin", ns, chart)
	r.check(t, 1, "3 of 3 images cannot be pulled on every kind of nodes. Nothing was pulled.",
		"WORKLOAD IMAGE SIZE amd64 arm64",
		"deployment/web registry.example/web:v9 52.0 MiB ok, 3 s PlatformMismatch",
		"deployment/web registry.example/sidecar 52.0 MiB ok, 3 s PlatformMismatch",
		"cronjob/nightly registry.example/cron:1 52.0 MiB ok, 3 s PlatformMismatch",
		"KIND NODES CHECKED BY amd64 12 node-a arm64 2 node-b", "Left out: 1 node: cordoned.",
		"registry PlatformMismatch (likely) 3 images", "on arm64 (node-b)", "fix push an image for linux/arm64", "tag latest: nodes that pull")
	if n := strings.Count(r.out, "push an image"); n != 1 {
		t.Errorf("one verdict is there %d times:\n%s", n, r.out)
	}
	for range 2 {
		p := <-pods
		if len(p.Spec.SchedulingGates) != 1 || p.Labels["app"] != "" {
			t.Errorf("it may run or be adopted: %+v", p)
		}
	}
	w.noPods(t, ns)

	r = w.preflight(t.Context(), "admin", ns, chart, "-o", "json")
	r.check(t, 1)
	var got struct {
		Workloads []struct {
			Name  string `json:"name"`
			Kinds []struct {
				Node    string             `json:"node"`
				Results []preflight.Result `json:"results"`
			} `json:"kinds"`
		} `json:"workloads"`
	}
	err := json.Unmarshal([]byte(r.out), &got)
	if err != nil || len(got.Workloads) != 2 || got.Workloads[0].Kinds[1].Results[0].Verdict.Cause != mismatch.Cause {
		t.Errorf("%v\n%s", err, r.out)
	}

	ns = w.namespace(t, "preflight-well")
	w.answering(t, ns, wellExcept(healthy))
	w.preflight(t.Context(), "admin", ns, chart).check(t, 0, "3 images can be pulled on 2 kinds of nodes. Nothing was pulled.")
	w.noPods(t, ns)
}

// TestPreflightCouldNotTell checks the sentences for what keeps a preflight from an answer: the
// exit code is 3, and no pod is left.
func TestPreflightCouldNotTell(t *testing.T) {
	w := newWorld(t)
	one := `{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: app, image: "registry.example/web:v9"}]}}`
	nothing := func(*corev1.Pod) (preflight.Plan, map[string][]preflight.Result) { return preflight.Plan{}, nil }
	for _, c := range []struct {
		name, user string
		say        answers
		prepare    func(t *testing.T, ns string)
		args       []string
		want       []string
	}{
		{
			name: "silent-fleet", say: nothing, args: []string{"--timeout=1s"},
			want: []string{"pod/web: no fleet has answered within 1 s", "pullprobe check -f - finds out"},
		},
		{
			name: "silent-agent", args: []string{"--timeout=2s"},
			say: func(p *corev1.Pod) (preflight.Plan, map[string][]preflight.Result) {
				return planned("node-b"), map[string][]preflight.Result{"node-a": resultsOf(p, healthy)}
			},
			want: []string{"52.0 MiB ok, 3 s no answer", "No fault was found, and 1 of 1 image could not be checked in full", "from node-b: give --timeout"},
		},
		{
			name: "no-agent", want: []string{"ok, 3 s no agent", "no agent reports there"},
			say: func(p *corev1.Pod) (preflight.Plan, map[string][]preflight.Result) {
				return planned(""), map[string][]preflight.Result{"node-a": resultsOf(p, healthy)}
			},
		},
		{
			name: "no-node", want: []string{"pod/web: no node may run its pod", "Left out: 3 nodes: not matched"},
			say: func(*corev1.Pod) (preflight.Plan, map[string][]preflight.Result) {
				return preflight.Plan{Excluded: []preflight.Excluded{{Why: "not matched", Nodes: 3}}}, nil
			},
		},
		{
			name: "undetermined", want: []string{"ok, 3 s undetermined"},
			say: wellExcept(report.Verdict{
				Fault: report.FaultUndetermined, Cause: report.Undetermined, Confidence: report.ConfidenceUndetermined,
			}),
		},
		{
			name: "deleted", want: []string{"its pod was deleted by others"},
			say: func(p *corev1.Pod) (preflight.Plan, map[string][]preflight.Result) {
				_ = w.api.CoreV1().Pods(p.Namespace).Delete(context.Background(), p.Name, metav1.DeleteOptions{})
				return preflight.Plan{}, nil
			},
		},
		{
			name: "quota", want: []string{"the cluster rejects the pod", "exceeded quota: none"},
			prepare: func(t *testing.T, ns string) {
				quotas, zero := w.api.CoreV1().ResourceQuotas(ns), corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}
				q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "none"}, Spec: corev1.ResourceQuotaSpec{Hard: zero}}
				q = made[*corev1.ResourceQuota](t)(quotas.Create(t.Context(), q, metav1.CreateOptions{}))
				q.Status = corev1.ResourceQuotaStatus{Hard: zero, Used: zero} // as its controller does
				made[*corev1.ResourceQuota](t)(quotas.UpdateStatus(t.Context(), q, metav1.UpdateOptions{}))
				t.Cleanup(func() { _ = quotas.Delete(context.Background(), q.Name, metav1.DeleteOptions{}) })
			},
		},
		{
			name: "tenant", user: "tenant", want: []string{"you may not create pods in namespace preflight-tenant"},
			prepare: func(t *testing.T, ns string) {
				w.grant(t, "tenant", ns, rbacv1.PolicyRule{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"events"}})
			},
		},
		{name: "nobody", user: "no", want: []string{"you may not list events in namespace preflight-nobody"}},
		{
			name: "another-home", args: []string{"--pullprobe-namespace=elsewhere"},
			want: []string{"a preflight needs pullprobe-fleet, and namespace elsewhere has none"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := w.namespace(t, "preflight-"+c.name)
			if c.prepare != nil {
				c.prepare(t, ns)
			}
			if c.say != nil {
				w.answering(t, ns, c.say)
			}
			user := c.user
			if user == "" {
				user = "admin"
			}
			w.preflight(t.Context(), user, ns, one, c.args...).check(t, 3, c.want...)
			w.noPods(t, ns)
		})
	}
}

// TestPreflightTenant checks that these rights in the namespace are enough.
func TestPreflightTenant(t *testing.T) {
	w := newWorld(t)
	ns := w.namespace(t, "preflight-of-tenant")
	w.grant(t, "tenant", ns, rbacv1.PolicyRule{Verbs: []string{"create", "get", "delete", "list"}, APIGroups: []string{""}, Resources: []string{"pods", "events"}})
	w.answering(t, ns, wellExcept(healthy))
	r := w.preflight(t.Context(), "tenant", ns, chart)
	r.check(t, 0, "3 images can be pulled")
	if r.err != "" {
		t.Error(r.err)
	}
	w.noPods(t, ns)
}

// TestPreflightInterrupted checks that an interrupt removes the pod.
func TestPreflightInterrupted(t *testing.T) {
	w := newWorld(t)
	ns := w.namespace(t, "preflight-interrupted")
	pods := w.answering(t, ns, func(*corev1.Pod) (preflight.Plan, map[string][]preflight.Result) { return planned("node-b"), nil })
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	go func() {
		<-pods
		interrupt()
	}()
	w.preflight(ctx, "admin", ns, chart).check(t, 3)
	w.noPods(t, ns)
}

// TestPreflightUsage checks what is said about wrong arguments and manifests.
func TestPreflightUsage(t *testing.T) {
	w := newWorld(t)
	w.run(t, "preflight").check(t, 2, "name a manifest with -f FILE")
	for manifest, want := range map[string]string{
		"{apiVersion: v1, kind: Service, metadata: {name: web}}": "no pods: Service",
		"": "no objects",
		"{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: b}, spec: {containers: [{name: a, image: a}]}}": "pod/web is for namespace b, and -n is shop",
		"image: {{ .Values.image }}": "standard input",
	} {
		w.preflight(t.Context(), "admin", "shop", manifest).check(t, 2, want)
	}
	w.preflight(t.Context(), "admin", "shop", chart, "-o", "html").check(t, 2, "must be json or yaml")
	w.preflight(t.Context(), "admin", "shop", chart, "--timeout=0").check(t, 2, "--timeout=0s: must be greater than 0")
}
