package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/classify"
	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// SocketFault is why a unix socket could not be dialled.
type SocketFault string

const (
	SocketUnknown    SocketFault = "unknown"    // no socket was found, see Err
	SocketAbsent     SocketFault = "absent"     // no such file
	SocketPermission SocketFault = "permission" // not permitted
	SocketRefused    SocketFault = "refused"    // no process listens on the file
	SocketTimeout    SocketFault = "timeout"    // a process listens and does not accept
	SocketFailed     SocketFault = "failed"     // any other error, see Err
)

// SocketError is a failure to connect to the runtime's socket.
type SocketError struct {
	Path  string
	Fault SocketFault
	Err   error
}

func (e *SocketError) Error() string {
	switch e.Fault {
	case SocketUnknown:
		return e.Err.Error()
	case SocketAbsent:
		return "no socket at " + e.Path
	case SocketPermission:
		return "no permission to use " + e.Path
	case SocketRefused:
		return "no process listens on " + e.Path
	case SocketTimeout:
		return "connections to " + e.Path + " are not accepted"
	default:
		return fmt.Sprintf("cannot connect to %s: %v", e.Path, e.Err)
	}
}

func (e *SocketError) Unwrap() error { return e.Err }

// dial returns a new connection, and where it leads; every error is a [*SocketError].
func (c *Client) dial(ctx context.Context) (*net.UnixConn, host.RuntimeSocket, error) {
	at, err := c.Socket()
	if err != nil {
		return nil, at, &SocketError{Fault: SocketUnknown, Err: err}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", at.Dial)
	if err != nil {
		return nil, at, &SocketError{Path: at.Path, Fault: socketFault(err), Err: err}
	}
	return conn.(*net.UnixConn), at, nil
}

func socketFault(err error) SocketFault {
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return SocketAbsent
	case errors.Is(err, fs.ErrPermission):
		return SocketPermission
	case errors.Is(err, syscall.ECONNREFUSED):
		return SocketRefused
	case isNet && timeout.Timeout(), errors.Is(err, syscall.EAGAIN):
		return SocketTimeout // EAGAIN: the backlog of a unix socket is full
	default:
		return SocketFailed
	}
}

// Why the runtime is unavailable, beside the values of [SocketFault]: evidence
// "why" of the check "runtime".
const (
	whyNotReady      = "notReady"      // RuntimeReady is false
	whyUnimplemented = "unimplemented" // does not serve CRI v1
	whyHung          = "hung"          // accepts the connection and does not answer
	whyStarting      = "starting"      // responds that it is not up
)

// Status returns the check "runtime": which runtime it is, and whether it is ready.
// A socket that pullprobe itself may not use is an error of the check, not a fault
// of the runtime.
func (c *Client) Status(ctx context.Context) report.Check {
	began := time.Now()
	k := report.Check{
		ID:       report.IDRuntime,
		Kind:     report.KindRuntime,
		Evidence: map[string]string{},
	}
	if at, err := c.Socket(); err == nil {
		k.Target = readable.Clean(at.Path, 120)
		k.Evidence[report.KeySocket], k.Evidence[report.KeyFrom] = k.Target, readable.Clean(at.From, 120)
	}
	c.status(ctx, &k)
	k.Duration = report.Millis(time.Since(began))
	return k
}

// Version returns the runtime's version, such as "v2.4.2"; empty if it is unknown.
func (c *Client) Version(ctx context.Context) string {
	v, err := c.runtime.Version(ctx, &runtimeapi.VersionRequest{})
	switch {
	case err == nil:
		return readable.Clean(v.GetRuntimeVersion(), 64)
	case status.Code(err) == codes.Unimplemented: // its configuration may be why it has no CRI
		return readable.Clean(c.ownVersion(ctx), 64)
	}
	return ""
}

