//go:build matrix

package matrix

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// hiding answers like a registry that hides what the caller may not see: 404 without a
// challenge to anonymous requests (Artifactory: hideUnauthorizedResources). With challenge
// it accepts a login.
func hiding(l *login, code string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, ok := r.BasicAuth()
			if (!ok || (login{user, password}) != *l) && r.URL.Path != "/v2/" {
				lab.RegistryError(w, http.StatusNotFound, code, "The named object is not known to the registry")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// headOnly puts a fault on HEAD of manifests.
func headOnly(f http.HandlerFunc) func(http.Handler) http.Handler {
	return replaceResponse(func(r *http.Request) bool { return isManifest(r) && r.Method == http.MethodHead }, f)
}

func respondStatus(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// serveSite answers like a web site behind a login of its own, which is no registry.
func serveSite(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Basic realm="Staging site"`)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	io.WriteString(w, "<html><head><title>401 Authorization Required</title></head><body><hr>nginx</body></html>")
}

// isTagList reports whether the request is for the tags of a repository.
func isTagList(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/tags/list") }

// rivalRows returns the rows in which another fault looks the same from the node, and
// those that look similar and can be told for certain.
func rivalRows() []row {
	const anyCause = "*"
	notAPrivateSite := []string{"* CredentialsMissing|CredentialsRejected confirmed", "none * *"}
	// mistyped makes a registry, and a mistyped name of it that a wildcard record leads to
	// something else.
	mistyped := func(s *scene, answer func(*host)) *subject {
		domain := s.w.name()
		right := s.host(hostOptions{name: randomWord() + "." + domain, port: 443})
		ingress := s.host(hostOptions{name: randomWord() + "." + domain, port: 443})
		s.hosts = []*host{ingress, right}
		s.w.setDNS("*."+domain, lab.Answer{Addrs: ingress.addrs})
		_, repository, tag := s.pushApp(right)
		answer(ingress)
		return &subject{image: ingress.image(repository, tag), fixedImage: right.image(repository, tag), fix: func() {}}
	}
	placeholder := func(name string, l leafSpec) row {
		return row{
			name: name, kind: rivals,
			misleads: "a certificate for another name: no registry has this name, a wildcard record leads to an ingress",
			setup: func(s *scene) *subject {
				return mistyped(s, func(h *host) {
					h.setCertificate(s.selfSignedAs(l))
					h.setFault(replaceResponse(anyRequest, serveWebServer))
				})
			},
			runtime: fails(`x509: `),
			want:    bounds("undetermined|cluster-config", anyCause, "likely|undetermined"),
			never:   []string{"registry * *", "node-infrastructure * *"}, neverFix: []string{"trust store",
				"create secret"}, wouldDecide: true,
		}
	}
	// untrusted makes a registry with a certificate of an authority that no node should
	// trust.
	untrusted := func(name, authority string) row {
		return row{
			name: name, kind: rivals,
			misleads: "unknown authority: to trust this one would be harmful",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				ca, err := lab.NewAuthority(authority)
				must(s.t, err)
				h.setCertificate(s.certificate(ca, leafSpec{name: h.name}))
				return &subject{image: image, fix: func() {
					h.setCertificate(s.certificate(s.w.trustedCA,
						leafSpec{name: h.name}))
				}}
			},
			runtime: fails(`certificate signed by unknown authority`),
			want:    bounds("registry|undetermined", anyCause, "confirmed|likely", "tls/{host}/{addr}"),
			never:   []string{"node-infrastructure * *", "none * *"}, neverFix: []string{"into the trust store", "ca ="},
		}
	}
	// gateway makes a registry behind something that answers HEAD differently.
	gateway := func(name string, runtime runtimeResult, f http.HandlerFunc, never ...string) row {
		return row{
			name: name, kind: rivals,
			misleads: "the registry's answer: GET of the same manifest is answered well",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(headOnly(f))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: runtime,
			want:    bounds("registry|undetermined", anyCause, "*", "manifest/{host}"),
			never:   append(never, "none * *", "cluster-config * *"), neverFix: []string{"push ", "create secret"},
		}
	}
	// rejects makes a registry that a router reports as unreachable.
	rejects := func(name, with string) row {
		return row{
			name: name, kind: rivals,
			misleads: "no route to host: a router reports it, because the registry's machine is off",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				rule := []string{"-d", h.addrs[0].String(), "-p", "tcp", "-j", "REJECT", "--reject-with", with}
				must(s.t, s.w.run("", "iptables", append([]string{"-w", "-I", "INPUT"}, rule...)...))
				return &subject{image: image, fix: func() {
					must(s.t, s.w.run("", "iptables", append([]string{"-w", "-D", "INPUT"}, rule...)...))
				}}
			},
			runtime: fails(`no route to host|network is unreachable|connection refused`),
			want: bounds("undetermined", "NetworkUnreachable|ConnectionTimeout|ConnectionRefused", "likely|undetermined",
				"dial/{host}/{addr}"),
			wouldDecide: true,
		}
	}
	hidden := func(name, code string, withLogin bool) row {
		return row{
			name: name, kind: rivals,
			misleads: "not found: it exists for users with a login, and no challenge requires one",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(hiding(l, code))
				sub := &subject{image: image}
				if withLogin {
					sub.auth = l
				}
				sub.fix = func() {
					sub.auth = l
					h.setFault(requireBasicAuth(l))
				}
				return sub
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want: bounds("cluster-config|undetermined|registry",
				"RepositoryNotFound|TagNotFound|AccessDeniedOrMissing|Undetermined", "likely|undetermined", "manifest/{host}"),
			wouldDecide: true,
		}
	}
	// webFirewall makes a registry behind a service that answers some requests with its own
	// page.
	webFirewall := func(name string, which func(*http.Request) bool) row {
		return row{
			name: name, kind: rivals,
			misleads: "403 Forbidden: a web firewall refuses this node or program, not the registry",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantAll}
				good := t.requireToken(realmOf(h))
				page := replaceResponse(which, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/html; charset=UTF-8")
					w.Header().Set("Server", "cloudflare")
					w.WriteHeader(http.StatusForbidden)
					io.WriteString(w, "<html><title>Attention Required! | Cloudflare</title><h1>Sorry, you have been blocked</h1></html>")
				})
				h.setFault(func(next http.Handler) http.Handler { return page(good(next)) })
				return &subject{image: image, fix: func() { h.setFault(good) }}
			},
			runtime: fails(`403 Forbidden`),
			want:    bounds("registry|undetermined", anyCause, "likely|undetermined"),
			never:   []string{"cluster-config * *", "none * *"}, neverFix: []string{"create secret"}, wouldDecide: true,
		}
	}
	return []row{
		hidden("hidden-without-a-challenge", "NAME_UNKNOWN", false),
		hidden("hidden-without-a-challenge-to-a-login-never-used", "NAME_UNKNOWN", true),
		hidden("hidden-manifest-without-a-challenge", "MANIFEST_UNKNOWN", true),
		placeholder("mistyped-host-at-an-ingress", leafSpec{name: "Kubernetes Ingress Controller Fake Certificate",
			organization: "Acme Co", noNames: false, more: []string{"ingress.local"}}),
		placeholder("mistyped-host-at-traefik", leafSpec{name: "TRAEFIK DEFAULT CERT", more: []string{"2f3a.traefik.default"}}),
		placeholder("mistyped-host-at-a-control-panel", leafSpec{name: "Plesk", organization: "Plesk"}),
		{
			name: "mistyped-host-at-a-site-of-another-name", kind: rivals,
			misleads: "certificate is valid for another name: every name of the domain leads there",
			setup: func(s *scene) *subject {
				return mistyped(s, func(h *host) {
					h.setCertificate(s.certificate(s.w.trustedCA,
						leafSpec{name: "www." + h.name}))
				})
			},
			runtime: fails(`certificate is valid for`),
			want: bounds("undetermined|cluster-config", "CertificateNameMismatch|HostNotFound|Undetermined",
				"likely|undetermined"),
			wouldDecide: true,
		},
		{
			name: "mistyped-host-at-a-site-with-a-login", kind: rivals,
			misleads: "no basic auth credentials: a web site requires a login, and is no registry",
			setup: func(s *scene) *subject {
				return mistyped(s, func(h *host) { h.setFault(replaceResponse(anyRequest, serveSite)) })
			},
			runtime: fails(`no basic auth credentials`),
			want:    bounds("undetermined|cluster-config", anyCause, "likely|undetermined", "manifest/{host}"),
			never:   notAPrivateSite, neverFix: []string{"create secret"}, wouldDecide: true,
		},
		{
			name: "mistyped-host-at-a-site-with-a-login-that-is-given-one", kind: rivals,
			misleads: "401 Unauthorized: the password is right, for the registry",
			setup: func(s *scene) *subject {
				l := newLogin()
				sub := mistyped(s, func(h *host) { h.setFault(replaceResponse(anyRequest, serveSite)) })
				s.hosts[1].setFault(requireBasicAuth(l))
				sub.auth = l
				return sub
			},
			runtime: fails(`401 Unauthorized`),
			want:    bounds("undetermined|cluster-config", anyCause, "likely|undetermined", "manifest/{host}"),
			never:   notAPrivateSite, neverFix: []string{"create secret"}, wouldDecide: true,
		},
		{
			name: "mistyped-host-at-a-site-with-a-login-and-a-secret-for-the-right-name", kind: rivals,
			misleads: "no basic auth credentials: the secret is right, the image's name is not",
			setup: func(s *scene) *subject {
				l := newLogin()
				sub := mistyped(s, func(h *host) { h.setFault(replaceResponse(anyRequest, serveSite)) })
				s.hosts[1].setFault(requireBasicAuth(l))
				sub.secret = dockerConfig(s.hosts[1].String(), l)
				sub.fix = func() { sub.auth = l }
				return sub
			},
			runtime: fails(`no basic auth credentials`),
			want:    bounds("undetermined|cluster-config", anyCause, "likely|undetermined", "manifest/{host}"),
			never:   append([]string{"* PullSecretOtherRegistry confirmed"}, notAPrivateSite...), neverFix: []string{"create secret"},
			wouldDecide: true,
		},
		webFirewall("web-firewall-forbids-manifests", isManifest),
		webFirewall("web-firewall-forbids-the-token-service", func(r *http.Request) bool { return r.URL.Path == "/token" }),
		{
			name: "mistyped-host-at-a-default-backend", kind: rivals,
			misleads: "not found: by the ingress, which has no such host",
			setup: func(s *scene) *subject {
				return mistyped(s, func(h *host) {
					h.setFault(replaceResponse(anyRequest, func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Content-Type", "text/plain; charset=utf-8")
						w.WriteHeader(http.StatusNotFound)
						io.WriteString(w, "default backend - 404")
					}))
				})
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    bounds("undetermined|cluster-config", anyCause, "likely|undetermined", "manifest/{host}"),
			never:   []string{"* TagNotFound|RepositoryNotFound confirmed"}, neverFix: []string{"push "}, wouldDecide: true,
		},
		{
			name: "single-sign-on-before-a-registry", kind: rivals,
			misleads: "not found: a login page is where every request ends",
			setup: func(s *scene) *subject {
				h, sso := s.host(hostOptions{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				sso.setFault(replaceResponse(anyRequest, servePortal))
				h.setFault(replaceResponse(anyRequest, func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "https://"+sso.String()+"/oauth2/start?rd="+r.URL.Path, http.StatusFound)
				}))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `text/html`),
			want:    bounds("undetermined|registry", anyCause, "likely|undetermined", "manifest/{host}"),
			never:   []string{"none * *", "* TagNotFound|RepositoryNotFound *"}, neverFix: []string{"create secret"},
		},
		gateway("head-404-get-200", failsWith(codes.NotFound, `not found$`), respondStatus(http.StatusNotFound),
			"* TagNotFound|RepositoryNotFound *"),
		gateway("head-403-get-200", fails(`403 Forbidden`), respondStatus(http.StatusForbidden),
			"* AccessDeniedOrMissing|AccessForbidden confirmed"),
		gateway("head-400-get-200", fails(`400 Bad Request`), respondStatus(http.StatusBadRequest), "* InvalidReference *"),
		{
			name: "head-405-get-200", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(headOnly(respondStatus(http.StatusMethodNotAllowed)))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed", "pull"),
		},
		{
			name: "web-firewall-forbids-the-runtimes-user-agent", kind: rivals,
			misleads: "403 Forbidden: to the program that containerd is, and to no other",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(func(r *http.Request) bool {
					return strings.HasPrefix(r.UserAgent(),
						"containerd")
				}, respondStatus(http.StatusForbidden)))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`403 Forbidden`),
			want:    bounds("*", anyCause, "likely|undetermined", "pull"),
			never:   []string{"none * *", "cluster-config * confirmed"}, neverFix: []string{"create secret"},
		},
		{
			name: "tag-in-the-list-and-not-found", kind: rivals,
			misleads: "not found: the registry lists the tag, its manifest was lost (garbage collection, replication)",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(respondError(isManifest, http.StatusNotFound, "MANIFEST_UNKNOWN"))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    bounds("registry|undetermined", anyCause, "likely|undetermined", "manifest/{host}"),
			never:   []string{"* * confirmed", "cluster-config * *"}, wouldDecide: true,
		},
		{
			name: "tag-missing-from-a-list-of-many-pages", kind: rivals,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				_, repository, _ := s.pushApp(h)
				h.setFault(replaceResponse(isTagList, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Link", `</v2/`+repository+`/tags/list?last=zzz&n=100>; rel="next"`)
					w.Header().Set("Content-Type", "application/json")
					var tags []string
					for i := range 100 {
						tags = append(tags, fmt.Sprintf("build-%04d", i))
					}
					json.NewEncoder(w).Encode(map[string]any{"name": repository, "tags": tags})
				}))
				tag := randomWord()
				return &subject{image: h.image(repository, tag), fix: func() {
					h.setFault(nil)
					s.pushRandom(repository, tag, lab.Image{})
				}}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    bounds("cluster-config", "TagNotFound", "confirmed|likely", "manifest/{host}", "pull"),
		},
		{
			name: "tag-missing-behind-a-login", kind: rivals,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				_, repository, _ := s.pushApp(h)
				h.setFault((&tokenService{grant: grantOnly(l)}).requireToken(realmOf(h)))
				tag := randomWord()
				return &subject{image: h.image(repository, tag), auth: l, fix: func() {
					s.pushRandom(repository, tag,
						lab.Image{})
				}}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    bounds("cluster-config", "TagNotFound", "confirmed", "manifest/{host}", "pull"),
		},
		{
			name: "repository-missing-behind-a-login-that-works", kind: rivals,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				h.setFault(requireBasicAuth(l))
				repository, tag := randomWord()+"/"+randomWord(), randomWord()
				return &subject{image: h.image(repository, tag), auth: l, fix: func() {
					s.pushRandom(repository, tag,
						lab.Image{})
				}}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    bounds("cluster-config", "RepositoryNotFound", "confirmed|likely", "manifest/{host}", "pull"),
		},
		{
			name: "one-replica-lacks-the-tag", kind: rivals,
			misleads: "not found: by one of two machines behind the name",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				var n atomic.Int64
				h.setFault(replaceResponse(func(r *http.Request) bool { return isManifest(r) && n.Add(1)%2 == 1 },
					func(w http.ResponseWriter, _ *http.Request) {
						lab.RegistryError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
					}))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    bounds("*", anyCause, "likely|undetermined"),
			never:   []string{"* TagNotFound|RepositoryNotFound confirmed", "none Healthy confirmed"},
		},
		{
			name: "name-servers-of-one-domain-fail", kind: rivals,
			misleads: "server misbehaving: the resolver answers for every other name, the domain's name servers do not answer it",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				_, domain, _ := strings.Cut(h.name, ".")
				s.w.setDNS(h.name, lab.Answer{Rcode: "SERVFAIL"})
				s.w.setDNS(domain, lab.Answer{Rcode: "SERVFAIL"})
				s.w.setDNS("*."+domain, lab.Answer{Rcode: "SERVFAIL"})
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
			},
			runtime: fails(`server misbehaving`),
			want: bounds("undetermined|registry", "ResolverFailed|HostNotFound|Undetermined", "likely|undetermined",
				"dns/{host}"),
			wouldDecide: true,
		},
		{
			name: "resolver-fails-for-every-name", kind: rivals,
			setup: func(s *scene) *subject {
				var healed atomic.Bool
				resolver := s.serveDNS(func(name string) lab.Answer {
					if healed.Load() {
						return s.w.lookup(resolver1, name)
					}
					return lab.Answer{Rcode: "SERVFAIL"}
				})
				m := s.w.newMachine(s.t, machineSpec{resolvConf: "nameserver " + resolver + "\n"})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, machine: m, fix: func() { healed.Store(true) }}
			},
			runtime: fails(`server misbehaving`),
			want:    bounds("node-infrastructure", "ResolverFailed", "confirmed", "dns/{host}", "pull"),
		},
		untrusted("certificate-of-a-staging-authority", "(STAGING) Artificial Apricot R3"),
		untrusted("certificate-of-an-old-staging-authority", "Fake LE Intermediate X1"),
		untrusted("certificate-of-a-test-servers-authority", "Pebble Intermediate CA 28e7a5"),
		{
			name: "certificate-of-the-operating-systems-placeholder", kind: rivals,
			misleads: "unknown authority: it is the one that the package ssl-cert makes on every machine",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.selfSignedAs(leafSpec{name: "debian", organization: "Internet Widgits Pty Ltd",
					more: []string{"debian.localdomain"}}))
				return &subject{image: image, fix: func() {
					h.setCertificate(s.certificate(s.w.trustedCA,
						leafSpec{name: h.name}))
				}}
			},
			runtime: fails(`certificate is valid for|certificate signed by unknown authority`),
			want:    bounds("registry|undetermined", anyCause, "*", "tls/{host}/{addr}"),
			never:   []string{"node-infrastructure * *"}, neverFix: []string{"into the trust store"},
		},
		{
			name: "config-edited-for-another-registry", kind: rivals,
			misleads: "an edited configuration: it does not name this registry, whose token service fails",
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{config: containerdBasics})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: func(*login) (int, bool) { return http.StatusBadGateway, false }}
				h.setFault(t.requireToken(realmOf(h)))
				must(s.t, writeFiles(m.etc(""), map[string]string{"containerd/config.toml": containerdConfig}))
				other := s.w.name()
				m.hostsTOML(s.t, other, "server = \"https://"+other+"\"\n")
				return &subject{image: image, machine: m, fix: func() { t.setGrant(grantAll) }}
			},
			runtime: fails(`502 Bad Gateway`),
			want:    bounds("registry", "TokenServiceFailed", "confirmed|likely", "manifest/{host}"),
			never:   []string{"* RuntimeConfigStale *"}, neverFix: []string{"restart"},
		},
		{
			name: "config-path-edited-for-another-registry", kind: rivals,
			misleads: "an edited config_path: the new directory does not name this registry, whose token service fails",
			setup: func(s *scene) *subject {
				elsewhere := "[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/elsewhere\"\n"
				m := s.w.newMachine(s.t, machineSpec{config: containerdBasics + elsewhere})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: func(*login) (int, bool) { return http.StatusBadGateway, false }}
				h.setFault(t.requireToken(realmOf(h)))
				must(s.t, writeFiles(m.etc(""), map[string]string{"containerd/config.toml": containerdConfig}))
				other := s.w.name()
				m.hostsTOML(s.t, other, "server = \"https://"+other+"\"\n")
				return &subject{image: image, machine: m, fix: func() { t.setGrant(grantAll) }}
			},
			runtime: fails(`502 Bad Gateway`),
			want:    bounds("registry", "TokenServiceFailed", "confirmed|likely", "manifest/{host}"),
			never:   []string{"* RuntimeConfigStale *"}, neverFix: []string{"restart"},
		},
		{
			name: "config-path-edited-and-the-registry-untrusted", kind: rivals,
			misleads: "an edited config_path: the new directory does not name this registry either",
			setup: func(s *scene) *subject {
				elsewhere := "[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/elsewhere\"\n"
				m := s.w.newMachine(s.t, machineSpec{config: containerdBasics + elsewhere})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: h.name}))
				must(s.t, writeFiles(m.etc(""), map[string]string{"containerd/config.toml": containerdConfig}))
				return &subject{image: image, machine: m, fix: func() {
					h.setCertificate(s.certificate(s.w.trustedCA,
						leafSpec{name: h.name}))
				}}
			},
			runtime: fails(`certificate signed by unknown authority`),
			want: bounds("node-infrastructure|undetermined", "CertificateUntrusted", "confirmed|likely",
				"tls/{host}/{addr}"),
			never: []string{"* RuntimeConfigStale *"},
		},
		{
			name: "config-edited-and-the-tag-missing", kind: rivals,
			misleads: "an edited configuration: a restart would change nothing",
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{config: containerdBasics})
				h := s.host(hostOptions{})
				_, repository, _ := s.pushApp(h)
				tag := randomWord()
				must(s.t, writeFiles(m.etc(""), map[string]string{"containerd/config.toml": containerdConfig}))
				return &subject{image: h.image(repository, tag), machine: m, fix: func() {
					s.pushRandom(repository, tag,
						lab.Image{})
				}}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    bounds("cluster-config", "TagNotFound", "confirmed|likely", "manifest/{host}"),
			never:   []string{"* RuntimeConfigStale *"}, neverFix: []string{"restart"},
		},
		rejects("router-reports-the-host-unreachable", "icmp-host-unreachable"),
		rejects("router-reports-the-network-unreachable", "icmp-net-unreachable"),
		rejects("router-prohibits", "icmp-host-prohibited"),
		{
			name: "digest-missing-in-a-repository-that-hides-tags", kind: rivals,
			misleads: "not found: the registry shows no one its tags",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				_, repository, _ := s.pushApp(h)
				h.setFault(respondError(isTagList, http.StatusForbidden, "DENIED"))
				img := s.imageOfLayer(s.randomTar(1<<10), types.OCIUncompressedLayer)
				digest, err := img.Digest()
				must(s.t, err)
				return &subject{image: h.image(repository, digest.String()), fix: func() {
					s.pushObject(repository,
						randomWord(), img)
				}}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want: bounds("cluster-config|undetermined", "TagNotFound|RepositoryNotFound|AccessDeniedOrMissing",
				"likely|undetermined", "manifest/{host}"),
			wouldDecide: true,
		},
	}
}
