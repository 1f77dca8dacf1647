package report

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// StateOf returns the state of one host from the checks of a sweep: whether it is
// reachable, who must act if not, and what was measured. Like [Diagnose] it is a
// pure function. The caller sets Roles, Since, Flapping and NotBefore.
func StateOf(host string, checks []Check, at time.Time) Registry {
	e := &evaluation{evidence: EvidenceOf(checks), ruleSet: allRules()}
	r := Registry{Host: host, State: ReachUnknown, Checked: at}
	measure(&r, e.evidence)
	goal := goalAt(e.evidence, host)
	origin := e.origin(goal.ID)
	switch {
	case goal.Outcome == Pass:
		r.State = Reachable
		r.Summary = remark(e.evidence, host)
	case origin.Outcome == Fail && origin.Cause == RateLimited:
		r.State = Limited
	case origin.Outcome == Fail:
		r.State = Unreachable
	case goal.Outcome == Unknown && r.Status != 0 && !strings.HasPrefix(goal.Evidence[KeyContentType], "text/html"):
		// It refuses GET /v2/, which the runtime never sends.
		r.State, r.Summary = Reachable, goal.Summary
	default:
		r.Summary, r.Because = cmp.Or(origin.Summary, goal.Summary), cmp.Or(origin.ID, goal.ID)
	}
	if origin.Outcome == Fail {
		o := e.traced(obstacle{check: origin, because: []string{origin.ID}})
		v := Verdict{Cause: o.rootCause()}
		e.assignFault(&v, o)
		r.Fault, r.Cause, r.Summary, r.Because = v.Fault, v.Cause, origin.Summary, o.because[0]
	}
	return r
}

// goalAt returns the check at the end of the path to a host: the answer of a
// registry to GET /v2/, the answer of a token service, or, of a host that gets no
// request, the handshake or the connection.
func goalAt(e *evidence, host string) Check {
	for _, id := range []string{RegistryID(host), TokenID(host)} {
		if c := e.get(id); c.ID != "" {
			return c
		}
	}
	if c := usedAddress(e, TLSID(host)); c.ID != "" {
		return c
	}
	return usedAddress(e, DialID(host))
}

// usedAddress returns, of the checks below id, that of the address which the
// runtime's dialer uses in the end.
func usedAddress(e *evidence, id string) Check {
	list := e.below(id)
	for _, c := range list {
		if c.Is(KeyTaken) || len(list) == 1 {
			return c
		}
	}
	return Check{}
}

// measure sets what was measured on the path to the host.
func measure(r *Registry, e *evidence) {
	name, dial, handshake := e.get(DNSID(r.Host)), usedAddress(e, DialID(r.Host)), usedAddress(e, TLSID(r.Host))
	answer := goalAt(e, r.Host)
	r.Latency = Latency{DNS: name.Duration, Dial: dial.Duration, TLS: handshake.Duration}
	if answer.Kind == KindRegistry || answer.Kind == KindToken {
		r.Latency.HTTP = answer.Duration
		r.Status, _ = strconv.Atoi(answer.Evidence[KeyStatus])
	}
	if a := name.Evidence[KeyAddresses]; a != "" {
		r.Addresses = strings.Split(a, ", ")
	}
	if until, err := time.Parse(time.RFC3339, handshake.Evidence[KeyNotAfter]); err == nil {
		r.Certificate = &Certificate{Issuer: commonName(handshake.Evidence[KeyIssuer]), NotAfter: until}
		r.Certificate.DaysLeft, _ = strconv.Atoi(handshake.Evidence[KeyDaysLeft])
	}
	if s, err := strconv.ParseInt(e.fact(ClockID(r.Host), KeySkewSeconds), 10, 64); err == nil {
		ms := s * 1000
		r.ClockMs = &ms
	}
}

// commonName returns the CN of a distinguished name in the form of RFC 2253, or
// the whole name if it has none.
func commonName(dn string) string {
	for part := range strings.SplitSeq(dn, ",") {
		if cn, ok := strings.CutPrefix(part, "CN="); ok {
			return cn
		}
	}
	return dn
}

// remark returns a line about a host that is reachable: the first check off the
// runtime's path that failed, or a certificate that expires soon; else nothing.
func remark(e *evidence, host string) string {
	for _, c := range e.checks {
		if c.Outcome == Fail && c.Host == host {
			return c.Summary
		}
	}
	if c := usedAddress(e, TLSID(host)); c.Evidence[KeyExpiresSoon] != "" {
		return c.Summary
	}
	return ""
}
