package credentials

import (
	"strings"
	"testing"
)

func TestMismatch(t *testing.T) {
	tests := []struct{ server, repository, want string }{
		{"r.example:5000", "r.example/app", "it is for port 5000, but the image has no port"},
		{"r.example/v2", "r.example/app", "needs a slash at the end"},
		{"r.example/other", "r.example/app", `it is for the path "/other"`},
		{"*.example", "eu.r.example/app", "matches exactly one part"},
		{"registry-1.docker.io", "docker.io/library/nginx", "accepts only docker.io"},
		{"hub.docker.com", "docker.io/library/nginx", "another registry"},
		{"https://index.docker.io/v1/", "docker.io/library/nginx", "only if no other entry matches"},
		{"https://%zz", "r.example/app", "not a valid URL"},
		{"other.example", "r.example/app", "another registry"},
	}
	for _, tt := range tests {
		if got := mismatch(tt.server, tt.repository); !strings.Contains(got, tt.want) {
			t.Errorf("%s on %s: %q, want %q", tt.server, tt.repository, got, tt.want)
		}
	}
}

// TestExpectedProvider tests that the provider of a cloud is expected where no
// source has credentials, also if it succeeded and returned none.
func TestExpectedProvider(t *testing.T) {
	const image = "123456789.dkr.ecr.eu-west-1.amazonaws.com/app"
	login := []Credential{{Server: "*.dkr.ecr.*.amazonaws.com", Username: "AWS"}}
	for _, tt := range []struct {
		name   string
		image  string
		result ProviderResult
		want   string
	}{
		{"returns nothing", image, ProviderResult{Provider: "ecr"}, "ecr"},
		{"returns a login", image, ProviderResult{Provider: "ecr", Credentials: login}, ""},
		{"fails", image, ProviderResult{Provider: "ecr", Failed: &ProviderError{Kind: "exit"}}, ""},
		{"is not run", image, ProviderResult{Provider: "ecr", Skipped: "not switched on"}, ""},
		{"returns nothing for no cloud's registry", "r.example/app", ProviderResult{Provider: "any"}, ""},
	} {
		node := &NodeSources{Providers: ProviderConfig{Path: "/p.yaml"}, Results: []ProviderResult{tt.result}}
		if got := Resolve(tt.image, Sources{Node: node}).Checks[0].Evidence["expectedProvider"]; got != tt.want {
			t.Errorf("a provider that %s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := Resolve(image, Sources{Node: &NodeSources{}}).Checks[0].Evidence["expectedProvider"]; got != "ecr-credential-provider" {
		t.Errorf("got %q", got)
	}
	if got := Resolve(image, Sources{Node: &NodeSources{Problem: "x"}}).Checks[0].Evidence["expectedProvider"]; got != "" {
		t.Errorf("expects %q although the node is unknown", got)
	}
}

func FuzzMismatch(f *testing.F) {
	f.Add("https://user:hunter2@r.example:5000/v2?token=hunter2", "r.example/app")
	f.Add("*.example", "eu.r.example/app")
	f.Add("index.docker.io", "docker.io/library/nginx")
	f.Fuzz(func(t *testing.T, server, repository string) {
		if why := mismatch(server, repository); why == "" || len(why) > 1000 {
			t.Errorf("%q on %q: %q", server, repository, why)
		}
		expectedProvider(repository)
	})
}
