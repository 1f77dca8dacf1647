//go:build e2e

package e2e

import (
	"context"
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

// One sweep over twenty registries finds each of those that are broken with its
// cause, and asks none for more than it may.
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
	it.bareNode(t, name)
	mark, err := it.RegistryMark()
	if err != nil {
		t.Fatal(err)
	}
	agent := it.startAgent(t, nodeB, "--node-name="+name, "--targets="+strings.Join(targets, ","))
	cm, r, ok := it.waitReport(t, name, time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool { return len(r.Sweep.Registries) > 0 })
	if !ok {
		t.Fatalf("no sweep\n%s", agent.log())
	}
	for host, state := range want {
		if got := r.Sweep.of(host); got != state {
			t.Errorf("%s is %q, want %q", host, got, state)
		}
	}
	if got := r.Sweep.of("token.lab:5001"); got != "reachable" {
		t.Errorf("the token service is %q", got)
	}
	if r.Sweep.Control.Outcome != "pass" || cm.Labels["pullprobe.dev/fault"] != "none" || cm.Labels["pullprobe.dev/unreachable"] != "7" {
		t.Errorf("control %s, labels %v", r.Sweep.Control.Outcome, cm.Labels)
	}
	t.Logf("%d hosts in %d ms", len(r.Sweep.Registries), r.Sweep.DurationMs)
	for _, line := range strings.Split(cm.Data["summary"], "\n") {
		if len(line) > 80 {
			t.Errorf("wider than 80 columns: %q", line)
		}
	}

	requests, err := it.RegistryLog("", mark)
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
		if q.Auth != "" || q.Method != "GET" && q.Method != "HEAD" || q.Path != "/v2/" && q.Path != "/token" || strings.Contains(q.Query, "scope") {
			t.Errorf("more than a sweep may ask: %+v", q)
		}
	}
	if asked < len(want)-5 {
		t.Errorf("%d requests are in the log", asked)
	}
}

// sweepNow asks the agent of a node for a sweep, as a user does, and waits for
// one that passes.
func (c *cluster) sweepNow(t testing.TB, node string, ok func(*corev1.ConfigMap, nodeReport) bool) (*corev1.ConfigMap, nodeReport) {
	t.Helper()
	agent := c.agentPod(t, node)
	value := fmt.Sprint(time.Now().UnixNano())
	began := time.Now()
	c.annotate(t, &agent, &value)
	cm, r, found := c.waitReport(t, node, 30*time.Second, func(cm *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.Time.After(began) && ok(cm, r) })
	if !found {
		t.Fatalf("no such sweep of %s; the last: %+v", node, r.Sweep)
	}
	return cm, r
}

func anySweep(*corev1.ConfigMap, nodeReport) bool { return true }

// nodeEvents are pullprobe's Events on a Node, since a time.
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

// usesRegistries has pods of a node run from several registries, so that they
// are swept and known to be reachable.
func (c *cluster) usesRegistries(t testing.TB, ns, node string, hosts ...string) {
	t.Helper()
	for _, host := range hosts {
		name := "on-" + strings.TrimSuffix(host, ".lab")
		c.pod(t, podOptions{Node: node, Namespace: ns, Name: name, Image: host + "/app:1"})
		c.waitRunning(t, ns, name)
	}
}

