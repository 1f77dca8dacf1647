package runtimeconfig

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

// configTrees are configurations, main file /c/config.toml, and what they come
// to; the same trees are shown to a real containerd.
var configTrees = map[string]struct {
	files   map[string]string
	path    string
	sandbox string
	read    string
}{
	"version 3": {map[string]string{
		"/c/config.toml": "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/a:/b'\n" +
			"[plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = 'p:1'",
	}, "/a:/b", "p:1", "/c/config.toml"},
	"version 2": {map[string]string{
		"/c/config.toml": "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'p:2'\n" +
			"[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/certs'",
	}, "/etc/certs", "p:2", "/c/config.toml"},
	"version 1": {map[string]string{
		"/c/config.toml": "[plugins.cri]\nsandbox_image = 'p:3'\n[plugins.cri.registry]\nconfig_path = '/old'",
	}, "/old", "p:3", "/c/config.toml"},
	"nothing said": {map[string]string{"/c/config.toml": "version = 3\n[plugins.other]\nregistry = 7\n"}, "", "", "/c/config.toml"},
	"imports override, relative, by glob and in turn": {map[string]string{
		"/c/config.toml": "version = 2\nimports = ['conf.d/*.toml', '../d/last.toml']\n" +
			"[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'p:1'\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/a'",
		"/c/conf.d/1.toml": "version = 3\nimports = ['/c/deep.toml']\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/b'",
		"/c/conf.d/2.txt":  "not TOML [",
		"/d/last.toml":     "version = 3\n[plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = 'p:4'",
		"/c/deep.toml":     "version = 3\nimports = ['/c/config.toml']\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/deep'",
	}, "/deep", "p:4", "/c/config.toml /c/conf.d/1.toml /d/last.toml /c/deep.toml"},
	"an import unsets": {map[string]string{
		"/c/config.toml": "version = 3\nimports = ['b.toml']\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/a'",
		"/c/b.toml":      "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = ''",
	}, "", "", "/c/config.toml /c/b.toml"},
	"both sections in one file": {map[string]string{
		"/c/config.toml": "version = 2\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/new'\n" +
			"[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/old'",
	}, "/old", "", "/c/config.toml"},
}

func TestReadConfig(t *testing.T) {
	for name, tt := range configTrees {
		t.Run(name, func(t *testing.T) {
			c := readConfig(rootOf(t, tt.files), "/c/config.toml", "")
			if c.Err != nil || c.RegistryPath != tt.path || c.Sandbox != tt.sandbox || strings.Join(c.Files, " ") != tt.read {
				t.Errorf("got path %q, sandbox %q, read %v: %v", c.RegistryPath, c.Sandbox, c.Files, c.Err)
			}
		})
	}
	t.Run("deprecated sections", func(t *testing.T) {
		c := readConfig(rootOf(t, map[string]string{"/c": `version = 2
[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
endpoint = ["https://m.lab", "http://n.lab:5000"]
[plugins."io.containerd.grpc.v1.cri".registry.configs."m.lab".tls]
ca_file = "/ca.pem"
insecure_skip_verify = true
[plugins."io.containerd.grpc.v1.cri".registry.configs."m.lab".auth]
password = "canary"
[plugins."io.containerd.grpc.v1.cri".registry.auths."https://x.lab"]
password = "canary"
`}), "/c", "")
		want := &Config{
			Main: "/c", Files: []string{"/c"}, Auths: []string{"https://x.lab", "m.lab"},
			Mirrors: map[string][]string{"docker.io": {"https://m.lab", "http://n.lab:5000"}},
			TLS:     map[string]TLSFiles{"m.lab": {CA: "/ca.pem", SkipVerify: true}},
		}
		c.local = nil
		if diff := cmp.Diff(want, c, cmp.AllowUnexported(Config{})); diff != "" {
			t.Error(diff)
		}
	})
	for name, tt := range map[string]struct {
		files map[string]string
		file  string
		err   error
	}{
		"missing":          {nil, "/c/config.toml", fs.ErrNotExist},
		"import missing":   {map[string]string{"/c/config.toml": "imports = ['x.toml']"}, "/c/x.toml", fs.ErrNotExist},
		"does not parse":   {map[string]string{"/c/config.toml": "version = 2\n[plugins"}, "/c/config.toml", nil},
		"import no TOML":   {map[string]string{"/c/config.toml": "imports = ['*.x']", "/c/a.x": "="}, "/c/a.x", nil},
		"malformed import": {map[string]string{"/c/config.toml": "imports = ['[*']"}, "/c/config.toml", nil},
		"wrong type":       {map[string]string{"/c/config.toml": "imports = 7"}, "/c/config.toml", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := readConfig(rootOf(t, tt.files), "/c/config.toml", "")
			if c.Err == nil || c.Err.File != tt.file || tt.err != nil && !errors.Is(c.Err.Err, tt.err) {
				t.Errorf("got %v", c.Err)
			}
		})
	}
}

