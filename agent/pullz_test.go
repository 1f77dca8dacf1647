package agent

import (
	"testing"

	"github.com/pullprobe/pullprobe/report"
)

// TestCanPull checks that a node counts as able to pull only if everything that this needs
// was checked and is well.
func TestCanPull(t *testing.T) {
	well := report.Check{ID: "runtime", Outcome: report.Pass}
	room := report.Check{ID: "disk", Outcome: report.Pass}
	full := report.Check{ID: "disk", Outcome: report.Fail, Summary: "12 KiB free"}
	sweep := func(control report.Outcome, state report.HostState) *report.Sweep {
		return &report.Sweep{
			Control:    report.Check{ID: "control", Outcome: control, Summary: "nothing answers"},
			Registries: []report.Registry{{Host: "registry.example", State: state, Cause: report.CertificateUntrusted, Summary: "unknown CA"}},
		}
	}
	required := []string{"registry.example"}
	for _, tt := range []struct {
		name          string
		runtime, disk report.Check
		sweep         *report.Sweep
		required      []string
		want          string // empty: it can
	}{
		{"all is well", well, room, sweep(report.Pass, report.Reachable), required, ""},
		{"no host is required", well, room, nil, nil, ""},
		{"the disk cannot be read", well, report.Check{ID: "disk", Outcome: report.Skipped}, nil, nil, ""},
		{"nothing is checked yet", report.Check{ID: "runtime", Summary: "not checked yet"}, room, nil, required,
			"runtime: not checked yet\nregistry.example: not checked yet"},
		{"full disk", well, full, sweep(report.Pass, report.Reachable), required, "disk: 12 KiB free"},
		{"isolated", well, room, sweep(report.Fail, report.Reachable), nil, "control: nothing answers"},
		{"untrusted", well, room, sweep(report.Pass, report.Unreachable), required, "registry.example: CertificateUntrusted: unknown CA"},
		{"unreachable, and not required", well, room, sweep(report.Pass, report.Unreachable), nil, ""},
		{"new in the settings", well, room, sweep(report.Pass, report.Reachable), []string{"other.example"}, "other.example: not checked yet"},
		{"not checked", well, room, sweep(report.Pass, report.ReachUnknown), required, "registry.example: could not be checked: unknown CA"},
	} {
		got := ""
		if err := canPull(tt.runtime, tt.disk, tt.sweep, tt.required); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
