package runtimeconfig

import (
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/probes/probetest"
)

func TestMirrorsOfConfigTOML(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	tree := probetest.Files(t, map[string]string{"/ca.pem": string(ca.PEM), "/etc/containerd/certs.d/a.lab/hosts.toml": "x"})
	config := RegistryConfig{
		Mirrors: map[string][]string{"docker.io": {"https://m.lab", "n.lab:5000/v2/x"}, "own.lab": {"https://own.lab"}, "*": {"http://all.lab"}, "bad.lab": {"https://%zz"}},
		TLS:     map[string]TLSFiles{"m.lab": {CA: "/ca.pem"}, "plain.lab": {SkipVerify: true}, "broken.lab": {CA: "/no.pem"}},
		Passed:  []string{"/etc/containerd/certs.d"}, Why: "of mirrors",
	}
	for domain, want := range map[string]string{
		"docker.io": "https://m.lab/v2+ca https://n.lab:5000/v2/x https://registry-1.docker.io/v2", "own.lab": "https://own.lab/v2",
		"x.lab": "http://all.lab/v2 https://x.lab/v2", "localhost:5000": "http://all.lab/v2+insecure http://localhost:5000/v2+insecure", "plain.lab": "http://all.lab/v2 https://plain.lab/v2+insecure",
	} {
		loaded, problem := config.Hosts(tree, domain)
		var got []string
		for _, h := range loaded.List {
			s := h.Scheme + "://" + h.Host + h.Path
			if len(h.ExtraCAs) > 0 {
				s += "+ca"
			}
			if h.SkipVerify {
				s += "+insecure"
			}
			got = append(got, s)
		}
		if strings.Join(got, " ") != want || problem != nil {
			t.Errorf("%s: %v %v, want %s", domain, got, problem, want)
		}
	}
	for domain, file := range map[string]string{"broken.lab": "/no.pem", "bad.lab": "registry.mirrors in config.toml", "a.lab": "/etc/containerd/certs.d/a.lab/hosts.toml"} {
		if _, problem := config.Hosts(tree, domain); problem == nil || problem.File != file {
			t.Errorf("%s: %v", domain, problem)
		}
	}
}
