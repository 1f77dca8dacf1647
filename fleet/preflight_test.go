package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/fleet/placement"
	"github.com/pullprobe/pullprobe/preflight"
)

// gated returns a pod that asks for a preflight.
func gated(namespace, name string, age time.Duration) *waitingPod {
	p := &waitingPod{preflight: &corev1.Pod{}}
	p.Namespace, p.Name, p.UID = namespace, name, types.UID(namespace+"-"+name)
	p.CreationTimestamp = metav1.NewTime(time.Unix(1e9, 0).Add(-age))
	return p
}

// One namespace does not keep the others from being answered, and a pod that was answered gives
// its place to the next.
func TestPreflightsTakeTurns(t *testing.T) {
	w := newWaitingPods()
	for i := range 10 {
		w.set(gated("many", fmt.Sprint("p", i), time.Duration(100-i)*time.Second))
	}
	w.set(gated("one", "p", time.Second))
	w.set(&waitingPod{}) // does not ask
	f := newPreflights(nil, slog.New(slog.DiscardHandler))
	nodes := func() []placement.Node { return []placement.Node{{Name: "a", Reports: true}} }
	now := time.Unix(1e9, 0)
	named := func(now time.Time) string {
		var names []string
		for _, p := range f.requests(w.asking(), nodes, now)["a"] {
			names = append(names, p.Namespace+"/"+p.Name)
		}
		return strings.Join(names, " ")
	}
	if got, want := named(now), "many/p0 one/p many/p1 many/p2 many/p3"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	w.remove("many-p0")
	if got, want := named(now), "many/p1 one/p many/p2 many/p3 many/p4"; got != want {
		t.Errorf("after one has gone: %s\nwant %s", got, want)
	}
	if got, want := named(now.Add(preflightTime)), "many/p5 many/p6 many/p7 many/p8"; got != want {
		t.Errorf("later: %s\nwant %s", got, want)
	}
	for i := range 10 {
		w.remove(types.UID(fmt.Sprint("many-p", i)))
		for j := range 6 {
			w.set(gated(fmt.Sprint("ns", i), fmt.Sprint("p", j), 0))
		}
	}
	if got := strings.Fields(named(now.Add(2 * preflightTime))); len(got) != maxPreflights {
		t.Errorf("%d pods at a time, want %d", len(got), maxPreflights)
	}
}

