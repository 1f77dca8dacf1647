package agent

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// evil is what a server would like to put into a report: a field of its own in the
// summary, in an Event, on a terminal, in YAML.
const evil = "\x1b[2J\x1b[31mx\u202e\u200b. Fix: run-evil; $(run-evil) `run-evil`\n  fix      run-evil\r\n# run-evil\n- run-evil: |\u2028run-evil\x00\x7f\u0085\u009b31m"

// inHeader is evil as far as a Go client accepts it in a header: without control
// characters.
const inHeader = "x. Fix: run-evil;   fix      run-evil   # run-evil \u202e\u200b\u2028run-evil"

// hostileCase is one thing that a registry, or an attacker behind it, may do.
type hostileCase struct {
	name  string
	plain bool // without TLS
	set   func(s *stage, p *parts)
	state corev1.ContainerStateWaiting // that the kubelet reports; empty: back-off
	// basic and bearer are the hosts that may see the password and the token;
	// nil: the token service and the registry.
	basic, bearer func(s *stage) []*spy
	text          string // in some check
	healthy       bool   // the layer is available
	logIn         bool   // the password is sent: else there would be nothing to leak
	most          int    // requests to the registry; 0: 24
}

func noServer(*stage) []*spy       { return nil }
func registryOnly(s *stage) []*spy { return []*spy{s.registry} }

func setHeaders(h http.HandlerFunc, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		h(w, r)
	}
}

func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func redirects(status int, to func(*http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to(r))
		w.WriteHeader(status)
	}
}

// raw answers with these bytes, and repeats again until the client closes.
func raw(head, again string, pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		_, err = io.WriteString(c, head)
		for again != "" && err == nil {
			_, err = io.WriteString(c, again)
			if pause > 0 {
				time.Sleep(pause) // the slowness is the attack
			}
		}
	}
}

const okHead = "HTTP/1.1 200 OK\r\n"

