package connect

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// A firewall that refuses is the node's; a profile that keeps this process from
// opening a socket is its own, and tells nothing about the runtime.
func TestConfinedSocket(t *testing.T) {
	for _, tt := range []struct {
		call  string
		errno syscall.Errno
		want  report.Cause
	}{
		{"connect", syscall.EPERM, report.NetworkUnreachable},
		{"connect", syscall.EACCES, report.NetworkUnreachable},
		{"socket", syscall.EPERM, report.Undetermined},
		{"socket", syscall.EACCES, report.Undetermined},
	} {
		err := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError(tt.call, tt.errno)}
		if f := Classify(err, time.Millisecond, report.ConnectionTimeout); f.Cause != tt.want {
			t.Errorf("%s: %v: %s %q", tt.call, tt.errno, f.Cause, f.Message)
		}
	}
}
