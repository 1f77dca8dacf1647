//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/pullprobe/pullprobe/lab"
)

// One sweep over twenty registries finds each broken one with its cause, and sends no
// other requests than a sweep may send.
func TestSweep(t *testing.T) {
	want := map[string]string{
		"expired.lab":     "unreachable CertificateExpired",
		"badca.lab":       "unreachable CertificateUntrusted",
		"wrongname.lab":   "unreachable CertificateNameMismatch",
		"refused.lab":     "unreachable ConnectionRefused",
		"blackhole.lab":   "unreachable ConnectionTimeout",
		"unavailable.lab": "unreachable RegistryUnavailable",
		"ratelimit.lab":   "limited RateLimited",
	}
	for _, good := range []string{
		"registry.lab", "mirror.lab", "dual.lab", "auth.lab", "token.lab", "slow.lab", "redirect.lab", "blobs.lab",
		"badblob.lab", "truncblob.lab", "slowblob.lab", "noblob.lab", "noaccess.lab",
	} {
		want[good] = "reachable"
	}
	var targets []string
	for host := range want {
		targets = append(targets, host)
	}
	const name = "sweeps"
	suite.bareNode(t, name)
	mark, err := suite.RegistryMark()
	if err != nil {
		t.Fatal(err)
	}
	agent := suite.startAgent(t, nodeB, "--node-name="+name, "--targets="+strings.Join(targets, ","))
	cm, r, ok := suite.waitReport(t, name, time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool { return len(r.Sweep.Registries) > 0 })
	if !ok {
		t.Fatalf("no sweep\n%s", agent.log())
	}
	for host, state := range want {
		if got := r.Sweep.stateOf(host); got != state {
			t.Errorf("%s is %q, want %q", host, got, state)
		}
	}
	if got := r.Sweep.stateOf("token.lab:5001"); got != "reachable" {
		t.Errorf("the token service is %q", got)
	}
	if r.Sweep.Control.Outcome != "pass" || cm.Labels["pullprobe.dev/fault"] != "none" || cm.Labels["pullprobe.dev/unreachable"] != "7" {
		t.Errorf("control %s, labels %v", r.Sweep.Control.Outcome, cm.Labels)
	}
	t.Logf("%d hosts in %d ms", len(r.Sweep.Registries), r.Sweep.DurationMs)
	for _, line := range strings.Split(cm.Data["summary"], "\n") {
		if len(line) > 80 && !strings.Contains(line, "kubectl ") {
			t.Errorf("wider than 80 columns: %q", line)
		}
	}

	requests, err := suite.RegistryLog("", mark)
	if err != nil {
		t.Fatal(err)
	}
	addr := ""
	for _, n := range lab.Nodes() {
		if n.Name == nodeB {
			addr = n.Addr
		}
	}
	asked := 0
	for _, q := range requests {
		if q.UserAgent != "pullprobe" || !strings.HasPrefix(q.Remote, addr+":") {
			continue
		}
		asked++
		if q.Auth != "" || q.Method != "GET" && q.Method != "HEAD" ||
			q.Path != "/v2/" && q.Path != "/token" || strings.Contains(q.Query, "scope") {
			t.Errorf("a sweep may not send this request: %+v", q)
		}
	}
	if asked < len(want)-5 {
		t.Errorf("the log has %d requests", asked)
	}
}

// sweepNow requests a sweep from the agent of a node, as a user does, and waits until one
// is ok.
func (c *cluster) sweepNow(t testing.TB, node string, ok func(*corev1.ConfigMap, nodeReport) bool) (*corev1.ConfigMap, nodeReport) {
	t.Helper()
	agent := c.agentPod(t, node)
	value := fmt.Sprint(time.Now().UnixNano())
	began := time.Now()
	c.annotate(t, &agent, &value)
	cm, r, found := c.waitReport(t, node, 30*time.Second, func(cm *corev1.ConfigMap, r nodeReport) bool {
		return r.Sweep.Time.After(began) && ok(cm, r)
	})
	if !found {
		t.Fatalf("no such sweep of %s; the last: %+v", node, r.Sweep)
	}
	return cm, r
}

// oneLine returns the text with all white space as single spaces.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func anySweep(*corev1.ConfigMap, nodeReport) bool { return true }

