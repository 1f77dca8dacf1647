package agent

import (
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/report"
)

// What is said twice is no news, and a pod whose owner names one image after
// the other takes no more memory for it.
func TestSayingIsRemembered(t *testing.T) {
	r := newResults()
	v := report.Verdict{Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: report.Likely, Summary: "long"}
	if !r.say("uid", "web", "app:1", v) || r.say("uid", "web", "app:1", v) {
		t.Error("the first time is news, the second is not")
	}
	v.Confidence = report.Confirmed
	if !r.say("uid", "web", "app:1", v) {
		t.Error("it is surer now, and that is no news")
	}
	for i := range 10 * maxSaid {
		r.say("uid", "web", "app:"+strconv.Itoa(i), v)
	}
	if n := len(r.said["uid"]); n > maxSaid {
		t.Errorf("%d verdicts are remembered", n)
	}
}

// A report that is written before anything was looked at says so in checks that
// scripts can read.
func TestReportOfNothing(t *testing.T) {
	a, err := New(Options{NodeName: "node-a", Kubeconfig: kubeconfig(t, "http://127.0.0.1:1"), RuntimeEndpoint: "unix:///nowhere.sock"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	summary, body, err := a.snapshot().Bounded(report.MaxReport)
	if err != nil || strings.Contains(string(body), "null") || strings.Count(summary, "not checked yet") != 2 {
		t.Errorf("%s\n%s%v", body, summary, err)
	}
	var n report.Node
	if err := json.Unmarshal(body, &n); err != nil {
		t.Fatal(err)
	}
	if n.Runtime.ID != "runtime" || n.Runtime.Kind != report.KindRuntime || n.Disk.ID != "disk" || n.Disk.Kind != report.KindDisk || n.Diagnoses == nil {
		t.Errorf("%s", body)
	}
}
