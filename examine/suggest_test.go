package examine

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// typoNode is a node whose resolver knows a few registries, with a pod that names an image.
type typoNode struct {
	t      *testing.T
	prober *connect.Prober
	port   uint16

	mu   sync.Mutex
	sent []string // "HOST METHOD PATH", with the user if there is a login
}

// newTypoNode starts registries at registry.lab (public), private.lab (with a login),
// web.lab (no registry at all) and hub.lab (where Docker Hub's images come from).
func newTypoNode(t *testing.T) *typoNode {
	n := &typoNode{t: t}
	ca := probetest.NewAuthority(t, nil)
	names := []string{"registry.lab", "private.lab", "web.lab", "denied.lab", "hub.lab"}
	cert := ca.Good(t, names...)
	images := probetest.NewRegistry(t)
	for _, repository := range []string{"shop/frontend", "other/secret", "mycompany/api"} {
		probetest.PushImage(t, images, repository, probetest.ImageFor(t, "amd64"), "1")
	}
	hub := probetest.NewRegistry(t)
	probetest.PushImage(t, hub, "mycompany/api", probetest.ImageFor(t, "amd64"), "1")
	n.port = probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(r.Host, ":")
		user, password, login := r.BasicAuth()
		n.mu.Lock()
		n.sent = append(n.sent, strings.TrimSpace(name+" "+r.Method+" "+r.URL.Path+" "+user))
		n.mu.Unlock()
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		switch {
		case name == "web.lab":
			w.Header().Del("Docker-Distribution-Api-Version")
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte("<html>"))
		case name == "hub.lab":
			hub.ServeHTTP(w, r)
		case name == "private.lab" && (!login || password != "canary-secret"):
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			images.ServeHTTP(w, r)
		}
	}))
	records := map[string]string{}
	for _, name := range names {
		records[name+"."] = "127.0.0.1"
	}
	resolver := probetest.DNSPort(t)
	probetest.ServeDNS(t, "127.0.0.1", resolver, func(w dns.ResponseWriter, q *dns.Msg) {
		if _, known := records[strings.ToLower(q.Question[0].Name)]; known {
			probetest.Zone(records)(w, q)
			return
		}
		probetest.Always(dns.RcodeNameError)(w, q)
	})
	files := probetest.Files(t, map[string]string{
		"/etc/resolv.conf":                     "nameserver 127.0.0.1\n",
		"/etc/hosts":                           "127.0.0.1 localhost\n",
		"/etc/ssl/certs/ca-certificates.crt":   string(ca.PEM),
		"/etc/certs.d/docker.io/hosts.toml":    fmt.Sprintf("server = \"https://hub.lab:%d\"\n", n.port),
		"/etc/certs.d/toml.lab:1/hosts.toml":   "not toml",
		"/etc/certs.d/quay.example/hosts.toml": "",
	})
	node, checks := view.Read(view.Dir(files), []string{"PATH=/bin"}, view.Paths{HostsDir: "/etc/certs.d"})
	for _, c := range checks {
		t.Fatalf("%+v", c)
	}
	n.prober = connect.NewProber(node)
	n.prober.ResolverPort, n.prober.Guard.Loopback = resolver, true
	deny, err := guard.ParsePattern("denied.lab")
	if err != nil {
		t.Fatal(err)
	}
	n.prober.Guard.Deny = []guard.Pattern{deny}
	return n
}

// at returns a text with the port of the registries for PORT.
func (n *typoNode) at(text string) string {
	return strings.ReplaceAll(text, "PORT", fmt.Sprint(n.port))
}

// examine returns the checks of an image: those of an examination without runtime.
func (n *typoNode) examine(image string, around *Neighbors, secretFor string) []report.Check {
	n.t.Helper()
	e := &Examiner{Node: &NodeReader{}}
	s := Subject{Image: image, Secrets: func(context.Context) []credentials.SecretLookup {
		if secretFor == "" {
			return nil
		}
		login := base64.StdEncoding.EncodeToString([]byte("joe:canary-secret"))
		data := map[string][]byte{".dockerconfigjson": []byte(`{"auths":{"` + secretFor + `":{"auth":"` + login + `"}}}`)}
		secret := &credentials.Secret{Namespace: "shop", Name: "s", Type: "kubernetes.io/dockerconfigjson", Data: data}
		return []credentials.SecretLookup{{Namespace: "shop", Name: "s", Secret: secret}}
	}}
	if around != nil {
		s.Neighbors = func() Neighbors { return *around }
	}
	check, ref := reference.Parse(image)
	if check.Outcome != report.Pass {
		n.t.Fatal(check.Summary)
	}
	n.mu.Lock()
	n.sent = nil
	n.mu.Unlock()
	s = s.readOnce()
	known := gathered{ref: ref, reference: check, node: nodeView{Prober: n.prober}, local: report.Check{ID: report.LocalID(ref.Domain)}}
	known.credentials = e.Credentials(n.t.Context(), ref.Domain+"/"+ref.Path, s)
	found := e.probe(n.t.Context(), s, known)
	return slices.Concat([]report.Check{check}, known.credentials.Checks, report.RedactedChecks(found.redactor, found.checks))
}

