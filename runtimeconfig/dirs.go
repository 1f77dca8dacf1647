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

// Registries returns where a containerd of this version ("v2.4.2") reads mirrors and
// authorities with this configuration. Running is the config_path that the
// process reports; it overrides the files. It is nil if unknown.
func (c *Config) Registries(version string, running *string) RegistryConfig {
	major, minor := parseVersion(version)
	since := func(a, b int) bool { return major > a || major == a && minor >= b }
	current := c.RegistryPath
	if running != nil {
		current = *running
	} else if current == "" && len(c.Mirrors) == 0 && (major == 0 || since(2, 2)) {
		current = defaultRegistryPath
	}
	out := RegistryConfig{ByClient: c.pullsLocally()}
	list := filepath.SplitList(current)
	switch {
	case current == "" && len(c.Mirrors) > 0:
		out.Passed, out.Why = filepath.SplitList(defaultRegistryPath), "registry.mirrors in "+report.Clean(c.Main, 80)+" replaces config_path"
		out.Mirrors = c.Mirrors
		if major == 1 { // 2.0 removed registry.configs."host".tls
			out.TLS = c.TLS
		}
	case current == "":
		out.Passed, out.Why = filepath.SplitList(defaultRegistryPath), "config_path is not set, and this containerd has no default for it"
	case len(list) > 1 && since(2, 1) && !since(2, 5) && !c.pullsLocally():
		// The transfer service reads the list as the name of one directory:
		// containerd issues 12415 (2.1) and 12636 (2.2); still so in 2.4.2.
		out.Dirs, out.Passed = []string{current}, list
		out.Why = `config_path is "` + report.Clean(current, 100) + `", which this containerd reads as one directory`
	default:
		out.Dirs = list
	}
	if running != nil && c.RegistryPath != "" && c.RegistryPath != *running {
		out.Passed, out.Stale = filepath.SplitList(c.RegistryPath), true
		out.Why = fmt.Sprintf(`config_path is "%s" in %s, but the runtime was started with "%s"`,
			report.Clean(c.RegistryPath, 80), report.Clean(c.Main, 80), report.Clean(*running, 80))
	}
	return out
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
