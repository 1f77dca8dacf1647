// Package workload makes pods for a preflight from the pod templates of a manifest. Such a pod
// has the scheduling gate of package preflight: it never runs, and nothing of it is pulled. What
// the cluster would do on its behalf otherwise is left out. It is pure.
package workload

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pullprobe/pullprobe/preflight"
)

// Workload is an object of a manifest that makes pods.
type Workload struct {
	Name      string      // as kubectl names it: deployment/web
	Namespace string      // that the manifest names; empty: none
	Pod       *corev1.Pod // for the preflight, without a namespace
}

// templates are where the kinds that make pods have their template.
var templates = map[schema.GroupKind][]string{
	{Kind: "Pod"}:                        {},
	{Kind: "PodTemplate"}:                {"template"},
	{Kind: "ReplicationController"}:      {"spec", "template"},
	{Group: "apps", Kind: "Deployment"}:  {"spec", "template"},
	{Group: "apps", Kind: "StatefulSet"}: {"spec", "template"},
	{Group: "apps", Kind: "DaemonSet"}:   {"spec", "template"},
	{Group: "apps", Kind: "ReplicaSet"}:  {"spec", "template"},
	{Group: "batch", Kind: "Job"}:        {"spec", "template"},
	{Group: "batch", Kind: "CronJob"}:    {"spec", "jobTemplate", "spec", "template"},
}

// Kinds are the kinds of which pods are made, for people.
const Kinds = "Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob and List"

// Of returns the workloads among some objects, in their order. It is an error if there are none.
func Of(objects []*unstructured.Unstructured) ([]Workload, error) {
	var out []Workload
	var others []string
	selected := selectedLabels(objects)
	for _, o := range objects {
		path, known := templates[o.GroupVersionKind().GroupKind()]
		if !known {
			if !slices.Contains(others, o.GetKind()) {
				others = append(others, o.GetKind())
			}
			continue
		}
		w, err := workloadOf(o, path, selected)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", nameOf(o), err)
		}
		out = append(out, w)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no pods: %s; pods are made by %s", cmp.Or(strings.Join(others, ", "), "no objects"), Kinds)
	}
	return out, nil
}

// nameOf returns kind/name of an object.
func nameOf(o *unstructured.Unstructured) string {
	return strings.ToLower(o.GetKind()) + "/" + cmp.Or(o.GetName(), o.GetGenerateName(), "(no name)")
}

// podTemplate is the part of a template that is used.
type podTemplate struct {
	Metadata struct {
		Labels      map[string]string       `json:"labels"`
		Annotations map[string]string       `json:"annotations"`
		Owners      []metav1.OwnerReference `json:"ownerReferences"` // of a Pod that was read from a cluster
	} `json:"metadata"`
	Spec *corev1.PodSpec `json:"spec"`
}

func workloadOf(o *unstructured.Unstructured, path []string, selected map[string]bool) (Workload, error) {
	var t podTemplate
	if err := decode(o, &t, path...); err != nil {
		return Workload{}, err
	}
	if t.Spec == nil {
		return Workload{}, errors.New("it has no pod template")
	}
	var claims []corev1.PersistentVolumeClaim
	switch o.GetKind() {
	case "StatefulSet":
		if err := decode(o, &claims, "spec", "volumeClaimTemplates"); err != nil {
			return Workload{}, err
		}
	case "DaemonSet":
		t.Spec.Tolerations = append(t.Spec.Tolerations, ofDaemons(t.Spec.HostNetwork)...)
	}
	p := &corev1.Pod{Spec: *t.Spec}
	p.GenerateName = generateName(cmp.Or(o.GetName(), o.GetGenerateName()))
	p.Labels, p.Annotations = map[string]string{}, t.Metadata.Annotations
	if len(t.Metadata.Owners) == 0 {
		maps.Copy(p.Labels, t.Metadata.Labels)
	}
	maps.DeleteFunc(p.Labels, func(key, _ string) bool { return selected[key] })
	p.Labels[preflight.Label] = ""
	delete(p.Annotations, corev1.LastAppliedConfigAnnotation)
	withoutVolumesOfItsOwn(&p.Spec, claims)
	withoutNode(&p.Spec)
	p.Spec.EphemeralContainers = nil // no pod is created with them
	p.Spec.SchedulingGates = append(p.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: preflight.Gate})
	return Workload{Name: nameOf(o), Namespace: o.GetNamespace(), Pod: p}, nil
}

