package agent

import (
	"log/slog"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/report"
)

// TestSettingsAreLive checks that the parts of the agent use the current settings.
func TestSettingsAreLive(t *testing.T) {
	s := config.Defaults()
	a, err := New(
		config.Options{
			NodeName:        "n",
			Kubeconfig:      kubeconfig(t, "http://127.0.0.1:1"),
			RuntimeEndpoint: "unix:///does/not/exist",
			Workers:         1,
			Settings:        s,
		},
		slog.New(slog.DiscardHandler),
	)
	if err != nil {
		t.Fatal(err)
	}
	pulls := func() bool { return a.examiner.Node.Policy().TestPull }
	denied := func() int { return len(a.examiner.Node.Policy().Deny) }
	largest := func(p *cri.Puller) int64 { return p.MaxBytes() }
	holds := func() time.Duration {
		return a.cache.validFor(report.Verdict{Cause: report.TagNotFound}, 9, report.Check{})
	}
	if !pulls() || denied() != 0 || largest(a.puller) != cri.DefaultPullMaxBytes || holds() != 15*time.Minute {
		t.Errorf("at the start: %t %d %d %v", pulls(), denied(), largest(a.puller), holds())
	}
	s.TestPull, s.PullMaxBytes, s.CoolDown = false, 7, time.Minute
	s.Deny = []guard.Pattern{{}}
	a.live.Set(s)
	if pulls() || denied() != 1 || largest(a.puller) != 7 || holds() != time.Minute {
		t.Errorf("after a reload: %t %d %d %v", pulls(), denied(), largest(a.puller), holds())
	}
}

// TestReloadExaminesAgain checks that images are examined again under new settings, and
// that a host that is denied by then is not contacted.
func TestReloadExaminesAgain(t *testing.T) {
	w := newWorld(t)
	registry := examinetest.StartImages(t)
	w.pod("stuck", registry.Absent(), backOff)
	var a *Agent
	w.agent(func(started *Agent) { a = started })
	w.diagnosed("stuck", func(d report.Diagnosis) bool {
		_, denied := guard.FirstDenied(d.Checks)
		return !denied
	})
	asked := registry.Asked.Load()
	deny, err := guard.ParsePattern("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	s := a.live.Get()
	s.Deny = []guard.Pattern{deny}
	a.live.Set(s)
	// Without the reload it would be after 10 s: the runtime is unavailable.
	w.until("a diagnosis under the new settings", 5*time.Second, func() bool {
		n, _, _ := w.report()
		_, denied := guard.FirstDenied(n.Diagnoses[0].Checks)
		return denied
	})
	if n := registry.Asked.Load(); asked == 0 || n != asked {
		t.Errorf("asked %d times before and %d times after", asked, n)
	}
}
