package cri

import (
	"path"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// defaultConfig is where containerd looks for its configuration unless -c
// names another place.
const defaultConfig = "/etc/containerd/config.toml"

// defaultRegistryConfigPath is what containerd 2 uses when config_path is not
// set (internal/cri/config/config_unix.go, DefaultImageConfig).
const defaultRegistryConfigPath = "/etc/containerd/certs.d:/etc/docker/certs.d"

// RegistryConfigPath is the runtime's registry configuration directory, or
// several separated by colons: config_path of the configuration file that the
// process was started with, of version 3 or older. Where that says nothing it
// is containerd 2's default.
func (p *Process) RegistryConfigPath(root *Root) string {
	args, err := p.Cmdline()
	if err != nil {
		return defaultRegistryConfigPath
	}
	text, err := root.ReadFile(configFile(args))
	if err != nil {
		return defaultRegistryConfigPath
	}
	if dir, ok := registryConfigPath(text); ok {
		return dir
	}
	return defaultRegistryConfigPath
}

// configFile is the value of -c or --config.
func configFile(args []string) string {
	for i, a := range args {
		name, value, inline := strings.Cut(a, "=")
		if name != "-c" && name != "--config" && name != "-config" {
			continue
		}
		if !inline && i+1 < len(args) {
			value = args[i+1]
		}
		if value != "" {
			return path.Join("/", value)
		}
	}
	return defaultConfig
}

// registryConfigPath reads config_path of the CRI plugin's registry section.
// What other plugins have under the same names does not matter.
func registryConfigPath(text []byte) (dir string, ok bool) {
	var file struct {
		Plugins map[string]map[string]any `toml:"plugins"`
	}
	if err := toml.Unmarshal(text, &file); err != nil {
		return "", false
	}
	for _, id := range []string{"io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri", "cri"} {
		registry, _ := file.Plugins[id]["registry"].(map[string]any)
		if dir, ok = registry["config_path"].(string); ok {
			return dir, true
		}
	}
	return "", false
}
