package sweep

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/probes/registry"
	"github.com/pullprobe/pullprobe/report"
)

// leadTable remembers where registries have sent the runtime.
type leadTable struct {
	mu     sync.Mutex
	byHost map[string]knownLead
}

// knownLead is a lead and when it was last given.
type knownLead struct {
	examine.Redirect
	at time.Time
}

// Leads come from registries, and so in the end from tenants: their number and age
// are limited.
const (
	maxLeads = 64
	leadTTL  = 24 * time.Hour
)

// add keeps where a registry sends the runtime.
func (t *leadTable) add(l examine.Redirect, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.byHost[l.Host]; !known && len(t.byHost) >= maxLeads {
		return
	}
	t.byHost[l.Host] = knownLead{l, now}
}

// learn takes leads from the checks of an examination: the hosts that serve layers.
func (t *leadTable) learn(checks []report.Check, now time.Time) {
	for _, c := range checks {
		if host := c.Evidence[report.KeyBlobHost]; host != "" && c.Kind == report.KindBlob && host != c.Host {
			t.add(examine.Redirect{Lead: registry.Lead{Host: host}, Via: c.Host, Role: report.RoleBlob}, now)
		}
	}
}

// list returns the leads, in the order of their hosts, and drops old ones.
func (t *leadTable) list(now time.Time) []examine.Redirect {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.byHost, func(_ string, l knownLead) bool { return now.Sub(l.at) > leadTTL })
	var out []examine.Redirect
	for _, host := range slices.Sorted(maps.Keys(t.byHost)) {
		out = append(out, t.byHost[host].Redirect)
	}
	return out
}
