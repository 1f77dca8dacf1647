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

// Down ends the lab and removes everything that Up made, except bin/. It removes
// what it finds, so it also cleans up after a crash or an incomplete start.
func Down(d Dir) error {
	if os.Geteuid() != 0 {
		return errors.New("must run as root")
	}
	unlock, err := lockDir(d)
	if err != nil {
		return err
	}
	defer unlock()
	return removeLab(d)
}

func removeLab(d Dir) error {
	// From here on the lab does not count as running.
	if err := os.RemoveAll(d.Run("ready")); err != nil {
		return err
	}
	var errs []error
	madeRunNetns := exists(d.Run("made-run-netns"))
	errs = append(errs, killLabProcesses(d))
	for _, path := range labNetns() {
		// EINVAL: the name exists but nothing is mounted, as after `ip netns add`
		// was killed half-way.
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
		}
		errs = append(errs, os.Remove(path))
	}
	if madeRunNetns {
		errs = append(errs, removeRunNetns())
	}
	errs = append(errs, removeCgroups(""))
	errs = append(errs, unmountBelow(d.Run()))
	if err := errors.Join(errs...); err != nil {
		return err // keep run/: the next attempt needs it
	}
	return os.RemoveAll(d.Run())
}

// killLabProcesses kills the inits, with everything that they have started, and all
// other processes in a network namespace of the lab.
func killLabProcesses(d Dir) error {
	const timeout = 20 * time.Second
	var errs []error
	for _, s := range spaceNames() {
		p, err := readPIDFile(d.Run(s + ".pid"))
		if err != nil {
			continue // never started, or killed while writing: then the loop below finds it
		}
		errs = append(errs, p.kill(timeout))
	}
	for _, path := range labNetns() {
		for _, p := range processesInNetns(path) {
			errs = append(errs, p.kill(timeout))
		}
	}
	return errors.Join(errs...)
}

// labNetns returns the paths of the network namespaces with the lab's prefix.
func labNetns() []string {
	found, _ := filepath.Glob("/run/netns/" + prefix + "*")
	return found
}

// removeRunNetns undoes what the first `ip netns add` of a machine does: creating
// the directory /run/netns and mounting it on itself.
func removeRunNetns() error {
	entries, err := os.ReadDir("/run/netns")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || len(entries) > 0 {
		return err // it has namespaces of another program by now
	}
	for unix.Unmount("/run/netns", 0) == nil {
	}
	return os.Remove("/run/netns")
}

// unmountBelow unmounts what is mounted below dir in the host's namespace.
// The lab mounts in its own namespaces only, but another program may have mounted
// something in run/, which is about to be removed.
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
