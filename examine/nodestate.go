package examine

import (
	"context"
	"time"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/redact"
)

// defaultImageFS is where containerd keeps its images unless configured
// otherwise.
const defaultImageFS = "/var/lib/containerd"

// imageFS returns where the runtime keeps its images, as the runtime names it.
func (n *NodeReader) imageFS(ctx context.Context) string {
	if n.DiskPath != "" {
		return n.DiskPath
	}
	if n.Runtime != nil {
		if mounts, err := n.Runtime.ImageFS(ctx); err == nil && len(mounts) > 0 {
			return mounts[0]
		}
	}
	return defaultImageFS
}

// Space returns the free bytes of the image file system, and how many of them a
// test pull must leave free.
func (n *NodeReader) Space() (free, reserve uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	name := n.imageFS(ctx)
	if n.Runtime == nil {
		return n.disks.space(name, name)
	}
	err = n.Runtime.WithRoot(func(_ *host.Process, root *host.Root) error {
		path, err := root.Path(name)
		if err == nil {
			free, reserve, err = n.disks.space(name, path)
		}
		return err
	})
	return free, reserve, err
}

// State checks the runtime and its disk, for a node on which no pod is stuck.
func (n *NodeReader) State(ctx context.Context) (runtime, disk report.Check) {
	runtime = n.runtimeCheck(ctx)
	fs := imageDisk{name: n.imageFS(ctx)}
	if n.Runtime == nil {
		disk = n.disks.check(fs, 0)
	} else if err := n.Runtime.WithRoot(func(p *host.Process, root *host.Root) error {
		fs.root, fs.mountInfo, fs.eviction = root, readMountInfo(p.PID), n.kubelet.eviction(p, fs.name)
		disk = n.disks.check(fs, 0)
		return nil
	}); err != nil {
		disk = diskNotChecked(fs.name, "the runtime's process is not accessible, so its disk is not checked: "+err.Error())
	}
	redactor := redact.New()
	return runtime.Redacted(redactor), disk.Redacted(redactor)
}
