package connect

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

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
)

// fault is what a network error comes to: its cause from the catalogue, what
// happened in words that follow "cannot … :", and facts.
type Failure struct {
	Cause   report.Cause
	Message string
	Facts   evidence.Facts

	Unfinished bool // the step was cut short by the end of the whole call
}

// refusedError is an address or a step that the probes do not take although
// the runtime would: it is never a fault.
type BlockedError struct {
	Reason string
	Cause  report.Cause // what stops the runtime there too; empty if it goes on
}

func (e *BlockedError) Error() string { return "refused: " + e.Reason }

// lookupError is a name that did not resolve on the way to somewhere else.
type lookupError struct{ check report.Check }

func (e *lookupError) Error() string { return e.check.Summary }

// proxyError is a proxy that could not be reached, or that refused.
type ProxyError struct {
	status int    // what it answered to CONNECT; 0 if it did not
	says   string // the reason that it gives with it
	socks  int    // what a SOCKS5 proxy answered; 0 if it did not
	step   string // where it ended if it did not answer; empty is on the way to it
	err    error
}

// proxyUnreachable is the error of a proxy that could not be connected to.
func ProxyUnreachable(err error) error { return &ProxyError{err: err} }

// reason returns why the proxy refused, as it reports it; empty if it does not.
func (e *ProxyError) Reason() string { return e.says }

func (e *ProxyError) Error() string { return "proxy: " + strconv.Itoa(e.status) }
func (e *ProxyError) Unwrap() error { return e.err }

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
func Classify(err error, took time.Duration, late report.Cause) Failure {
	var (
		lookup *lookupError
		proxy  *ProxyError
		record tls.RecordHeaderError
		op     *net.OpError
		errno  syscall.Errno
		call   *os.SyscallError
	)
	var cut *unfinishedError
	if errors.As(err, &cut) {
		return Failure{Message: "not finished after " + report.Duration(took) + ": this diagnosis' own time was over",
			Facts: evidence.Facts{"deadline": "true", "unfinished": "true", "timeoutMs": millis(took)}, Unfinished: true}
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
		return Failure{Cause: lookup.check.Cause, Message: lookup.check.Summary, Facts: evidence.Facts{"step": "dns"}, Unfinished: lookup.check.Outcome == report.Unknown}
	}
	if f, ok := ClassifyCertificate(err); ok {
		return f
	}
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return Failure{Cause: report.PlainHTTPRegistry, Message: "it speaks plain HTTP, not HTTPS"}
	case errors.As(err, &record):
		if string(record.RecordHeader[:]) == "HTTP/" {
			return Failure{Cause: report.PlainHTTPRegistry, Message: "it speaks plain HTTP, not HTTPS"}
		}
		return Failure{Cause: report.TLSHandshakeFailed, Message: "it does not speak TLS", Facts: evidence.Facts{"firstBytes": fmt.Sprintf("%x", record.RecordHeader)}}
	case errors.As(err, &op) && op.Op == "remote error":
		// A TLS alert: its type is not exported, its text is a fixed table.
		return Failure{Cause: report.TLSHandshakeFailed, Message: "the server ended TLS with the alert " + strconv.Quote(alertText(op.Err)), Facts: evidence.Facts{"alert": alertText(op.Err)}}
	case isTimeout(err):
		return Failure{Cause: late, Message: "no answer within " + report.Duration(took), Facts: evidence.Facts{"deadline": "true", "timeoutMs": millis(took)}}
	case errors.As(err, &call) && call.Syscall == "socket" && errors.Is(err, fs.ErrPermission):
		// The network was not asked: a seccomp profile or a security module stands before it.
		return Failure{Cause: report.Undetermined, Message: "this process may not open sockets: what confines it forbids that, and the runtime is not confined by it", Facts: evidence.Facts{"errno": evidence.Errno(err), "step": "socket"}}
	case errors.As(err, &errno):
		if f, ok := errnoFaults[errno]; ok {
			return Failure{Cause: f.cause, Message: f.words, Facts: evidence.Facts{"errno": evidence.Errno(errno)}}
		}
		return Failure{Cause: report.Undetermined, Message: errno.Error(), Facts: evidence.Facts{"errno": evidence.Errno(errno)}}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Failure{Cause: report.ConnectionReset, Message: "the connection was closed without an answer", Facts: evidence.Facts{"eof": "true"}}
	}
	// Its text may repeat what the server sent.
	return Failure{Cause: report.Undetermined, Message: "an answer that is not HTTP, or an error of no known kind", Facts: evidence.Facts{"error": fmt.Sprintf("%T", err)}}
}

