package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process identifies a process. A pid alone is not enough: the kernel reuses it once
// the process has ended.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot
}

func processOf(pid int) (process, error) {
	start, err := startTime(pid)
	return process{PID: pid, Start: start}, err
}

func (p process) alive() bool {
	start, err := startTime(p.PID)
	return err == nil && start == p.Start
}

// kill kills the process and waits until it has ended. The init of a pid namespace ends
// when everything in the namespace has.
func (p process) kill(timeout time.Duration) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pid %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	// The descriptor refers to the process that has the pid now. The check of the
	// start time, after opening it, proves that it is the same one.
	if !p.alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("pid %d: kill: %w", p.PID, err)
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(timeout.Milliseconds()))
	if err == nil && n == 0 {
		return fmt.Errorf("pid %d: still running %v after SIGKILL", p.PID, timeout)
	}
	return nil
}

// startTime returns field 22 of /proc/PID/stat, proc(5). A zombie counts as ended.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the command in parentheses. It may contain spaces and
	// parentheses.
	_, after, ok := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("pid %d: unexpected stat", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, fmt.Errorf("pid %d: %w", pid, os.ErrProcessDone)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// visiblePIDs returns all processes in /proc.
func visiblePIDs() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// processesInNetns returns the processes in the network namespace at path.
func processesInNetns(path string) []process {
	var want unix.Stat_t
	if unix.Stat(path, &want) != nil {
		return nil
	}
	var found []process
	for _, pid := range visiblePIDs() {
		var st unix.Stat_t
		if pid == os.Getpid() || unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st) != nil {
			continue
		}
		if st.Ino == want.Ino && st.Dev == want.Dev {
			if p, err := processOf(pid); err == nil {
				found = append(found, p)
			}
		}
	}
	return found
}

// descendants returns the pids below root, without root.
func descendants(root int) []int {
	children := map[int][]int{}
	for _, pid := range visiblePIDs() {
		children[parentPID(pid)] = append(children[parentPID(pid)], pid)
	}
	var all []int
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		all = append(all, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

// parentPID returns the parent of a process; -1: unknown.
func parentPID(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return -1
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 2 {
		return -1
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return -1
	}
	return ppid
}

// processName returns the base name of a process's first argument: the name by which a
// multi-call binary was run.
func processName(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return ""
	}
	first, _, _ := strings.Cut(string(b), "\x00")
	return filepath.Base(first)
}

func writePIDFile(path string, p process) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

func readPIDFile(path string) (process, error) {
	var p process
	b, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(b, &p)
}
