package agent

import (
	"testing"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/metrics"
	"github.com/pullprobe/pullprobe/report"
)

// TestPullEstimate checks that the time of a pull follows from a test pull that was large
// enough, and that there is none without size or rate.
func TestPullEstimate(t *testing.T) {
	m := metrics.New("")
	s := newNodeState(config.NewLive(config.Defaults()), m)
	image := []report.Check{{Kind: report.KindImage, Evidence: map[string]string{report.KeySize: "1288490188"}}}
	pulled := func(bytes, seconds string) []report.Check {
		return []report.Check{{
			ID: report.IDReference, Evidence: map[string]string{report.KeyDomain: "registry.example"},
		}, {
			ID: report.IDPull, Outcome: report.Pass, Evidence: map[string]string{report.KeyBytes: bytes, report.KeySeconds: seconds},
		}}
	}
	s.measure(pulled("1000", "0.001")) // too small
	if e := s.estimate(image); e != nil {
		t.Errorf("%v of a rate that is not known", e)
	}
	s.measure(pulled("14680064", "2"))
	if e := s.estimate(nil); e != nil {
		t.Errorf("%v of a size that is not known", e)
	}
	const want = "about 3 min: 1.2 GiB at 7.0 MiB/s, the rate of this node's last test pull"
	if e := s.estimate(image); e == nil || e.String() != want {
		t.Errorf("got %v, want %s", e, want)
	}
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "pullprobe_test_pull_bytes_per_second" {
			continue
		}
		if g := f.GetMetric()[0]; g.GetGauge().GetValue() != 7<<20 || g.GetLabel()[0].GetValue() != "registry.example" {
			t.Errorf("the metric is %v", g)
		}
		return
	}
	t.Error("there is no metric")
}
