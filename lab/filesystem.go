package lab

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountPrivateEtc gives this mount namespace its own /etc: the host's, overlaid with
// files. Directories in opaque hide the host's directories of that name. Later writes
// to /etc end up below run/ too.
func mountPrivateEtc(d Dir, space string, opaque []string, files map[string]string) error {
	upper, work := d.Run(space, "etc"), d.Run(space, "etc-work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	for _, dir := range opaque {
		if err := os.MkdirAll(filepath.Join(upper, dir), 0o755); err != nil {
			return err
		}
		if err := unix.Setxattr(filepath.Join(upper, dir), "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	for name, content := range files {
		path := filepath.Join(upper, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return mount("overlay", "/etc", "overlay", 0, fmt.Sprintf("lowerdir=/etc,upperdir=%s,workdir=%s", upper, work))
}

// isolateMounts separates the mount namespace from the host's and mounts a /proc of
// its own pid namespace.
func isolateMounts() error {
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// bindMount mounts a directory of run/ over a path of the host.
func bindMount(from, to string) error {
	if err := os.MkdirAll(from, 0o755); err != nil {
		return err
	}
	return mount(from, to, "", unix.MS_BIND, "")
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

// trustStore returns the content of ca-certificates.crt.
func trustStore(d Dir, authorities ...string) (string, error) {
	var all string
	for _, a := range authorities {
		b, err := os.ReadFile(d.PKI(a + ".crt"))
		if err != nil {
			return "", err
		}
		all += string(b)
	}
	return all, nil
}
