package report_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/report"
)

// waiting returns a container of a pod of a Deployment that waits for an image.
func waiting(pod, owner, key string, c Cause, fix string) Waiting {
	at := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	return Waiting{
		Diagnosis: Diagnosis{
			Image: "registry.example/app:1", Pod: "shop/" + pod, UID: "uid-" + pod, Container: "app", Time: at, Announced: at,
			Verdict: Verdict{Fault: c.DefaultFault(), Cause: c, Confidence: Confirmed, Fix: fix},
			Checks:  []Check{{ID: "pod", Kind: KindPod, Target: "shop/" + pod}, {ID: "dns/registry.example", Kind: KindDNS, Outcome: Pass}},
		},
		Owner: owner, Since: at.Add(-time.Hour), Key: key,
	}
}

func TestGroup(t *testing.T) {
	asked := waiting("b", "deployment/web", "k", TagNotFound, "fix web")
	asked.Asked, asked.Since = "now", asked.Since.Add(-time.Hour)
	all := []Waiting{
		waiting("a", "deployment/web", "k", TagNotFound, "fix web"),
		asked,
		waiting("c", "cronjob/nightly", "k", TagNotFound, "fix nightly"),
		waiting("d", "", "k", TagNotFound, "fix d"),
		waiting("e", "deployment/web", "other credentials", TagNotFound, "fix web"),
		waiting("f", "deployment/web", "k", RateLimited, ""),
	}
	got := map[string][]string{}
	for _, d := range Group(all) {
		for _, p := range d.Refs() {
			got[d.Pod] = append(got[d.Pod], p.Pod)
		}
		if d.Pod != "shop/b" {
			continue
		}
		want := &Pods{
			Count: 4, Since: asked.Since,
			Owners: []Owner{
				{Name: "deployment/web", Pods: 2}, {Name: "cronjob/nightly", Pods: 1, Fix: "fix nightly"}, {Name: "pod", Pods: 1, Fix: "fix d"},
			},
			Others: []PodRef{all[0].Ref(), all[2].Ref(), all[3].Ref()},
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
		all = append(all, waiting(fmt.Sprintf("pod-%02d", i), "deployment/web", "k", TagNotFound, "fix"))
	}
	d := Group(all)[0]
	if d.Pods.Count != 40 || len(d.Refs()) != 10 || len(d.Pods.Announced) != 30 || d.Pods.Announced["uid-pod-39"].IsZero() {
		t.Errorf("%d pods, %d named, %d announced", d.Pods.Count, len(d.Refs()), len(d.Pods.Announced))
	}
}

// A check that several diagnoses have is in the report once, and a reader gets it back
// for each of them.
func TestChecksAreShared(t *testing.T) {
	dns := Check{ID: "dns/registry.example", Kind: KindDNS, Outcome: Pass, Summary: "it is 192.0.2.1", Evidence: map[string]string{KeyMs: "1"}}
	slower := dns
	slower.Evidence, slower.Duration = map[string]string{KeyMs: "90"}, Millis(90*time.Millisecond)
	other := dns
	other.Outcome, other.Cause = Fail, HostNotFound
	var n NodeReport
	for i, c := range []Check{dns, slower, other} {
		n.Diagnoses = append(n.Diagnoses, Diagnosis{
			Image:  fmt.Sprint("registry.example/app:", i),
			Checks: []Check{{ID: "manifest/registry.example", Target: fmt.Sprint(i)}, c},
		})
	}
	_, body, err := n.Bounded(MaxReport)
	if err != nil {
		t.Fatal(err)
	}
	var back NodeReport
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Checks) != 1 || back.Checks[0].ID != dns.ID {
		t.Errorf("shared are %+v", back.Checks)
	}
	for i, want := range []Check{dns, dns, other} {
		checks := back.ChecksOf(back.Diagnoses[i])
		if diff := cmp.Diff([]Check{n.Diagnoses[i].Checks[0], want}, checks); diff != "" {
			t.Errorf("diagnosis %d:\n%s", i, diff)
		}
	}
}
