package connect

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// ProxyAnswer returns a proxy's refusal, with the reason that it reports.
func ProxyAnswer(status int, h http.Header) *ProxyError {
	return &ProxyError{status: status, reason: cmp.Or(h.Get("X-Squid-Error"), h.Get("Proxy-Status"))}
}

// WithProxyFor adds to the facts of a proxy's own answer which host it was asked for, and
// returns them.
func WithProxyFor(facts evidence.Facts, host string) evidence.Facts {
	if facts[report.KeyProxyStatus] != "" {
		facts[report.KeyProxyFor] = readable.Clean(host, 80)
	}
	return facts
}

// failure returns what the error of a proxy means.
func (e *ProxyError) failure(took time.Duration) Failure {
	if e.socks != 0 {
		return socksFailure(e.socks)
	}
	if e.status != 0 {
		return e.refusal()
	}
	inner := Classify(e.err, took, report.ConnectionTimeout)
	f := Failure{
		Cause:      report.ProxyUnreachable,
		Message:    "the proxy is not reachable: " + inner.Message,
		Facts:      evidence.With(inner.Facts, report.KeyInnerCause, string(inner.Cause)),
		Unfinished: inner.Unfinished,
	}
	if e.step != "" {
		f.Facts[report.KeyStep] = e.step
		f.Message = "the proxy accepted the connection, then: " + inner.Message
	}
	return f
}

// refusal returns what the status of a proxy's answer means.
func (e *ProxyError) refusal() Failure {
	status := strconv.Itoa(e.status)
	f := Failure{
		Cause:   report.ProxyDenied,
		Message: "the proxy refused the connection with status " + status,
		Facts: evidence.Facts{
			report.KeyStatus: status, report.KeyProxyError: e.reason, report.KeyStep: "connect", report.KeyProxyStatus: status,
		},
	}
	switch {
	case e.status == http.StatusProxyAuthRequired:
		f.Message = "the proxy requires credentials (407)"
	case e.status >= 500:
		// The proxy answers. The fault is behind it, or its own; the status does not tell.
		f.Cause = report.RegistryUnavailable
		f.Message = "the proxy could not connect: status " + status
		f.addReason(e.reason)
	}
	return f
}

// addReason reads the reason that a proxy reports: Squid's X-Squid-Error, its page
// and the system's error number, or the error of a Proxy-Status (RFC 9209 section
// 2.3).
func (f *Failure) addReason(reason string) {
	page, number, _ := strings.Cut(reason, " ")
	errno, err := strconv.Atoi(number)
	known, ok := errnoFailures[syscall.Errno(errno)]
	switch {
	case page == "ERR_CONNECT_FAIL" && err == nil && ok:
		f.addInner(known.cause, known.message)
		return
	case page == "ERR_DNS_FAIL":
		f.addInner(report.HostNotFound, "name not resolved")
		return
	}
	for part := range strings.SplitSeq(reason, ";") {
		switch key, value, _ := strings.Cut(strings.TrimSpace(part), "="); {
		case key != "error":
		case value == "dns_error" || value == "dns_timeout":
			f.addInner(report.HostNotFound, "name not resolved")
		case value == "connection_refused":
			f.addInner(report.ConnectionRefused, "connection refused")
		case value == "connection_timeout":
			f.addInner(report.ConnectionTimeout, "connection timed out")
		case value == "destination_ip_unroutable":
			f.addInner(report.NetworkUnreachable, "no route")
		}
	}
}

// addInner adds what went wrong behind a proxy, as the proxy reports it.
func (f *Failure) addInner(cause report.Cause, message string) {
	f.Facts[report.KeyInnerCause] = string(cause)
	f.Message += ", which reports: " + message
}
