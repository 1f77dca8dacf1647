package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/report"
)

// TestQueueCheck checks which pulls may come first.
func TestQueueCheck(t *testing.T) {
	born := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return born.Add(time.Duration(seconds) * time.Second) }
	hung := []report.Check{{ID: "dial", Evidence: map[string]string{"deadline": "true"}}}
	other := func(pod string, since time.Time, failing bool, checks []report.Check) result {
		return result{Diagnosis: report.Diagnosis{Pod: pod, Checks: checks}, image: "registry.example/" + pod, since: since, failing: failing}
	}
	for _, tt := range []struct {
		name   string
		others []result
		ahead  string
		hangs  bool
	}{
		{"no other pod", nil, "", false},
		{"one that came later", []result{other("later", at(20), false, nil)}, "", false},
		{"one that came in the same second", []result{other("same", at(10), false, nil)}, "", false},
		{"one that hangs and came in the same second", []result{other("same", at(10), false, hung)}, "same", true},
		{"one that hangs and came later", []result{other("later", at(11), false, hung)}, "", false},
		{"one that came earlier", []result{other("earlier", at(5), false, nil)}, "earlier", false},
		{"one that fails fast", []result{other("failing", at(0), true, nil)}, "", false},
		{"one that hangs at every attempt", []result{other("failing", at(0), true, hung), other("earlier", at(5), false, nil)}, "failing", true},
		{"the earliest of two", []result{other("second", at(5), false, nil), other("first", at(2), false, nil)}, "first", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := queueCheck(pods.PendingImage{Image: "registry.example/app:1", Since: at(10)}, tt.others)
			if c.Outcome != report.Pass || c.Evidence["ahead"] != tt.ahead || (c.Evidence["aheadHangs"] == "true") != tt.hangs {
				t.Errorf("%+v", c)
			}
			if tt.ahead != "" && (c.Evidence["aheadImage"] != "registry.example/"+tt.ahead || !strings.Contains(c.Summary, tt.ahead)) {
				t.Errorf("%+v", c)
			}
		})
	}
}
