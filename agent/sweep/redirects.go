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

// redirectTable remembers where registries have sent the runtime.
type redirectTable struct {
	mu     sync.Mutex
	byHost map[string]knownRedirect
}

// knownRedirect is a redirect and when it was last given.
type knownRedirect struct {
	examine.Redirect
	at time.Time
}

// Redirects come from registries, and so in the end from tenants: their number and age
// are limited.
const (
	maxRedirects = 64
	redirectTTL  = 24 * time.Hour
)

// add keeps where a registry sends the runtime.
func (t *redirectTable) add(l examine.Redirect, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.byHost[l.Host]; !known && len(t.byHost) >= maxRedirects {
		return
	}
	t.byHost[l.Host] = knownRedirect{l, now}
}

// learn takes redirects from the checks of an examination: the hosts that serve layers.
func (t *redirectTable) learn(checks []report.Check, now time.Time) {
	for _, c := range checks {
		if host := c.Evidence[report.KeyBlobHost]; host != "" && c.Kind == report.KindBlob && host != c.Host {
			t.add(examine.Redirect{Referral: registry.Referral{Host: host}, Via: c.Host, Role: report.RoleBlob}, now)
		}
	}
}

// list returns the redirects, in the order of their hosts, and drops old ones.
func (t *redirectTable) list(now time.Time) []examine.Redirect {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.byHost, func(_ string, l knownRedirect) bool { return now.Sub(l.at) > redirectTTL })
	var out []examine.Redirect
	for _, host := range slices.Sorted(maps.Keys(t.byHost)) {
		out = append(out, t.byHost[host].Redirect)
	}
	return out
}
