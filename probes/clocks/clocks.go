package clocks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
)

// checkClocks adds "clock/<host>" to every session whose host or token service
// sent its time. One server whose clock differs may itself be wrong: where another
// server of this call agrees with the node, the node's clock is right. A TLS check
// that blamed the node's clock is corrected.
func checkClocks(sessions []*session) {
	skews := map[string]time.Duration{} // by server
	agree := ""
	for _, s := range sessions {
		for _, r := range s.clocks {
			skews[r.Server] = r.Skew()
			if !r.Off() && agree == "" {
				agree = r.Server
			}
		}
	}
	for _, s := range sessions {
		if len(s.clocks) == 0 {
			continue
		}
		s.add(clockCheck(s.host.Name(), s.clocks, len(skews), agree))
		s.judgeTokenTimes()
		if agree != "" {
			for i := range s.checks {
				restoreCause(&s.checks[i], agree)
			}
		}
	}
}

// clockCheck is "clock/<host>": the clocks of a host and its token service against
// this node's. servers is the number of servers of the call that sent their time,
// agree one of them that agrees with this node; empty if none does.
func clockCheck(name string, clocks []connect.ClockReading, servers int, agree string) report.Check {
	worst := clocks[0]
	var sources []string
	for _, r := range clocks {
		if r.Skew().Abs() > worst.Skew().Abs() {
			worst = r
		}
		sources = append(sources, fmt.Sprintf("%s %+d s", r.Server, int(r.Skew().Seconds())))
	}
	check := report.Check{ID: report.ClockID(name), Kind: report.KindClock, Target: worst.Server, Evidence: evidence.Facts{
		report.KeySkewSeconds: strconv.Itoa(int(worst.Skew().Seconds())),
		report.KeyServerDate:  worst.Date.UTC().Format(time.RFC3339),
		report.KeySources:     strings.Join(sources, "; "),
		report.KeyServers:     strconv.Itoa(servers),
		report.KeyAgreesWith:  agree,
	}.Checked()}
	switch {
	case !worst.Off():
		check.Outcome = report.Pass
		check.Summary = "this node's clock agrees with " + worst.Server
	case agree != "":
		check.Outcome = report.Pass
		check.Evidence[report.KeyWrongClock] = worst.Server
		check.Summary = fmt.Sprintf("the clock of %s is wrong: this node's is %s it, and agrees with %s", worst.Server, worst.Difference(), agree)
	default:
		check.Outcome, check.Cause = report.Fail, report.ClockSkewed
		check.Summary = fmt.Sprintf("this node's clock is %s that of %s", worst.Difference(), worst.Server)
	}
	return check
}

// tokenLeeway is how far a token's times may be off for a registry (distribution's
// registry/auth/token has it as Leeway).
const tokenLeeway = time.Minute

// judgeTokenTimes notes on "token/<host>" what the token is by the registry's own
// clock, the only one that counts for it: byRegistryClock is "expired", "not yet
// valid", or "valid". That clock was read before the token was made.
func (s *session) judgeTokenTimes() {
	i := slices.IndexFunc(s.clocks, func(r connect.ClockReading) bool { return r.Server == s.host.Host })
	at := slices.IndexFunc(s.checks, func(c report.Check) bool { return c.ID == report.TokenID(s.host.Name()) })
	if i < 0 || at < 0 || s.checks[at].Evidence[report.KeyTokenExpires] == "" {
		return
	}
	e, registry, last := s.checks[at].Evidence, s.clocks[i].Date, s.clocks[i].At
	for _, r := range s.clocks {
		if r.At.After(last) {
			last = r.At
		}
	}
	registry = registry.Add(last.Sub(s.clocks[i].At))
	e[report.KeyByRegistryClock] = "valid"
	if t, err := time.Parse(time.RFC3339, e[report.KeyTokenNotBefore]); err == nil && registry.Before(t.Add(-tokenLeeway)) {
		e[report.KeyByRegistryClock] = "not yet valid"
	}
	if t, err := time.Parse(time.RFC3339, e[report.KeyTokenExpires]); err == nil && registry.After(t.Add(tokenLeeway)) {
		e[report.KeyByRegistryClock] = "expired"
	}
}

// restoreCause gives a TLS check the cause that it has by this node's clock, which
// another server agrees with.
func restoreCause(check *report.Check, agree string) {
	byNode := report.Cause(check.Evidence[report.KeyByNodeClock])
	if check.Cause != report.ClockSkewed || byNode == "" {
		return
	}
	check.Cause = byNode
	check.Evidence[report.KeyAgreesWith] = agree
	window := "expired on " + check.Evidence[report.KeyNotAfter]
	if byNode == report.CertificateNotYetValid {
		window = "is not valid before " + check.Evidence[report.KeyNotBefore]
	}
	check.Summary = fmt.Sprintf("the certificate %s; the server's own clock is wrong, this node's agrees with %s", window, agree)
}
