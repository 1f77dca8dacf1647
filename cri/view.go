package cri

import (
	"os"
	"path"
)

// Dir is the process's working directory, as the process names it.
func (p *Process) Dir() (string, error) {
	dir, err := os.Readlink(p.proc("cwd"))
	if err != nil {
		return "", p.explain(err)
	}
	return dir, p.alive()
}

// SharesMounts reports whether both processes are in one mount namespace. No
// container shares the runtime's, so what calls itself the kubelet and does not
// share it may be a tenant's program.
func (p *Process) SharesMounts(other *Process) bool {
	a, err := os.Readlink(p.proc("ns/mnt"))
	if err != nil {
		return false
	}
	b, err := os.Readlink(other.proc("ns/mnt"))
	return err == nil && path.Base(a) == path.Base(b) && p.alive() == nil && other.alive() == nil
}
