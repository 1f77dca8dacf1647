package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pullprobe/pullprobe/report/readable"
)

var (
	// ErrNoHostPID: the process behind the socket is not visible: this process does
	// not share the host's process namespace (hostPID).
	ErrNoHostPID = errors.New("the runtime's process is not visible: not in the host's process namespace (hostPID)")

	// ErrSocketActivated: the service manager opened the socket, so its owner is not
	// the runtime.
	ErrSocketActivated = errors.New("the socket belongs to the service manager (socket activation), not to the runtime's process")

	// ErrProcessGone: the process has ended. Another process may have its pid now.
	ErrProcessGone = errors.New("the runtime's process has ended")
)

// maxProcFile limits what is read of a file under /proc, in bytes.
const maxProcFile = 1 << 20

// Process is a process on this host, such as the one that serves the runtime's
// socket. When it has ended, every method returns [ErrProcessGone], even if its pid
// is in use again. For that it knows the process's start in clock ticks; gopsutil
// has it in milliseconds only.
type Process struct {
	PID int
	// Listening is when the process opened its socket, by the clock of that time;
	// zero if unknown. It had read its configuration before.
	Listening time.Time
	start     uint64 // clock ticks after boot, field 22 of /proc/PID/stat
}

// Peer returns the process that serves the socket behind conn: the one that called
// listen (SO_PEERCRED). The time of the socket's path is when it began to listen. The
// error is [ErrNoHostPID] or [ErrSocketActivated] if one applies.
func Peer(conn *net.UnixConn, path string) (*Process, error) {
	pid, err := peerPID(conn)
	if err != nil {
		return nil, err
	}
	// Read while the connection is open: the pid cannot have been reused yet.
	p, err := ProcessOf(pid)
	if err != nil {
		return nil, err
	}
	if pid == 1 && p.comm() == "systemd" {
		return nil, ErrSocketActivated
	}
	if info, err := os.Stat(path); err == nil {
		p.Listening = info.ModTime()
	}
	return p, nil
}

func peerPID(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var sockErr error
	if err := raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if sockErr != nil {
		return 0, os.NewSyscallError("getsockopt SO_PEERCRED", sockErr)
	}
	if cred.Pid == 0 {
		return 0, ErrNoHostPID
	}
	return int(cred.Pid), nil
}

// ProcessOf returns the process with this pid.
func ProcessOf(pid int) (*Process, error) {
	start, err := startTicks(pid)
	if err != nil {
		return nil, err
	}
	return &Process{PID: pid, start: start}, nil
}

// Root opens the process's root directory, with its mounts. That needs
// CAP_SYS_PTRACE; without it the error is fs.ErrPermission.
func (p *Process) Root() (*Root, error) {
	r, err := OpenRoot(p.proc("root"))
	if err != nil {
		return nil, p.orGone(err)
	}
	if err := p.checkAlive(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Environ returns the environment that the process was started with. It may contain
// secrets (a proxy's password) and must not be printed. It needs CAP_SYS_PTRACE;
// without it the error is fs.ErrPermission.
func (p *Process) Environ() ([]string, error) { return p.strings("environ") }

// Cmdline returns the command line of the process, its name first.
func (p *Process) Cmdline() ([]string, error) { return p.strings("cmdline") }

// StartTime returns when the process was started, by the clock as it is set now.
func (p *Process) StartTime() (time.Time, error) {
	if err := p.checkAlive(); err != nil {
		return time.Time{}, err
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, os.NewSyscallError("clock_gettime", err)
	}
	const tick = time.Second / 100 // USER_HZ is 100 on every Linux that Go runs on
	return time.Now().Add(time.Duration(p.start)*tick - time.Duration(up.Nano())), nil
}

// Since returns the time after which a change of a file is too late for the process
// to have read it at its start: when it was started, or when it listened if that is
// later. The second includes what happened between fork and exec (snaps write the
// configuration there), and clocks that were set back since.
func (p *Process) Since() (time.Time, error) {
	start, err := p.StartTime()
	if err == nil && p.Listening.After(start) {
		return p.Listening, nil
	}
	return start, err
}

// Name returns the process's own name, such as "containerd".
func (p *Process) Name() string { return readable.Clean(p.comm(), 32) }

// Dir returns the process's working directory, in the process's own view.
func (p *Process) Dir() (string, error) {
	dir, err := os.Readlink(p.proc("cwd"))
	if err != nil {
		return "", p.orGone(err)
	}
	return dir, p.checkAlive()
}

// Service returns the name of the systemd service that the process belongs to;
// empty if there is none or it cannot be read.
func (p *Process) Service() string {
	cgroup, err := readProc(p.proc("cgroup"))
	if err != nil {
		return ""
	}
	return unitOf(string(cgroup))
}

// SharesMounts reports whether both processes have the same mount namespace. No
// container has the runtime's.
func (p *Process) SharesMounts(other *Process) bool {
	a, err := p.mounts()
	if err != nil {
		return false
	}
	b, err := other.mounts()
	return err == nil && a == b && p.checkAlive() == nil && other.checkAlive() == nil
}

// mounts returns the name of the process's mount namespace. It needs CAP_SYS_PTRACE, too.
func (p *Process) mounts() (string, error) { return os.Readlink(p.proc("ns/mnt")) }

func (p *Process) proc(name string) string {
	return "/proc/" + strconv.Itoa(p.PID) + "/" + name
}

func (p *Process) strings(name string) ([]string, error) {
	b, err := readProc(p.proc(name))
	if err != nil {
		return nil, p.orGone(err)
	}
	if err := p.checkAlive(); err != nil {
		return nil, err
	}
	b = bytes.TrimRight(b, "\x00")
	if len(b) == 0 {
		return nil, nil
	}
	return strings.Split(string(b), "\x00"), nil
}

func (p *Process) comm() string {
	b, err := readProc(p.proc("comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// checkAlive returns ErrProcessGone if the pid is free or another process has it.
func (p *Process) checkAlive() error {
	start, err := startTicks(p.PID)
	if err == nil && start != p.start {
		return ErrProcessGone
	}
	return err
}

// orGone returns ErrProcessGone if the process has ended: then the error of its file
// means nothing. Else it returns err.
func (p *Process) orGone(err error) error {
	if gone := p.checkAlive(); errors.Is(gone, ErrProcessGone) {
		return gone
	}
	return err
}

func startTicks(pid int) (uint64, error) {
	b, err := readProc("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, ErrProcessGone
	}
	if err != nil {
		return 0, err
	}
	return parseStartTicks(b)
}

// parseStartTicks returns field 22 (starttime) of /proc/PID/stat, proc(5). The second
// field is the command in parentheses and may contain any byte, so the fields after it
// are counted from the last parenthesis.
func parseStartTicks(stat []byte) (uint64, error) {
	i := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[i+1:]))
	const starttime = 22 - 3 // field 3 is the first after the command
	if i < 0 || len(fields) <= starttime {
		return 0, fmt.Errorf("process stat: no start time in %d bytes", len(stat))
	}
	return strconv.ParseUint(fields[starttime], 10, 64)
}

func readProc(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxProcFile))
}
