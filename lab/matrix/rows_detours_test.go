//go:build matrix

package matrix

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// connectProxy is an HTTP proxy that refuses CONNECT to some hosts differently.
type connectProxy struct {
	s      *scene
	addr   string
	refuse func(w http.ResponseWriter, host string) bool // nil: refuses none
}

// connectProxy starts a proxy.
func (s *scene) connectProxy(refuse func(w http.ResponseWriter, host string) bool) *connectProxy {
	s.t.Helper()
	p := &connectProxy{s: s, addr: fmt.Sprintf("%s:%d", s.w.addr(private4), 1024+randomNumber(40000)), refuse: refuse}
	l, err := s.w.listen(p.addr)
	must(s.t, err)
	server := &http.Server{Handler: p}
	go server.Serve(l)
	s.t.Cleanup(func() { server.Close() })
	return p
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || err != nil {
		http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	if refuse := p.refuse; refuse != nil && refuse(w, host) {
		return
	}
	addrs := p.s.w.lookup(resolver1, host).Addrs
	if len(addrs) == 0 {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	var up net.Conn
	err = p.s.w.do(func() error {
		up, err = net.DialTimeout("tcp", net.JoinHostPort(addrs[0].String(), port), time.Second)
		return err
	})
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	down, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		up.Close()
		return
	}
	io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		io.Copy(up, buffered)
		up.Close()
	}()
	io.Copy(down, up)
	down.Close()
}

