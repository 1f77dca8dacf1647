package credentials

import (
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/report"
)

// nodeFS is the file system of a node. Its names are absolute.
type nodeFS struct{ fstest.MapFS }

func (n nodeFS) ReadFile(name string) ([]byte, error)       { return n.MapFS.ReadFile(name[1:]) }
func (n nodeFS) ReadDir(name string) ([]fs.DirEntry, error) { return n.MapFS.ReadDir(name[1:]) }
func (n nodeFS) Stat(name string) (fs.FileInfo, error)      { return n.MapFS.Stat(name[1:]) }

func onNode(files map[string]string) nodeFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(text), Mode: 0o755}
	}
	return nodeFS{m}
}

// deniedFS is a file system with files that this process may not read.
type deniedFS struct {
	nodeFS
	denied string // prefix of their names
}

func (d deniedFS) ReadFile(name string) ([]byte, error) {
	if strings.HasPrefix(name, d.denied) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return d.nodeFS.ReadFile(name)
}

// TestOnlyKubeletReads tests a file that the kubelet may read and this process
// may not: its content is unknown, and no later file is used instead.
func TestOnlyKubeletReads(t *testing.T) {
	const (
		config = "/var/lib/kubelet/config.json"
		other  = `{"auths":{"r.example":{"username":"b","password":"hunter2"}}}`
	)
	files := onNode(map[string]string{config: other, "/.docker/config.json": other, "/etc/providers.yaml": "kind: CredentialProviderConfig"})
	args := []string{"kubelet", "--image-credential-provider-config=/etc/providers.yaml", "--image-credential-provider-bin-dir=/bin"}
	for denied, id := range map[string]string{config: "credentials/node", "/etc/": "credentials/providers"} {
		k := Kubelet{Args: args, Files: deniedFS{files, denied}}
		w := Resolve("r.example/app", Sources{Node: &NodeSources{File: k.DockerConfig(), Providers: k.ProviderConfig()}})
		i := slices.IndexFunc(w.Checks, func(c report.Check) bool { return c.ID == id })
		if i < 0 {
			t.Fatalf("no check %s: %+v", id, w.Checks)
		}
		unknown := w.Checks[0].Evidence["unknown"]
		if c := w.Checks[i]; c.Outcome != report.Skipped || !strings.Contains(c.Summary, "(the kubelet can)") || unknown == "" {
			t.Errorf("%s: %s %q, unknown %q", id, c.Outcome, c.Summary, unknown)
		}
		if id == "credentials/node" && len(w.Matched) > 0 {
			t.Errorf("credentials of a file that the kubelet does not read: %+v", w.Matched)
		}
	}
}

