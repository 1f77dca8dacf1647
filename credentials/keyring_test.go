package credentials

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Which keys apply to a repository, in which order; the rules are those of the
// kubelet's keyring.
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
		{"version path is dropped", []string{"https://registry.example/v2/"}, "registry.example/app", []string{"https://registry.example/v2/"}},
		{"version without its slash is a path", []string{"registry.example/v2"}, "registry.example/app", nil},
		{"port must be the same", []string{"registry.example", "registry.example:5000"}, "registry.example:5000/app", []string{"registry.example:5000"}},
		{"443 is a port of its own", []string{"registry.example:443"}, "registry.example/app", nil},
		{"longer path first", []string{"registry.example", "registry.example/team", "registry.example/team/app"}, "registry.example/team/app",
			[]string{"registry.example/team/app", "registry.example/team", "registry.example"}},
		{"path is a prefix of text", []string{"registry.example/team"}, "registry.example/team-b/app", []string{"registry.example/team"}},
		{"path of another team", []string{"registry.example/a"}, "registry.example/b/app", nil},
		{"glob covers one part", []string{"*.registry.example"}, "eu.registry.example/app", []string{"*.registry.example"}},
		{"glob does not cover two", []string{"*.registry.example"}, "a.eu.registry.example/app", nil},
		{"glob and exact", []string{"*.example", "registry.example"}, "registry.example/app", []string{"registry.example", "*.example"}},
		{"Docker Hub by its old name", []string{"https://index.docker.io/v1/"}, "docker.io/library/nginx", []string{"https://index.docker.io/v1/"}},
		{"Docker Hub by its short name", []string{"docker.io"}, "docker.io/library/nginx", []string{"docker.io"}},
		{"short name wins over old name", []string{"docker.io", "https://index.docker.io/v1/"}, "docker.io/library/nginx", []string{"docker.io"}},
		{"Docker Hub by its API host does not apply", []string{"registry-1.docker.io"}, "docker.io/library/nginx", nil},
		{"not a URL", []string{"https://%zz"}, "registry.example/app", nil},
		{"http, too", []string{"http://registry.example"}, "registry.example/app", []string{"http://registry.example"}},
		{"scheme in capitals is none", []string{"HTTPS://registry.example"}, "registry.example/app", nil},
		{"host in capitals is another", []string{"Registry.example"}, "registry.example/app", nil},
		{"user and query do not count", []string{"https://u:p@registry.example/?a=b"}, "registry.example/app", []string{"https://u:p@registry.example/?a=b"}},
		{"v1 with a path", []string{"https://registry.example/v1/team"}, "registry.example/team/app", []string{"https://registry.example/v1/team"}},
		{"v1 without its slash is a path", []string{"https://registry.example/v1"}, "registry.example/app", nil},
		{"glob in the first label's middle", []string{"prefix*.registry.example"}, "prefix-eu.registry.example/app", []string{"prefix*.registry.example"}},
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
		{"the same twice, as added", []string{"registry.example", "https://registry.example/v1/"}, "registry.example/app", []string{"registry.example", "https://registry.example/v1/"}},
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

func secret(typ, key, data string) Secret {
	return Secret{Namespace: "shop", Name: "regcred", Type: typ, Data: map[string][]byte{key: []byte(data)}}
}

