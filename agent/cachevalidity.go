package agent

import (
	"hash/maphash"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/turns"
	"github.com/pullprobe/pullprobe/report"
)

// This file holds how long an examination is valid.

// validSteps is how long an examination is valid whose result was the same n times in a
// row. The kubelet's own back-off ends at five minutes.
var validSteps = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute}

// Limits of repeated test pulls of one image: they take one pullCostFactor-th of the time,
// but there is one every maxPullInterval.
const (
	pullCostFactor   = 20
	contradictedCost = 4 // the same, if the kubelet fails although the test pull did not
	maxPullInterval  = time.Hour
)

// maxMessages is how many messages of one cause count as different.
const maxMessages = 8

// dueFor returns when the latest examination of e is due for a request. It is due early if
// the kubelet has failed since it ended, and its verdict does not explain that: it says
// that nothing is wrong, or was made for another message. c.mu is held.
func (c *examCache) dueFor(e *entry, r examRequest) time.Time {
	x := e.latest
	if !x.Final || e.due.IsZero() || !r.failedAt.After(x.ended) {
		return e.due
	}
	explained := e.messages[c.messagePrint(r)] || len(e.messages) >= maxMessages
	if explained && e.verdict.Fault != report.FaultNone {
		return e.due
	}
	interval := min(c.contradictedInterval<<min(e.repeats, len(validSteps)), validSteps[0])
	if seconds := pullSeconds(report.Find(x.Checks, report.IDPull)); seconds > 0 {
		interval = max(interval, time.Duration(seconds*contradictedCost*float64(time.Second)))
	}
	return turns.Earliest(e.due, x.ended.Add(interval))
}

// failures counts those of one pod.
type failures struct {
	last  time.Time
	count int
}

// noteFailure counts a failure of a pod, once. A pod that gets its image is forgotten.
func (e *entry) noteFailure(pod types.UID, at time.Time) {
	if e.failures == nil {
		e.failures = map[types.UID]failures{}
	}
	if f := e.failures[pod]; !f.last.Equal(at) {
		e.failures[pod] = failures{at, f.count + 1}
	}
}

// noteMessage remembers the message that an examination is made for.
func (e *entry) noteMessage(message uint64) {
	if e.messages == nil {
		e.messages = map[uint64]bool{}
	}
	e.messages[message] = true
}

// messagePrint returns a number that is equal for messages of the kubelet that differ in
// addresses, ports and other numbers only.
func (c *examCache) messagePrint(r examRequest) uint64 {
	message := strings.Map(func(char rune) rune {
		if char >= '0' && char <= '9' {
			return -1
		}
		return char
	}, r.podCheck.Evidence[report.KeyMessage])
	return maphash.String(c.seed, message)
}

// pullSeconds returns how long a test pull took; 0 if there was none.
func pullSeconds(pull report.Check) float64 {
	seconds, err := strconv.ParseFloat(pull.Evidence[report.KeySeconds], 64)
	if err != nil {
		return 0
	}
	return max(seconds, 0)
}

// validFor returns how long the nth identical result in a row stays valid.
func (c *examCache) validFor(v report.Verdict, n int, pull report.Check) time.Duration {
	valid := min(validSteps[min(n, len(validSteps)-1)], c.cfg.MaxAge())
	if v.Cause == report.RuntimeUnavailable {
		return min(10*time.Second, valid) // nothing was pulled, and every pod depends on it
	}
	if seconds := pullSeconds(pull); seconds > 0 {
		valid = max(valid, min(time.Duration(seconds*pullCostFactor*float64(time.Second)), maxPullInterval))
	}
	return valid
}
