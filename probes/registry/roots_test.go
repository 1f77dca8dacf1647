package registry

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// datedFiles are files of which some have changed recently; the others are old.
type datedFiles struct {
	view.Dir
	changed map[string]time.Time
}

func (d datedFiles) date(name string, info fs.FileInfo) fs.FileInfo {
	at, ok := d.changed[name]
	if !ok {
		at = time.Unix(1e9, 0)
	}
	st := *info.Sys().(*syscall.Stat_t)
	st.Ctim = syscall.NsecToTimespec(at.UnixNano())
	return datedInfo{info, &st}
}

func (d datedFiles) Stat(name string) (fs.FileInfo, error) {
	info, err := d.Dir.Stat(name)
	if err != nil {
		return nil, err
	}
	return d.date(name, info), nil
}

func (d datedFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := d.Dir.ReadDir(name)
	for i, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		entries[i] = fs.FileInfoToDirEntry(d.date(filepath.Join(name, e.Name()), info))
	}
	return entries, err
}

type datedInfo struct {
	fs.FileInfo
	st *syscall.Stat_t
}

func (i datedInfo) Sys() any { return i.st }

func TestTrustStoreNewerThanRuntime(t *testing.T) {
	known, added, own := probetest.NewAuthority(t, nil), probetest.NewAuthority(t, nil), probetest.NewAuthority(t, nil)
	started := time.Now().Add(-time.Hour)
	bundle := "/etc/ssl/certs/ca-certificates.crt"
	for _, tt := range []struct {
		name   string
		signer *probetest.Authority
		tree   map[string]string
		newer  []string // files that changed since the start
		ca     string   // evidence of runtime/ca: files
		root   string   // evidence of tls: rootNewer
	}{
		{"nothing changed", known, map[string]string{bundle: string(known.PEM)}, nil, "", ""},
		{"an authority was added", added, map[string]string{bundle: string(known.PEM) + string(added.PEM)}, []string{bundle}, bundle, bundle},
		{"the bundle was written again, the authority existed before", known, map[string]string{
			bundle: string(known.PEM) + string(added.PEM), "/etc/ssl/certs/known.pem": string(known.PEM), "/etc/ssl/certs/added.pem": string(added.PEM),
		}, []string{bundle, "/etc/ssl/certs/added.pem"}, bundle + ",/etc/ssl/certs/added.pem", ""},
		{"a file of its own was added", added, map[string]string{bundle: string(known.PEM), "/etc/ssl/certs/added.pem": string(added.PEM)}, []string{"/etc/ssl/certs/added.pem"}, "/etc/ssl/certs/added.pem", "/etc/ssl/certs/added.pem"},
		{"hosts.toml has the authority too, and is read at every pull", own, map[string]string{
			bundle: string(known.PEM) + string(own.PEM), "/etc/containerd/certs.d/_default/hosts.toml": "ca = \"/ca.pem\"\n", "/ca.pem": string(own.PEM),
		}, []string{bundle}, bundle, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert := tt.signer.Good(t, "registry.lab")
			port := probetest.Serve(t, &cert, http.NotFoundHandler())
			n := newProber(t, nil, tt.tree)
			dated := datedFiles{n.Files.(view.Dir), map[string]time.Time{}}
			for _, f := range tt.newer {
				dated.changed[f] = started.Add(time.Minute)
			}
			roots, err := view.ReadTrustStore(dated, []string{}, "")
			if err != nil {
				t.Fatal(err)
			}
			n.Roots = roots
			ca := roots.Started("containerd", started)
			probetest.Want(t, map[string]report.Check{"runtime/ca": ca}, "runtime/ca", report.Pass, "", "started", "count")
			if ca.Evidence["files"] != tt.ca || (ca.Evidence["newer"] == "true") != (tt.ca != "") {
				t.Errorf("runtime/ca: %v", ca.Evidence)
			}
			host := "registry.lab:" + itoa(port)
			c := probetest.Want(t, probe(t, n, host+"/app:1"), "tls/"+host+"/127.0.0.1:"+itoa(port), report.Pass, "")
			if c.Evidence["rootNewer"] != tt.root {
				t.Errorf("rootNewer is %q, want %q", c.Evidence["rootNewer"], tt.root)
			}
		})
	}
}

