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
	"github.com/pullprobe/pullprobe/report/readable"
)

// Failure is what a network error means.
type Failure struct {
	Cause   report.Cause
	Message string // what happened; it follows "cannot … :"
	Facts   evidence.Facts

	Unfinished bool // the end of the whole call cut the step short
}

// BlockedError is a host or a step that the probes refuse although the runtime
// would not. It is never a fault.
type BlockedError struct {
	Reason string
	Cause  report.Cause // what stops the runtime there too; empty: it continues
}

func (e *BlockedError) Error() string { return "blocked: " + e.Reason }

// lookupError is a name that did not resolve.
type lookupError struct{ check report.Check }

func (e *lookupError) Error() string { return e.check.Summary }

// ProxyError is a proxy that is not reachable or that refused the connection.
type ProxyError struct {
	status int    // of its answer; 0: no answer
	reason string // that it reports with it
	socks  int    // reply of a SOCKS5 proxy; 0: no reply
	step   string // where it ended without an answer; empty: before the proxy
	err    error
}

// ProxyUnreachable returns the error of a proxy that could not be connected to.
func ProxyUnreachable(err error) error { return &ProxyError{err: err} }

// Reason returns the reason that the proxy reports; empty if it reports none.
func (e *ProxyError) Reason() string { return e.reason }

func (e *ProxyError) Error() string { return "proxy: " + strconv.Itoa(e.status) }
func (e *ProxyError) Unwrap() error { return e.err }

// errnoFailures are the meanings of the system errors of connect, read and write.
var errnoFailures = map[syscall.Errno]struct {
	cause   report.Cause
	message string
}{
	syscall.ECONNREFUSED:  {report.ConnectionRefused, "connection refused"},
	syscall.ETIMEDOUT:     {report.ConnectionTimeout, "connection timed out"},
	syscall.EHOSTUNREACH:  {report.NetworkUnreachable, "no route to host"},
	syscall.ENETUNREACH:   {report.NetworkUnreachable, "network is unreachable"},
	syscall.ENETDOWN:      {report.NetworkUnreachable, "network is down"},
	syscall.EADDRNOTAVAIL: {report.NetworkUnreachable, "no local address to send from"},
	syscall.EACCES:        {report.NetworkUnreachable, "not permitted by a route or firewall on this node"},
	syscall.EPERM:         {report.NetworkUnreachable, "not permitted by a firewall on this node"},
	syscall.EINVAL:        {report.NetworkUnreachable, "a blackhole route on this node"},
	syscall.ECONNRESET:    {report.ConnectionReset, "connection reset"},
	syscall.ECONNABORTED:  {report.ConnectionReset, "connection aborted"},
	syscall.EPIPE:         {report.ConnectionReset, "connection closed by the other side"},
}

// Classify returns what a network error means, by its type. late is the cause of a
// deadline that passed at this step.
func Classify(err error, took time.Duration, late report.Cause) Failure {
	if _, ok := errors.AsType[*unfinishedError](err); ok {
		return Failure{
			Message:    "not finished after " + readable.Duration(took) + ": this diagnosis timed out",
			Facts:      evidence.Facts{report.KeyDeadline: report.True, report.KeyUnfinished: report.True, report.KeyTimeoutMs: millis(took)},
			Unfinished: true,
		}
	}
	// A URL may hold a signature, and is not repeated.
	if at, ok := errors.AsType[*url.Error](err); ok {
		err = at.Err
	}
	if proxy, ok := errors.AsType[*ProxyError](err); ok {
		return proxy.failure(took)
	}
	if l, ok := errors.AsType[*lookupError](err); ok {
		return Failure{
			Cause:      l.check.Cause,
			Message:    l.check.Summary,
			Facts:      evidence.Facts{report.KeyStep: "dns"},
			Unfinished: l.check.Outcome == report.Unknown,
		}
	}
	if f, ok := ClassifyCertificate(err); ok {
		return f
	}
	if f, ok := classifyTLS(err); ok {
		return f
	}
	if endedEarly(err) {
		return Failure{
			Cause:   late,
			Message: "no answer within " + readable.Duration(took),
			Facts:   evidence.Facts{report.KeyDeadline: report.True, report.KeyTimeoutMs: millis(took)},
		}
	}
	if f, ok := classifyErrno(err); ok {
		return f
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Failure{
			Cause:   report.ConnectionReset,
			Message: "the connection was closed without an answer",
			Facts:   evidence.Facts{report.KeyEOF: report.True},
		}
	}
	return Failure{
		Cause:   report.Undetermined,
		Message: "an answer that is not HTTP, or an unknown error",
		Facts:   evidence.Facts{report.KeyError: fmt.Sprintf("%T", err)}, // its text may repeat what the server sent
	}
}