// restartAgent deletes the agent's pod on a node, and waits until another one is ready.
func (c *cluster) restartAgent(t testing.TB, node string) {
	t.Helper()
	old := c.agentPod(t, node)
	now := int64(0)
	if err := c.api.CoreV1().Pods(agentNamespace).Delete(t.Context(), old.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	if !c.eventually(t, time.Minute, func(ctx context.Context) bool {
		list, err := c.api.CoreV1().Pods(agentNamespace).List(ctx, metav1.ListOptions{
			LabelSelector: "app.kubernetes.io/name=pullprobe", FieldSelector: "spec.nodeName=" + node,
		})
		return err == nil && slices.ContainsFunc(list.Items, func(p corev1.Pod) bool {
			return p.Name != old.Name && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
		})
	}) {
		t.Fatalf("no agent of %s is ready", node)
	}
}

// nodeEvents returns pullprobe's Events on a Node since a time.
func (c *cluster) nodeEvents(t testing.TB, node string, since time.Time) (out []corev1.Event) {
	t.Helper()
	list, err := c.api.CoreV1().Events(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.kind": "Node", "involvedObject.name": node}.String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.ReportingController == "pullprobe.dev/agent" && e.EventTime.After(since) {
			out = append(out, e)
		}
	}
	return out
}

// runFromRegistries runs pods from several registries on a node, so that its agent sweeps
// these registries and knows that they are reachable.
func (c *cluster) runFromRegistries(t testing.TB, ns, node string, hosts ...string) {
	t.Helper()
	for _, host := range hosts {
		name := "on-" + strings.TrimSuffix(host, ".lab")
		c.pod(t, podOptions{Node: node, Namespace: ns, Name: name, Image: host + "/app:1"})
		c.waitRunning(t, ns, name)
	}
}

// When a registry becomes unreachable and reachable again, the report and the metrics
// show it, and the Events on the Node and the log have it once each.
func TestRegistryGoesAndComes(t *testing.T) {
	suite.useNode(t, nodeA)
	suite.restartAgent(t, nodeA) // it may have seen the registry go and come in other tests, often enough for it to be flapping
	ns := suite.namespace(t)
	suite.runFromRegistries(t, ns, nodeA, "registry.lab", "mirror.lab")
	suite.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return r.Sweep.stateOf("registry.lab") == "reachable" && r.Sweep.stateOf("mirror.lab") == "reachable"
	})
	began := time.Now().Add(-time.Second)
	suite.inject(t, nodeA, "registry-dropped")
	cm, _ := suite.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return r.Sweep.stateOf("registry.lab") == "unreachable ConnectionTimeout"
	})
	if !slices.ContainsFunc(strings.Split(cm.Data["summary"], "\n"), func(line string) bool {
		f := strings.Fields(line) // state, cause, days of the certificate, host
		return len(f) == 4 && f[0] == "unreachable" && f[1] == "ConnectionTimeout" && f[3] == "registry.lab"
	}) || cm.Labels["pullprobe.dev/fault"] != "none" {
		t.Errorf("%v\n%s", cm.Labels, cm.Data["summary"])
	}
	if m := suite.metrics(t, nodeA); !strings.Contains(m, `pullprobe_registry_reachable{registry="registry.lab"} 0`) ||
		!strings.Contains(m, `pullprobe_registry_fault{cause="ConnectionTimeout",fault="node-infrastructure",registry="registry.lab"} 1`) ||
		!strings.Contains(m, `pullprobe_registry_reachable{registry="mirror.lab"} 1`) {
		t.Error("the metrics do not show that registry.lab is unreachable")
	}
	suite.sweepNow(t, nodeA, anySweep) // no change, so no Event
	if err := suite.Lift(t.Context(), nodeA, "registry-dropped"); err != nil {
		t.Fatal(err)
	}
	suite.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.stateOf("registry.lab") == "reachable" })
	if m := suite.metrics(t, nodeA); !strings.Contains(m, `pullprobe_registry_reachable{registry="registry.lab"} 1`) {
		t.Error("the metrics do not show that registry.lab is reachable again")
	}
	if !suite.eventually(t, 10*time.Second, func(context.Context) bool { return len(suite.nodeEvents(t, nodeA, began)) >= 2 }) {
		t.Error("there are not two Events on the Node")
	}
	var reasons []string
	for _, e := range suite.nodeEvents(t, nodeA, began) {
		if strings.Contains(e.Message, "registry.lab") {
			reasons = append(reasons, e.Reason)
		}
	}
	slices.Sort(reasons)
	if !slices.Equal(reasons, []string{"RegistryReachable", "RegistryUnreachable"}) {
		t.Errorf("Events: %q", reasons)
	}
	log := suite.agentLog(t, suite.agentPod(t, nodeA).Name, "--since=2m")
	changes := loggedChanges(log, "registry.lab")
	for _, want := range []string{"WARN unreachable ConnectionTimeout", "INFO reachable "} {
		if n := strings.Count(strings.Join(changes, "\n")+"\n", want+"\n"); n != 1 {
			t.Errorf("%q is logged %d times, want once: %q", want, n, changes)
		}
	}
}