// sentTo returns the requests to a host.
func (n *typoNode) sentTo(host string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.sent), func(s string) bool { return !strings.HasPrefix(s, host+" ") })
}

// used returns what other pods run, by their registries.
func (n *typoNode) used(hosts ...string) *Neighbors {
	out := &Neighbors{}
	for i, h := range hosts {
		out.Hosts = append(out.Hosts, HostUse{Host: n.at(h), Pods: 12 - i, Namespace: i})
	}
	return out
}

// running returns what other pods run, by the images of the namespace.
func (n *typoNode) running(images ...string) *Neighbors {
	out := &Neighbors{}
	for _, image := range images {
		out.Images = append(out.Images, n.at(image))
	}
	return out
}

// mistyped is a name that leads nowhere, and what must be suggested, with PORT for the port.
type mistyped struct {
	name, image string
	around      *Neighbors
	secretFor   string
	cause       report.Cause
	suggest     string // evidence suggestImage
	host        string // evidence suggestHost
	fix         string // a part of it
}

func mistypedNames(n *typoNode) []mistyped {
	const noHost, noRepository = report.HostNotFound, report.RepositoryNotFound
	used, running := n.used, n.running
	return []mistyped{
		{"a host that others use", "registy.lab:PORT/app:1", used("registry.lab:PORT"), "", noHost,
			"registry.lab:PORT/app:1", "registry.lab:PORT", "use the existing image in registry.lab:PORT: registry.lab:PORT/app:1"},
		{"swapped letters", "regsitry.lab:PORT/app:1", used("hub.lab:PORT", "registry.lab:PORT"), "", noHost,
			"registry.lab:PORT/app:1", "registry.lab:PORT", ""},
		{"a short name", "registry:PORT/app:1", used("registry.lab:PORT"), "", noHost,
			"registry.lab:PORT/app:1", "registry.lab:PORT", ""},
		{"the image is missing there, too", "registy.lab:PORT/nope:1", used("registry.lab:PORT"), "", noHost,
			"", "registry.lab:PORT", "if registry.lab:PORT is meant (12 other pods of this node use it)"},
		{"with the login for that host", "privat.lab:PORT/app:1", used("private.lab:PORT"), "private.lab:PORT", noHost,
			"private.lab:PORT/app:1", "private.lab:PORT", ""},
		{"without a login for it", "privat.lab:PORT/app:1", used("private.lab:PORT"), "privat.lab:PORT", noHost,
			"", "private.lab:PORT", ""},
		{"no registry in the name", "frontend:1", running("registry.lab:PORT/shop/backend:7", "nginx"), "", noRepository,
			"registry.lab:PORT/shop/frontend:1", "",
			"\nor, if registry.lab:PORT/shop/frontend:1 is meant, use that: registry.lab:PORT/shop/frontend:1"},
		{"no registry before the project", "shop/frontend:1", running("registry.lab:PORT/shop/backend:7"), "", noRepository,
			"registry.lab:PORT/shop/frontend:1", "", ""},
		{"no registry, and a login", "frontend:1", running("private.lab:PORT/shop/backend:7"), "private.lab:PORT", noRepository,
			"private.lab:PORT/shop/frontend:1", "", ""},
		{"a project that is taken for a host", "MyCompany/api:1", nil, "", noHost,
			"mycompany/api:1", "", "use the existing image, in lower case: mycompany/api:1"},

		{"a host that nobody uses", "registy.lab:PORT/app:1", used("hub.lab:PORT"), "", noHost, "", "", ""},
		{"no cluster", "registy.lab:PORT/app:1", nil, "", noHost, "", "", ""},
		{"a host of another region", "registry-eu.lab:PORT/app:1", used("registry-us.lab:PORT"), "", noHost, "", "", ""},
		{"no registry at that host", "we.lab:PORT/app:1", used("web.lab:PORT"), "", noHost, "", "", ""},
		{"a host that must not be contacted", "denyed.lab:PORT/app:1", used("denied.lab:PORT"), "", noHost, "", "", ""},
		{"a host that does not exist either", "nowhere.lab:PORT/app:1", used("nowheres.lab:PORT"), "", noHost, "", "", ""},
		{"two hosts that exist", "registry.lab:PORT/nope:1", used("hub.lab:PORT"), "", noRepository, "", "", ""},
		{"a private image, and no login for it", "frontend:1", running("private.lab:PORT/shop/backend:7"), "", noRepository, "", "", ""},
		{"nothing of that name", "nope:1", running("registry.lab:PORT/shop/backend:7"), "", noRepository, "", "", ""},
		{"a name with Docker Hub in it", "docker.io/shop/frontend:1", running("registry.lab:PORT/shop/backend:7"), "", noRepository, "", "", ""},
	}
}

