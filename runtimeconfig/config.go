package runtimeconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/report/readable"
)

const (
	// defaultConfig is the configuration file without -c.
	defaultConfig = "/etc/containerd/config.toml"

	// maxConfigFiles limits the files that are read through imports.
	maxConfigFiles = 64
)

// Config is the part of containerd's configuration files that concerns pulls, as this
// version of containerd reads them. The process may run with other settings: it reads
// the files once, at its start.
type Config struct {
	Main  string   // the file that the process was started with
	Files []string // the files that exist and were read: Main, then its imports in containerd's order
	// Sources are other files that the configuration is generated from (k3s, RKE2, microk8s, k0s).
	Sources []string
	// Version is that of containerd; empty: unknown, the newest is assumed.
	Version string
	// Newer reports that one of the files was changed after the process started.
	Newer bool

	// RegistryPath is config_path of the registry section; HasPath reports whether
	// it is set, even to nothing. See [Config.Registries].
	RegistryPath string
	HasPath      bool
	// Mirrors and TLS are the deprecated registry.mirrors and
	// registry.configs."host".tls, by host.
	Mirrors map[string][]string
	TLS     map[string]TLSFiles
	// Auths are the hosts with credentials in registry.configs or registry.auths.
	Auths []string

	// Sandbox is the image of pod sandboxes; empty: the built-in default.
	Sandbox string

	// Ignored is a table with settings for registries that this containerd does not
	// read; nil: there is none.
	Ignored *IgnoredTable
	// Err is the file that containerd could not start with; the other fields have
	// the settings of the files before it.
	Err *ConfigError
	// Refused is why containerd would start without its CRI plugin; nil: it would not.
	Refused *ConfigError

	local map[string]bool // settings that make containerd pull by its client
}

// ConfigError is a configuration file that cannot be read or parsed.
type ConfigError struct {
	File string
	Err  error
}

func (e *ConfigError) Error() string { return e.File + ": " + e.reason() }

// reason returns the error as text for a report.
func (e *ConfigError) reason() string {
	if syntax, ok := errors.AsType[*toml.DecodeError](e.Err); ok {
		row, col := syntax.Position()
		return fmt.Sprintf("line %d, column %d: %s", row, col, readable.Clean(strings.TrimPrefix(syntax.Error(), "toml: "), 120))
	}
	if file, ok := errors.AsType[*fs.PathError](e.Err); ok {
		return readable.Clean(file.Err.Error(), 60)
	}
	return readable.Clean(e.Err.Error(), 160)
}

// unread reports whether the runtime may be able to read the file although this
// process cannot: the runtime is root.
func (e *ConfigError) unread() bool { return errors.Is(e.Err, fs.ErrPermission) }

// Read reads the configuration that the process, a containerd of this version, was
// started with, under its root directory. A file that is missing or cannot be parsed is
// in Config.Err. The error is about the process: [errors.ErrUnsupported] if it is not
// containerd.
func Read(p *host.Process, root *host.Root, version string) (*Config, error) {
	args, err := p.Cmdline()
	if err != nil {
		return nil, err
	}
	if len(args) == 0 || !strings.Contains(path.Base(args[0]), "containerd") {
		return nil, errors.ErrUnsupported
	}
	name, explicit := configFlag(args)
	if !path.IsAbs(name) {
		dir, err := p.Dir()
		if err != nil {
			return nil, err
		}
		name = path.Join(dir, name)
	}
	c := readConfig(root, name, version)
	if since, err := p.Since(); err == nil {
		c.Newer = len(host.ChangesSince(root, since, c.watched()).Files) > 0
	}
	if !explicit && errors.Is(errOf(c.Err), fs.ErrNotExist) && c.Err.File == c.Main {
		c.Err = nil // containerd starts without one (cmd/containerd/command/main.go)
	}
	return c, nil
}

func errOf(e *ConfigError) error {
	if e == nil {
		return nil
	}
	return e.Err
}

// configFlag returns the value of -c or --config by the rules of containerd's
// command line (urfave/cli on package flag): one dash or two, the last one wins,
// and "--" ends the flags. The kubelet's rules are others, see [host.ParseFlags].
func configFlag(args []string) (name string, explicit bool) {
	name = defaultConfig
	for i := 1; i < len(args) && args[i] != "--"; i++ {
		flag, value, inline := strings.Cut(args[i], "=")
		if flag != "-c" && flag != "--c" && flag != "-config" && flag != "--config" {
			continue
		}
		if !inline && i+1 < len(args) {
			i++
			value = args[i]
		}
		if value != "" {
			name, explicit = value, true
		}
	}
	return name, explicit
}

// readConfig reads the files breadth first, as LoadConfig of all versions does
// (cmd/containerd/server/config; services/server/config in containerd 1). A file that
// cannot be loaded keeps containerd from starting.
func readConfig(root host.Files, main, version string) *Config {
	c := &Config{
		Main: main, Version: version, Sources: generatedFrom(root, main),
		Mirrors: map[string][]string{}, TLS: map[string]TLSFiles{}, local: map[string]bool{},
	}
	var files []configFile
	pending := []string{main}
	for len(pending) > 0 && len(c.Files) < maxConfigFiles {
		name := pending[0]
		pending = pending[1:]
		if slices.Contains(c.Files, name) {
			continue
		}
		file, imports, err := loadFile(root, name, version)
		if err != nil {
			c.Err = &ConfigError{File: name, Err: err}
			break
		}
		files = append(files, file)
		c.Files = append(c.Files, name)
		pending = append(pending, imports...)
	}
	c.use(files)
	return c
}