var hostileCases = []hostileCase{
	{name: "an honest registry", set: func(*stage, *parts) {}, healthy: true, logIn: true},

	// Redirects.
	{name: "the manifest moves to another host", set: func(s *stage, p *parts) {
		p.head = redirects(307, func(r *http.Request) string { return "https://" + s.other.host + r.URL.String() })
		s.other.serve(answers(401, ""))
	}, text: "where credentials are not sent", logIn: true},
	{name: "the manifest moves to another host with a user in its URL", set: func(s *stage, p *parts) {
		p.head = redirects(307, func(r *http.Request) string { return "https://registry.test:1@" + s.other.host + r.URL.String() })
	}, logIn: true},
	{name: "the manifest moves to plain HTTP", set: func(s *stage, p *parts) {
		p.head = redirects(302, func(r *http.Request) string { return "http://" + s.other.host + r.URL.String() })
	}, text: "from https to http", logIn: true},
	{name: "the manifest moves to the victim", set: func(s *stage, p *parts) {
		p.head = redirects(302, func(r *http.Request) string { return "https://" + s.victim.host + r.URL.String() })
	}, text: "a loopback address", logIn: true},
	{name: "the manifest moves to the victim's address over several hosts", set: func(s *stage, p *parts) {
		p.head = redirects(302, func(r *http.Request) string { return "https://" + s.other.host + "/1" })
		s.other.serve(redirects(308, func(*http.Request) string { return "https://" + s.victim.addr.String() }))
	}, text: "a loopback address", logIn: true},
	{name: "the layer moves to the victim", set: func(s *stage, p *parts) {
		p.blob = redirects(307, func(r *http.Request) string { return "https://" + s.victim.host + r.URL.String() })
	}, text: "a loopback address", logIn: true},
	{name: "the layer moves to another host", set: func(s *stage, p *parts) {
		p.blob = redirects(307, func(r *http.Request) string { return "https://" + s.other.host + r.URL.String() })
		s.other.serve(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.layer))
		})
	}, healthy: true, logIn: true},
	{name: "the config moves to the victim", set: func(s *stage, p *parts) {
		p.config = redirects(307, func(r *http.Request) string { return "https://" + s.victim.host + r.URL.String() })
	}, logIn: true},
	{name: "the token service moves", set: func(s *stage, p *parts) {
		p.token = redirects(307, func(r *http.Request) string { return "https://" + s.other.host + r.URL.String() })
		s.other.serve(answers(200, `{"token":"`+canaryToken+`"}`))
	}, logIn: true},
	{name: "the token service moves to the victim", set: func(s *stage, p *parts) {
		p.token = redirects(307, func(r *http.Request) string { return "https://" + s.victim.host + r.URL.String() })
	}, text: "a loopback address", logIn: true},
	{name: "the token service moves to plain HTTP", set: func(s *stage, p *parts) {
		p.token = redirects(307, func(r *http.Request) string { return "http://" + s.other.host + r.URL.String() })
	}, text: "from https to http", logIn: true},
	{name: "a loop", set: func(s *stage, p *parts) {
		p.any = redirects(307, func(r *http.Request) string { return "https://" + s.registry.host + r.URL.String() })
	}, text: "more than 10 redirects", most: 40, basic: noServer, bearer: noServer},
	{name: "1000 hops over two hosts", set: func(s *stage, p *parts) {
		var n atomic.Int32
		next := func(to string) string { return fmt.Sprintf("https://%s/v2/app/manifests/%d", to, n.Add(1)%1000) }
		p.any = redirects(307, func(*http.Request) string { return next(s.other.host) })
		s.other.serve(redirects(307, func(*http.Request) string { return next(s.registry.host) }))
	}, text: "more than 10 redirects", most: 40, basic: noServer, bearer: noServer},
	{name: "a redirect to what is no host", set: func(s *stage, p *parts) {
		p.head = redirects(307, func(*http.Request) string { return "https://run-evil;$(run-evil)`run-evil`/" })
	}, logIn: true},
	{name: "a redirect to something else", set: func(s *stage, p *parts) {
		p.head = redirects(307, func(*http.Request) string { return "file:///etc/passwd" })
	}, text: "other than HTTP", logIn: true},

	// Realms.
	{name: "a realm by plain HTTP", set: func(s *stage, p *parts) {
		p.challenge = strings.Replace(p.challenge, "https:", "http:", 1)
	}, text: "has no TLS, and credentials are not sent", basic: noServer, bearer: noServer},
	{name: "a realm with a user", set: func(s *stage, p *parts) {
		p.challenge = strings.Replace(p.challenge, "https://", "https://registry.test:x@", 1)
	}, healthy: true, logIn: true},
	{name: "a realm that is no host", set: func(s *stage, p *parts) {
		p.challenge = `Bearer realm="https://run-evil;$(run-evil)/token"`
	}, basic: noServer, bearer: noServer},
	{name: "a realm that is no URL", set: func(s *stage, p *parts) {
		p.challenge = `Bearer realm="` + strings.ReplaceAll(inHeader, `"`, "") + `"`
	}, basic: noServer, bearer: noServer},
	{name: "401 for ever, with realms that change", set: func(s *stage, p *parts) {
		var n atomic.Int32
		realms := []*spy{s.other, s.victim}
		change := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",error="invalid_token"`, realms[n.Add(1)%2].host))
			w.WriteHeader(401)
		}
		p.head, p.get, p.blob, p.v2 = change, change, change, change
	}, logIn: true},
	{name: "basic authentication on plain HTTP", plain: true, set: func(s *stage, p *parts) {
		s.hostsTOML(fmt.Sprintf("server = \"http://%s\"\n[header]\nX-Canary = %q\n", s.registry.host, canaryHeader))
		p.challenge = `Basic realm="x"`
	}, text: "not sent", basic: noServer, bearer: noServer},
	{name: "a token service on plain HTTP", plain: true, set: func(s *stage, p *parts) {
		s.hostsTOML(fmt.Sprintf("server = \"http://%s\"\n", s.registry.host))
		p.challenge = strings.Replace(p.challenge, "https:", "http:", 1)
	}, basic: noServer, bearer: noServer},
	{name: "a mirror on plain HTTP that wants a password", set: func(s *stage, p *parts) {
		s.hostsTOML(fmt.Sprintf("server = \"https://%s\"\n[host.\"http://%s\"]\n[host.\"http://%s\".header]\nX-Canary = %q\n", s.registry.host, s.other.host, s.other.host, canaryHeader))
		s.other.serve(setHeaders(answers(401, ""), "WWW-Authenticate", `Basic realm="x"`))
	}, healthy: true, logIn: true},

	// Credentials that are sent back.
	{name: "a registry that tells its secrets", set: func(s *stage, p *parts) {
		p.v2 = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", strings.Repeat("y", 285)+canaryPassword)
			w.Header().Set("Docker-Distribution-Api-Version", canaryPassword)
			p.unauthorized(w)
		}
		p.head = setHeaders(answers(403, ""), "Content-Type", "text/"+canaryToken, "Docker-Content-Digest", strings.Repeat("z", 285)+canaryToken)
	}, logIn: true},
	{name: "a registry that tells the token as a media type", set: func(s *stage, p *parts) {
		p.head = setHeaders(answers(200, ""), "Content-Type", "text/"+canaryToken, "Docker-Content-Digest", canaryPassword)
	}, logIn: true},
	{name: "a host that tells the header of hosts.toml", set: func(s *stage, p *parts) {
		s.hostsTOML(fmt.Sprintf("server = \"https://%s\"\n[header]\nX-Canary = %q\n", s.registry.host, canaryHeader))
		p.v2 = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", r.Header.Get("X-Canary"))
			p.unauthorized(w)
		}
	}, healthy: true, logIn: true},
	{name: "a kubelet that quotes a secret in pieces", set: func(*stage, *parts) {}, healthy: true, logIn: true, state: corev1.ContainerStateWaiting{
		Reason: "ErrImagePull", Message: "failed to resolve: unexpected status: 403 Forbidden: canary\u200b-password\u202e-7f3a and " + evil,
	}},

	// Too much, and too slow.
	{name: "an endless manifest", set: func(s *stage, p *parts) {
		p.get = raw(okHead+"Content-Type: "+p.mediaType+"\r\nTransfer-Encoding: chunked\r\n\r\n", "1000\r\n"+strings.Repeat("{", 4096)+"\r\n", 0)
	}, logIn: true},
	{name: "an endless token", set: func(s *stage, p *parts) {
		p.token = raw(okHead+"\r\n{\"token\":\"", strings.Repeat("a", 4096), 0)
	}, logIn: true},
	{name: "a drip of a token", set: func(s *stage, p *parts) {
		p.token = raw(okHead+"\r\n{\"token\":\"", "a", 10*time.Millisecond)
	}, logIn: true},
	{name: "a drip of a header", set: func(s *stage, p *parts) { p.v2 = raw(okHead+"X-A: ", "a", 10*time.Millisecond) }, healthy: true},
	{name: "a drip of a manifest", set: func(s *stage, p *parts) { p.get = raw(okHead+"\r\n", "{", 10*time.Millisecond) }, logIn: true},
	{name: "a header of a gigabyte", set: func(s *stage, p *parts) { p.head = raw(okHead+"X-A: ", strings.Repeat("a", 4096), 0) }, logIn: true},
	{name: "a million headers", set: func(s *stage, p *parts) { p.head = raw(okHead, strings.Repeat("A: b\r\n", 600), 0) }, logIn: true},
	{name: "thousands of challenges", set: func(s *stage, p *parts) {
		p.v2 = raw("HTTP/1.1 401 Unauthorized\r\n"+strings.Repeat("WWW-Authenticate: Bearer realm=\"https://"+s.victim.host+"/\",\r\n", 3000)+"\r\n", "", 0)
		p.challenge = strings.TrimSuffix(strings.Repeat(`Negotiate, Digest realm="x", `, 300), ", ")
	}, basic: noServer, bearer: noServer},
	{name: "a challenge of control characters", set: func(s *stage, p *parts) {
		p.challenge = `Bearer realm="https://` + s.tokens.host + `/token",service="` + strings.ReplaceAll(inHeader, `"`, "") + `",error="` + inHeader + `",scope="` + inHeader + `"`
	}, logIn: true, healthy: true},
	{name: "a negative length", set: func(s *stage, p *parts) {
		p.get = raw(okHead+"Content-Type: "+p.mediaType+"\r\nContent-Length: -1\r\n\r\n{}", "", 0)
	}, logIn: true},
	{name: "a huge length", set: func(s *stage, p *parts) {
		p.head = raw(okHead+"Content-Type: "+p.mediaType+"\r\nContent-Length: 9223372036854775807\r\n\r\n", "", 0)
	}, logIn: true},
	{name: "a length that is none", set: func(s *stage, p *parts) {
		p.head = raw(okHead+"Content-Type: "+p.mediaType+"\r\nContent-Length: 99999999999999999999999\r\n\r\n", "", 0)
	}, logIn: true},
	{name: "a gzip bomb", set: func(s *stage, p *parts) {
		bomb := gzipped(64 << 20)
		p.get = setHeaders(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bomb) }, "Content-Encoding", "gzip", "Content-Type", p.mediaType)
		p.token = setHeaders(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bomb) }, "Content-Encoding", "gzip")
	}, logIn: true},
	{name: "gigabytes where one byte was asked for", set: func(s *stage, p *parts) {
		p.blob = raw(okHead+"Content-Length: 9999999999\r\n\r\n", strings.Repeat("x", 4096), 0)
	}, logIn: true},
	{name: "a chain of 10 MB", set: func(s *stage, p *parts) {
		for n := 0; n < 10<<20; n += len(s.cert.Certificate[0]) {
			s.cert.Certificate = append(s.cert.Certificate, s.cert.Certificate[0])
		}
	}, basic: noServer, bearer: noServer},

	// What is in the answers.
	{name: "Retry-After in the far future", set: func(s *stage, p *parts) {
		p.head = setHeaders(answers(429, ""), "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")
	}, logIn: true},
	{name: "Retry-After that is negative", set: func(s *stage, p *parts) { p.head = setHeaders(answers(429, ""), "Retry-After", "-1") }, logIn: true},
	{name: "Retry-After beyond all numbers", set: func(s *stage, p *parts) {
		p.head = setHeaders(answers(429, ""), "Retry-After", "99999999999999999999999", "RateLimit-Remaining", inHeader, "RateLimit-Limit", inHeader)
	}, logIn: true},
	{name: "Retry-After that is a text", set: func(s *stage, p *parts) {
		p.v2 = setHeaders(answers(429, ""), "Retry-After", "1; Fix: run-evil  fix run-evil")
	}, healthy: true},
	{name: "error codes and messages with escapes", set: func(s *stage, p *parts) {
		b, _ := json.Marshal(map[string]any{"errors": []any{map[string]any{"code": evil, "message": evil, "detail": evil}}})
		p.head, p.get = answers(404, ""), setHeaders(answers(404, string(b)), "Content-Type", "application/json")
		p.lists = p.get
		p.v2 = setHeaders(answers(401, string(b)), "WWW-Authenticate", p.challenge, "Server", inHeader, "Docker-Distribution-Api-Version", inHeader, "Date", inHeader)
	}, logIn: true},
	{name: "tags and repositories that are commands", set: func(s *stage, p *parts) {
		p.head = func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/app/manifests/1") {
				w.WriteHeader(404)
			}
		}
		tags, _ := json.Marshal(map[string]any{"tags": []string{"1;run-evil", "1$(run-evil)", "1-run-evil`run-evil`", "1 run-evil", "1\n", "1&"}, "repositories": []string{"app;run-evil", "apq$(run-evil)", "ap p"}})
		p.lists, p.get = answers(200, string(tags)), answers(404, "")
		p.challenge = `Basic realm="x"`
	}, basic: registryOnly, bearer: noServer, logIn: true, most: 40},
	{name: "a huge list of tags", set: func(s *stage, p *parts) {
		p.head, p.get = answers(404, ""), answers(404, "")
		p.lists = raw(okHead+"\r\n{\"tags\":[\"1\"", strings.Repeat(`,"aaaaaaaaaaaaaaaa"`, 200), 0)
	}, logIn: true},
	{name: "lists that go on for ever", set: func(s *stage, p *parts) {
		p.head, p.get = answers(404, ""), answers(404, "")
		p.lists = setHeaders(answers(200, `{"tags":["a"]}`), "Link", `<https://`+s.victim.host+`/v2/app/tags/list?last=a>; rel="next"`)
	}, logIn: true},
	{name: "control characters in headers", set: func(s *stage, p *parts) {
		p.v2 = setHeaders(p.v2, "Server", "\x1b[2J\x7f\x01")
	}, healthy: true},
	{name: "a token that is a bomb", set: func(s *stage, p *parts) {
		p.token = answers(200, `{"token":`+strings.Repeat("[", 15000))
	}, logIn: true},
	{name: "a token with a line break", set: func(s *stage, p *parts) {
		p.token = answers(200, `{"token":"a\r\nX-Injected: run-evil"}`)
	}, logIn: true},
	{name: "a token that is no text", set: func(s *stage, p *parts) { p.token = answers(200, `{"token":{"a":[1]},"access_token":7}`) }, logIn: true},
	{name: "a digest that is none", set: func(s *stage, p *parts) {
		head := p.head
		p.head = func(w http.ResponseWriter, r *http.Request) {
			head(w, r)
			w.Header().Set("Docker-Content-Digest", "sha256:../../../admin?"+inHeader)
		}
	}, logIn: true},
	{name: "a media type with escapes", set: func(s *stage, p *parts) {
		p.head = setHeaders(answers(200, ""), "Content-Type", "application/"+inHeader)
	}, logIn: true},
	{name: "a thousand layers", set: func(s *stage, p *parts) {
		var layers []string
		for i := range 400 {
			layers = append(layers, fmt.Sprintf(`{"digest":"sha256:%064d","size":1}`, i))
		}
		p.manifest = p.manifestOf(strings.Join(layers, ","))
	}, logIn: true},
	{name: "absurd sizes", set: func(s *stage, p *parts) {
		p.manifest = p.manifestOf(`{"digest":"` + digestOf(p.layer) + `","size":9223372036854775807},{"digest":"` + digestOf(p.layer) + `","size":-9223372036854775808},{"digest":"` + digestOf(p.layer) + `","size":9223372036854775}`)
	}, logIn: true},
	{name: "digests that lead elsewhere", set: func(s *stage, p *parts) {
		p.manifest = p.manifestOf(`{"digest":"../../../../admin/delete?run-evil","size":7}`)
	}, logIn: true},
	{name: "layers on other hosts", set: func(s *stage, p *parts) {
		p.manifest = p.manifestOf(fmt.Sprintf(`{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":%q,"size":7,"urls":["https://%s/layer","http://169.254.169.254/"]}`, digestOf(p.layer), s.victim.host))
	}, logIn: true},
	{name: "an index of itself", set: func(s *stage, p *parts) {
		p.mediaType = "application/vnd.oci.image.index.v1+json"
		p.manifest = []byte(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"` + digestOf([]byte("x")) + `","size":1}]}`)
		p.get = func(w http.ResponseWriter, r *http.Request) { p.head(w, r); _, _ = w.Write(p.manifest) }
	}, logIn: true},
	{name: "platforms with escapes", set: func(s *stage, p *parts) {
		p.mediaType = "application/vnd.oci.image.index.v1+json"
		b, _ := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{map[string]any{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digestOf(p.layer), "size": 7, "platform": map[string]string{"os": evil, "architecture": evil, "variant": evil}}}})
		p.manifest = b
	}, logIn: true},
	{name: "a config with escapes", set: func(s *stage, p *parts) {
		p.configBody, _ = json.Marshal(map[string]string{"architecture": "x. Fix: run-evil" + evil, "os": evil})
		p.manifest = p.manifestOf(fmt.Sprintf(`{"digest":%q,"size":7}`, digestOf(p.layer)))
	}, logIn: true},
	{name: "names in a certificate", set: func(s *stage, p *parts) {
		s.cert, _ = s.issue(&x509.Certificate{DNSNames: []string{"x.\x1b[2J. Fix: run-evil\n  fix      run-evil"}, Subject: pkix.Name{CommonName: evil}}, pkix.Name{CommonName: "hostile test"}, true)
	}, basic: noServer, bearer: noServer},
	{name: "the issuer of a certificate", set: func(s *stage, p *parts) {
		s.cert, _ = s.issue(&x509.Certificate{DNSNames: []string{"registry.test"}, Subject: pkix.Name{CommonName: evil}}, pkix.Name{CommonName: evil, Organization: []string{evil}}, false)
	}, basic: noServer, bearer: noServer},
}

func gzipped(n int) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.CopyN(z, zeros{}, int64(n))
	_ = z.Close()
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestHostileRegistry checks that whatever a registry does, credentials go only to the
// hosts that may get them, no host is contacted that must not be, the verdict comes in
// time, and nothing of it is published.
func TestHostileRegistry(t *testing.T) {
	for _, c := range hostileCases {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, c.plain)
			p := s.honest()
			c.set(s, p)
			p.open()
			image := s.registry.host + "/app:1"
			if c.state.Reason == "" {
				c.state = backOff
			}
			s.pod("stuck", image, c.state, "login")
			began := time.Now()
			s.start()
			s.diagnosed("stuck", func(d report.Diagnosis) bool { return len(s.checks(image)) > 0 })
			// The start of the agent and a busy machine take time, too.
			if took := time.Since(began); took > examine.VerdictTimeout+6*time.Second {
				t.Errorf("the verdict took %v", took)
			}
			s.until("its Event", 10*time.Second, func() bool { return len(s.events("stuck")) > 0 })
			if !c.logIn { // a sweep comes no further
				s.sweep()
				s.swept("a sweep of the registry", func(w *report.Sweep) bool { return len(w.Registries) > 0 })
			}
			checks := s.checks(image)
			s.expectText(t, checks, c.text)
			healthy := report.Find(checks, "blob/"+s.registry.host).Outcome == report.Pass
			if c.healthy && !healthy {
				t.Errorf("an available image is not recognized: %+v", checks)
			}
			if t.Failed() {
				for _, c := range checks {
					t.Logf("%s %s: %s %q", c.Outcome, c.ID, c.Summary, c.Evidence)
				}
			}

			basic, bearer := []*spy{s.tokens}, []*spy{s.registry}
			if c.basic != nil {
				basic = c.basic(s)
			}
			if c.bearer != nil {
				bearer = c.bearer(s)
			}
			s.expectSecretsOnlyAt(t, "the password", basic, canaryUser, canaryPassword, canaryBasic())
			s.expectSecretsOnlyAt(t, "the token", bearer, canaryToken)
			s.expectSecretsOnlyAt(t, "the header", []*spy{s.registry}, canaryHeader)
			if c.logIn && !strings.Contains(s.tokens.all()+s.registry.all(), canaryBasic()) {
				t.Error("no password was sent, so that there was nothing to keep")
			}
			most := c.most
			if most == 0 {
				most = 24
			}
			if n := s.registry.requests(); n > most {
				t.Errorf("%d requests to the registry", n)
			}
			s.expectClean(t, "stuck")
		})
	}
}

// expectText checks that some check contains a text.
func (s *stage) expectText(t *testing.T, checks []report.Check, text string) {
	t.Helper()
	b, err := json.Marshal(checks)
	if err != nil || !strings.Contains(string(b), text) {
		t.Errorf("%q is missing (%v): %s", text, err, b)
	}
}

// expectSecretsOnlyAt checks that only these servers got the secrets, that the victim
// got nothing at all, and that no server got too many requests.
func (s *stage) expectSecretsOnlyAt(t *testing.T, what string, by []*spy, secrets ...string) {
	t.Helper()
	if n := s.victim.accepted.Load(); n > 0 {
		t.Errorf("%d connections to the victim: %s", n, s.victim.all())
	}
	for _, spy := range []*spy{s.registry, s.tokens, s.other, s.victim} {
		may := false
		for _, b := range by {
			may = may || b == spy
		}
		for _, secret := range secrets {
			if !may && strings.Contains(spy.all(), secret) {
				t.Errorf("%s came to %s: %s", what, spy.host, spy.all())
			}
		}
		if n := spy.sent.Load(); n > 1<<20 {
			t.Errorf("%s got rid of %d bytes", spy.host, n)
		}
	}
}

var (
	// What a line of the summary may begin with.
	lineOf = regexp.MustCompile(`^(|[a-z0-9-]+: .*\.|Updated .*|Who acts: .*|The .* must act:|Who must act is not known yet:|No fault of image, node or registry:|` +
		`(cluster-config|node-infrastructure|registry|none|undetermined)  [A-Za-z]+  \([a-z; ]+\)(  +\d+ pods?( since [0-9:]+ UTC|, not waiting))?|undetermined( +\d+ pods?( since [0-9:]+ UTC|, not waiting))?|` +
		`  (pods?|image|why|fix|to confirm|evidence|also|no fault|not checked|checked|likewise|next pull|check again|disk|runtime|dns|clock|config|kubelet) +\S.*| {15}\S.*|Node|Hosts \(checked .*|  (STATE|reachable|unreachable|degraded|limited|unknown|flapping) .*| {20}\S.*| +\d+ pods?( since [0-9:]+ UTC|, not waiting)|  kubectl .*|All .*:|Nodes compared:|\(To keep this short, .*)$`)
	inQuotes = regexp.MustCompile(`"(\\.|[^"\\])*"`)
	asField  = regexp.MustCompile(`(?i)(^|[^"(\w])(fix|to confirm|also|check again) ?: ?run-evil`)
)

