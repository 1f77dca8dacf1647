package credentials

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestRuntimeCredentials(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("u:" + canary))
	const v3, v2, v1 = `plugins."io.containerd.cri.v1.images"`, `plugins."io.containerd.grpc.v1.cri"`, `plugins.cri`
	tests := []struct {
		name, text string
		want       string // host user password token
	}{
		{"version 3", "[" + v3 + `.registry.configs."r.example".auth]` + "\nusername='u'\npassword='p'", "r.example u p "},
		{"version 2", "[" + v2 + `.registry.configs."r.example:5000".auth]` + "\nusername='u'\npassword='p'", "r.example:5000 u p "},
		{"version 1", "[" + v1 + `.registry.configs."r.example".auth]` + "\nusername='u'\npassword='p'", "r.example u p "},
		{"older key", "[" + v2 + `.registry.auths."https://r.example"]` + "\nusername='u'\npassword='p'", "r.example u p "},
		{"auth", "[" + v3 + `.registry.configs."r.example".auth]` + "\nauth='" + auth + "'", "r.example u " + canary + " "},
		{"identity token", "[" + v3 + `.registry.configs."r.example".auth]` + "\nidentitytoken='t'", "r.example   t"},
		{"user wins", "[" + v3 + `.registry.configs."r.example".auth]` + "\nusername='u'\npassword='p'\nidentitytoken='t'", "r.example u p "},
		{"empty", "[" + v3 + `.registry.configs."r.example".auth]`, ""},
		{"TLS only", "[" + v3 + `.registry.configs."r.example".tls]` + "\nca_file='x'", ""},
		{"not TOML", "[", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for _, c := range RuntimeCredentials("/etc/containerd/config.toml", []byte(tt.text)) {
				got += strings.Join([]string{c.Host, c.Username, c.Password, c.IdentityToken}, " ")
				if c.String() != "runtime /etc/containerd/config.toml for "+c.Host {
					t.Errorf("shows as %s", c)
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzRuntimeCredentials(f *testing.F) {
	f.Add([]byte(`
[plugins."io.containerd.grpc.v1.cri".registry.configs."r.lab".auth]
auth = "dTpw"
[plugins.cri.registry.auths."https://a.lab"]
identitytoken = "x"
`))
	f.Add([]byte("[plugins.cri.registry]\nauths = 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, c := range RuntimeCredentials("/etc/containerd/config.toml", text) {
			if c.Username == "" && c.IdentityToken == "" {
				t.Errorf("empty: %q", c.Server)
			}
		}
	})
}
