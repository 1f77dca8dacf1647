package agent

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// growth watches how the image file system fills, by what was seen of it from
// minute to minute. The zero value has seen nothing.
type diskTrend struct {
	mu      sync.Mutex
	samples []sample // oldest first
}

type sample struct {
	at   time.Time
	used int64
}

// What a rate goes by: no less than growthLeast apart, or one pull would be a
// trend, and no more than growthMost back.
const (
	minTrendSpan = 4 * time.Minute
	maxTrendSpan = time.Hour
)

// see takes over a disk check and adds to it how fast the disk fills
// (growthPerSecond, in bytes; it may be negative), and when it will be full if
// that goes on (fullInSeconds). Within soon that is worth a remark.
func (g *diskTrend) add(disk report.Check, now time.Time, soon time.Duration) report.Check {
	total, err := strconv.ParseInt(disk.Evidence["total"], 10, 64)
	free, err2 := strconv.ParseInt(disk.Evidence["available"], 10, 64)
	if err != nil || err2 != nil {
		return disk
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	used := total - free
	for len(g.samples) > 0 && now.Sub(g.samples[0].at) > maxTrendSpan {
		g.samples = g.samples[1:]
	}
	if len(g.samples) == 0 || now.Sub(g.samples[len(g.samples)-1].at) >= time.Second {
		g.samples = append(g.samples, sample{now, used})
	}
	first := g.samples[0]
	over := now.Sub(first.at)
	if over < minTrendSpan {
		return disk
	}
	perHour := float64(used-first.used) / over.Hours()
	disk.Evidence["growthPerSecond"] = strconv.FormatInt(int64(perHour/3600), 10)
	if perHour < 1 || free <= 0 {
		return disk
	}
	full := time.Duration(float64(free) / perHour * float64(time.Hour))
	if full <= 0 || full > 30*24*time.Hour {
		return disk
	}
	disk.Evidence["fullInSeconds"] = strconv.FormatInt(int64(full.Seconds()), 10)
	if full <= soon {
		disk.Evidence["fullSoon"] = "true"
		disk.Summary += "; full in about " + roughly(full) + " at the rate of the last " + roughly(over)
	}
	return disk
}

// roughly is a duration for people: "5 h", "40 min".
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	case d >= 90*time.Minute:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f min", max(d.Minutes(), 1))
}
