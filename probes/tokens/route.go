package tokens

import (
	"net/netip"
	"net/url"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Route is the path to a token service, as far as it was checked.
type Route struct {
	Host runtimeconfig.Host
	To   connect.Route
}

// AddrOf returns the address of a token service at target whose checks passed.
func (t *Route) AddrOf(target string) (netip.AddrPort, bool) {
	if t == nil || t.To.BlockedBy != "" || t.Host.Address() != target {
		return netip.AddrPort{}, false
	}
	return t.To.Addr, true
}

func realmAddress(realm *url.URL) string {
	return runtimeconfig.Host{Scheme: realm.Scheme, Host: realm.Host}.Address()
}

// blocked returns the result of a token request that is not sent because the path
// to the service at realm is blocked; false if it is not.
func (t *Route) blocked(realm *url.URL) (Result, bool) {
	if t == nil || t.To.BlockedBy == "" || t.Host.Host != realm.Host {
		return Result{}, false
	}
	by := report.Find(t.To.Checks, t.To.BlockedBy)
	facts := evidence.Facts{report.KeyStep: string(by.Kind)}
	for _, k := range []string{"deadline", "timeoutMs", "errno", "unfinished", "refused", "rcode", "error", "eof", "alert"} {
		facts[k] = by.Evidence[k]
	}
	result := Result{Outcome: by.Outcome, Message: by.Summary, Facts: facts, BlockedBy: by.ID}
	switch by.Outcome {
	case report.Fail:
		result.Cause = report.TokenServiceFailed
		facts[report.KeyInnerCause] = string(by.Cause)
	case report.Skipped:
		facts[report.KeyRuntimeWouldSend] = report.True
	case report.Pass, report.Unknown, report.Error:
	}
	return result, true
}
