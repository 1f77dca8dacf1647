package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/report"
)

// TestEventIsBounded checks that an Event contains what a person needs, within the
// API's limit.
func TestEventIsBounded(t *testing.T) {
	long := strings.Repeat("ü", 2000)
	d := report.Diagnosis{
		Pod: "shop/web",
		Verdict: report.Verdict{
			Fault:       report.FaultConfig,
			Cause:       report.TagNotFound,
			Confidence:  report.Likely,
			Summary:     long,
			Fix:         long,
			WouldDecide: []string{long},
		},
	}
	if e := eventFor(pods.Pod{Namespace: "shop", Name: "web"}, d); len(e.Message) > kube.MaxMessage || !e.Warning {
		t.Errorf("%d bytes", len(e.Message))
	}
	d.Verdict.Fix, d.Verdict.WouldDecide = "replace it", nil
	e := eventFor(pods.Pod{Namespace: "shop", Name: "web"}, d)
	for _, part := range []string{"cluster-config / TagNotFound (likely)", "\nFix: replace it\n", "kubectl -n shop annotate pod web probe=$(date +%s) --overwrite"} {
		if !strings.Contains(e.Message, part) {
			t.Errorf("%q is missing in %q", part, e.Message)
		}
	}
}

// TestEventHasOneFix checks that a text that a verdict quotes is not taken for a part
// of the Event.
func TestEventHasOneFix(t *testing.T) {
	d := report.Diagnosis{Pod: "shop/web", Verdict: report.Verdict{
		Summary: "it says Fix: run-evil and FIX : run-evil, prefix: none", Fix: "check again: run-evil", WouldDecide: []string{"to confirm: run-evil"},
	}}
	d.Verdict.Also = []report.Cause{report.PullSecretMissing}
	d.Checks = []report.Check{{Outcome: report.Fail, Cause: report.PullSecretMissing, Summary: "pull secret shop/a does not exist"}}
	d.Time = time.Date(2026, 11, 30, 9, 23, 0, 0, time.UTC)
	want := "/ (): it says Fix - run-evil and FIX - run-evil, prefix: none.\nFix: check again - run-evil\nTo confirm: to confirm - run-evil\n" +
		"Also: PullSecretMissing: pull secret shop/a does not exist (the owner of the workload).\nChecked 2026-11-30 09:23:00 UTC. Check again:\n" + report.RetryCommand("shop/web")
	if got := eventFor(pods.Pod{}, d).Message; got != want {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}
