package runtimeconfig

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report/readable"
)

// This file holds what each version of containerd makes of the versions and tables of
// config.toml. It follows LoadConfig (cmd/containerd/server/config/config.go, and
// services/server/config/config.go of containerd 1), the migrations of the plugins
// (plugins/cri/images/plugin.go) and the validation of their settings
// (internal/cri/config/config.go). Recordings of each version's own answers are in
// testdata.

// The tables that configure pulls: of version 3 and later, of version 2, of version 1.
const (
	imagesTable = "io.containerd.cri.v1.images"
	criTable    = "io.containerd.grpc.v1.cri"
	oldTable    = "cri"
)

// configFile is one file of containerd's configuration.
type configFile struct {
	name     string
	Version  int            `toml:"version"`
	Imports  []string       `toml:"imports"`
	Disabled []string       `toml:"disabled_plugins"`
	Plugins  map[string]any `toml:"plugins"`
}

// IgnoredTable is a table of a configuration file that has settings for registries and
// that this containerd does not read.
type IgnoredTable struct {
	File   string
	Table  string // as in the file: plugins."io.containerd.grpc.v1.cri"
	Reason string // in plain words
	Remedy string // what makes containerd read the settings, as a command to a person

	RegistryPath string              // its config_path
	Mirrors      map[string][]string // its mirrors
}

// newestConfigVersion returns the newest version of config.toml that this containerd
// starts with.
func newestConfigVersion(version string) int {
	switch {
	case !AtLeast(version, "2.0.0"):
		return 2
	case !AtLeast(version, "2.3.0"):
		return 3
	}
	return 4
}

// use sets the settings that containerd takes from the files, in their order.
func (c *Config) use(files []configFile) {
	if len(files) == 0 {
		return
	}
	var plugins map[string]any
	var disabled []string
	version := 0
	switch {
	case !AtLeast(c.Version, "2.0.0"):
		plugins, disabled, version = c.mergeBefore2(files)
	case !AtLeast(c.Version, "2.3.0"):
		plugins, disabled, version = mergeThenMigrate(files)
	default:
		plugins, disabled, version = migrateThenMerge(files)
	}
	c.checkVersion(files, disabled, plugins, version)
	images := table(plugins[imagesTable])
	if !AtLeast(c.Version, "2.0.0") {
		images = migrated(nil, table(plugins[tableBefore2(version)]))
	}
	if err := c.addImages(images); err != nil && c.Err == nil {
		c.Err = &ConfigError{File: c.Main, Err: err}
	}
	c.findIgnored(files, version)
	c.checkCRI(disabled, version)
}

// tableBefore2 returns the table that containerd 1 reads, by the version of its files.
func tableBefore2(version int) string {
	if version < 2 {
		return oldTable
	}
	return criTable
}

// mergeBefore2 merges as containerd 1: a plugin's table of a later file replaces that of
// an earlier one, and the version is the last one that a file has.
func (c *Config) mergeBefore2(files []configFile) (plugins map[string]any, disabled []string, version int) {
	plugins, version = map[string]any{}, 1
	for _, f := range files {
		maps.Copy(plugins, f.Plugins)
		disabled = append(disabled, f.Disabled...)
		if f.Version != 0 {
			version = f.Version
		}
	}
	return plugins, disabled, version
}

// mergeThenMigrate merges as containerd 2.0 to 2.2: table by table. The plugins migrate
// the result, unless its version is 3: that of the last file with one. A file of version
// 1 counts as one of the version so far, which is 3 at first.
func mergeThenMigrate(files []configFile) (plugins map[string]any, disabled []string, version int) {
	plugins, version = map[string]any{}, 3
	for _, f := range files {
		own := f.Plugins
		if f.Version < 2 {
			own = renamed(own)
		} else {
			version = f.Version
		}
		mergeTables(plugins, own)
		disabled = append(disabled, f.disabled()...)
	}
	if version < 3 {
		migrate(plugins)
	}
	return plugins, disabled, version
}

// migrateThenMerge merges as containerd 2.3 and later: each file is migrated first.
func migrateThenMerge(files []configFile) (plugins map[string]any, disabled []string, version int) {
	plugins, version = map[string]any{}, 4
	for _, f := range files {
		own := maps.Clone(f.Plugins)
		if f.Version < 2 {
			own = renamed(own)
		}
		if own != nil && f.Version < 4 {
			migrate(own)
		}
		mergeTables(plugins, own)
		disabled = append(disabled, f.disabled()...)
		version = max(version, f.Version)
	}
	return plugins, disabled, version
}

