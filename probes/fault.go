package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// fault is what a network error comes to: its cause from the catalogue, what
// happened in words that follow "cannot … :", and facts.
type fault struct {
	cause report.Cause
	words string
	facts evidence

	unfinished bool // the step was cut short by the end of the whole call
}

// refusedError is an address or a step that the probes do not take although
// the runtime would: it is never a fault.
type refusedError struct {
	reason string
	cause  report.Cause // what stops the runtime there too; empty if it goes on
}

func (e *refusedError) Error() string { return "refused: " + e.reason }

// lookupError is a name that did not resolve on the way to somewhere else.
type lookupError struct{ check report.Check }

func (e *lookupError) Error() string { return e.check.Summary }

// proxyError is a proxy that could not be reached, or that refused.
type proxyError struct {
	status int    // what it answered to CONNECT; 0 if it did not
	says   string // the reason that it gives with it
	socks  int    // what a SOCKS5 proxy answered; 0 if it did not
	step   string // where it ended if it did not answer; empty is on the way to it
	err    error
}

// proxyUnreachable is the error of a proxy that could not be connected to.
func proxyUnreachable(err error) error { return &proxyError{err: err} }

// reason returns why the proxy refused, as it reports it; empty if it does not.
func (e *proxyError) reason() string { return e.says }

func (e *proxyError) Error() string { return "proxy: " + strconv.Itoa(e.status) }
func (e *proxyError) Unwrap() error { return e.err }

// errnoFaults says what the system errors of connect, read and write mean.
var errnoFaults = map[syscall.Errno]struct {
	cause report.Cause
	words string
}{
	syscall.ECONNREFUSED:  {report.ConnectionRefused, "connection refused"},
	syscall.ETIMEDOUT:     {report.ConnectionTimeout, "connection timed out"},
	syscall.EHOSTUNREACH:  {report.NetworkUnreachable, "no route to host"},
	syscall.ENETUNREACH:   {report.NetworkUnreachable, "network is unreachable"},
	syscall.ENETDOWN:      {report.NetworkUnreachable, "network is down"},
	syscall.EADDRNOTAVAIL: {report.NetworkUnreachable, "no local address to go out from"},
	syscall.EACCES:        {report.NetworkUnreachable, "not permitted by a route or firewall on this node"},
	syscall.EPERM:         {report.NetworkUnreachable, "not permitted by a firewall on this node"},
	syscall.EINVAL:        {report.NetworkUnreachable, "a blackhole route on this node"},
	syscall.ECONNRESET:    {report.ConnectionReset, "connection reset"},
	syscall.ECONNABORTED:  {report.ConnectionReset, "connection aborted"},
	syscall.EPIPE:         {report.ConnectionReset, "connection closed by the other side"},
}

// netFault reads a network error by its type. late is the cause of a deadline
// that passed at this step.
func netFault(err error, took time.Duration, late report.Cause) fault {
	var (
		lookup *lookupError
		proxy  *proxyError
		record tls.RecordHeaderError
		op     *net.OpError
		errno  syscall.Errno
		call   *os.SyscallError
	)
	var cut *unfinishedError
	if errors.As(err, &cut) {
		return fault{words: "not finished after " + report.Duration(took) + ": this diagnosis' own time was over",
			facts: evidence{"deadline": "true", "unfinished": "true", "timeoutMs": millis(took)}, unfinished: true}
	}
	// A URL may hold a signature, and is not told on.
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	switch {
	case errors.As(err, &proxy):
		return proxy.fault(took)
	case errors.As(err, &lookup):
		return fault{cause: lookup.check.Cause, words: lookup.check.Summary, facts: evidence{"step": "dns"}, unfinished: lookup.check.Outcome == report.Unknown}
	}
	if f, ok := certFault(err); ok {
		return f
	}
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return fault{cause: report.PlainHTTPRegistry, words: "it speaks plain HTTP, not HTTPS"}
	case errors.As(err, &record):
		if string(record.RecordHeader[:]) == "HTTP/" {
			return fault{cause: report.PlainHTTPRegistry, words: "it speaks plain HTTP, not HTTPS"}
		}
		return fault{cause: report.TLSHandshakeFailed, words: "it does not speak TLS", facts: evidence{"firstBytes": fmt.Sprintf("%x", record.RecordHeader)}}
	case errors.As(err, &op) && op.Op == "remote error":
		// A TLS alert: its type is not exported, its text is a fixed table.
		return fault{cause: report.TLSHandshakeFailed, words: "the server ended TLS with the alert " + strconv.Quote(alertText(op.Err)), facts: evidence{"alert": alertText(op.Err)}}
	case isTimeout(err):
		return fault{cause: late, words: "no answer within " + report.Duration(took), facts: evidence{"deadline": "true", "timeoutMs": millis(took)}}
	case errors.As(err, &call) && call.Syscall == "socket" && errors.Is(err, fs.ErrPermission):
		// The network was not asked: a seccomp profile or a security module stands before it.
		return fault{cause: report.Undetermined, words: "this process may not open sockets: what confines it forbids that, and the runtime is not confined by it", facts: evidence{"errno": errnoWord(err), "step": "socket"}}
	case errors.As(err, &errno):
		if f, ok := errnoFaults[errno]; ok {
			return fault{cause: f.cause, words: f.words, facts: evidence{"errno": errnoWord(errno)}}
		}
		return fault{cause: report.Undetermined, words: errno.Error(), facts: evidence{"errno": errnoWord(errno)}}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault{cause: report.ConnectionReset, words: "the connection was closed without an answer", facts: evidence{"eof": "true"}}
	}
	// Its text may repeat what the server sent.
	return fault{cause: report.Undetermined, words: "an answer that is not HTTP, or an error of no known kind", facts: evidence{"error": fmt.Sprintf("%T", err)}}
}

