package connect

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
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// skewTolerance is how far a server's clock may be off before it says anything
// about clocks.
const skewTolerance = 2 * time.Minute

// reading is one server's clock as it was read here.
type ClockReading struct {
	Server string    // host and port
	Date   time.Time // by the server
	At     time.Time // by this node's clock
}

// skew is how far this node's clock is ahead of the server's; negative is behind.
func (r ClockReading) Skew() time.Duration { return r.At.Sub(r.Date).Round(time.Second) }

// off says whether the two clocks disagree.
func (r ClockReading) Off() bool { return r.Skew().Abs() > skewTolerance }

// readClock reads the Date of an answer to a request that went out at sent. An
// answer out of a cache keeps the Date at which it was made, and its Age since
// (RFC 9111 section 5.1).
func ReadClock(server string, h http.Header, sent, received time.Time) (ClockReading, bool) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return ClockReading{}, false
	}
	if age, err := strconv.ParseUint(strings.TrimSpace(h.Get("Age")), 10, 31); err == nil {
		date = date.Add(time.Duration(age) * time.Second)
	}
	return ClockReading{Server: server, Date: date, At: sent.Add(received.Sub(sent) / 2)}, true
}

// compareClocks asks the server for its time, without credentials and over the
// connection whose certificate is out of its window. A certificate that is
// good by the server's clock means that the clocks differ; [judgeClocks] says
// which of them is wrong, as far as it can be told.
func (p *Prober) compareClocks(ctx context.Context, check *report.Check, h runtimeconfig.Host, c *tls.Conn, state tls.ConnectionState) *ClockReading {
	name, _ := h.Split()
	r, ok := serverDate(ctx, c, h.Host)
	if !ok {
		return nil
	}
	check.Evidence["serverDate"] = r.Date.UTC().Format(time.RFC3339)
	check.Evidence["skewSeconds"] = strconv.Itoa(int(r.Skew().Seconds()))
	if !r.Off() {
		return &r
	}
	var window x509.CertificateInvalidError
	if err := verify(state, p.RootsFor(h), name, r.Date); errors.As(err, &window) && window.Reason == x509.Expired {
		return &r
	}
	check.Evidence["byNodeClock"] = string(check.Cause)
	check.Cause = report.ClockSkewed
	check.Summary = "this node's clock is " + r.Difference() + " the server's; by the server's clock its certificate is valid"
	return &r
}

// difference is the skew for people: "2h0m0s ahead of".
func (r ClockReading) Difference() string {
	skew := r.Skew()
	if skew < 0 {
		return skew.Abs().String() + " behind"
	}
	return skew.String() + " ahead of"
}

// serverDate reads the clock of the server at the other end of c.
func serverDate(ctx context.Context, c net.Conn, hostHeader string) (ClockReading, bool) {
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+hostHeader+"/v2/", nil)
	if err != nil {
		return ClockReading{}, false
	}
	req.Header.Set("User-Agent", UserAgent)
	req.Close = true
	sent := time.Now()
	if req.Write(c) != nil {
		return ClockReading{}, false
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, MaxHeaderBytes)), req)
	if err != nil {
		return ClockReading{}, false
	}
	resp.Body.Close()
	return ReadClock(hostHeader, resp.Header, sent, time.Now())
}