// A real containerd merges the same files to the same values.
func TestReadConfigLikeContainerd(t *testing.T) {
	bin := hosttest.Containerd(t)
	for name, tt := range configTrees {
		t.Run(name, func(t *testing.T) {
			dir := rootOf(t, tt.files).String()
			for file, text := range tt.files { // the same absolute names for both
				text = strings.NewReplacer("'/c/", "'"+dir+"/c/").Replace(text)
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, err := exec.CommandContext(t.Context(), bin, "-c", dir+"/c/config.toml", "config", "dump").Output()
			if err != nil {
				t.Fatal(err)
			}
			var dump struct {
				Plugins struct {
					Images struct {
						Registry struct {
							Path string `toml:"config_path"`
						} `toml:"registry"`
						Pinned map[string]string `toml:"pinned_images"`
					} `toml:"io.containerd.cri.v1.images"`
				} `toml:"plugins"`
			}
			if err := toml.NewDecoder(bytes.NewReader(out)).Decode(&dump); err != nil {
				t.Fatal(err)
			}
			sandbox := dump.Plugins.Images.Pinned["sandbox"]
			if tt.sandbox == "" && strings.HasPrefix(sandbox, "registry.k8s.io/pause:") {
				sandbox = "" // built in
			}
			if dump.Plugins.Images.Registry.Path != tt.path || sandbox != tt.sandbox {
				t.Errorf("containerd makes config_path %q and sandbox %q of it", dump.Plugins.Images.Registry.Path, sandbox)
			}
		})
	}
}

func TestConfigFlag(t *testing.T) {
	for _, tt := range []struct {
		args     []string
		want     string
		explicit bool
	}{
		{
			args: []string{"containerd"},
			want: defaultConfig,
		},
		{
			args: []string{
				"containerd", "-c", "/var/lib/rancher/k3s/agent/etc/containerd/config.toml", "-a", "/run/k3s/containerd/containerd.sock",
			},
			want:     "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
			explicit: true,
		},
		{
			args:     []string{"containerd", "--config=/x.toml", "--log-level", "info"},
			want:     "/x.toml",
			explicit: true,
		},
		{
			args:     []string{"/snap/microk8s/7/bin/containerd", "--config", "/var/snap/microk8s/7/args/containerd.toml"},
			want:     "/var/snap/microk8s/7/args/containerd.toml",
			explicit: true,
		},
		{
			args: []string{"containerd", "-c"},
			want: defaultConfig,
		},
		{
			args:     []string{"containerd", "-c", "/a.toml", "--c=/b.toml"},
			want:     "/b.toml",
			explicit: true,
		},
		{
			args:     []string{"containerd", "-config", "/a.toml", "--", "-c", "/b.toml"},
			want:     "/a.toml",
			explicit: true,
		},
		{
			args:     []string{"containerd", "-c", "--config", "-config=/b.toml"},
			want:     "/b.toml",
			explicit: true,
		},
	} {
		if got, explicit := configFlag(tt.args); got != tt.want || explicit != tt.explicit {
			t.Errorf("%q: %q %v, want %q", tt.args, got, explicit, tt.want)
		}
	}
}

func TestRegistries(t *testing.T) {
	list := "/etc/containerd/certs.d:/etc/docker/certs.d"
	both := strings.Split(list, ":")
	set := func(path string) *Config { return &Config{RegistryPath: path, HasPath: true} }
	mirrors := &Config{Mirrors: map[string][]string{"*": {"https://m"}}}
	local := &Config{local: map[string]bool{"discard_unpacked_layers": true}}
	other := "/other"
	for _, tt := range []struct {
		name    string
		config  *Config
		version string
		running *string
		dirs    []string
		passed  []string
		mirrors bool
	}{
		{"one directory", set("/certs"), "v2.4.2", nil, []string{"/certs"}, nil, false},
		{"1.7 has no default", &Config{}, "v1.7.28", nil, nil, both, false},
		{"2.0 has no default", &Config{}, "v2.0.5", nil, nil, both, false},
		{"the default of 2.2 is read by none", &Config{}, "v2.2.0", nil, []string{list}, both, false},
		{"a list, transfer service", set("/a:/b"), "2.1.4-k3s1", nil, []string{"/a:/b"}, []string{"/a", "/b"}, false},
		{"a list, by the client", local, "v2.4.2", nil, both, nil, false},
		{"a list, before the transfer service", set("/a:/b"), "1.7.0", nil, []string{"/a", "/b"}, nil, false},
		{"a list, of a version that is not known yet", set("/a:/b"), "v2.9.0", nil, []string{"/a", "/b"}, nil, false},
		{"version unknown", &Config{}, "", nil, both, nil, false},
		{"mirrors", mirrors, "v2.4.2", nil, nil, both, true},
		{"what runs counts", set("/new"), "v2.4.2", &other, []string{"/other"}, []string{"/new"}, false},
		{"what runs, of built-in defaults", &Config{}, "v2.4.2", &other, []string{"/other"}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := *tt.config
			config.Version, config.Newer = tt.version, true
			d := config.Registries(tt.running)
			if diff := cmp.Diff(tt.dirs, d.Dirs); diff != "" {
				t.Errorf("dirs: %s", diff)
			}
			if want := tt.version == "" || tt.running == nil; d.Assumed != want {
				t.Errorf("assumed: %v, want %v: a file is newer than the process", d.Assumed, want)
			}
			if diff := cmp.Diff(tt.passed, d.Passed); diff != "" || (d.Mirrors != nil) != tt.mirrors || (d.Passed != nil) != (d.Why != "") {
				t.Errorf("passed: %s %+v", diff, d)
			}
		})
	}
}

