//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const fleetName = "pullprobe-fleet"

// fleetResult has the fields of fleet.json that the tests use, as a script would.
type fleetResult struct {
	Schema   string         `json:"schema"`
	Time     time.Time      `json:"time"`
	Nodes    int            `json:"nodes"`
	Silent   fleetNames     `json:"silent"`
	Findings []fleetFinding `json:"findings"`
}

type fleetFinding struct {
	Rule       string     `json:"rule"`
	About      string     `json:"about"`
	Name       string     `json:"name"`
	Fault      string     `json:"fault"`
	Cause      string     `json:"cause"`
	Confidence string     `json:"confidence"`
	Summary    string     `json:"summary"`
	Also       fleetNames `json:"also"`
	Failing    fleetNames `json:"failing"`
	Through    fleetNames `json:"through"`
	SetsApart  []struct {
		Trait string `json:"trait"`
		Value string `json:"value"`
	} `json:"setsApart"`
	Rivals []string `json:"rivals"`
}

type fleetNames struct {
	Count int      `json:"count"`
	First []string `json:"first"`
}

// waitFleet waits until what the fleet says is ok, and returns it.
func (c *cluster) waitFleet(t testing.TB, limit time.Duration, what string, ok func(*corev1.ConfigMap, fleetResult) bool) (cm *corev1.ConfigMap, r fleetResult) {
	t.Helper()
	if !c.eventually(t, limit, func(ctx context.Context) bool {
		got, err := c.api.CoreV1().ConfigMaps(agentNamespace).Get(ctx, fleetName, metav1.GetOptions{})
		if err != nil {
			return false
		}
		cm, r = got, fleetResult{}
		if err := json.Unmarshal([]byte(cm.Data["fleet.json"]), &r); err != nil {
			t.Fatalf("fleet.json: %v", err)
		}
		return ok(cm, r)
	}) {
		text := "there is no ConfigMap"
		if cm != nil {
			text = cm.Data["summary"]
		}
		t.Fatalf("the fleet does not say within %v: %s\n%s", limit, what, text)
	}
	return cm, r
}

// skipWithoutFleet skips a test of the fleet if the manifests have none.
func skipWithoutFleet(t testing.TB) {
	t.Helper()
	if _, err := suite.api.AppsV1().Deployments(agentNamespace).Get(t.Context(), fleetName, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		t.Skip("these manifests have no fleet")
	}
}

// A registry that one node does not reach: the other node's evidence is in the diagnosis
// within 10 s of the first report of the failure, and the fleet names the node.
func TestOtherNodesDecide(t *testing.T) {
	skipWithoutFleet(t)
	ns := suite.namespace(t)
	suite.runFromRegistries(t, ns, nodeA, "registry.lab", "mirror.lab")
	suite.sweepNow(t, nodeA, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.stateOf("registry.lab") == "reachable" })
	suite.inject(t, nodeB, "registry-dropped")
	if err := suite.RemoveImage(t.Context(), nodeB, "registry.lab/app:2"); err != nil {
		t.Logf("remove: %v", err)
	}
	suite.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: "web", Image: "registry.lab/app:2", Policy: corev1.PullAlways})
	suite.waitVerdict(t, nodeB, ns+"/web", "* ConnectionTimeout *", time.Minute)
	first := time.Now()
	var d diagnosis
	_, _, ok := suite.waitReport(t, nodeB, 30*time.Second, func(_ *corev1.ConfigMap, r nodeReport) bool {
		for _, x := range r.Diagnoses {
			if x.Pod == ns+"/web" && slices.Contains(x.Verdict.Because, "elsewhere/registry.lab") {
				d = x
				return true
			}
		}
		return false
	})
	took := time.Since(first)
	if !ok || d.Verdict.Fault != "node-infrastructure" || took > 10*time.Second {
		t.Errorf("after %v: %v\n%s", took, d, d.explain())
	}
	if !strings.Contains(d.Verdict.Summary, "1 of 1 other nodes get through") {
		t.Errorf("%s", d.Verdict.Summary)
	}
	cm, _ := suite.waitFleet(t, 30*time.Second, "node-b does not reach registry.lab", func(_ *corev1.ConfigMap, r fleetResult) bool {
		return slices.ContainsFunc(r.Findings, func(f fleetFinding) bool {
			return f.About == "host" && f.Name == "registry.lab" && f.Cause == "ConnectionTimeout" && f.Fault == "node-infrastructure" &&
				slices.Equal(f.Failing.First, []string{nodeB}) && slices.Contains(f.Through.First, nodeA)
		})
	})
	t.Logf("the other node's evidence came %v after the first report\n%s\n%s", took, d.Verdict.Summary, cm.Data["summary"])
	if cm.Labels["pullprobe.dev/fault"] != "node-infrastructure" || cm.Labels["pullprobe.dev/nodes"] != "2" || cm.Labels["pullprobe.dev/silent"] != "0" {
		t.Errorf("labels %v", cm.Labels)
	}
	if err := suite.Lift(t.Context(), nodeB, "registry-dropped"); err != nil {
		t.Fatal(err)
	}
	suite.waitFleet(t, 2*time.Minute, "nothing of registry.lab", func(_ *corev1.ConfigMap, r fleetResult) bool {
		return !slices.ContainsFunc(r.Findings, func(f fleetFinding) bool { return f.Name == "registry.lab" })
	})
}