// decode reads a field of an object; it is no error if there is none.
func decode(o *unstructured.Unstructured, into any, path ...string) error {
	value, found, err := unstructured.NestedFieldNoCopy(o.Object, path...)
	if err != nil || !found || value == nil {
		return err
	}
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	err = json.Unmarshal(body, into)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: wrong type: %s", strings.Join(append(slices.Clone(path), wrong.Field), "."), wrong.Value)
	}
	return err
}

// generateName returns the beginning of the pod's name.
func generateName(name string) string {
	const most = 40 // a name that the API server cuts off ends with a random part all the same
	return "preflight-" + strings.TrimRight(name[:min(len(name), most)], "-.") + "-"
}

// selectedLabels returns the keys of the labels by which objects select pods. A pod without them
// is adopted by no controller, and counted by no Service or disruption budget.
func selectedLabels(objects []*unstructured.Unstructured) map[string]bool {
	keys := map[string]bool{}
	for _, o := range objects {
		selector, _, _ := unstructured.NestedMap(o.Object, "spec", "selector") // of another form: no labels
		labels, ok := selector["matchLabels"].(map[string]any)
		expressions, okExpressions := selector["matchExpressions"].([]any)
		if !ok && !okExpressions {
			labels = selector // of a Service or ReplicationController
		}
		for key := range labels {
			keys[key] = true
		}
		for _, x := range expressions {
			if x, ok := x.(map[string]any); ok {
				key, _ := x["key"].(string)
				keys[key] = true
			}
		}
	}
	return keys
}

// withoutVolumesOfItsOwn replaces the volumes that would be made for the pod alone, by a
// StatefulSet or by controllers that do not wait for the scheduler, and leaves out its devices.
func withoutVolumesOfItsOwn(s *corev1.PodSpec, claims []corev1.PersistentVolumeClaim) {
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	for _, c := range claims { // a claim goes before a volume of its name
		s.Volumes = slices.DeleteFunc(s.Volumes, func(v corev1.Volume) bool { return v.Name == c.Name })
		s.Volumes = append(s.Volumes, corev1.Volume{Name: c.Name, VolumeSource: empty})
	}
	for i := range s.Volumes {
		if s.Volumes[i].Ephemeral != nil {
			s.Volumes[i].VolumeSource = empty
		}
	}
	s.ResourceClaims = nil
	for _, list := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range list {
			list[i].Resources.Claims = nil
		}
	}
}

// withoutNode replaces a node's name, which a gated pod may not have, by the affinity that only
// this node matches. Who names a node does without the scheduler and its taints.
func withoutNode(s *corev1.PodSpec) {
	if s.NodeName == "" {
		return
	}
	s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchFields: []corev1.NodeSelectorRequirement{
				{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{s.NodeName}},
			},
		}}},
	}}
	s.NodeName, s.NodeSelector = "", nil
	s.Tolerations = append(s.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists})
}

// ofDaemons returns the tolerations that the controller of DaemonSets gives their pods
// (AddOrUpdateDaemonPodTolerations of k8s.io/kubernetes/pkg/controller/daemon/util).
func ofDaemons(hostNetwork bool) []corev1.Toleration {
	out := []corev1.Toleration{
		{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
	}
	keys := []string{
		corev1.TaintNodeDiskPressure, corev1.TaintNodeMemoryPressure, corev1.TaintNodePIDPressure, corev1.TaintNodeUnschedulable,
	}
	if hostNetwork {
		keys = append(keys, corev1.TaintNodeNetworkUnavailable)
	}
	for _, key := range keys {
		out = append(out, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule})
	}
	return out
}
