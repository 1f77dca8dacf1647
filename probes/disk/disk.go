// Package disk checks the file system that holds the runtime's images: check
// "disk".
package disk

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v3/disk"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// FileSystem is the one to check.
type FileSystem struct {
	Name      string         // as the runtime names it, for example /var/lib/containerd
	Path      string         // from this process, for example /proc/812/root/var/lib/containerd; empty: Name
	MountInfo string         // text of the runtime's /proc/PID/mountinfo; empty: unknown
	Need      uint64         // bytes that the image needs, as sent and unpacked; 0: unknown
	Eviction  *host.Eviction // when the kubelet acts; nil: unknown
}

// highest returns the threshold that is reached first.
func highest(all []host.Threshold, capacity uint64) (amount uint64, signal string) {
	for _, t := range all {
		least := t.Amount
		if t.Percent > 0 {
			least = uint64(float64(capacity) * t.Percent / 100)
		}
		if least > amount {
			amount, signal = least, t.Signal
		}
	}
	return amount, signal
}

// facts adds the kubelet's limits to e, and returns a sentence on those that are
// reached. The kubelet compares with what is available to all users, not to root.
func evictionFacts(v *host.Eviction, use *disk.UsageStat, e evidence.Facts) (reached string) {
	if v == nil {
		return ""
	}
	const consequence = "it removes images and evicts pods"
	e[report.KeyEvictionFrom] = v.From
	least, signal := highest(v.Bytes, use.Total)
	if least > 0 {
		e[report.KeyEvictionBytes] = strconv.FormatUint(least, 10)
		e[report.KeyBelowEviction] = strconv.FormatBool(use.Free < least)
		if use.Free < least {
			reached = fmt.Sprintf("below the kubelet's %s of %s: %s", signal, readable.Bytes(least), consequence)
		}
	}
	least, signal = highest(v.Inodes, use.InodesTotal)
	if least > 0 && use.InodesTotal > 0 {
		e[report.KeyEvictionInodes] = strconv.FormatUint(least, 10)
		e[report.KeyBelowEvictionInodes] = strconv.FormatBool(use.InodesFree < least)
		if use.InodesFree < least && reached == "" {
			reached = fmt.Sprintf("%d inodes free, below the kubelet's %s of %d: %s", use.InodesFree, signal, least, consequence)
		}
	}
	if v.GCHigh > 0 && v.GCHigh < 100 {
		e[report.KeyImageGCPercent] = strconv.Itoa(v.GCHigh)
		if use.Total > 0 {
			e[report.KeyUsedPercent] = strconv.FormatUint(100-use.Free*100/use.Total, 10) // as the kubelet rounds it
		}
	}
	return reached
}

// Below these a file system counts as full, whatever the image needs. A small one is
// full below a twentieth of its size.
const (
	floorBytes  = 32 << 20
	floorInodes = 128
)

