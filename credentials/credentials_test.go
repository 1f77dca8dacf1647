package credentials

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/report"
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

func TestWalk(t *testing.T) {
	good := secret(typeJSON, keyJSON, `{"auths":{"r.example":{"username":"u","password":"hunter2"}}}`)
	other := secret(typeJSON, keyJSON, `{"auths":{"other.example":{"username":"u","password":"hunter2"}}}`)
	broken := secret(typeJSON, keyJSON, `{"auths":{"other.example":{"auth":"!"}}}`)
	opaque := secret("Opaque", keyJSON, `{}`)
	found := func(s *Secret) Found { return Found{Namespace: "shop", Name: "regcred", Secret: s} }
	tests := []struct {
		name    string
		secrets []Found
		outcome report.Outcome
		cause   report.Cause
		matched int
	}{
		{"none named", nil, report.Pass, "", 0},
		{"matches", []Found{found(&good)}, report.Pass, "", 1},
		{"absent", []Found{found(nil)}, report.Fail, report.PullSecretMissing, 0},
		{"absent beside a good one", []Found{found(nil), found(&good)}, report.Pass, "", 1},
		{"for another registry", []Found{found(&other)}, report.Fail, report.PullSecretOtherRegistry, 0},
		{"malformed, even for another registry", []Found{found(&good), found(&broken)}, report.Fail, report.PullSecretMalformed, 0},
		{"passed over for its type", []Found{found(&opaque)}, report.Fail, report.PullSecretMalformed, 0},
		{"not readable", []Found{{Namespace: "shop", Name: "regcred", Err: errors.New("forbidden")}}, report.Skipped, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			matched, c := Walk("r.example/app", tt.secrets)
			if c.Outcome != tt.outcome || c.Cause != tt.cause || len(matched) != tt.matched {
				t.Errorf("got %v %s with %d credentials: %s", c.Outcome, c.Cause, len(matched), c.Summary)
			}
			if text := fmt.Sprintf("%+v %+v %#v", c, matched, matched); strings.Contains(text, "hunter2") {
				t.Errorf("the password shows: %s", text)
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
		Walk("r.example/app", []Found{{Namespace: "n", Name: "s", Secret: &s}})
	})
}
