package workload

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/pullprobe/pullprobe/preflight"
)

// objects reads the documents of a manifest.
func objects(t *testing.T, manifest string) (out []*unstructured.Unstructured) {
	t.Helper()
	for text := range strings.SplitSeq(manifest, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
	}
	return out
}

const kinds = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop},
  spec: {selector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: Exists}]}, template: {metadata:
    {labels: {app: web, tier: a, track: beta, run: web}, annotations: {inject: "yes"}}, spec: {containers: [{name: a, image: web:1}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {run: web}}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {template: {spec: {containers: [{name: a, image: db:1}],
  volumes: [{name: data, hostPath: {path: /x}}, {name: scratch, ephemeral: {}}]}}, volumeClaimTemplates: [{metadata: {name: data}}]}}
---
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: log}, spec: {template: {spec: {containers: [{name: a, image: log:1}]}}}}
---
{apiVersion: batch/v1, kind: Job, metadata: {generateName: once-}, spec: {template: {spec: {containers: [{name: a, image: job:1}]}}}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly}, spec: {jobTemplate: {spec: {template: {spec: {containers:
  [{name: a, image: cron:1, resources: {claims: [{name: gpu}]}}], resourceClaims: [{name: gpu}]}}}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: one, labels: {app: one, pod-template-hash: abc}, ownerReferences: [{kind: ReplicaSet, name: one}]},
  spec: {nodeName: node-a, containers: [{name: a, image: pod:1}], ephemeralContainers: [{name: debug, image: debug:1}]}}`

// TestKinds checks the pods of all kinds: each has the gate, and nothing by which the cluster
// would run it, count it, or make something for it.
func TestKinds(t *testing.T) {
	list, err := Of(objects(t, kinds))
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Workload{}
	var names []string
	for _, w := range list {
		byName[w.Name] = w
		names = append(names, w.Name)
		s := w.Pod.Spec
		if len(s.SchedulingGates) != 1 || s.SchedulingGates[0].Name != preflight.Gate || s.NodeName != "" {
			t.Errorf("%s could run: %+v", w.Name, s)
		}
		if _, ok := w.Pod.Labels[preflight.Label]; !ok || w.Pod.Name != "" || w.Pod.OwnerReferences != nil {
			t.Errorf("%s: %+v", w.Name, w.Pod.ObjectMeta)
		}
		if len(s.Containers) != 1 || s.EphemeralContainers != nil || s.ResourceClaims != nil || s.Containers[0].Resources.Claims != nil {
			t.Errorf("%s: %+v", w.Name, s)
		}
	}
	if got := strings.Join(names, " "); got != "deployment/web statefulset/db daemonset/log job/once- cronjob/nightly pod/one" {
		t.Error(got)
	}
	web := byName["deployment/web"]
	if l := web.Pod.Labels; len(l) != 2 || l["track"] != "beta" || web.Pod.Annotations["inject"] != "yes" || web.Namespace != "shop" {
		t.Errorf("labels that select pods must go, others stay: %+v", web)
	}
	if len(byName["pod/one"].Pod.Labels) != 1 {
		t.Errorf("the controller of the pod would adopt it: %v", byName["pod/one"].Pod.Labels)
	}
	for _, v := range byName["statefulset/db"].Pod.Spec.Volumes {
		if v.EmptyDir == nil || v.Ephemeral != nil || v.HostPath != nil {
			t.Errorf("%+v", v)
		}
	}
	if n := len(byName["statefulset/db"].Pod.Spec.Volumes); n != 2 {
		t.Errorf("%d volumes", n)
	}
	if got := byName["job/once-"].Pod.GenerateName; got != "preflight-once-" {
		t.Error(got)
	}
	tolerates := func(name, key string) bool {
		for _, x := range byName[name].Pod.Spec.Tolerations {
			if x.Key == key || x.Key == "" {
				return true
			}
		}
		return false
	}
	if !tolerates("daemonset/log", corev1.TaintNodeUnschedulable) || tolerates("deployment/web", corev1.TaintNodeUnschedulable) {
		t.Error("pods of DaemonSets alone run on cordoned nodes")
	}
	term := byName["pod/one"].Pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0]
	if len(term.MatchFields) != 1 || term.MatchFields[0].Values[0] != "node-a" || !tolerates("pod/one", "any") {
		t.Errorf("%+v", term)
	}
}

// TestErrors checks that what is wrong in a manifest is named.
func TestErrors(t *testing.T) {
	for manifest, want := range map[string]string{
		"{apiVersion: v1, kind: Service, metadata: {name: web}}":                                        "no pods: Service; pods are made by",
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}":                                "deployment/web: it has no pod template",
		"{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: {}}}":                    "pod/web: spec.containers: wrong type: object",
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: 1}}}":   "deployment/web: spec.template.spec: wrong type: number",
		"{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: web}, spec: {template: 1}}": "no pods: Rollout",
	} {
		if _, err := Of(objects(t, manifest)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", manifest, err, want)
		}
	}
}

// FuzzOf checks that no manifest makes a pod that could run.
func FuzzOf(f *testing.F) {
	for text := range strings.SplitSeq(kinds, "\n---\n") {
		f.Add(text)
	}
	f.Add(`{apiVersion: v1, kind: Service, spec: {selector: {matchExpressions: [{key: 1}, 2]}}}`)
	f.Fuzz(func(t *testing.T, manifest string) {
		o := &unstructured.Unstructured{}
		if yaml.Unmarshal([]byte(manifest), &o.Object) != nil {
			return
		}
		list, _ := Of([]*unstructured.Unstructured{o})
		for _, w := range list {
			gates := w.Pod.Spec.SchedulingGates
			if len(gates) == 0 || gates[len(gates)-1].Name != preflight.Gate || w.Pod.Spec.NodeName != "" || w.Pod.Name != "" {
				t.Errorf("%+v", w.Pod)
			}
		}
	})
}
