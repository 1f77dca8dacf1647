package credentials

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/report"
)

// canary is part of every password of these tests, and must be in no check.
const canary = "hunter2"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func login(server, user string) string {
	return fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, server, user, canary+"-"+user)
}

// podSecret returns a pull secret that the pod lists.
func podSecret(name, data string) SecretLookup {
	s := Secret{Namespace: "shop", Name: name, Type: typeJSON, Data: map[string][]byte{keyJSON: []byte(data)}}
	return SecretLookup{Namespace: s.Namespace, Name: s.Name, Secret: &s}
}

// authFile returns a docker config.json as "pullprobe check" passes it.
func authFile(name, data string) SecretLookup {
	secret := SecretFromFile(name, []byte(data))
	return SecretLookup{Name: name, Secret: &secret}
}

// opaqueSecret returns a pull secret of a type that the kubelet ignores.
func opaqueSecret(name string) SecretLookup {
	f := podSecret(name, login("r.example", "u"))
	f.Secret.Type = "Opaque"
	return f
}

func nodeFile(data string) NodeFile {
	k := Kubelet{Args: []string{"kubelet"}, WorkDir: "/", Files: onNode(map[string]string{"/var/lib/kubelet/config.json": data})}
	return k.DockerConfig()
}

func answer(user, server string) ProviderResult {
	return ProviderResult{Provider: user, Credentials: []Credential{{Server: server, Username: user, Password: canary, Source: "provider " + user}}}
}

var providers = ProviderConfig{Path: "/etc/providers.yaml", BinDir: "/bin"}

// ecrLogin returns a docker config.json whose password expires at that time.
func ecrLogin(at time.Time) string {
	return fmt.Sprintf(`{"auths":{"r.example":{"username":"AWS","password":%q}}}`, expiring(at))
}

// expiring returns a JSON web token that expires at that time.
func expiring(at time.Time) string {
	raw := base64.RawURLEncoding.EncodeToString
	return raw([]byte(`{"alg":"none"}`)) + "." + raw(fmt.Appendf(nil, `{"exp":%d}`, at.Unix())) + "." + raw([]byte(canary))
}

