//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// plugin runs kubectl-pullprobe as administrator, and returns what it prints and its exit code.
func (c *cluster) plugin(t testing.TB, args ...string) (text string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), pluginPath(t), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.KubeconfigPath(), "KUBECACHEDIR="+t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := c.RunInfraNetwork(cmd); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// pluginPath returns the path of kubectl-pullprobe.
func pluginPath(t testing.TB) string {
	t.Helper()
	program, err := filepath.Abs("../../bin/kubectl-pullprobe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: make plugin", err)
	}
	return program
}

// wantPlugin fails a test unless the plugin ended with a code and printed some texts.
func wantPlugin(t testing.TB, text string, got, want int, texts ...string) {
	t.Helper()
	if got != want {
		t.Errorf("exit code %d, want %d\n%s", got, want, text)
	}
	for _, s := range texts {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), s) {
			t.Errorf("no %q in\n%s", s, text)
		}
	}
}

// The plugin waits for rollouts: one whose tag is missing, a good one, and a pod that waits for
// something else.
func TestPluginWait(t *testing.T) {
	suite.useNode(t, nodeA)
	ns := suite.namespace(t)
	suite.deployment(t, ns, "bad", "registry.lab/app:v1", 3)
	text, code := suite.plugin(t, "wait", "deployment/bad", "-n", ns, "--timeout", "2m")
	ended := time.Now()
	wantPlugin(t, text, code, 1, "cluster-config TagNotFound (confirmed)", "kubectl -n "+ns+" set image deployment/bad app=registry.lab/app:1")
	pod := strings.TrimSpace(suite.kubectl(t, "get", "pods", "-n", ns, "-o", "jsonpath={.items[0].metadata.name}"))
	e := suite.waitEvent(t, ns, pod, "Failed", time.Minute, func(e corev1.Event) bool { return strings.Contains(e.Message, "not found") })
	t.Logf("ended %v after the kubelet's first failure", ended.Sub(e.FirstTimestamp.Time).Round(time.Millisecond))

	suite.deployment(t, ns, "good", "registry.lab/app:1", 1)
	text, code = suite.plugin(t, "wait", "deployment/good", "-n", ns, "--timeout", "2m")
	wantPlugin(t, text, code, 0, `deployment "good" successfully rolled out`)

	suite.pod(t, podOptions{Namespace: ns, Name: "nowhere", Image: "registry.lab/app:1", Edit: func(p *corev1.Pod) {
		p.Spec.NodeSelector = map[string]string{"no": "such-node"}
	}})
	text, code = suite.plugin(t, "wait", "pod/nowhere", "-n", ns, "--timeout", "3s")
	wantPlugin(t, text, code, 3, "pod/nowhere is not ready after 3 s", "Unschedulable")
}

// The plugin asks for a diagnosis and shows the answer to this request, with its checks, also for
// a caller who may not read reports.
func TestPluginAsk(t *testing.T) {
	suite.useNode(t, nodeA)
	ns := suite.namespace(t)
	suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "web", Image: "registry.lab/app:v1"})
	suite.waitVerdict(t, nodeA, ns+"/web", "cluster-config TagNotFound confirmed", time.Minute)
	began := time.Now()
	text, code := suite.plugin(t, "ask", "web", "-n", ns)
	wantPlugin(t, text, code, 1, "cluster-config TagNotFound (confirmed)", "✗ manifest", "✗ pull")
	t.Logf("answered after %v", time.Since(began).Round(time.Millisecond))

	suite.kubectl(t, "create", "role", "tenant", "-n", ns, "--verb=get,list,watch,patch", "--resource=pods,events")
	suite.kubectl(t, "create", "rolebinding", "tenant", "-n", ns, "--role=tenant", "--user=tenant")
	text, code = suite.plugin(t, "web", "-n", ns, "--as", "tenant")
	wantPlugin(t, text, code, 1, "cluster-config TagNotFound (confirmed)", "you may not get configmaps in namespace pullprobe")
	text, code = suite.plugin(t, "ask", "web", "-n", ns, "--as", "tenant")
	wantPlugin(t, text, code, 1, "cluster-config TagNotFound (confirmed)", "only the Events on the pod are shown")
}
