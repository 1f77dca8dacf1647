package clocks

import (
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// One server that agrees with the node shows that another one's clock is wrong; without
// it the node's is.
func TestJudge(t *testing.T) {
	now := time.Now()
	reading := func(server string, ahead time.Duration) connect.ClockReading {
		return connect.ClockReading{Server: server, Date: now.Add(ahead), At: now}
	}
	wrong, right := reading("r.lab", 2*time.Hour), reading("other.lab", time.Second)
	host := runtimeconfig.Host{Scheme: "https", Host: "r.lab", Path: "/v2"}
	tls := report.Check{
		ID: "tls/r.lab/192.0.2.7:443", Kind: report.KindTLS, Outcome: report.Fail, Cause: report.ClockSkewed,
		Evidence: map[string]string{report.KeyByNodeClock: string(report.CertificateExpired), report.KeyNotAfter: "2026-01-02"},
	}
	for _, tt := range []struct {
		name        string
		all         []connect.ClockReading
		clock       report.Outcome
		ofTLS       report.Cause
		servers     string
		agreesWith  string
		ofWrongHost string
	}{
		{"alone", []connect.ClockReading{wrong}, report.Fail, report.ClockSkewed, "1", "", ""},
		{"another agrees", []connect.ClockReading{wrong, right, wrong}, report.Pass, report.CertificateExpired, "2", "other.lab", "r.lab"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checks := Compare(tt.all).Judge(host, []connect.ClockReading{wrong}, []report.Check{tls})
			if len(checks) != 2 || checks[1].ID != "clock/r.lab" || checks[1].Host != "r.lab" || checks[1].Outcome != tt.clock {
				t.Fatalf("%+v", checks)
			}
			e := checks[1].Evidence
			if e[report.KeyServers] != tt.servers || e[report.KeyAgreesWith] != tt.agreesWith || e[report.KeyWrongClock] != tt.ofWrongHost {
				t.Errorf("%v", e)
			}
			if checks[0].Cause != tt.ofTLS {
				t.Errorf("the certificate's cause is %q, want %q", checks[0].Cause, tt.ofTLS)
			}
		})
	}
	if checks := Compare(nil).Judge(host, nil, []report.Check{tls}); len(checks) != 1 {
		t.Errorf("without a reading: %+v", checks)
	}
}
