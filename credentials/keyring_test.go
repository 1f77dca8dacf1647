package credentials

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLookup tests which keys apply to a repository, and in which order. The
// rules are those of the kubelet's keyring.
func TestLookup(t *testing.T) {
	tests := []struct {
		name       string
		servers    []string
		repository string
		want       []string
	}{
		{"exact host", []string{"registry.example"}, "registry.example/app", []string{"registry.example"}},
		{"other host", []string{"registry.example"}, "other.example/app", nil},
		{"scheme is dropped", []string{"https://registry.example"}, "registry.example/app", []string{"https://registry.example"}},
		{"version path is dropped", []string{"https://registry.example/v2/"}, "registry.example/app",
			[]string{"https://registry.example/v2/"}},
		{"version without its slash is a path", []string{"registry.example/v2"}, "registry.example/app", nil},
		{"port must be the same", []string{"registry.example", "registry.example:5000"}, "registry.example:5000/app",
			[]string{"registry.example:5000"}},
		{"443 is a port of its own", []string{"registry.example:443"}, "registry.example/app", nil},
		{"longer path first", []string{"registry.example", "registry.example/team", "registry.example/team/app"}, "registry.example/team/app",
			[]string{"registry.example/team/app", "registry.example/team", "registry.example"}},
		{"path is a prefix of text", []string{"registry.example/team"}, "registry.example/team-b/app",
			[]string{"registry.example/team"}},
		{"path of another team", []string{"registry.example/a"}, "registry.example/b/app", nil},
		{"glob covers one part", []string{"*.registry.example"}, "eu.registry.example/app", []string{"*.registry.example"}},
		{"glob does not cover two", []string{"*.registry.example"}, "a.eu.registry.example/app", nil},
		{"glob and exact", []string{"*.example", "registry.example"}, "registry.example/app",
			[]string{"registry.example", "*.example"}},
		{"Docker Hub by its old name", []string{"https://index.docker.io/v1/"}, "docker.io/library/nginx",
			[]string{"https://index.docker.io/v1/"}},
		{"Docker Hub by its short name", []string{"docker.io"}, "docker.io/library/nginx", []string{"docker.io"}},
		{"short name wins over old name", []string{"docker.io", "https://index.docker.io/v1/"}, "docker.io/library/nginx",
			[]string{"docker.io"}},
		{"Docker Hub by its API host does not apply", []string{"registry-1.docker.io"}, "docker.io/library/nginx", nil},
		{"not a URL", []string{"https://%zz"}, "registry.example/app", nil},
		{"http, too", []string{"http://registry.example"}, "registry.example/app", []string{"http://registry.example"}},
		{"scheme in capitals is none", []string{"HTTPS://registry.example"}, "registry.example/app", nil},
		{"host in capitals is another", []string{"Registry.example"}, "registry.example/app", nil},
		{"user and query do not count", []string{"https://u:p@registry.example/?a=b"}, "registry.example/app",
			[]string{"https://u:p@registry.example/?a=b"}},
		{"v1 with a path", []string{"https://registry.example/v1/team"}, "registry.example/team/app",
			[]string{"https://registry.example/v1/team"}},
		{"v1 without its slash is a path", []string{"https://registry.example/v1"}, "registry.example/app", nil},
		{"glob in the first label's middle", []string{"prefix*.registry.example"}, "prefix-eu.registry.example/app",
			[]string{"prefix*.registry.example"}},
		{"glob in the middle", []string{"eu.*.example"}, "eu.registry.example/app", []string{"eu.*.example"}},
		{"glob at the end", []string{"registry.*"}, "registry.example/app", []string{"registry.*"}},
		{"two globs", []string{"*.*.example"}, "eu.registry.example/app", []string{"*.*.example"}},
		{"a question mark begins a query", []string{"r?gistry.example"}, "registry.example/app", nil},
		{"no glob in the port", []string{"registry.example:*"}, "registry.example:5000/app", nil},
		{"no glob in the path", []string{"registry.example/*"}, "registry.example/team/app", nil},
		{"glob with port", []string{"*.example:5000"}, "registry.example:5000/app", []string{"*.example:5000"}},
		{"no pattern", []string{"[registry.example"}, "registry.example/app", nil},
		{"Docker Hub by a name without path", []string{"index.docker.io"}, "docker.io/library/nginx", []string{"index.docker.io"}},
		{"Docker Hub's old name with a path", []string{"https://index.docker.io/v1/team"}, "docker.io/team/app", nil},
		{"Docker Hub's old name is for it alone", []string{"https://index.docker.io/v1/"}, "registry.example/app", nil},
		{"localhost with port", []string{"localhost:5000"}, "localhost:5000/app", []string{"localhost:5000"}},
		{"address", []string{"192.0.2.1:5000/team"}, "192.0.2.1:5000/team/app", []string{"192.0.2.1:5000/team"}},
		{"IPv6 address", []string{"[2001:db8::1]:5000"}, "[2001:db8::1]:5000/app", []string{"[2001:db8::1]:5000"}},
		{"the same twice, as added", []string{"registry.example", "https://registry.example/v1/"}, "registry.example/app",
			[]string{"registry.example", "https://registry.example/v1/"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var k Keyring
			for _, s := range tt.servers {
				k.Add(Credential{Server: s})
			}
			var got []string
			for _, c := range k.Lookup(tt.repository) {
				got = append(got, c.Server)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