// detourRows returns the rows about a proxy that fails for one host, and about mirrors of
// networks without a route to the upstream.
func detourRows() []row {
	// tunnel makes a registry with a token service and a host for layers, and a proxy that
	// refuses one of these three.
	type three struct{ registry, tokens, layers *host }
	tunnel := func(name string, refused func(three) *host, code int, w want, never ...string) row {
		return row{
			name: name, kind: detours,
			setup: func(s *scene) *subject {
				t := three{s.host(hostOptions{}), s.host(hostOptions{}), s.host(hostOptions{})}
				image, _, _ := s.pushApp(t.registry)
				tokens := &tokenService{grant: grantAll}
				t.registry.setFault(func(next http.Handler) http.Handler {
					return tokens.requireToken(realmOf(t.tokens))(lab.RedirectBlobs(next, t.layers.String()))
				})
				t.tokens.setFault(func(http.Handler) http.Handler { return tokens })
				p := s.connectProxy(func(w http.ResponseWriter, host string) bool {
					if host != refused(t).name {
						return false
					}
					w.Header().Set("Content-Type", "text/html")
					w.Header().Set("X-Squid-Error", "ERR_ACCESS_DENIED 0")
					w.WriteHeader(code)
					io.WriteString(w, "<html><title>ERROR</title></html>")
					return true
				})
				m := s.w.newMachine(s.t, machineSpec{env: []string{"HTTPS_PROXY=http://" + p.addr}})
				return &subject{image: image, machine: m, fix: func() { p.refuse = nil }}
			},
			runtime: fails(`.`), want: w, never: append(never, "none * *"),
		}
	}
	registry := func(t three) *host { return t.registry }
	tokens := func(t three) *host { return t.tokens }
	layers := func(t three) *host { return t.layers }
	denied := bounds("node-infrastructure", "ProxyDenied", "likely|confirmed")
	notNamed := bounds("undetermined|node-infrastructure|registry",
		"ProxyUnreachable|ProxyDenied|ConnectionRefused|ConnectionTimeout|TokenServiceFailed|BlobHostUnreachable|"+
			"RegistryUnavailable|HostNotFound",
		"likely")

	// airGap makes a mirror that is meant to have everything, and an upstream that the node
	// cannot reach by design.
	const noRoute, noName, blocked = "no route", "no name", "blocked by name"
	airGap := func(name, upstream string, w want, inject func(s *scene, up, mirror *host, repository string) (image string,
		fix func()), never ...string) row {
		return row{
			name: name, kind: detours,
			misleads: "the upstream: no node of this network can reach it, and none needs to",
			setup: func(s *scene) *subject {
				up, mirror := s.host(hostOptions{}), s.host(hostOptions{})
				_, repository, _ := s.pushApp(up)
				s.setPlaceholder("mirror", mirror.String())
				s.setPlaceholder("mirrorAddr", mirror.addrPort(0))
				switch upstream {
				case noRoute:
					s.t.Cleanup(s.blockRoute("unreachable", up.addrs[0]))
				case noName:
					s.w.setDNS(up.name, lab.Answer{Rcode: "NXDOMAIN"})
				case blocked:
					s.w.setDNS(up.name, lab.Answer{Addrs: []netip.Addr{netip.MustParseAddr("0.0.0.0")}})
				}
				image, fix := inject(s, up, mirror, repository)
				s.w.common.hostsTOML(s.t, up.String(), mirrorTOML(up, `"pull", "resolve"`, mirror))
				return &subject{image: image, fix: fix}
			},
			runtime: runtimeResult{text: `.`, code: codes.Unknown}, want: w, never: append(never, "none * *",
				"* HostNotFound|NetworkUnreachable|ConnectionRefused|ResolverFailed|ResolverWrongAnswer *"),
		}
	}
	missing := func(s *scene, up, _ *host, repository string) (string, func()) {
		tag := randomWord()
		return up.image(repository, tag), func() { s.pushRandom(repository, tag, lab.Image{}) }
	}
	tagMissing := bounds("cluster-config|node-infrastructure", "TagNotFound|MirrorFaulty", "likely|confirmed",
		"manifest/{mirror}")
	// faulty is a mirror that fails.
	faulty := func(fault func(s *scene, mirror *host) func(http.Handler) http.Handler) func(*scene, *host, *host,
		string) (string, func()) {
		return func(s *scene, up, mirror *host, _ string) (string, func()) {
			image, _, _ := s.pushApp(up)
			mirror.setFault(fault(s, mirror))
			return image, func() { mirror.setFault(nil) }
		}
	}
	answers := func(code int, registryCode string) func(*scene, *host) func(http.Handler) http.Handler {
		return func(*scene, *host) func(http.Handler) http.Handler {
			return respondError(isManifest, code, registryCode)
		}
	}
	ofTheMirror := func(causes string, because string) want {
		return bounds("node-infrastructure|registry|cluster-config|undetermined", causes, "likely|confirmed", because)
	}
	notFound := func(r row) row {
		r.runtime = failsWith(codes.NotFound, `not found$`)
		return r
	}
	return []row{
		tunnel("proxy-forbids-the-token-service", tokens, 403, denied),
		tunnel("proxy-forbids-the-layers-host", layers, 403, denied),
		tunnel("proxy-forbids-the-registry", registry, 403, denied),
		tunnel("proxy-wants-a-login-for-the-layers-host", layers, 407, denied),
		tunnel("proxy-blocks-the-token-service-for-legal-reasons", tokens, 451, denied),
		tunnel("proxy-cannot-connect-to-the-registry", registry, 502, notNamed, "registry * confirmed", "* Undetermined *"),
		tunnel("proxy-cannot-connect-to-the-token-service", tokens, 502, notNamed, "registry * confirmed"),
		tunnel("proxy-cannot-connect-to-the-layers-host", layers, 504, notNamed, "registry * confirmed"),
		tunnel("proxy-is-overloaded", registry, 503, notNamed, "registry * confirmed", "* Undetermined *"),

		notFound(airGap("air-gap-tag-missing-and-no-route", noRoute, tagMissing, missing)),
		notFound(airGap("air-gap-tag-missing-and-no-name", noName, tagMissing, missing)),
		notFound(airGap("air-gap-tag-missing-and-blocked-by-name", blocked, tagMissing, missing)),
		airGap("air-gap-token-service-dead", noName, ofTheMirror("TokenServiceFailed|MirrorFaulty|RegistryUnavailable",
			"manifest/{mirror}"),
			faulty(func(s *scene, mirror *host) func(http.Handler) http.Handler {
				service := s.host(hostOptions{notListening: true})
				return (&tokenService{grant: grantAll}).requireToken(realmOf(service))
			})),
		airGap("air-gap-token-service-fails", noRoute, ofTheMirror("TokenServiceFailed|MirrorFaulty", "manifest/{mirror}"),
			faulty(func(s *scene, mirror *host) func(http.Handler) http.Handler {
				return (&tokenService{grant: func(*login) (int, bool) { return 500, false }}).requireToken(realmOf(mirror))
			})),
		airGap("air-gap-mirror-forbids", noName, ofTheMirror("AccessForbidden|AccessDeniedOrMissing|MirrorFaulty",
			"manifest/{mirror}"), faulty(answers(403, "DENIED"))),
		airGap("air-gap-mirror-fails", noName, ofTheMirror("RegistryUnavailable|MirrorFaulty", "manifest/{mirror}"),
			faulty(answers(500, "UNKNOWN"))),
		airGap("air-gap-mirror-wants-a-login", noRoute, ofTheMirror("CredentialsMissing|AccessDeniedOrMissing|MirrorFaulty",
			"manifest/{mirror}"),
			faulty(func(*scene, *host) func(http.Handler) http.Handler { return requireBasicAuth(newLogin()) })),
		airGap("air-gap-mirror-limits-the-rate", noName, ofTheMirror("RateLimited|MirrorFaulty", "manifest/{mirror}"),
			faulty(answers(429, "TOOMANYREQUESTS"))),
		airGap("air-gap-mirrors-certificate-expired", noName, ofTheMirror("CertificateExpired|MirrorFaulty",
			"tls/{mirror}/{mirrorAddr}"),
			func(s *scene, up, mirror *host, _ string) (string, func()) {
				image, _, _ := s.pushApp(up)
				mirror.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: mirror.name, since: -30 * day, until: -day}))
				return image, func() { mirror.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: mirror.name})) }
			}),
		{
			name: "air-gap-and-everything-there", kind: detours,
			misleads: "the upstream: it does not resolve, and no one needs it",
			setup: func(s *scene) *subject {
				up, mirror := s.host(hostOptions{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(up)
				s.w.setDNS(up.name, lab.Answer{Rcode: "NXDOMAIN"})
				s.w.common.hostsTOML(s.t, up.String(), mirrorTOML(up, `"pull", "resolve"`, mirror))
				return &subject{image: image, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed", "pull"),
		},
	}
}