// TestDockerConfig tests which docker config file the kubelet uses (config.go,
// ReadDockerConfigFile and the paths before it).
func TestDockerConfig(t *testing.T) {
	const (
		a      = `{"auths":{"a.example":{"username":"a","password":"hunter2"}}}`
		b      = `{"auths":{"b.example":{"username":"b","password":"hunter2"}}}`
		legacy = `{"l.example":{"username":"l","password":"hunter2"}}`
	)
	tests := []struct {
		name   string
		args   []string
		env    []string
		dir    string
		files  map[string]string
		path   string // of the file that is used
		server string // of its credential
		passed string // part of the reasons against earlier files
	}{
		{name: "none"},
		{
			name:   "root directory",
			files:  map[string]string{"/var/lib/kubelet/config.json": a, "/.docker/config.json": b},
			path:   "/var/lib/kubelet/config.json",
			server: "a.example",
		},
		{
			name:   "root directory by flag",
			args:   []string{"--root-dir=/data/kubelet"},
			files:  map[string]string{"/var/lib/kubelet/config.json": a, "/data/kubelet/config.json": b},
			path:   "/data/kubelet/config.json",
			server: "b.example",
		},
		{
			name:   "flag in two arguments, the last one wins",
			args:   []string{"--root-dir", "/one", "--root_dir", "/two"},
			files:  map[string]string{"/one/config.json": a, "/two/config.json": b},
			path:   "/two/config.json",
			server: "b.example",
		},
		{
			name:   "working directory before home",
			dir:    "/run/kubelet",
			env:    []string{"HOME=/root"},
			files:  map[string]string{"/run/kubelet/config.json": a, "/root/.docker/config.json": b},
			path:   "/run/kubelet/config.json",
			server: "a.example",
		},
		{
			name:   "home",
			env:    []string{"HOME=/root"},
			files:  map[string]string{"/root/.docker/config.json": a, "/.docker/config.json": b},
			path:   "/root/.docker/config.json",
			server: "a.example",
		},
		{name: "without HOME root's is not read", files: map[string]string{"/root/.docker/config.json": a}},
		{
			name:   "without HOME, below the working directory",
			dir:    "/run/kubelet",
			files:  map[string]string{"/run/kubelet/.docker/config.json": a, "/.docker/config.json": b},
			path:   "/run/kubelet/.docker/config.json",
			server: "a.example",
		},
		{
			name:   "JSON before legacy",
			files:  map[string]string{"/var/lib/kubelet/.dockercfg": legacy, "/.docker/config.json": a},
			path:   "/.docker/config.json",
			server: "a.example",
		},
		{
			name:   "legacy",
			env:    []string{"HOME=/root"},
			files:  map[string]string{"/root/.dockercfg": legacy},
			path:   "/root/.dockercfg",
			server: "l.example",
		},
		{
			name:   "an invalid one is skipped",
			files:  map[string]string{"/var/lib/kubelet/config.json": `{"auths":{"a.example":{"auth":"!hunter2"}}}`, "/.docker/config.json": b},
			path:   "/.docker/config.json",
			server: "b.example",
			passed: "/var/lib/kubelet/config.json: an \"auth\" field is not base64",
		},
		{
			name:  "an empty one is used",
			files: map[string]string{"/var/lib/kubelet/config.json": `{}`, "/.docker/config.json": b},
			path:  "/var/lib/kubelet/config.json",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tt.dir
			if dir == "" {
				dir = "/"
			}
			k := Kubelet{Args: append([]string{"kubelet"}, tt.args...), Environ: tt.env, WorkDir: dir, Files: onNode(tt.files)}
			got := k.DockerConfig()
			server := ""
			for _, c := range got.Credentials {
				server += c.Server
			}
			if got.Path != tt.path || server != tt.server {
				t.Errorf("uses %q for %q, want %q for %q", got.Path, server, tt.path, tt.server)
			}
			reasons := strings.Join(got.Invalid, "; ")
			if !strings.Contains(reasons, tt.passed) || strings.Contains(reasons, "hunter2") {
				t.Errorf("skipped: %q", reasons)
			}
		})
	}
}

func TestDockerConfigPlaces(t *testing.T) {
	k := Kubelet{Args: []string{"kubelet"}, Environ: []string{"HOME=/root"}, WorkDir: "/", Files: onNode(nil)}
	want := []string{
		"/var/lib/kubelet/config.json", "/config.json", "/root/.docker/config.json", "/.docker/config.json",
		"/var/lib/kubelet/.dockercfg", "/.dockercfg", "/root/.dockercfg",
	}
	if diff := cmp.Diff(want, k.DockerConfig().Searched); diff != "" {
		t.Error(diff)
	}
}

func FuzzDockerConfig(f *testing.F) {
	f.Add(`{"auths":{"r.lab":{"auth":"dTpw"}},"credsStore":"x"}`, `{"r.lab":{"username":"u","password":"p"}}`)
	f.Add(`{"auths":{"":{"auth":"="}}}`, `[]`)
	f.Fuzz(func(t *testing.T, config, old string) {
		files := onNode(map[string]string{"/var/lib/kubelet/config.json": config, "/.dockercfg": old})
		file := Kubelet{Args: []string{"kubelet"}, Files: files}.DockerConfig()
		if file.Path == "" && len(file.Credentials) > 0 {
			t.Errorf("credentials of no file: %v", file.Credentials)
		}
		for _, why := range file.Invalid {
			if len(why) > 500 {
				t.Errorf("skipped: %q", why)
			}
		}
	})
}
