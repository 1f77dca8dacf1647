package report

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// Reached says of one host what the checks of a sweep come to: whether it can be
// had, who must act if not, and what was measured on the way. Like [Diagnose]
// it is a pure function. Roles, Since, Flapping and NotBefore are the caller's.
func Reached(host string, checks []Check, at time.Time) Registry {
	j := &judge{evidence: newEvidence(checks), rulebook: theRules()}
	r := Registry{Host: host, State: ReachUnknown, Checked: at}
	r.measure(j.evidence)
	goal := j.goalAt(host)
	root := j.root(goal.ID)
	switch {
	case goal.Outcome == Pass:
		r.State = Reachable
		r.Summary = j.remark(host)
	case root.Outcome == Fail && root.Cause == RateLimited:
		r.State = Limited
	case root.Outcome == Fail:
		r.State = Unreachable
	case goal.Outcome == Unknown && r.Status != 0 && !strings.HasPrefix(goal.Evidence["contentType"], "text/html"):
		// It does not like GET /v2/, which the runtime never asks.
		r.State, r.Summary = Reachable, goal.Summary
	default:
		r.Summary, r.Because = cmp.Or(root.Summary, goal.Summary), cmp.Or(root.ID, goal.ID)
	}
	if root.Outcome == Fail {
		f := j.rootCause(finding{check: root, because: []string{root.ID}})
		v := Verdict{Cause: f.name()}
		j.whoActs(&v, f)
		r.Fault, r.Cause, r.Summary, r.Because = v.Fault, v.Cause, root.Summary, f.because[0]
	}
	return r
}

// goalAt is the check that is the end of the way to a host: of a registry what
// it answers to GET /v2/, of a token service what it answers, of a host that is
// only greeted the greeting.
func (d *evidence) goalAt(host string) Check {
	for _, id := range []string{"registry/" + host, "token/" + host} {
		if c := d.get(id); c.ID != "" {
			return c
		}
	}
	if c := d.taken("tls/" + host + "/"); c.ID != "" {
		return c
	}
	return d.taken("dial/" + host + "/")
}

// taken is the check of the address that the runtime's dialer ends up with.
func (d *evidence) taken(prefix string) Check {
	list := d.below(prefix)
	for _, c := range list {
		if c.Evidence["taken"] == "true" || len(list) == 1 {
			return c
		}
	}
	return Check{}
}

// measure notes what was measured on the way to the host.
func (r *Registry) measure(d *evidence) {
	name, dial, greet := d.get("dns/"+r.Host), d.taken("dial/"+r.Host+"/"), d.taken("tls/"+r.Host+"/")
	answer := d.goalAt(r.Host)
	r.Latency = Latency{DNS: name.Duration, Dial: dial.Duration, TLS: greet.Duration}
	if answer.Kind == KindRegistry || answer.Kind == KindToken {
		r.Latency.HTTP = answer.Duration
		r.Status, _ = strconv.Atoi(answer.Evidence["status"])
	}
	if a := name.Evidence["addresses"]; a != "" {
		r.Addresses = strings.Split(a, ", ")
	}
	if until, err := time.Parse(time.RFC3339, greet.Evidence["notAfter"]); err == nil {
		r.Certificate = &Certificate{Issuer: commonName(greet.Evidence["issuer"]), NotAfter: until}
		r.Certificate.DaysLeft, _ = strconv.Atoi(greet.Evidence["daysLeft"])
	}
	if s, err := strconv.ParseInt(d.fact("clock/"+r.Host, "skewSeconds"), 10, 64); err == nil {
		ms := s * 1000
		r.ClockMs = &ms
	}
}

// commonName is the CN of a distinguished name as RFC 2253 writes it, or all of
// the name if it has none.
func commonName(dn string) string {
	for part := range strings.SplitSeq(dn, ",") {
		if cn, ok := strings.CutPrefix(part, "CN="); ok {
			return cn
		}
	}
	return dn
}

// remark is what is worth a line about a host that is reachable: the first
// thing beside the runtime's way that failed, or a certificate that ends soon.
func (d *evidence) remark(host string) string {
	for _, c := range d.checks {
		if c.Outcome == Fail && c.Host == host {
			return c.Summary
		}
	}
	if c := d.taken("tls/" + host + "/"); c.Evidence["expiresSoon"] != "" {
		return c.Summary
	}
	return ""
}

// controlID is the check of [Control].
const controlID = "control"

// cutOff reports whether the control set says that nothing at all can be
// reached from this node.
func (d *evidence) cutOff() bool { return d.failed(controlID) }
