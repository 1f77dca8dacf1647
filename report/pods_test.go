package report_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/report"
)

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
