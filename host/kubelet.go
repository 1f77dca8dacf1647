package host

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/pullprobe/pullprobe/report"
)

// ErrNoKubelet: no kubelet runs beside the runtime, as far as can be seen.
var ErrNoKubelet = errors.New("no kubelet runs here with the mounts of the runtime")

// ErrKubeletClosed: something runs that may be the kubelet, and this process may
// not look whether it is.
var ErrKubeletClosed = errors.New("whether a process here is the kubelet cannot be looked at: not permitted (SYS_PTRACE)")

// Threshold is a limit of the kubelet's: an amount, or a share of all there is.
type Threshold struct {
	Signal  string  // as "imagefs.available"
	Percent float64 // of the capacity; 0 if Amount is given
	Amount  uint64  // bytes or inodes
}

// Eviction is when the kubelet acts because the image file system fills up.
type Eviction struct {
	Bytes  []Threshold // hard limits of space
	Inodes []Threshold // hard limits of inodes
	GCHigh int         // percent in use from which it removes unused images; 100: never
	From   string      // the file or flag that says so, or "default"
}

// FindKubelet looks for the kubelet that the runtime serves: it shares the mount
// namespace of the runtime's process. What only goes by that name is anybody's
// program, in a container.
func FindKubelet(runtime *Process) (*Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	none := ErrNoKubelet
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		switch (&Process{PID: pid}).comm() {
		case "kubelet", "kubelite": // the second is microk8s'
		default:
			continue
		}
		p, err := ProcessOf(pid)
		if err != nil {
			continue
		}
		if p.SharesMounts(runtime) {
			return p, nil
		}
		if _, err := p.mounts(); errors.Is(err, fs.ErrPermission) {
			none = ErrKubeletClosed
		}
	}
	return nil, none
}

// kubeletConfig is what matters of a KubeletConfiguration
// (k8s.io/kubelet/config/v1beta1).
type kubeletConfig struct {
	EvictionHard map[string]*string `json:"evictionHard"`
	GCHigh       *int               `json:"imageGCHighThresholdPercent"`
	MergeDefault *bool              `json:"mergeDefaultEvictionSettings"`
}

// evictionDefaults are the kubelet's on Linux
// (pkg/kubelet/eviction/defaults_linux.go).
var evictionDefaults = map[string]string{
	"nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%",
}

// gcHighDefault is imageGCHighThresholdPercent where nothing is said
// (pkg/kubelet/apis/config/v1beta1/defaults.go).
const gcHighDefault = 85

// Eviction reads the limits that the kubelet process p works with for the file
// system that holds imageFS: from its configuration file, its drop-ins and its
// flags, in this order (cmd/kubelet/app/server.go). Files are read under its
// own root directory; they may have changed since it read them.
func (p *Process) Eviction(imageFS string) (Eviction, error) {
	args, err := p.Cmdline()
	if err != nil {
		return Eviction{}, err
	}
	root, err := p.Root()
	if err != nil {
		return Eviction{}, err
	}
	defer root.Close()
	if p.comm() == "kubelite" {
		text, err := root.ReadFile("/var/snap/microk8s/current/args/kubelet")
		if err != nil {
			return Eviction{}, err
		}
		args = append(args, unitWords(strings.Join(continued(string(text)), " "))...)
	}
	dir, err := p.Dir()
	if err != nil {
		return Eviction{}, err
	}
	flags := kubeletFlags(args, dir)
	e, files, err := readEviction(root, flags)
	if err != nil {
		return Eviction{}, err
	}
	if since, err := p.Since(); err == nil {
		if c := ChangesSince(root, since, files); len(c.Files) > 0 {
			e.From += ", changed since the kubelet started"
		}
	}
	return e.only(sameFS(root, imageFS, cmp.Or(flags["root-dir"], "/var/lib/kubelet"))), nil
}

// kubeletFlags reads the flags of a command line that matter here, by name
// without dashes; paths are made absolute.
func kubeletFlags(args []string, cwd string) map[string]string {
	flags := map[string]string{}
	for i, a := range args {
		if !strings.HasPrefix(a, "--") {
			continue
		}
		name, value, inline := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if name = strings.ReplaceAll(name, "_", "-"); !inline && i+1 < len(args) {
			value = args[i+1]
		}
		switch name {
		case "config", "config-dir", "root-dir":
			if value != "" && !path.IsAbs(value) {
				value = path.Join(cwd, value)
			}
			flags[name] = value
		case "eviction-hard", "image-gc-high-threshold":
			flags[name] = value
		}
	}
	return flags
}