func TestSuggest(t *testing.T) {
	n := newTypoNode(t)
	for _, tt := range mistypedNames(n) {
		t.Run(tt.name, func(t *testing.T) {
			checks := n.examine(n.at(tt.image), tt.around, n.at(tt.secretFor))
			v, c := diagnosis.Diagnose(checks), report.Find(checks, report.IDSuggested)
			if v.Cause != tt.cause || v.Confidence == report.Confirmed {
				t.Errorf("%s (%s), want %s, likely at most: %s", v.Cause, v.Confidence, tt.cause, v.Summary)
			}
			if got, want := c.Evidence[report.KeySuggestImage], n.at(tt.suggest); got != want {
				t.Errorf("image %q, want %q", got, want)
			}
			if got, want := c.Evidence[report.KeySuggestHost], n.at(tt.host); got != want {
				t.Errorf("host %q, want %q", got, want)
			}
			if !strings.Contains(v.Fix, n.at(tt.fix)) {
				t.Errorf("fix %q, want %q", v.Fix, n.at(tt.fix))
			}
			if tt.suggest == "" && tt.host == "" && c.Outcome != report.Unknown {
				t.Errorf("suggested: %+v", c)
			}
			if text := fmt.Sprint(checks, v); strings.Contains(text, "canary") {
				t.Errorf("the password is in %s", text)
			}
			t.Log(v.Summary, "|", v.Fix)
		})
	}

	t.Run("the cost", func(t *testing.T) {
		n.examine(n.at("registy.lab:PORT/app:1"), n.used("registry.lab:PORT"), "")
		if got := n.sentTo("registry.lab"); len(got) != 1 || got[0] != "registry.lab HEAD /v2/app/manifests/1" {
			t.Errorf("sent %q", got)
		}
		// A login for the misspelt name goes to no other host.
		n.examine(n.at("privat.lab:PORT/app:1"), n.used("private.lab:PORT"), n.at("privat.lab:PORT"))
		if got := n.sentTo("private.lab"); len(got) == 0 || strings.Contains(fmt.Sprint(got), "joe") {
			t.Errorf("sent %q", got)
		}
	})
	t.Run("the name is right", func(t *testing.T) {
		local := report.Check{ID: report.LocalID("registy.lab"), Evidence: map[string]string{report.KeyCount: "2"}}
		ref := reference.Ref{Domain: "registy.lab", Path: "app", Tag: "1"}
		s := Subject{Image: "registy.lab/app:1", Neighbors: func() Neighbors { return *n.used("registry.lab") }}
		missing := report.Check{ID: report.DNSID("registy.lab"), Kind: report.KindDNS, Outcome: report.Fail, Cause: report.HostNotFound}
		if c, ok := candidateFor(s, gathered{ref: ref, local: local}, []report.Check{missing}); ok {
			t.Errorf("images of this registry are on the node: %+v", c)
		}
		if c, ok := candidateFor(s, gathered{ref: ref}, []report.Check{missing}); !ok || c.image != "registry.lab/app:1" {
			t.Errorf("none are: %+v", c)
		}
		knows := report.Check{ID: report.DNSID("registy.lab", "10.0.0.2:53"), Kind: report.KindDNS, Outcome: report.Pass}
		if c, ok := candidateFor(s, gathered{ref: ref}, []report.Check{missing, knows}); ok {
			t.Errorf("a resolver knows it: %+v", c)
		}
		limited := report.Check{ID: "manifest/hub.lab", Kind: report.KindManifest, Outcome: report.Fail, Cause: report.RateLimited}
		s = Subject{Image: "frontend", Neighbors: func() Neighbors { return *n.running("registry.lab/shop/web:1") }}
		ref = reference.Ref{Domain: "docker.io", Path: "library/frontend", Tag: "latest"}
		if c, ok := candidateFor(s, gathered{ref: ref}, []report.Check{limited}); ok {
			t.Errorf("Docker Hub is busy: %+v", c)
		}
	})
}

