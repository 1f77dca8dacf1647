package parity

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/log"
	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// configuredHost is what a pull sees of a host.
type configuredHost struct {
	Scheme, Host, Path string
	Capabilities       int
	SkipVerify         bool
	Fallback           bool
	Clients            int
	Header             http.Header
}

// theirs is containerd's own reading of a configuration directory.
func theirs(t *testing.T, root, domain string) ([]configuredHost, error) {
	t.Helper()
	hosts, err := config.ConfigureHosts(context.Background(), config.HostOptions{HostDir: config.HostDirFromRoot(root)})(domain)
	var out []configuredHost
	for _, h := range hosts {
		c := configuredHost{Scheme: h.Scheme, Host: h.Host, Path: h.Path, Capabilities: int(h.Capabilities), Header: h.Header}
		c.Fallback = fmt.Sprintf("%T", h.Client.Transport) == "*docker.httpFallback"
		if tr, ok := h.Client.Transport.(*http.Transport); ok {
			c.SkipVerify, c.Clients = tr.TLSClientConfig.InsecureSkipVerify, len(tr.TLSClientConfig.Certificates)
		}
		out = append(out, c)
	}
	return out, err
}

func ours(root probetest.Tree, domain, version string) ([]configuredHost, *runtimeconfig.Problem) {
	loaded, problem := runtimeconfig.RegistryConfig{Dirs: []string{"/"}, Version: version}.Hosts(root, domain)
	var out []configuredHost
	for _, h := range loaded.List {
		c := configuredHost{Scheme: h.Scheme, Host: h.Host, Path: h.Path, Capabilities: int(h.Capabilities), Header: h.Header, Fallback: h.HTTPFallback}
		if !c.Fallback { // their transport hides behind the fallback
			c.SkipVerify, c.Clients = h.SkipVerify, len(h.Certificates)
		}
		out = append(out, c)
	}
	return out, problem
}

// compare holds our reading against containerd's.
func compare(t *testing.T, root, domain string) {
	t.Helper()
	wanted, err := theirs(t, root, domain)
	got, problem := ours(probetest.Tree(root), domain, "")
	if err != nil {
		if problem == nil {
			t.Errorf("containerd fails (%v), the probes see nothing wrong", err)
		}
		return
	}
	if problem != nil && !problem.Ignored {
		t.Errorf("containerd takes it, the probes say %v", problem)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("hosts for %s (-containerd +probes):\n%s", domain, diff)
	}
}