// The fleet's leader is killed, and its ConfigMap deleted: the other replica writes it again.
func TestFleetSurvives(t *testing.T) {
	skipWithoutFleet(t)
	suite.waitFleet(t, time.Minute, "two nodes", func(_ *corev1.ConfigMap, r fleetResult) bool { return r.Nodes == 2 && r.Silent.Count == 0 })
	lease, err := suite.api.CoordinationV1().Leases(agentNamespace).Get(t.Context(), fleetName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	leader := *lease.Spec.HolderIdentity
	now := int64(0)
	if err := suite.api.CoreV1().Pods(agentNamespace).Delete(t.Context(), leader, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	if err := suite.api.CoreV1().ConfigMaps(agentNamespace).Delete(t.Context(), fleetName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	suite.waitFleet(t, 2*time.Minute, "the same again", func(_ *corev1.ConfigMap, r fleetResult) bool { return r.Nodes == 2 && r.Silent.Count == 0 })
	if _, err := suite.Kubectl(t.Context(), nil, "-n", agentNamespace, "rollout", "status", "deployment/"+fleetName, "--timeout=120s"); err != nil {
		t.Error(err)
	}
}

// A pod that has no node is told why within 5 s of the request.
func TestUnscheduledPods(t *testing.T) {
	skipWithoutFleet(t)
	ns := suite.namespace(t)
	suite.kubectlApply(t, `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"unbound","namespace":"`+ns+`"},
		"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`)
	port := []corev1.ContainerPort{{ContainerPort: 18080, HostPort: 18080, Protocol: corev1.ProtocolTCP}}
	for _, node := range suite.NodeNames() { // they have the port that another pod wants
		suite.pod(t, podOptions{
			Node: node, Namespace: ns, Name: "port-of-" + node, Image: "registry.lab/app:1",
			Edit: func(p *corev1.Pod) { p.Spec.Containers[0].Ports = port },
		})
	}
	for _, tt := range []struct {
		name, want string
		spec       func(*corev1.PodSpec)
		before     func()
	}{
		{"selector", "2 of 2 nodes: not matched by the pod's nodeSelector or node affinity", func(s *corev1.PodSpec) {
			s.NodeSelector = map[string]string{"no": "such"}
		}, nil},
		{"affinity", "2 of 2 nodes: not matched by the pod's nodeSelector or node affinity", func(s *corev1.PodSpec) {
			zone := corev1.NodeSelectorRequirement{Key: "topology.kubernetes.io/zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"zone-9"}}
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
					NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{zone}}},
				},
			}}
		}, nil},
		{"cpu", "2 of 2 nodes: too little free cpu for the pod's request", func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000")}
		}, nil},
		{"no-claim", `persistentvolumeclaim "absent" not found`, func(s *corev1.PodSpec) { s.Volumes = claimed("absent") }, nil},
		{"unbound-claim", "2 nodes: a PersistentVolumeClaim of the pod is not bound", func(s *corev1.PodSpec) { s.Volumes = claimed("unbound") }, nil},
		{"port", "2 of 2 nodes: the pod's host port is in use", func(s *corev1.PodSpec) {
			s.HostNetwork = true
			s.Containers[0].Ports = port
		}, nil},
		// The last, because the others would not tolerate it either.
		{"taint", "2 of 2 nodes: a taint that the pod does not tolerate", func(*corev1.PodSpec) {}, func() {
			for _, node := range suite.NodeNames() {
				t.Cleanup(func() {
					if _, err := suite.Kubectl(context.Background(), nil, "taint", "node", node, "lab/reserved-"); err != nil {
						t.Error(err)
					}
				})
				suite.kubectl(t, "taint", "node", node, "lab/reserved=yes:NoSchedule")
			}
		}},
	} {
		if tt.before != nil {
			tt.before()
		}
		suite.pod(t, podOptions{Namespace: ns, Name: tt.name, Image: "registry.lab/app:1", Edit: func(p *corev1.Pod) {
			p.Spec.HostNetwork, p.Spec.Tolerations = false, nil
			tt.spec(&p.Spec)
		}})
		suite.kubectl(t, "-n", ns, "wait", "pod/"+tt.name, "--for=condition=PodScheduled=false", "--timeout=30s")
		asked := time.Now()
		suite.kubectl(t, "-n", ns, "annotate", "pod", tt.name, "probe=now")
		e := suite.waitEvent(t, ns, tt.name, "Unscheduled", 5*time.Second, func(e corev1.Event) bool { return strings.Contains(e.Message, tt.want) })
		t.Logf("%s: after %v: %s", tt.name, time.Since(asked).Round(10*time.Millisecond), e.Message)
	}
}

// claimed returns the volume of a claim.
func claimed(name string) []corev1.Volume {
	return []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
	}}}
}

func (c *cluster) kubectlApply(t testing.TB, object string) {
	t.Helper()
	if _, err := c.Kubectl(t.Context(), strings.NewReader(object), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}
