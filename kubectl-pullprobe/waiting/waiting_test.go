package waiting

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/report"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// pod returns a pod whose container app waits.
func pod(name, image, reason, message string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(now)},
		Spec:       corev1.PodSpec{NodeName: "node-a", Containers: []corev1.Container{{Name: "app", Image: image}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}},
	}
}

func nodeReport(d ...report.Diagnosis) ReportsAndEvents {
	return ReportsAndEvents{Reports: map[string]*report.NodeReport{"node-a": {Node: "node-a", Diagnoses: d}}}
}

func diagnosis(uid, image string, cause report.Cause, owners ...report.Owner) report.Diagnosis {
	return report.Diagnosis{
		Image: image, Pod: "shop/" + uid, UID: uid, Container: "app", Time: now, Pods: &report.Pods{Count: 1, Since: now, Owners: owners},
		Verdict: report.Verdict{Fault: cause.DefaultFault(), Cause: cause, Confidence: report.Confirmed, Fix: "fix of the verdict"},
	}
}

const notFound = `rpc error: code = NotFound desc = failed to pull and unpack image "registry.example/web:v9": registry.example/web:v9: not found`

// TestCases checks where the verdict on a container comes from. A report about another image, or
// about another container, is none.
func TestCases(t *testing.T) {
	owned := func(p corev1.Pod) corev1.Pod {
		controller := true
		p.Labels = map[string]string{"pod-template-hash": "abc"}
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-abc", Controller: &controller}}
		return p
	}
	const image = "registry.example/web:v9"
	web := report.Owner{Name: "deployment/web", Pods: 2, Fix: "fix for the owner"}
	for _, c := range []struct {
		name   string
		pod    corev1.Pod
		from   ReportsAndEvents
		source Source // empty: it does not wait
		cause  report.Cause
		fix    string
	}{
		{"the report names it", pod("a", image, "ErrImagePull", notFound), nodeReport(diagnosis("a", image, report.RateLimited)), FromReport, report.RateLimited, "fix of the verdict"},
		{"the image was changed since", pod("a", image, "ErrImagePull", notFound), nodeReport(diagnosis("a", "registry.example/web:v8", report.RateLimited)), FromMessage, report.TagNotFound, ""},
		{"the owner's fix", owned(pod("a", image, "ErrImagePull", notFound)), nodeReport(diagnosis("a", image, report.TagNotFound, web)), FromReport, report.TagNotFound, "fix for the owner"},
		{"another pod of the owner", owned(pod("b", image, "ErrImagePull", notFound)), nodeReport(diagnosis("a", image, report.RateLimited, web)), FromOwner, report.RateLimited, "fix for the owner"},
		{"two verdicts for the owner", owned(pod("c", image, "ErrImagePull", notFound)),
			nodeReport(diagnosis("a", image, report.RateLimited, web), diagnosis("b", image, report.AccessForbidden, web)), FromMessage, report.TagNotFound, ""},
		{"no report", pod("a", image, "ImagePullBackOff", notFound), ReportsAndEvents{}, FromMessage, report.TagNotFound, ""},
		{"no message", pod("a", image, "ImagePullBackOff", ""), ReportsAndEvents{}, FromMessage, report.Undetermined, ""},
		{"an Event", pod("a", image, "ErrImagePull", notFound), ReportsAndEvents{Events: map[string][]Event{"a": {{Verdict: report.Verdict{Fault: report.FaultRegistry, Cause: report.RateLimited}}}}},
			FromEvent, report.RateLimited, ""},
		{"crashes", pod("a", image, "CrashLoopBackOff", ""), nodeReport(diagnosis("a", image, report.RateLimited)), "", "", ""},
		{"is created", pod("a", image, "ContainerCreating", ""), ReportsAndEvents{}, "", "", ""},
		{"is created, and the report says that it waits", pod("a", image, "ContainerCreating", ""), nodeReport(diagnosis("a", image, report.ConnectionTimeout)), FromReport, report.ConnectionTimeout, "fix of the verdict"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Cases([]corev1.Pod{c.pod}, c.from)
			if c.source == "" {
				if len(got) > 0 {
					t.Errorf("waits: %+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Source != c.source || got[0].Verdict.Cause != c.cause || c.fix != "" && got[0].Verdict.Fix != c.fix {
				t.Errorf("got %+v", got)
			}
			if c.source == FromMessage && got[0].Verdict.Confidence == report.Confirmed {
				t.Error("a message alone confirms nothing")
			}
		})
	}
}

// TestGroups checks that a fault of a host is one group whatever the image, that one of an image is
// one for each, and that what no agent has checked comes last.
func TestGroups(t *testing.T) {
	c := func(uid, image string, cause report.Cause, source Source) Case {
		return Case{UID: uid, Pod: uid, Image: image, Source: source, Verdict: report.Verdict{Fault: cause.DefaultFault(), Cause: cause}}
	}
	got := Groups([]Case{
		c("a", "one.example/web:v1", report.TagNotFound, FromMessage), c("b", "one.example/web:v1", report.TagNotFound, FromReport),
		c("c", "one.example/shop:v1", report.TagNotFound, FromReport), c("d", "two.example/web:v1", report.TLSHandshakeFailed, FromReport),
		c("e", "two.example/shop:v1", report.TLSHandshakeFailed, FromReport),
	})
	var text []string
	for _, g := range got {
		var pods []string
		for _, c := range g.Cases {
			pods = append(pods, c.Pod)
		}
		text = append(text, string(g.Verdict.Cause)+":"+strings.Join(pods, ","))
	}
	if s := strings.Join(text, " "); s != "TLSHandshakeFailed:d,e TagNotFound:c TagNotFound:b TagNotFound:a" {
		t.Error(s)
	}
}

// FuzzParseEvent checks that no message of an Event crashes, or gives a verdict that is none of the
// catalogue.
func FuzzParseEvent(f *testing.F) {
	f.Add("cluster-config / TagNotFound (confirmed): tag v9 does not exist.\nWho acts: the owner\nFix: use v1\nTo confirm: look\nChecked: 2026-11-30 12:00:00 UTC. Check again: kubectl annotate")
	f.Add("none / Recovered (confirmed): Fix: \nFix:")
	f.Fuzz(func(t *testing.T, message string) {
		e, ok := ParseEvent(message)
		if ok && (!e.Verdict.Cause.Known() || e.Verdict.Confidence == "" || strings.Contains(e.Verdict.Summary, "\nFix:")) {
			t.Errorf("%q: %+v", message, e)
		}
	})
}

// TestParseEvent checks the parts of an Event.
func TestParseEvent(t *testing.T) {
	e, ok := ParseEvent("registry / RateLimited (confirmed): registry.example is rate-limiting this node (429).\nWho acts: the operator of the registry\n" +
		"Fix: wait 1 min:\nkubectl get pods\nTo confirm: x\nAlso: y\nChecked: 2026-11-30 12:00:00 UTC. Check again: kubectl annotate pod")
	want := report.Verdict{
		Fault: report.FaultRegistry, Cause: report.RateLimited, Confidence: report.Confirmed, Summary: "registry.example is rate-limiting this node (429)",
		Fix: "wait 1 min:\nkubectl get pods",
	}
	if !ok || e.Verdict.Fault != want.Fault || e.Verdict.Summary != want.Summary || e.Verdict.Fix != want.Fix || !e.At.Equal(now) || len(e.Verdict.WouldDecide) != 1 || e.Verdict.WouldDecide[0] != "x" {
		t.Errorf("%v %+v", ok, e)
	}
	for _, message := range []string{"", "Back-off pulling image", "made-up / TagNotFound (confirmed): x", "registry / MadeUp (confirmed): x", "registry / RateLimited (sure): x"} {
		if e, ok := ParseEvent(message); ok {
			t.Errorf("%q is a verdict: %+v", message, e)
		}
	}
}

// The first line of an Event is that of the verdict, however little is known.
func TestParseEventHead(t *testing.T) {
	for _, v := range []report.Verdict{
		{Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: report.Likely},
		{Fault: report.FaultUndetermined, Cause: report.ConnectionRefused, Confidence: report.Confirmed},
		{Fault: report.FaultUndetermined, Cause: report.ConnectionRefused, Confidence: report.Likely},
		{Fault: report.FaultUndetermined, Cause: report.ConnectionRefused, Confidence: report.ConfidenceUndetermined},
		{Fault: report.FaultUndetermined, Cause: report.Undetermined},
	} {
		e, ok := ParseEvent(v.Inline() + ": it failed.\nFix: f")
		if got := e.Verdict; !ok || got.Fault != v.Fault || got.Cause != v.Cause || got.Confidence != v.Confidence || got.Summary != "it failed" {
			t.Errorf("%s: %v %+v", v.Inline(), ok, got)
		}
	}
}