func isTimeout(err error) bool {
	var timeout net.Error
	if errors.Is(err, timeUp{}) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var errno syscall.Errno
	return !errors.As(err, &errno) && errors.As(err, &timeout) && timeout.Timeout()
}

func (e *proxyError) fault(took time.Duration) fault {
	if e.socks != 0 {
		return socksFault(e.socks)
	}
	if e.status != 0 {
		f := fault{cause: report.ProxyDenied, words: "the proxy refused the connection with status " + strconv.Itoa(e.status), facts: evidence{
			"status": strconv.Itoa(e.status), "proxyError": e.says, "step": "connect",
		}}
		switch {
		case e.status == http.StatusProxyAuthRequired:
			f.words = "the proxy wants credentials (407)"
		case e.status >= 500:
			// The proxy is there and willing. What lies behind it is at fault,
			// and it does not say how.
			f.cause = report.Undetermined
			f.words = "the proxy could not connect: status " + strconv.Itoa(e.status)
			proxyFault(&f, e.says)
		}
		return f
	}
	inner := netFault(e.err, took, report.ConnectionTimeout)
	f := fault{cause: report.ProxyUnreachable, words: "the proxy cannot be reached: " + inner.words, facts: inner.facts, unfinished: inner.unfinished}
	if f.facts == nil {
		f.facts = evidence{}
	}
	f.facts["innerCause"] = string(inner.cause)
	if e.step != "" {
		f.facts["step"] = e.step
		f.words = "the proxy took the connection, then: " + inner.words
	}
	return f
}

// certFault reads what is wrong with a certificate.
func certFault(err error) (fault, bool) {
	var (
		unknown   x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		name      x509.HostnameError
		wrapped   *tls.CertificateVerificationError
		algorithm x509.InsecureAlgorithmError
		critical  x509.UnhandledCriticalExtension
		violation x509.ConstraintViolationError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if c := invalid.Cert; c != nil && time.Now().Before(c.NotBefore) {
			return fault{cause: report.CertificateNotYetValid, words: "certificate is not valid before " + report.Time(c.NotBefore)}, true
		} else if c != nil {
			return fault{cause: report.CertificateExpired, words: "certificate expired on " + report.Time(c.NotAfter)}, true
		}
		return fault{cause: report.CertificateInvalid, words: "certificate is outside its time of validity"}, true
	case errors.As(err, &name) && name.Certificate != nil && len(name.Certificate.DNSNames)+len(name.Certificate.IPAddresses) == 0:
		// Go looks at no common name.
		return fault{cause: report.CertificateInvalid, words: "certificate has no subject alternative name, only the old common name"}, true
	case errors.As(err, &name):
		return fault{cause: report.CertificateNameMismatch, words: "certificate is for another name"}, true
	case errors.As(err, &unknown):
		return fault{cause: report.CertificateUntrusted, words: "certificate is signed by an authority that this node does not trust"}, true
	case errors.As(err, &invalid), errors.As(err, &wrapped), errors.As(err, &algorithm), errors.As(err, &critical), errors.As(err, &violation):
		return fault{cause: report.CertificateInvalid, words: "certificate is not acceptable", facts: evidence{"detail": err.Error()}}, true
	}
	return fault{}, false
}

func alertText(err error) string {
	if err == nil {
		return "unknown"
	}
	return report.Clean(err.Error(), 60)
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
