//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/lab"
)

// hideHost makes a host's name not exist until show is called or the test ends, so that
// pods that need it fail fast.
func (c *cluster) hideHost(t testing.TB, host string) (show func()) {
	t.Helper()
	show = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.UnsetDNS(ctx, lab.ResolverGood, host); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(show)
	if err := c.SetDNS(t.Context(), lab.ResolverGood, host, lab.Answer{Rcode: "NXDOMAIN"}); err != nil {
		t.Fatal(err)
	}
	return show
}

// waitTestPull waits until the journal of a node's agent has a running test pull.
func (c *cluster) waitTestPull(t testing.TB, node string) {
	t.Helper()
	if !c.eventually(t, 20*time.Second, func(context.Context) bool { return c.countJournal(t, node) > 0 }) {
		t.Fatal("no test pull began")
	}
}

// countJournal counts the entries of the agent's journal of test pulls.
func (c *cluster) countJournal(t testing.TB, node string) int {
	t.Helper()
	dir, err := c.Path(node, "/var/lib/pullprobe")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(entries)
}

// makeSlowStuckPod creates a pod that has failed to pull an image that takes long. When it
// returns, the image can be pulled.
func (c *cluster) makeSlowStuckPod(t testing.TB, ns, name string) *corev1.Pod {
	t.Helper()
	const image = "slow.lab/big:1"
	if err := c.RemoveImage(t.Context(), nodeA, image); err != nil {
		t.Log(err)
	}
	show := c.hideHost(t, "slow.lab")
	p := c.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: name, Image: image})
	c.waitVerdict(t, nodeA, ns+"/"+name, "* HostNotFound *", 30*time.Second)
	show()
	return p
}

// waitImageGone waits until a test-pulled image is removed. The journal's entry stays
// longer, in case containerd finishes a pull whose client has died.
func (c *cluster) waitImageGone(t testing.TB, node, image string) {
	t.Helper()
	if !c.eventually(t, time.Minute, func(context.Context) bool { return !c.hasImage(t, node, image) }) {
		t.Errorf("%s is still on %s; journal entries: %d", image, node, c.countJournal(t, node))
	}
}

// After a kill -9 of the agent during a test pull, all verdicts come back and no image is
// left.
func TestAgentKilled(t *testing.T) {
	suite.useNode(t, nodeA)
	ns := suite.namespace(t)
	p := suite.makeSlowStuckPod(t, ns, "killed")
	// A second pod whose verdict must come back.
	suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "other", Image: "registry.lab/app:nope"})
	suite.waitVerdict(t, nodeA, ns+"/other", "cluster-config TagNotFound confirmed", 30*time.Second)
	value := "now"
	suite.annotate(t, p, &value)
	suite.waitTestPull(t, nodeA)
	pids, err := suite.PIDs(nodeA, "pullprobe")
	if err != nil || len(pids) == 0 {
		t.Fatalf("no agent process on %s: %v", nodeA, err)
	}
	killed := time.Now()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	_, r, ok := suite.waitReport(t, nodeA, 2*time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool {
		again := map[string]bool{}
		for _, d := range r.Diagnoses {
			again[d.Pod] = d.Time.After(killed)
		}
		return again[ns+"/other"] && again[ns+"/killed"]
	})
	if !ok {
		t.Errorf("not all verdicts are back: %v", r.Diagnoses)
	}
	suite.kubectl(t, "delete", "pod", "-n", ns, "killed", "--now")
	suite.waitImageGone(t, nodeA, "slow.lab/big:1")
}

// A restart of containerd during a test pull affects only that pull.
func TestContainerdRestarts(t *testing.T) {
	suite.useNode(t, nodeA)
	ns := suite.namespace(t)
	p := suite.makeSlowStuckPod(t, ns, "interrupted")
	restarts := suite.restarts(t, nodeA)
	value := "now"
	suite.annotate(t, p, &value)
	suite.waitTestPull(t, nodeA)
	if err := suite.KillService(t.Context(), nodeA, "containerd"); err != nil {
		t.Fatal(err)
	}
	_, r, ok := suite.waitReport(t, nodeA, time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool {
		for _, d := range r.Diagnoses {
			if d.Pod == ns+"/interrupted" && d.Asked == value {
				return true
			}
		}
		return false
	})
	if !ok {
		t.Errorf("the request was not answered: %v", r.Diagnoses)
	}
	suite.kubectl(t, "delete", "pod", "-n", ns, "interrupted", "--now")
	suite.waitImageGone(t, nodeA, "slow.lab/big:1")
	if after := suite.restarts(t, nodeA); after != restarts {
		t.Errorf("the agent restarted: %d before, %d after", restarts, after)
	}
}

// A verdict that is reached while the API server is down is published when it is up.
func TestAPIServerAway(t *testing.T) {
	ns := suite.namespace(t)
	suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "late", Image: "blackhole.lab/late:1"})
	if !suite.eventually(t, 20*time.Second, func(ctx context.Context) bool {
		reason := suite.kubectl(t, "get", "pod", "-n", ns, "late", "-o", "jsonpath={.status.containerStatuses[0].state.waiting.reason}")
		return reason == "ContainerCreating"
	}) {
		t.Fatal("the kubelet does not start the pod")
	}
	start := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := suite.StartAPIServer(ctx); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		start()
		// Kubelets and controllers take up to a minute to watch again. Restart them, so
		// that the next test need not wait.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := suite.RestartService(ctx, lab.Infra, "kube-controller-manager"); err != nil {
			t.Error(err)
		}
		for _, node := range []string{nodeA, nodeB} {
			if err := suite.RestartService(ctx, node, "kubelet"); err != nil {
				t.Error(err)
			}
			if err := suite.WaitNode(ctx, node); err != nil {
				t.Error(err)
			}
		}
	})
	agent := suite.agentPod(t, nodeA)
	stopped := time.Now()
	if err := suite.StopAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !suite.eventually(t, time.Minute, func(context.Context) bool {
		return strings.Contains(suite.logFile(t, &agent), `"diagnosed","pod":"`+ns+"/late")
	}) {
		t.Fatal("the agent reaches no verdict while the API server is away")
	}
	start()
	back := time.Now()
	d := suite.waitVerdict(t, nodeA, ns+"/late", "* ConnectionTimeout *", time.Minute)
	if !d.Time.After(stopped) {
		t.Errorf("verdict of %v is from before the outage at %v", d.Time, stopped)
	}
	t.Logf("the verdict was made %v after the API server stopped and published %v after it started",
		d.Time.Sub(stopped).Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
}

// logFile returns what an agent has logged, without the API server.
func (c *cluster) logFile(t *testing.T, agent *corev1.Pod) string {
	t.Helper()
	dir, err := c.Path(agent.Spec.NodeName, fmt.Sprintf("/var/log/pods/%s_%s_%s", agent.Namespace, agent.Name, agent.UID))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/*/*.log")
	if err != nil || len(files) == 0 {
		t.Fatalf("the agent has no log below %s: %v", dir, err)
	}
	text, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
