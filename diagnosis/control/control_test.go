package control_test

import (
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/diagnosis/control"
	. "github.com/pullprobe/pullprobe/report"
)

func TestCheck(t *testing.T) {
	now := time.Now()
	at := func(host string, s HostState, cause Cause, known bool) control.Host {
		return control.Host{Registry: Registry{Host: host, State: s, Cause: cause, Checked: now.Add(-time.Second)}, Known: known}
	}
	silent := func(host string, known bool) control.Host {
		return at(host, Unreachable, ConnectionTimeout, known)
	}
	token := silent("t.example", true)
	token.Roles = []Role{RoleToken}
	one, other := silent("a.example", true), silent("b.test", true)
	unknown := func(host string) control.Host { return silent(host, false) }
	known := func(host string) control.Host { return silent(host, true) }
	noName := func(host string) control.Host { return at(host, Unreachable, HostNotFound, false) }
	for _, tt := range []struct {
		name    string
		hosts   []control.Host
		exclude bool // the target
		outcome Outcome
		cause   Cause
		weak    string
	}{
		{"no hosts", nil, true, Skipped, "", ""},
		{"the only registry", []control.Host{one}, false, Skipped, "", ""},
		{"a known host beside the target", []control.Host{one}, true, Fail, ConnectionTimeout, "true"},
		{"the target's token service", []control.Host{token}, true, Skipped, "", ""},
		{"an unknown host beside the target", []control.Host{unknown("a.example")}, true, Skipped, "", ""},
		{"three unknown hosts", []control.Host{unknown("a"), unknown("b"), unknown("c")}, true, Fail, ConnectionTimeout, "true"},
		{"three names of one address", []control.Host{sameAddress(unknown("a")), sameAddress(unknown("b")), sameAddress(unknown("c"))},
			true, Skipped, "", ""},
		{"two domains", []control.Host{one, other}, false, Fail, ConnectionTimeout, ""},
		{"a host and its subdomain", []control.Host{one, known("x.a.example")}, false, Skipped, "", ""},
		{"two hosts of one domain", []control.Host{known("x.corp.example"), known("y.corp.example")}, false, Skipped, "", ""},
		{"three hosts of one domain", []control.Host{known("x.corp.example"), known("y.corp.example"), known("z.corp.example:5000")},
			false, Fail, ConnectionTimeout, "true"},
		{"different causes", []control.Host{one, at("b.test", Unreachable, ResolverUnreachable, true)}, true, Fail, NetworkUnreachable, ""},
		{"one answers", []control.Host{one, other, at("c", Reachable, "", false)}, true, Pass, "", ""},
		{"one answers wrongly", []control.Host{one, other, at("c", Unreachable, CertificateExpired, false)}, true, Pass, "", ""},
		{"one is rate-limiting", []control.Host{one, at("c", Limited, RateLimited, false)}, true, Pass, "", ""},
		{"names that do not exist", []control.Host{noName("a"), noName("b"), noName("c")}, true, Skipped, "", ""},
		{"a state that is not known", []control.Host{at("c", ReachUnknown, "", true)}, true, Skipped, "", ""},
	} {
		c := control.Check(tt.hosts, tt.exclude, now)
		if c.Outcome != tt.outcome || c.Cause != tt.cause || c.Evidence["weak"] != tt.weak || c.Summary == "" {
			t.Errorf("%s: %s %s %v", tt.name, c.Outcome, c.Cause, c.Evidence)
		}
	}
}

// sameAddress returns the host with an address that is always the same.
func sameAddress(v control.Host) control.Host {
	v.Addresses = []string{"192.0.2.1"}
	return v
}
