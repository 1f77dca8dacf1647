package lab

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestARecycledPIDIsNotKilled(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	p, err := processOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	another := process{PID: p.PID, Start: p.Start - 1}
	if another.alive() {
		t.Error("a process that began at another time counts as alive")
	}
	if err := another.kill(time.Second); err != nil {
		t.Error(err)
	}
	if !p.alive() {
		t.Fatal("killed the wrong process")
	}

	path := t.TempDir() + "/pid"
	if err := writePIDFile(path, p); err != nil {
		t.Fatal(err)
	}
	read, err := readPIDFile(path)
	if err != nil || read != p {
		t.Errorf("read %+v, %v, want %+v", read, err, p)
	}
	if err := read.kill(10 * time.Second); err != nil {
		t.Error(err)
	}
	if p.alive() {
		t.Error("still alive")
	}
	if err := p.kill(time.Second); err != nil {
		t.Errorf("kill of a process that has ended: %v", err)
	}
}

func TestDescendants(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for _, pid := range descendants(os.Getpid()) {
		if pid == cmd.Process.Pid {
			if name := processName(pid); name != "sleep" {
				t.Errorf("its name is %q", name)
			}
			return
		}
	}
	t.Error("a child is not among the descendants")
}