// forged reports whether a server's text is on a line of its own: only fixes have several
// lines, and no server writes into those.
func forged(text string) bool {
	_, rest, _ := strings.Cut(text, "\n")
	return strings.Contains(inQuotes.ReplaceAllString(rest, ""), "run-evil") || strings.ContainsAny(text, "\t\r")
}

// expectClean checks what was published of the pod, and logged.
func (s *stage) expectClean(t *testing.T, pod string) {
	t.Helper()
	_, cm, _ := s.report()
	texts := map[string]string{"the summary": cm.Data[report.SummaryKey], "the log": s.logged.String()}
	var decoded any
	if err := json.Unmarshal([]byte(cm.Data[publish.ReportKey]), &decoded); err != nil {
		t.Fatal(err)
	}
	eachString(decoded, func(text string) {
		texts["report.json"] += text + "\n"
		if forged(text) {
			t.Errorf("a server has a line of its own in report.json: %q", text)
		}
	})
	for _, e := range append(s.events(pod), s.nodeEvents()...) {
		texts["an Event"] += e.Message
		if asField.MatchString(inQuotes.ReplaceAllString(e.Message, "")) || forged(e.Message) {
			t.Errorf("a server has a field of its own in the Event: %q", e.Message)
		}
	}
	for where, text := range texts {
		for _, canary := range []string{canaryPassword, canaryToken, canaryHeader, canaryBasic(), canaryPassword[:9], canaryToken[:9]} {
			if strings.Contains(text, canary) {
				t.Errorf("%s tells %s: %s", where, canary, text)
			}
		}
		for _, r := range text {
			if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
				t.Errorf("%s has the character %U: %q", where, r, text)
				break
			}
		}
	}
	for line := range strings.Lines(cm.Data[report.SummaryKey]) {
		line = strings.TrimSuffix(line, "\n")
		start := strings.TrimSpace(line)
		if !lineOf.MatchString(line) || strings.HasPrefix(start, "fix          run-evil") || strings.HasPrefix(start, "fix: run-evil") {
			t.Errorf("a line with an unknown beginning: %q", line)
		}
	}
	n, _, _ := s.report()
	for _, d := range n.Diagnoses {
		if strings.Contains(inQuotes.ReplaceAllString(d.Verdict.Fix, ""), "run-evil") {
			t.Errorf("a server wrote into the fix: %q", d.Verdict.Fix)
		}
	}
}

