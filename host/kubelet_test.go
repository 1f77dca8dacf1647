package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

func TestReadEviction(t *testing.T) {
	show := func(all []Threshold) string {
		var out []string
		for _, t := range all {
			if t.Percent > 0 {
				out = append(out, fmt.Sprintf("%s<%g%%", t.Signal, t.Percent))
			} else {
				out = append(out, fmt.Sprintf("%s<%d", t.Signal, t.Amount))
			}
		}
		return strings.Join(out, " ")
	}
	const defaults, inodes = "imagefs.available<15% nodefs.available<10%", "imagefs.inodesFree<5% nodefs.inodesFree<5%"
	for _, tt := range []struct {
		name          string
		files         map[string]string
		args          string
		bytes, inodes string
		gc            int
		from          string
	}{
		{
			name:   "nothing said",
			args:   "kubelet",
			bytes:  defaults,
			inodes: inodes,
			gc:     85,
			from:   "default",
		},
		{
			name:   "a file that says nothing of it",
			files:  map[string]string{"/k.yaml": "kind: KubeletConfiguration\nfailSwapOn: false\n"},
			args:   "kubelet --config=/k.yaml",
			bytes:  defaults,
			inodes: inodes,
			gc:     85,
			from:   "default",
		},
		{
			name: "a file replaces the defaults",
			files: map[string]string{
				"/k.yaml": "evictionHard:\n  imagefs.available: 5Gi\n  memory.available: 1Mi\nimageGCHighThresholdPercent: 70\n",
			},
			args:  "kubelet --config /k.yaml",
			bytes: "imagefs.available<5368709120",
			gc:    70,
			from:  "/k.yaml",
		},
		{
			name:  "JSON",
			files: map[string]string{"/k": `{"evictionHard":{"nodefs.available":"1%"}}`},
			args:  "kubelet --config /k",
			bytes: "nodefs.available<1%",
			gc:    85,
			from:  "/k",
		},
		{
			name:   "merged with the defaults",
			files:  map[string]string{"/k": "mergeDefaultEvictionSettings: true\nevictionHard: {imagefs.available: 20%}"},
			args:   "kubelet --config /k",
			bytes:  "imagefs.available<20% nodefs.available<10%",
			inodes: inodes,
			gc:     85,
			from:   "/k",
		},
		{
			name: "drop-ins in order, null removes",
			files: map[string]string{
				"/k":         "evictionHard: {imagefs.available: 20%, nodefs.available: 3%}",
				"/d/10.conf": "evictionHard: {imagefs.available: 30%, imagefs.inodesFree: 1k}",
				"/d/20.conf": "evictionHard: {nodefs.available: null}",
				"/d/30.yaml": "evictionHard: {imagefs.available: 99%}",
			},
			args:   "kubelet --config /k --config-dir /d",
			bytes:  "imagefs.available<30%",
			inodes: "imagefs.inodesFree<1000",
			gc:     85,
			from:   "/k",
		},
		{
			name:   "flags win",
			files:  map[string]string{"/k": "evictionHard: {imagefs.available: 20%}\nimageGCHighThresholdPercent: 70"},
			args:   "kubelet --config /k --eviction_hard=imagefs.available<7%,nodefs.inodesFree<2% --image-gc-high-threshold 90",
			bytes:  "imagefs.available<7%",
			inodes: "nodefs.inodesFree<2%",
			gc:     90,
			from:   "/k, --eviction-hard",
		},
		{
			name: "switched off",
			files: map[string]string{
				"/k": "evictionHard: {imagefs.available: 0%, nodefs.available: 0%, nodefs.inodesFree: '-1', imagefs.inodesFree: x}",
			},
			args: "kubelet --config /k",
			gc:   85,
			from: "/k",
		},
		{
			name:  "set to nothing",
			files: map[string]string{"/k": "evictionHard: {}"},
			args:  "kubelet --config /k",
			gc:    85,
			from:  "/k",
		},
		{
			name:  "flag given twice",
			args:  "kubelet --eviction-hard=imagefs.available<7% --eviction-hard imagefs.available<8%,nodefs.available<9%",
			bytes: "imagefs.available<8% nodefs.available<9%",
			gc:    85,
			from:  "--eviction-hard",
		},
		{
			name:   "no drop-ins",
			args:   "kubelet --config-dir=/absent",
			bytes:  defaults,
			inodes: inodes,
			gc:     85,
			from:   "default",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, _, err := readEviction(rootOf(t, tt.files), parseEvictionFlags(strings.Fields(tt.args), "/"))
			if err != nil || show(e.Bytes) != tt.bytes || show(e.Inodes) != tt.inodes || e.GCHigh != tt.gc || e.From != tt.from {
				t.Errorf("got %q %q %d from %q: %v", show(e.Bytes), show(e.Inodes), e.GCHigh, e.From, err)
			}
			for _, th := range e.only(false).Bytes {
				if strings.HasPrefix(th.Signal, "nodefs") {
					t.Errorf("images lie elsewhere: %v", th)
				}
			}
		})
	}
	for _, text := range []string{"\tx", "evictionHard: 7", "[]"} {
		if _, _, err := readEviction(rootOf(t, map[string]string{"/k": text}), evictionFlags{config: "/k"}); err == nil && text != "[]" {
			t.Errorf("%q is accepted", text)
		}
	}
	if _, _, err := readEviction(rootOf(t, nil), evictionFlags{config: "/k"}); err == nil {
		t.Error("a missing file is no limit known")
	}
}

