package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// onThread runs f on its own operating-system thread, which ends with f. So what f does
// to the thread's namespaces affects nothing else.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime then ends the thread
		done <- f()
	}()
	return <-done
}

// inNetns runs f on a thread in the network namespace at path. Sockets that f opens and
// processes that it starts stay there.
func inNetns(path string, f func() error) error {
	return onThread(func() error {
		if err := setns(path, unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// inNamespacesOf runs f on a thread in all namespaces of a process: its files, network,
// host name and IPC. Processes that f starts are in its pid namespace.
func inNamespacesOf(pid int, f func() error) error {
	return onThread(func() error {
		// Threads of a program share root and working directory. A thread that
		// shares them cannot change its mount namespace: setns(2).
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		for _, ns := range []struct {
			name string
			kind int
		}{
			{"net", unix.CLONE_NEWNET}, {"uts", unix.CLONE_NEWUTS}, {"ipc", unix.CLONE_NEWIPC},
			{"pid", unix.CLONE_NEWPID}, {"mnt", unix.CLONE_NEWNS},
		} {
			if err := setns(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.name), ns.kind); err != nil {
				return err
			}
		}
		return f()
	})
}

func setns(path string, kind int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), kind); err != nil {
		return fmt.Errorf("setns %s: %w", path, err)
	}
	return nil
}

// dialInNetns connects from inside a network namespace. addr must be an IP address and a
// port: another thread, in another namespace, would resolve a name.
func dialInNetns(ctx context.Context, path, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dial %s: not an IP address", addr)
	}
	var conn net.Conn
	err = inNetns(path, func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// environment returns the environment of every program of the lab. It has nothing of
// the caller's, whose proxies and certificate settings would affect the nodes.
func environment(d Dir) []string {
	return []string{
		"PATH=" + strings.Join(searchPath(d), ":"),
		"HOME=/root", "LANG=C.UTF-8",
		"PULLPROBE_LAB_DIR=" + string(d),
	}
}

func searchPath(d Dir) []string {
	var dirs []string
	for _, dir := range d.Versions().dirs() {
		dirs = append(dirs, d.Bin(dir))
	}
	return append(dirs, d.Bin(""), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
}

// runHostCommand runs a program of the host. The error has the program's output.
func runHostCommand(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return commandError(name, args, out, err)
}

// runInNetns runs a program of the host in a network namespace.
func runInNetns(ctx context.Context, space string, name string, args ...string) error {
	return inNetns(netns(space), func() error { return runHostCommand(ctx, name, args...) })
}

func commandError(name string, args []string, output []byte, err error) error {
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(output) > 0 {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
}
