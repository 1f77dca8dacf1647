package disk

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

const someMounts = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 22 8:2 / /var/lib ro,relatime shared:2 - xfs /dev/sdb1 rw,attr2
31 30 8:3 / /var/lib/containerd rw,relatime - ext4 /dev/sdc1 ro,data=ordered
32 22 8:4 / /mnt/with\040blank rw - ext4 /dev/sdd1 ro
33 22 8:5 / /over rw - ext4 /dev/sde1 ro
34 22 8:6 / /over rw - tmpfs tmpfs rw
garbage - line
35 22 8:7 / /short rw - ext4
`

func TestMountOf(t *testing.T) {
	tests := []struct {
		name, point string
		readOnly    bool
	}{
		{"/srv", "/", false},
		{"/var/lib/kubelet", "/var/lib", false}, // mounted read-only, the file system is not
		{"/var/lib/containerd", "/var/lib/containerd", true},
		{"/var/lib/containerd/x", "/var/lib/containerd", true},
		{"/var/lib/containerd-other", "/var/lib", false},
		{"/mnt/with blank/x", "/mnt/with blank", true},
		{"/over/x", "/over", false},
	}
	for _, tt := range tests {
		m, ok := mountOf(someMounts, tt.name)
		if !ok || m.point != tt.point || m.readOnly() != tt.readOnly {
			t.Errorf("%s: %+v %v, want %s read-only=%v", tt.name, m, ok, tt.point, tt.readOnly)
		}
	}
	if _, ok := mountOf("", "/srv"); ok {
		t.Error("found a mount in nothing")
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	here := map[string]report.Check{}
	look := func(d FileSystem) map[string]report.Check { here["disk"] = Probe(d); return here }
	probetest.Want(t, look(FileSystem{Name: dir}), "disk", report.Pass, "", "readOnly=unknown", "free", "total")
	probetest.Want(t, look(FileSystem{Name: dir, MountInfo: "1 1 8:1 / / rw - ext4 /dev/sda rw\n"}), "disk", report.Pass, "", "readOnly=false", "fstype=ext4")
	probetest.Want(t, look(FileSystem{Name: dir, MountInfo: "1 1 8:1 / / rw - ext4 /dev/sda ro\n"}), "disk", report.Fail, report.DiskReadOnly)
	probetest.Want(t, look(FileSystem{Name: dir, MountInfo: "1 1 8:1 / / rw - ext4 /dev/sda rw,errors=remount-ro,emergency_ro\n"}), "disk", report.Fail, report.DiskReadOnly)
	probetest.Want(t, look(FileSystem{Name: dir, MountInfo: "1 1 8:1 / / rw - ext4 /dev/sda rw,shutdown\n"}), "disk", report.Fail, report.DiskIOError)
	probetest.Want(t, look(FileSystem{Name: dir, Need: math.MaxUint64}), "disk", report.Fail, report.DiskFull, "need")
	probetest.Want(t, look(FileSystem{Name: "/var/lib/containerd", Path: filepath.Join(dir, "nothing")}), "disk", report.Error, "", "error=ENOENT")
}

// A small tmpfs is a disk that a test may fill.
func TestDiskFilled(t *testing.T) {
	mount := func(t *testing.T, options string) string {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
			t.Skipf("cannot mount a tmpfs here: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
		return dir
	}
	t.Run("bytes", func(t *testing.T) {
		dir := mount(t, "size=1m")
		if c := Probe(FileSystem{Name: dir}); c.Outcome != report.Pass {
			t.Errorf("empty: %+v", c)
		}
		f, err := os.Create(filepath.Join(dir, "all"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		probetest.Want(t, map[string]report.Check{"disk": Probe(FileSystem{Name: dir})}, "disk", report.Fail, report.DiskFull)
	})
	t.Run("inodes", func(t *testing.T) {
		dir := mount(t, "size=8m,nr_inodes=64")
		for i := range 62 {
			if err := os.WriteFile(filepath.Join(dir, string(rune('A'+i))), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		probetest.Want(t, map[string]report.Check{"disk": Probe(FileSystem{Name: dir})}, "disk", report.Fail, report.InodesExhausted)
	})
	t.Run("no limit of inodes", func(t *testing.T) {
		dir := mount(t, "size=8m,nr_inodes=0")
		probetest.Want(t, map[string]report.Check{"disk": Probe(FileSystem{Name: dir})}, "disk", report.Pass, "", "inodes=unlimited")
	})
}

func FuzzMountOf(f *testing.F) {
	f.Add(someMounts, "/var/lib/containerd")
	f.Fuzz(func(t *testing.T, text, name string) {
		if m, ok := mountOf(text, name); ok && !under(name, m.point) {
			t.Errorf("%q is not under %q", name, m.point)
		}
	})
}

func TestEviction(t *testing.T) {
	all := func(percent float64) []host.Threshold {
		return []host.Threshold{{Signal: "imagefs.available", Percent: percent}}
	}
	dir := t.TempDir()
	for _, tt := range []struct {
		name  string
		v     *host.Eviction
		below string
		words bool
	}{
		{"no kubelet", nil, "", false},
		{"far away", &host.Eviction{Bytes: []host.Threshold{{Signal: "imagefs.available", Amount: 1}}, From: "default", GCHigh: 85}, "false", false},
		{"below", &host.Eviction{Bytes: append(all(0.0001), host.Threshold{Signal: "nodefs.available", Percent: 99.9999}), Inodes: all(1), From: "/k.yaml", GCHigh: 100}, "true", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Probe(FileSystem{Name: dir, Eviction: tt.v})
			if c.Outcome == report.Fail {
				t.Skip("this machine's disk is full")
			}
			if c.Evidence["belowEviction"] != tt.below || (tt.v != nil) != (c.Evidence["evictionFrom"] != "") || strings.Contains(c.Summary, "nodefs.available") != tt.words {
				t.Errorf("%s %v", c.Summary, c.Evidence)
			}
		})
	}
}
