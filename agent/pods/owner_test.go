package pods

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/agent/corev1"
)

// A fix names what the pod was made from.
func TestOwnerOf(t *testing.T) {
	yes := true
	for _, tt := range []struct {
		api, kind, name string
		label, hash     string
		annotations     map[string]string
		want            Owner
	}{
		{want: Owner{}},
		{api: "apps/v1", kind: "ReplicaSet", name: "web-7d4b9", label: deploymentHash, hash: "7d4b9", want: Owner{Name: "deployment/web"}},
		{api: "apps/v1", kind: "ReplicaSet", name: "web-7d4b9", want: Owner{Name: "replicaset/web-7d4b9"}},
		{api: "apps/v1", kind: "ReplicaSet", name: "web-7d4b9", label: deploymentHash, hash: "other", want: Owner{Name: "replicaset/web-7d4b9"}},
		{api: "apps/v1", kind: "ReplicaSet", name: "web-7d4b9", label: rolloutHash, hash: "7d4b9", want: Owner{Name: "rollout/web"}},
		{api: "apps/v1", kind: "StatefulSet", name: "db", want: Owner{Name: "statefulset/db"}},
		{api: "apps/v1", kind: "DaemonSet", name: "log", want: Owner{Name: "daemonset/log"}},
		{api: "v1", kind: "ReplicationController", name: "old", want: Owner{Name: "replicationcontroller/old"}},
		{
			api: "v1", kind: "ReplicationController", name: "web-3", annotations: map[string]string{deploymentConfig: "web"},
			want: Owner{Name: "deploymentconfig/web"},
		},
		{api: "batch/v1", kind: "Job", name: "once", want: Owner{Name: "job/once"}},
		{api: "batch/v1", kind: "Job", name: "nightly-report-29411520", want: Owner{"cronjob/nightly-report", "nightly-report-29411520"}},
		{api: "batch/v1", kind: "Job", name: "import-2026", want: Owner{Name: "job/import-2026"}},
		{api: "argoproj.io/v1alpha1", kind: "Workflow", name: "flow", want: Owner{Name: "workflow.argoproj.io/flow"}},
		{annotations: map[string]string{configSource: "file"}, want: Owner{Name: "static/etcd"}},
	} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "etcd-node-a", Labels: map[string]string{}, Annotations: tt.annotations}}
		p.Spec.NodeName = "node-a"
		if tt.kind != "" {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: tt.api, Kind: tt.kind, Name: tt.name, Controller: &yes}}
		}
		if tt.label != "" {
			p.Labels[tt.label] = tt.hash
		}
		if got := ownerOf(p); got != tt.want {
			t.Errorf("%s %s (%s): %q, want %q", tt.kind, tt.name, tt.hash, got, tt.want)
		}
	}
}

// An image volume is named, so that no fix changes the image of its container.
func TestVolumeOf(t *testing.T) {
	p := newPod(&corev1.Pod{Spec: corev1.PodSpec{
		Volumes: []corev1.Volume{{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "r.example/model:1"}}}},
		Containers: []corev1.Container{{
			Name: "app", Image: "r.example/app:1", VolumeMounts: []corev1.VolumeMount{{Name: "model"}},
		}},
	}}, "pullprobe")
	for image, want := range map[string]string{"r.example/model:1": "model", "r.example/app:1": "", "r.example/other:1": ""} {
		if got := p.VolumeOf(PendingImage{Container: "app", Image: image}); got != want {
			t.Errorf("%s: volume %q, want %q", image, got, want)
		}
	}
}
