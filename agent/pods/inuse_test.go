package pods

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A registry counts by the pods that run its images; the images themselves are shown to
// pods of the same namespace only.
func TestInUse(t *testing.T) {
	s := NewStore(StoreConfig{Enqueue: func(types.UID) {}})
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}
	add := func(namespace, name string, phase corev1.PodPhase, state corev1.ContainerState, images ...string) types.UID {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name)},
			Status:     corev1.PodStatus{Phase: phase},
		}
		for i, image := range images {
			c := string(rune('a' + i))
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c, Image: image})
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: c, State: state, Image: image})
		}
		s.Add(p)
		return p.UID
	}
	stuck := add("shop", "stuck", corev1.PodPending, waiting, "registy.lab/app:1")
	add("shop", "web", corev1.PodRunning, running, "registry.lab/web:1", "registry.lab/proxy:2", "nginx")
	add("pay", "a", corev1.PodRunning, running, "registry.lab/secret/pay:1", "ghcr.io/x/y")
	add("log", "a", corev1.PodRunning, running, "ghcr.io/x/y:2")
	add("evil", "a", corev1.PodRunning, running, "registi.lab/app:1") // two pods of one namespace
	add("evil", "b", corev1.PodRunning, running, "registi.lab/app:1")
	add("shop", "other", corev1.PodPending, waiting, "registri.lab/app:1", "Not/Valid")
	add("shop", "done", corev1.PodSucceeded, running, "gone.lab/app:1")

	want := InUse{
		Hosts: []HostUse{
			{Host: "registry.lab", Pods: 2, Namespace: 1},
			{Host: "docker.io", Pods: 1, Namespace: 1},
			{Host: "ghcr.io", Pods: 2},
		},
		Images: []string{"nginx", "registry.lab/proxy:2", "registry.lab/web:1"},
	}
	if diff := cmp.Diff(want, s.InUse(stuck)); diff != "" {
		t.Error(diff)
	}
	// The owner of a host sees it used by their own pods.
	if got := s.InUse("evil/a").Hosts; len(got) == 0 || got[0].Host != "registi.lab" || got[0].Pods != 1 {
		t.Errorf("%+v", got)
	}
}