// TestWalk tests what is tried, in which order, and what the check reports, as
// the kubelet resolves all sources (pkg/kubelet/images,
// makeLookupPullCredentialsFunc).
func TestWalk(t *testing.T) {
	runtime := []Credential{{
		Server:   "r.example",
		Host:     "r.example",
		Username: "ctr",
		Password: canary,
		Source:   "runtime /etc/containerd/config.toml",
	}}
	tests := []struct {
		name    string
		sources Sources
		outcome report.Outcome
		cause   report.Cause
		users   string            // of the credentials that are tried, in order
		want    map[string]string // evidence; empty: the key is absent
		summary string            // a part of it
	}{
		{name: "nothing anywhere", outcome: report.Pass, summary: "the pod has no pull secrets"},
		{
			name:    "secret",
			sources: Sources{Secrets: []SecretLookup{podSecret("a", login("r.example", "u"))}},
			outcome: report.Pass,
			users:   "u",
			want:    map[string]string{"secret": "a", "source": "secret shop/a", "matched": "secret shop/a for r.example"},
			summary: "does not pull anonymously",
		},
		{
			name: "most specific path first, across secrets",
			sources: Sources{
				Secrets: []SecretLookup{
					podSecret("a", login("r.example", "host")),
					podSecret("b", login("r.example/team/app", "app")),
					podSecret("c", login("r.example/team", "team")),
				},
			},
			outcome: report.Pass,
			users:   "app team host",
			want:    map[string]string{"secret": "b"},
		},
		{
			name: "same server: in the pod's order",
			sources: Sources{
				Secrets: []SecretLookup{
					podSecret("b", login("r.example", "first")),
					podSecret("a", login("https://r.example/v1/", "second")),
				},
			},
			outcome: report.Pass,
			users:   "first second",
		},
		{
			name: "two servers of one secret are disambiguated",
			sources: Sources{
				Secrets: []SecretLookup{
					podSecret("a", `{"auths":{
						"r.example":{"username":"host","password":"`+canary+`"},
						"r.example/team":{"username":"team","password":"`+canary+`"}}}`),
				},
			},
			outcome: report.Pass,
			users:   "team host",
			want: map[string]string{
				"source":  "secret shop/a, r.example/team",
				"matched": "secret shop/a, r.example/team; secret shop/a, r.example",
			},
		},

		{
			name:    "absent",
			sources: Sources{Secrets: []SecretLookup{{Namespace: "shop", Name: "a"}}},
			outcome: report.Fail,
			cause:   report.PullSecretMissing,
			want:    map[string]string{"secret": "a", "absent": "secret shop/a"},
			summary: "pull secret shop/a does not exist",
		},
		{
			name:    "two absent",
			sources: Sources{Secrets: []SecretLookup{{Namespace: "shop", Name: "a"}, {Namespace: "shop", Name: "b"}}},
			outcome: report.Fail,
			cause:   report.PullSecretMissing,
			want:    map[string]string{"absent": "secret shop/a; secret shop/b"},
			summary: "pull secret shop/a, pull secret shop/b do not exist",
		},
		{
			name:    "absent beside a good one",
			sources: Sources{Secrets: []SecretLookup{{Namespace: "shop", Name: "a"}, podSecret("b", login("r.example", "u"))}},
			outcome: report.Pass,
			users:   "u",
			want:    map[string]string{"secret": "b", "absent": "secret shop/a"},
		},
		{
			name:    "other registry",
			sources: Sources{Secrets: []SecretLookup{podSecret("a", login("other.example", "u"))}},
			outcome: report.Fail,
			cause:   report.PullSecretOtherRegistry,
			want:    map[string]string{"secret": "a", "servers": "other.example"},
			summary: "none of the pod's pull secrets is for r.example, only for other.example",
		},
		{
			name:    "invalid auth file",
			sources: Sources{Secrets: []SecretLookup{authFile("/auth.json", "{")}},
			outcome: report.Fail,
			cause:   report.PullSecretMalformed,
			want:    map[string]string{"secret": "/auth.json", "fatal": "true"},
			summary: "file /auth.json is not valid: it is not JSON",
		},
		{
			name:    "no server that is a URL",
			sources: Sources{Secrets: []SecretLookup{podSecret("a", login("https://%zz", "u"))}},
			outcome: report.Fail,
			cause:   report.PullSecretOtherRegistry,
			want:    map[string]string{"servers": ""},
			summary: "none of the pod's pull secrets is for r.example",
		},
		{
			name:    "auth file for another registry",
			sources: Sources{Secrets: []SecretLookup{authFile("/auth.json", login("other.example", "u"))}},
			outcome: report.Fail,
			cause:   report.PullSecretOtherRegistry,
			want:    map[string]string{"secret": "/auth.json"},
			summary: "file /auth.json has no credentials for r.example, only for other.example",
		},
		{
			name: "one that cannot be decoded spoils all",
			sources: Sources{
				Secrets: []SecretLookup{
					podSecret("a", login("r.example", "u")),
					podSecret("b", `{"auths":{"other.example":{"auth":"!"}}}`),
				},
				Node:    &NodeSources{File: nodeFile(login("r.example", "node"))},
				Runtime: runtime,
			},
			outcome: report.Fail,
			cause:   report.PullSecretMalformed,
			want:    map[string]string{"secret": "b", "fatal": "true", "matched": "", "runtime": ""},
			summary: "pull secret shop/b is not valid, so every pull of this pod fails: an \"auth\" field is not base64",
		},
		{
			name:    "wrong type is ignored",
			sources: Sources{Secrets: []SecretLookup{opaqueSecret("a")}},
			outcome: report.Fail,
			cause:   report.PullSecretMalformed,
			want:    map[string]string{"secret": "a", "fatal": ""},
			summary: "the kubelet ignores pull secret shop/a: its type is \"Opaque\"",
		},
		{
			name:    "wrong type beside a good one",
			sources: Sources{Secrets: []SecretLookup{opaqueSecret("a"), podSecret("b", login("r.example", "u"))}},
			outcome: report.Pass,
			users:   "u",
			want:    map[string]string{"secret": "b"},
		},
		{
			name: "may not be read",
			sources: Sources{
				Secrets: []SecretLookup{
					{
						Namespace: "shop",
						Name:      "a",
						Err:       &ForbiddenError{Verb: "get", Resource: "secrets", Namespace: "shop", Name: "a"},
					},
				},
			},
			outcome: report.Skipped,
			summary: "cannot get secrets in namespace shop (a): apply manifests/components/secrets",
			want:    map[string]string{"unknown": "secret shop/a"},
		},

		{
			name: "node file after the secrets",
			sources: Sources{
				Secrets: []SecretLookup{podSecret("a", login("r.example", "u"))},
				Node:    &NodeSources{File: nodeFile(login("r.example/team/app", "node"))},
			},
			outcome: report.Pass,
			users:   "u node",
			want:    map[string]string{"source": "secret shop/a"},
		},
		{
			name:    "node file alone",
			sources: Sources{Node: &NodeSources{File: nodeFile(login("r.example", "node"))}},
			outcome: report.Pass,
			users:   "node",
			want:    map[string]string{"source": "node file /var/lib/kubelet/config.json", "node": "read", "secret": ""},
		},
		{
			name: "node file serves what the pod's secrets do not",
			sources: Sources{
				Secrets: []SecretLookup{podSecret("a", login("other.example", "u"))},
				Node:    &NodeSources{File: nodeFile(login("r.example", "node"))},
			},
			outcome: report.Pass,
			users:   "node",
		},
		{
			name:    "the node has nothing",
			sources: Sources{Node: &NodeSources{File: nodeFile(`{}`)}},
			outcome: report.Pass,
			summary: "the node has no credentials for this image",
			want:    map[string]string{"node": "read"},
		},
		{
			name:    "the kubelet is not visible",
			sources: Sources{Node: &NodeSources{Problem: "no hostPID"}},
			outcome: report.Pass,
			want:    map[string]string{"node": "unknown", "unknown": "the node's docker config file and credential providers"},
		},

		{
			name: "provider after the node's file",
			sources: Sources{
				Node: &NodeSources{
					File:      nodeFile(login("r.example", "node")),
					Providers: providers,
					Results:   []ProviderResult{answer("prov", "r.example/team")},
				},
			},
			outcome: report.Pass,
			users:   "node prov",
			want:    map[string]string{"provider": "prov"},
		},
		{
			name: "providers together, the most specific first",
			sources: Sources{
				Node: &NodeSources{
					Providers: providers,
					Results:   []ProviderResult{answer("one", "r.example"), answer("two", "r.example/team")},
				},
			},
			outcome: report.Pass,
			users:   "two one",
		},
		{
			name:    "provider gives for something else",
			sources: Sources{Node: &NodeSources{Providers: providers, Results: []ProviderResult{answer("prov", "other.example")}}},
			outcome: report.Pass,
			want:    map[string]string{"provider": "prov"},
		},
		{
			name: "provider fails",
			sources: Sources{
				Node: &NodeSources{
					Providers: providers,
					Results: []ProviderResult{
						{
							Provider: "lab",
							Failed:   &ProviderError{Kind: "exit", ExitCode: 3, Reason: "it exited with status 3"},
						},
					},
				},
			},
			outcome: report.Fail,
			cause:   report.CredentialProviderFailed,
			want:    map[string]string{"providerFailed": "lab"},
			summary: "credential provider lab failed: it exited with status 3",
		},
		{
			name: "provider fails beside another registry's secret",
			sources: Sources{
				Secrets: []SecretLookup{podSecret("a", login("other.example", "u"))},
				Node: &NodeSources{
					Providers: providers,
					Results:   []ProviderResult{{Provider: "lab", Failed: &ProviderError{Kind: "missing"}}},
				},
			},
			outcome: report.Fail,
			cause:   report.CredentialProviderFailed,
		},
		{
			name: "provider fails and a secret applies",
			sources: Sources{
				Secrets: []SecretLookup{podSecret("a", login("r.example", "u"))},
				Node: &NodeSources{
					Providers: providers,
					Results:   []ProviderResult{{Provider: "lab", Failed: &ProviderError{Kind: "missing"}}},
				},
			},
			outcome: report.Pass,
			users:   "u",
			want:    map[string]string{"providerFailed": "lab"},
		},
		{
			name: "provider is not run",
			sources: Sources{
				Secrets: []SecretLookup{podSecret("a", login("other.example", "u"))},
				Node:    &NodeSources{Providers: providers, Results: []ProviderResult{{Provider: "lab", Skipped: "not switched on"}}},
			},
			outcome: report.Skipped,
			summary: "credential provider lab was not run; the kubelet runs it for this image",
			want:    map[string]string{"providerNotRun": "lab", "unknown": "credential provider lab"},
		},
		{
			name: "provider is not run, a secret applies",
			sources: Sources{
				Secrets: []SecretLookup{podSecret("a", login("r.example", "u"))},
				Node:    &NodeSources{Providers: providers, Results: []ProviderResult{{Provider: "lab", Skipped: "not switched on"}}},
			},
			outcome: report.Pass,
			users:   "u",
			want:    map[string]string{"unknown": "credential provider lab"},
		},

		{
			name:    "containerd's own, if the kubelet has none",
			sources: Sources{Runtime: runtime},
			outcome: report.Pass,
			want:    map[string]string{"runtime": "runtime /etc/containerd/config.toml for r.example"},
			summary: "containerd has its own credentials for r.example",
		},
		{
			name:    "containerd's own counts for nothing beside the kubelet's",
			sources: Sources{Secrets: []SecretLookup{podSecret("a", login("r.example", "u"))}, Runtime: runtime},
			outcome: report.Pass,
			users:   "u",
			want:    map[string]string{"runtime": ""},
		},

		{
			name: "not attached, added later",
			sources: Sources{
				Account: &ServiceAccount{
					Namespace:   "shop",
					Name:        "default",
					NotAttached: []SecretLookup{podSecret("late", login("r.example", "u"))},
				},
			},
			outcome: report.Fail,
			cause:   report.PullSecretNotAttached,
			want:    map[string]string{"secret": "late", "notAttached": "late"},
			summary: "it was added after the pod was created",
		},
		{
			name: "not attached, the pod lists its own",
			sources: Sources{
				Secrets: []SecretLookup{podSecret("own", login("other.example", "u"))},
				Account: &ServiceAccount{
					Namespace:   "shop",
					Name:        "default",
					PodListsOwn: true,
					NotAttached: []SecretLookup{podSecret("late", login("r.example", "u"))},
				},
			},
			outcome: report.Fail,
			cause:   report.PullSecretNotAttached,
			want:    map[string]string{"secret": "late"},
			summary: "the pod lists its own pull secrets",
		},
		{
			name: "what the ServiceAccount lists is for another registry",
			sources: Sources{
				Account: &ServiceAccount{
					Namespace:   "shop",
					Name:        "default",
					NotAttached: []SecretLookup{podSecret("late", login("other.example", "u"))},
				},
			},
			outcome: report.Pass,
			want:    map[string]string{"notAttached": ""},
		},

		{
			name: "expired",
			sources: Sources{
				Secrets: []SecretLookup{
					podSecret("a", ecrLogin(noon.Add(-3*time.Hour))),
				},
				Now: noon,
			},
			outcome: report.Pass,
			users:   "AWS",
			want:    map[string]string{"expired": "secret shop/a", "expires": "2026-11-21T09:00:00Z"},
		},
		{
			name: "expires later",
			sources: Sources{
				Secrets: []SecretLookup{
					podSecret("a", ecrLogin(noon.Add(3*time.Hour))),
				},
				Now: noon,
			},
			outcome: report.Pass,
			users:   "AWS",
			want:    map[string]string{"expired": "", "expires": "2026-11-21T15:00:00Z"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.sources.Now.IsZero() {
				tt.sources.Now = noon
			}
			w := Resolve("r.example/team/app", tt.sources)
			c := w.Checks[0]
			var users []string
			for _, m := range w.Matched {
				users = append(users, m.Username)
			}
			if c.ID != "credentials" || c.Outcome != tt.outcome || c.Cause != tt.cause || strings.Join(users, " ") != tt.users {
				t.Errorf("got %s %v %s with %q: %s", c.ID, c.Outcome, c.Cause, users, c.Summary)
			}
			for key, want := range tt.want {
				if c.Evidence[key] != want {
					t.Errorf("evidence %s is %q, want %q", key, c.Evidence[key], want)
				}
			}
			if !strings.Contains(c.Summary, tt.summary) {
				t.Errorf("summary %q, want %q", c.Summary, tt.summary)
			}
			ids := map[string]bool{}
			for _, c := range w.Checks {
				if ids[c.ID] || c.Kind != report.KindCredentials || c.Summary == "" ||
					c.Outcome == report.Unknown || c.Outcome == report.Fail && c.Cause == "" {
					t.Errorf("check %+v", c)
				}
				ids[c.ID] = true
			}
			encoded := base64.RawURLEncoding.EncodeToString([]byte(canary))
			if text := fmt.Sprintf("%+v %#v", w, w.Checks); strings.Contains(text, canary) || strings.Contains(text, encoded) {
				t.Errorf("a password is visible: %s", text)
			}
		})
	}
}