// renamed returns the tables of a version 1 file by the names of version 2.
func renamed(plugins map[string]any) map[string]any {
	out := map[string]any{}
	for name, section := range plugins {
		if name == oldTable {
			name = criTable
		}
		out[name] = section
	}
	return out
}

// disabled returns the disabled plugins by the names of version 2. Of those of version 1
// only that of the CRI plugin matters.
func (f configFile) disabled() []string {
	list := slices.Clone(f.Disabled)
	for i, name := range list {
		if f.Version < 2 && !strings.Contains(name, ".") {
			list[i] = "io.containerd.grpc.v1." + name
		}
	}
	return list
}

// migrate adds the settings of the version 2 table to that of version 3.
func migrate(plugins map[string]any) {
	if old, ok := plugins[criTable].(map[string]any); ok {
		plugins[imagesTable] = migrated(table(plugins[imagesTable]), old)
	}
}

// migrated follows migrateConfig of plugins/cri/images/plugin.go: whole keys of the old
// table replace those of the new one.
func migrated(images, old map[string]any) map[string]any {
	out := maps.Clone(images)
	if out == nil {
		out = map[string]any{}
	}
	if image, ok := old["sandbox_image"]; ok {
		pinned := maps.Clone(table(out["pinned_images"]))
		if pinned == nil {
			pinned = map[string]any{}
		}
		pinned["sandbox"] = image
		out["pinned_images"] = pinned
	}
	for _, key := range []string{"registry", "max_concurrent_downloads", "image_pull_with_sync_fs"} {
		if v, ok := old[key]; ok {
			out[key] = v
		}
	}
	if runtime := table(old["containerd"]); runtime["runtimes"] != nil {
		for _, key := range []string{"disable_snapshot_annotations", "discard_unpacked_layers"} {
			if v, ok := runtime[key]; ok {
				out[key] = v
			}
		}
	}
	return out
}

// mergeTables merges from into to, table by table.
func mergeTables(to, from map[string]any) {
	for key, value := range from {
		old, isTable := to[key].(map[string]any)
		if add, ok := value.(map[string]any); ok && isTable {
			old = maps.Clone(old)
			mergeTables(old, add)
			to[key] = old
			continue
		}
		to[key] = value
	}
}

// checkVersion sets the error that keeps containerd from starting with these files.
func (c *Config) checkVersion(files []configFile, disabled []string, plugins map[string]any, version int) {
	if c.Err != nil {
		return
	}
	fail := func(format string, args ...any) {
		c.Err = &ConfigError{File: c.Main, Err: fmt.Errorf(format, args...)}
	}
	// Before containerd 10165 a later version counted as version 2.
	if newest := newestConfigVersion(c.Version); version > newest && backported(c.Version, "1.6.32", "1.7.17") {
		fail("version = %d, and the newest that containerd %s reads is %d", version, readable.Clean(c.Version, 20), newest)
		return
	}
	if AtLeast(c.Version, "2.0.0") {
		for _, name := range disabled {
			if !strings.Contains(name, ".") {
				fail("disabled_plugins has %q, which is not the full name of a plugin", readable.Clean(name, 60))
				return
			}
		}
		return
	}
	if version < 2 {
		return
	}
	for _, name := range slices.Concat(disabled, slices.Sorted(maps.Keys(plugins))) {
		if len(strings.SplitN(name, ".", 4)) < 4 || AtLeast(c.Version, "1.7.0") && !strings.HasPrefix(name, "io.containerd.") {
			fail("%q is not the full name of a plugin, which version = 2 needs", readable.Clean(name, 60))
			return
		}
	}
}

