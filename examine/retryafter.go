package examine

import (
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// retryTimes remembers until when registries want no requests. The zero value is ready.
type retryTimes struct {
	mu         sync.Mutex
	byRegistry map[string]time.Time // end of the Retry-After, by the registry's name
}

// note stores until when a registry that answered 429 wants no requests.
func (r *retryTimes) note(domain string, checks []report.Check) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range checks {
		if c.Cause != report.RateLimited && c.Evidence[report.KeyLimited] != "429" {
			continue
		}
		now := time.Now()
		until := now.Add(RetryAfter(c.Evidence[report.KeyRetryAfter], now))
		if r.byRegistry == nil {
			r.byRegistry = map[string]time.Time{}
		}
		// Tenants name the registries, so entries that have passed are removed.
		maps.DeleteFunc(r.byRegistry, func(_ string, at time.Time) bool { return now.After(at) })
		if until.After(r.byRegistry[domain]) {
			r.byRegistry[domain] = until
		}
	}
}

// notBefore returns until when a registry wants no requests; zero: that is not known.
func (r *retryTimes) notBefore(domain string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byRegistry[domain]
}

// RetryAfter returns the time that a Retry-After header asks to wait, in seconds
// or as a date (RFC 9110, 10.2.3): a minute if it is absent or invalid, a day at
// most.
func RetryAfter(header string, now time.Time) time.Duration {
	wait := time.Minute
	if s, err := strconv.Atoi(header); err == nil && s > 0 {
		wait = time.Duration(min(s, 86400)) * time.Second
	} else if at, err := http.ParseTime(header); err == nil && at.After(now) {
		wait = at.Sub(now)
	}
	return min(wait, 24*time.Hour)
}