func TestIgnoredHostsToml(t *testing.T) {
	hosts := "[host.\"https://m.lab\"]\n"
	look := func(tree map[string]string, c runtimeconfig.RegistryConfig, domain string) report.Check {
		n := &connect.Prober{Node: view.Node{Files: probetest.Files(t, tree), Config: c}}
		check, _ := hostsCheck(n, reference.Ref{Domain: domain})
		return check
	}
	two := []string{"/etc/containerd/certs.d", "/etc/docker/certs.d"}
	t.Run("the directory is not searched", func(t *testing.T) {
		c := look(map[string]string{"/etc/containerd/certs.d/registry.lab/hosts.toml": hosts}, runtimeconfig.RegistryConfig{Dirs: []string{strings.Join(two, ":")}, Passed: two, Why: "of a reason"}, "registry.lab")
		if c.Outcome != report.Fail || c.Cause != report.RuntimeConfigInvalid || c.Evidence["ignored"] != "true" || c.Evidence["order"] != "registry.lab" || !strings.Contains(c.Summary, "of a reason") {
			t.Errorf("%+v", c)
		}
	})
	t.Run("the directory is searched after a restart", func(t *testing.T) {
		c := look(map[string]string{"/new/registry.lab/hosts.toml": hosts}, runtimeconfig.RegistryConfig{Dirs: []string{"/old"}, Passed: []string{"/new"}, Why: "of a reason", Stale: true}, "registry.lab")
		if c.Outcome != report.Fail || c.Cause != report.RuntimeConfigStale || c.Evidence["ignored"] != "true" || c.Evidence["file"] != "/new/registry.lab/hosts.toml" {
			t.Errorf("%+v", c)
		}
	})
	for _, tt := range []struct{ domain, at, unused string }{
		{"registry.lab:5000", "registry.lab/hosts.toml", "/c/registry.lab/hosts.toml"},
		{"registry.lab:5000", "registry.lab_5000/hosts.toml", "/c/registry.lab_5000/hosts.toml"},
		{"registry.lab:5000", "registry.lab_5000_/hosts.toml", ""},
		{"registry.lab:5000", "registry.lab:5000/hosts.toml", ""},
		{"registry.lab:5000", "other.lab/hosts.toml", ""},
		{"[::1]:5000", "[::1]/hosts.toml", "/c/[::1]/hosts.toml"},
		{"registry.lab", "registry.lab_443_/hosts.toml", "/c/registry.lab_443_/hosts.toml"},
		{"registry.lab", "Registry.lab/hosts.toml", "/c/Registry.lab/hosts.toml"},
		{"registry.lab", "hosts.toml", "/c/hosts.toml"},
		{"docker.io", "registry-1.docker.io/hosts.toml", "/c/registry-1.docker.io/hosts.toml"},
		{"docker.io", "_default/hosts.toml", ""},
	} {
		c := look(map[string]string{filepath.Join("/c", tt.at): hosts}, runtimeconfig.RegistryConfig{Dirs: []string{"/c"}}, tt.domain)
		if c.Outcome != report.Pass || c.Evidence["unused"] != tt.unused {
			t.Errorf("%s: %s: %s %v", tt.domain, tt.at, c.Summary, c.Evidence)
		}
	}
	t.Run("Docker's layout beside a hosts.toml", func(t *testing.T) {
		tree := map[string]string{"/c/r.lab/hosts.toml": "server = \"https://r.lab\"\n", "/c/r.lab/ca.crt": "x", "/c/r.lab/used.crt": "y"}
		if c := look(tree, runtimeconfig.RegistryConfig{Dirs: []string{"/c"}}, "r.lab"); c.Evidence["unused"] != "/c/r.lab/ca.crt, /c/r.lab/used.crt" {
			t.Errorf("%v", c.Evidence)
		}
		ca := probetest.NewAuthority(t, nil)
		tree["/c/r.lab/hosts.toml"], tree["/c/r.lab/used.crt"] = "ca = \"used.crt\"\n", string(ca.PEM)
		if c := look(tree, runtimeconfig.RegistryConfig{Dirs: []string{"/c"}}, "r.lab"); c.Evidence["unused"] != "/c/r.lab/ca.crt" {
			t.Errorf("%v", c.Evidence)
		}
		delete(tree, "/c/r.lab/hosts.toml")
		tree["/c/r.lab/ca.crt"] = string(ca.PEM)
		if c := look(tree, runtimeconfig.RegistryConfig{Dirs: []string{"/c"}}, "r.lab"); c.Outcome != report.Pass || c.Evidence["unused"] != "" || c.Evidence["file"] != "/c/r.lab" {
			t.Errorf("%+v", c)
		}
	})
}

func TestUnreadableHostFiles(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	pair := probetest.PairPEM(t, ca.Good(t, "client.lab"))
	for name, tt := range map[string]struct{ toml, file, reason string }{
		"ca absent":              {`ca = "no.pem"`, "/c/r.lab/no.pem", "ENOENT"},
		"ca is a directory":      {`ca = "/c"`, "/c", "cannot be read"},
		"ca empty":               {`ca = "empty"`, "/c/r.lab/empty", "no certificate"},
		"ca holds a key only":    {`ca = ["good.pem", "key.pem"]`, "/c/r.lab/key.pem", "no certificate"},
		"client absent":          {`client = "no.pem"`, "/c/r.lab/no.pem", "ENOENT"},
		"client key absent":      {`client = [["good.pem", "no.key"]]`, "/c/r.lab/no.key", "ENOENT"},
		"client without its key": {`client = "good.pem"`, "/c/r.lab/good.pem", "do not load"},
	} {
		t.Run(name, func(t *testing.T) {
			_, key, _ := strings.Cut(pair, "-----BEGIN PRIVATE KEY")
			n := &connect.Prober{Node: view.Node{Config: runtimeconfig.RegistryConfig{Dirs: []string{"/c"}}, Files: probetest.Files(t, map[string]string{
				"/c/r.lab/hosts.toml": "[host.\"https://r.lab\"]\n" + tt.toml, "/c/r.lab/good.pem": string(ca.PEM), "/c/r.lab/empty": "", "/c/r.lab/key.pem": "-----BEGIN PRIVATE KEY" + key,
			})}}
			c, _ := hostsCheck(n, reference.Ref{Domain: "r.lab"})
			if c.Outcome != report.Fail || c.Cause != report.RuntimeConfigInvalid || c.Evidence["file"] != tt.file || !strings.Contains(c.Evidence["reason"], tt.reason) {
				t.Errorf("%+v", c)
			}
			if c.Evidence["ignored"] != "" {
				t.Error("the runtime does not ignore it, it refuses every pull")
			}
		})
	}
}

func itoa(port uint16) string { return strconv.Itoa(int(port)) }
