package runtimeconfig

import (
	"fmt"
	"path/filepath"

	"github.com/pullprobe/pullprobe/report/readable"
)

// defaultRegistryPath is config_path in containerd 2.2 and later if neither it nor
// registry.mirrors is set (plugins/cri/images/plugin.go).
const defaultRegistryPath = "/etc/containerd/certs.d:/etc/docker/certs.d"

// Registries returns where the runtime reads mirrors and authorities with this
// configuration. Running is the config_path that the process reports; it overrides the
// files. It is nil if unknown.
func (c *Config) Registries(running *string) RegistryConfig {
	current := c.RegistryPath
	if running != nil {
		current = *running
	} else if current == "" && len(c.Mirrors) == 0 && AtLeast(c.Version, "2.2.0") {
		current = defaultRegistryPath
	}
	// containerd 2.0 to 2.3 report no config_path: what such a process was started with is not
	// known once a file has changed.
	assumed := c.Version == "" || running == nil && c.Newer
	out := RegistryConfig{Version: c.Version, Assumed: assumed, ByClient: c.pullsLocally()}
	list := filepath.SplitList(current)
	switch {
	case current == "" && len(c.Mirrors) > 0:
		out.Passed, out.Why = filepath.SplitList(defaultRegistryPath), "registry.mirrors in "+readable.Clean(c.Main, 80)+" replaces config_path"
		out.Mirrors = c.Mirrors
		if !AtLeast(c.Version, "2.0.0") { // 2.0 removed registry.configs."host".tls
			out.TLS = c.TLS
		}
	case current == "":
		out.Passed, out.Why = filepath.SplitList(defaultRegistryPath), "config_path is not set, and this containerd has no default for it"
	case len(list) > 1 && c.Version != "" && AtLeast(c.Version, "2.1.0") && Modelled(c.Version) && !c.pullsLocally():
		// The transfer service reads the list as the name of one directory:
		// containerd issues 12415 (2.1) and 12636 (2.2); still so in 2.4.2.
		out.Dirs, out.Passed = []string{current}, list
		out.Why = `config_path is "` + readable.Clean(current, 100) + `", which this containerd reads as one directory`
	default:
		out.Dirs = list
	}
	c.addPassed(&out, running)
	return out
}

// addPassed adds the directories and mirrors in the files that the process does not use.
func (c *Config) addPassed(out *RegistryConfig, running *string) {
	differs := running != nil && c.RegistryPath != "" && c.RegistryPath != *running
	switch {
	case differs && c.Newer:
		out.Passed, out.Stale = filepath.SplitList(c.RegistryPath), true
		out.Why = fmt.Sprintf(`config_path is "%s" in %s, but the runtime was started with "%s"`,
			readable.Clean(c.RegistryPath, 80), readable.Clean(c.Main, 80), readable.Clean(*running, 80))
	case differs:
		out.Passed = filepath.SplitList(c.RegistryPath)
		out.Why = fmt.Sprintf(`the runtime uses the config_path "%s", not "%s" of %s, although it started after the last change of that file`,
			readable.Clean(*running, 80), readable.Clean(c.RegistryPath, 80), readable.Clean(c.Main, 80))
	case c.Ignored != nil && (c.Ignored.RegistryPath != "" || len(c.Ignored.Mirrors) > 0):
		out.Ignored = c.Ignored
		out.Passed = filepath.SplitList(c.Ignored.RegistryPath)
		out.Why = c.Ignored.String()
	}
}

// String returns that the table is ignored, and why.
func (t *IgnoredTable) String() string {
	return "[" + t.Table + "] of " + readable.Clean(t.File, 80) + " is ignored: " + t.Reason
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
