package credentials

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// containerdAuth is one entry of containerd's own credentials.
type containerdAuth struct {
	Username      string `toml:"username"`
	Password      string `toml:"password"`
	Auth          string `toml:"auth"`
	IdentityToken string `toml:"identitytoken"`
}

// containerdRegistry is the table "registry" of containerd's CRI plugin.
type containerdRegistry struct {
	Configs map[string]struct {
		Auth *containerdAuth `toml:"auth"`
	} `toml:"configs"`
	Auths map[string]containerdAuth `toml:"auths"`
}

// RuntimeCredentials returns containerd's own credentials in the configuration
// file at path: registry.configs.HOST.auth of its CRI plugin, and the older
// registry.auths (internal/cri/config/config.go). containerd uses them only for
// a pull for which the kubelet sends none, each for its own host
// (internal/cri/server/images/image_pull.go, PullImage and ParseAuth). It reads
// the file when it starts.
func RuntimeCredentials(path string, text []byte) []Credential {
	var file struct {
		Plugins struct {
			Images struct {
				Registry containerdRegistry `toml:"registry"`
			} `toml:"io.containerd.cri.v1.images"` // configuration version 3
			CRI struct {
				Registry containerdRegistry `toml:"registry"`
			} `toml:"io.containerd.grpc.v1.cri"` // 2
			Old struct {
				Registry containerdRegistry `toml:"registry"`
			} `toml:"cri"` // 1
		} `toml:"plugins"`
	}
	if err := toml.Unmarshal(text, &file); err != nil {
		return nil // the runtime would not run with it
	}
	byHost := map[string]containerdAuth{}
	for _, r := range []containerdRegistry{file.Plugins.Old.Registry, file.Plugins.CRI.Registry, file.Plugins.Images.Registry} {
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
		if c, ok := byHost[host].credential(); ok {
			c.Server, c.Host, c.Source = host, host, "runtime "+path
			out = append(out, c)
		}
	}
	return out
}

// credential returns the fields of the entry that containerd uses (image_pull.go,
// ParseAuth), and false if there are none.
func (a containerdAuth) credential() (c Credential, ok bool) {
	switch {
	case a.Username != "":
		c.Username, c.Password = a.Username, a.Password
	case a.IdentityToken != "":
		c.IdentityToken = a.IdentityToken
	default:
		b, err := base64.StdEncoding.DecodeString(a.Auth)
		if err != nil {
			return c, false
		}
		c.Username, c.Password, _ = strings.Cut(string(b), ":")
	}
	return c, c.Username != "" || c.IdentityToken != ""
}
