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
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Comparison is what the clocks of all servers of a call show together. One server whose
// clock differs may itself be wrong: where another server of the call agrees with the
// node, the node's clock is right.
type Comparison struct {
	servers int
	agree   string // a server that agrees with this node; empty: none does
}

// Compare returns what the readings of all servers show.
func Compare(readings []connect.ClockReading) Comparison {
	var c Comparison
	servers := map[string]bool{}
	for _, r := range readings {
		servers[r.Server] = true
		if !r.Off() && c.agree == "" {
			c.agree = r.Server
		}
	}
	c.servers = len(servers)
	return c
}

// Judge adds "clock/<host>" to the checks of a host, and returns them. readings are those
// of the host and its token service; without one nothing is added. It notes whether the
// token is valid by the registry's clock, and corrects a TLS check that blamed the node's.
func (c Comparison) Judge(host runtimeconfig.Host, readings []connect.ClockReading, checks []report.Check) []report.Check {
	if len(readings) == 0 {
		return checks
	}
	judgeTokenTimes(host, readings, checks)
	if c.agree != "" {
		for i := range checks {
			restoreCause(&checks[i], c.agree)
		}
	}
	return append(checks, c.check(host.Name(), readings))
}

// check is "clock/<host>": the clocks of a host and its token service against this node's.
func (c Comparison) check(name string, readings []connect.ClockReading) report.Check {
	worst := readings[0]
	var sources []string
	for _, r := range readings {
		if r.Skew().Abs() > worst.Skew().Abs() {
			worst = r
		}
		sources = append(sources, fmt.Sprintf("%s %+d s", r.Server, int(r.Skew().Seconds())))
	}
	check := report.Check{ID: report.ClockID(name), Kind: report.KindClock, Host: name, Target: worst.Server, Evidence: evidence.Facts{
		report.KeySkewSeconds: strconv.Itoa(int(worst.Skew().Seconds())),
		report.KeyServerDate:  worst.Date.UTC().Format(time.RFC3339),
		report.KeySources:     strings.Join(sources, "; "),
		report.KeyServers:     strconv.Itoa(c.servers),
		report.KeyAgreesWith:  c.agree,
	}.Checked()}
	switch {
	case !worst.Off():
		check.Outcome = report.Pass
		check.Summary = "this node's clock agrees with " + worst.Server
	case c.agree != "":
		check.Outcome = report.Pass
		check.Evidence[report.KeyWrongClock] = worst.Server
		check.Summary = fmt.Sprintf("the clock of %s is wrong: this node's is %s it, and agrees with %s",
			worst.Server, worst.Difference(), c.agree)
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
func judgeTokenTimes(host runtimeconfig.Host, readings []connect.ClockReading, checks []report.Check) {
	i := slices.IndexFunc(readings, func(r connect.ClockReading) bool { return r.Server == host.Host })
	at := slices.IndexFunc(checks, func(c report.Check) bool { return c.ID == report.TokenID(host.Name()) })
	if i < 0 || at < 0 || checks[at].Evidence[report.KeyTokenExpires] == "" {
		return
	}
	e, registry, last := checks[at].Evidence, readings[i].Date, readings[i].At
	for _, r := range readings {
		if r.At.After(last) {
			last = r.At
		}
	}
	registry = registry.Add(last.Sub(readings[i].At))
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
