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
	"github.com/pullprobe/pullprobe/report"
)

// SocketFault says why a unix socket could not be dialled.
type SocketFault string

const (
	SocketAbsent     SocketFault = "absent"     // no such file
	SocketPermission SocketFault = "permission" // not for this user
	SocketRefused    SocketFault = "refused"    // a file, but nobody listens
	SocketTimeout    SocketFault = "timeout"    // somebody listens and does not accept
	SocketFailed     SocketFault = "failed"     // anything else: Err says what
)

// SocketError is a failure to connect to the runtime's socket.
type SocketError struct {
	Path  string
	Fault SocketFault
	Err   error
}

func (e *SocketError) Error() string {
	switch e.Fault {
	case SocketAbsent:
		return "no socket at " + e.Path
	case SocketPermission:
		return "no permission to use " + e.Path
	case SocketRefused:
		return "nobody listens on " + e.Path
	case SocketTimeout:
		return "nobody accepts connections on " + e.Path
	default:
		return fmt.Sprintf("cannot connect to %s: %v", e.Path, e.Err)
	}
}

func (e *SocketError) Unwrap() error { return e.Err }

// dial connects afresh; every error is a [*SocketError].
func (c *Client) dial(ctx context.Context) (*net.UnixConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, &SocketError{Path: c.path, Fault: socketFault(err), Err: err}
	}
	return conn.(*net.UnixConn), nil
}

func socketFault(err error) SocketFault {
	var timeout net.Error
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return SocketAbsent
	case errors.Is(err, fs.ErrPermission):
		return SocketPermission
	case errors.Is(err, syscall.ECONNREFUSED):
		return SocketRefused
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, syscall.EAGAIN):
		return SocketTimeout // EAGAIN: the backlog of a unix socket is full
	default:
		return SocketFailed
	}
}

// Why the runtime counts as unavailable, beside the values of [SocketFault]:
// evidence "why" of the runtime check.
const (
	whyNotReady      = "notReady"      // RuntimeReady is false
	whyUnimplemented = "unimplemented" // answers, but not to CRI v1
	whyHung          = "hung"          // accepts the connection and does not answer
	whyStarting      = "starting"      // answers that it is not up yet
)

// Status asks the runtime who it is and whether it is ready: the check
// "runtime". A socket that pullprobe itself may not use is an error of the
// check, not a fault of the runtime.
func (c *Client) Status(ctx context.Context) report.Check {
	began := time.Now()
	k := report.Check{ID: "runtime", Kind: report.KindRuntime, Target: c.path, Evidence: map[string]string{"socket": c.path}}
	c.status(ctx, &k)
	k.Duration = report.Millis(time.Since(began))
	return k
}

// Version is the runtime's own version, as "v2.4.2"; empty if it does not say.
func (c *Client) Version(ctx context.Context) string {
	v, err := c.runtime.Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		return ""
	}
	return report.Clean(v.GetRuntimeVersion(), 64)
}

func (c *Client) status(ctx context.Context, k *report.Check) {
	version, err := c.runtime.Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		c.unavailable(ctx, k, err)
		return
	}
	name := report.Clean(version.GetRuntimeName(), 64) + " " + report.Clean(version.GetRuntimeVersion(), 64)
	k.Evidence["name"] = report.Clean(version.GetRuntimeName(), 64)
	k.Evidence["version"] = report.Clean(version.GetRuntimeVersion(), 64)

	st, err := c.runtime.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		c.unavailable(ctx, k, err)
		return
	}
	for _, cond := range st.GetStatus().GetConditions() {
		switch cond.GetType() {
		case runtimeapi.RuntimeReady:
			k.Evidence["ready"] = strconv.FormatBool(cond.GetStatus())
			if reason := report.Clean(cond.GetReason(), 64); reason != "" {
				k.Evidence["reason"] = reason
			}
			if message := report.Clean(cond.GetMessage(), 256); message != "" {
				k.Evidence["message"] = message
			}
		case runtimeapi.NetworkReady: // no part of pulling an image; a node without it runs host-network pods only
			k.Evidence["networkReady"] = strconv.FormatBool(cond.GetStatus())
		}
	}
	switch k.Evidence["ready"] {
	case "true":
		k.Outcome, k.Summary = report.Pass, name+" is ready"
	case "false":
		k.Outcome, k.Cause = report.Fail, report.RuntimeUnavailable
		k.Evidence["why"] = whyNotReady
		k.Summary = name + " says it is not ready" + because(k.Evidence["reason"], k.Evidence["message"])
	default:
		k.Outcome, k.Summary = report.Error, name+" does not say whether it is ready"
	}
}

// unavailable turns a failed call into why the runtime does not serve. The
// connection is tried once more by hand: gRPC flattens the errno into text.
func (c *Client) unavailable(ctx context.Context, k *report.Check, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		k.Outcome, k.Summary = report.Error, "gave up asking the runtime: cancelled"
		return
	}
	code := status.Code(err)
	k.Evidence["code"] = code.String()
	k.Outcome, k.Cause = report.Fail, report.RuntimeUnavailable

	// The caller's deadline may be what ran out: the second look has its own.
	dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
	defer cancel()
	conn, dialErr := c.dial(dctx)
	var sock *SocketError
	if errors.As(dialErr, &sock) {
		k.Evidence["why"], k.Summary = string(sock.Fault), sock.Error()
		if sock.Fault == SocketPermission {
			k.Outcome, k.Cause = report.Error, ""
		}
		return
	}
	conn.Close()

	switch code {
	case codes.Unimplemented:
		k.Evidence["why"] = whyUnimplemented
		k.Summary = c.path + " answers, but not to CRI v1: its CRI plugin is off or failed to load, or it is too old"
	case codes.DeadlineExceeded:
		k.Evidence["why"] = whyHung
		k.Summary = c.path + " accepts connections but does not answer"
	case codes.Unavailable:
		k.Evidence["why"] = whyStarting
		k.Summary = c.path + " is only just coming up or going down: " + report.Clean(status.Convert(err).Message(), 128)
	default:
		said := status.Convert(err).Message()
		k.Outcome, k.Cause = report.Error, ""
		switch cause := classify.Message(said).Cause; cause {
		case report.DiskIOError, report.DiskReadOnly, report.DiskFull, report.InodesExhausted: // its own files are on that disk
			k.Outcome, k.Cause = report.Fail, cause
		}
		k.Summary = fmt.Sprintf("%s answered %s: %s", c.path, code, report.Clean(said, 128))
	}
}

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
