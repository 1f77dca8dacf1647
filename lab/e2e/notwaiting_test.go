//go:build e2e

package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// waitPod waits until the kubelet reports a pod as wanted.
func (c *cluster) waitPod(t testing.TB, namespace, name string, want func(*corev1.Pod) bool) {
	t.Helper()
	var last *corev1.Pod
	if !c.eventually(t, time.Minute, func(ctx context.Context) bool {
		p, err := c.api.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		last = p
		return err == nil && want(p)
	}) {
		t.Fatalf("pod %s/%s does not get there: %+v", namespace, name, last.Status)
	}
}

// waitAnswer waits for a verdict on one of the pod's containers whose summary is as wanted.
func (c *cluster) waitAnswer(t testing.TB, node, pod, want string, says func(string) bool) (found diagnosis) {
	t.Helper()
	_, r, ok := c.waitReport(t, node, 30*time.Second, func(_ *corev1.ConfigMap, r nodeReport) bool {
		for _, d := range r.Diagnoses {
			if d.Pod == pod && matches(want, d) && says(d.Verdict.Summary) {
				found = d
				return true
			}
		}
		return false
	})
	if !ok {
		for _, d := range r.Diagnoses {
			if d.Pod == pod {
				t.Fatalf("got %q, want %q: %s", d, want, d.Verdict.Summary)
			}
		}
		t.Fatal("there is no answer")
	}
	return found
}

