// Package placement chooses the nodes that check the images of a preflight: one of each kind of
// nodes where the scheduler may place the pod. It is pure.
package placement

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	schedulinghelpers "k8s.io/component-helpers/scheduling/corev1"

	"github.com/pullprobe/pullprobe/preflight"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Node is a node as the scheduler sees it.
type Node struct {
	Name             string
	Labels           map[string]string
	Taints           []corev1.Taint
	Cordoned         bool
	Arch, Pool, Zone string // its kind; empty: none, or not known
	Reports          bool   // its agent reports
}

// Of returns the part of a pod that decides where it may run.
func Of(p *corev1.Pod) *corev1.Pod {
	kept := &corev1.Pod{}
	kept.UID = p.UID
	kept.Spec.NodeSelector, kept.Spec.Tolerations = p.Spec.NodeSelector, p.Spec.Tolerations
	if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		required := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		kept.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: required}}
	}
	return kept
}

// kind identifies nodes that are alike for an image.
type kind struct{ arch, pool, zone string }

// Choose returns the plan for a pod: of each kind of nodes one of which the agent reports. Which
// one depends on the pod's UID, so that another preflight may check another node. Free resources,
// ports, volumes, and other pods do not count.
func Choose(pod *corev1.Pod, nodes []Node) preflight.Plan {
	excluded := map[string]int{}
	byKind := map[kind][]Node{}
	affinity := nodeaffinity.GetRequiredNodeAffinity(pod)
	for _, n := range nodes {
		if why := excludes(affinity, pod.Spec.Tolerations, n); why != "" {
			excluded[why]++
			continue
		}
		k := kind{n.Arch, n.Pool, n.Zone}
		byKind[k] = append(byKind[k], n)
	}
	p := preflight.Plan{}
	for k, members := range byKind {
		out := preflight.Kind{Arch: k.arch, Pool: k.pool, Zone: k.zone, Nodes: len(members)}
		slices.SortFunc(members, func(a, b Node) int {
			return cmp.Or(cmp.Compare(draw(pod, a), draw(pod, b)), cmp.Compare(a.Name, b.Name))
		})
		if i := slices.IndexFunc(members, func(n Node) bool { return n.Reports }); i >= 0 {
			out.Node = members[i].Name
		}
		p.Kinds = append(p.Kinds, out)
	}
	slices.SortFunc(p.Kinds, func(a, b preflight.Kind) int {
		return cmp.Or(b.Nodes-a.Nodes, cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Zone, b.Zone))
	})
	if over := len(p.Kinds) - preflight.MaxKinds; over > 0 {
		p.Kinds, p.KindsOmitted = p.Kinds[:preflight.MaxKinds], over
	}
	for _, why := range slices.Sorted(maps.Keys(excluded)) {
		p.Excluded = append(p.Excluded, preflight.Excluded{Why: why, Nodes: excluded[why]})
	}
	slices.SortStableFunc(p.Excluded, func(a, b preflight.Excluded) int { return b.Nodes - a.Nodes })
	return p
}

// draw returns a number by which the nodes of a kind are ordered.
func draw(pod *corev1.Pod, n Node) uint64 {
	h := fnv.New64a()
	h.Write([]byte(string(pod.UID) + "/" + n.Name))
	return h.Sum64()
}

// excludes returns why the scheduler does not place a pod on a node; empty: it may. These are the
// filters NodeUnschedulable, NodeAffinity and TaintToleration of
// k8s.io/kubernetes/pkg/scheduler/framework/plugins.
func excludes(affinity nodeaffinity.RequiredNodeAffinity, tolerations []corev1.Toleration, n Node) string {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: n.Labels}}
	if fits, err := affinity.Match(node); err != nil || !fits {
		return "not matched by the pod's nodeSelector or node affinity"
	}
	taints := n.Taints
	if n.Cordoned {
		taints = append(slices.Clone(taints), corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	filter := func(t *corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	}
	taint, found := schedulinghelpers.FindMatchingUntoleratedTaint(klog.Background(), taints, tolerations, filter, true)
	switch {
	case !found:
		return ""
	case taint.Key == corev1.TaintNodeUnschedulable:
		return "cordoned"
	}
	return readable.Clean(fmt.Sprintf("a taint that the pod does not tolerate: %s", taint.ToString()), 200)
}
