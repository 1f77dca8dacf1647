package pods

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A fix names what the pod was made from, if kubectl can change that for good.
func TestOwnerOf(t *testing.T) {
	yes := true
	for _, tt := range []struct{ kind, name, hash, want string }{
		{"", "", "", ""},
		{"ReplicaSet", "web-7d4b9", "7d4b9", "deployment/web"},
		{"ReplicaSet", "web-7d4b9", "", "replicaset/web-7d4b9"},
		{"ReplicaSet", "web-7d4b9", "other", "replicaset/web-7d4b9"}, // of another controller's making
		{"StatefulSet", "db", "", "statefulset/db"},
		{"DaemonSet", "log", "", "daemonset/log"},
		{"Job", "once", "", ""}, // its template is immutable
		{"Workflow", "flow", "", ""},
	} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{}}}
		if tt.kind != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: tt.kind, Name: tt.name, Controller: &yes}}
		}
		if tt.hash != "" {
			p.Labels["pod-template-hash"] = tt.hash
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
			Name: "app", Image: "r.example/app:1", VolumeMounts: []corev1.VolumeMount{{Name: "model", MountPath: "/model"}},
		}},
	}}, "pullprobe")
	for image, want := range map[string]string{"r.example/model:1": "model", "r.example/app:1": "", "r.example/other:1": ""} {
		if got := p.VolumeOf(PendingImage{Container: "app", Image: image}); got != want {
			t.Errorf("%s: volume %q, want %q", image, got, want)
		}
	}
}
