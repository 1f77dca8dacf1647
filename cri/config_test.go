package cri

import "testing"

func TestRegistryConfigPath(t *testing.T) {
	tests := []struct {
		name, text, want string
		ok               bool
	}{
		{"version 3", "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/a:/b'", "/a:/b", true},
		{"version 2", "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/certs'", "/etc/certs", true},
		{"version 1", "[plugins.cri.registry]\nconfig_path = '/old'", "/old", true},
		{"set to nothing", "[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = ''", "", true},
		{"not set", "[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'overlayfs'", "", false},
		{"another plugin's registry is none of ours", "[plugins.other]\nregistry = 7\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/a'", "/a", true},
		{"not TOML", "plugins = [", "", false},
		{"wrong type", "[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = 7", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := registryConfigPath([]byte(tt.text)); got != tt.want || ok != tt.ok {
				t.Errorf("got %q %v, want %q %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestConfigFile(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"containerd"}, defaultConfig},
		{[]string{"containerd", "-c", "/x.toml"}, "/x.toml"},
		{[]string{"containerd", "--config=/x.toml", "--log-level", "info"}, "/x.toml"},
		{[]string{"containerd", "--config", "/x.toml"}, "/x.toml"},
		{[]string{"containerd", "-c"}, defaultConfig},
	} {
		if got := configFile(tt.args); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.args, got, tt.want)
		}
	}
}

func FuzzRegistryConfigPath(f *testing.F) {
	f.Add([]byte("[plugins.cri.registry]\nconfig_path = '/old'"))
	f.Fuzz(func(t *testing.T, b []byte) { registryConfigPath(b) })
}
