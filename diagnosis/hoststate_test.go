package diagnosis_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

// swept is the ladder of a sweep: it ends at the registry.
func swept(fails Kind, cause Cause, edits ...edit) []Check {
	return all(slices.DeleteFunc(ladder(fails, cause, edits...), func(c Check) bool { return c.Kind == KindManifest || c.Kind == KindImage }))
}

func TestReached(t *testing.T) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	local := check("local/"+host, KindImage, Pass, "", ev("count", "3"))
	isolated := check("control", KindControl, Fail, ConnectionTimeout)
	with := func(id string, outcome Outcome, edits ...edit) []Check {
		out := swept("", "")
		for i := range out {
			if out[i].ID == id {
				out[i].Outcome = outcome
				for _, e := range edits {
					e(&out[i])
				}
			}
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		checks []Check
		state  HostState
		fault  Fault
		cause  Cause
	}{
		{"every check passes", swept("", ""), Reachable, "", ""},
		{"an expired certificate", swept(KindTLS, CertificateExpired), Unreachable, FaultRegistry, CertificateExpired},
		{"an untrusted certificate", swept(KindTLS, CertificateUntrusted), Unreachable, FaultNode, CertificateUntrusted},
		{"a resolver that does not answer", swept(KindDNS, ResolverUnreachable), Unreachable, FaultNode, ResolverUnreachable},
		{"refused, seen from one node", swept(KindDial, ConnectionRefused), Unreachable, FaultUndetermined, ConnectionRefused},
		{"refused, images pulled before", append(swept(KindDial, ConnectionRefused), local), Unreachable, FaultNode, ConnectionRefused},
		{"no answer, node isolated", append(swept(KindDial, ConnectionTimeout), isolated), Unreachable, FaultNode, ConnectionTimeout},
		{"a server error", swept(KindRegistry, RegistryUnavailable), Unreachable, FaultRegistry, RegistryUnavailable},
		{"it is rate-limiting", swept(KindRegistry, RateLimited), Limited, FaultRegistry, RateLimited},
		{"it refuses GET /v2/", with("registry/"+host, Unknown, ev("status", "404", "contentType", "application/json")), Reachable, "", ""},
		{"a web page answers", with("registry/"+host, Unknown, ev("status", "200", "contentType", "text/html")), ReachUnknown, "", ""},
		{"the sweep timed out", with("registry/"+host, Unknown, ev("unfinished", "true")), ReachUnknown, "", ""},
		{"no checks", nil, ReachUnknown, "", ""},
		{"a token service that is down", all(
			check("tls/"+host+"/192.0.2.1:443", KindTLS, Pass, ""),
			check("token/"+host, KindToken, Fail, TokenServiceFailed),
		), Unreachable, FaultRegistry, TokenServiceFailed},
		{"a layer host with a handshake", all(
			check("dial/"+host+"/192.0.2.1:443", KindDial, Pass, ""),
			check("tls/"+host+"/192.0.2.1:443", KindTLS, Pass, ""),
		), Reachable, "", ""},
		{"an invalid configuration of the runtime", all(
			check("hosts/"+host, "runtime", Fail, RuntimeConfigInvalid),
			blocked("registry/"+host, KindRegistry, "hosts/"+host),
		), Unreachable, FaultNode, RuntimeConfigInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := StateOf(host, tt.checks, at)
			if r.State != tt.state || r.Fault != tt.fault || r.Cause != tt.cause {
				t.Errorf("%s %s %s, want %s %s %s", r.State, r.Fault, r.Cause, tt.state, tt.fault, tt.cause)
			}
			if !r.Checked.Equal(at) || (r.State.Bad() && (r.Summary == "" || r.Because == "")) {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestReachedMeasures(t *testing.T) {
	checks := all(
		check("dns/"+host, KindDNS, Pass, "", ev("addresses", "192.0.2.1, 2001:db8::1"), took(2)),
		check("dial/"+host+"/192.0.2.1:443", KindDial, Pass, "", took(3), ev("taken", "true")),
		check("dial/"+host+"/[2001:db8::1]:443", KindDial, Fail, ConnectionTimeout, took(2500)),
		check("tls/"+host+"/192.0.2.1:443", KindTLS, Pass, "", took(4), ev("taken", "true", "notAfter", "2026-12-05T00:00:00Z",
			"daysLeft", "6", "issuer", "CN=Example CA,O=Example", "expiresSoon", "true")),
		check("registry/"+host, KindRegistry, Pass, "", took(5), ev("status", "401")),
		check("clock/"+host, KindClock, Pass, "", ev("skewSeconds", "-1")),
	)
	r := StateOf(host, checks, time.Now())
	if r.State != Reachable || r.Status != 401 || r.Latency.String() != "2/3/4/5" {
		t.Errorf("%+v", r)
	}
	if !slices.Equal(r.Addresses, []string{"192.0.2.1", "2001:db8::1"}) {
		t.Errorf("addresses %q", r.Addresses)
	}
	if c := r.Certificate; c == nil || c.Issuer != "Example CA" || c.DaysLeft != 6 || c.NotAfter.Day() != 5 {
		t.Errorf("certificate %+v", c)
	}
	if r.ClockMs == nil || *r.ClockMs != -1000 {
		t.Errorf("clock %v", r.ClockMs)
	}
	if !strings.Contains(r.Summary, "2001:db8::1") {
		t.Errorf("a dead address beside a good one is worth a remark: %q", r.Summary)
	}
}

func took(ms int) edit {
	return func(c *Check) { c.Duration = Millis(time.Duration(ms) * time.Millisecond) }
}

// The control set changes the fault, never the cause.
func TestControlInVerdicts(t *testing.T) {
	silent := ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))
	for _, tt := range []struct {
		name       string
		control    Check
		fault      Fault
		confidence Confidence
	}{
		{"nothing else is reachable", check("control", KindControl, Fail, ConnectionTimeout), FaultNode, Likely},
		{"others are reachable", check("control", KindControl, Pass, ""), FaultUndetermined, Likely},
		{"no hosts to compare with", check("control", KindControl, Skipped, ""), FaultUndetermined, Likely},
	} {
		v := Diagnose(all(reported(ConnectionTimeout), silent, tt.control))
		if v.Fault != tt.fault || v.Cause != ConnectionTimeout || v.Confidence != tt.confidence {
			t.Errorf("%s: %s %s %s", tt.name, v.Fault, v.Cause, v.Confidence)
		}
		if slices.Contains(v.Because, "control") != (tt.fault == FaultNode) {
			t.Errorf("%s: because %v", tt.name, v.Because)
		}
	}
	refused := all(reported(ConnectionRefused), ladder(KindDial, ConnectionRefused))
	v := Diagnose(append(refused, check("control", KindControl, Fail, NetworkUnreachable)))
	if v.Fault != FaultNode || v.Confidence != Confirmed {
		t.Errorf("refused, and nothing else is reachable: %s %s", v.Fault, v.Confidence)
	}
	v = Diagnose(append(refused, check("control", KindControl, Fail, NetworkUnreachable, ev("weak", "true"))))
	if v.Fault != FaultNode || v.Confidence != Likely || len(v.WouldDecide) == 0 {
		t.Errorf("refused, and one other host is unreachable: %s %s", v.Fault, v.Confidence)
	}
}