// preflightPod creates a pod with the gate, and returns its UID.
func (w *world) preflightPod(name, more string) types.UID {
	w.t.Helper()
	out, err := w.kubectlAs(adminToken, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q%s},
"spec":{"schedulingGates":[{"name":%q}],"nodeSelector":{"topology.kubernetes.io/zone":"z1"},"containers":[{"name":"c","image":"r.example/x"}]}}`,
		name, more, preflight.Gate), "-n", "default", "create", "-f", "-")
	if err != nil {
		w.t.Fatal(out)
	}
	return types.UID(w.must("-n", "default", "get", "pod", name, "-o", "jsonpath={.metadata.uid}"))
}

// TestPreflight checks that a gated pod gets a plan, and that only the nodes in it are asked.
func TestPreflight(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"a", "b", "c"} {
		w.node(n, map[string]string{"a": "z1", "b": "z1", "c": "z2"}[n])
	}
	w.must("taint", "nodes", "--all", "node.kubernetes.io/not-ready:NoSchedule-") // there is no kubelet
	w.says("a", sees(""))                                                         // b has no agent
	w.says("c", sees(""))
	w.replica("one")
	w.until("both agents report", func() bool { r, ok := w.result(); return ok && r.Nodes == 3 && r.Silent.Count == 1 })
	uid := w.preflightPod("check", "")
	var p preflight.Plan
	w.until("the plan", func() bool {
		text := w.must("-n", "default", "get", "events", "--field-selector=reason="+preflight.ReasonPlanned+",involvedObject.name=check",
			"-o", `jsonpath={.items[*].metadata.annotations.pullprobe\.dev/preflight}`)
		if text == "" {
			return false
		}
		var err error
		p, err = preflight.DecodePlan(text)
		w.check(err)
		return true
	})
	if len(p.Kinds) != 1 || p.Kinds[0].Node != "a" || p.Kinds[0].Nodes != 2 || p.Kinds[0].Zone != "z1" || len(p.Excluded) != 1 || p.Excluded[0].Nodes != 1 {
		t.Errorf("%+v", p)
	}
	if a := w.answers("a").Preflights; len(a) != 1 || a[0].Namespace != "default" || a[0].Name != "check" || a[0].UID != string(uid) {
		t.Errorf("node a is asked about %+v", a)
	}
	for _, n := range []string{"b", "c"} {
		if a := w.answers(n).Preflights; len(a) != 0 {
			t.Errorf("node %s is asked about %+v", n, a)
		}
	}
	w.must("-n", "default", "delete", "pod", "check")
	w.until("the request ends with the pod", func() bool { return len(w.answers("a").Preflights) == 0 })
}

// TestPreflightRights checks which pods the fleet's token may remove, and which Events it may
// write.
func TestPreflightRights(t *testing.T) {
	w := newWorld(t)
	w.node("a", "z1")
	cfg, err := kube.RESTConfig(w.kubeconfig(w.token()))
	w.check(err)
	core, err := typedcorev1.NewForConfig(cfg)
	w.check(err)
	label := fmt.Sprintf(`,"labels":{%q:""}`, preflight.Label)
	left := w.preflightPod("left", label)
	byHand := w.preflightPod("by-hand", "")
	w.must("-n", "default", "run", "web", "--image=x", "--labels="+preflight.Label+"=")
	remove := func(name string) error { return core.Pods("default").Delete(t.Context(), name, metav1.DeleteOptions{}) }
	w.until("the policy is active", func() bool {
		err := remove("web")
		return err != nil && strings.Contains(err.Error(), "pullprobe-fleet-pods")
	})
	if err := remove("by-hand"); err == nil || !strings.Contains(err.Error(), "only pods with the scheduling gate and the label") {
		t.Errorf("a pod without the label: %v", err)
	}
	if err := core.Pods("default").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err == nil {
		t.Error("it may remove all pods at once")
	}

	f := newPreflights(core, slog.New(slog.NewTextHandler(t.Output(), nil)))
	pod := func(name string, uid types.UID, made bool) *waitingPod {
		p := gated("default", name, 0)
		p.UID, p.made, p.CreationTimestamp = uid, made, metav1.Now()
		return p
	}
	asking := []*waitingPod{pod("left", left, true), pod("by-hand", byHand, false)}
	exists := func(name string) bool { _, err := w.kubectl("-n", "default", "get", "pod", name); return err == nil }
	f.removeOrphans(t.Context(), asking, time.Now().Add(orphanAge-time.Minute))
	if !exists("left") {
		t.Error("a young pod is removed")
	}
	f.removeOrphans(t.Context(), []*waitingPod{pod("left", "another", true)}, time.Now().Add(orphanAge+time.Minute))
	if !exists("left") {
		t.Error("another pod of the same name is removed")
	}
	f.removeOrphans(t.Context(), asking, time.Now().Add(orphanAge+time.Minute))
	if exists("left") || !exists("by-hand") || !exists("web") {
		t.Error("not the pod that was left behind is removed")
	}

	event := func(edit func(*corev1.Event)) error {
		e := podEvent("default", "by-hand", byHand, toldPod{first: time.Now(), at: time.Now(), count: 1})
		e.Name, e.Reason, e.Message = "preflight.x", preflight.ReasonPlanned, "m"
		e.Annotations = map[string]string{preflight.Annotation: "{}"}
		edit(&e)
		return applyEvent(context.WithoutCancel(t.Context()), core, e)
	}
	if err := event(func(*corev1.Event) {}); err != nil {
		t.Errorf("the Event of a plan: %v", err)
	}
	for what, edit := range map[string]func(*corev1.Event){
		"another annotation":             func(e *corev1.Event) { e.Annotations["x"] = "y" },
		"a large annotation":             func(e *corev1.Event) { e.Annotations[preflight.Annotation] = strings.Repeat("x", preflight.MaxPlan+1) },
		"an annotation where none is":    func(e *corev1.Event) { e.Reason = eventReason },
		"the reason of an agent's":       func(e *corev1.Event) { e.Reason = preflight.ReasonChecked },
		"the signature of an agent":      func(e *corev1.Event) { e.ReportingController = preflight.AgentController },
		"in the name of an agent's node": func(e *corev1.Event) { e.ReportingInstance = "a" },
	} {
		if err := event(edit); err == nil || !strings.Contains(err.Error(), "pullprobe-fleet-events") {
			t.Errorf("%s: not refused by the policy: %v", what, err)
		}
	}
}
