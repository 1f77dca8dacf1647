package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// restartDelay is the pause before a service that ended is started again.
const restartDelay = 300 * time.Millisecond

// stopGracePeriod is the time between SIGTERM and SIGKILL. The API server would wait a
// minute for its watchers, which is too long for tests.
const stopGracePeriod = 2 * time.Second

// service is one program that an init runs and restarts.
type service struct {
	name      string
	args      []string // args[0] is looked up in bin/, unless there is a path
	path      string   // the program's file
	env       []string // beside environment
	autoStart bool     // started at once; the others on request
}

// ServiceStatus is the state of a service.
type ServiceStatus struct {
	Name    string    `json:"name"`
	Running bool      `json:"running"`
	Since   time.Time `json:"since,omitzero"` // of the running process
	Starts  int       `json:"starts"`
}

// supervisor is the part of a namespace's first process that runs services and reaps
// orphans, as pid 1 must.
type supervisor struct {
	dir Dir
	log func(service string) (*os.File, error)

	mu           sync.Mutex // also held while forking, so that reap knows every child
	services     []*serviceState
	processEnded *sync.Cond // broadcast when a process has ended
}

type serviceState struct {
	service
	wanted bool
	pid    int // 0: not running
	since  time.Time
	starts int
}

func newSupervisor(d Dir, log func(string) (*os.File, error), services []service) *supervisor {
	s := &supervisor{dir: d, log: log}
	s.processEnded = sync.NewCond(&s.mu)
	for _, svc := range services {
		s.services = append(s.services, &serviceState{service: svc})
	}
	return s
}

// run starts the services with autoStart and reaps until ctx ends.
func (s *supervisor) run(ctx context.Context) error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for _, r := range s.services {
		if r.autoStart {
			if err := s.start(r.name); err != nil {
				return err
			}
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-children:
			s.reap()
		}
	}
}

func (s *supervisor) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 || (err != nil && !errors.Is(err, syscall.EINTR)) {
			return
		}
		for _, r := range s.services {
			if r.pid != pid {
				continue
			}
			r.pid = 0
			s.processEnded.Broadcast()
			if r.wanted {
				time.AfterFunc(restartDelay, func() { s.restart(r) })
			}
		}
	}
}

// restart starts a service that has ended, unless it was stopped meanwhile.
func (s *supervisor) restart(r *serviceState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.wanted || r.pid != 0 {
		return
	}
	if err := s.fork(r); err != nil {
		time.AfterFunc(restartDelay, func() { s.restart(r) })
	}
}

// fork starts the process. The caller holds mu.
func (s *supervisor) fork(r *serviceState) error {
	log, err := s.log(r.name)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.dir.program(r.args[0]), r.args[1:]...)
	if r.path != "" {
		cmd.Path, cmd.Args, cmd.Err = r.path, r.args, nil
	}
	cmd.Dir = "/"
	cmd.Env = append(environment(s.dir), r.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.pid, r.since = cmd.Process.Pid, time.Now()
	r.starts++
	return cmd.Process.Release() // reap waits for it
}

func (s *supervisor) find(name string) (*serviceState, error) {
	for _, r := range s.services {
		if r.name == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("unknown service %q", name)
}

func (s *supervisor) start(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.find(name)
	if err != nil {
		return err
	}
	r.wanted = true
	if r.pid != 0 {
		return nil
	}
	return s.fork(r)
}

// stop stops a service and waits until it has ended. It sends SIGTERM, and SIGKILL
// after stopGracePeriod.
func (s *supervisor) stop(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.find(name)
	if err != nil {
		return err
	}
	r.wanted = false
	if r.pid == 0 {
		return nil
	}
	pid := r.pid
	syscall.Kill(pid, syscall.SIGTERM)
	timer := time.AfterFunc(stopGracePeriod, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.pid == pid {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	defer timer.Stop()
	for r.pid == pid {
		s.processEnded.Wait()
	}
	return nil
}

// kill kills a service with SIGKILL, like a crash. The service is restarted.
func (s *supervisor) kill(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.find(name)
	if err != nil {
		return err
	}
	pid := r.pid
	if pid == 0 {
		return fmt.Errorf("%s is not running", name)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	for r.pid == pid {
		s.processEnded.Wait()
	}
	return nil
}

func (s *supervisor) status() []ServiceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []ServiceStatus
	for _, r := range s.services {
		st := ServiceStatus{Name: r.name, Running: r.pid != 0, Starts: r.starts}
		if st.Running {
			st.Since = r.since
		}
		all = append(all, st)
	}
	return all
}
