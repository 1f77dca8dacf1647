//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pullprobe/pullprobe/lab"
)

// tokenOf returns a client with a token of a pod's ServiceAccount, bound to the pod, as somebody has it who
// has stolen the pod's own.
func (c *cluster) tokenOf(t testing.TB, pod *corev1.Pod) kubernetes.Interface {
	t.Helper()
	token, err := c.api.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(t.Context(), pod.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", c.KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}
	cfg = rest.AnonymousClientConfig(cfg)
	cfg.BearerToken = token.Status.Token
	cfg.Dial = func(ctx context.Context, network, addr string) (netConn, error) {
		return c.Dial(ctx, lab.Infra, network, addr)
	}
	api, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// fleetPods returns the fleet's pods, the leader first.
func (c *cluster) fleetPods(t testing.TB) []corev1.Pod {
	t.Helper()
	pods, err := c.api.CoreV1().Pods(agentNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + fleetName})
	if err != nil {
		t.Fatal(err)
	}
	leader := c.fleetLeader(t)
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int {
		return strings.Compare(strconv.FormatBool(a.Name != leader), strconv.FormatBool(b.Name != leader))
	})
	if len(pods.Items) == 0 || pods.Items[0].Name != leader {
		t.Fatalf("no pod is the leader %s", leader)
	}
	return pods.Items
}

func (c *cluster) fleetLeader(t testing.TB) string {
	t.Helper()
	lease, err := c.api.CoordinationV1().Leases(agentNamespace).Get(t.Context(), fleetName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *lease.Spec.HolderIdentity
}

// A stolen token of an agent and the fleet's own token: what else they would be used for is refused.
func TestStolenTokens(t *testing.T) {
	skipWithoutFleet(t)
	agent, fleet := suite.agentPod(t, nodeB), suite.fleetPods(t)[0]
	ctx, dry := t.Context(), []string{metav1.DryRunAll}
	write := func(api kubernetes.Interface, name, key string) error {
		_, err := api.CoreV1().ConfigMaps(agentNamespace).Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"`+key+`":"forged"}}`), metav1.PatchOptions{DryRun: dry})
		return err
	}
	stolen := map[string]kubernetes.Interface{"agent of node-b": suite.tokenOf(t, &agent), "fleet": suite.tokenOf(t, &fleet)}
	for who, api := range stolen {
		for what, try := range map[string]func() error{
			"the report of node-a": func() error { return write(api, "pullprobe-node-a", "summary") },
			"another ConfigMap":    func() error { return write(api, "kube-root-ca.crt", "ca.crt") },
			"deleting a report": func() error {
				return api.CoreV1().ConfigMaps(agentNamespace).Delete(ctx, "pullprobe-node-a", metav1.DeleteOptions{DryRun: dry})
			},
			"deleting a pod": func() error {
				return api.CoreV1().Pods(agentNamespace).Delete(ctx, agent.Name, metav1.DeleteOptions{DryRun: dry})
			},
			"running a pod": func() error {
				_, err := api.CoreV1().Pods(agentNamespace).Create(ctx, suite.newPod(podOptions{Node: nodeA, Namespace: agentNamespace, Name: "evil", Image: "x"}), metav1.CreateOptions{DryRun: dry})
				return err
			},
			"changing the DaemonSet": func() error {
				_, err := api.AppsV1().DaemonSets(agentNamespace).Patch(ctx, "pullprobe", types.MergePatchType, []byte(`{"spec":{"minReadySeconds":9}}`), metav1.PatchOptions{DryRun: dry})
				return err
			},
			"listing secrets": func() error {
				_, err := api.CoreV1().Secrets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
				return err
			},
			"changing a node": func() error {
				_, err := api.CoreV1().Nodes().Patch(ctx, nodeA, types.MergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{DryRun: dry})
				return err
			},
			"another token": func() error {
				_, err := api.CoreV1().ServiceAccounts(agentNamespace).CreateToken(ctx, "pullprobe", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
				return err
			},
		} {
			if err := try(); !apierrors.IsForbidden(err) {
				t.Errorf("%s, %s: not refused: %v", who, what, err)
			}
		}
	}
	for what, err := range map[string]error{
		"an agent writes the fleet's ConfigMap": write(stolen["agent of node-b"], fleetName, "fleet.json"),
		"an agent deletes the Lease": stolen["agent of node-b"].CoordinationV1().Leases(agentNamespace).
			Delete(ctx, fleetName, metav1.DeleteOptions{DryRun: dry}),
		"the fleet deletes its own ConfigMap": stolen["fleet"].CoreV1().ConfigMaps(agentNamespace).
			Delete(ctx, fleetName, metav1.DeleteOptions{DryRun: dry}),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: not refused: %v", what, err)
		}
	}
	// So it was not refused for another reason.
	if err := write(stolen["agent of node-b"], "pullprobe-node-b", "summary"); err != nil {
		t.Errorf("an agent's own report: %v", err)
	}
	if err := write(stolen["fleet"], fleetName, "summary"); err != nil {
		t.Errorf("the fleet's own ConfigMap: %v", err)
	}
}

// A node lies with its own token: all registries are down. The fleet says it of this node alone, and the agent
// puts it right.
func TestLyingNode(t *testing.T) {
	skipWithoutFleet(t)
	for _, node := range []string{nodeA, nodeB} {
		suite.runFromRegistries(t, suite.namespace(t), node, "registry.lab", "mirror.lab")
		suite.sweepNow(t, node, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.stateOf("registry.lab") == "reachable" })
	}
	agent := suite.agentPod(t, nodeB)
	evil := suite.tokenOf(t, &agent)
	now := time.Now().Unix()
	facts := fmt.Sprintf(`{"v":1,"at":%d,"control":"pass","fresh":990,"hosts":[`+
		`{"h":"registry.lab","s":"unreachable","cause":"ConnectionTimeout","since":%d,"at":%d},`+
		`{"h":"mirror.lab","s":"unreachable","cause":"ConnectionTimeout","since":%d,"at":%d}],"asks":["registry.lab","mirror.lab"]}`, now, now-5, now, now-5, now)
	if _, err := evil.CoreV1().ConfigMaps(agentNamespace).Patch(t.Context(), "pullprobe-node-b", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"pullprobe.dev/facts":`+strconv.Quote(facts)+`}}}`), metav1.PatchOptions{FieldManager: "pullprobe"}); err != nil {
		t.Fatal(err)
	}
	about := func(f fleetFinding) bool { return f.Name == "registry.lab" || f.Name == "mirror.lab" }
	cm, r := suite.waitFleet(t, 30*time.Second, "node-b claims that it reaches nothing, and others do", func(_ *corev1.ConfigMap, r fleetResult) bool {
		return slices.ContainsFunc(r.Findings, func(f fleetFinding) bool { return about(f) && f.Through.Count > 0 })
	})
	t.Log(cm.Data["summary"])
	for _, f := range r.Findings {
		if about(f) && (f.Fault == "registry" || !slices.Equal(f.Failing.First, []string{nodeB})) {
			t.Errorf("%+v", f)
		}
	}
	suite.sweepNow(t, nodeB, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.stateOf("registry.lab") == "reachable" })
	suite.waitFleet(t, 30*time.Second, "nothing of them", func(_ *corev1.ConfigMap, r fleetResult) bool { return !slices.ContainsFunc(r.Findings, about) })
}

