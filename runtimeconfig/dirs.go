package runtimeconfig

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// defaultRegistryPath is config_path in containerd 2.2 and later if neither it nor
// registry.mirrors is set (plugins/cri/images/plugin.go).
const defaultRegistryPath = "/etc/containerd/certs.d:/etc/docker/certs.d"

// RegistryDirs is where the runtime reads hosts.toml files.
type RegistryDirs struct {
	Path    string   // config_path
	Dirs    []string // directories that are searched, in this order
	Passed  []string // common directories that are not searched
	Why     string   // why they are not
	Stale   bool     // they will be after a restart: config.toml is newer than the process
	Mirrors bool     // registry.mirrors of config.toml counts, and no directory at all
}

// RegistryDirs returns the directories that a containerd of this version
// ("v2.4.2") searches with this configuration. Running is the config_path that the
// process reports; it overrides the files. It is nil if unknown.
func (c *Config) RegistryDirs(version string, running *string) RegistryDirs {
	major, minor := parseVersion(version)
	since := func(a, b int) bool { return major > a || major == a && minor >= b }
	d := RegistryDirs{Path: c.RegistryPath}
	if running != nil {
		d.Path = *running
	} else if d.Path == "" && len(c.Mirrors) == 0 && (major == 0 || since(2, 2)) {
		d.Path = defaultRegistryPath
	}
	list := filepath.SplitList(d.Path)
	switch {
	case d.Path == "":
		d.Passed, d.Why = filepath.SplitList(defaultRegistryPath), "config_path is not set, and this containerd has no default for it"
		if d.Mirrors = len(c.Mirrors) > 0; d.Mirrors {
			d.Why = "registry.mirrors in " + report.Clean(c.Main, 80) + " replaces config_path"
		}
	case len(list) > 1 && since(2, 1) && !since(2, 5) && !c.pullsLocally():
		// The transfer service reads the list as the name of one directory:
		// containerd issues 12415 (2.1) and 12636 (2.2); still so in 2.4.2.
		d.Dirs, d.Passed = []string{d.Path}, list
		d.Why = `config_path is "` + report.Clean(d.Path, 100) + `", which this containerd reads as one directory`
	default:
		d.Dirs = list
	}
	if running != nil && c.RegistryPath != "" && c.RegistryPath != *running {
		d.Passed, d.Stale = filepath.SplitList(c.RegistryPath), true
		d.Why = fmt.Sprintf(`config_path is "%s" in %s, but the runtime was started with "%s"`,
			report.Clean(c.RegistryPath, 80), report.Clean(c.Main, 80), report.Clean(*running, 80))
	}
	return d
}

// pullsLocally reports whether a containerd that has the transfer service
// pulls without it.
func (c *Config) pullsLocally() bool {
	for _, local := range c.local {
		if local {
			return true
		}
	}
	return len(c.Mirrors) > 0 || len(c.TLS) > 0 || len(c.Auths) > 0
}

// HonoursTLS reports whether a containerd of this version still reads
// registry.configs."host".tls, which 2.0 has removed.
func HonoursTLS(version string) bool {
	major, _ := parseVersion(version)
	return major == 1
}

// parseVersion reads "v1.7.22" or "2.4.2-k3s1"; zeros mean unknown.
func parseVersion(s string) (major, minor int) {
	a, rest, _ := strings.Cut(strings.TrimPrefix(s, "v"), ".")
	b, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(a)
	if err != nil {
		return 0, 0
	}
	if minor, err = strconv.Atoi(b); err != nil {
		return 0, 0
	}
	return major, minor
}
