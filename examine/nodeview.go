package examine

import (
	"context"
	"fmt"
	"io/fs"
	"os"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// NodeReader reads this node as its container runtime sees it. What it reads decides
// how the registries are contacted.
type NodeReader struct {
	Runtime *cri.Client // nil: the runtime's endpoint is unknown

	// OwnFiles reads resolver files, trust store and hosts.toml from the file
	// system of this process, at Paths, instead of the runtime's.
	OwnFiles bool
	Paths    view.Paths
	DiskPath string // instead of the image file system that the runtime names
	Limits   connect.Limits
	// AllowLoopback permits registries on loopback addresses. In a cluster the
	// tenants choose the addresses, so they must not be probed.
	AllowLoopback bool

	// Policy returns the current policy; nil: [DefaultPolicy].
	Policy func() Policy
	// KubeletMinor returns the minor version of the kubelet: 33 of Kubernetes 1.33. nil, or
	// 0: not known.
	KubeletMinor func() int

	kubelet   kubeletFinder
	disks     diskProber
	addresses ownAddresses
}

// policy returns the current policy.
func (n *NodeReader) policy() Policy {
	if n.Policy == nil {
		return DefaultPolicy()
	}
	return n.Policy()
}

// nodeView is the node as the runtime sees it, and the checks of what could not
// be read.
type nodeView struct {
	*connect.Prober
	checks []report.Check
	root   *host.Root // of the runtime's process; nil: its files cannot be read
	disk   imageDisk
}

func (v nodeView) close() {
	if v.root != nil {
		v.root.Close()
	}
}

// read reads the node as the runtime sees it: under its root directory, with
// its environment and its mounts. The caller closes the view.
func (n *NodeReader) read(ctx context.Context) nodeView {
	var v nodeView
	process, files, env := n.openRuntime(&v)
	if n.OwnFiles {
		files = view.Dir("/")
	}
	node, checks := view.Read(files, env, n.Paths)
	prober := connect.NewProber(node)
	prober.Limits = n.Limits
	policy := n.policy()
	prober.Guard = guard.Guard{Deny: policy.Deny, Allow: policy.Allow, Own: n.addresses.get(), Loopback: n.AllowLoopback}
	prober.ExpirySoon = policy.CertificateDays
	v.Prober = prober
	v.checks = append(v.checks, checks...)
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	v.disk.name = n.imageFS(ctx)
	if process != nil {
		n.addProcessChecks(ctx, &v, process)
	}
	return v
}

// openRuntime returns the runtime's process, its files and its environment.
// Without a runtime the files and the environment are this process's own. What
// cannot be read stays empty; [view.Read] reports what is unknown then.
func (n *NodeReader) openRuntime(v *nodeView) (p *host.Process, files runtimeconfig.Files, env []string) {
	if n.Runtime == nil {
		v.disk.mountInfo = readMountInfo(os.Getpid())
		return nil, view.Dir("/"), os.Environ()
	}
	v.disk.inRuntime = n.DiskPath == ""
	p, err := n.Runtime.Process()
	if err != nil {
		v.checks = append(v.checks, noRuntimeView("the runtime's process is not visible", err))
		return nil, unreadableFS{}, nil
	}
	files = unreadableFS{}
	root, err := p.Root()
	if err != nil {
		v.checks = append(v.checks, noRuntimeView("the runtime's root directory cannot be opened", err))
	} else {
		v.root, v.disk.root, files = root, root, root
	}
	if env, err = p.Environ(); err != nil {
		env = nil
	}
	v.disk.mountInfo = readMountInfo(p.PID)
	return p, files, env
}

func noRuntimeView(what string, err error) report.Check {
	return report.Check{
		ID:      report.IDRuntimeProcess,
		Kind:    report.KindRuntime,
		Outcome: report.Skipped,
		Summary: what + ", so how it sees the node is unknown: " + err.Error(),
	}
}

// addProcessChecks adds how the runtime is configured, and whether that has
// changed on disk since it started.
func (n *NodeReader) addProcessChecks(ctx context.Context, v *nodeView, p *host.Process) {
	v.disk.eviction = n.kubelet.eviction(p, v.disk.name)
	var config *runtimeconfig.Config
	if v.root != nil {
		var err error
		config, err = runtimeconfig.Read(p, v.root, n.Runtime.Version(ctx))
		running := n.Runtime.RegistryPath(ctx)
		v.checks = append(v.checks,
			runtimeconfig.ConfigCheck(p, v.root, config, err, running),
			runtimeconfig.EnvironmentCheck(p, v.root))
		if since, err := p.Since(); err == nil && v.Roots != nil && !n.OwnFiles {
			v.checks = append(v.checks, v.Roots.Started(p.Name(), since))
		}
		known := config != nil && (config.Err == nil || running != nil)
		if known && n.Paths.HostsDir == "" {
			v.Config = config.Registries(running)
		}
	}
	v.checks = append(v.checks, n.Runtime.Sandbox(ctx, config))
}

// unreadableFS is a file system that this process may not read.
type unreadableFS struct{}

func (unreadableFS) fail(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}
func (b unreadableFS) ReadFile(name string) ([]byte, error)       { return nil, b.fail(name) }
func (b unreadableFS) ReadDir(name string) ([]fs.DirEntry, error) { return nil, b.fail(name) }
func (b unreadableFS) Stat(name string) (fs.FileInfo, error)      { return nil, b.fail(name) }

func readMountInfo(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return ""
	}
	return string(b)
}
