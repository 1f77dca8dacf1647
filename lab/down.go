package lab

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Down ends the lab and removes everything that Up made, except bin/. It goes
// by what it finds, so it also cleans up after a crash and after half a start.
func Down(d Dir) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root")
	}
	unlock, err := lockDir(d)
	if err != nil {
		return err
	}
	defer unlock()
	return removeLab(d)
}

func removeLab(d Dir) error {
	// No longer running, whatever happens next.
	if err := os.RemoveAll(d.Run("ready")); err != nil {
		return err
	}
	var errs []error
	madeRunNetns := exists(d.Run("made-run-netns"))
	errs = append(errs, killLabProcesses(d))
	for _, path := range labNetns() {
		// EINVAL: the name exists but nothing is mounted, as after a kill in
		// the middle of `ip netns add`.
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
		}
		errs = append(errs, os.Remove(path))
	}
	if madeRunNetns {
		errs = append(errs, removeRunNetns())
	}
	errs = append(errs, removeCgroups())
	errs = append(errs, unmountBelow(d.Run()))
	if err := errors.Join(errs...); err != nil {
		return err // run/ stays: it holds what the next try needs
	}
	return os.RemoveAll(d.Run())
}

// killAll kills the inits, with all that they have started, and whatever else
// is in a network namespace of the lab.
func killLabProcesses(d Dir) error {
	const patience = 20 * time.Second
	var errs []error
	for _, s := range spaceNames() {
		p, err := readPIDFile(d.Run(s + ".pid"))
		if err != nil {
			continue // never started; or cut off while writing, then it is found below
		}
		errs = append(errs, p.kill(patience))
	}
	for _, path := range labNetns() {
		for _, p := range processesInNetns(path) {
			errs = append(errs, p.kill(patience))
		}
	}
	return errors.Join(errs...)
}

// ownNetns are the network namespaces with the lab's prefix.
func labNetns() []string {
	found, _ := filepath.Glob("/run/netns/" + prefix + "*")
	return found
}

// removeRunNetns undoes what the first `ip netns add` of a machine does: it
// makes the directory /run/netns and mounts it on itself.
func removeRunNetns() error {
	entries, err := os.ReadDir("/run/netns")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || len(entries) > 0 {
		return err // somebody else's namespaces are in it by now
	}
	for unix.Unmount("/run/netns", 0) == nil {
	}
	return os.Remove("/run/netns")
}

// unmountBelow unmounts what is mounted below dir in the host's namespace.
// The lab mounts in namespaces of its own only; but run/ is about to be
// removed, and no file system of somebody else's may hang in it.
func unmountBelow(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	var points []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			points = append(points, fields[4])
		}
	}
	for _, point := range slices.Backward(points) {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}
