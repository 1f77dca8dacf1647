package examine

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/report"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": time.Minute, "30": 30 * time.Second, "-1": time.Minute, "junk": time.Minute,
		"99999999999": 24 * time.Hour, "Sat, 21 Nov 2026 05:00:00 GMT": time.Hour, "Sat, 21 Nov 2020 05:00:00 GMT": time.Minute,
	} {
		if got := RetryAfter(header, now); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// There is an estimate of a pull only if the speed was measured.
func TestEstimate(t *testing.T) {
	var r pullSpeeds
	pull := func(bytes, seconds, throughput string) report.Check {
		return report.Check{ID: "pull", Evidence: map[string]string{"bytes": bytes, "seconds": seconds, "throughput": throughput}}
	}
	r.record("slow.example", pull("10485760", "10.000", "1048576"))
	r.record("tiny.example", pull("1000", "0.100", ""))
	for _, tt := range []struct {
		host string
		size int64
		want string
	}{
		{"slow.example", 100 << 20, "100"},
		{"slow.example", 0, ""},
		{"tiny.example", 100 << 20, ""},
		{"other.example", 100 << 20, ""},
	} {
		c := r.addEstimate(stillPulling(), tt.host, tt.size)
		if got := c.Evidence["estimateSeconds"]; got != tt.want || strings.Contains(c.Summary, "MiB/s") != (tt.want != "") {
			t.Errorf("%s, %d bytes: %q, want %q: %s", tt.host, tt.size, got, tt.want, c.Summary)
		}
	}
	for i := range 10 * maxHosts {
		r.record(string(rune('a'+i%26))+strings.Repeat("x", i), pull("10485760", "1.000", "10485760"))
	}
	if len(r.byHost) > maxHosts {
		t.Errorf("%d hosts remembered", len(r.byHost))
	}
}

// There is no test pull if the runtime would contact a host that is denied.
func TestNoTestPullOfWhatIsDenied(t *testing.T) {
	deny, err := guard.ParsePattern("r.example")
	if err != nil {
		t.Fatal(err)
	}
	e := &Examiner{
		Puller: &cri.Puller{},
		Node: &NodeReader{
			OwnFiles: true,
			Policy:   func() Policy { return Policy{TestPull: true, Deny: []guard.Pattern{deny}} },
		},
	}
	x := e.Examine(
		t.Context(),
		Subject{Image: "r.example/app:1", Failing: true, Secrets: func(context.Context) []credentials.SecretLookup { return nil }},
		nil,
	)
	if c := report.Find(x.Checks, report.IDPull); c.Outcome != report.Skipped ||
		!strings.Contains(c.Summary, "refused by the setting deny: r.example") {
		t.Errorf("%s %q", c.Outcome, c.Summary)
	}
	if v := diagnosis.Diagnose(x.Checks); v.Confidence == report.Confirmed || v.Fault != report.FaultUndetermined {
		t.Errorf("%s %s (%s)", v.Fault, v.Cause, v.Confidence)
	}
}
