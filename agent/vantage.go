package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/disk"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// vantage is the node through the runtime's eyes, and what of it could not be
// seen.
type vantage struct {
	*connect.Prober
	checks    []report.Check
	root      *cri.Root
	mountInfo string
	diskName  string // of the image file system, as the runtime names it
	eviction  *disk.Eviction
}

func (v vantage) close() {
	if v.root != nil {
		v.root.Close()
	}
}

// look takes the runtime's place: its root directory, its environment, its
// mounts.
func (e *Examiner) look(ctx context.Context) vantage {
	var v vantage
	var files runtimeconfig.Files = blind{}
	var env []string
	var process *cri.Process
	if e.Runtime == nil {
		files, env = view.Dir("/"), os.Environ()
		v.mountInfo = readMountInfo(os.Getpid())
	} else if p, err := e.Runtime.Process(); err != nil {
		v.checks = append(v.checks, report.Check{
			ID: "runtime/process", Kind: report.KindRuntime, Outcome: report.Skipped,
			Summary: "the runtime's process cannot be seen, so its view of the node is unknown: " + err.Error(),
		})
	} else {
		if root, err := p.Root(); err == nil {
			v.root, files = root, root
		} else {
			v.checks = append(v.checks, report.Check{
				ID: "runtime/process", Kind: report.KindRuntime, Outcome: report.Skipped,
				Summary: "the runtime's root directory cannot be opened, so its view of the node is unknown: " + err.Error(),
			})
		}
		if env, err = p.Environ(); err != nil {
			env = nil // ReadNode says what that leaves unknown
		}
		v.mountInfo = readMountInfo(p.PID)
		process = p
	}
	if e.OwnFiles {
		files = view.Dir("/")
	}
	node, checks := view.Read(files, env, e.Paths)
	prober := connect.NewProber(node)
	prober.Limits = e.Limits
	settings := e.settings()
	prober.Guard = guard.Guard{Deny: settings.Deny, Allow: settings.Allow, Own: e.addresses.own(), Loopback: e.AllowLoopback}
	prober.ExpirySoon = settings.CertificateDays
	v.Prober = prober
	v.checks = append(v.checks, checks...)
	ctx, cancel := context.WithTimeout(ctx, runtimeIn)
	defer cancel()
	v.diskName = e.imageFS(ctx)
	if process != nil {
		e.lookAtProcess(ctx, &v, process)
	}
	return v
}

// addresses are those of the node, read anew when they are as old as ownFor.
// The agent has the node's network; without it they are those of its pod.
type addresses struct {
	mu   sync.Mutex
	list []netip.Addr
	at   time.Time
}

const ownFor = 10 * time.Second

func (a *addresses) own() []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.at) < ownFor {
		return a.list
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return a.list // what was known before holds
	}
	a.list, a.at = without(all, servicesOf(ipvs)), time.Now()
	return a.list
}

// ipvs is where kube-proxy in that mode binds the addresses of all Services, on
// every node: a registry in the cluster is not on the node for that.
const ipvs = "kube-ipvs0"

func servicesOf(name string) []net.Addr {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	services, err := i.Addrs()
	if err != nil {
		return nil
	}
	return services
}

