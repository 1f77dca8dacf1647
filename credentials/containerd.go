package credentials

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// RuntimeCredentials are those that containerd has of its own, from the
// configuration file at path: registry.configs.HOST.auth of its CRI plugin, and
// the older registry.auths (internal/cri/config/config.go). containerd uses them
// only for a pull that comes without any from the kubelet, each for its own
// host (internal/cri/server/images/image_pull.go, PullImage and ParseAuth). It
// reads the file when it starts.
func RuntimeCredentials(path string, text []byte) []Credential {
	type auth struct {
		Username      string `toml:"username"`
		Password      string `toml:"password"`
		Auth          string `toml:"auth"`
		IdentityToken string `toml:"identitytoken"`
	}
	type registry struct {
		Configs map[string]struct {
			Auth *auth `toml:"auth"`
		} `toml:"configs"`
		Auths map[string]auth `toml:"auths"`
	}
	var file struct {
		Plugins struct {
			Images struct {
				Registry registry `toml:"registry"`
			} `toml:"io.containerd.cri.v1.images"` // configuration version 3
			CRI struct {
				Registry registry `toml:"registry"`
			} `toml:"io.containerd.grpc.v1.cri"` // 2
			Old struct {
				Registry registry `toml:"registry"`
			} `toml:"cri"` // 1
		} `toml:"plugins"`
	}
	if err := toml.Unmarshal(text, &file); err != nil {
		return nil // the runtime would not run with it
	}
	byHost := map[string]auth{}
	for _, r := range []registry{file.Plugins.Old.Registry, file.Plugins.CRI.Registry, file.Plugins.Images.Registry} {
		for host, c := range r.Configs {
			if c.Auth != nil {
				byHost[host] = *c.Auth
			}
		}
		for endpoint, a := range r.Auths {
			if u, err := url.Parse(endpoint); err == nil && u.Scheme != "" {
				endpoint = u.Host
			}
			byHost[endpoint] = a
		}
	}
	var out []Credential
	for _, host := range slices.Sorted(maps.Keys(byHost)) {
		a := byHost[host]
		c := Credential{Server: host, Host: host, Source: "runtime " + path}
		switch {
		case a.Username != "":
			c.Username, c.Password = a.Username, a.Password
		case a.IdentityToken != "":
			c.IdentityToken = a.IdentityToken
		default:
			b, err := base64.StdEncoding.DecodeString(a.Auth)
			if err != nil {
				continue
			}
			c.Username, c.Password, _ = strings.Cut(string(b), ":")
		}
		if c.Username != "" || c.IdentityToken != "" {
			out = append(out, c)
		}
	}
	return out
}