// checkCRI sets why the CRI plugin would not load.
func (c *Config) checkCRI(disabled []string, version int) {
	refuse := func(text string) {
		if c.Refused == nil {
			c.Refused = &ConfigError{File: c.Main, Err: errors.New(text)}
		}
	}
	off := []string{criTable, imagesTable}
	if !AtLeast(c.Version, "2.0.0") {
		off = []string{tableBefore2(version)}
	}
	for _, name := range off {
		if slices.Contains(disabled, name) {
			refuse(fmt.Sprintf("disabled_plugins has %q, which is the CRI plugin", name))
		}
	}
	if c.RegistryPath == "" {
		return
	}
	if len(c.Mirrors) > 0 {
		refuse("it sets both config_path and registry.mirrors, and containerd's CRI plugin refuses that")
	}
	if len(c.TLS) > 0 && !AtLeast(c.Version, "2.0.0") {
		refuse("it sets both config_path and registry.configs.…tls, and containerd's CRI plugin refuses that")
	}
}

// findIgnored sets the first table with settings for registries that containerd does not
// read. Version is the one that counts for all files.
func (c *Config) findIgnored(files []configFile, version int) {
	for i, f := range files {
		for _, name := range []string{criTable, imagesTable, oldTable} {
			section := table(f.Plugins[name])
			if len(table(section["registry"])) == 0 {
				continue
			}
			reason, remedy := c.unread(f, name, version)
			if by := lastWith(files[i+1:], name); by != "" && !AtLeast(c.Version, "2.0.0") && reason == "" {
				reason = "containerd 1 takes the whole table from the last file that has it, " + readable.Clean(by, 80)
				remedy = "move the registry section from " + f.name + " to " + by
			}
			if reason == "" {
				continue
			}
			aside := &Config{Mirrors: map[string][]string{}, TLS: map[string]TLSFiles{}, local: map[string]bool{}}
			if aside.addImages(map[string]any{"registry": section["registry"]}) != nil {
				continue
			}
			c.Ignored = &IgnoredTable{
				File: f.name, Table: tableName(name), Reason: reason, Remedy: remedy,
				RegistryPath: aside.RegistryPath, Mirrors: aside.Mirrors,
			}
			return
		}
	}
}

// lastWith returns the last of the files that has a plugin's table; empty if none has.
func lastWith(files []configFile, name string) (file string) {
	for _, f := range files {
		if f.Plugins[name] != nil {
			file = f.name
		}
	}
	return file
}

// tableName returns a plugin's table as it is written in a file.
func tableName(id string) string {
	if id == oldTable {
		return "plugins.cri"
	}
	return `plugins."` + id + `"`
}

// unread returns why this containerd does not read a table of a file, and what changes
// that; empty if it reads it.
func (c *Config) unread(f configFile, name string, version int) (reason, remedy string) {
	who := "containerd " + readable.Clean(c.Version, 20)
	rename := func(to string) string {
		return "rename [" + tableName(name) + "] to [" + tableName(to) + "] in " + f.name
	}
	first := func(version int) string { return fmt.Sprintf("put version = %d at the top of %s", version, f.name) }
	switch {
	case !AtLeast(c.Version, "2.0.0"):
		switch {
		case name == imagesTable && version < 2:
			return who + " has no such table", rename(criTable) + " and " + first(2)
		case name == imagesTable:
			return who + " has no such table", rename(criTable)
		case name == criTable && version < 2:
			return who + " reads a file without version = 2 as version 1, in which the table has another name", first(2)
		case name == oldTable && version >= 2:
			return "version 2 has no such table", rename(criTable)
		}
	case name == oldTable && f.Version >= 2:
		return fmt.Sprintf("version %d has no such table", f.Version), rename(newTable(f.Version))
	case !AtLeast(c.Version, "2.3.0"):
		switch {
		case name == oldTable && version >= 3:
			return who + " reads a file of version 1 as version 3, in which the table has another name", rename(criTable) + " and " + first(2)
		case name == criTable && f.Version < 2 && version >= 3:
			return who + " reads a file without a version as version 3, in which the table has another name", first(2)
		case name == criTable && f.Version == 2 && version >= 3:
			return who + " takes the version of the last file that is imported, 3, for all of them", rename(imagesTable)
		case name == criTable && version >= 3:
			return "version 3 has another name for the table", rename(imagesTable)
		}
	case name == criTable && f.Version >= 4:
		return "version 4 has another name for the table", rename(imagesTable)
	}
	return "", ""
}

// newTable returns the table for registries in a file of this version.
func newTable(version int) string {
	if version == 2 {
		return criTable
	}
	return imagesTable
}
