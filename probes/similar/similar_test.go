package similar

import (
	"slices"
	"strings"

	"testing"

	"github.com/pullprobe/pullprobe/report/readable"
)

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"stable", "stabel", 1}, {"latest", "lates", 1}, {"v1.2", "1.2", 1}, {"abc", "xyz", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// A suggestion is part of a command that people copy.
func TestOnlyNamesAreSuggested(t *testing.T) {
	meant, near := Tags("v1.0", []string{"v1.0;reboot", "v1.0$(x)", "v1.0`x`", "v1.0 x", "v1.0\n", "v1.0-&", "-v1.0", "1.0"})
	if got := append(meant, near...); len(got) != 1 || got[0] != "1.0" {
		t.Errorf("tags %q", got)
	}
	if got := Repositories("shop/web", []string{"shop/web;x", "shop/$(x)", "shop/wep", "Shop/web", "x.y/../shop/web", "shop/we b"}); len(got) != 1 || got[0] != "shop/wep" {
		t.Errorf("repositories %q", got)
	}
}

func TestSimilar(t *testing.T) {
	for _, tt := range []struct {
		tag        string
		tags       string
		meant      string // the first ones
		onlyNearby bool
	}{
		{"1.2.3", "v1.2.3 v1.2.4 1.2.2", "v1.2.3", false},
		{"v1.2.3", "1.2.3 1.2.4", "1.2.3", false},
		{"lastest", "latest stable", "latest", false},
		{"Latest", "latest", "latest", false},
		{"stabel", "stable staging", "stable", false},
		{"1.2_alpine", "1.2-alpine 1.2", "1.2-alpine", false},
		{"prodction", "prod production", "production", false},
		{"dev", "deb", "", true},
		{"dev", "web", "", true},
		{"main", "mine", "", true},
		{"1.2-apline", "1.2-alpine 1.2", "1.2-alpine", false},
		{"1.25", "1.25.1 1.25.10 1.25.9 1.25.10-alpine", "1.25.10", false},
		{"1.25", "1.25-alpine 1.25-bookworm 1.24", "1.25-bookworm", false},
		{"1.25.3-alpine", "1.25.3 1.25 1.24.3-alpine", "1.25.3", false},
		{"1.25.3", "1.25.2 1.25.4", "", true},
		{"v2", "v1 v3", "", true},
		{"latest", "main dev", "", false},
		{"a", "b c", "", false},
		{"x", "x", "", false},
	} {
		meant, near := Tags(tt.tag, strings.Fields(tt.tags))
		if got := strings.Join(meant[:min(len(meant), 1)], " "); got != tt.meant {
			t.Errorf("%s among %s: %q, want %q", tt.tag, tt.tags, meant, tt.meant)
		}
		if tt.onlyNearby && len(near) == 0 {
			t.Errorf("%s among %s: nothing nearby", tt.tag, tt.tags)
		}
	}
}

func TestGuessRepositories(t *testing.T) {
	for _, tt := range []struct{ domain, path, want string }{
		{"docker.io", "library/ngnix", "library/nginx"},
		{"docker.io", "library/postgress", "library/postgres"},
		{"r.lab", "nginx", "library/nginx"},
		{"r.lab", "team/my_app", "team/my-app"},
		{"r.lab", "team/app", "team/apps"},
		{"r.lab", "team/apps", "team/app"},
	} {
		if got := GuessRepositories(tt.domain, tt.path); !slices.Contains(got, tt.want) {
			t.Errorf("%s/%s: %q, want %s among them", tt.domain, tt.path, got, tt.want)
		}
	}
	if got := Repositories("team/webap", []string{"team/other", "new/webap", "team/web-app", "team/webapp", "x"}); !slices.Equal(got, []string{"team/webapp", "team/web-app", "new/webap"}) {
		t.Errorf("similarRepositories = %q", got)
	}
}

// A tag from a registry's list that is suggested is a valid one.
func FuzzTags(f *testing.F) {
	f.Add("v1.0", "1.0\nv1.0.1")
	f.Add("latest", "lates\n\u202elatest")
	f.Fuzz(func(t *testing.T, tag, list string) {
		meant, near := Tags(tag, strings.Split(list, "\n"))
		for _, tag := range append(meant, near...) {
			if len(tag) > maxName || readable.Clean(tag, maxName) != tag {
				t.Errorf("tag %q", tag)
			}
		}
	})
}

func TestRepositories(t *testing.T) {
	for _, tt := range []struct{ path, paths, want string }{
		{"paymnets/api", "payments/web payments/api", "payments/api"},
		{"shop/web_app", "shop/web-app shop/webapp", "shop/web-app shop/webapp"},
		{"shop/frontned", "shop/front shop/frontend", "shop/frontend"},
		{"api", "payments/api other/web", "payments/api"}, // without its project
		{"MyCompany/API", "mycompany/api", "mycompany/api"},

		{"api", "app", ""},
		{"app1", "app2", ""},
		{"team-a/app", "team-b/web", ""},
		{"a/web", "b/webs", ""},
		{"eu/web", "us/web2", ""},
		{"shop/web", "shop/dev", ""},
	} {
		if got := strings.Join(Repositories(tt.path, strings.Fields(tt.paths)), " "); got != tt.want {
			t.Errorf("%s among %s: %q, want %q", tt.path, tt.paths, got, tt.want)
		}
	}
}

func TestShortRepository(t *testing.T) {
	for _, tt := range []struct{ path, paths, want string }{
		{"ap", "app web app", "app"},
		{"appp", "app", "app"},
		{"wbe", "app web", "web"},
		{"app", "ap", "ap"},

		{"ap", "app api", ""}, // which of them
		{"api", "app", ""},
		{"app", "apl", ""},
		{"db", "bd", ""},
		{"a", "ap", ""},
		{"v1", "v12", ""},
		{"ap", "team/app", ""},
		{"ap", "a-p", ""},
		{"ap", "", ""},
	} {
		if got := ShortRepository(tt.path, strings.Fields(tt.paths)); got != tt.want {
			t.Errorf("%s among %s: %q, want %q", tt.path, tt.paths, got, tt.want)
		}
	}
}