// eachString calls each for all strings in a JSON value, keys included.
func eachString(v any, each func(string)) {
	switch v := v.(type) {
	case string:
		each(v)
	case []any:
		for _, e := range v {
			eachString(e, each)
		}
	case map[string]any:
		for k, e := range v {
			each(k)
			eachString(e, each)
		}
	}
}

// TestHostileAddresses checks that the victim is not contacted, however its address is
// written, as a realm or as the target of a redirect.
func TestHostileAddresses(t *testing.T) {
	s := newStage(t, false)
	four := s.victim.addr.Addr().As4()
	whole := binary.BigEndian.Uint32(four[:])
	forms := []string{
		"victim.test", "VICTIM.test", "victim.test.",
		s.victim.addr.Addr().String(), "[::ffff:" + s.victim.addr.Addr().String() + "]", fmt.Sprintf("[::ffff:%x:%x]", whole>>16, whole&0xffff),
		fmt.Sprint(whole), fmt.Sprintf("0x%x", whole), fmt.Sprintf("0%o", whole), fmt.Sprintf("0%o.0%o.0%o.0%o", four[0], four[1], four[2], four[3]),
		fmt.Sprintf("%d.%d", four[0], whole&0xffffff), fmt.Sprintf("%d.%d.%d", four[0], four[1], whole&0xffff),
		fmt.Sprintf("[64:ff9b::%x:%x]", whole>>16, whole&0xffff), fmt.Sprintf("[2002:%x:%x::]", whole>>16, whole&0xffff), fmt.Sprintf("[::%x:%x]", whole>>16, whole&0xffff),
		"[::1]", "[::1%25lo]", "[fe80::1%25lo]", "0", "[::]", "localhost",
		"１２７.６６." + fmt.Sprint(four[2]) + ".1",
		"169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]", "100.100.100.200",
	}
	// Some of these are no addresses for a resolver, and there is none here.
	p := s.honest()
	p.open()
	honest := *s.registry.handler.Load()
	s.registry.serve(func(w http.ResponseWriter, r *http.Request) {
		var kind string
		var i int
		if _, err := fmt.Sscanf(r.URL.Path, "/v2/%5s/%d/", &kind, &i); err != nil || i >= len(forms) {
			honest(w, r)
			return
		}
		at := "https://" + forms[i] + ":" + strconv.Itoa(s.port) + "/"
		if kind == "realm" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+at+`"`)
			w.WriteHeader(401)
			return
		}
		http.Redirect(w, r, at, http.StatusTemporaryRedirect)
	})
	var images []string
	for i := range forms {
		for _, kind := range []string{"realm", "moved"} {
			images = append(images, fmt.Sprintf("%s/%s/%d:1", s.registry.host, kind, i))
			s.pod(fmt.Sprintf("%s-%d", kind, i), images[len(images)-1], backOff, "login")
		}
	}
	s.start()
	s.until("all verdicts", time.Minute, func() bool {
		for _, image := range images {
			if len(s.checks(image)) == 0 {
				return false
			}
		}
		return true
	})
	s.expectSecretsOnlyAt(t, "the password", nil, canaryUser, canaryPassword, canaryBasic())
	for i, image := range images {
		b, err := json.Marshal(s.checks(image))
		if err != nil || !strings.Contains(string(b), " address") && !strings.Contains(string(b), "not a URL") && !strings.Contains(string(b), "no usable token service") {
			t.Errorf("%s: the reason for no request is missing: %s", forms[i/2], b)
		}
	}
}

