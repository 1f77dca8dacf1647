package agent

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

func TestDiskTrend(t *testing.T) {
	now := time.Now()
	disk := func(available int64) report.Check {
		return report.Check{
			Outcome:  report.Pass,
			Summary:  "a disk",
			Evidence: map[string]string{"total": "1000000000", "available": strconv.FormatInt(available, 10)},
		}
	}
	var g diskTrend
	if c := g.add(disk(500e6), now, 24*time.Hour); c.Evidence["growthPerSecond"] != "" {
		t.Errorf("one check is no trend: %v", c.Evidence)
	}
	if c := g.add(disk(400e6), now.Add(time.Minute), 24*time.Hour); c.Evidence["growthPerSecond"] != "" {
		t.Errorf("nor is a minute: %v", c.Evidence)
	}
	c := g.add(disk(400e6), now.Add(30*time.Minute), 24*time.Hour)
	if c.Evidence["growthPerSecond"] != "55555" || c.Evidence["fullInSeconds"] != "7200" || c.Evidence["fullSoon"] != "true" ||
		!strings.Contains(c.Summary, "full in about 2 h") {
		t.Errorf("%v %q", c.Evidence, c.Summary)
	}
	c = g.add(disk(499e6), now.Add(40*time.Minute), time.Hour)
	if c.Evidence["fullSoon"] != "" || strings.Contains(c.Summary, "full in") {
		t.Errorf("slowly: %v %q", c.Evidence, c.Summary)
	}
	c = g.add(disk(600e6), now.Add(45*time.Minute), 24*time.Hour)
	if !strings.HasPrefix(c.Evidence["growthPerSecond"], "-") || c.Evidence["fullInSeconds"] != "" {
		t.Errorf("it shrinks: %v", c.Evidence)
	}
	if c := g.add(report.Check{}, now, 24*time.Hour); c.Evidence != nil {
		t.Errorf("nothing was seen: %v", c.Evidence)
	}
}
