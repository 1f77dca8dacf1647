package missing

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// shelf is a registry whose requests are counted.
type shelf struct {
	http.Handler
	sent []string // "METHOD PATH"
}

// RoundTrip sends a request to the registry itself.
func (s *shelf) RoundTrip(r *http.Request) (*http.Response, error) {
	s.sent = append(s.sent, r.Method+" "+r.URL.Path)
	if s.Handler == nil {
		return http.DefaultTransport.RoundTrip(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

// explain returns the check of an image that the registry answered 404 for, or another
// status.
func (s *shelf) explain(t *testing.T, host runtimeconfig.Host, image string, edit func(*Manifest)) report.Check {
	t.Helper()
	_, ref := reference.Parse(image)
	budget := httpclient.NewBudget()
	node, _ := view.Read(view.Dir(t.TempDir()), []string{"PATH=/bin"}, view.Paths{})
	p := connect.NewProber(node)
	p.Guard.Loopback = true
	m := Manifest{
		Host: host, Last: true, Ref: ref, Status: http.StatusNotFound,
		Client: httpclient.NewWithTransport(p, host, budget, s), Budget: budget,
		LogIn: func(context.Context, string) httpclient.Login { return httpclient.Login{} },
	}
	if edit != nil {
		edit(&m)
	}
	s.sent = nil
	cause := map[int]report.Cause{403: report.AccessForbidden, 404: report.TagNotFound}[m.Status]
	c := m.Explain(t.Context(), report.Check{
		ID: "manifest/" + host.Name(), Kind: report.KindManifest, Outcome: report.Fail, Cause: cause, Summary: "HEAD failed",
	})
	t.Logf("%s: %s %v\n%q", c.Cause, c.Summary, c.Evidence, s.sent)
	return c
}

var lab = runtimeconfig.Host{Scheme: "https", Host: "registry.lab", Path: "/v2"}

// private refuses a repository.
func private(h http.Handler, repository string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v2/"+repository+"/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// withoutCatalog forbids the list of repositories, as most registries do.
func withoutCatalog(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/_catalog" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// cutCatalog says that the list of repositories continues.
func cutCatalog(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/_catalog" {
			w.Header().Set("Link", `</v2/_catalog?last=web>; rel="next"`)
		}
		h.ServeHTTP(w, r)
	})
}

// missingName is a name that the registry does not have, and what must be found out.
type missingName struct {
	name, image string
	h           http.Handler
	edit        func(*Manifest)
	cause       report.Cause
	facts       facts  // an empty value: the fact is absent
	notSent     string // no request has this
}

type facts = map[string]string

func missingNames(t *testing.T) []missingName {
	const noTag, noRepository = report.TagNotFound, report.RepositoryNotFound
	reg := probetest.NewRegistry(t)
	for _, repository := range []string{"payments/api", "team-a/app", "team-b/app", "shop/web-app", "app1", "web"} {
		probetest.PushImage(t, reg, repository, probetest.ImageFor(t, "amd64"), "1", "v1.2.3", "1.2.4-alpine")
	}
	neighbors := func(paths ...string) func(*Manifest) {
		return func(m *Manifest) { m.Neighbors = func() []string { return paths } }
	}
	by := func(source string) func(*Manifest) {
		return func(m *Manifest) {
			joe := credentials.Credential{Username: "joe", Password: "canary-secret", Source: source}
			m.Login = httpclient.Login{Cred: joe}.WithBasic(m.Host.Host)
		}
	}
	// times is a list of tags with times, as registries of Google send it.
	times := func(list string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/tags/list") {
				fmt.Fprint(w, list)
				return
			}
			reg.ServeHTTP(w, r)
		})
	}
	const dated = `{"manifest":{"sha256:aa":{"tag":["1"],"timeUploadedMs":"100"},"sha256:bb":{"tag":["2.0"],"timeUploadedMs":"300"},` +
		`"sha256:cc":{"tag":[],"timeUploadedMs":"900"}},"name":"payments/api","tags":["1","2.0"]}`
	forbidden := func(m *Manifest) { m.Status = http.StatusForbidden }
	return []missingName{
		{"a tag", "payments/api:2", reg, nil, noTag, facts{"repository": "exists", "listed": "false", "suggestTag": ""}, "_catalog"},
		{"a tag without v", "payments/api:1.2.3", reg, nil, noTag, facts{"suggestTag": "v1.2.3"}, ""},
		{"a tag with another variant", "payments/api:1.2.4", reg, nil, noTag, facts{"suggestTag": "1.2.4-alpine"}, ""},
		{"the newest tag", "payments/api:9", times(dated), nil, noTag, facts{"newestTag": "2.0", "suggestTag": ""}, ""},
		{"no valid one", "payments/api:9", times(strings.ReplaceAll(dated, "2.0", "2;reboot")), nil, noTag,
			facts{"newestTag": ""}, ""},
		{"no time", "payments/api:9", times(strings.ReplaceAll(dated, "timeUploadedMs", "x")), nil, noTag,
			facts{"newestTag": ""}, ""},
		{"a list cut short", "payments/api:9", times(dated[:len(dated)-3]), nil, noTag, facts{"newestTag": ""}, ""},
		{"a repository, by the catalog", "paymnets/api:1", reg, nil, noRepository,
			facts{"suggestRepository": "payments/api", "repository": "missing"}, ""},
		{"a repository, by what the namespace runs", "paymnets/api:1", withoutCatalog(reg), neighbors("x/y", "payments/api"), noRepository,
			facts{"suggestRepository": "payments/api"}, "_catalog"},
		{"a separator", "shop/web_app:1", withoutCatalog(reg), nil, noRepository, facts{"suggestRepository": "shop/web-app"}, ""},
		{"without its project", "api:1", reg, nil, noRepository, facts{"suggestRepository": "payments/api"}, ""},

		{"a short name that the namespace runs", "wb:1", withoutCatalog(reg), neighbors("web"), noRepository,
			facts{"suggestRepository": "web", "shortName": "true"}, ""},
		{"a short name, by the whole catalog", "wbe:1", reg, nil, noRepository, facts{"suggestRepository": "web", "shortName": "true"}, ""},

		{"a short name, by a part of the catalog", "wbe:1", cutCatalog(reg), nil, noRepository, facts{"suggestRepository": ""}, ""},
		{"one of two short names", "wb:1", reg, neighbors("wob"), noRepository, facts{"suggestRepository": ""}, ""},
		{"a short name without the tag", "wb:9", reg, neighbors("web"), noRepository, facts{"suggestRepository": "", "shortName": ""}, ""},
		{"a private one", "paymnets/api:1", private(reg, "payments/api"), neighbors("payments/api"), noRepository,
			facts{"suggestRepository": ""}, ""},
		{"of another team", "team-c/app:1", withoutCatalog(reg), neighbors("team-a/app", "team-b/app"), noRepository,
			facts{"suggestRepository": "team-a/app"}, ""}, // the namespace runs it
		{"with another number", "app2:1", withoutCatalog(reg), neighbors("app1"), noRepository, facts{"suggestRepository": ""}, ""},
		{"without the tag", "paymnets/api:9", reg, nil, noRepository, facts{"suggestRepository": ""}, ""},
		{"no catalog for a login of the node", "paymnets/api:1", reg, by("node /var/lib/kubelet/config.json"), noRepository,
			facts{"suggestRepository": ""}, "_catalog"},
		{"nor for that of a provider", "paymnets/api:1", reg, by("provider ecr"), noRepository,
			facts{"suggestRepository": ""}, "_catalog"},
		{"one for the pod's", "paymnets/api:1", reg, by("secret shop/regcred"), noRepository,
			facts{"suggestRepository": "payments/api"}, ""},
		{"a mirror is not searched", "paymnets/api:1", reg, func(m *Manifest) { m.Last = false }, noTag,
			facts{"suggestRepository": ""}, "_catalog"},
		{"nothing of a forbidden one", "payments/api:2", private(reg, "payments/api"), forbidden, report.AccessForbidden,
			facts{"suggestTag": "", "similarTags": ""}, "tags"},
	}
}

