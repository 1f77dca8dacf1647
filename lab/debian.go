package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// installPackages installs the missing Debian packages. A package is missing if the
// file that proves it is.
func installPackages(ctx context.Context, p *Progress) error {
	var missing []string
	for _, pkg := range []struct{ name, proof string }{
		{"containernetworking-plugins", "/usr/lib/cni/bridge"},
		{"iptables", "/usr/sbin/iptables"},
		{"iproute2", "/bin/ip"},
		{"e2fsprogs", "/usr/sbin/mkfs.ext4"},
		{"tinyproxy-bin", "/usr/bin/tinyproxy"},
		{"libseccomp-dev", "/usr/include/seccomp.h"},
		{"pkg-config", "/usr/bin/pkg-config"},
		{"gcc", "/usr/bin/gcc"},
		{"libc6-dev", "/usr/include/stdlib.h"},
	} {
		if _, err := os.Stat(pkg.proof); err != nil {
			missing = append(missing, pkg.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing packages (Debian's names; install your system's equivalents): %s", strings.Join(missing, " "))
	}
	return p.Do("installing "+strings.Join(missing, " "), func(note func(string)) error {
		for _, args := range [][]string{
			{"update", "-qq"},
			append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...),
		} {
			note("apt-get " + args[0])
			cmd := exec.CommandContext(ctx, "apt-get", args...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
			}
		}
		return nil
	})
}
