package examine

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// rates is how fast images came from each registry, as the test pulls of this
// node showed. It is kept in memory only. The zero value knows nothing.
type rates struct {
	mu     sync.Mutex
	byHost map[string]hostRate
}

// hostRate sums up the pulls from one host, older ones counting half as much with
// each new one.
type hostRate struct{ bytes, seconds float64 }

func (r hostRate) perSecond() float64 { return r.bytes / r.seconds }

// maxRates bounds the hosts remembered: tenants name them.
const maxRates = 64

// learn takes over what a test pull measured.
func (r *rates) learn(host string, pull report.Check) {
	bytes, err := strconv.ParseFloat(pull.Evidence["bytes"], 64)
	seconds, err2 := strconv.ParseFloat(pull.Evidence["seconds"], 64)
	if pull.Evidence["throughput"] == "" || err != nil || err2 != nil || seconds <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.byHost[host]
	if r.byHost == nil {
		r.byHost = map[string]hostRate{}
	}
	for other := range r.byHost {
		if known || len(r.byHost) < maxRates {
			break
		}
		delete(r.byHost, other)
	}
	r.byHost[host] = hostRate{old.bytes/2 + bytes, old.seconds/2 + seconds}
}

// estimate says in the check of a pull that has not ended how long an image of
// this compressed size takes, download and unpacking together. It says nothing
// where the size is not known or nothing was measured.
func (r *rates) estimate(pull report.Check, host string, size int64) report.Check {
	r.mu.Lock()
	seen, known := r.byHost[host]
	r.mu.Unlock()
	if !known || size <= 0 {
		return pull
	}
	if pull.Evidence == nil {
		pull.Evidence = map[string]string{}
	}
	takes := time.Duration(float64(size) / seen.perSecond() * float64(time.Second))
	pull.Evidence["throughput"] = strconv.FormatInt(int64(seen.perSecond()), 10)
	pull.Evidence["estimateSeconds"] = strconv.FormatInt(int64(takes.Round(time.Second).Seconds()), 10)
	pull.Summary += fmt.Sprintf("; %.1f MiB take about %v at the %.1f MiB/s that test pulls from %s came with",
		float64(size)/(1<<20), takes.Round(time.Second), seen.perSecond()/(1<<20), host)
	return pull
}
