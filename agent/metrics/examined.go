package metrics

import (
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pullprobe/pullprobe/report"
)

const (
	quotaRemaining   = "pullprobe_registry_quota_remaining"
	quotaLimit       = "pullprobe_registry_quota_limit"
	credentialExpiry = "pullprobe_credential_expiry_timestamp_seconds"
	pullRate         = "pullprobe_test_pull_bytes_per_second"
)

// An examination shows the state of one moment. After examinedTTL it is unknown. Tenants
// choose what is examined, so the number of facts is limited.
const (
	examinedTTL = time.Hour
	maxExamined = 300
)

// examined holds facts about registries that examinations of images showed, for a while.
// There is an examination only for a pod that waits for an image.
type examined struct {
	desc map[string]*prometheus.Desc

	mu    sync.Mutex
	facts map[factKey]fact
}

// factKey names a fact. Several sources of one kind and registry are several credentials.
type factKey struct{ kind, registry, source string }

// fact is what one examination showed.
type fact struct {
	at     time.Time
	rank   float64 // of several sources, the one with the lowest is shown
	gauges map[string]float64
}

func newExamined() *examined {
	x := &examined{desc: map[string]*prometheus.Desc{}, facts: map[factKey]fact{}}
	for name, help := range map[string]string{
		quotaRemaining:   "Requests that the host still allows by its last answer; of several credentials, the one with the least left.",
		quotaLimit:       "Requests that the host allows in its period.",
		credentialExpiry: "When the first of the pull secrets and node credentials that were in use expires.",
		pullRate:         "Rate of the last test pull that was large enough to measure it.",
	} {
		x.desc[name] = prometheus.NewDesc(name, help, []string{"registry"}, nil)
	}
	return x
}

// observe takes the facts from the checks of an examination.
func (x *examined) observe(checks []report.Check, at time.Time) {
	domain := report.Find(checks, report.IDReference).Evidence[report.KeyDomain]
	for _, c := range checks {
		switch {
		case c.Kind == report.KindManifest:
			x.addQuota(c, at)
		case c.Kind == report.KindCredentials && c.Evidence[report.KeyApplies] == report.True:
			x.addExpiry(domain, c, at)
		}
	}
}

// addQuota adds the quota in an answer to a request for a manifest.
func (x *examined) addQuota(c report.Check, at time.Time) {
	left, ok := quota(c.Evidence[report.KeyRemaining])
	if !ok {
		return
	}
	f := fact{at: at, rank: left, gauges: map[string]float64{quotaRemaining: left}}
	if limit, ok := quota(c.Evidence[report.KeyLimit]); ok && limit > 0 {
		f.rank = left / limit
		f.gauges[quotaLimit] = limit
	}
	x.add(factKey{"quota", c.Host, c.Evidence[report.KeyUsedCredential]}, f)
}

// quota returns the number that a quota header begins with: "76;w=21600" at Docker Hub.
func quota(header string) (float64, bool) {
	if i := strings.IndexAny(header, ";,"); i >= 0 {
		header = header[:i]
	}
	n, err := strconv.ParseUint(strings.TrimSpace(header), 10, 32)
	return float64(n), err == nil
}

// addExpiry adds when a credential expires. Those of credential providers are left out:
// the kubelet gets them again by itself.
func (x *examined) addExpiry(registry string, c report.Check, at time.Time) {
	source := c.Evidence[report.KeySource]
	expires, err := time.Parse(time.RFC3339, c.Evidence[report.KeyExpires])
	if err != nil || strings.HasPrefix(source, "provider") {
		return
	}
	when := epoch(expires)
	x.add(factKey{"credential", registry, source}, fact{at: at, rank: when, gauges: map[string]float64{credentialExpiry: when}})
}

// addRate adds the rate of a test pull.
func (x *examined) addRate(registry string, bytesPerSecond float64, at time.Time) {
	x.add(factKey{kind: "rate", registry: registry}, fact{at: at, gauges: map[string]float64{pullRate: bytesPerSecond}})
}

// add adds a fact. If there are too many, the oldest one makes room.
func (x *examined) add(k factKey, f fact) {
	k.registry = label(k.registry)
	if k.registry == "" {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.facts[k]; !known && len(x.facts) >= maxExamined {
		oldest := k
		for other, have := range x.facts {
			if oldest == k || have.at.Before(x.facts[oldest].at) {
				oldest = other
			}
		}
		delete(x.facts, oldest)
	}
	x.facts[k] = f
}

// current returns, by kind and registry, the facts that are not too old.
func (x *examined) current(now time.Time) map[factKey]fact {
	x.mu.Lock()
	defer x.mu.Unlock()
	maps.DeleteFunc(x.facts, func(_ factKey, f fact) bool { return now.Sub(f.at) > examinedTTL })
	shown := map[factKey]fact{}
	for k, f := range x.facts {
		k.source = ""
		if have, twice := shown[k]; !twice || f.rank < have.rank {
			shown[k] = f
		}
	}
	return shown
}

// Describe and Collect implement prometheus.Collector.
func (x *examined) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range x.desc {
		ch <- d
	}
}

func (x *examined) Collect(ch chan<- prometheus.Metric) {
	for k, f := range x.current(time.Now()) {
		for name, value := range f.gauges {
			ch <- prometheus.MustNewConstMetric(x.desc[name], prometheus.GaugeValue, value, k.registry)
		}
	}
}
