package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// hierarchy is one mounted cgroup hierarchy. cgroup v1 has one per controller,
// v2 has one in all.
type hierarchy struct {
	path string
	v2   bool
}

// cgroupHierarchies reads where cgroups are mounted, proc_pid_mountinfo(5).
func cgroupHierarchies() (v1, v2 []hierarchy, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		mount, kind, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		if !ok || len(fields) < 5 {
			continue
		}
		switch kind, _, _ = strings.Cut(kind, " "); kind {
		case "cgroup":
			v1 = append(v1, hierarchy{path: fields[4]})
		case "cgroup2":
			v2 = append(v2, hierarchy{path: fields[4], v2: true})
		}
	}
	if len(v1)+len(v2) == 0 {
		return nil, nil, errors.New("no cgroup hierarchy is mounted")
	}
	return v1, v2, nil
}

// usedHierarchies returns those that have controllers. Where both versions are mounted, the
// controllers are in v1. In an empty v2 runc makes what it needs.
func usedHierarchies() ([]hierarchy, error) {
	v1, v2, err := cgroupHierarchies()
	if err != nil || len(v1) > 0 {
		return v1, err
	}
	return v2, nil
}

// makeCgroups creates the directory of each node that the lab knows, the kubelet's
// cgroupRoot, in every hierarchy. It keeps those that exist.
func makeCgroups() error {
	all, err := usedHierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		top := filepath.Join(h.path, cgroup)
		if err := makeCgroup(h, top); err != nil {
			return err
		}
		for _, n := range allNodeNames() {
			if err := makeCgroup(h, filepath.Join(top, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func makeCgroup(h hierarchy, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if h.v2 {
		// A child has only the controllers that its parent enables.
		b, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
		if err != nil {
			return err
		}
		for _, c := range strings.Fields(string(b)) {
			if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
				return fmt.Errorf("enable controller %s: %w", c, err)
			}
		}
		return nil
	}
	// A new cpuset is empty, and no process can join an empty one.
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, err := os.ReadFile(filepath.Join(parent, f))
		if errors.Is(err, os.ErrNotExist) {
			continue // another controller's hierarchy
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups removes the directories of a node, or all of the lab if the name is empty.
// Their processes are dead, but the kernel may need a moment to notice.
func removeCgroups(node string) error {
	v1, v2, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	var last error
	for range 40 {
		last = nil
		for _, h := range append(v1, v2...) {
			if err := removeTree(filepath.Join(h.path, cgroup, node)); err != nil {
				last = err
			}
		}
		if last == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return last
}

// removeTree removes a tree of directories. The files of cgroupfs go with them.
func removeTree(top string) error {
	var dirs []string
	filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
