package examine

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// maxHosts limits the hosts that are remembered: tenants name them.
const maxHosts = 64

// pullSpeeds is how fast images came from each registry in the test pulls of this
// node. It is kept in memory only. The zero value is ready.
type pullSpeeds struct {
	mu     sync.Mutex
	byHost map[string]hostSpeed
}

// hostSpeed sums the pulls from one host. Each new one halves the weight of those
// before.
type hostSpeed struct{ bytes, seconds float64 }

func (s hostSpeed) perSecond() float64 { return s.bytes / s.seconds }

// record adds what a test pull measured.
func (s *pullSpeeds) record(host string, pull report.Check) {
	bytes, err := strconv.ParseFloat(pull.Evidence[report.KeyBytes], 64)
	seconds, err2 := strconv.ParseFloat(pull.Evidence[report.KeySeconds], 64)
	if pull.Evidence[report.KeyThroughput] == "" || err != nil || err2 != nil || seconds <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.byHost[host]
	if s.byHost == nil {
		s.byHost = map[string]hostSpeed{}
	}
	for other := range s.byHost {
		if known || len(s.byHost) < maxHosts {
			break
		}
		delete(s.byHost, other)
	}
	s.byHost[host] = hostSpeed{old.bytes/2 + bytes, old.seconds/2 + seconds}
}

// addEstimate adds to the check of a pull how long an image of this compressed
// size takes, download and unpacking together. It adds nothing if the size is
// unknown or no pull from the host was measured.
func (s *pullSpeeds) addEstimate(pull report.Check, host string, size int64) report.Check {
	s.mu.Lock()
	speed, known := s.byHost[host]
	s.mu.Unlock()
	if !known || size <= 0 {
		return pull
	}
	if pull.Evidence == nil {
		pull.Evidence = map[string]string{}
	}
	takes := time.Duration(float64(size) / speed.perSecond() * float64(time.Second)).Round(time.Second)
	perSecond := int64(speed.perSecond())
	pull.Evidence[report.KeyThroughput] = strconv.FormatInt(perSecond, 10)
	pull.Evidence[report.KeyEstimateSeconds] = strconv.FormatInt(int64(takes.Seconds()), 10)
	pull.Summary += fmt.Sprintf("; %s take about %s: test pulls from %s ran at %s/s",
		readable.Bytes(size), readable.Roughly(takes), host, readable.Bytes(perSecond))
	return pull
}
