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
	"slices"
	"strconv"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/pullprobe/pullprobe/report/readable"
)

var (
	// ErrNoKubelet: no visible process is the kubelet that the runtime serves.
	ErrNoKubelet = errors.New("no kubelet runs here with the mounts of the runtime")

	// ErrKubeletClosed: a process has the kubelet's name, and this process may not
	// check whether it is the kubelet.
	ErrKubeletClosed = errors.New("cannot check whether a process here is the kubelet: not permitted (needs SYS_PTRACE)")
)

// Threshold is the least that must be free: an amount, or a share of the
// capacity.
type Threshold struct {
	Signal  string  // for example "imagefs.available"
	Percent float64 // of the capacity; 0 if Amount is given
	Amount  uint64  // bytes or inodes
}

// Eviction is when the kubelet acts because the image file system fills up.
type Eviction struct {
	Bytes  []Threshold // hard thresholds of space
	Inodes []Threshold // hard thresholds of inodes
	GCHigh int         // usage in percent from which it removes unused images; 100: never
	From   string      // the files and flags that the thresholds come from, or "default"
}

// FindKubelet finds the kubelet that the runtime serves: it shares the mount
// namespace of the runtime's process. A process that only has its name may be any
// program in a container.
func FindKubelet(runtime *Process) (*Process, error) {
	return findProcess(runtime, isKubelet)
}

// findProcess finds the process with the mounts of another one and a name that is meant.
func findProcess(with *Process, meant func(comm string) bool) (*Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	none := ErrNoKubelet
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !meant((&Process{PID: pid}).comm()) {
			continue
		}
		p, err := ProcessOf(pid)
		if err != nil {
			continue
		}
		if p.SharesMounts(with) {
			return p, nil
		}
		if _, err := p.mounts(); errors.Is(err, fs.ErrPermission) {
			none = ErrKubeletClosed
		}
	}
	return nil, none
}

// evictionDefaults are the kubelet's on Linux
// (pkg/kubelet/eviction/defaults_linux.go).
var evictionDefaults = map[string]string{
	"nodefs.available":   "10%",
	"nodefs.inodesFree":  "5%",
	"imagefs.available":  "15%",
	"imagefs.inodesFree": "5%",
}

// gcHighDefault is the default of imageGCHighThresholdPercent
// (pkg/kubelet/apis/config/v1beta1/defaults.go).
const gcHighDefault = 85

// Eviction reads the thresholds of the kubelet process p for the file system that
// holds imageFS: from its configuration file, its drop-ins and its flags, in this
// order (cmd/kubelet/app/server.go). Files are read under its own root directory.
// They may have changed since it read them.
func (p *Process) Eviction(imageFS string) (Eviction, error) {
	root, err := p.Root()
	if err != nil {
		return Eviction{}, err
	}
	defer root.Close()
	args, dir, err := p.KubeletArgs(root)
	if err != nil {
		return Eviction{}, err
	}
	flags := parseEvictionFlags(args, dir)
	e, files, err := readEviction(root, flags)
	if err != nil {
		return Eviction{}, err
	}
	if since, err := p.Since(); err == nil {
		files = slices.DeleteFunc(files, func(file string) bool { return isK3s(p.comm()) && path.Base(file) == k3sDefaults })
		if c := ChangesSince(root, since, files); len(c.Files) > 0 {
			e.From += ", changed since the kubelet started"
		}
	}
	return e.only(sameFS(root, imageFS, cmp.Or(flags.rootDir, "/var/lib/kubelet"))), nil
}

// evictionFlags are the kubelet's flags that decide about eviction. Paths are
// absolute.
type evictionFlags struct {
	config, configDir, rootDir string
	hard                       map[string]string // nil: not given
	gcHigh                     string
}

// parseEvictionFlags reads them from a command line. Relative paths start at cwd.
func parseEvictionFlags(args []string, cwd string) evictionFlags {
	flags := ParseFlags(args, "config", "config-dir", "root-dir", "eviction-hard", "image-gc-high-threshold")
	abs := func(flag string) string {
		name, _ := flags.Last(flag)
		if name != "" && !path.IsAbs(name) {
			return path.Join(cwd, name)
		}
		return name
	}
	f := evictionFlags{config: abs("config"), configDir: abs("config-dir"), rootDir: abs("root-dir")}
	f.gcHigh, _ = flags.Last("image-gc-high-threshold")
	// All values of this flag count (component-base cli/flag.LangleSeparatedMapStringString).
	for _, value := range flags["eviction-hard"] {
		if f.hard == nil {
			f.hard = map[string]string{}
		}
		for pair := range strings.SplitSeq(value, ",") {
			if signal, value, ok := strings.Cut(pair, "<"); ok {
				f.hard[strings.TrimSpace(signal)] = strings.TrimSpace(value)
			}
		}
	}
	return f
}

