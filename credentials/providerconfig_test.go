package credentials

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const providerYAML = `
kind: CredentialProviderConfig
apiVersion: kubelet.config.k8s.io/v1
providers:
- name: ecr-credential-provider
  matchImages: ["*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn"]
  defaultCacheDuration: 12h
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  args: [get-credentials]
  env: [{name: AWS_PROFILE, value: hunter2}]
`

func provider(name string) string {
	return `{"kind":"CredentialProviderConfig","apiVersion":"kubelet.config.k8s.io/v1","providers":[` + providerEntry(name) + `]}`
}

func providerEntry(name string) string {
	return `{"name":"` + name + `","matchImages":["r.example"],"defaultCacheDuration":"1m",` +
		`"apiVersion":"credentialprovider.kubelet.k8s.io/v1"}`
}

// TestProviderConfig tests how the kubelet reads its providers
// (plugin/config.go, readCredentialProviderConfig and
// validateCredentialProviderConfig).
func TestProviderConfig(t *testing.T) {
	good := provider("a")
	edit := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	withToken := func(attributes string) string {
		return edit(`"matchImages"`, `"tokenAttributes":{"serviceAccountTokenAudience":"a",`+attributes+`},"matchImages"`)
	}
	tests := []struct {
		name    string
		flags   []string
		files   map[string]string
		want    []string // names
		problem string
	}{
		{name: "none"},
		{name: "config without bin dir", flags: []string{"--image-credential-provider-config=/c.yaml"}},
		{name: "YAML", files: map[string]string{"/c": providerYAML}, want: []string{"ecr-credential-provider"}},
		{name: "JSON", files: map[string]string{"/c": good}, want: []string{"a"}},
		{
			name:  "directory, by name, others left out",
			want:  []string{"z", "b"},
			files: map[string]string{"/c/2.json": provider("b"), "/c/1.yaml": provider("z"), "/c/0.txt": "no", "/c/deeper/1.json": "no"},
		},
		{name: "empty directory", files: map[string]string{"/c/readme.txt": ""}, problem: "has no *.json"},
		{name: "absent", files: map[string]string{"/d": ""}, problem: "file does not exist"},
		{name: "not YAML", files: map[string]string{"/c": "hunter2: [}"}, problem: "not valid JSON or YAML"},
		{name: "JSON and more", files: map[string]string{"/c": good + "\n---\n" + good}, problem: "not valid JSON or YAML"},
		{
			name:    "token without cache type",
			files:   map[string]string{"/c": withToken(`"requireServiceAccount":true`)},
			problem: "tokenAttributes",
		},
		{
			name: "an annotation is required and optional",
			files: map[string]string{"/c": withToken(`"requireServiceAccount":true,"cacheType":"Token",` +
				`"requiredServiceAccountAnnotationKeys":["a/b"],"optionalServiceAccountAnnotationKeys":["c","a/b"]`)},
			problem: "tokenAttributes",
		},
		{
			name:  "token",
			files: map[string]string{"/c": withToken(`"requireServiceAccount":true,"cacheType":"Token"`)},
			want:  []string{"a"},
		},
		{
			name:    "other kind",
			files:   map[string]string{"/c": edit("CredentialProviderConfig", "KubeletConfiguration")},
			problem: "KubeletConfiguration",
		},
		{
			name:    "other version",
			files:   map[string]string{"/c": edit("kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v9")},
			problem: "v9",
		},
		{
			name:    "unknown field",
			files:   map[string]string{"/c": edit(`"matchImages"`, `"token":"hunter2","matchImages"`)},
			problem: "does not know",
		},
		{
			name:    "field in another case",
			files:   map[string]string{"/c": edit(`"matchImages"`, `"MatchImages"`)},
			problem: "does not know",
		},
		{
			name:    "doubled field",
			files:   map[string]string{"/c": edit(`"matchImages"`, `"name":"hunter2","matchImages"`)},
			problem: "duplicate field",
		},
		{name: "wrong type", files: map[string]string{"/c": edit(`["r.example"]`, `"hunter2"`)}, problem: "wrong type"},
		{name: "no providers", files: map[string]string{"/c": edit(providerEntry("a"), "")}, problem: "no providers"},
		{name: "same name twice", files: map[string]string{"/c/1.json": good, "/c/2.json": good}, problem: "twice"},
		{
			name:    "a path for a name",
			files:   map[string]string{"/c": edit(`"a"`, `"../a"`)},
			problem: `provider name "../a" is not valid`,
		},
		{name: "no matchImages", files: map[string]string{"/c": edit(`"r.example"`, "")}, problem: "no matchImages"},
		{
			name:    "no duration",
			files:   map[string]string{"/c": edit(`"defaultCacheDuration":"1m",`, "")},
			problem: "defaultCacheDuration",
		},
		{name: "bad duration", files: map[string]string{"/c": edit(`"1m"`, `"-1m"`)}, problem: "defaultCacheDuration"},
		{name: "no Go duration", files: map[string]string{"/c": edit(`"1m"`, `"hunter2"`)}, problem: "wrong type"},
		{name: "duration in seconds", files: map[string]string{"/c": edit(`"1m"`, "60")}, problem: "wrong type"},
		{
			name:    "unknown protocol",
			files:   map[string]string{"/c": edit("credentialprovider.kubelet.k8s.io/v1", "credentialprovider.kubelet.k8s.io/v3")},
			problem: "does not support apiVersion",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			flags := tt.flags
			if flags == nil && tt.files != nil {
				flags = []string{"--image-credential-provider-config=/c", "--image-credential-provider-bin-dir", "/bin"}
			}
			k := Kubelet{Args: append([]string{"kubelet"}, flags...), WorkDir: "/", Files: onNode(tt.files)}
			got := k.ProviderConfig()
			if !strings.Contains(got.Problem, tt.problem) || (tt.problem == "") != (got.Problem == "") || strings.Contains(got.Problem, "hunter2") {
				t.Errorf("problem %q, want %q", got.Problem, tt.problem)
			}
			if tt.problem != "" {
				return
			}
			var names []string
			for _, p := range got.Providers {
				names = append(names, p.Name)
			}
			if diff := cmp.Diff(tt.want, names); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestProviderConfigChanged tests files that change after the kubelet has read
// them at its start.
func TestProviderConfigChanged(t *testing.T) {
	files := onNode(map[string]string{"/c": provider("a")})
	k := Kubelet{Args: []string{"kubelet", "--image-credential-provider-config=/c", "--image-credential-provider-bin-dir=/bin"}, Files: files}
	k.Started = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		modified time.Time
		changed  bool
	}{{k.Started.Add(-time.Hour), false}, {k.Started.Add(time.Hour), true}} {
		files.MapFS["c"].ModTime = tt.modified
		if got := k.ProviderConfig().Changed; got.IsZero() == tt.changed {
			t.Errorf("written %v, started %v: changed %v", tt.modified, k.Started, got)
		}
	}
}

// TestProviderMatches tests matchImages with the examples of the kubelet's
// documentation (k8s.io/kubelet config/v1, CredentialProvider.MatchImages).
func TestProviderMatches(t *testing.T) {
	tests := []struct {
		glob, repository string
		want             bool
	}{
		{"123456789.dkr.ecr.us-east-1.amazonaws.com", "123456789.dkr.ecr.us-east-1.amazonaws.com/app", true},
		{"*.dkr.ecr.*.amazonaws.com", "123456789.dkr.ecr.eu-west-1.amazonaws.com/app", true},
		{"*.dkr.ecr.*.amazonaws.com", "123456789.dkr.ecr.cn-north-1.amazonaws.com.cn/app", false},
		{"*.azurecr.io", "team.azurecr.io/app", true},
		{"*.azurecr.io", "azurecr.io/app", false},
		{"app*.k8s.io", "app-one.k8s.io/x", true},
		{"k8s.*", "k8s.gcr/x", true},
		{"*.io", "k8s.gcr.io/x", false},
		{"*.*.registry.io", "a.b.registry.io/x", true},
		{"registry.io:8080/path", "registry.io:8080/path/app", true},
		{"registry.io:8080/path", "registry.io/path/app", false},
		{"registry.io:8080/path", "registry.io:8080/other/app", false},
		{"https://registry.io", "registry.io/app", false},
		{"registry.io/", "registry.io/app", true},
		{"docker.io", "docker.io/library/nginx", true},
		{"index.docker.io", "docker.io/library/nginx", false},
		{"[", "registry.io/app", false},
	}
	for _, tt := range tests {
		p := Provider{MatchImages: []string{tt.glob}}
		if got := p.Matches(tt.repository); got != tt.want {
			t.Errorf("%s on %s: %v", tt.glob, tt.repository, got)
		}
	}
}

func FuzzMatchImages(f *testing.F) {
	f.Add("*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com/app")
	f.Add("[::1]:5000/a", "[::1]:5000/a/b")
	f.Fuzz(func(t *testing.T, glob, repository string) {
		Provider{MatchImages: []string{glob}}.Matches(repository)
		var k Keyring
		k.Add(Credential{Server: glob})
		k.Lookup(repository)
	})
}

func FuzzProviderConfig(f *testing.F) {
	f.Add([]byte(providerYAML))
	f.Add([]byte(provider("a")))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := decodeProviders(data, true)
		if err == nil {
			_ = validateProviders(list)
		}
	})
}
