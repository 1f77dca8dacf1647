package cluster

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	discovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/pullprobe/pullprobe/preflight"
)

// TestWhyNoPreflight checks which clusters are refused: one without gates would run the pod.
func TestWhyNoPreflight(t *testing.T) {
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Name: "pullprobe-fleet", Namespace: "pullprobe", Labels: map[string]string{"app.kubernetes.io/name": "pullprobe-fleet"},
	}}
	for _, c := range []struct {
		minor, want string
		objects     []runtime.Object
	}{
		{"29", "needs Kubernetes 1.30, for scheduling gates; this cluster has v1.29.3", []runtime.Object{deployment}},
		{"29+", "needs Kubernetes 1.30", []runtime.Object{deployment}},
		{"30", "needs pullprobe-fleet, and namespace pullprobe has none", nil},
		{"30", "", []runtime.Object{deployment}},
		{"37+", "", []runtime.Object{deployment}},
	} {
		kube := fake.NewClientset(c.objects...)
		api, ok := kube.Discovery().(*discovery.FakeDiscovery)
		if !ok {
			t.Fatal("no fake discovery")
		}
		api.FakedServerVersion = &version.Info{Major: "1", Minor: c.minor, GitVersion: "v1." + c.minor + ".3"}
		why, err := (&Client{Kube: kube, home: DefaultHome}).WhyNoPreflight(t.Context())
		if err != nil || (c.want == "") != (why == "") || !strings.Contains(why, c.want) {
			t.Errorf("1.%s: %q, %v; want %q", c.minor, why, err, c.want)
		}
	}
}

// TestGateIsRemoved checks that no pod is left that could run.
func TestGateIsRemoved(t *testing.T) {
	for _, removes := range []bool{false, true} {
		kube := fake.NewClientset()
		kube.PrependReactor("create", "pods", func(a kubetesting.Action) (bool, runtime.Object, error) {
			create, ok := a.(kubetesting.CreateAction)
			if !ok {
				t.Fatalf("%T", a)
			}
			if p, ok := create.GetObject().(*corev1.Pod); ok && removes {
				p.Spec.SchedulingGates = nil // as a webhook may do
			}
			return false, nil, nil
		})
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"}}
		p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: preflight.Gate}}
		_, err := (&Client{Kube: kube}).CreateGated(t.Context(), p)
		list, errList := kube.CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{})
		if errList != nil {
			t.Fatal(errList)
		}
		if removes && (err == nil || !strings.Contains(err.Error(), "removes the scheduling gate") || len(list.Items) != 0) {
			t.Errorf("%v, %d pods are left", err, len(list.Items))
		}
		if !removes && (err != nil || len(list.Items) != 1) {
			t.Errorf("%v, %d pods", err, len(list.Items))
		}
	}
}
