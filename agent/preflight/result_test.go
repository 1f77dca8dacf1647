package preflight

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/agent/corev1"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/preflight"
	"github.com/pullprobe/pullprobe/report"
)

// An agent checks nothing but what a pod's creator asked for, whatever the fleet says.
func TestRefusal(t *testing.T) {
	pod := func(edit func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: "example.com/other"}, {Name: preflight.Gate}}}}
		p.UID = "1"
		edit(p)
		return p
	}
	for _, tt := range []struct {
		want string
		pod  *corev1.Pod
	}{
		{"", pod(func(*corev1.Pod) {})},
		{"no such pod", nil},
		{"no such pod", pod(func(p *corev1.Pod) { p.UID = "2" })},
		{"no scheduling gate", pod(func(p *corev1.Pod) { p.Spec.SchedulingGates = p.Spec.SchedulingGates[:1] })},
		{"has a node", pod(func(p *corev1.Pod) { p.Spec.NodeName = "a" })},
		{"deleted", pod(func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Now()} })},
	} {
		if got := refusal(tt.pod, "1"); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestImagesOf(t *testing.T) {
	p := corev1.Pod{Spec: corev1.PodSpec{
		Volumes:        []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "data:1"}}}},
		InitContainers: []corev1.Container{{Name: "init", Image: "app:1", ImagePullPolicy: corev1.PullIfNotPresent}},
		Containers: []corev1.Container{
			{Name: "app", Image: "app:1", ImagePullPolicy: corev1.PullIfNotPresent, VolumeMounts: []corev1.VolumeMount{{Name: "data"}}},
			{Name: "never", Image: "app:1", ImagePullPolicy: corev1.PullNever},
		},
	}}
	list, left := imagesOf(pods.New(&p))
	got := ""
	for _, i := range list {
		got += fmt.Sprintf("%s %s %s; ", i.Image, i.Policy, strings.Join(i.places, ","))
	}
	if want := "app:1 IfNotPresent init,app; data:1  app/data; app:1 Never never; "; got != want || left != 0 {
		t.Errorf("%s(%d left)\nwant %s", got, left, want)
	}
	for i := range preflight.MaxImages + 2 {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprint("c", i), Image: fmt.Sprint("i", i)})
	}
	if list, left := imagesOf(pods.New(&p)); len(list) != preflight.MaxImages || left != 5 {
		t.Errorf("%d images, %d left", len(list), left)
	}
}

// found are the checks of an image that is on the node or is not.
func found(present bool) []report.Check {
	out := []report.Check{
		{ID: report.IDReference, Kind: report.KindReference, Outcome: report.Pass, Evidence: map[string]string{
			report.KeyDomain: "r.example", report.KeyTag: "latest",
		}},
		{ID: report.IDCredentials, Kind: report.KindCredentials, Outcome: report.Pass, Evidence: map[string]string{
			report.KeyExpires: "2026-11-21T06:00:00Z", report.KeySource: "secret shop/regcred",
		}},
		{ID: report.IDRuntime, Kind: report.KindRuntime, Outcome: report.Pass},
		{ID: "image/r.example", Kind: report.KindImage, Outcome: report.Pass, Evidence: map[string]string{report.KeySize: "5000"}},
	}
	if present {
		out = append(out, report.Check{ID: report.LocalImageID("r.example"), Kind: report.KindImage, Outcome: report.Pass})
	}
	return out
}

func TestPodCheck(t *testing.T) {
	for _, tt := range []struct {
		policy  corev1.PullPolicy
		present bool
		outcome report.Outcome
		cause   report.Cause
	}{
		{corev1.PullAlways, false, report.Pass, ""},
		{corev1.PullIfNotPresent, true, report.Pass, ""},
		{corev1.PullNever, true, report.Pass, report.NotAPullProblem},
		{corev1.PullNever, false, report.Fail, report.NeverPullNotPresent},
	} {
		i := image{PendingImage: pods.PendingImage{Policy: tt.policy}}
		if c := podCheck(pods.Pod{}, i, "a", found(tt.present)); c.Outcome != tt.outcome || c.Cause != tt.cause {
			t.Errorf("%s, present %v: %s %s", tt.policy, tt.present, c.Outcome, c.Cause)
		}
	}
	// Where the runtime does not answer, it is not known what is on the node.
	if c := podCheck(pods.Pod{}, image{PendingImage: pods.PendingImage{Policy: corev1.PullNever}}, "a", found(false)[:2]); c.Outcome != report.Pass || c.Cause != "" {
		t.Errorf("%+v", c)
	}
}

func TestResultOf(t *testing.T) {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	i := image{PendingImage: pods.PendingImage{Image: "r.example/app", Policy: corev1.PullIfNotPresent}, places: []string{"app"}}
	r := resultOf(i, report.Verdict{Cause: report.Healthy}, found(true), &report.PullEstimate{Bytes: 5000, BytesPerSecond: 1000}, now)
	if r.Bytes != 5000 || r.Seconds != 5 {
		t.Errorf("%d bytes, %d seconds", r.Bytes, r.Seconds)
	}
	for n, want := range []string{"tag latest", "pull policy IfNotPresent", "expires in 2 h"} {
		if len(r.Remarks) != 3 || !strings.Contains(r.Remarks[n], want) {
			t.Errorf("no %q in %q", want, r.Remarks)
		}
	}
	if r := resultOf(i, report.Verdict{}, found(false)[3:], nil, now); len(r.Remarks) != 0 || r.Seconds != 0 {
		t.Errorf("%+v", r)
	}
	if r := resultOf(i, report.Verdict{}, found(false), nil, now.Add(-30*24*time.Hour)); strings.Contains(strings.Join(r.Remarks, ""), "expires") {
		t.Errorf("%q", r.Remarks)
	}
}