// TestPodsThatDoNotWait asks about pods that wait for no image. Each is told what it does,
// by what its kubelet has written into its status, and its fix can be pasted.
func TestPodsThatDoNotWait(t *testing.T) {
	suite.useNode(t, nodeA)
	ns := suite.namespace(t)
	const untold = "registry.lab/app:untold" // on the node only
	if p := suite.Pull(t.Context(), nodeA, "registry.lab/app:1", nil); p.Message != "" {
		t.Fatal(p.Message)
	}
	ctr := []string{"ctr", "-n", "k8s.io", "images", "tag", "--force", "registry.lab/app:1", untold}
	if out, err := suite.Exec(t.Context(), nodeA, ctr...); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	script := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "script"}, Data: map[string]string{"run": "echo hello\n"}}
	if _, err := suite.api.CoreV1().ConfigMaps(ns).Create(t.Context(), script, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	fromConfigMap := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			mode := int32(0o755)
			source := &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}, DefaultMode: &mode}
			p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: source}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
			p.Spec.Containers[0].Command = []string{"/v/run"}
			p.Spec.Containers[0].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
		}
	}
	runs := func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodRunning && p.Status.ContainerStatuses[0].Ready
	}
	waitsFor := func(reason string) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
				p.Status.ContainerStatuses[0].State.Waiting.Reason == reason
		}
	}
	crashed := func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].LastTerminationState.Terminated != nil
	}
	for _, tt := range []struct {
		name, image string
		edit        func(*corev1.Pod)
		until       func(*corev1.Pod) bool
		want        string
		says        []string // in the summary
		fix         string   // a part of the fix; its commands are run
	}{
		{"runs", "registry.lab/app:1", nil, runs, "none Healthy likely", []string{
			"container app has been running since ", "; the image is on the node (sha256:", "; a new pull would work now",
		}, ""},
		{"untold", untold, func(p *corev1.Pod) { p.Spec.Containers[0].ImagePullPolicy = corev1.PullIfNotPresent }, runs,
			"none NotAPullProblem confirmed",
			[]string{"has been running since ", "; a new pull would fail: cluster-config / TagNotFound (likely): "},
			"push " + untold},
		{"no-key", "registry.lab/app:1", func(p *corev1.Pod) {
			key := &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "script"}, Key: "level"}
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "LEVEL", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: key}}}
		}, waitsFor("CreateContainerConfigError"), "none NotAPullProblem confirmed",
			[]string{"waits for key level of ConfigMap script, which has no such key"}, "kubectl -n " + ns + " describe configmap script"},
		{"no-volume", "registry.lab/app:1", fromConfigMap("nowhere"), waitsFor("ContainerCreating"), "none NotAPullProblem likely",
			[]string{"its volumes need ConfigMap nowhere"}, "kubectl -n " + ns + " get configmap nowhere"},
		{"init", "registry.lab/app:1", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "registry.lab/app:1"}}
		}, func(p *corev1.Pod) bool {
			return len(p.Status.InitContainerStatuses) > 0 && p.Status.InitContainerStatuses[0].State.Running != nil
		}, "none NotAPullProblem confirmed", []string{"container app waits for init container first, which has been running since "},
			"kubectl -n " + ns + " logs init -c first"},
		{"init-then-fail", "auth.lab/app:1", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "registry.lab/app:1"}}
		}, func(p *corev1.Pod) bool {
			return len(p.Status.InitContainerStatuses) > 0 && p.Status.InitContainerStatuses[0].State.Running != nil
		}, "cluster-config CredentialsMissing likely",
			[]string{"the next pull will fail: ", "; now container app waits for init container first, which has been running since "}, ""},
		{"no-program", "registry.lab/app:1", func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"/nope"} }, crashed,
			"none NotAPullProblem confirmed", []string{"cannot be started: ", "/nope: no such file or directory"},
			"kubectl -n " + ns + " describe pod no-program"},
		{"arm", "registry.lab/arm:1", nil, crashed, "cluster-config PlatformMismatch likely",
			[]string{"exit code 255", "registry.lab/arm:1 on this node is built for linux/arm64"}, ""},
		{"script", "registry.lab/app:1", fromConfigMap("script"), crashed, "undetermined Undetermined undetermined",
			[]string{"a script without a #! line, or built for another architecture although the image is declared for linux/"}, ""},
		{"completed", agentImage, func(p *corev1.Pod) {
			p.Spec.Containers[0].Command = []string{"/pullprobe", "explain", "x"}
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
		}, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded }, "none NotAPullProblem confirmed",
			[]string{"the pod has completed; it needs no image, so nothing was checked"}, ""},
		{"too-long", "registry.lab/app:1", func(p *corev1.Pod) { limit := int64(1); p.Spec.ActiveDeadlineSeconds = &limit },
			func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed }, "none NotAPullProblem confirmed",
			[]string{"the pod has failed (DeadlineExceeded); it needs no image, so nothing was checked: Pod was active on the node longer"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: tt.name, Image: tt.image, Edit: tt.edit})
			suite.waitPod(t, ns, tt.name, tt.until)
			value := "now"
			suite.annotate(t, p, &value)
			says := func(text string) bool {
				return !slices.ContainsFunc(tt.says, func(s string) bool { return !strings.Contains(text, s) })
			}
			d := suite.waitAnswer(t, nodeA, ns+"/"+tt.name, tt.want, says)
			e := suite.waitEvent(t, ns, tt.name, diagnosedReason, 20*time.Second, func(e corev1.Event) bool { return says(e.Message) })
			t.Log(e.Message)
			if warns := e.Type == corev1.EventTypeWarning; warns != (d.Verdict.Fault != "none") {
				t.Errorf("an Event of type %s", e.Type)
			}
			if !strings.Contains(d.Verdict.Fix, tt.fix) {
				t.Errorf("no %q in the fix: %s", tt.fix, d.Verdict.Fix)
			}
			for line := range strings.Lines(d.Verdict.Fix) {
				if command, ok := strings.CutPrefix(strings.TrimSpace(line), "kubectl "); ok &&
					!strings.Contains(command, "<") && tt.name != "no-volume" { // a value to fill in, and an object that does not exist
					suite.kubectl(t, strings.Fields(command)...)
				}
			}
			if outcome, _, _ := d.check("pull"); outcome == "pass" || outcome == "fail" {
				t.Errorf("there was a test pull: %s", outcome)
			}
		})
	}

	t.Run("being deleted", func(t *testing.T) {
		p := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "deleted", Image: "registry.lab/app:1", Edit: func(p *corev1.Pod) {
			p.Finalizers = []string{"e2e.example/stays"}
		}})
		t.Cleanup(func() {
			patch := []byte(`{"metadata":{"finalizers":null}}`)
			_, _ = suite.api.CoreV1().Pods(ns).Patch(context.Background(), p.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		})
		suite.waitPod(t, ns, p.Name, runs)
		if err := suite.api.CoreV1().Pods(ns).Delete(t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		value := "now"
		suite.annotate(t, p, &value)
		d := suite.waitVerdict(t, nodeA, ns+"/"+p.Name, "none NotAPullProblem confirmed", 30*time.Second)
		if want := "the pod is being deleted; it needs no image, so nothing was checked"; d.Verdict.Summary != want || len(d.Checks) != 1 {
			t.Errorf("%q after %d checks", d.Verdict.Summary, len(d.Checks))
		}
	})
}