func isTimeout(err error) bool {
	var timeout net.Error
	if errors.Is(err, timeUp{}) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var errno syscall.Errno
	return !errors.As(err, &errno) && errors.As(err, &timeout) && timeout.Timeout()
}

func (e *ProxyError) fault(took time.Duration) Failure {
	if e.socks != 0 {
		return socksFault(e.socks)
	}
	if e.status != 0 {
		f := Failure{Cause: report.ProxyDenied, Message: "the proxy refused the connection with status " + strconv.Itoa(e.status), Facts: evidence.Facts{
			"status": strconv.Itoa(e.status), "proxyError": e.says, "step": "connect",
		}}
		switch {
		case e.status == http.StatusProxyAuthRequired:
			f.Message = "the proxy wants credentials (407)"
		case e.status >= 500:
			// The proxy is there and willing. What lies behind it is at fault,
			// and it does not say how.
			f.Cause = report.Undetermined
			f.Message = "the proxy could not connect: status " + strconv.Itoa(e.status)
			proxyFault(&f, e.says)
		}
		return f
	}
	inner := Classify(e.err, took, report.ConnectionTimeout)
	f := Failure{Cause: report.ProxyUnreachable, Message: "the proxy cannot be reached: " + inner.Message, Facts: inner.Facts, Unfinished: inner.Unfinished}
	if f.Facts == nil {
		f.Facts = evidence.Facts{}
	}
	f.Facts["innerCause"] = string(inner.Cause)
	if e.step != "" {
		f.Facts["step"] = e.step
		f.Message = "the proxy took the connection, then: " + inner.Message
	}
	return f
}

// certFault reads what is wrong with a certificate.
func ClassifyCertificate(err error) (Failure, bool) {
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
			return Failure{Cause: report.CertificateNotYetValid, Message: "certificate is not valid before " + report.Time(c.NotBefore)}, true
		} else if c != nil {
			return Failure{Cause: report.CertificateExpired, Message: "certificate expired on " + report.Time(c.NotAfter)}, true
		}
		return Failure{Cause: report.CertificateInvalid, Message: "certificate is outside its time of validity"}, true
	case errors.As(err, &name) && name.Certificate != nil && len(name.Certificate.DNSNames)+len(name.Certificate.IPAddresses) == 0:
		// Go looks at no common name.
		return Failure{Cause: report.CertificateInvalid, Message: "certificate has no subject alternative name, only the old common name"}, true
	case errors.As(err, &name):
		return Failure{Cause: report.CertificateNameMismatch, Message: "certificate is for another name"}, true
	case errors.As(err, &unknown):
		return Failure{Cause: report.CertificateUntrusted, Message: "certificate is signed by an authority that this node does not trust"}, true
	case errors.As(err, &invalid), errors.As(err, &wrapped), errors.As(err, &algorithm), errors.As(err, &critical), errors.As(err, &violation):
		return Failure{Cause: report.CertificateInvalid, Message: "certificate is not acceptable", Facts: evidence.Facts{"detail": err.Error()}}, true
	}
	return Failure{}, false
}

func alertText(err error) string {
	if err == nil {
		return "unknown"
	}
	return report.Clean(err.Error(), 60)
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