// TestCandidates tests the check of each credential: its source, whether it
// applies, and why not.
func TestCandidates(t *testing.T) {
	w := Resolve("r.example:5000/team/app", Sources{Now: noon, Secrets: []SecretLookup{
		podSecret("a", login("r.example", "u")),
		podSecret("b", login("https://user:"+canary+"@r.example:5000/v2/?token="+canary, "u")),
		podSecret("c", `{"auths":{"r.example:5000/team":{"identitytoken":"`+canary+`"}}}`),
		podSecret("d", fmt.Sprintf(`{"auths":{"*.example:5000":{"username":"u","password":%q}}}`, expiring(noon.Add(-72*time.Hour)))),
	}})
	type row struct {
		ID, Source, Server, Applies, Outcome, Why string
	}
	var got []row
	for _, c := range w.Checks[1:] {
		e := c.Evidence
		got = append(got, row{c.ID, e["source"], e["server"], e["applies"], c.Outcome.String(), e["why"] + e["note"]})
	}
	want := []row{
		{"credentials/1", "secret shop/c", "r.example:5000/team", "true", "pass", "the kubelet ignores its identitytoken"},
		{"credentials/2", "secret shop/b", "r.example:5000", "true", "pass", ""},
		{"credentials/3", "secret shop/d", "*.example:5000", "true", "fail", ""},
		{"credentials/4", "secret shop/a", "r.example", "false", "pass", "it is for no port, but the image has port 5000"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := w.Checks[3].Summary; !strings.Contains(s, "3 days ago") || !strings.Contains(s, "does not pull anonymously") {
		t.Errorf("summary of the expired one: %s", s)
	}
	if s := w.Checks[1].Summary; !strings.Contains(s, "pulls anonymously") {
		t.Errorf("summary of the empty one: %s", s)
	}
	if text := fmt.Sprintf("%+v", w); strings.Contains(text, canary) {
		t.Errorf("a password is visible: %s", text)
	}
}

// TestOldKubelets tests the order of the node's credentials: a kubelet before 1.33 keeps
// file and providers in one keyring.
func TestOldKubelets(t *testing.T) {
	node := NodeSources{
		File:      nodeFile(login("r.example", "file")),
		Providers: providers,
		Results:   []ProviderResult{answer("zeta", "r.example"), answer("beta", "r.example"), answer("path", "r.example/team")},
	}
	for minor, want := range map[int]string{
		0:  "secret file path zeta beta",
		31: "secret path file beta zeta",
		32: "secret path file beta zeta",
		33: "secret file path zeta beta",
	} {
		n := node
		n.Minor = minor
		w := Resolve("r.example/team/app", Sources{Now: noon, Node: &n, Secrets: []SecretLookup{podSecret("s", login("r.example", "secret"))}})
		var got []string
		for _, c := range w.Matched {
			got = append(got, c.Username)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("kubelet 1.%d tries %q, want %q", minor, got, want)
		}
	}
}

// TestMatchBesideMalformed tests that a credential that matches is not reported
// as one for another registry if another secret makes every pull fail.
func TestMatchBesideMalformed(t *testing.T) {
	secrets := []SecretLookup{podSecret("a", login("r.example", "u")), podSecret("b", "{")}
	w := Resolve("r.example/app", Sources{Secrets: secrets, Now: noon})
	if e := w.Checks[1].Evidence; e["applies"] != "false" || !strings.Contains(e["why"], "not valid, so every pull fails") {
		t.Errorf("got %q: %q", w.Checks[1].Summary, e)
	}
}

// TestManyCandidates tests that a secret with a thousand servers does not fill
// the report.
func TestManyCandidates(t *testing.T) {
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprintf(`"r.example/%d":{"username":"u","password":"p"},"r%d.example":{"username":"u","password":"p"}`, i, i))
	}
	w := Resolve("r.example/1/2/app", Sources{Secrets: []SecretLookup{podSecret("a", `{"auths":{`+strings.Join(list, ",")+`}}`)}, Now: noon})
	if n := len(w.Checks); n > 1+2*maxCandidates+maxMismatched || w.Checks[0].Evidence["more"] == "" {
		t.Errorf("%d checks, more %q", n, w.Checks[0].Evidence["more"])
	}
	if len(w.Matched) != 1 || len(w.Used) != 1 {
		t.Errorf("%d match, %d are used", len(w.Matched), len(w.Used))
	}
	list = nil
	for i := range 1000 {
		list = append(list, fmt.Sprintf(`"r.example/?%d":{"username":"u","password":"p%d"}`, i, i))
	}
	w = Resolve("r.example/app", Sources{Secrets: []SecretLookup{podSecret("a", `{"auths":{`+strings.Join(list, ",")+`}}`)}, Now: noon})
	if unknown := w.Checks[0].Evidence["unknown"]; len(w.Matched) != maxCandidates || !strings.Contains(unknown, "more matching") {
		t.Errorf("%d are tried, unknown %q: a tenant's secret must not make pullprobe guess passwords", len(w.Matched), unknown)
	}
}

func TestCovered(t *testing.T) {
	for _, tt := range []struct {
		name    string
		secrets []SecretLookup
		want    bool
	}{
		{"none", nil, false},
		{"applies", []SecretLookup{podSecret("a", login("r.example", "u"))}, true},
		{"does not", []SecretLookup{podSecret("a", login("other.example", "u"))}, false},
		{"broken", []SecretLookup{podSecret("a", `{`)}, true},
		{"unreadable", []SecretLookup{{Name: "a", Err: errors.New("no")}}, true},
	} {
		if got := Sufficient("r.example/app", tt.secrets); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
