package runtimeconfig

import (
	"io/fs"
	"testing"
	"testing/fstest"
)

func TestModelled(t *testing.T) {
	for version, want := range map[string]bool{
		"": true, "1.5.18": false, "1.6.0": true, "v1.7.34": true, "1.8.0": false, "2.4.2": true, "v2.1.0-k3s1": true,
		"2.5.0": false, "3.0.0": false, "nonsense": false,
	} {
		if got := Modelled(version); got != want {
			t.Errorf("version %q: %v", version, got)
		}
	}
	if !AtLeast("1.7.32", "1.7.32") || AtLeast("1.7.31~ds1", "1.7.32") || !AtLeast("2.0.0", "1.7.32") || !AtLeast("", "9.9.9") {
		t.Error("AtLeast")
	}
}

// files is a file system with absolute names.
type files struct{ fstest.MapFS }

func (f files) ReadFile(name string) ([]byte, error)       { return f.MapFS.ReadFile(name[1:]) }
func (f files) ReadDir(name string) ([]fs.DirEntry, error) { return f.MapFS.ReadDir(name[1:]) }
func (f files) Stat(name string) (fs.FileInfo, error)      { return f.MapFS.Stat(name[1:]) }

// What the newest containerd accepts in a hosts.toml, an older one may ignore with the
// whole file.
func TestHostsOfVersions(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		ignored    map[string]bool // by version
	}{
		{"no [host]", "server = \"https://m.lab\"\n", map[string]bool{"1.6.20": true, "1.7.31": true, "1.7.32": false, "2.0.0": false, "": false}},
		{"referrers", "[host.\"https://m.lab\"]\ncapabilities = [\"pull\", \"Referrers\"]\n", map[string]bool{"1.7.34": true, "2.1.9": true, "2.2.0": false, "": false}},
		{"referrers at the top", "capabilities = [\"referrers\"]\n[host.\"https://m.lab\"]\n", map[string]bool{"2.1.9": true, "2.3.0": false}},
		{"nothing new", "[host.\"https://m.lab\"]\ncapabilities = [\"pull\", \"resolve\"]\n", map[string]bool{"1.6.0": false, "2.0.0": false, "": false}},
	} {
		for version, ignored := range tt.ignored {
			f := files{fstest.MapFS{"certs.d/r.lab/hosts.toml": {Data: []byte(tt.text)}}}
			hosts, problem := RegistryConfig{Dirs: []string{"/certs.d"}, Version: version}.Hosts(f, "r.lab")
			if got := problem != nil && problem.Ignored; got != ignored || ignored != (hosts.List[0].Host == "r.lab") {
				t.Errorf("%s, containerd %q: %v, hosts %+v", tt.name, version, problem, hosts.List)
			}
		}
	}
}