// The thresholds come from the files and flags of the process named kubelet.
func TestEvictionOfProcess(t *testing.T) {
	dir := t.TempDir()
	hosttest.Write(t, dir+"/k.yaml", "evictionHard: {imagefs.available: 20%, nodefs.available: 30%}\n")
	hosttest.Write(t, dir+"/kubelet", "#!/bin/sh\nread wait\n")
	if err := os.Chmod(dir+"/kubelet", 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), dir+"/kubelet", "--config=k.yaml", "--root-dir", dir)
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	p, err := ProcessOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	var e Eviction
	// A process has its new name a moment before its command line.
	hosttest.Eventually(t, func() bool {
		e, err = p.Eviction(dir)
		return errors.Is(err, fs.ErrPermission) || p.comm() == "kubelet" && err == nil && len(e.Bytes) == 2
	}, func() string { return fmt.Sprintf("%+v %v", e, err) })
	if err != nil {
		t.Skip(err)
	}
	if e.Bytes[0].Percent != 20 || !strings.HasPrefix(e.From, dir+"/k.yaml") {
		t.Errorf("%+v", e)
	}
	if e, err := p.Eviction("/proc"); err != nil || len(e.Bytes) != 1 {
		t.Errorf("images on another file system: %+v %v", e, err)
	}
	if found, err := FindKubelet(p); err != nil || found.comm() != "kubelet" {
		t.Errorf("not found: %v", err)
	}
}

// If no kubelet runs, no other process is found in its place.
func TestFindKubelet(t *testing.T) {
	own, err := ProcessOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	p, err := FindKubelet(own)
	if err == nil && !isKubelet(p.comm()) {
		t.Errorf("took %s for the kubelet", p.comm())
	}
}

func FuzzReadEviction(f *testing.F) {
	f.Add(
		"evictionHard: {imagefs.available: 20%, nodefs.available: 3Gi}\nimageGCHighThresholdPercent: 70",
		"evictionHard: {nodefs.available: null}",
		"imagefs.available<7%,a<b<c,,<",
	)
	f.Add("a: &a [*a]", "{}", "")
	f.Fuzz(func(t *testing.T, file, dropIn, flag string) {
		flags := parseEvictionFlags([]string{"kubelet", "--config=/k", "--config-dir=/d"}, "/")
		if flag != "" {
			flags = parseEvictionFlags([]string{"kubelet", "--config=/k", "--config-dir=/d", "--eviction-hard", flag}, "/")
		}
		e, _, err := readEviction(hosttest.Memory{"/k": file, "/d/1.conf": dropIn}, flags)
		if err != nil {
			return
		}
		for _, th := range append(e.Bytes, e.Inodes...) {
			if (th.Percent > 0) == (th.Amount > 0) || th.Percent < 0 || th.Percent >= 100 {
				t.Errorf("%+v", th)
			}
		}
	})
}
