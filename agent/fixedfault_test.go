package agent

import (
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// TestFixedFault checks when the kubelet's last failure is known to be out of date: the
// checks found its cause, they do not find it any more, and the kubelet has not failed since.
func TestFixedFault(t *testing.T) {
	const manifest = "manifest/r.example"
	start := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	examined := func(seconds int, o report.Outcome) examination {
		checks := []report.Check{{ID: manifest, Kind: report.KindManifest, Outcome: o}}
		return examination{Result: examine.Result{Checks: checks}, began: at(seconds)}
	}
	// Of an examination after 10 s; the kubelet had failed after 5.
	old := result{Diagnosis: report.Diagnosis{
		Verdict: report.Verdict{
			Fault: report.FaultConfig, Cause: report.CredentialsRejected, Because: []string{manifest, report.IDPod},
		},
		Checks: examined(10, report.Fail).Checks,
	}, began: at(10)}
	fixed := fixedFault{cause: report.CredentialsRejected, check: manifest, since: at(60)}
	later := result{Diagnosis: report.Diagnosis{Verdict: report.Verdict{Fault: report.FaultNone, Cause: report.Recovered}}, fixed: fixed}
	onlyMessage := old
	onlyMessage.Verdict.Because = []string{report.IDPod}
	onlyCheck := old
	onlyCheck.Verdict.Because = []string{manifest}
	for _, tt := range []struct {
		name   string
		old    result
		x      examination
		failed int
		want   fixedFault
	}{
		{"passes now", old, examined(60, report.Pass), 5, fixed},
		{"fails still", old, examined(60, report.Fail), 5, fixedFault{}},
		{"the kubelet failed since", old, examined(60, report.Pass), 61, fixedFault{}},
		{"passes again", later, examined(90, report.Pass), 5, fixed},
		{"the kubelet failed between two that pass", later, examined(90, report.Pass), 70, fixedFault{}},
		{"fails again", later, examined(90, report.Fail), 5, fixedFault{}},
		{"the checks never found it", onlyMessage, examined(60, report.Pass), 5, fixedFault{}},
		{"the message was about something else", onlyCheck, examined(60, report.Pass), 5, fixedFault{}},
		{"there was no diagnosis", result{}, examined(60, report.Pass), 5, fixedFault{}},
	} {
		i := podImage{image: pods.PendingImage{Failing: true, FailedAt: at(tt.failed)}, old: tt.old, exists: true}
		if got := i.fixedFault(tt.x); got != tt.want {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
