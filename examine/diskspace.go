package examine

import (
	"errors"
	"io/fs"
	"os"

	diskusage "github.com/shirou/gopsutil/v3/disk"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/probes/disk"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// minReserve is the least space in bytes that a test pull must leave free.
const minReserve = 64 << 20

// imageDisk is the image file system, and how to access it.
type imageDisk struct {
	name      string     // as the runtime names it
	root      *host.Root // of the runtime's process; nil: its files cannot be read
	inRuntime bool       // the name is a path of the runtime, which may be another file system here
	mountInfo string
	eviction  *host.Eviction // the kubelet's thresholds; nil: they are not known
}

var errNoRoot = errors.New("the runtime's root directory cannot be opened")

// path returns where the file system is accessible from here.
func (d imageDisk) path() (string, error) {
	switch {
	case d.root != nil:
		return d.root.Path(d.name)
	case d.inRuntime:
		return "", errNoRoot
	}
	return d.name, nil
}

// diskProber checks file systems. One that hangs does not stop it. The zero value is
// ready.
type diskProber struct{ calls timeoutCaller }

// check returns the check "disk": the state of the image file system, and
// whether need bytes fit; 0 is unknown.
func (p *diskProber) check(d imageDisk, need int64) report.Check {
	path, err := d.path()
	if err != nil {
		return diskNotChecked(d.name, d.name+" is not accessible from here: "+err.Error())
	}
	c, ok := callWithTimeout(&p.calls, func() report.Check {
		return disk.Probe(disk.FileSystem{
			Name:      d.name,
			Path:      path,
			MountInfo: d.mountInfo,
			Need:      uint64(need),
			Eviction:  d.eviction,
		})
	})
	if !ok {
		return report.Check{
			ID:       report.IDDisk,
			Kind:     report.KindDisk,
			Target:   d.name,
			Outcome:  report.Error,
			Evidence: map[string]string{report.KeyDeadline: report.True},
			Summary:  d.name + " did not answer within " + readable.Duration(callTimeout),
		}
	}
	return c
}

func diskNotChecked(name, why string) report.Check {
	return report.Check{ID: report.IDDisk, Kind: report.KindDisk, Target: name, Outcome: report.Skipped, Summary: why}
}

// space returns the free bytes of the file system called name, which is accessible
// at path, and how many of them a test pull must leave free.
func (p *diskProber) space(name, path string) (free, reserve uint64, err error) {
	type answer struct {
		use *diskusage.UsageStat
		err error
	}
	got, ok := callWithTimeout(&p.calls, func() (a answer) {
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
