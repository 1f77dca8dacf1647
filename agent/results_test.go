package agent

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/report"
)

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
