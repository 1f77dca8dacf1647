package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func running(name string, after time.Duration) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(born.Add(after))}}}
}

func restarted(s corev1.ContainerStatus) corev1.ContainerStatus {
	s.RestartCount = 1
	return s
}

const (
	notFound    = `failed to pull and unpack image "registry.example/app:1": failed to resolve image: registry.example/app:1: not found`
	withoutDots = `Back-off pulling image "registry.example/app:1"`
)

// What the states of a pod, one after the other, tell of its images: "+" is an
// image that is there, with the wait for the start where that is known, "-" a
// failure with the kubelet's reason.
func TestArrivals(t *testing.T) {
	type state = func(*corev1.Pod)
	is := func(statuses ...corev1.ContainerStatus) state {
		return func(p *corev1.Pod) { p.Status.ContainerStatuses = statuses }
	}
	creates := is(waiting("c", "ContainerCreating", ""))
	fails := is(waiting("c", "ErrImagePull", notFound))
	backsOff := is(waiting("c", "ImagePullBackOff", withoutDots))
	with := func(states ...state) state {
		return func(p *corev1.Pod) {
			for _, s := range states {
				s(p)
			}
		}
	}
	stands := func(after time.Duration) state { return func(p *corev1.Pod) { ready(p, after) } }
	policy := func(policy corev1.PullPolicy) state {
		return func(p *corev1.Pod) { p.Spec.Containers[0].ImagePullPolicy = policy }
	}
	second := func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "d", Image: "busybox"})
	}
	volume := func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "data.example/v:1"}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	}
	debug := func(s corev1.ContainerStatus) state {
		return func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "registry.example/debug:1"}}}
			p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{s}
		}
	}
	deleted := func(p *corev1.Pod) { now := metav1.NewTime(born); p.DeletionTimestamp = &now }

	for _, tt := range []struct {
		name   string
		states []state
		want   []string
	}{
		{"runs", []state{creates, is(running("c", 7*time.Second))}, []string{"+registry.example 7s"}},
		{"seen only when it runs", []state{is(running("c", 7*time.Second))}, []string{"+registry.example 7s"}},
		{"seen again", []state{creates, is(running("c", 7*time.Second)), is(running("c", 7*time.Second))}, []string{"+registry.example 7s"}},
		{"restarts", []state{creates, is(running("c", time.Second)), is(waiting("c", "CrashLoopBackOff", "")), is(restarted(running("c", time.Minute)))}, []string{"+registry.example 1s"}},
		{"was restarted unseen", []state{creates, is(restarted(running("c", time.Minute)))}, []string{"+registry.example"}},
		{"is created anew after it ran, without a trace of that", []state{is(running("c", time.Second)), creates, is(running("c", 9*time.Second))}, []string{"+registry.example 1s"}},
		{"has its image and waits for a secret", []state{creates, is(waiting("c", "CreateContainerConfigError", "")), is(running("c", time.Minute))}, []string{"+registry.example"}},
		{"has run already", []state{creates, is(ended("c", time.Minute, 0))}, []string{"+registry.example"}},
		{"could not start", []state{creates, is(waiting("c", "RunContainerError", ""))}, []string{"+registry.example"}},

		{"fails for ever", []state{creates, fails, fails, backsOff, backsOff, fails, backsOff}, []string{"-registry.example ErrImagePull", "-registry.example ErrImagePull"}},
		{"the attempt went unseen", []state{creates, backsOff, backsOff}, []string{"-registry.example ImagePullBackOff"}},
		{"fails, then comes", []state{creates, fails, backsOff, is(running("c", 40*time.Second))}, []string{"-registry.example ErrImagePull", "+registry.example 40s"}},
		{"fails when it is restarted", []state{is(running("c", time.Second)), fails, is(restarted(running("c", time.Minute)))}, []string{"+registry.example 1s", "-registry.example ErrImagePull"}},
		{"a bare error", []state{creates, is(waiting("c", "illegal base64 data at input byte 0", "")), is(waiting("c", "illegal base64 data at input byte 1", ""))}, []string{"-registry.example other"}},
		{"no name", []state{func(p *corev1.Pod) {
			p.Spec.Containers[0].Image = "UPPER:1"
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "InvalidImageName", "")}
		}}, []string{"-invalid InvalidImageName"}},
		{"fails on its way out", []state{creates, with(fails, deleted)}, nil},

		{"never pulled", []state{with(policy("Never"), creates), with(policy("Never"), is(running("c", 1)))}, nil},
		{"always pulled", []state{with(policy("Always"), creates), with(policy("Always"), is(running("c", 2*time.Second)))}, []string{"+registry.example 2s"}},
		{"the image of a volume", []state{with(volume, creates), with(volume, is(running("c", time.Second)))}, []string{"+registry.example", "+data.example"}},
		{"the image of a volume fails", []state{with(volume, creates), with(volume, is(waiting("c", "ErrImagePull", `image "data.example/v:1" not found`)))}, []string{"-data.example ErrImagePull"}},

		{"the sandbox stood late", []state{with(creates, stands(25*time.Second)), with(is(running("c", 30*time.Second)), stands(25*time.Second))}, []string{"+registry.example 5s"}},
		{"the sandbox stood before the start, all seen at once", []state{creates, with(is(running("c", 30*time.Second)), stands(25*time.Second))}, []string{"+registry.example 5s"}},
		{"the sandbox stands with the start", []state{with(creates, stands(30*time.Second)), with(is(running("c", 30*time.Second)), stands(30*time.Second))}, []string{"+registry.example 0s"}},
		{"the sandbox is said to stand only after the start", []state{creates, with(is(running("c", 30*time.Second)), stands(30*time.Second))}, []string{"+registry.example 30s"}},
		{"the sandbox is said to stand long after the start", []state{creates, with(is(running("c", 30*time.Second)), stands(time.Minute))}, []string{"+registry.example 30s"}},
		{"one after the other", []state{
			with(second, is(waiting("c", "ContainerCreating", ""), waiting("d", "ContainerCreating", ""))),
			with(second, is(running("c", 20*time.Second), running("d", 22*time.Second))),
		}, []string{"+registry.example 20s", "+docker.io 2s"}},
		{"behind one that fails", []state{
			with(second, is(waiting("c", "ErrImagePull", notFound), running("d", 22*time.Second))),
		}, []string{"-registry.example ErrImagePull", "+docker.io"}},
		{"after the init containers", []state{
			func(p *corev1.Pod) { inits(p, ended("i", 50*time.Second, 0), ended("j", 55*time.Second, 0)) },
			func(p *corev1.Pod) {
				inits(p, ended("i", 50*time.Second, 0), ended("j", 55*time.Second, 0))
				p.Status.ContainerStatuses = []corev1.ContainerStatus{running("c", 58*time.Second)}
			},
		}, []string{"+registry.example", "+registry.example", "+registry.example 3s"}},
		{"an ephemeral container that was not seen to wait", []state{with(is(running("c", time.Second)), debug(running("e", time.Hour)))}, []string{"+registry.example 1s", "+registry.example"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newPodStore("pullprobe", func(types.UID) {})
			var got []string
			s.saw = func(old, now pod, news bool) {
				if !news {
					t.Error("it is news")
				}
				for _, a := range arrivals(old, now) {
					line := "+" + registryOf(a.Image)
					if a.Failed {
						line = "-" + registryOf(a.Image) + " " + reasonLabel(a.Reason)
					}
					if a.Timed {
						line += " " + a.Waited.String()
					}
					got = append(got, line)
				}
			}
			if err := s.Replace(nil, ""); err != nil {
				t.Fatal(err)
			}
			for _, edit := range tt.states {
				if err := s.Update(aPod(edit)); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An ephemeral container waits behind no other.
func TestStartWaitOfEphemeral(t *testing.T) {
	p := pod{Created: born.Add(-time.Hour), Containers: []container{
		{Name: "restarted"}, {Name: "e", Ephemeral: true, After: born.Add(900 * time.Millisecond), StartedAt: born.Add(2 * time.Second)},
	}}
	if got, ok := startWait(p, p, 1); got != 2*time.Second || !ok {
		t.Errorf("%v, %v", got, ok)
	}
}

// What was so before the agent came is not counted, but what becomes of it is.
func TestFirstListIsNoNews(t *testing.T) {
	m := newMetrics("test")
	s := newPodStore("pullprobe", func(types.UID) {})
	s.saw = m.pulls.saw
	named := func(name string, status corev1.ContainerStatus) any {
		return aPod(func(p *corev1.Pod) {
			p.Name, p.UID = name, types.UID(name)
			p.Status.ContainerStatuses = []corev1.ContainerStatus{status}
		})
	}
	list := []any{named("runs", running("c", time.Second)), named("stuck", waiting("c", "ErrImagePull", notFound)), named("creates", waiting("c", "ContainerCreating", ""))}
	if err := s.Replace(list, ""); err != nil {
		t.Fatal(err)
	}
	count := func() string {
		return gathered(t, m, "pullprobe_pod_images_total") + gathered(t, m, "pullprobe_pod_image_failures_total") + gathered(t, m, "pullprobe_container_start_wait_seconds")
	}
	const zero = "pullprobe_pod_images_total{registry=registry.example,result=failed} 0\npullprobe_pod_images_total{registry=registry.example,result=ready} 0\n"
	if diff := cmp.Diff(zero, count()); diff != "" {
		t.Error("after the first list:", diff)
	}
	// Another list, after the watch broke: one has come meanwhile, one is new.
	list = []any{named("runs", running("c", time.Second)), named("stuck", waiting("c", "ImagePullBackOff", withoutDots)), named("creates", running("c", 3*time.Second)), named("new", waiting("c", "ErrImagePull", notFound))}
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
	// Nothing is kept of pods that have gone.
	if err := s.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	if len(s.pods) != 0 {
		t.Errorf("%d pods are kept", len(s.pods))
	}
}

// A failure in which no registry was asked is none of the registry's.
func TestFailureWithoutARegistry(t *testing.T) {
	for _, reason := range []string{"ErrImageNeverPull", "InvalidImageName"} {
		m := newMetrics("test")
		m.pulls.count(arrival{Image: "registry.example/app:1", Failed: true, Reason: reason}, born)
		if got := gathered(t, m, "pullprobe_pod_images_total"); !strings.Contains(got, "result=failed} 0") {
			t.Errorf("%s: %s", reason, got)
		}
		if got := gathered(t, m, "pullprobe_pod_image_failures_total"); !strings.Contains(got, "reason="+reason+",registry=registry.example} 1") {
			t.Errorf("%s: %s", reason, got)
		}
	}
}

// Tenants name registries, and cannot make the series many. A registry of which
// nothing was seen for an hour gives its place to another.
func TestRegistriesAreBounded(t *testing.T) {
	m := newMetrics("test")
	at := born
	host := func(n int) string { return fmt.Sprintf("r%d.example", n) }
	for n := range 3 * maxRegistries {
		at = at.Add(time.Second)
		m.pulls.count(arrival{Image: host(n) + "/app", Timed: true}, at)
		m.pulls.count(arrival{Image: host(n) + "/app", Failed: true, Reason: "ErrImagePull", Message: notFound}, at)
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

	at = born.Add(idleRegistry + 2*time.Second) // the first is one hour and one second old, the second one hour
	m.pulls.count(arrival{Image: "late.example/app"}, at)
	m.pulls.count(arrival{Image: "later.example/app"}, at.Add(-time.Second))
	all := gathered(t, m, "pullprobe_pod_images_total") + gathered(t, m, "pullprobe_pod_image_failures_total") + gathered(t, m, "pullprobe_container_start_wait_seconds")
	if strings.Contains(all, "registry=r0.example") || !strings.Contains(all, "registry=late.example,result=ready} 1\n") {
		t.Error("the oldest has not given its place")
	}
	if !strings.Contains(all, "registry=r1.example") || strings.Contains(all, "later.example") {
		t.Error("one that is not old enough has given its place")
	}
	if len(m.pulls.used) != maxRegistries || len(m.pulls.seen) != maxRegistries { // of failures 99, and the others'
		t.Errorf("%d registries and %d failures are kept", len(m.pulls.used), len(m.pulls.seen))
	}
}

// Servers choose the words, and so the causes.
func TestFailuresAreBounded(t *testing.T) {
	m := newMetrics("test")
	words := []string{"not found", "unauthorized", "connection refused", "i/o timeout", "no such host", "no space left on device", "429 Too Many Requests", "x509: certificate signed by unknown authority"}
	for n := range maxRegistries {
		for _, w := range words {
			for _, reason := range pullFailures {
				m.pulls.count(arrival{Image: fmt.Sprintf("r%d.example/app", n), Failed: true, Reason: reason, Message: w}, born)
			}
		}
	}
	got := gathered(t, m, "pullprobe_pod_image_failures_total")
	if n := strings.Count(got, "\n"); n < maxFailures || n > maxFailures+len(words)*len(pullFailures) {
		t.Errorf("%d series of failures", n)
	}
	if !strings.Contains(got, "registry=other} ") {
		t.Error("the rest is not counted")
	}
}