// loggedChanges returns the changes of a host's state that an agent has logged, each as
// "level state cause". The cause is empty for a host that is reachable again.
func loggedChanges(log, host string) []string {
	var out []string
	for line := range strings.Lines(log) {
		var entry struct{ Level, Registry, State, Cause string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Registry == host && entry.State != "" {
			out = append(out, entry.Level+" "+entry.State+" "+entry.Cause)
		}
	}
	return out
}

// With all egress of a node cut, there is one verdict for all registries, and the waiting
// pods share it.
func TestEgressCut(t *testing.T) {
	ns := suite.namespace(t)
	hosts := []string{"registry.lab", "mirror.lab", "dual.lab", "slow.lab"}
	suite.runFromRegistries(t, ns, nodeA, hosts...)
	suite.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.stateOf("slow.lab") == "reachable" })
	began := time.Now().Add(-time.Second)
	suite.inject(t, nodeA, "egress-dropped")
	for i, host := range hosts {
		image := fmt.Sprintf("%s/cut:%d", host, time.Now().UnixNano())
		suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: fmt.Sprintf("waits-%d", i), Image: image})
	}
	cm, r := suite.sweepNow(t, nodeA, func(cm *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.Control.Outcome == "fail" })
	if cm.Labels["pullprobe.dev/fault"] != "node-infrastructure" {
		t.Errorf("labels %v", cm.Labels)
	}
	for _, host := range hosts {
		for _, reg := range r.Sweep.Registries {
			if reg.Host == host && (reg.State != "unreachable" || reg.Fault != "node-infrastructure") {
				t.Errorf("%+v", reg)
			}
		}
	}
	suite.waitVerdict(t, nodeA, ns+"/waits-0", "node-infrastructure ResolverUnreachable *", time.Minute)
	cm, r = suite.sweepNow(t, nodeA, func(cm *corev1.ConfigMap, r nodeReport) bool { return r.Stuck == len(hosts) })
	t.Logf("the summary:\n%s", cm.Data["summary"])
	// The summary is wrapped, the sentence in the report is not. Hosts that pods need come first
	// in the summary.
	sentence, _, _ := strings.Cut(r.Sweep.Control.Summary, " (")
	if sentence == "" || !strings.Contains(oneLine(cm.Data["summary"]), oneLine(sentence)) {
		t.Errorf("the summary does not have the control check's sentence %q", sentence)
	}
	var reasons []string
	for _, e := range suite.nodeEvents(t, nodeA, began) {
		if e.Reason != "RegistryReachable" { // from a fault before this one
			reasons = append(reasons, e.Reason)
		}
	}
	if !slices.Equal(reasons, []string{"NothingReachable"}) {
		t.Errorf("Events: %q", reasons)
	}
	other, _, _ := suite.waitReport(t, nodeB, time.Second, func(*corev1.ConfigMap, nodeReport) bool { return true })
	if other == nil || other.Labels["pullprobe.dev/fault"] != "none" {
		t.Errorf("the healthy node has a fault: %v", other.Labels)
	}

	// When the fault is lifted, the next sweep shows it.
	if err := suite.Lift(t.Context(), nodeA, "egress-dropped"); err != nil {
		t.Fatal(err)
	}
	if err := suite.RestartContainerd(t.Context(), nodeA); err != nil { // it drops the lookups that hang
		t.Fatal(err)
	}
	suite.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.Control.Outcome == "pass" })
}