// The fleet's leader is paused for longer than its Lease lasts: the other replica takes over, and the one that
// was paused ends without a word on what it knew before.
func TestFleetPaused(t *testing.T) {
	skipWithoutFleet(t)
	suite.waitFleet(t, time.Minute, "all nodes", func(_ *corev1.ConfigMap, r fleetResult) bool { return r.Nodes >= 2 && r.Silent.Count == 0 })
	pods := suite.fleetPods(t)
	if len(pods) < 2 {
		t.Fatal("there is one replica only")
	}
	leader := pods[0]
	pid := fleetProcess(t, leader.Name)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	t.Cleanup(resume)
	if !suite.eventually(t, 40*time.Second, func(context.Context) bool { return suite.fleetLeader(t) != leader.Name }) {
		t.Fatal("no other replica leads")
	}
	// What the paused one does not know: the registry is out of reach for a node.
	ns := suite.namespace(t)
	suite.runFromRegistries(t, ns, nodeA, "registry.lab", "mirror.lab")
	suite.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.stateOf("registry.lab") == "reachable" })
	suite.inject(t, nodeA, "registry-dropped")
	suite.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return strings.HasPrefix(r.Sweep.stateOf("registry.lab"), "unreachable")
	})
	shown := func(r fleetResult) bool {
		return slices.ContainsFunc(r.Findings, func(f fleetFinding) bool {
			return f.Name == "registry.lab" && slices.Equal(f.Failing.First, []string{nodeA})
		})
	}
	suite.waitFleet(t, 30*time.Second, "the new leader says that node-a does not reach registry.lab", func(_ *corev1.ConfigMap, r fleetResult) bool { return shown(r) })
	restarts := func(ctx context.Context) int32 {
		p, err := suite.api.CoreV1().Pods(agentNamespace).Get(ctx, leader.Name, metav1.GetOptions{})
		if err != nil || len(p.Status.ContainerStatuses) == 0 {
			return -1
		}
		return p.Status.ContainerStatuses[0].RestartCount
	}
	before := restarts(t.Context())
	resume()
	if !suite.eventually(t, time.Minute, func(ctx context.Context) bool {
		if _, r := suite.waitFleet(t, 15*time.Second, "it still says so", func(*corev1.ConfigMap, fleetResult) bool { return true }); !shown(r) {
			t.Fatal("the replica that was paused has written what it knew before")
		}
		return restarts(ctx) > before
	}) {
		t.Error("the replica that was paused does not start again")
	}
	if now := suite.fleetLeader(t); now == leader.Name {
		t.Errorf("%s leads again", now)
	}
}

// fleetProcess returns the process of a replica.
func fleetProcess(t testing.TB, pod string) (pid int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		env, _ := os.ReadFile(name)
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		if bytes.HasPrefix(args, []byte("/pullprobe-fleet")) && slices.Contains(strings.Split(string(env), "\x00"), "POD_NAME="+pod) {
			pid, err = strconv.Atoi(filepath.Base(filepath.Dir(name)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("no process of %s", pod)
	return 0
}