// generatedFrom returns the files from which a distribution writes the main file, what it
// imports, and certs.d when it starts the runtime.
func generatedFrom(root host.Files, main string) []string {
	for _, dir := range []string{"/var/lib/rancher/k3s", "/var/lib/rancher/rke2"} {
		if strings.HasPrefix(main, dir+"/agent/") {
			return []string{
				"/etc/rancher/" + path.Base(dir) + "/registries.yaml",
				dir + "/agent/etc/containerd/config.toml.tmpl", dir + "/agent/etc/containerd/config-v3.toml.tmpl",
			}
		}
	}
	switch {
	case strings.HasPrefix(main, "/var/snap/microk8s/"): // canonical/microk8s: run-containerd-with-args
		return []string{path.Join(path.Dir(main), "containerd-template.toml")}
	case strings.HasPrefix(main, "/etc/k0s/"): // k0sproject/k0s: pkg/component/worker/containerd
		names, _ := host.Glob(root, "/etc/k0s/containerd.d/*.toml")
		return names
	}
	return nil
}

// watched returns the files that decide about the configuration.
func (c *Config) watched() []string { return slices.Concat(c.Files, c.Sources, c.failed()) }

// loadFile reads one file, and resolves its imports.
func loadFile(root host.Files, name, version string) (configFile, []string, error) {
	file := configFile{name: name}
	text, err := root.ReadFile(name)
	if err != nil {
		return file, nil, err
	}
	if !AtLeast(version, "2.0.0") {
		text = bytes.TrimPrefix(text, []byte("\ufeff")) // as go-toml 1 does
	}
	if err := toml.Unmarshal(text, &file); err != nil {
		return file, nil, err
	}
	if !AtLeast(version, toml11Since) && usesTOML11(string(text)) {
		return file, nil, errTOML11
	}
	imports, err := resolveImports(root, name, version, file.Imports)
	return file, imports, err
}

// imagesSection is what the CRI plugin for images has in its table. With a value of
// another type containerd does not start.
type imagesSection struct {
	Registry struct {
		ConfigPath *string `toml:"config_path"`
		Mirrors    map[string]struct {
			Endpoint []string `toml:"endpoint"`
		} `toml:"mirrors"`
		Configs map[string]struct {
			TLS *struct {
				CA         string `toml:"ca_file"`
				Cert       string `toml:"cert_file"`
				Key        string `toml:"key_file"`
				SkipVerify bool   `toml:"insecure_skip_verify"`
			} `toml:"tls"`
			Auth any `toml:"auth"`
		} `toml:"configs"`
		Auths map[string]any `toml:"auths"`
	} `toml:"registry"`
	Pinned map[string]string `toml:"pinned_images"`
}

// addImages adds the settings of a table of the CRI plugin for images.
func (c *Config) addImages(t map[string]any) error {
	var section imagesSection
	text, err := toml.Marshal(t)
	if err == nil {
		err = toml.Unmarshal(text, &section)
	}
	if wrong, ok := errors.AsType[*toml.DecodeError](err); ok { // its position is not that in the file
		return errors.New("the value of " + readable.Clean(strings.Join(wrong.Key(), "."), 80) + " has the wrong type")
	}
	if err != nil {
		return err
	}
	r := section.Registry
	if r.ConfigPath != nil {
		c.RegistryPath, c.HasPath = *r.ConfigPath, true
	}
	for host, m := range r.Mirrors {
		c.Mirrors[host] = m.Endpoint
	}
	for host, entry := range r.Configs {
		if s := entry.TLS; s != nil {
			c.TLS[host] = TLSFiles{CA: s.CA, Cert: s.Cert, Key: s.Key, SkipVerify: s.SkipVerify}
		}
		if entry.Auth != nil {
			c.addAuth(host)
		}
	}
	for host := range r.Auths {
		c.addAuth(host)
	}
	c.Sandbox = section.Pinned["sandbox"]
	c.addLocal(t)
	return nil
}

func (c *Config) addAuth(host string) {
	if !slices.Contains(c.Auths, host) {
		c.Auths = append(c.Auths, host)
		slices.Sort(c.Auths)
	}
}

// addLocal adds the settings that make containerd 2.1 and later pull with its
// client instead of the transfer service (CheckLocalImagePullConfigs in
// internal/cri/config/config.go of 2.4).
func (c *Config) addLocal(section map[string]any) {
	set := func(key string, local func(any) bool) {
		if v, ok := section[key]; ok {
			c.local[key] = local(v)
		}
	}
	isTrue := func(v any) bool { return v == true }
	set("use_local_image_pull", isTrue)
	set("discard_unpacked_layers", isTrue)
	set("image_pull_with_sync_fs", isTrue)
	set("disable_snapshot_annotations", func(v any) bool { return v == false })
	set("max_concurrent_downloads", func(v any) bool { return v != int64(3) })
}

func table(v any) map[string]any { t, _ := v.(map[string]any); return t }

// resolveImports follows containerd's function of this name. Before containerd 9746 a
// relative pattern was one below the working directory, which is / for a service.
func resolveImports(root host.Files, parent, version string, imports []string) ([]string, error) {
	var out []string
	for _, name := range imports {
		name = path.Clean(name)
		isPattern := strings.Contains(name, "*")
		switch {
		case path.IsAbs(name):
		case isPattern && !backported(version, "1.6.30", "1.7.16"):
			name = path.Join("/", name)
		default:
			name = path.Join(path.Dir(parent), name)
		}
		if !isPattern {
			out = append(out, name)
			continue
		}
		matches, err := host.Glob(root, name)
		if err != nil {
			return nil, err
		}
		out = append(out, matches...)
	}
	return out, nil
}