func readEviction(root Files, flags map[string]string) (e Eviction, files []string, err error) {
	merged := kubeletConfig{}
	from := []string{}
	take := func(name string) error {
		text, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		if err := merged.add(text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, name)
		return nil
	}
	if name := flags["config"]; name != "" {
		if err := take(name); err != nil {
			return Eviction{}, nil, err
		}
		if merged.says() {
			from = append(from, name)
		}
	}
	if dir := flags["config-dir"]; dir != "" {
		entries, err := root.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Eviction{}, nil, err
		}
		for _, entry := range entries {
			if path.Ext(entry.Name()) != ".conf" || len(files) >= maxFiles {
				continue
			}
			if err := take(path.Join(dir, entry.Name())); err != nil {
				return Eviction{}, nil, err
			}
			if merged.says() && len(from) == 0 {
				from = append(from, dir)
			}
		}
	}
	hard := map[string]string{}
	if merged.EvictionHard == nil || merged.MergeDefault != nil && *merged.MergeDefault {
		for signal, value := range evictionDefaults {
			hard[signal] = value
		}
	}
	for signal, value := range merged.EvictionHard {
		if value != nil {
			hard[signal] = *value
		}
	}
	if flag, ok := flags["eviction-hard"]; ok {
		from = append(from, "--eviction-hard")
		hard = map[string]string{}
		for pair := range strings.SplitSeq(flag, ",") {
			if signal, value, ok := strings.Cut(pair, "<"); ok {
				hard[strings.TrimSpace(signal)] = strings.TrimSpace(value)
			}
		}
	}
	e.GCHigh = gcHighDefault
	if merged.GCHigh != nil {
		e.GCHigh = *merged.GCHigh
	}
	if n, err := strconv.Atoi(flags["image-gc-high-threshold"]); err == nil {
		e.GCHigh = n
	}
	for _, signal := range []string{"imagefs.available", "nodefs.available"} {
		if t, ok := parseThreshold(signal, hard[signal]); ok {
			e.Bytes = append(e.Bytes, t)
		}
	}
	for _, signal := range []string{"imagefs.inodesFree", "nodefs.inodesFree"} {
		if t, ok := parseThreshold(signal, hard[signal]); ok {
			e.Inodes = append(e.Inodes, t)
		}
	}
	e.From = cmp.Or(report.Clean(strings.Join(from, ", "), 200), "default")
	return e, files, nil
}

// add merges one file into c as JSON merge patch does: single thresholds
// override, null removes.
func (c *kubeletConfig) add(text []byte) error {
	doc, err := yaml.YAMLToJSON(text)
	if err != nil {
		return errors.New("is no YAML") // the error quotes the file
	}
	var file kubeletConfig
	if err := json.Unmarshal(doc, &file); err != nil {
		return errors.New("is no KubeletConfiguration")
	}
	if file.EvictionHard != nil && c.EvictionHard == nil {
		c.EvictionHard = map[string]*string{}
	}
	maps.Copy(c.EvictionHard, file.EvictionHard)
	if file.GCHigh != nil {
		c.GCHigh = file.GCHigh
	}
	if file.MergeDefault != nil {
		c.MergeDefault = file.MergeDefault
	}
	return nil
}

func (c *kubeletConfig) says() bool { return c.EvictionHard != nil }

// parseThreshold reads "15%" or "5Gi"; 0 and 0 % and 100 % are none, as in the
// kubelet (pkg/kubelet/eviction/helpers.go, parseThresholdStatement).
func parseThreshold(signal, value string) (Threshold, bool) {
	t := Threshold{Signal: signal}
	if share, ok := strings.CutSuffix(value, "%"); ok {
		percent, err := strconv.ParseFloat(share, 32)
		t.Percent = percent
		return t, err == nil && percent > 0 && percent < 100
	}
	if len(value) > 32 {
		return t, false
	}
	q, err := resource.ParseQuantity(value)
	if err != nil || q.Sign() <= 0 {
		return t, false
	}
	t.Amount = uint64(q.Value())
	return t, t.Amount > 0
}

// only drops the limits of the node's own file system where images lie on
// another one.
func (e Eviction) only(sameFS bool) Eviction {
	if sameFS {
		return e
	}
	keep := func(all []Threshold) (out []Threshold) {
		for _, t := range all {
			if strings.HasPrefix(t.Signal, "imagefs.") {
				out = append(out, t)
			}
		}
		return out
	}
	e.Bytes, e.Inodes = keep(e.Bytes), keep(e.Inodes)
	return e
}

// sameFS reports whether two directories are on one file system.
func sameFS(root *Root, a, b string) bool {
	device := func(name string) (uint64, bool) {
		info, err := root.Stat(name)
		if err != nil {
			return 0, false
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		return uint64(st.Dev), ok
	}
	x, ok := device(a)
	y, too := device(b)
	return ok && too && x == y
}
