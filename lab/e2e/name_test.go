//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var agentBinary = flag.String("agent", "../../bin/pullprobe", "the agent's binary, for tests that run it outside a pod")

// On a node whose name is too long for the prefix, the report is named after the Node's
// UID.
//
// No kubelet can register under such a name on the lab, so the Node is only an object:
// the agent runs as a process on node-a, under the long name, and the test sets the
// status that a kubelet would report for the pod.
func TestLongNodeName(t *testing.T) {
	const image = "registry.lab/app:nope"
	label := strings.Repeat("a", 62)
	name := strings.Join([]string{label, label, label, label}, ".") // 251 of the 253 characters allowed
	node := suite.bareNode(t, name)
	agent := suite.startAgent(t, nodeA, "--node-name="+name)

	uid := string(node.UID)
	cm, _, ok := suite.waitReport(t, uid, 30*time.Second, func(*corev1.ConfigMap, nodeReport) bool { return true })
	if !ok {
		t.Fatalf("no ConfigMap pullprobe-%s\n%s", uid, agent.log())
	}
	if len(cm.OwnerReferences) != 1 || cm.OwnerReferences[0].Kind != "Node" ||
		cm.OwnerReferences[0].Name != name || cm.OwnerReferences[0].UID != node.UID {
		t.Errorf("owner of the ConfigMap: %v", cm.OwnerReferences)
	}
	wantLabels(t, cm, "none", "Healthy", "0")

	ns := suite.namespace(t)
	p := suite.pod(t, podOptions{Node: name, Namespace: ns, Name: "stuck", Image: image})
	suite.reportStuck(t, p)
	d := suite.waitVerdict(t, uid, ns+"/stuck", "cluster-config TagNotFound confirmed", 30*time.Second)
	cm, r, _ := suite.waitReport(t, uid, 10*time.Second, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Stuck == 1 })
	wantLabels(t, cm, "cluster-config", "TagNotFound", "1")
	if r.Node != name {
		t.Errorf("the report is of node %q, want %q", r.Node, name)
	}
	// reportingInstance has room for the first 128 characters of the name only.
	suite.waitEvent(t, ns, "stuck", diagnosedReason, 10*time.Second, func(e corev1.Event) bool {
		return strings.HasPrefix(e.Message, d.Verdict.Fault+" / "+d.Verdict.Cause+" ") && e.ReportingInstance == name[:128]
	})

	now := int64(0)
	if err := suite.api.CoreV1().Pods(ns).Delete(t.Context(), "stuck", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	cm, _, _ = suite.waitReport(t, uid, 10*time.Second, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return r.Stuck == 0 && len(r.Diagnoses) == 0
	})
	wantLabels(t, cm, "none", "Healthy", "0")

	agent.stop(t, 10*time.Second)
	if err := suite.api.CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if !suite.eventually(t, time.Minute, func(ctx context.Context) bool {
		_, err := suite.api.CoreV1().ConfigMaps(agentNamespace).Get(ctx, cm.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}) {
		t.Errorf("the Node was deleted, and %s still exists", cm.Name)
	}
}

// wantLabels checks the labels that `kubectl get cm -l pullprobe.dev/report -L …` shows.
func wantLabels(t testing.TB, cm *corev1.ConfigMap, fault, cause, stuck string) {
	t.Helper()
	if cm == nil {
		t.Fatal("no ConfigMap")
	}
	for key, want := range map[string]string{"report": "", "fault": fault, "cause": cause, "stuck": stuck} {
		if got, ok := cm.Labels["pullprobe.dev/"+key]; !ok || got != want {
			t.Errorf("label %s is %q (there: %v), want %q", key, got, ok, want)
		}
	}
	if _, err := time.Parse("20060102T150405Z", cm.Labels["pullprobe.dev/checked"]); err != nil {
		t.Errorf("label checked: %v", err)
	}
}

// bareNode creates a Node object without a machine, and deletes it when the test ends. It
// has no capacity, so nothing is scheduled to it. But the DaemonSet creates a pod for it,
// which no controller deletes with the Node.
func (c *cluster) bareNode(t testing.TB, name string) *corev1.Node {
	t.Helper()
	n, err := c.api.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.api.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
		unbound := metav1.ListOptions{FieldSelector: "spec.nodeName="}
		if err := c.api.CoreV1().Pods(agentNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, unbound); err != nil {
			t.Error(err)
		}
	})
	return n
}

// reportStuck sets a pod's status to what a kubelet reports for a failed pull, with the
// message of node-a's runtime.
func (c *cluster) reportStuck(t testing.TB, p *corev1.Pod) {
	t.Helper()
	failed := c.Pull(t.Context(), nodeA, p.Spec.Containers[0].Image, nil)
	if failed.Message == "" {
		t.Fatalf("%s can be pulled", p.Spec.Containers[0].Image)
	}
	now := metav1.Now()
	p.Status = corev1.PodStatus{
		Phase: corev1.PodPending, StartTime: &now,
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: p.Spec.Containers[0].Name, Image: p.Spec.Containers[0].Image,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
				Reason: "ErrImagePull", Message: fmt.Sprintf("rpc error: code = %s desc = %s", failed.Code, failed.Message),
			}},
		}},
	}
	if _, err := c.api.CoreV1().Pods(p.Namespace).UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// agentProcess is an agent outside a pod.
type agentProcess struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{}
	err    error // of cmd.Wait, once it has ended
}

// startAgent runs the agent's binary as a process of a node, with an administrator's
// permissions. It kills the agent when the test ends, if it is still running.
func (c *cluster) startAgent(t testing.TB, node string, args ...string) *agentProcess {
	t.Helper()
	binary, err := filepath.Abs(*agentBinary)
	if err != nil {
		t.Fatal(err)
	}
	a := &agentProcess{ended: make(chan struct{})}
	a.cmd = exec.Command(binary, append([]string{
		"agent", "--kubeconfig=" + c.KubeconfigPath(), "--namespace=" + agentNamespace,
		"--runtime-endpoint=unix:///run/containerd/containerd.sock", "--journal-dir=" + t.TempDir(), "--health-addr=",
	}, args...)...)
	a.cmd.Stderr = &a.stderr
	if err := c.Start(node, a.cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(a.ended)
		a.err = a.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill()
		<-a.ended
	})
	return a
}

// stop sends SIGTERM to the agent, as the kubelet does, and checks that it exits without
// an error.
func (a *agentProcess) stop(t testing.TB, limit time.Duration) {
	t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, a.log())
	}
	select {
	case <-a.ended:
		if a.err != nil {
			t.Errorf("the agent ended with %v\n%s", a.err, a.log())
		}
	case <-time.After(limit):
		t.Fatalf("the agent is still running %v after SIGTERM\n%s", limit, a.log())
	}
}

// log kills the agent and returns its log.
func (a *agentProcess) log() string {
	_ = a.cmd.Process.Kill()
	<-a.ended
	return a.stderr.String()
}