// Of the projects that a namespace uses, the one with this repository is likeliest, then the
// one that most images come from.
func TestInRegistryOf(t *testing.T) {
	for _, tt := range []struct{ image, running, want string }{
		{"web:1", "r.lab/shop/api:1 r.lab/shop/db:1 r.lab/tools/cli:1", "r.lab/shop/web:1"},
		{"web:1", "r.lab/shop/api:1 r.lab/shop/db:1 s.lab/tools/web:3", "s.lab/tools/web:1"},
		{"web:1", "r.lab/api:1", "r.lab/web:1"},
		{"shop/web:1", "r.lab/a/b:1 r.lab/a/c:1 s.lab/shop/db:1", "s.lab/shop/web:1"},
		{"web:1", "nginx docker.io/shop/api:1 Not/Valid", ""},
		{"web:1", "", ""},
	} {
		_, ref := reference.Parse(tt.image)
		if c, ok := inRegistryOf(ref, strings.Fields(tt.running)); c.image != tt.want || ok != (tt.want != "") {
			t.Errorf("%s among %s: %q, want %q", tt.image, tt.running, c.image, tt.want)
		}
	}
}

// A digest that was cut short is completed by that of the tag beside it, if it begins so.
// No other invalid name costs a request.
func TestCompleteDigest(t *testing.T) {
	images := probetest.NewRegistry(t)
	image := probetest.ImageFor(t, "amd64")
	probetest.PushImage(t, images, "shop/web", image, "v1")
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	whole := digest.String()
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Issue(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "127.0.0.1")
	var sent atomic.Int32
	port := probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent.Add(1)
		if _, password, _ := r.BasicAuth(); password != "canary-secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		images.ServeHTTP(w, r)
	}))
	host := fmt.Sprintf("127.0.0.1:%d", port)
	dir := probetest.Files(t, map[string]string{"/ca.pem": string(ca.PEM)})
	e := &Examiner{Node: &NodeReader{
		OwnFiles: true, AllowLoopback: true,
		Paths: view.Paths{CAFile: string(dir) + "/ca.pem", HostsDir: t.TempDir()},
	}}
	for _, tt := range []struct {
		name, image, want string
		asks              bool
	}{
		{"by its tag", host + "/shop/web:v1@" + whole[:30], host + "/shop/web:v1@" + whole, true},
		{"one digit is missing", host + "/shop/web:v1@" + whole[:len(whole)-1], host + "/shop/web:v1@" + whole, true},
		{"the tag has another digest", host + "/shop/web:v1@sha256:0123456789", "", true},
		{"no such tag", host + "/shop/web:v2@" + whole[:30], "", true},
		{"no tag", host + "/shop/web@" + whole[:30], "", false},
		{"too little is left", host + "/shop/web:v1@" + whole[:12], "", false},
		{"another mistake", "http://" + host + "/shop/web:v1", host + "/shop/web:v1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent.Store(0)
			x := e.Examine(t.Context(), Subject{Image: tt.image, Failing: true, Secrets: func(context.Context) []credentials.SecretLookup {
				data := map[string][]byte{".dockerconfigjson": []byte(`{"auths":{"` + host + `":{"username":"joe","password":"canary-secret"}}}`)}
				secret := &credentials.Secret{Namespace: "shop", Name: "s", Type: "kubernetes.io/dockerconfigjson", Data: data}
				return []credentials.SecretLookup{{Namespace: "shop", Name: "s", Secret: secret}}
			}}, nil)
			v := diagnosis.Diagnose(x.Checks)
			if got := report.Find(x.Checks, report.IDReference).Evidence[report.KeySuggestImage]; got != tt.want || len(x.Checks) != 1 {
				t.Errorf("%q, want %q: %+v", got, tt.want, x.Checks)
			}
			if v.Cause != report.InvalidReference || tt.want != "" && !strings.Contains(v.Fix, tt.want) {
				t.Errorf("%s: %s", v.Cause, v.Fix)
			}
			if (sent.Load() > 0) != tt.asks {
				t.Errorf("%d requests", sent.Load())
			}
			if strings.Contains(fmt.Sprint(x.Checks), "canary") {
				t.Errorf("the password is in %+v", x.Checks)
			}
		})
	}
}
