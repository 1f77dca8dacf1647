package doctor

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/report"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// well returns an installation of three nodes on which all is well.
func well() *cluster.Installation {
	two := int32(2)
	i := &cluster.Installation{
		Home: "pullprobe", Warnings: map[types.UID]corev1.Event{}, Unread: map[cluster.Part]string{}, Secrets: cluster.AllSecrets,
		Policies: []string{"pullprobe-report", "pullprobe-events"},
		DaemonSet: &appsv1.DaemonSet{
			ObjectMeta: metav1.ObjectMeta{Name: "pullprobe", Namespace: "pullprobe", UID: "daemonset"},
			Status:     appsv1.DaemonSetStatus{DesiredNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberReady: 3},
		},
		Fleet: &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "pullprobe-fleet"}, Spec: appsv1.DeploymentSpec{Replicas: &two}, Status: appsv1.DeploymentStatus{ReadyReplicas: 2},
		},
		Rights: []cluster.Right{{Verb: "list", Resource: "pods", Namespace: "shop", Allowed: true}},
	}
	for _, name := range []string{"node-a", "node-b", "node-c"} {
		i.Agents = append(i.Agents, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "pullprobe-" + name, UID: types.UID(name)}, Spec: corev1.PodSpec{NodeName: name},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		})
		i.Nodes = append(i.Nodes, cluster.Node{Name: name, Labels: map[string]string{}, Written: now.Add(-time.Minute)})
		i.Reports = append(i.Reports, cluster.Report{Node: name, Content: &report.NodeReport{Agent: "v1", Runtime: report.Check{Outcome: report.Pass}}})
	}
	return i
}

// stuck makes the agent of a node wait.
func stuck(i *cluster.Installation, n int, reason string) {
	p := &i.Agents[n]
	p.Status.Phase = corev1.PodPending
	p.Status.Conditions[0].Status = corev1.ConditionFalse
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "agent", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}
	i.DaemonSet.Status.NumberReady--
}

// TestChecks checks what is said of each thing that may be wrong.
func TestChecks(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*cluster.Installation)
		want   []string // lines of the text
	}{
		{"all is well", func(*cluster.Installation) {}, []string{
			"✓ daemonset pullprobe in namespace pullprobe: 3 of 3 agents ready", "✓ runtime the agents reach the container runtime on 3 nodes",
			"✓ reports 3 of 3 nodes report", "✓ versions the agents have version v1, as this plugin", "✓ fleet pullprobe-fleet: 2 of 2 replicas ready",
			"✓ secrets agents may read pull secrets", "✓ admission policies tie each agent to its own node", "✓ rights you may read",
		}},
		{"not installed", func(i *cluster.Installation) { *i = cluster.Installation{Home: "pullprobe"} }, []string{
			"✗ daemonset pullprobe is not installed in namespace pullprobe", "fix: install it",
		}},
		{"for no node", func(i *cluster.Installation) { i.DaemonSet.Status = appsv1.DaemonSetStatus{} }, []string{"✗ daemonset pullprobe is for no node"}},
		{"two agents with one fault", func(i *cluster.Installation) {
			for n := range 2 {
				stuck(i, n, "ContainerCreating")
				i.Warnings[i.Agents[n].UID] = corev1.Event{Reason: "FailedMount", Message: `MountVolume.SetUp failed for volume "containerd": hostPath type check failed: /run/containerd is not a directory`}
			}
		}, []string{
			"✗ daemonset pullprobe in namespace pullprobe: 1 of 3 agents ready",
			"✗ agents the agent of node-a, node-b is being created: container agent has not failed; FailedMount: MountVolume.SetUp failed",
			"fix: the path is of another kind on this node: change the volume of the DaemonSet",
		}},
		{"rejected", func(i *cluster.Installation) {
			i.Agents, i.DaemonSet.Status.NumberReady = nil, 0
			i.Warnings["daemonset"] = corev1.Event{Reason: "FailedCreate", Message: `pods "pullprobe-x" is forbidden: violates PodSecurity "baseline:latest": host namespaces`}
		}, []string{"✗ daemonset FailedCreate: pods", "fix: label the namespace"}},
		{"no socket", func(i *cluster.Installation) {
			i.Reports[1].Content.Runtime = report.Check{Outcome: report.Fail, Summary: "no runtime at /run/containerd/containerd.sock"}
		}, []string{"✗ runtime node-b: no runtime at /run/containerd/containerd.sock", "docs/setups.md"}},
		{"silent", func(i *cluster.Installation) { i.Nodes[2].Written = now.Add(-time.Hour) }, []string{"✗ reports node-c: the report is old, its agent is silent"}},
		{"an agent without a report", func(i *cluster.Installation) {
			i.Nodes[2].Labels = nil
			i.Reports = i.Reports[:2]
		}, []string{"✗ reports node-c: there is an agent, but no report"}},
		{"a node without an agent", func(i *cluster.Installation) {
			i.Nodes[2].Labels = nil
			i.Reports, i.Agents = i.Reports[:2], i.Agents[:2]
		}, []string{"– reports node-c: no agent, so no report"}},
		{"unreadable", func(i *cluster.Installation) {
			i.Reports[0] = cluster.Report{Node: "node-a", Problem: "its schema is v9"}
		}, []string{"✗ reports node-a: the report cannot be read: its schema is v9"}},
		{"versions", func(i *cluster.Installation) { i.Reports[0].Content.Agent = "v0" }, []string{
			"– versions the agents have several versions: v0 on node-a; v1 on node-b, node-c; this plugin has v1",
		}},
		{"without components", func(i *cluster.Installation) { i.Fleet, i.Secrets, i.Policies = nil, cluster.NoSecrets, nil }, []string{
			"– fleet not installed", "– secrets agents may not read pull secrets, so credentials are not checked", "– admission no policy pullprobe-report, pullprobe-events is bound",
		}},
		{"no leader", func(i *cluster.Installation) { i.Fleet.Status.ReadyReplicas = 0 }, []string{"✗ fleet pullprobe-fleet: none of 2 replicas is ready"}},
		{"rights", func(i *cluster.Installation) {
			i.Unread[cluster.PartDaemonSet] = "you may not list daemonsets in namespace pullprobe"
			i.Rights[0].Allowed, i.Rights[0].Without = false, "pods that wait are those that the reports name"
		}, []string{
			"? daemonset you may not list daemonsets in namespace pullprobe", "– rights you may not list pods in namespace shop: pods that wait are those that the reports name",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := well()
			c.change(i)
			text := screen.NewText(screen.Style{})
			Write(text, Checks(i, "v1", now))
			got := strings.Join(strings.Fields(text.String()), " ")
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			if c.name != "all is well" && !strings.ContainsAny(got, "✗–?") {
				t.Errorf("nothing is wrong in\n%s", text)
			}
		})
	}
}