// A registry that is broken and mended under a running agent: the report, an
// Event on the Node, the metrics and the log tell, once each.
func TestRegistryGoesAndComes(t *testing.T) {
	it.on(t, nodeA)
	ns := it.namespace(t)
	it.usesRegistries(t, ns, nodeA, "registry.lab", "mirror.lab")
	it.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return r.Sweep.of("registry.lab") == "reachable" && r.Sweep.of("mirror.lab") == "reachable"
	})
	began := time.Now().Add(-time.Second)
	it.inject(t, nodeA, "registry-dropped")
	cm, _ := it.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return r.Sweep.of("registry.lab") == "unreachable ConnectionTimeout"
	})
	if !slices.ContainsFunc(strings.Split(cm.Data["summary"], "\n"), func(line string) bool {
		return strings.Contains(line, "unreachable  ConnectionTimeout") && strings.HasSuffix(line, "registry.lab")
	}) || cm.Labels["pullprobe.dev/fault"] != "none" {
		t.Errorf("%v\n%s", cm.Labels, cm.Data["summary"])
	}
	if m := it.metrics(t, nodeA); !strings.Contains(m, `pullprobe_registry_reachable{registry="registry.lab"} 0`) ||
		!strings.Contains(m, `pullprobe_registry_fault{cause="ConnectionTimeout",fault="node-infrastructure",registry="registry.lab"} 1`) ||
		!strings.Contains(m, `pullprobe_registry_reachable{registry="mirror.lab"} 1`) {
		t.Error("the metrics do not tell")
	}
	it.sweepNow(t, nodeA, anySweep) // no news
	if err := it.Lift(t.Context(), nodeA, "registry-dropped"); err != nil {
		t.Fatal(err)
	}
	it.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.of("registry.lab") == "reachable" })
	if m := it.metrics(t, nodeA); !strings.Contains(m, `pullprobe_registry_reachable{registry="registry.lab"} 1`) {
		t.Error("the metrics do not tell that it is back")
	}
	if !it.eventually(t, 10*time.Second, func(context.Context) bool { return len(it.nodeEvents(t, nodeA, began)) >= 2 }) {
		t.Error("the Events do not tell")
	}
	var reasons []string
	for _, e := range it.nodeEvents(t, nodeA, began) {
		if strings.Contains(e.Message, "registry.lab") {
			reasons = append(reasons, e.Reason)
		}
	}
	slices.Sort(reasons)
	if !slices.Equal(reasons, []string{"RegistryReachable", "RegistryUnreachable"}) {
		t.Errorf("Events: %q", reasons)
	}
	log := it.agentLog(t, it.agentPod(t, nodeA).Name, "--since=2m")
	for _, line := range []string{`"a registry can not be had","registry":"registry.lab"`, `"a registry can be had again","registry":"registry.lab"`} {
		if n := strings.Count(log, line); n != 1 {
			t.Errorf("%d lines of the log have %s", n, line)
		}
	}
}

// With all egress of a node cut there is one verdict, not one for each registry,
// and the pods that wait share it.
func TestEgressCut(t *testing.T) {
	ns := it.namespace(t)
	hosts := []string{"registry.lab", "mirror.lab", "dual.lab", "slow.lab"}
	it.usesRegistries(t, ns, nodeA, hosts...)
	it.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.of("slow.lab") == "reachable" })
	began := time.Now().Add(-time.Second)
	it.inject(t, nodeA, "egress-dropped")
	for i, host := range hosts {
		it.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: fmt.Sprintf("waits-%d", i), Image: fmt.Sprintf("%s/cut:%d", host, time.Now().UnixNano())})
	}
	cm, r := it.sweepNow(t, nodeA, func(cm *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.Control.Outcome == "fail" })
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
	it.waitVerdict(t, nodeA, ns+"/waits-0", "node-infrastructure ResolverUnreachable *", time.Minute)
	cm, _ = it.sweepNow(t, nodeA, func(cm *corev1.ConfigMap, r nodeReport) bool { return r.Stuck == len(hosts) })
	t.Logf("the summary:\n%s", cm.Data["summary"])
	if n := strings.Count(cm.Data["summary"], "nothing is reachable"); n < 1 {
		t.Error("the summary does not say that nothing is reachable")
	}
	var reasons []string
	for _, e := range it.nodeEvents(t, nodeA, began) {
		reasons = append(reasons, e.Reason)
	}
	if !slices.Equal(reasons, []string{"NothingReachable"}) {
		t.Errorf("Events: %q", reasons)
	}
	other, _, _ := it.waitReport(t, nodeB, time.Second, func(*corev1.ConfigMap, nodeReport) bool { return true })
	if other == nil || other.Labels["pullprobe.dev/fault"] != "none" {
		t.Errorf("the healthy node is blamed: %v", other.Labels)
	}

	// When it is over, the next sweep says so.
	if err := it.Lift(t.Context(), nodeA, "egress-dropped"); err != nil {
		t.Fatal(err)
	}
	if err := it.RestartContainerd(t.Context(), nodeA); err != nil { // it forgets the lookups that hang
		t.Fatal(err)
	}
	it.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.Control.Outcome == "pass" })
}