func TestDecode(t *testing.T) {
	auth := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	tests := []struct {
		name     string
		secret   Secret
		user     string
		password string
		reason   string // part of the error
		fatal    bool
	}{
		{"auth", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"`+auth("u:p")+`"}}}`), "u", "p", "", false},
		{"auth without padding", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"`+strings.TrimRight(auth("u:pw"), "=")+`"}}}`), "u", "pw", "", false},
		{"password with a colon", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"`+auth("u:p:q")+`"}}}`), "u", "p:q", "", false},
		{"user and password", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"username":"u","password":"p"}}}`), "u", "p", "", false},
		{"auth wins", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"username":"x","password":"y","auth":"`+auth("u:p")+`"}}}`), "u", "p", "", false},
		{"legacy", secret(typeLegacy, keyLegacy, `{"r.example":{"auth":"`+auth("u:p")+`"}}`), "u", "p", "", false},
		{"identity token is ignored", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"identitytoken":"t"}}}`), "", "", "", false},

		{"null", secret(typeJSON, keyJSON, `{"auths":{"r.example":null}}`), "", "", "", false},
		{"user only", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"`+auth("u:")+`"}}}`), "u", "", "", false},
		{"password only", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"`+auth(":p")+`"}}}`), "", "p", "", false},
		{"field in capitals", secret(typeJSON, keyJSON, `{"AUTHS":{"r.example":{"Auth":"`+auth("u:p")+`"}}}`), "u", "p", "", false},
		{"other fields may be anything", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"`+auth("u:p")+`","identitytoken":7}},"credsStore":[1]}`), "u", "p", "", false},
		{"headers, unused", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"username":"u","password":"p"}},"HttpHeaders":{"X":"y"}}`), "u", "p", "", false},
		{"space around auth", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"`+auth("u:p")+`\n"}}}`), "u", "p", "", false},

		{"headers of the wrong type", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"username":"u","password":"p"}},"HttpHeaders":{"X":["y"]}}`), "", "", "array", true},
		{"URL-safe base64", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"`+strings.NewReplacer("+", "-", "/", "_").Replace(auth("u:\xff\xfe\xfb\xff"))+`"}}}`), "", "", "not base64", true},
		{"auth and space without padding", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":" `+strings.TrimRight(auth("u:pw"), "=")+`"}}}`), "", "", "not base64", true},
		{"base64 twice", secret(typeJSON, keyJSON, base64.StdEncoding.EncodeToString([]byte(`{"auths":{}}`))), "", "", "not JSON", true},
		{"email of the wrong type", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"username":"u","email":7}}}`), "", "", "number", true},
		{"legacy text under the newer type", secret(typeJSON, keyJSON, `{"r.example":{"auth":"`+auth("u:p")+`"}}`), "", "", "no entry", false},
		{"newer text under the legacy type", secret(typeLegacy, keyLegacy, `{"auths":{"r.example":{"auth":"`+auth("u:p")+`"}}}`), "", "", "", false},
		{"newer type, key of the legacy one", secret(typeJSON, keyLegacy, `{"r.example":{"auth":"`+auth("u:p")+`"}}`), "", "", "empty", false},
		{"not JSON", secret(typeJSON, keyJSON, `hunter2`), "", "", "not JSON", true},
		{"not base64", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"!hunter2!"}}}`), "", "", "not base64", true},
		{"no colon", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":"`+auth("hunter2")+`"}}}`), "", "", "user:password", true},
		{"wrong JSON type", secret(typeJSON, keyJSON, `{"auths":{"r.example":{"auth":7}}}`), "", "", "number", true},
		{"one bad entry spoils the rest", secret(typeJSON, keyJSON, `{"auths":{"good.example":{"auth":"`+auth("u:p")+`"},"r.example":{"auth":"!"}}}`), "", "", "not base64", true},
		{"empty", secret(typeJSON, keyJSON, ``), "", "", "empty", false},
		{"no entries", secret(typeJSON, keyJSON, `{}`), "", "", "no entry", false},
		{"wrong type", secret("Opaque", keyJSON, `{"auths":{}}`), "", "", "Opaque", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode(tt.secret)
			if tt.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != 1 || got[0].Username != tt.user || got[0].Password != tt.password {
					t.Errorf("got %q %q", got[0].Username, got[0].Password)
				}
				return
			}
			var bad *UnusableError
			if !errors.As(err, &bad) {
				t.Fatalf("error %v, want an UnusableError", err)
			}
			if bad.Fatal != tt.fatal || !strings.Contains(bad.Reason, tt.reason) {
				t.Errorf("fatal=%v %q", bad.Fatal, bad.Reason)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error quotes the secret: %v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(typeJSON, []byte(`{"auths":{"r.example":{"auth":"dTpw"}}}`))
	f.Add(typeLegacy, []byte(`{"r.example":{"username":"u"}}`))
	f.Add(typeJSON, []byte(`{"auths":{"https://%zz":null}}`))
	f.Fuzz(func(t *testing.T, typ string, data []byte) {
		s := Secret{Namespace: "n", Name: "s", Type: typ, Data: map[string][]byte{keyJSON: data, keyLegacy: data}}
		Walk("r.example/app", Sources{Secrets: []Found{{Namespace: "n", Name: "s", Secret: &s}}, Now: time.Unix(1, 0)})
	})
}
