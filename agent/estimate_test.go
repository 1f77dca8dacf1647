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
	s := newNodeState(config.NewLive(config.Defaults()), metrics.New(""))
	image := []report.Check{{Kind: report.KindImage, Evidence: map[string]string{report.KeySize: "1288490188"}}}
	pulled := func(bytes, seconds string) report.Check {
		return report.Check{Outcome: report.Pass, Evidence: map[string]string{report.KeyBytes: bytes, report.KeySeconds: seconds}}
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
}