// classifyTLS returns what an error of the TLS protocol means.
func classifyTLS(err error) (Failure, bool) {
	record, isRecord := errors.AsType[tls.RecordHeaderError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch), isRecord && string(record.RecordHeader[:]) == "HTTP/":
		return Failure{Cause: report.PlainHTTPRegistry, Message: "it speaks plain HTTP, not HTTPS"}, true
	case isRecord:
		return Failure{
			Cause:   report.TLSHandshakeFailed,
			Message: "it does not speak TLS",
			Facts:   evidence.Facts{report.KeyFirstBytes: fmt.Sprintf("%x", record.RecordHeader)},
		}, true
	case isOp && op.Op == "remote error":
		// A TLS alert: its type is not exported, its text is a fixed table.
		return Failure{
			Cause:   report.TLSHandshakeFailed,
			Message: "the server ended TLS with the alert " + strconv.Quote(alertText(op.Err)),
			Facts:   evidence.Facts{report.KeyAlert: alertText(op.Err)},
		}, true
	}
	return Failure{}, false
}

// classifyErrno returns what a system error means.
func classifyErrno(err error) (Failure, bool) {
	if call, ok := errors.AsType[*os.SyscallError](err); ok && call.Syscall == "socket" && errors.Is(err, fs.ErrPermission) {
		// Nothing was sent: a seccomp profile or a security module forbids the socket.
		return Failure{
			Cause:   report.Undetermined,
			Message: "pullprobe may not open sockets here (seccomp or LSM); the runtime is not affected",
			Facts:   evidence.Facts{report.KeyErrno: evidence.Errno(err), report.KeyStep: "socket"},
		}, true
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return Failure{}, false
	}
	facts := evidence.Facts{report.KeyErrno: evidence.Errno(errno)}
	if f, ok := errnoFailures[errno]; ok {
		return Failure{Cause: f.cause, Message: f.message, Facts: facts}, true
	}
	return Failure{Cause: report.Undetermined, Message: errno.Error(), Facts: facts}, true
}

// endedEarly reports whether a deadline or a cancellation ended the operation.
func endedEarly(err error) bool {
	for _, ended := range []error{timeUp{}, context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded} {
		if errors.Is(err, ended) {
			return true
		}
	}
	if errors.As(err, new(syscall.Errno)) {
		return false
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// ClassifyCertificate returns what is wrong with a certificate; false if err is
// not about one.
func ClassifyCertificate(err error) (Failure, bool) {
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	name, isName := errors.AsType[x509.HostnameError](err)
	now := time.Now()
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		if c := invalid.Cert; c != nil && now.Before(c.NotBefore) {
			return Failure{Cause: report.CertificateNotYetValid, Message: "certificate becomes valid " + readable.When(c.NotBefore, now)}, true
		} else if c != nil {
			return Failure{Cause: report.CertificateExpired, Message: "certificate expired " + readable.When(c.NotAfter, now)}, true
		}
		return Failure{Cause: report.CertificateInvalid, Message: "certificate is outside its period of validity"}, true
	case isName && name.Certificate != nil && len(name.Certificate.DNSNames)+len(name.Certificate.IPAddresses) == 0:
		// Go ignores the common name.
		return Failure{
			Cause:   report.CertificateInvalid,
			Message: "certificate has no subject alternative name, only the old common name",
		}, true
	case isName:
		return Failure{Cause: report.CertificateNameMismatch, Message: "certificate is for another name"}, true
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return Failure{
			Cause:   report.CertificateUntrusted,
			Message: "certificate is signed by an authority that this node does not trust",
		}, true
	case isInvalid,
		errors.As(err, new(*tls.CertificateVerificationError)),
		errors.As(err, new(x509.InsecureAlgorithmError)),
		errors.As(err, new(x509.UnhandledCriticalExtension)),
		errors.As(err, new(x509.ConstraintViolationError)):
		return Failure{
			Cause:   report.CertificateInvalid,
			Message: "certificate is not acceptable",
			Facts:   evidence.Facts{report.KeyDetail: err.Error()},
		}, true
	}
	return Failure{}, false
}

func alertText(err error) string {
	if err == nil {
		return "unknown"
	}
	return readable.Clean(err.Error(), 60)
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
