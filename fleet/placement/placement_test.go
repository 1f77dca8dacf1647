package placement

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/preflight"
)

// nodes are those of one cluster: two zones of amd64, one GPU node, one of arm64, one that is
// cordoned and one of which the agent does not report.
func nodes() []Node {
	node := func(name, arch, pool, zone string, taints ...corev1.Taint) Node {
		return Node{
			Name: name, Arch: arch, Pool: pool, Zone: zone, Taints: taints, Reports: true,
			Labels: map[string]string{"kubernetes.io/arch": arch, "pool": pool, "zone": zone, "kubernetes.io/hostname": name},
		}
	}
	gpu := corev1.Taint{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}
	soft := corev1.Taint{Key: "soft", Effect: corev1.TaintEffectPreferNoSchedule}
	cordoned, silent := node("f", "amd64", "web", "z1"), node("g", "amd64", "web", "z3")
	cordoned.Cordoned, silent.Reports = true, false
	return []Node{
		node("a", "amd64", "web", "z1"), node("b", "amd64", "web", "z1", soft), node("c", "amd64", "web", "z2"),
		node("d", "amd64", "gpu", "z1", gpu), node("e", "arm64", "web", "z2"), cordoned, silent,
	}
}

func affinity(terms ...corev1.NodeSelectorTerm) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
	}}
}

// text returns a plan in one line: the kinds, then why other nodes are excluded.
func text(p preflight.Plan) string {
	var out []string
	for _, k := range p.Kinds {
		node := k.Node
		if node == "" {
			node = "-"
		}
		out = append(out, fmt.Sprintf("%s/%s/%s:%d=%s", k.Arch, k.Pool, k.Zone, k.Nodes, node))
	}
	for _, x := range p.Excluded {
		out = append(out, fmt.Sprintf("%d %s", x.Nodes, x.Why))
	}
	return strings.Join(out, "; ")
}

func TestChoose(t *testing.T) {
	const (
		notMatched = " not matched by the pod's nodeSelector or node affinity"
		gpuTaint   = "1 a taint that the pod does not tolerate: gpu=yes:NoSchedule"
	)
	in := func(key string, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}}}
	}
	for name, tt := range map[string]struct {
		spec corev1.PodSpec
		want string
	}{
		"any node": {
			corev1.PodSpec{},
			"amd64/web/z1:2=a; amd64/web/z2:1=c; amd64/web/z3:1=-; arm64/web/z2:1=e; " + gpuTaint + "; 1 cordoned",
		},
		"a selector":                      {corev1.PodSpec{NodeSelector: map[string]string{"kubernetes.io/arch": "arm64"}}, "arm64/web/z2:1=e; 6" + notMatched},
		"a selector that no node matches": {corev1.PodSpec{NodeSelector: map[string]string{"disk": "ssd"}}, "7" + notMatched},
		"a toleration": {
			corev1.PodSpec{NodeSelector: map[string]string{"pool": "gpu"}, Tolerations: []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}}},
			"amd64/gpu/z1:1=d; 6" + notMatched,
		},
		"a toleration of another effect": {
			corev1.PodSpec{NodeSelector: map[string]string{"pool": "gpu"}, Tolerations: []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}}},
			"6" + notMatched + "; " + gpuTaint,
		},
		"every taint is tolerated, as by a DaemonSet": {
			corev1.PodSpec{Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}},
			"amd64/web/z1:3=a; amd64/gpu/z1:1=d; amd64/web/z2:1=c; amd64/web/z3:1=-; arm64/web/z2:1=e",
		},
		"terms of an affinity are alternatives": {
			corev1.PodSpec{Affinity: affinity(in("zone", "z2"), in("pool", "gpu"))},
			"amd64/web/z2:1=c; arm64/web/z2:1=e; 4" + notMatched + "; " + gpuTaint,
		},
		"an affinity with a selector": {
			corev1.PodSpec{NodeSelector: map[string]string{"kubernetes.io/arch": "amd64"}, Affinity: affinity(in("zone", "z2"))},
			"amd64/web/z2:1=c; 6" + notMatched,
		},
		"one node by its name": {
			corev1.PodSpec{Affinity: affinity(corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{
				{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}},
			}})},
			"amd64/web/z1:1=a; 6" + notMatched,
		},
		"a preferred affinity excludes no node": {
			corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 1, Preference: in("zone", "z2")}},
			}}},
			"amd64/web/z1:2=a; amd64/web/z2:1=c; amd64/web/z3:1=-; arm64/web/z2:1=e; " + gpuTaint + "; 1 cordoned",
		},
	} {
		pod := &corev1.Pod{Spec: tt.spec}
		pod.UID = "1"
		if got := text(Choose(Of(pod), nodes())); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tt.want)
		}
	}
}

// Another pod may have other nodes of the same kinds checked.
func TestChooseAnotherNode(t *testing.T) {
	seen := map[string]bool{}
	for i := range 20 {
		pod := &corev1.Pod{}
		pod.SetUID(types.UID(fmt.Sprint(i)))
		seen[Choose(pod, nodes()).Kinds[0].Node] = true
	}
	if len(seen) != 2 {
		t.Errorf("nodes of the first kind: %v", seen)
	}
}

func TestChooseManyKinds(t *testing.T) {
	var list []Node
	for i := range 2 * preflight.MaxKinds {
		for range i + 1 {
			list = append(list, Node{Name: fmt.Sprint("n", len(list)), Zone: fmt.Sprint("z", i), Reports: true})
		}
	}
	p := Choose(&corev1.Pod{}, list)
	if len(p.Kinds) != preflight.MaxKinds || p.KindsOmitted != preflight.MaxKinds || p.Kinds[0].Nodes != 2*preflight.MaxKinds {
		t.Errorf("%d kinds, %d omitted, the first of %d nodes", len(p.Kinds), p.KindsOmitted, p.Kinds[0].Nodes)
	}
}
