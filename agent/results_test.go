package agent

import (
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/report"
)

// TestEventsAreRemembered checks that a repeated Event is not new, and that a pod whose
// owner names one image after the other takes no more memory.
func TestEventsAreRemembered(t *testing.T) {
	r := newResults()
	v := report.Verdict{Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: report.Likely, Summary: "long"}
	if !r.noteEvent("uid", "web", "app:1", v) || r.noteEvent("uid", "web", "app:1", v) {
		t.Error("the first time is news, the second is not")
	}
	v.Confidence = report.Confirmed
	if !r.noteEvent("uid", "web", "app:1", v) {
		t.Error("it is surer now, and that is no news")
	}
	for i := range 10 * maxEventsKept {
		r.noteEvent("uid", "web", "app:"+strconv.Itoa(i), v)
	}
	if n := len(r.lastEvents["uid"]); n > maxEventsKept {
		t.Errorf("%d verdicts are remembered", n)
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