// without are the addresses in all that are not among others.
func without(all, others []net.Addr) (out []netip.Addr) {
	not := map[netip.Addr]bool{}
	for _, a := range others {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			not[p.Addr().Unmap()] = true
		}
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !not[p.Addr().Unmap()] && !p.Addr().IsLinkLocalUnicast() { // those are refused in any case
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}

// lookAtProcess adds what the runtime was configured to do, and whether that
// has changed on disk since it started.
func (e *Examiner) lookAtProcess(ctx context.Context, v *vantage, p *cri.Process) {
	v.eviction = e.evictionOf(p, v.diskName)
	var config *cri.Config
	if v.root != nil {
		var err error
		config, err = p.ReadConfig(v.root)
		running := e.Runtime.RegistryPath(ctx)
		v.checks = append(v.checks, p.ConfigCheck(v.root, config, err, running), p.EnvironmentCheck(v.root))
		if since, err := p.Since(); err == nil && v.Roots != nil && !e.OwnFiles {
			v.checks = append(v.checks, v.Roots.Started(p.Name(), since))
		}
		known := config != nil && (config.Err == nil || running != nil)
		if known && e.Paths.HostsDir == "" {
			v.Config = registryConfig(config, e.Runtime.Version(ctx), running)
		}
	}
	v.checks = append(v.checks, e.Runtime.Sandbox(ctx, config))
}

// registryConfig is where a containerd with this configuration looks for
// mirrors and authorities.
func registryConfig(config *cri.Config, version string, running *string) runtimeconfig.RegistryConfig {
	dirs := config.RegistryDirs(version, running)
	out := runtimeconfig.RegistryConfig{Dirs: dirs.Dirs, Passed: dirs.Passed, Why: dirs.Why, Stale: dirs.Stale}
	if dirs.Mirrors {
		out.Mirrors = config.Mirrors
		if cri.HonoursTLS(version) {
			out.TLS = map[string]runtimeconfig.TLSFiles{}
			for host, t := range config.TLS {
				out.TLS[host] = runtimeconfig.TLSFiles(t)
			}
		}
	}
	return out
}

// findKubelet finds the kubelet beside the runtime, the one found before if it
// is still there.
func (e *Examiner) findKubelet(runtime *cri.Process) (*cri.Process, error) {
	e.mu.Lock()
	known := e.kubelet
	e.mu.Unlock()
	if known != nil && known.SharesMounts(runtime) {
		return known, nil
	}
	found, err := cri.FindKubelet(runtime)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kubelet = found
	return found, err
}

// evictionOf asks the kubelet beside the runtime when it minds a full disk; nil
// where there is none, or none that can be asked.
func (e *Examiner) evictionOf(runtime *cri.Process, imageFS string) *disk.Eviction {
	kubelet, err := e.findKubelet(runtime)
	if err != nil {
		return nil
	}
	limits, err := kubelet.Eviction(imageFS)
	if err != nil {
		return nil
	}
	out := &disk.Eviction{GCHigh: limits.GCHigh, From: limits.From}
	for _, t := range limits.Bytes {
		out.Bytes = append(out.Bytes, disk.Threshold(t))
	}
	for _, t := range limits.Inodes {
		out.Inodes = append(out.Inodes, disk.Threshold(t))
	}
	return out
}

// imageFS is where the runtime keeps its images.
func (e *Examiner) imageFS(ctx context.Context) string {
	if e.DiskPath != "" {
		return e.DiskPath
	}
	if e.Runtime != nil {
		if mounts, err := e.Runtime.ImageFS(ctx); err == nil && len(mounts) > 0 {
			return mounts[0]
		}
	}
	return "/var/lib/containerd"
}

// diskCheck looks at the image file system, and whether need bytes fit; 0 is
// not known.
func (e *Examiner) diskCheck(v vantage, need int64) report.Check {
	path, err := v.hostPath(v.diskName)
	if v.root == nil && e.Runtime != nil && e.DiskPath == "" {
		err = errNotSeen // our own directory of that name is another one
	}
	if err != nil {
		return report.Check{
			ID: "disk", Kind: report.KindDisk, Target: v.diskName, Outcome: report.Skipped,
			Summary: v.diskName + " cannot be reached from here: " + err.Error(),
		}
	}
	c, ok := within(&e.disks, func() report.Check {
		return disk.Probe(disk.FileSystem{Name: v.diskName, Path: path, MountInfo: v.mountInfo, Need: uint64(need), Eviction: v.eviction})
	})
	if !ok {
		return report.Check{
			ID: "disk", Kind: report.KindDisk, Target: v.diskName, Outcome: report.Error, Evidence: map[string]string{"deadline": "true"},
			Summary: v.diskName + " did not answer within " + choreIn.String(),
		}
	}
	return c
}

var errNotSeen = errors.New("the runtime's root directory cannot be opened")

// hostPath is where a path of the node is reachable from here.
func (v vantage) hostPath(name string) (string, error) {
	if v.root == nil {
		return name, nil
	}
	return v.root.Path(name)
}

// Space is the room on the image file system, for the test pull's reserve.
func (e *Examiner) Space() (free, reserve uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	name := e.imageFS(ctx)
	path := name
	if e.Runtime != nil {
		p, err := e.Runtime.Process()
		if err != nil {
			return 0, 0, err
		}
		root, err := p.Root()
		if err != nil {
			return 0, 0, err
		}
		defer root.Close()
		if path, err = root.Path(name); err != nil {
			return 0, 0, err
		}
	}
	type answer struct {
		unix.Statfs_t
		err error
	}
	st, ok := within(&e.disks, func() (a answer) {
		a.err = unix.Statfs(path, &a.Statfs_t)
		return a
	})
	if !ok {
		st.err = os.ErrDeadlineExceeded
	}
	if st.err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: name, Err: st.err}
	}
	block := uint64(st.Bsize)
	return st.Bavail * block, max(st.Blocks*block/20, 64<<20), nil
}

// blind is a file system of which nothing can be seen.
type blind struct{}

func (blind) fail(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}
func (b blind) ReadFile(name string) ([]byte, error)       { return nil, b.fail(name) }
func (b blind) ReadDir(name string) ([]fs.DirEntry, error) { return nil, b.fail(name) }
func (b blind) Stat(name string) (fs.FileInfo, error)      { return nil, b.fail(name) }

// NodeState checks the runtime and its disk, for a node on which nothing is
// stuck.
func (e *Examiner) NodeState(ctx context.Context) (runtime, disk report.Check) {
	runtime = e.runtimeCheck(ctx)
	v := vantage{diskName: e.imageFS(ctx)}
	if e.Runtime != nil {
		p, err := e.Runtime.Process()
		if err == nil {
			if v.root, err = p.Root(); err == nil {
				defer v.close()
			}
			v.mountInfo = readMountInfo(p.PID)
			v.eviction = e.evictionOf(p, v.diskName)
		}
		if v.root == nil {
			return runtime, report.NewRedactor().Check(report.Check{
				ID: "disk", Kind: report.KindDisk, Target: v.diskName, Outcome: report.Skipped,
				Summary: "the runtime's process cannot be looked at, so its disk cannot either: " + err.Error(),
			})
		}
	}
	clean := report.NewRedactor()
	return clean.Check(runtime), clean.Check(e.diskCheck(v, 0))
}

func readMountInfo(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return ""
	}
	return string(b)
}