// readEviction returns the thresholds by the files and the flags, and the files
// that were read.
func readEviction(root Files, flags evictionFlags) (e Eviction, files []string, err error) {
	config, files, from, err := readKubeletConfig(root, flags.config, flags.configDir)
	if err != nil {
		return Eviction{}, nil, err
	}
	hard := config.hardThresholds()
	if flags.hard != nil {
		hard, from = flags.hard, append(from, "--eviction-hard")
	}
	e.GCHigh = gcHighDefault
	if config.GCHigh != nil {
		e.GCHigh = *config.GCHigh
	}
	if n, err := strconv.Atoi(flags.gcHigh); err == nil {
		e.GCHigh = n
	}
	e.Bytes = thresholds(hard, "imagefs.available", "nodefs.available")
	e.Inodes = thresholds(hard, "imagefs.inodesFree", "nodefs.inodesFree")
	e.From = cmp.Or(readable.Clean(strings.Join(from, ", "), 200), "default")
	return e, files, nil
}

// thresholds returns those of some signals, in their order.
func thresholds(hard map[string]string, signals ...string) (out []Threshold) {
	for _, signal := range signals {
		if t, ok := parseThreshold(signal, hard[signal]); ok {
			out = append(out, t)
		}
	}
	return out
}

// kubeletConfig is the part of a KubeletConfiguration that is read here
// (k8s.io/kubelet/config/v1beta1).
type kubeletConfig struct {
	FeatureGates map[string]bool    `json:"featureGates"`
	EvictionHard map[string]*string `json:"evictionHard"`
	GCHigh       *int               `json:"imageGCHighThresholdPercent"`
	MergeDefault *bool              `json:"mergeDefaultEvictionSettings"`
	Endpoint     string             `json:"containerRuntimeEndpoint"`
}

// readKubeletConfig merges a configuration file and the drop-ins of a directory;
// either name may be empty. From is where evictionHard comes from.
func readKubeletConfig(root Files, file, dir string) (config kubeletConfig, files, from []string, err error) {
	add := func(name string) error {
		text, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		if err := config.add(text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, name)
		return nil
	}
	if file != "" {
		if err := add(file); err != nil {
			return kubeletConfig{}, nil, nil, err
		}
		if config.EvictionHard != nil {
			from = append(from, file)
		}
	}
	if dir == "" {
		return config, files, from, nil
	}
	entries, err := root.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return kubeletConfig{}, nil, nil, err
	}
	for _, entry := range entries {
		if path.Ext(entry.Name()) != ".conf" || len(files) >= maxFiles {
			continue
		}
		if err := add(path.Join(dir, entry.Name())); err != nil {
			return kubeletConfig{}, nil, nil, err
		}
		if config.EvictionHard != nil && len(from) == 0 {
			from = append(from, dir)
		}
	}
	return config, files, from, nil
}

// hardThresholds returns evictionHard, with the defaults where they apply.
func (c *kubeletConfig) hardThresholds() map[string]string {
	hard := map[string]string{}
	if c.EvictionHard == nil || c.MergeDefault != nil && *c.MergeDefault {
		maps.Copy(hard, evictionDefaults)
	}
	for signal, value := range c.EvictionHard {
		if value != nil {
			hard[signal] = *value
		}
	}
	return hard
}

// add merges one file into c as JSON merge patch does: single thresholds
// override, null removes.
func (c *kubeletConfig) add(text []byte) error {
	doc, err := yaml.YAMLToJSON(text)
	if err != nil {
		return errors.New("not valid YAML") // the error quotes the file
	}
	var file kubeletConfig
	if err := json.Unmarshal(doc, &file); err != nil {
		return errors.New("not a KubeletConfiguration")
	}
	if file.EvictionHard != nil && c.EvictionHard == nil {
		c.EvictionHard = map[string]*string{}
	}
	maps.Copy(c.EvictionHard, file.EvictionHard)
	if file.FeatureGates != nil && c.FeatureGates == nil {
		c.FeatureGates = map[string]bool{}
	}
	maps.Copy(c.FeatureGates, file.FeatureGates)
	c.Endpoint = cmp.Or(file.Endpoint, c.Endpoint)
	if file.GCHigh != nil {
		c.GCHigh = file.GCHigh
	}
	if file.MergeDefault != nil {
		c.MergeDefault = file.MergeDefault
	}
	return nil
}

// parseThreshold reads "15%" or "5Gi". 0, 0 % and 100 % are no threshold, as in
// the kubelet (pkg/kubelet/eviction/helpers.go, parseThresholdStatement).
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

// only removes the thresholds of the node's own file system if the images are on
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
