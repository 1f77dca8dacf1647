package pods

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/report"
)

var born = time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)

func waiting(name, reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name:  name,
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
	}
}

func aPod(edit func(*corev1.Pod)) *corev1.Pod {
	start := metav1.NewTime(born)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1", CreationTimestamp: metav1.NewTime(born)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "registry.example/app:1"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending, StartTime: &start},
	}
	edit(p)
	return p
}

// ready sets that the pod's sandbox was ready so long after its creation.
func ready(p *corev1.Pod, after time.Duration) {
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
		Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(born.Add(after)),
	})
}

// inits gives the pod init containers i and j in these states; its own container is
// still to come.
func inits(p *corev1.Pod, i, j corev1.ContainerStatus) {
	p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "registry.example/i:1"}, {Name: "j", Image: "registry.example/j:1"}}
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{i, j}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "PodInitializing", "")}
}

func ended(name string, after time.Duration, code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, FinishedAt: metav1.NewTime(born.Add(after)),
	}}}
}

// TestPendingImages checks what a pod waits for, as container=image, with + for failing.
func TestPendingImages(t *testing.T) {
	imageVolume := func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{
			{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "registry.example/data:1"}}},
		}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	}
	tests := []struct {
		name  string
		after time.Duration
		edit  func(*corev1.Pod)
		want  []string
	}{
		{"running", 0, func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{
				{Name: "c", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
			}
		}, nil},
		{"pull fails", 0, func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "ImagePullBackOff", "")}
		}, []string{"c=registry.example/app:1+"}},
		{"never pulled", 0, func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "ErrImageNeverPull", "")}
		}, []string{"c=registry.example/app:1+"}},
		{"a bare error as the reason", 0, func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{
				waiting("c", "illegal base64 data at input byte 0", "illegal base64 data at input byte 0"),
			}
		}, []string{"c=registry.example/app:1+"}},
		{"crash loop is not ours", 0, func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "CrashLoopBackOff", "")}
		}, nil},
		{"creating, within the grace period", 9 * time.Second, func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "ContainerCreating", "")}
		}, nil},
		{"creating, after the grace period", 10 * time.Second, func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "ContainerCreating", "")}
		}, []string{"c=registry.example/app:1"}},
		{"creating with an image volume", time.Minute, func(p *corev1.Pod) {
			imageVolume(p)
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "ContainerCreating", "")}
		}, []string{"c=registry.example/data:1", "c=registry.example/app:1"}},
		{"init and ephemeral containers", 0, func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "registry.example/init:1"}}
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{
				{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "registry.example/debug:1"}},
			}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{waiting("i", "ErrImagePull", "")}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "PodInitializing", "")}
			p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{waiting("e", "ImagePullBackOff", "")}
		}, []string{"i=registry.example/init:1+", "e=registry.example/debug:1+"}},
		{"the sandbox stood late", 30 * time.Second, func(p *corev1.Pod) {
			ready(p, 25*time.Second)
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "ContainerCreating", "")}
		}, nil},
		{"the sandbox has stood long enough", 35 * time.Second, func(p *corev1.Pod) {
			ready(p, 25*time.Second)
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "ContainerCreating", "")}
		}, []string{"c=registry.example/app:1"}},
		{"an init container is being created", time.Minute, func(p *corev1.Pod) {
			inits(p, waiting("i", "PodInitializing", ""), waiting("j", "PodInitializing", ""))
		}, []string{"i=registry.example/i:1"}},
		{"an init container runs", time.Minute, func(p *corev1.Pod) {
			inits(
				p,
				corev1.ContainerStatus{Name: "i", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
				waiting("j", "PodInitializing", ""),
			)
		}, nil},
		{"the second init container's turn", time.Minute, func(p *corev1.Pod) {
			inits(p, ended("i", 50*time.Second, 0), waiting("j", "PodInitializing", ""))
		}, []string{"j=registry.example/j:1"}},
		{"an init container failed", time.Minute, func(p *corev1.Pod) {
			inits(p, ended("i", time.Second, 1), waiting("j", "PodInitializing", ""))
		}, nil},
		{"a long init container has just ended", time.Minute, func(p *corev1.Pod) {
			inits(p, ended("i", 2*time.Second, 0), ended("j", 55*time.Second, 0))
		}, nil},
		{"the init containers ended long ago", time.Minute, func(p *corev1.Pod) {
			inits(p, ended("i", 2*time.Second, 0), ended("j", 50*time.Second, 0))
		}, []string{"c=registry.example/app:1"}},
		{"a sidecar has started", time.Minute, func(p *corev1.Pod) {
			started, always := true, corev1.ContainerRestartPolicyAlways
			inits(p, ended("i", 2*time.Second, 0), corev1.ContainerStatus{
				Name: "j", Started: &started, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(born.Add(50 * time.Second))}},
			})
			p.Spec.InitContainers[1].RestartPolicy = &always
		}, []string{"c=registry.example/app:1"}},
		{"the message blames the image volume", 0, func(p *corev1.Pod) {
			imageVolume(p)
			p.Status.ContainerStatuses = []corev1.ContainerStatus{
				waiting("c", "ImagePullBackOff", `Back-off pulling image "registry.example/data:1"`),
			}
		}, []string{"c=registry.example/data:1+"}},
		{"being deleted", 0, func(p *corev1.Pod) {
			now := metav1.NewTime(born)
			p.DeletionTimestamp = &now
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "ImagePullBackOff", "")}
		}, nil},
		{"failed for good", 0, func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodFailed
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "ImagePullBackOff", "")}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, w := range newPod(aPod(tt.edit), "pullprobe").PendingImages(born.Add(tt.after)) {
				s := w.Container + "=" + w.Image
				if w.Failing {
					s += "+"
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRequests checks that every new value of either annotation is a request, and so
// is the same value after it was removed.
func TestRequests(t *testing.T) {
	s := NewStore(StoreConfig{Namespace: "pullprobe", Enqueue: func(types.UID) {}})
	ask := func(annotations map[string]string) string {
		if err := s.Update(aPod(func(p *corev1.Pod) { p.Annotations = annotations })); err != nil {
			t.Fatal(err)
		}
		q, _ := s.PendingRequest("u1")
		s.MarkHandled("u1", q)
		return q
	}
	steps := []struct {
		annotations map[string]string
		want        string
	}{
		{nil, ""},
		{map[string]string{"probe": "now"}, "now"},
		{map[string]string{"probe": "now"}, ""},
		{map[string]string{"probe": "2"}, "2"},
		{nil, ""},
		{map[string]string{"probe": "2"}, "2"},
		{map[string]string{"pullprobe.dev/probe": "now"}, "now"},
		{map[string]string{"pullprobe.dev/probe": "now", "probe": "x"}, "x,now"},
	}
	for i, step := range steps {
		if got := ask(step.annotations); got != step.want {
			t.Errorf("step %d: request %q, want %q", i, got, step.want)
		}
	}
}

// TestCheck checks what the kubelet reports of an image: a failure, no problem, or
// nothing yet.
func TestCheck(t *testing.T) {
	p := Pod{Namespace: "shop", Name: "web"}
	tests := []struct {
		name     string
		w        PendingImage
		outcome  report.Outcome
		cause    report.Cause
		creating bool
	}{
		{
			"pull fails",
			PendingImage{
				Failing: true,
				Reason:  "ErrImagePull",
				Message: `failed to pull and unpack image "r.example/app:1": failed to resolve image: r.example/app:1: not found`,
			},
			report.Fail,
			report.TagNotFound,
			false,
		},
		{
			"pull fails without a cause",
			PendingImage{Failing: true, Reason: "ImagePullBackOff", Message: `Back-off pulling image "r.example/app:1"`},
			report.Fail,
			report.Undetermined,
			false,
		},
		{"started", PendingImage{Started: true}, report.Pass, "", false},
		{"just created", PendingImage{Reason: "ContainerCreating"}, report.Pass, "", true},
		{"after the grace period", PendingImage{Reason: "ContainerCreating", Creating: true}, report.Pass, "", true},
		{"init containers first", PendingImage{Reason: "PodInitializing"}, report.Pass, "", true},
		{"not taken by the kubelet yet", PendingImage{}, report.Pass, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Check(p, tt.w, "node-a")
			if c.Outcome != tt.outcome || c.Cause != tt.cause || (c.Evidence["creating"] == "true") != tt.creating {
				t.Errorf("got %v %q creating=%q: %s", c.Outcome, c.Cause, c.Evidence["creating"], c.Summary)
			}
		})
	}
}

// TestNeverIsProvenByTheReason checks that the message of the pull policy Never proves
// something only with the kubelet's own reason: a message may quote a registry.
func TestNeverIsProvenByTheReason(t *testing.T) {
	const message = `Container image "r.example/app:1" is not present with pull policy of Never`
	for reason, proven := range map[string]string{"ErrImageNeverPull": "true", "ErrImagePull": ""} {
		if c := Check(Pod{}, PendingImage{Failing: true, Reason: reason, Message: message}, "node-a"); c.Evidence["proven"] != proven {
			t.Errorf("%s: proven=%q", reason, c.Evidence["proven"])
		}
	}
}

// TestVolumePolicy checks that an image volume has a pull policy of its own.
func TestVolumePolicy(t *testing.T) {
	const data = "registry.example/data:1"
	p := newPod(&corev1.Pod{Spec: corev1.PodSpec{
		Volumes: []corev1.Volume{
			{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: data, PullPolicy: corev1.PullNever}}},
		},
		Containers: []corev1.Container{
			{
				Name:            "c",
				Image:           "registry.example/app:1",
				ImagePullPolicy: corev1.PullAlways,
				VolumeMounts:    []corev1.VolumeMount{{Name: "v"}},
			},
		},
	}}, "pullprobe")
	for _, w := range p.AllImages(time.Time{}) {
		if want := map[bool]corev1.PullPolicy{true: corev1.PullNever, false: corev1.PullAlways}[w.Image == data]; w.Policy != want {
			t.Errorf("%s: %s", w.Image, w.Policy)
		}
	}
}