func TestExplain(t *testing.T) {
	for _, tt := range missingNames(t) {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{Handler: tt.h}
			c := s.explain(t, lab, "registry.lab/"+tt.image, tt.edit)
			if c.Cause != tt.cause {
				t.Errorf("%s, want %s", c.Cause, tt.cause)
			}
			for key, want := range tt.facts {
				if got := c.Evidence[key]; got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
			heads, gets := 0, 0
			for _, sent := range s.sent {
				switch {
				case strings.HasPrefix(sent, "HEAD "):
					heads++
				case strings.Contains(sent, "/manifests/"):
					gets++
				}
				if tt.notSent != "" && strings.Contains(sent, tt.notSent) {
					t.Errorf("sent %s", sent)
				}
			}
			if heads > httpclient.MaxGuesses || gets > 1 {
				t.Errorf("%d HEADs, %d GETs of manifests: %q", heads, gets, s.sent)
			}
			if strings.Contains(fmt.Sprint(c), "canary") {
				t.Errorf("the password is in %+v", c)
			}
		})
	}
}

// The CNCF distribution registry: its answers decide which name is missing.
func TestExplainOnDistribution(t *testing.T) {
	bin := os.Getenv("PULLPROBE_REGISTRY")
	if bin == "" {
		var err error
		if bin, err = exec.LookPath("registry"); err != nil {
			t.Skip("no distribution registry: set PULLPROBE_REGISTRY to its binary")
		}
	}
	dir := t.TempDir()
	at := fmt.Sprintf("127.0.0.1:%d", probetest.ClosedPort(t))
	file := filepath.Join(dir, "config.yml")
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: %q}\n", dir, at)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "serve", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + at + "/v2/"); err == nil {
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the registry does not start")
		}
	}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: at})
	probetest.PushImage(t, forward, "payments/api", probetest.ImageFor(t, "amd64"), "v1.2.3")
	host := runtimeconfig.Host{Scheme: "http", Host: at, Path: "/v2"}
	s := &shelf{}
	if c := s.explain(t, host, at+"/payments/api:1.2.3", nil); c.Cause != report.TagNotFound || c.Evidence["suggestTag"] != "v1.2.3" {
		t.Errorf("%+v", c)
	}
	c := s.explain(t, host, at+"/paymnets/api:v1.2.3", nil)
	if c.Cause != report.RepositoryNotFound || c.Evidence["suggestRepository"] != "payments/api" {
		t.Errorf("%+v", c)
	}
}

