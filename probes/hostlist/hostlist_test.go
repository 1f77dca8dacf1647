package hostlist

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

func TestIgnoredHostsToml(t *testing.T) {
	hosts := "[host.\"https://m.lab\"]\n"
	look := func(tree map[string]string, c runtimeconfig.RegistryConfig, domain string) report.Check {
		check, _ := Check(c, probetest.Files(t, tree), reference.Ref{Domain: domain})
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
			files := probetest.Files(t, map[string]string{
				"/c/r.lab/hosts.toml": "[host.\"https://r.lab\"]\n" + tt.toml, "/c/r.lab/good.pem": string(ca.PEM), "/c/r.lab/empty": "", "/c/r.lab/key.pem": "-----BEGIN PRIVATE KEY" + key,
			})
			c, _ := Check(runtimeconfig.RegistryConfig{Dirs: []string{"/c"}}, files, reference.Ref{Domain: "r.lab"})
			if c.Outcome != report.Fail || c.Cause != report.RuntimeConfigInvalid || c.Evidence["file"] != tt.file || !strings.Contains(c.Evidence["reason"], tt.reason) {
				t.Errorf("%+v", c)
			}
			if c.Evidence["ignored"] != "" {
				t.Error("the runtime does not ignore it, it refuses every pull")
			}
		})
	}
}
