package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// longList is a registry whose list of tags goes on after every page, sorted
// as the specification has it.
func longList(h http.Handler, repo string, tags []string) http.Handler {
	slices.Sort(tags)
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/v2/"+repo+"/tags/list" {
			h.ServeHTTP(w, q)
			return
		}
		at, _ := slices.BinarySearch(tags, q.URL.Query().Get("last"))
		page := tags[at:min(at+50, len(tags))]
		if at+50 < len(tags) {
			w.Header().Set("Link", `</v2/next>; rel="next"`)
		}
		json.NewEncoder(w).Encode(map[string]any{"name": repo, "tags": page})
	})
}

func TestDidYouMean(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	n := newProber(t, ca, nil)
	reg := probetest.NewRegistry(t)
	for _, repo := range []string{"team/web-app", "library/redis-like"} {
		probetest.PushImage(t, reg, repo, probetest.ImageFor(t, "amd64"), "1")
	}
	for _, tag := range []string{"v1.2.3", "1.25.9", "1.25.10", "latest"} {
		probetest.PushImage(t, reg, "tagged", probetest.ImageFor(t, "amd64"), tag)
	}
	start := func(t *testing.T, h http.Handler) (string, *recorder) {
		rec := new(recorder)
		return fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, rec.wrap(h))), rec
	}
	many := []string{"v1.2.3"}
	for i := range 4000 {
		many = append(many, fmt.Sprintf("build-%04d", i))
	}
	noTags := func(h http.Handler, code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasSuffix(q.URL.Path, "/tags/list") {
				w.WriteHeader(code)
				return
			}
			h.ServeHTTP(w, q)
		})
	}
	stale := func(h http.Handler) http.Handler { // lists what it does not have
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasSuffix(q.URL.Path, "/tags/list") {
				fmt.Fprint(w, `{"name":"tagged","tags":["1.9","1.9.0","1.9.1","1.9.2","1.9.3","1.9.4"]}`)
				return
			}
			h.ServeHTTP(w, q)
		})
	}

	for _, tt := range []struct {
		name, image string
		h           http.Handler
		cause       report.Cause
		facts       []string
		none        string
	}{
		{"leading v", "tagged:1.2.3", reg, report.TagNotFound, []string{"suggestTag=v1.2.3", "similarTags=v1.2.3, 1.25.9"}, ""},
		{"slip", "tagged:lastest", reg, report.TagNotFound, []string{"suggestTag=latest"}, ""},
		{"patch level", "tagged:1.25", reg, report.TagNotFound, []string{"suggestTag=1.25.10", "similarTags=1.25.10, 1.25.9"}, ""},
		{"another version is no slip", "tagged:v1.2.4", reg, report.TagNotFound, []string{"similarTags=v1.2.3"}, "suggestTag"},
		{"far down a long list", "tagged:v1.2.3-rc1", longList(reg, "tagged", many), report.TagNotFound, []string{"suggestTag=v1.2.3"}, ""},
		{"no list, guessed", "tagged:lattest", noTags(reg, 403), report.TagNotFound, []string{"suggestTag=latest", "repository=unknown"}, "similarTags"},
		{"no list, nothing guessed", "tagged:nope", noTags(reg, 403), report.TagNotFound, nil, "suggestTag"},
		{"listed and gone", "tagged:v1.9", stale(reg), report.TagNotFound, []string{"similarTags=1.9, 1.9.4, 1.9.3"}, "suggestTag"},
		{"a digest has no neighbours", "tagged@sha256:" + strings.Repeat("0", 64), reg, report.TagNotFound, []string{"repository=exists"}, "suggestTag"},

		{"repository by its catalog", "team/webapp:1", reg, report.RepositoryNotFound, []string{"suggestRepository=team/web-app"}, ""},
		{"repository in a project", "redis-like:1", reg, report.RepositoryNotFound, []string{"suggestRepository=library/redis-like"}, ""},
		{"its tag is missing too", "team/webapp:2", reg, report.RepositoryNotFound, nil, "suggestRepository"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, rec := start(t, tt.h)
			c := probetest.Want(t, probe(t, n, host+"/"+tt.image), "manifest/"+host, report.Fail, tt.cause, tt.facts...)
			if v, ok := c.Evidence[tt.none]; ok {
				t.Errorf("%s is %q", tt.none, v)
			}
			if got := rec.count("HEAD "); got > 1+httpclient.MaxGuesses {
				t.Errorf("%d HEADs: %q", got, rec.all())
			}
		})
	}

	t.Run("a private sibling is no typo", func(t *testing.T) {
		// The catalog names it, and so would a guess; this login may not read it.
		private := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasPrefix(q.URL.Path, "/v2/team/web-app/") {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			reg.ServeHTTP(w, q)
		})
		host, _ := start(t, private)
		for id, c := range probe(t, n, host+"/team/web_app:1") {
			if strings.Contains(fmt.Sprint(c), "web-app") {
				t.Errorf("%s names it: %+v", id, c)
			}
		}
	})
	t.Run("with a token for the sibling", func(t *testing.T) {
		var rec recorder
		realm := fmt.Sprintf("https://auth.lab:%d/token", probetest.Serve(t, ptr(ca.Good(t, "auth.lab")), tokenService(&rec)))
		host, _ := start(t, tokenAuth(realm, reg))
		user := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"}
		probetest.Want(t, probe(t, n, host+"/redis-like:1", user), "manifest/"+host, report.Fail, report.RepositoryNotFound, "suggestRepository=library/redis-like")
		if !slices.ContainsFunc(rec.all(), func(s string) bool { return strings.Contains(s, "scope=repository%3Alibrary%2Fredis-like%3Apull") }) {
			t.Errorf("no token was asked for it: %q", rec.all())
		}
		c := probetest.Want(t, probe(t, n, host+"/redis-like:1"), "manifest/"+host, report.Fail, report.AccessDeniedOrMissing)
		if _, ok := c.Evidence["suggestRepository"]; ok {
			t.Errorf("suggested to nobody in particular: %v", c.Evidence)
		}
	})
	t.Run("nothing more after a 429", func(t *testing.T) {
		host, rec := start(t, noTags(reg, 429))
		c := probetest.Want(t, probe(t, n, host+"/tagged:lastest"), "manifest/"+host, report.Fail, report.TagNotFound)
		if _, ok := c.Evidence["suggestTag"]; ok || rec.count("HEAD ") != 1 {
			t.Errorf("asked on: %q", rec.all())
		}
	})
}