// hostsFiles are forms of hosts.toml; containerd of every version reads them, too.
var hostsFiles = map[string]string{
	"empty":                            "",
	"server":                           `server = "https://registry.lab"`,
	"server without scheme, with path": `server = "registry.lab/some/path/"`,
	"http server":                      `server = "http://registry.lab:5000"`,
	"one mirror":                       "server = \"https://registry.lab\"\n[host.\"https://m.lab\"]\n",
	"mirror alone":                     "[host.\"https://m.lab\"]\n",
	"order":                            "[host.\"https://z.lab\"]\n[host.\"https://a.lab\"]\n[host.\"m.lab\"]\n",
	"torn apart":                       "[host.\"https://z.lab\"]\n[host.\"https://a.lab\"]\n[host.\"https://z.lab\".header]\nx = \"y\"\n",
	"inline":                           "host = {\"https://m.lab\" = {capabilities = [\"pull\"]}}\n",
	"capabilities":                     "[host.\"https://m.lab\"]\ncapabilities = [\"Pull\", \"resolve\"]\n",
	"unknown capability":               "[host.\"https://m.lab\"]\ncapabilities = [\"fly\"]\n",
	"no capabilities":                  "[host.\"https://m.lab\"]\ncapabilities = []\n",
	"override_path":                    "[host.\"https://m.lab/v2/proxy\"]\noverride_path = true\n",
	"path":                             "[host.\"https://m.lab/v2/proxy\"]\n",
	"path with v2":                     "[host.\"https://m.lab/x/v2\"]\n",
	"only slash":                       "[host.\"https://m.lab/\"]\n",
	"override, no path":                "[host.\"https://m.lab\"]\noverride_path = true\n",
	"ca":                               "[host.\"https://m.lab\"]\nca = \"ca.pem\"\n",
	"ca list":                          "[host.\"https://m.lab\"]\nca = [\"ca.pem\", \"ca.pem\"]\n",
	"ca missing":                       "[host.\"https://m.lab\"]\nca = \"nothing.pem\"\n",
	"ca without certificate":           "[host.\"https://m.lab\"]\nca = \"hosts.toml\"\n",
	"ca number":                        "[host.\"https://m.lab\"]\nca = 7\n",
	"ca list empty":                    "[host.\"http://m.lab\"]\nca = []\n",
	"client":                           "[host.\"https://m.lab\"]\nclient = \"pair.pem\"\n",
	"client list":                      "[host.\"https://m.lab\"]\nclient = [\"pair.pem\", [\"pair.pem\", \"pair.pem\"]]\n",
	"client triple":                    "[host.\"https://m.lab\"]\nclient = [[\"a\", \"b\", \"c\"]]\n",
	"client missing":                   "[host.\"https://m.lab\"]\nclient = \"nothing.pem\"\n",
	"client empty list":                "[host.\"http://m.lab\"]\nclient = []\n",
	"skip_verify":                      "[host.\"https://m.lab\"]\nskip_verify = true\n",
	"skip_verify false":                "skip_verify = false\n[host.\"http://m.lab\"]\nskip_verify = false\n",
	"http and skip_verify":             "[host.\"http://m.lab\"]\nskip_verify = true\n[host.\"http://m.lab:80\"]\nskip_verify = true\n[host.\"http://m.lab:5000\"]\nskip_verify = true\n",
	"header":                           "[host.\"https://m.lab\".header]\nx-one = \"1\"\nx-two = [\"a\", \"b\"]\n",
	"header number":                    "[host.\"https://m.lab\".header]\nx-one = 1\n",
	"dial timeout":                     "[host.\"https://m.lab\"]\ndial_timeout = \"200ms\"\n",
	"bad dial timeout":                 "[host.\"https://m.lab\"]\ndial_timeout = \"soon\"\n",
	"syntax error":                     "server = \"https://registry.lab\n[host",
	"half a file":                      "[host.\"https://m.lab\"]\nca = \"ca.pem\"\n[host",
	"wrong type":                       "server = 7\n",
	"server in a host":                 "[host.\"https://m.lab\"]\nserver = \"https://x.lab\"\n",
	"bad url":                          "server = \"https://%zz\"\n",
	"userinfo":                         "server = \"https://u:p@registry.lab\"\n",
	"other scheme":                     "server = \"httpx://registry.lab\"\n",
	"no host":                          "server = \"https:///v2\"\n",
	"other tables":                     "[other]\nx = 1\n[host.\"https://m.lab\"]\n[plugins.host]\n",
	"array of tables":                  "[[host]]\nx = 1\n",
	"no [host], with settings":         "server = \"https://m.lab\"\nskip_verify = true\ncapabilities = [\"pull\"]\n",
	"[host] alone":                     "server = \"https://m.lab\"\n[host]\n",
	"dotted":                           "host.\"https://m.lab\".capabilities = [\"pull\"]\n",
	"below [host]":                     "[host]\n\"https://m.lab\" = {}\n\"https://a.lab\".skip_verify = true\n",
	"header first":                     "[host.\"https://z.lab\".header]\na = \"1\"\n[host.\"https://a.lab\"]\n[host.\"https://z.lab\"]\nskip_verify = true\n",
	"referrers":                        "[host.\"https://m.lab\"]\ncapabilities = [\"pull\", \"Referrers\"]\n",
	"referrers at the top":             "capabilities = [\"referrers\"]\n[host.\"https://m.lab\"]\n",
	"dial timeout and http":            "dial_timeout = \"1s\"\n[host.\"http://m.lab:5000\"]\ndial_timeout = \"200ms\"\n",
	"duplicate key":                    "server = \"https://a.lab\"\nserver = \"https://b.lab\"\n[host.\"https://m.lab\"]\n",
	"duplicate table":                  "[host.\"https://m.lab\"]\n[host.\"https://m.lab\"]\n",
	"capabilities text":                "[host.\"https://m.lab\"]\ncapabilities = \"pull\"\n",
	"capabilities mixed":               "[host.\"https://m.lab\"]\ncapabilities = [\"pull\", 1]\n",
	"skip_verify text":                 "[host.\"https://m.lab\"]\nskip_verify = \"true\"\n",
	"override_path number":             "[host.\"https://m.lab\"]\noverride_path = 1\n",
	"header list":                      "[host.\"https://m.lab\"]\nheader = [\"a\"]\n",
	"server list":                      "server = [\"https://m.lab\"]\n[host.\"https://m.lab\"]\n",
	"carriage returns":                 "server = \"https://m.lab\"\r\n\r\n[host.\"https://m.lab\"]\r\n  capabilities = [\"pull\"]\r\n",
	"byte order mark":                  "\ufeffserver = \"https://m.lab\"\n[host.\"https://m.lab\"]\n",
	"lists over lines":                 "[host.'https://m.lab'] # mirror\n\tcapabilities = [\n\t\t\"pull\", # first\n\t\t'resolve',\n\t]\n",
	"inline table over lines":          "host = {\n\"https://m.lab\" = {},\n}\n",
	"header over lines":                "[host.\"https://m.lab\"]\nheader = {\n\"a\" = \"1\",\n}\n",
	"header in one line":               "[host.\"https://m.lab\"]\nheader = {\"a\" = \"1\"}\n",
	"escapes of TOML 1.1":              "server = \"https://m.lab\\x2fv2\"\n[host.\"https://m.lab\"]\n",
	"no quotes":                        "[host.https://m.lab]\n",
	"quotes of a word processor":       "[host.\u201chttps://m.lab\u201d]\n",
	"upper case keys":                  "Server = \"https://m.lab\"\n[Host.\"https://a.lab\"]\n[host.\"https://m.lab\"]\nSkip_Verify = true\n",
	"unknown key":                      "[host.\"https://m.lab\"]\ninsecure = true\nskip-verify = true\n",
	"colon for a sign of equality":     "server: \"https://m.lab\"\n",
	"several in one line":              "server = \"https://m.lab\" [host.\"https://m.lab\"]\n",
}

