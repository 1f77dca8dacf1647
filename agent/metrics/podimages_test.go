package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/corev1"
	"github.com/pullprobe/pullprobe/agent/pods"
)

var began = time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)

const errNotFound = `failed to pull and unpack image "registry.example/app:1": failed to resolve image: registry.example/app:1: not found`

// inState returns a pod of registry.example/app:1, created at began, whose container
// is in this state.
func inState(name string, state corev1.ContainerState) *corev1.Pod {
	start := metav1.NewTime(began)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), CreationTimestamp: start},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "registry.example/app:1"}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending, StartTime: &start, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "c", State: state,
		}}},
	}
}

func runs(after time.Duration) corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(began.Add(after))}}
}

func waits(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// pullErrors are the kubelet's reasons.
var pullErrors = []string{
	"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
	"RegistryUnavailable", "SignatureValidationFailed",
}

// TestFirstListIsNotCounted checks that nothing from before the agent's start is counted,
// and that what follows is.
func TestFirstListIsNotCounted(t *testing.T) {
	m := New("test")
	s := pods.NewStore(pods.StoreConfig{Namespace: "pullprobe", Enqueue: func(types.UID) {}, OnTransition: m.ObservePod})
	list := []any{
		inState("runs", runs(time.Second)),
		inState("stuck", waits("ErrImagePull", errNotFound)),
		inState("creates", waits("ContainerCreating", "")),
	}
	if err := s.Replace(list, ""); err != nil {
		t.Fatal(err)
	}
	count := func() string {
		return gathered(
			t,
			m,
			"pullprobe_pod_images_total",
		) + gathered(
			t,
			m,
			"pullprobe_pod_image_failures_total",
		) + gathered(
			t,
			m,
			"pullprobe_container_start_wait_seconds",
		)
	}
	const zero = `pullprobe_pod_images_total{registry=registry.example,result=failed} 0
pullprobe_pod_images_total{registry=registry.example,result=ready} 0
pullprobe_container_start_wait_seconds{registry=registry.example} 0 in 0
`
	if diff := cmp.Diff(zero, count()); diff != "" {
		t.Error("after the first list:", diff)
	}
	// Another list, after the watch was closed: one image has arrived, one pod is new.
	list = []any{
		inState("runs", runs(time.Second)),
		inState("stuck", waits("ImagePullBackOff", `Back-off pulling image "registry.example/app:1"`)),
		inState("creates", runs(3*time.Second)),
		inState("new", waits("ErrImagePull", errNotFound)),
	}
	if err := s.Replace(list, ""); err != nil {
		t.Fatal(err)
	}
	const want = `pullprobe_pod_images_total{registry=registry.example,result=failed} 1
pullprobe_pod_images_total{registry=registry.example,result=ready} 1
pullprobe_pod_image_failures_total{cause=TagNotFound,reason=ErrImagePull,registry=registry.example} 1
pullprobe_container_start_wait_seconds{registry=registry.example} 1 in 3
`
	if diff := cmp.Diff(want, count()); diff != "" {
		t.Error("after the second list:", diff)
	}
	// Pods that are gone are removed.
	if err := s.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	if n := len(s.All()); n != 0 {
		t.Errorf("%d pods are kept", n)
	}
}

// TestFailureWithoutRequest checks that a failure without a request to the registry
// does not count as the registry's.
func TestFailureWithoutRequest(t *testing.T) {
	for _, reason := range []string{"ErrImageNeverPull", "InvalidImageName"} {
		m := New("test")
		m.podImages.count(pods.Transition{Image: "registry.example/app:1", Failed: true, Reason: reason}, began)
		if got := gathered(t, m, "pullprobe_pod_images_total"); !strings.Contains(got, "result=failed} 0") {
			t.Errorf("%s: %s", reason, got)
		}
		if got := gathered(t, m, "pullprobe_pod_image_failures_total"); !strings.Contains(
			got,
			"reason="+reason+",registry=registry.example} 1",
		) {
			t.Errorf("%s: %s", reason, got)
		}
	}
}

// TestRegistriesAreBounded checks that the number of series is limited although
// tenants name the registries, and that a registry that was not seen for an hour is
// replaced.
func TestRegistriesAreBounded(t *testing.T) {
	m := New("test")
	at := began
	host := func(n int) string { return fmt.Sprintf("r%d.example", n) }
	for n := range 3 * maxRegistries {
		at = at.Add(time.Second)
		m.podImages.count(pods.Transition{Image: host(n) + "/app", Timed: true}, at)
		m.podImages.count(pods.Transition{Image: host(n) + "/app", Failed: true, Reason: "ErrImagePull", Message: errNotFound}, at)
	}
	images := gathered(t, m, "pullprobe_pod_images_total")
	for _, want := range []string{"registry=r0.example,result=ready} 1\n", "registry=r99.example,result=failed} 1\n", "registry=other,result=ready} 200\n", "registry=other,result=failed} 200\n"} {
		if !strings.Contains(images, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if n := strings.Count(images, "\n"); n != 2*(maxRegistries+1) {
		t.Errorf("%d series of images", n)
	}

	at = began.Add(registryIdleTTL + 2*time.Second) // the first is one hour and one second old, the second one hour
	m.podImages.count(pods.Transition{Image: "late.example/app"}, at)
	m.podImages.count(pods.Transition{Image: "later.example/app"}, at.Add(-time.Second))
	all := gathered(
		t,
		m,
		"pullprobe_pod_images_total",
	) + gathered(
		t,
		m,
		"pullprobe_pod_image_failures_total",
	) + gathered(
		t,
		m,
		"pullprobe_container_start_wait_seconds",
	)
	if strings.Contains(all, "registry=r0.example") || !strings.Contains(all, "registry=late.example,result=ready} 1\n") {
		t.Error("the oldest has not given its place")
	}
	if !strings.Contains(all, "registry=r1.example") || strings.Contains(all, "later.example") {
		t.Error("one that is not old enough has given its place")
	}
	if len(m.podImages.registries) != maxRegistries || len(m.podImages.failureSeries) != maxRegistries { // of failures 99, and the others'
		t.Errorf("%d registries and %d failures are kept", len(m.podImages.registries), len(m.podImages.failureSeries))
	}
}

// TestFailuresAreBounded checks that the number of series is limited although servers
// determine the causes.
func TestFailuresAreBounded(t *testing.T) {
	m := New("test")
	messages := []string{
		"not found",
		"unauthorized",
		"connection refused",
		"i/o timeout",
		"no such host",
		"no space left on device",
		"429 Too Many Requests",
		"x509: certificate signed by unknown authority",
	}
	for n := range maxRegistries {
		for _, w := range messages {
			for _, reason := range pullErrors {
				m.podImages.count(
					pods.Transition{Image: fmt.Sprintf("r%d.example/app", n), Failed: true, Reason: reason, Message: w},
					began,
				)
			}
		}
	}
	got := gathered(t, m, "pullprobe_pod_image_failures_total")
	if n := strings.Count(got, "\n"); n < maxFailures || n > maxFailures+len(messages)*len(pullErrors) {
		t.Errorf("%d series of failures", n)
	}
	if !strings.Contains(got, "registry=other} ") {
		t.Error("the rest is not counted")
	}
}
