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
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// skewTolerance is how far two clocks may differ and still agree.
const skewTolerance = 2 * time.Minute

// ClockReading is one server's clock, compared with this node's.
type ClockReading struct {
	Server string    // host and port
	Date   time.Time // by the server
	At     time.Time // by this node's clock
}

// Skew returns how far this node's clock is ahead of the server's; negative:
// behind.
func (r ClockReading) Skew() time.Duration { return r.At.Sub(r.Date).Round(time.Second) }

// Off reports whether the two clocks disagree.
func (r ClockReading) Off() bool { return r.Skew().Abs() > skewTolerance }

// ReadClock reads the Date of the answer to a request. An answer from a cache has
// the Date when it was made, and its Age since then (RFC 9111 section 5.1).
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

// compareClocks requests the server's time, without credentials and over the
// connection whose certificate is outside its validity. A certificate that is valid
// by the server's clock means that the clocks differ. Which of them is wrong is
// decided later, by the clocks of all servers.
func (p *Prober) compareClocks(
	ctx context.Context, check *report.Check, h runtimeconfig.Host, c *tls.Conn, state tls.ConnectionState,
) *ClockReading {
	name, _ := h.Split()
	r, ok := serverDate(ctx, c, h.Host)
	if !ok {
		return nil
	}
	check.Evidence[report.KeyServerDate] = r.Date.UTC().Format(time.RFC3339)
	check.Evidence[report.KeySkewSeconds] = strconv.Itoa(int(r.Skew().Seconds()))
	if !r.Off() {
		return &r
	}
	err := verify(state, p.RootsFor(h), name, r.Date)
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if ok && invalid.Reason == x509.Expired {
		return &r
	}
	check.Evidence[report.KeyByNodeClock] = string(check.Cause)
	check.Cause = report.ClockSkewed
	check.Summary = "this node's clock is " + r.Difference() + " the server's; by the server's clock its certificate is valid"
	return &r
}

// Difference returns the skew for people: "2 h ahead of".
func (r ClockReading) Difference() string {
	skew := r.Skew()
	if skew < 0 {
		return readable.Duration(skew.Abs()) + " behind"
	}
	return readable.Duration(skew) + " ahead of"
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
