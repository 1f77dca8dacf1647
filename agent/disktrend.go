package agent

import (
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// diskTrend follows how the image file system fills, from one check to the next. The zero
// value has seen nothing.
type diskTrend struct {
	mu      sync.Mutex
	samples []diskSample // oldest first
}

type diskSample struct {
	at   time.Time
	used int64
}

// The time that a trend covers. Over less than minTrendSpan, one pull would be a trend.
const (
	minTrendSpan = 4 * time.Minute
	maxTrendSpan = time.Hour
)

// minWarnSpan is the time over which usage must have grown for a warning: after the start of
// a node, the first images fill the disk fast.
const minWarnSpan = 20 * time.Minute

// maxForecast is how far ahead a trend is trusted.
const maxForecast = 30 * 24 * time.Hour

// add returns a disk check with the growth of the usage (growthPerSecond, in bytes; it may
// be negative), and when the disk will be full at that rate (fullInSeconds). If that is
// within warnWithin, it adds a warning.
func (t *diskTrend) add(disk report.Check, now time.Time, warnWithin time.Duration) report.Check {
	total, err := strconv.ParseInt(disk.Evidence[report.KeyTotal], 10, 64)
	free, err2 := strconv.ParseInt(disk.Evidence[report.KeyAvailable], 10, 64)
	if err != nil || err2 != nil {
		return disk
	}
	grown, span := t.sample(total-free, now)
	if span < minTrendSpan {
		return disk
	}
	disk.Evidence = maps.Clone(disk.Evidence)
	perHour := float64(grown) / span.Hours()
	disk.Evidence[report.KeyGrowthPerSecond] = strconv.FormatInt(int64(perHour/3600), 10)
	if perHour < 1 || free <= 0 {
		return disk
	}
	full := time.Duration(float64(free) / perHour * float64(time.Hour))
	if full <= 0 || full > maxForecast {
		return disk
	}
	disk.Evidence[report.KeyFullInSeconds] = strconv.FormatInt(int64(full.Seconds()), 10)
	if full <= warnWithin && span >= minWarnSpan {
		disk.Evidence[report.KeyFullSoon] = report.True
		disk.Summary += "; full in about " + readable.Roughly(full) + " at the rate of the last " + readable.Roughly(span)
	}
	return disk
}

// sample adds a sample and returns by how many bytes the usage has grown since the oldest
// one, and how long ago that was.
func (t *diskTrend) sample(used int64, now time.Time) (grown int64, span time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.samples) > 0 && now.Sub(t.samples[0].at) > maxTrendSpan {
		t.samples = t.samples[1:]
	}
	if len(t.samples) == 0 || now.Sub(t.samples[len(t.samples)-1].at) >= time.Second {
		t.samples = append(t.samples, diskSample{now, used})
	}
	first := t.samples[0]
	return used - first.used, now.Sub(first.at)
}