func TestHostsLikeContainerd(t *testing.T) {
	if err := log.SetLevel("panic"); err != nil {
		t.Fatal(err)
	}
	ca := probetest.NewAuthority(t, nil)
	pair := probetest.PairPEM(t, ca.Good(t, "client.lab"))
	domains := []string{"registry.lab", "registry.lab:5000", "docker.io", "localhost", "localhost:5000", "localhost:80", "localhost:443", "127.0.0.1:5000", "[::1]:5000"}
	for name, text := range hostsFiles {
		t.Run(name, func(t *testing.T) {
			for _, domain := range domains {
				for _, dir := range []string{domain, strings.Replace(domain, ":5000", "_5000_", 1), "_default", "other.lab"} {
					root := probetest.Files(t, map[string]string{dir + "/hosts.toml": text, dir + "/ca.pem": string(ca.PEM), dir + "/pair.pem": pair})
					compare(t, string(root), domain)
				}
			}
		})
	}
	t.Run("certificate files", func(t *testing.T) {
		for _, tree := range []map[string]string{
			{"registry.lab/ca.crt": string(ca.PEM)},
			{"registry.lab/c.cert": pair},
			{"registry.lab/c.cert": pair, "registry.lab/c.key": pair, "registry.lab/d.cert": pair},
			{"registry.lab/c.cert": "nothing"},
			{"registry.lab/ca.crt": "nothing"},
			{"registry.lab/dir.crt/x": ""},
			{"registry.lab/hosts.toml": "[host", "registry.lab/ca.crt": string(ca.PEM)},
			{"registry.lab/hosts.toml": "[host", "registry.lab/c.cert": pair},
			{"registry.lab/hosts.toml": "server = \"https://registry.lab\"\n", "registry.lab/ca.crt": string(ca.PEM)},
			{"registry.lab/hosts.toml": "", "registry.lab/ca.crt": string(ca.PEM)},
			{"registry.lab/hosts.toml": "", "registry.lab/ca.crt": ""},
			{"registry.lab/ca.pem": string(ca.PEM)},
			{"registry.lab/hosts.toml": "[host.\"https://m.lab\"]\nca = \"/\"\n"},
			{"registry.lab/hosts.toml": "[host.\"https://m.lab\"]\nca = \"../ca.pem\"\nclient = [[\"c.pem\", \"no.key\"]]\n", "ca.pem": string(ca.PEM), "registry.lab/c.pem": pair},
			{"registry.lab/hosts.toml": "[host.\"https://m.lab\"]\nca = [\"a\", \"b\"]\n", "registry.lab/a": string(ca.PEM), "registry.lab/b": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
			{"registry.lab": "a file"},
			{"registry.lab/hosts.toml/x": "a directory"},
		} {
			compare(t, string(probetest.Files(t, tree)), "registry.lab")
		}
	})
	t.Run("no directory", func(t *testing.T) {
		for _, domain := range domains {
			compare(t, t.TempDir(), domain)
		}
	})
}

func FuzzHostsLikeContainerd(f *testing.F) {
	if err := log.SetLevel("panic"); err != nil {
		f.Fatal(err)
	}
	f.Add("server = \"https://registry.lab\"\n[host.\"https://m.lab\"]\nca = \"ca.pem\"\nskip_verify = true\n", "registry.lab")
	f.Add("[host.\"http://m.lab:5000/v2/x\"]\noverride_path = true\ncapabilities = [\"pull\"]\n[host.\"http://m.lab:5000/v2/x\".header]\na = [\"b\"]\n", "docker.io")
	f.Add("[host.'a'.header]\n[host.\"b\"]\nclient = [[\"a\",\"b\"]]\n[host.'a']\n", "localhost:5000")
	f.Fuzz(func(t *testing.T, text, domain string) {
		if domain == "" || domain == "." || domain == ".." || len(domain) > 100 || strings.ContainsAny(domain, "/\x00") {
			return
		}
		root := t.TempDir()
		dir := filepath.Join(root, domain)
		if os.MkdirAll(dir, 0o755) != nil || os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(text), 0o644) != nil {
			return
		}
		compare(t, root, domain)
		for _, version := range []string{"1.6.20", "1.7.35", "2.0.14"} {
			ours(probetest.Tree(root), domain, version)
		}
	})
}

func TestLocalhostLikeContainerd(t *testing.T) {
	for _, h := range []string{"localhost", "localhost:5000", "127.0.0.1", "127.1.2.3:80", "::1", "[::1]:5000", "[::1]", "registry.lab", "localhost.lab", ""} {
		if got, wanted := runtimeconfig.IsLocalhost(h), docker.IsLocalhost(h); got != wanted {
			t.Errorf("isLocalhost(%q) = %v, containerd says %v", h, got, wanted)
		}
	}
}
