package connect

import (
	"testing"
	"time"
)

// One black hole at any step, after a silent first resolver, ends as that step's own
// failure before the whole call times out.
func TestLimitsLeaveRoom(t *testing.T) {
	l := Limits{}.WithDefaults()
	const tokenName = shortGrace // the token service's name is looked up too
	for name, d := range map[string]time.Duration{
		"no resolver answers":     l.DNS,
		"dial":                    resolverGrace + l.Dial,
		"TLS":                     resolverGrace + l.TLS,
		"HTTP":                    resolverGrace + l.HTTP,
		"dial of a token service": resolverGrace + tokenName + l.Dial,
		"a token service":         resolverGrace + tokenName + l.HTTP,
		"proxy, then TLS":         l.Dial + l.TLS - time.Second,
	} {
		if d > l.Overall-100*time.Millisecond {
			t.Errorf("%s: %v of %v", name, d, l.Overall)
		}
	}
}