// What a registry lists is read within its bounds, and only valid names that exist are
// suggested, whatever it sends.
func FuzzLists(f *testing.F) {
	f.Add(`{"tags":["v1.0","1.0;reboot"]}`, `{"repositories":["shop/wep","shop/$(x)"]}`)
	f.Add(`{"tags":["1.0-x"`, `{"repositories":["shop/web/`)
	f.Add(`{"manifest":{"a":{"tag":["v9"],"timeUploadedMs":"7"},"b":{"tag":[""],"timeUploadedMs":"-"}},"tags":["v9"]}`, `{}`)
	f.Add(`[`, `"`)
	node, _ := view.Read(view.Dir(f.TempDir()), []string{"PATH=/bin"}, view.Paths{})
	f.Fuzz(func(t *testing.T, tags, catalog string) {
		s := &shelf{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/tags/list"):
				w.Write([]byte(tags))
			case r.URL.Path == "/v2/_catalog":
				w.Write([]byte(catalog))
			case r.Method == http.MethodGet:
				w.WriteHeader(http.StatusNotFound)
				json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]string{"code": "NAME_UNKNOWN"}}})
			}
		})}
		budget := httpclient.NewBudget()
		_, ref := reference.Parse("registry.lab/shop/web:1.0")
		c := Manifest{
			Host: lab, Last: true, Ref: ref, Status: http.StatusNotFound,
			Client: httpclient.NewWithTransport(connect.NewProber(node), lab, budget, s), Budget: budget,
		}.Explain(t.Context(), report.Check{Outcome: report.Fail, Cause: report.TagNotFound})
		for _, key := range []string{report.KeySuggestTag, report.KeyNewestTag, report.KeySuggestRepository} {
			name := c.Evidence[key]
			image := "registry.lab/shop/web:" + name
			if key == report.KeySuggestRepository {
				image = "registry.lab/" + name + ":1.0"
			}
			if check, _ := reference.Parse(image); name != "" && check.Outcome != report.Pass {
				t.Errorf("%s %q", key, name)
			}
		}
		heads := slices.DeleteFunc(s.sent, func(r string) bool { return !strings.HasPrefix(r, "HEAD ") })
		if len(heads) > httpclient.MaxGuesses {
			t.Errorf("%q", heads)
		}
	})
}