// TestLongRequest checks that an annotation of a tenant cannot fill the report, and
// that different ones stay different requests.
func TestLongRequest(t *testing.T) {
	a := requestValue(map[string]string{"probe": strings.Repeat("x", 200<<10)})
	b := requestValue(map[string]string{"probe": strings.Repeat("x", 200<<10) + "y"})
	if len(a) > 100 || a == b {
		t.Errorf("%q and %q", a, b)
	}
}

// TestEphemeralContainer checks that the grace period of an ephemeral container begins
// when it is first seen.
func TestEphemeralContainer(t *testing.T) {
	s := NewStore(StoreConfig{Namespace: "pullprobe", Enqueue: func(types.UID) {}})
	p := aPod(func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "registry.example/debug:1"}},
		}
		p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{waiting("debug", "ContainerCreating", "")}
	})
	before := time.Now()
	for range 2 { // an update does not restart the grace period
		if err := s.Update(p); err != nil {
			t.Fatal(err)
		}
	}
	kept, _ := s.Get("u1")
	if got := kept.PendingImages(before.Add(GracePeriod - time.Millisecond)); len(got) != 0 {
		t.Errorf("within the grace period: %+v", got)
	}
	if got := kept.PendingImages(time.Now().Add(GracePeriod)); len(got) != 1 || got[0].Container != "debug" {
		t.Errorf("after the grace period: %+v", got)
	}
}

// TestRuntimeHandler checks what is kept of how the runtime treats the pod's images.
func TestRuntimeHandler(t *testing.T) {
	class := "kata-class"
	p := newPod(aPod(func(p *corev1.Pod) {
		p.Spec.RuntimeClassName = &class
		p.Annotations = map[string]string{"io.containerd.cri.runtime-handler": "kata", "other": "x"}
	}), "pullprobe")
	if p.RuntimeClass != class || p.RuntimeHandler != "kata" {
		t.Errorf("%q, %q", p.RuntimeClass, p.RuntimeHandler)
	}
	p = newPod(aPod(func(p *corev1.Pod) {
		p.Annotations = map[string]string{"io.containerd.cri.runtime-handler": strings.Repeat("x", 1<<18)}
	}), "pullprobe")
	if len(p.RuntimeHandler) > 253 || p.RuntimeHandler == "" {
		t.Errorf("%d bytes are kept of an annotation", len(p.RuntimeHandler))
	}
}
