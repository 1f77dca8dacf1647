package agent

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// The labels count pods, and not the diagnoses that are grouped, nor those that a report has
// no space for. A pod counts once, for its most severe fault, and only while it waits.
func TestLabelsCountPods(t *testing.T) {
	a, err := New(
		config.Options{NodeName: "node-a", Kubeconfig: kubeconfig(t, "http://127.0.0.1:1"), RuntimeEndpoint: "unix:///nowhere.sock"},
		slog.New(slog.DiscardHandler),
	)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	put := func(pod, container, image string, f report.Fault, c report.Cause, stuck bool) {
		a.reporter.results.put(types.UID(pod), result{
			Diagnosis: report.Diagnosis{
				Pod: "shop/" + pod, UID: pod, Container: container, Image: image, Time: at,
				Verdict: report.Verdict{Fault: f, Cause: c, Confidence: report.Confirmed, Summary: strings.Repeat("why ", 50)},
			},
			container: container, image: image, stuck: stuck, since: at.Add(time.Minute), key: image,
		})
	}
	for i := range 40 {
		put(fmt.Sprint("web-", i), "app", "app:v9", report.FaultConfig, report.TagNotFound, true)
		put(fmt.Sprint("web-", i), "proxy", "proxy:1", report.FaultNone, report.Healthy, true)
	}
	for i := range 200 {
		put(fmt.Sprint("job-", i), "app", fmt.Sprint("job:", i), report.FaultConfig, report.TagNotFound, true)
	}
	put("two", "app", "private:1", report.FaultConfig, report.PullSecretMissing, true)
	put("two", "proxy", "down.lab/proxy:1", report.FaultRegistry, report.RegistryUnavailable, true)
	put("cut-off", "app", "far.lab/app:1", report.FaultNode, report.ConnectionTimeout, true)
	put("runs", "app", "app:v8", report.FaultNode, report.DiskFull, false)
	put("open", "app", "odd.lab/app:1", report.FaultUndetermined, report.Undetermined, true)

	n := a.reporter.snapshot()
	cm, err := publish.Render(n, nodefacts.Facts{}, "pullprobe", "", false)
	if err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{
		report.LabelFault:                          "node-infrastructure",
		report.LabelCause:                          "ConnectionTimeout",
		report.LabelStuck:                          "243",
		report.LabelDomain + "cluster-config":      "240",
		report.LabelDomain + "registry":            "1",
		report.LabelDomain + "undetermined":        "1",
		report.LabelDomain + "node-infrastructure": "1",
		report.LabelSince:                          "20261130T030100Z",
	} {
		if cm.Labels[label] != want {
			t.Errorf("%s=%s, want %s", label, cm.Labels[label], want)
		}
	}
	const who = "Who acts: the node team (1 pod), the operator of the registry (1 pod), the owner"
	if summary := cm.Data[report.SummaryKey]; !strings.Contains(summary, who) || !strings.Contains(summary, "243 pods") {
		t.Errorf("%.400s", summary)
	}
	if !strings.Contains(cm.Data[publish.ReportKey], `"omitted":`) {
		t.Error("the report has space for all diagnoses")
	}
}

// TestReportBeforeTheFirstCheck checks that a report from before the first checks has these
// checks as unknown.
func TestReportBeforeTheFirstCheck(t *testing.T) {
	a, err := New(
		config.Options{NodeName: "node-a", Kubeconfig: kubeconfig(t, "http://127.0.0.1:1"), RuntimeEndpoint: "unix:///nowhere.sock"},
		slog.New(slog.DiscardHandler),
	)
	if err != nil {
		t.Fatal(err)
	}
	summary, body, err := a.reporter.snapshot().Bounded(report.MaxReport)
	if err != nil || strings.Contains(string(body), "null") || strings.Count(summary, "not checked yet") != 2 {
		t.Errorf("%s\n%s%v", body, summary, err)
	}
	var n report.NodeReport
	if err := json.Unmarshal(body, &n); err != nil {
		t.Fatal(err)
	}
	if n.Runtime.Outcome != report.Unknown || n.Disk.Outcome != report.Unknown {
		t.Errorf("not checked, and not unknown: %s", body)
	}
	if n.Runtime.ID != "runtime" || n.Runtime.Kind != report.KindRuntime || n.Disk.ID != "disk" || n.Disk.Kind != report.KindDisk ||
		n.Diagnoses == nil {
		t.Errorf("%s", body)
	}
}

// TestOutdated checks that the answer for a pod without a sandbox is dropped when it runs, and
// that the answer for a pod that ran already stays.
func TestOutdated(t *testing.T) {
	answer := func(sandbox string) result {
		pod := report.Check{ID: report.IDPod, Evidence: map[string]string{report.KeySandbox: sandbox}}
		return result{container: "app", Diagnosis: report.Diagnosis{Checks: []report.Check{pod}}}
	}
	for _, tt := range []struct {
		sandbox        string
		runs, outdated bool
	}{{"absent", false, false}, {"absent", true, true}, {"", true, false}, {"ready", true, false}} {
		p := pods.Pod{Containers: []pods.Container{{Name: "app", HasImage: true, Started: tt.runs}}}
		if got := answer(tt.sandbox).outdated(p); got != tt.outdated {
			t.Errorf("sandbox %q, runs %t: outdated %t", tt.sandbox, tt.runs, got)
		}
	}
}
