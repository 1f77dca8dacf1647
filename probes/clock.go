package probes

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// skewTolerance is how far a server's clock may be off before it says anything
// about clocks.
const skewTolerance = 2 * time.Minute

// reading is one server's clock as it was read here.
type reading struct {
	server string    // host and port
	date   time.Time // by the server
	at     time.Time // by this node's clock
}

// skew is how far this node's clock is ahead of the server's; negative is behind.
func (r reading) skew() time.Duration { return r.at.Sub(r.date).Round(time.Second) }

// off says whether the two clocks disagree.
func (r reading) off() bool { return r.skew().Abs() > skewTolerance }

// readClock reads the Date of an answer to a request that went out at sent. An
// answer out of a cache keeps the Date at which it was made, and its Age since
// (RFC 9111 section 5.1).
func readClock(server string, h http.Header, sent, received time.Time) (reading, bool) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return reading{}, false
	}
	if age, err := strconv.ParseUint(strings.TrimSpace(h.Get("Age")), 10, 31); err == nil {
		date = date.Add(time.Duration(age) * time.Second)
	}
	return reading{server: server, date: date, at: sent.Add(received.Sub(sent) / 2)}, true
}

// compareClocks asks the server for its time, without credentials and over the
// connection whose certificate is out of its window. A certificate that is
// good by the server's clock means that the clocks differ; [judgeClocks] says
// which of them is wrong, as far as it can be told.
func (n *Node) compareClocks(ctx context.Context, check *report.Check, h host, c *tls.Conn, state tls.ConnectionState) *reading {
	name, _ := h.split()
	r, ok := serverDate(ctx, c, h.Host)
	if !ok {
		return nil
	}
	check.Evidence["serverDate"] = r.date.UTC().Format(time.RFC3339)
	check.Evidence["skewSeconds"] = strconv.Itoa(int(r.skew().Seconds()))
	if !r.off() {
		return &r
	}
	var window x509.CertificateInvalidError
	if err := verify(state, h.rootsFor(n.Roots), name, r.date); errors.As(err, &window) && window.Reason == x509.Expired {
		return &r
	}
	check.Evidence["byNodeClock"] = string(check.Cause)
	check.Cause = report.ClockSkewed
	check.Summary = "this node's clock is " + apart(r.skew()) + " the server's; by the server's clock its certificate is valid"
	return &r
}

// apart is a skew for people: "2h0m0s ahead of".
func apart(skew time.Duration) string {
	if skew < 0 {
		return skew.Abs().String() + " behind"
	}
	return skew.String() + " ahead of"
}

// serverDate reads the clock of the server at the other end of c.
func serverDate(ctx context.Context, c net.Conn, hostHeader string) (reading, bool) {
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+hostHeader+"/v2/", nil)
	if err != nil {
		return reading{}, false
	}
	req.Header.Set("User-Agent", userAgent)
	req.Close = true
	sent := time.Now()
	if req.Write(c) != nil {
		return reading{}, false
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, maxHeaderBytes)), req)
	if err != nil {
		return reading{}, false
	}
	resp.Body.Close()
	return readClock(hostHeader, resp.Header, sent, time.Now())
}

// judgeClocks adds "clock/<host>" to every visit whose host or token service
// told its time. One server whose clock differs may itself be wrong: where
// another server of this call agrees with the node, the node's clock is right.
// A TLS check that was put down to the node's clock is put right with it.
func judgeClocks(visits []*visit) {
	skews := map[string]time.Duration{} // by server
	agree := ""
	for _, v := range visits {
		for _, r := range v.clocks {
			skews[r.server] = r.skew()
			if !r.off() && agree == "" {
				agree = r.server
			}
		}
	}
	for _, v := range visits {
		if len(v.clocks) == 0 {
			continue
		}
		v.add(v.clockCheck(len(skews), agree))
		v.judgeTokenTimes()
		if agree != "" {
			for i := range v.checks {
				acquitClock(&v.checks[i], agree)
			}
		}
	}
}

// clockCheck is "clock/<host>": the clocks of a host and its token service
// against this node's.
func (v *visit) clockCheck(servers int, agree string) report.Check {
	worst := v.clocks[0]
	var told []string
	for _, r := range v.clocks {
		if r.skew().Abs() > worst.skew().Abs() {
			worst = r
		}
		told = append(told, fmt.Sprintf("%s %+d s", r.server, int(r.skew().Seconds())))
	}
	name := v.host.name()
	check := report.Check{ID: "clock/" + name, Kind: report.KindClock, Target: worst.server, Evidence: evidence{
		"skewSeconds": strconv.Itoa(int(worst.skew().Seconds())), "serverDate": worst.date.UTC().Format(time.RFC3339),
		"sources": strings.Join(told, "; "), "servers": strconv.Itoa(servers), "agreesWith": agree,
	}.checked()}
	switch {
	case !worst.off():
		check.Outcome = report.Pass
		check.Summary = "this node's clock agrees with " + worst.server
	case agree != "":
		check.Outcome = report.Pass
		check.Evidence["wrongClock"] = worst.server
		check.Summary = fmt.Sprintf("the clock of %s is off: this node's is %s it, but agrees with %s", worst.server, apart(worst.skew()), agree)
	default:
		check.Outcome, check.Cause = report.Fail, report.ClockSkewed
		check.Summary = fmt.Sprintf("this node's clock is %s that of %s", apart(worst.skew()), worst.server)
	}
	return check
}

// tokenLeeway is what registries let a token's times be off (distribution's
// registry/auth/token has it as Leeway).
const tokenLeeway = time.Minute

// judgeTokenTimes notes on "token/<host>" what the token is by the registry's
// own clock, the only one that counts for it: byRegistryClock is "expired",
// "not yet valid", or "valid". That clock was read before the token was made.
func (v *visit) judgeTokenTimes() {
	i := slices.IndexFunc(v.clocks, func(r reading) bool { return r.server == v.host.Host })
	at := slices.IndexFunc(v.checks, func(c report.Check) bool { return c.ID == "token/"+v.host.name() })
	if i < 0 || at < 0 || v.checks[at].Evidence["tokenExpires"] == "" {
		return
	}
	e, registry, last := v.checks[at].Evidence, v.clocks[i].date, v.clocks[i].at
	for _, r := range v.clocks {
		if r.at.After(last) {
			last = r.at
		}
	}
	registry = registry.Add(last.Sub(v.clocks[i].at))
	e["byRegistryClock"] = "valid"
	if t, err := time.Parse(time.RFC3339, e["tokenNotBefore"]); err == nil && registry.Before(t.Add(-tokenLeeway)) {
		e["byRegistryClock"] = "not yet valid"
	}
	if t, err := time.Parse(time.RFC3339, e["tokenExpires"]); err == nil && registry.After(t.Add(tokenLeeway)) {
		e["byRegistryClock"] = "expired"
	}
}

// acquitClock gives a TLS check back the cause that it has by this node's
// clock, which another server agrees with.
func acquitClock(check *report.Check, agree string) {
	byNode := report.Cause(check.Evidence["byNodeClock"])
	if check.Cause != report.ClockSkewed || byNode == "" {
		return
	}
	check.Cause = byNode
	check.Evidence["agreesWith"] = agree
	window := "expired on " + check.Evidence["notAfter"]
	if byNode == report.CertificateNotYetValid {
		window = "is not valid before " + check.Evidence["notBefore"]
	}
	check.Summary = fmt.Sprintf("the certificate %s; the server's own clock is wrong, this node's agrees with %s", window, agree)
}
