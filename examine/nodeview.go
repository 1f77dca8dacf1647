package examine

import (
	"context"
	"fmt"
	"io/fs"
	"os"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// nodeView is the node as the runtime sees it, and the checks of what could not
// be read.
type nodeView struct {
	*connect.Prober
	checks    []report.Check
	root      *host.Root // of the runtime's process; nil: its files cannot be read
	mountInfo string
	diskName  string // of the image file system, as the runtime names it
	eviction  *host.Eviction
}

func (v nodeView) close() {
	if v.root != nil {
		v.root.Close()
	}
}

// readNode reads the node as the runtime sees it: under its root directory, with
// its environment and its mounts. The caller closes the view.
func (e *Examiner) readNode(ctx context.Context) nodeView {
	var v nodeView
	process, files, env := e.openRuntime(&v)
	if e.OwnFiles {
		files = view.Dir("/")
	}
	node, checks := view.Read(files, env, e.Paths)
	prober := connect.NewProber(node)
	prober.Limits = e.Limits
	policy := e.policy()
	prober.Guard = guard.Guard{Deny: policy.Deny, Allow: policy.Allow, Own: e.addresses.get(), Loopback: e.AllowLoopback}
	prober.ExpirySoon = policy.CertificateDays
	v.Prober = prober
	v.checks = append(v.checks, checks...)
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	v.diskName = e.imageFS(ctx)
	if process != nil {
		e.addProcessChecks(ctx, &v, process)
	}
	return v
}

// openRuntime returns the runtime's process, its files and its environment.
// Without a runtime the files and the environment are this process's own. What
// cannot be read stays empty; [view.Read] reports what is unknown then.
func (e *Examiner) openRuntime(v *nodeView) (p *host.Process, files runtimeconfig.Files, env []string) {
	if e.Runtime == nil {
		v.mountInfo = readMountInfo(os.Getpid())
		return nil, view.Dir("/"), os.Environ()
	}
	p, err := e.Runtime.Process()
	if err != nil {
		v.checks = append(v.checks, noRuntimeView("the runtime's process is not visible", err))
		return nil, unreadableFS{}, nil
	}
	files = unreadableFS{}
	root, err := p.Root()
	if err != nil {
		v.checks = append(v.checks, noRuntimeView("the runtime's root directory cannot be opened", err))
	} else {
		v.root, files = root, root
	}
	if env, err = p.Environ(); err != nil {
		env = nil
	}
	v.mountInfo = readMountInfo(p.PID)
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
func (e *Examiner) addProcessChecks(ctx context.Context, v *nodeView, p *host.Process) {
	v.eviction = e.eviction(p, v.diskName)
	var config *runtimeconfig.Config
	if v.root != nil {
		var err error
		config, err = runtimeconfig.Read(p, v.root)
		running := e.Runtime.RegistryPath(ctx)
		v.checks = append(v.checks,
			runtimeconfig.ConfigCheck(p, v.root, config, err, running),
			runtimeconfig.EnvironmentCheck(p, v.root))
		if since, err := p.Since(); err == nil && v.Roots != nil && !e.OwnFiles {
			v.checks = append(v.checks, v.Roots.Started(p.Name(), since))
		}
		known := config != nil && (config.Err == nil || running != nil)
		if known && e.Paths.HostsDir == "" {
			v.Config = config.Registries(e.Runtime.Version(ctx), running)
		}
	}
	v.checks = append(v.checks, e.Runtime.Sandbox(ctx, config))
}

// findKubelet returns the process of the kubelet that the runtime serves. It
// searches only if the process that it found before has ended.
func (e *Examiner) findKubelet(runtime *host.Process) (*host.Process, error) {
	e.mu.Lock()
	known := e.kubelet
	e.mu.Unlock()
	if known != nil && known.SharesMounts(runtime) {
		return known, nil
	}
	found, err := host.FindKubelet(runtime)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kubelet = found
	return found, err
}

// eviction returns the kubelet's thresholds for the image file system; nil if
// there is no kubelet or it cannot be read.
func (e *Examiner) eviction(runtime *host.Process, imageFS string) *host.Eviction {
	kubelet, err := e.findKubelet(runtime)
	if err != nil {
		return nil
	}
	limits, err := kubelet.Eviction(imageFS)
	if err != nil {
		return nil
	}
	return &limits
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
