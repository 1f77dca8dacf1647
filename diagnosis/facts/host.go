package facts

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// GoalAt returns the check at the end of the path to a host: the answer of a
// registry to GET /v2/, the answer of a token service, or, of a host that gets no
// request, the handshake or the connection.
func GoalAt(e *Evidence, host string) report.Check {
	for _, id := range []string{report.RegistryID(host), report.TokenID(host)} {
		if c := e.Get(id); c.ID != "" {
			return c
		}
	}
	if c := usedAddress(e, report.TLSID(host)); c.ID != "" {
		return c
	}
	return usedAddress(e, report.DialID(host))
}

// usedAddress returns, of the checks below id, that of the address which the
// runtime's dialer uses in the end.
func usedAddress(e *Evidence, id string) report.Check {
	list := e.Below(id)
	for _, c := range list {
		if c.Is(report.KeyTaken) || len(list) == 1 {
			return c
		}
	}
	return report.Check{}
}

// Measure sets what was measured on the path to the host.
func Measure(r *report.Registry, e *Evidence) {
	name, dial, handshake := e.Get(report.DNSID(r.Host)), usedAddress(e, report.DialID(r.Host)), usedAddress(e, report.TLSID(r.Host))
	answer, hosts := GoalAt(e, r.Host), e.Get(report.HostsID(e.Fact(report.IDReference, report.KeyDomain)))
	r.Latency = report.Latency{DNS: name.Duration, Dial: dial.Duration, TLS: handshake.Duration}
	if answer.Kind == report.KindRegistry || answer.Kind == report.KindToken {
		r.Latency.HTTP = answer.Duration
		r.Status, _ = strconv.Atoi(answer.Evidence[report.KeyStatus])
	}
	if a := name.Evidence[report.KeyAddresses]; a != "" {
		r.Addresses = strings.Split(a, ", ")
	}
	if used, err := netip.ParseAddrPort(dial.Target); err == nil {
		r.Used = used.Addr().Unmap().String()
	}
	if order := strings.Split(hosts.Evidence[report.KeyOrder], ","); order[len(order)-1] == r.Host {
		r.HostsFile = hosts.Evidence[report.KeyFileDigest]
		if len(order) > 1 {
			r.Mirrors = order
		}
	}
	if until, err := time.Parse(time.RFC3339, handshake.Evidence[report.KeyNotAfter]); err == nil {
		r.Certificate = &report.Certificate{
			Issuer: commonName(handshake.Evidence[report.KeyIssuer]), NotAfter: until, Fingerprint: handshake.Evidence[report.KeyFingerprint],
		}
		r.Certificate.DaysLeft, _ = strconv.Atoi(handshake.Evidence[report.KeyDaysLeft])
	}
	if s, err := strconv.ParseInt(e.Fact(report.ClockID(r.Host), report.KeySkewSeconds), 10, 64); err == nil {
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

// Remark returns a line about a host that is reachable: the first check off the
// runtime's path that failed, or a certificate that expires soon; else nothing.
func Remark(e *Evidence, host string) string {
	for _, c := range e.Checks {
		if c.Outcome == report.Fail && c.Host == host {
			return c.Summary
		}
	}
	if c := usedAddress(e, report.TLSID(host)); c.Evidence[report.KeyExpiresSoon] != "" {
		return c.Summary
	}
	return ""
}