// TestRebinding checks that of a name that resolves differently each time the address
// that was allowed is dialed.
func TestRebinding(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a DNS server on its port")
	}
	for _, as := range []string{"registry", "realm", "redirect", "layer"} {
		for good := range 3 {
			t.Run(fmt.Sprintf("%s after %d good answers", as, good), func(t *testing.T) {
				s := newStage(t, false)
				var asked atomic.Int32
				s.rebind(func(string) netip.Addr {
					if asked.Add(1) <= int32(good) {
						return s.other.addr.Addr()
					}
					return s.victim.addr.Addr()
				})
				host := "rebind.test:" + strconv.Itoa(s.port)
				image := s.registry.host + "/app:1"
				p := s.honest()
				to := func(r *http.Request) string { return "https://" + host + r.URL.String() }
				switch as {
				case "registry":
					image = host + "/app:1"
				case "realm":
					p.challenge = `Bearer realm="https://` + host + `/token"`
				case "redirect":
					p.head = redirects(307, to)
				case "layer":
					p.blob = redirects(307, to)
				}
				p.open()
				// The host behind the name is honest as long as it is contacted.
				s.other.serve(*s.registry.handler.Load())
				if as == "realm" {
					s.other.serve(p.token)
				}
				s.pod("stuck", image, backOff, "login")
				s.start()
				s.diagnosed("stuck", func(report.Diagnosis) bool { return len(s.checks(image)) > 0 })
				basic := []*spy{s.tokens}
				if as == "realm" {
					basic = []*spy{s.other}
				}
				s.expectSecretsOnlyAt(t, "the password", basic, canaryUser, canaryPassword, canaryBasic())
				if good == 0 {
					s.expectText(t, s.checks(image), "a loopback address")
				}
			})
		}
	}
}

// rebind answers every DNS query for rebind.test with the result of to.
func (s *stage) rebind(to func(name string) netip.Addr) {
	s.t.Helper()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.RecursionAvailable = true
		name := q.Question[0].Name
		switch {
		case name != "rebind.test.":
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: to(name).AsSlice()}}
		}
		_ = w.WriteMsg(m)
	})
	address := net.JoinHostPort(s.resolver.String(), "53")
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		s.t.Skip("no DNS server here: ", err)
	}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: pc, Handler: handler, NotifyStartedFunc: func() { close(started) }}
	go func() { _ = server.ActivateAndServe() }()
	<-started
	s.t.Cleanup(func() { _ = server.Shutdown() })
}
