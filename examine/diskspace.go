package examine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	diskusage "github.com/shirou/gopsutil/v3/disk"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/probes/disk"
	"github.com/pullprobe/pullprobe/report"
)

// defaultImageFS is where containerd keeps its images unless configured
// otherwise.
const defaultImageFS = "/var/lib/containerd"

// minReserve is the least space in bytes that a test pull must leave free.
const minReserve = 64 << 20

// imageFS returns where the runtime keeps its images, as the runtime names it.
func (e *Examiner) imageFS(ctx context.Context) string {
	if e.DiskPath != "" {
		return e.DiskPath
	}
	if e.Runtime != nil {
		if mounts, err := e.Runtime.ImageFS(ctx); err == nil && len(mounts) > 0 {
			return mounts[0]
		}
	}
	return defaultImageFS
}

// diskCheck returns the check "disk": the state of the image file system, and
// whether need bytes fit; 0 is unknown.
func (e *Examiner) diskCheck(v nodeView, need int64) report.Check {
	path, err := v.hostPath(v.diskName)
	if v.root == nil && e.Runtime != nil && e.DiskPath == "" {
		err = errNoRoot // our own directory of that name is another one
	}
	if err != nil {
		return diskNotChecked(v.diskName, v.diskName+" is not accessible from here: "+err.Error())
	}
	c, ok := callWithTimeout(&e.disks, func() report.Check {
		return disk.Probe(disk.FileSystem{
			Name:      v.diskName,
			Path:      path,
			MountInfo: v.mountInfo,
			Need:      uint64(need),
			Eviction:  v.eviction,
		})
	})
	if !ok {
		return report.Check{
			ID:       report.IDDisk,
			Kind:     report.KindDisk,
			Target:   v.diskName,
			Outcome:  report.Error,
			Evidence: map[string]string{report.KeyDeadline: report.True},
			Summary:  v.diskName + " did not answer within " + report.Duration(callTimeout),
		}
	}
	return c
}

func diskNotChecked(name, why string) report.Check {
	return report.Check{ID: report.IDDisk, Kind: report.KindDisk, Target: name, Outcome: report.Skipped, Summary: why}
}

var errNoRoot = errors.New("the runtime's root directory cannot be opened")

// hostPath returns where a path of the node is accessible from here.
func (v nodeView) hostPath(name string) (string, error) {
	if v.root == nil {
		return name, nil
	}
	return v.root.Path(name)
}

// Space returns the free bytes of the image file system, and how many of them a
// test pull must leave free.
func (e *Examiner) Space() (free, reserve uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	name := e.imageFS(ctx)
	if e.Runtime == nil {
		return e.spaceAt(name, name)
	}
	err = e.Runtime.WithRoot(func(_ *host.Process, root *host.Root) error {
		path, err := root.Path(name)
		if err == nil {
			free, reserve, err = e.spaceAt(name, path)
		}
		return err
	})
	return free, reserve, err
}

// spaceAt returns the space of the file system called name, which is accessible
// at path.
func (e *Examiner) spaceAt(name, path string) (free, reserve uint64, err error) {
	type answer struct {
		use *diskusage.UsageStat
		err error
	}
	got, ok := callWithTimeout(&e.disks, func() (a answer) {
		a.use, a.err = diskusage.Usage(path)
		return a
	})
	if !ok {
		got.err = os.ErrDeadlineExceeded
	}
	if got.err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: name, Err: got.err}
	}
	return got.use.Free, max(got.use.Total/20, minReserve), nil
}

// NodeState checks the runtime and its disk, for a node on which no pod is
// stuck.
func (e *Examiner) NodeState(ctx context.Context) (runtime, disk report.Check) {
	runtime = e.runtimeCheck(ctx)
	v := nodeView{diskName: e.imageFS(ctx)}
	if e.Runtime == nil {
		disk = e.diskCheck(v, 0)
	} else if err := e.Runtime.WithRoot(func(p *host.Process, root *host.Root) error {
		v.root, v.mountInfo, v.eviction = root, readMountInfo(p.PID), e.eviction(p, v.diskName)
		disk = e.diskCheck(v, 0)
		return nil
	}); err != nil {
		disk = diskNotChecked(v.diskName, "the runtime's process is not accessible, so its disk is not checked: "+err.Error())
	}
	redactor := report.NewRedactor()
	return redactor.Check(runtime), redactor.Check(disk)
}
