package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The first process of each namespace is the lab's own binary, run as
// `lab _init SPACE`. Everything that it started dies with it: the kernel kills a pid
// namespace whose first process has ended, with its mounts and processes.

// startInit starts the init of a space in its network namespace and in new mount, pid,
// IPC and host name namespaces, and waits until it answers.
//
// The child does nothing until it reads a line from its standard input. It gets that
// line when its pid file is written. So `lab down` finds every init, whenever `lab up`
// is killed.
func startInit(ctx context.Context, d Dir, space string) error {
	log, err := os.OpenFile(d.Log("init-"+space), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.Bin("lab"), "_init", space)
	cmd.Dir = "/"
	cmd.Env = environment(d)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := inNetns(netns(space), cmd.Start); err != nil {
		return fmt.Errorf("init of %s: %w", space, err)
	}
	p, err := processOf(cmd.Process.Pid)
	if err == nil {
		err = writePIDFile(d.Run(space+".pid"), p)
	}
	if err == nil {
		_, err = stdin.Write([]byte("go\n"))
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return waitUntil(ctx, 10*time.Second, "the init of "+space, func() error {
		select {
		case <-ended:
			return permanentError{fmt.Errorf("it ended (%s): %s", cmd.ProcessState, tail(d.Log("init-"+space)))}
		default:
			return control(ctx, d, space, http.MethodGet, "/services", nil, nil)
		}
	})
}

// Init runs `lab _init SPACE`. It returns only on an error.
func Init(d Dir, space string) error {
	if line, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil || line != "go\n" {
		return errors.New("_init is internal: only `lab up` runs it")
	}
	if os.Getpid() != 1 {
		return errors.New("not the first process of a pid namespace")
	}
	if space == Infra {
		return infraInit(d)
	}
	n, err := findNode(space)
	if err != nil {
		return err
	}
	return nodeInit(d, n)
}

// permanentError makes waitUntil return at once.
type permanentError struct{ error }

// waitUntil calls f every 50 ms until it returns nil or a permanentError, or the timeout is
// over. Its error begins with what was waited for.
func waitUntil(ctx context.Context, timeout time.Duration, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		if s, ok := errors.AsType[permanentError](err); ok {
			return fmt.Errorf("%s: %w", what, s.error)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not ready: %w", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tail returns the end of a log, for an error message.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}
