package pods

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/corev1"
)

func running(name string, after time.Duration) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name:  name,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(born.Add(after))}},
	}
}

func restarted(s corev1.ContainerStatus) corev1.ContainerStatus {
	s.RestartCount = 1
	return s
}

// TestTransitions checks what a sequence of states of a pod shows of its images: "+" is
// an image that is there, with the wait for the start where that is known, "-" a
// failure with the kubelet's reason.
func TestTransitions(t *testing.T) {
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
	sandboxReady := func(after time.Duration) state { return func(p *corev1.Pod) { ready(p, after) } }
	policy := func(policy corev1.PullPolicy) state {
		return func(p *corev1.Pod) { p.Spec.Containers[0].ImagePullPolicy = policy }
	}
	second := func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "d", Image: "busybox"})
	}
	volume := func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{
			{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "data.example/v:1"}}},
		}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v"}}
	}
	debug := func(s corev1.ContainerStatus) state {
		return func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{
				{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "registry.example/debug:1"}},
			}
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
		{"is created again after it ran, without a trace of that", []state{is(running("c", time.Second)), creates, is(running("c", 9*time.Second))}, []string{"+registry.example 1s"}},
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
		{"fails while it is deleted", []state{creates, with(fails, deleted)}, nil},

		{"never pulled", []state{with(policy("Never"), creates), with(policy("Never"), is(running("c", 1)))}, nil},
		{"always pulled", []state{with(policy("Always"), creates), with(policy("Always"), is(running("c", 2*time.Second)))}, []string{"+registry.example 2s"}},
		{"the image of a volume", []state{with(volume, creates), with(volume, is(running("c", time.Second)))}, []string{"+registry.example", "+data.example"}},
		{"the image of a volume fails", []state{with(volume, creates), with(volume, is(waiting("c", "ErrImagePull", `image "data.example/v:1" not found`)))}, []string{"-data.example ErrImagePull"}},

		{"the sandbox is ready late", []state{with(creates, sandboxReady(25*time.Second)), with(is(running("c", 30*time.Second)), sandboxReady(25*time.Second))}, []string{"+registry.example 5s"}},
		{"the sandbox is ready before the start, all seen at once", []state{creates, with(is(running("c", 30*time.Second)), sandboxReady(25*time.Second))}, []string{"+registry.example 5s"}},
		{"the sandbox is ready with the start", []state{with(creates, sandboxReady(30*time.Second)), with(is(running("c", 30*time.Second)), sandboxReady(30*time.Second))}, []string{"+registry.example 0s"}},
		{"the sandbox is reported only after the start", []state{creates, with(is(running("c", 30*time.Second)), sandboxReady(30*time.Second))}, []string{"+registry.example 30s"}},
		{"the sandbox is reported long after the start", []state{creates, with(is(running("c", 30*time.Second)), sandboxReady(time.Minute))}, []string{"+registry.example 30s"}},
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
			var got []string
			saw := func(old, now Pod, news bool) {
				if !news {
					t.Error("it is news")
				}
				for _, a := range Transitions(old, now) {
					registry, ok := RegistryOf(a.Image)
					if !ok {
						registry = "invalid"
					}
					line := "+" + registry
					if a.Failed {
						line = "-" + registry + " " + FailureReason(a.Reason)
					}
					if a.Timed {
						line += " " + a.Waited.String()
					}
					got = append(got, line)
				}
			}
			s := NewStore(StoreConfig{Namespace: "pullprobe", Enqueue: func(types.UID) {}, OnTransition: saw})
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

// TestStartWaitOfEphemeral checks that an ephemeral container does not wait behind
// others.
func TestStartWaitOfEphemeral(t *testing.T) {
	p := Pod{Created: born.Add(-time.Hour), Containers: []Container{
		{Name: "restarted"}, {Name: "e", Ephemeral: true, After: born.Add(900 * time.Millisecond), StartedAt: born.Add(2 * time.Second)},
	}}
	if got, ok := startWait(p, p, 1); got != 2*time.Second || !ok {
		t.Errorf("%v, %v", got, ok)
	}
}

const (
	notFound    = `failed to pull and unpack image "registry.example/app:1": failed to resolve image: registry.example/app:1: not found`
	withoutDots = `Back-off pulling image "registry.example/app:1"`
)