func (c *Client) status(ctx context.Context, k *report.Check) {
	version, err := c.runtime.Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		c.unavailable(ctx, k, err)
		return
	}
	k.Evidence[report.KeyName] = readable.Clean(version.GetRuntimeName(), 64)
	k.Evidence[report.KeyVersion] = readable.Clean(version.GetRuntimeVersion(), 64)
	name := k.Evidence[report.KeyName] + " " + k.Evidence[report.KeyVersion]

	st, err := c.runtime.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		c.unavailable(ctx, k, err)
		return
	}
	for _, cond := range st.GetStatus().GetConditions() {
		switch cond.GetType() {
		case runtimeapi.RuntimeReady:
			k.Evidence[report.KeyReady] = strconv.FormatBool(cond.GetStatus())
			if reason := readable.Clean(cond.GetReason(), 64); reason != "" {
				k.Evidence[report.KeyReason] = reason
			}
			if message := readable.Clean(cond.GetMessage(), 256); message != "" {
				k.Evidence[report.KeyMessage] = message
			}
		case runtimeapi.NetworkReady: // pulls do not need it; a node without it runs host-network pods only
			k.Evidence[report.KeyNetworkReady] = strconv.FormatBool(cond.GetStatus())
		}
	}
	switch k.Evidence[report.KeyReady] {
	case "true":
		k.Outcome, k.Summary = report.Pass, name+" is ready"
	case "false":
		k.Outcome, k.Cause = report.Fail, report.RuntimeUnavailable
		k.Evidence[report.KeyWhy] = whyNotReady
		k.Summary = name + " reports that it is not ready" + because(k.Evidence[report.KeyReason], k.Evidence[report.KeyMessage])
	default:
		k.Outcome, k.Summary = report.Error, name+" does not report whether it is ready"
	}
}

// unavailable adds why a call to the runtime failed. It dials again without gRPC,
// which turns the errno into text.
func (c *Client) unavailable(ctx context.Context, k *report.Check, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		k.Outcome, k.Summary = report.Error, "the call to the runtime was cancelled"
		return
	}
	code := status.Code(err)
	k.Evidence[report.KeyCode] = code.String()
	k.Outcome, k.Cause = report.Fail, report.RuntimeUnavailable

	// The caller's deadline may have passed, so this has its own.
	dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
	defer cancel()
	conn, at, dialErr := c.dial(dctx)
	if sock, ok := errors.AsType[*SocketError](dialErr); ok {
		k.Evidence[report.KeyWhy], k.Summary = string(sock.Fault), sock.Error()
		if sock.Fault == SocketPermission || sock.Fault == SocketUnknown {
			k.Outcome, k.Cause = report.Error, ""
		}
		return
	}
	conn.Close()

	switch code {
	case codes.Unimplemented:
		k.Evidence[report.KeyWhy] = whyUnimplemented
		k.Summary = at.Path + " does not serve CRI v1: the CRI plugin is disabled or failed to load, or the runtime is too old"
	case codes.DeadlineExceeded:
		k.Evidence[report.KeyWhy] = whyHung
		k.Summary = at.Path + " accepts connections but does not answer"
	case codes.Unavailable:
		k.Evidence[report.KeyWhy] = whyStarting
		k.Summary = at.Path + " is starting or stopping: " + readable.Clean(status.Convert(err).Message(), 128)
	default:
		message := status.Convert(err).Message()
		k.Outcome, k.Cause = report.Error, ""
		switch cause := classify.Message(message).Cause; cause {
		case report.DiskIOError, report.DiskReadOnly, report.DiskFull, report.InodesExhausted: // the runtime's own files are on that disk
			k.Outcome, k.Cause = report.Fail, cause
		}
		k.Summary = fmt.Sprintf("%s returned %s: %s", at.Path, code, readable.Clean(message, 128))
	}
}

// because returns reason and message as the end of a sentence.
func because(reason, message string) string {
	switch {
	case reason != "" && message != "":
		return ": " + reason + ": " + message
	case reason+message != "":
		return ": " + reason + message
	default:
		return ""
	}
}

func isNotFound(err error) bool { return status.Code(err) == codes.NotFound }
