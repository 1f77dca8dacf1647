package probes

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
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
func (p *Prober) compareClocks(ctx context.Context, check *report.Check, h host, c *tls.Conn, state tls.ConnectionState) *reading {
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
	if err := verify(state, p.rootsFor(h), name, r.date); errors.As(err, &window) && window.Reason == x509.Expired {
		return &r
	}
	check.Evidence["byNodeClock"] = string(check.Cause)
	check.Cause = report.ClockSkewed
	check.Summary = "this node's clock is " + r.difference() + " the server's; by the server's clock its certificate is valid"
	return &r
}

// difference is the skew for people: "2h0m0s ahead of".
func (r reading) difference() string {
	skew := r.skew()
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