func FuzzReadConfig(f *testing.F) {
	for _, tree := range configTrees {
		f.Add(tree.files["/c/config.toml"])
	}
	f.Add(
		"imports = ['*/../*', '[a', '/*/*/*']\n[plugins.cri.registry.mirrors.a]\nendpoint = [1]\n[plugins.cri.registry.configs.a]\ntls = 1",
	)
	f.Fuzz(func(t *testing.T, text string) {
		for _, version := range []string{"", "1.6.20", "1.7.35", "2.0.14", "2.4.2"} {
			c := readConfig(hosttest.Memory{"/c/config.toml": text, "/c/x": "version = 2"}, "/c/config.toml", version)
			c.Registries(nil)
			if c.Err != nil && (c.Err.Error() == "" || len(c.Err.reason()) > 400) {
				t.Errorf("%q", c.Err.Error())
			}
		}
	})
}

// Imports that only this process cannot list count as unreadable, not as absent.
func TestClosedImports(t *testing.T) {
	const dir = "/etc/containerd/conf.d"
	main := hosttest.Memory{defaultConfig: "imports = [\"" + dir + "/*.toml\"]"}
	if c := readConfig(hosttest.Closed{Memory: main, Dir: dir}, defaultConfig, ""); c.Err == nil || !c.Err.unread() {
		t.Errorf("got %+v", c.Err)
	}
}

func FuzzShown(f *testing.F) {
	f.Add("http://user:password@proxy:3128")
	f.Fuzz(func(t *testing.T, value string) {
		if s := shown(func(string) string { return value }); len(s) > 300 {
			t.Errorf("%d bytes", len(s))
		}
	})
}
