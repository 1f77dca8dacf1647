package publish

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/report"
)

// waiting returns a container of a pod of a Deployment that waits for an image.
func waiting(pod, owner, key string, c report.Cause, fix string) Waiting {
	at := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	return Waiting{
		Diagnosis: report.Diagnosis{
			Image: "registry.example/app:1", Pod: "shop/" + pod, UID: "uid-" + pod, Container: "app", Time: at, Announced: at,
			Verdict: report.Verdict{Fault: c.DefaultFault(), Cause: c, Confidence: report.Confirmed, Fix: fix},
			Checks:  []report.Check{{ID: "pod", Kind: report.KindPod, Target: "shop/" + pod}, {ID: "dns/registry.example", Kind: report.KindDNS, Outcome: report.Pass}},
		},
		Owner: owner, Since: at.Add(-time.Hour), Key: key,
	}
}

func TestGroup(t *testing.T) {
	asked := waiting("b", "deployment/web", "k", report.TagNotFound, "fix web")
	asked.Asked, asked.Since = "now", asked.Since.Add(-time.Hour)
	all := []Waiting{
		waiting("a", "deployment/web", "k", report.TagNotFound, "fix web"),
		asked,
		waiting("c", "cronjob/nightly", "k", report.TagNotFound, "fix nightly"),
		waiting("d", "", "k", report.TagNotFound, "fix d"),
		waiting("e", "deployment/web", "other credentials", report.TagNotFound, "fix web"),
		waiting("f", "deployment/web", "k", report.RateLimited, ""),
	}
	got := map[string][]string{}
	for _, d := range Group(all) {
		for _, p := range d.Refs() {
			got[d.Pod] = append(got[d.Pod], p.Pod)
		}
		if d.Pod != "shop/b" {
			continue
		}
		want := &report.Pods{
			Count: 4, Since: asked.Since,
			Owners: []report.Owner{
				{Name: "deployment/web", Pods: 2}, {Name: "cronjob/nightly", Pods: 1, Fix: "fix nightly"}, {Name: "pod", Pods: 1, Fix: "fix d"},
			},
			Others: []report.PodRef{all[0].Ref(), all[2].Ref(), all[3].Ref()},
		}
		if diff := cmp.Diff(want, d.Pods); diff != "" {
			t.Errorf("the group of all with the same reason:\n%s", diff)
		}
	}
	want := map[string][]string{
		"shop/b": {"shop/b", "shop/a", "shop/c", "shop/d"}, // b: a user asked about it
		"shop/e": {"shop/e"},
		"shop/f": {"shop/f"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A report keeps when the Events on all pods of a group began, and names some pods.
func TestGroupOfManyPods(t *testing.T) {
	var all []Waiting
	for i := range 40 {
		all = append(all, waiting(fmt.Sprintf("pod-%02d", i), "deployment/web", "k", report.TagNotFound, "fix"))
	}
	d := Group(all)[0]
	if d.Pods.Count != 40 || len(d.Refs()) != 10 || len(d.Pods.Announced) != 30 || d.Pods.Announced["uid-pod-39"].IsZero() {
		t.Errorf("%d pods, %d named, %d announced", d.Pods.Count, len(d.Refs()), len(d.Pods.Announced))
	}
}