// Probe is the check "disk" of the runtime's image file system: space and inodes
// left for root, and whether it is writable. The latter is read from the superblock
// options in mountinfo: statfs reports the mount of its path, and the probes' own is
// read-only.
func Probe(d FileSystem) report.Check {
	check := report.Check{ID: report.IDDisk, Kind: report.KindDisk, Target: d.Name}
	start := time.Now()
	use, err := disk.Usage(cmp.Or(d.Path, d.Name))
	if err == nil {
		err = tryRead(cmp.Or(d.Path, d.Name))
	}
	check.Duration = report.Millis(time.Since(start))
	if err != nil {
		check.Evidence = evidence.Facts{report.KeyError: evidence.Errno(err)}.Checked()
		if errors.Is(err, syscall.EIO) {
			check.Outcome, check.Cause = report.Fail, report.DiskIOError
			check.Summary = d.Name + ": the disk returns I/O errors"
			return check
		}
		check.Outcome = report.Error
		check.Summary = "cannot check " + d.Name + " (" + evidence.Errno(err) + ")"
		return check
	}

	mount, known := mountOf(d.MountInfo, d.Name)
	free := use.Total - use.Used // for root; use.Free is for other users
	e := evidence.Facts{
		report.KeyFree: strconv.FormatUint(free, 10), report.KeyTotal: strconv.FormatUint(use.Total, 10),
		report.KeyAvailable: strconv.FormatUint(use.Free, 10),
		report.KeyInodes:    "unlimited",
		report.KeyFstype:    mount.fstype, report.KeyMount: mount.point, report.KeyReadOnly: "unknown",
	}
	if use.InodesTotal > 0 {
		e[report.KeyInodes] = strconv.FormatUint(use.InodesTotal, 10)
		e[report.KeyInodesFree] = strconv.FormatUint(use.InodesFree, 10)
	}
	pressure := evictionFacts(d.Eviction, use, e)
	if known {
		e[report.KeyReadOnly] = strconv.FormatBool(mount.readOnly())
	}
	check.Evidence = e.Checked()
	fail := func(c report.Cause, summary string) {
		check.Outcome, check.Cause, check.Summary = report.Fail, c, summary
	}
	of := fmt.Sprintf("%s of %s free", readable.Bytes(free), readable.Bytes(use.Total))
	switch {
	case known && mount.has("shutdown"):
		fail(report.DiskIOError, fmt.Sprintf("the file system of %s has shut down after errors (%s at %s)", d.Name, mount.fstype, mount.point))
	case known && mount.readOnly():
		fail(report.DiskReadOnly, fmt.Sprintf("%s is on a read-only file system (%s at %s)", d.Name, mount.fstype, mount.point))
	case use.Total > 0 && free < min(floorBytes, use.Total/20):
		fail(report.DiskFull, d.Name+" is full: "+of)
	case use.Total > 0 && free < d.Need:
		// A rule of thumb: parts of the image may exist already.
		check.Evidence = evidence.With(check.Evidence, report.KeyNeed, strconv.FormatUint(d.Need, 10))
		check.Evidence[report.KeyEstimated] = report.True
		fail(report.DiskFull, fmt.Sprintf("%s may be too full: %s, the image needs about %s", d.Name, of, readable.Bytes(d.Need)))
	case use.InodesTotal > 0 && use.InodesFree < min(floorInodes, use.InodesTotal/20):
		fail(report.InodesExhausted, fmt.Sprintf("%s has no inodes left: %d of %d free", d.Name, use.InodesFree, use.InodesTotal))
	default:
		check.Outcome = report.Pass
		// As df shows it.
		check.Summary = fmt.Sprintf("%s: %s of %s available", d.Name, readable.Bytes(use.Free), readable.Bytes(use.Total))
		if pressure != "" {
			check.Summary += "; " + pressure
		}
	}
	return check
}

type mount struct {
	point  string
	fstype string
	source string
	super  string // options of the superblock
}

// readOnly reports whether the file system is read-only, also ext4 that stopped
// writing after an error: since Linux 6.14 its options are rw and emergency_ro.
func (m mount) readOnly() bool { return m.has("ro") || m.has("emergency_ro") }

func (m mount) has(option string) bool {
	return slices.Contains(strings.Split(m.super, ","), option)
}

// tryRead reads a directory: statfs answers from memory when the disk is gone. It
// returns an error only if that is an I/O error.
func tryRead(dir string) error {
	f, err := os.Open(dir)
	if err == nil {
		_, err = f.Readdirnames(1)
		_ = f.Close() // opened for reading
	}
	if errors.Is(err, syscall.EIO) {
		return err
	}
	return nil
}

// mountOf returns the mount of name by the text of a mountinfo file
// (proc_pid_mountinfo(5)): the one with the longest path, and of those the last,
// which covers the others.
func mountOf(text, name string) (mount, bool) {
	var best mount
	found := false
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(r) < 2 {
			continue
		}
		m := mount{point: unescape(l[4]), fstype: r[0], source: r[1]}
		if len(r) > 2 {
			m.super = r[2]
		}
		if under(name, m.point) && len(m.point) >= len(best.point) {
			best, found = m, true
		}
	}
	return best, found
}

func under(name, dir string) bool {
	name, dir = path.Clean(name), path.Clean(dir)
	return dir == "/" || name == dir || strings.HasPrefix(name, dir+"/")
}

// unescape undoes the octal escapes of mountinfo, such as \040 for a blank.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
