//go:build matrix

package matrix

import (
	"fmt"
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// mirrorRows returns the rows about several hosts for one image: containerd merges their
// failures into one error.
func mirrorRows() []row {
	// mirrored makes an upstream with a mirror. The placeholders {host} and {addr}
	// are the upstream's.
	mirrored := func(s *scene, up, mi hostOptions) (upstream, mirror *host, image string) {
		upstream = s.host(up)
		mirror = s.host(mi)
		image, _, _ = s.pushApp(upstream)
		s.setPlaceholder("mirror", mirror.String())
		s.setPlaceholder("mirrorAddr", mirror.addrPort(0))
		s.w.common.hostsTOML(s.t, upstream.String(), fmt.Sprintf(
			"server = \"https://%s\"\n[host.\"https://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", upstream, mirror))
		return upstream, mirror, image
	}
	lacks := respondError(func(r *http.Request) bool { return isManifest(r) || lab.IsBlob(r) }, http.StatusNotFound, "MANIFEST_UNKNOWN")
	// harmless makes a row with a fault of the mirror that the upstream compensates.
	harmless := func(name string, inject func(s *scene, mirror *host) (fix func())) row {
		return row{
			name: name,
			setup: func(s *scene) *subject {
				_, mirror, image := mirrored(s, hostOptions{}, hostOptions{})
				return &subject{image: image, fix: inject(s, mirror)}
			},
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		}
	}
	likely := func(r row) row { // no test pull from a registry that limits the rate
		r.want.Confidence, r.want.Because = "likely", []string{"blob/{host}"}
		return r
	}
	answers := func(fault func(http.Handler) http.Handler) func(*scene, *host) func() {
		return func(_ *scene, mirror *host) func() {
			mirror.setFault(fault)
			return func() { mirror.setFault(nil) }
		}
	}
	return []row{
		harmless("mirror-lacks-the-image", answers(lacks)),
		harmless("mirror-has-a-server-error", answers(respondError(anyRequest, http.StatusInternalServerError, "UNKNOWN"))),
		harmless("mirror-wants-credentials", answers(requireBasicAuth(newLogin()))),
		likely(harmless("mirror-limits-the-rate",
			answers(respondError(isManifest, http.StatusTooManyRequests, "TOOMANYREQUESTS", "Retry-After", "60")))),
		harmless("mirror-refuses-connections", func(_ *scene, mirror *host) func() {
			mirror.stopListening()
			return func() { mirror.listen() }
		}),
		harmless("mirror-has-an-unknown-certificate", func(s *scene, mirror *host) func() {
			mirror.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: mirror.name}))
			return func() { mirror.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: mirror.name})) }
		}),
		harmless("mirror-hands-back-the-upstreams-realm", func(s *scene, mirror *host) func() {
			t := &tokenService{grant: grantAll}
			s.hosts[0].setFault(t.requireToken(realmOf(s.hosts[0])))
			other := &tokenService{grant: grantAll}
			mirror.setFault(other.requireToken(realmOf(s.hosts[0])))
			return func() { mirror.setFault(nil) }
		}),
		{
			name:     "mirror-lacks-it-and-upstream-refuses",
			misleads: "not found: the mirror never had it, and the upstream is not reached",
			setup: func(s *scene) *subject {
				up, mirror, image := mirrored(s, hostOptions{notListening: true}, hostOptions{})
				mirror.setFault(lacks)
				return &subject{image: image, fix: func() { up.listen() }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    want{"undetermined", "ConnectionRefused", "likely", []string{"dial/{host}/{addr}", "manifest/{mirror}"}, ""},
		},
		{
			name:     "mirror-lacks-it-and-upstream-in-a-black-hole",
			misleads: "not found, while the upstream times out",
			setup: func(s *scene) *subject {
				up, mirror, image := mirrored(s, hostOptions{}, hostOptions{})
				mirror.setFault(lacks)
				return &subject{image: image, fix: s.firewall("-d", up.addrs[0].String(), "-j", "DROP")}
			},
			runtime: hangs(),
			want:    want{"undetermined", "ConnectionTimeout", "likely", []string{"dial/{host}/{addr}", "manifest/{mirror}"}, ""},
		},
		{
			name: "mirror-refuses-and-upstream-lacks-it",
			setup: func(s *scene) *subject {
				up, _, _ := mirrored(s, hostOptions{}, hostOptions{notListening: true})
				_, repository, _ := s.pushApp(up)
				tag := randomWord()
				return &subject{image: up.image(repository, tag), fix: func() { s.pushRandom(repository, tag, lab.Image{}) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    want{"cluster-config", "TagNotFound", "confirmed", []string{"manifest/{host}"}, ""},
		},
		{
			name:     "mirror-forbids-and-upstream-lacks-it",
			misleads: "403 Forbidden: that is the mirror; the upstream has no such tag",
			setup: func(s *scene) *subject {
				up, mirror, _ := mirrored(s, hostOptions{}, hostOptions{})
				mirror.setFault(respondError(anyRequest, http.StatusForbidden, "DENIED"))
				_, repository, _ := s.pushApp(up)
				tag := randomWord()
				return &subject{image: up.image(repository, tag), fix: func() { s.pushRandom(repository, tag, lab.Image{}) }}
			},
			runtime: fails(`403 Forbidden`),
			want:    want{"cluster-config", "TagNotFound", "likely", []string{"manifest/{host}"}, ""},
		},
		{
			name:     "mirror-untrusted-and-upstream-wants-credentials",
			misleads: "unknown authority: that is the mirror; the upstream wants credentials",
			setup: func(s *scene) *subject {
				up, mirror, image := mirrored(s, hostOptions{}, hostOptions{})
				mirror.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: mirror.name}))
				up.setFault(requireBasicAuth(newLogin()))
				return &subject{image: image, fix: func() { up.setFault(nil) }}
			},
			runtime: fails(`.`),
			want:    want{"cluster-config", "CredentialsMissing", "likely", []string{"manifest/{host}"}, ""},
		},
		{
			name:     "mirrors-token-service-unreachable-and-upstream-limits",
			misleads: "connection refused: the mirror's token service; the upstream answers 429",
			setup: func(s *scene) *subject {
				up, mirror, image := mirrored(s, hostOptions{}, hostOptions{})
				service := s.host(hostOptions{notListening: true})
				t := &tokenService{grant: grantAll}
				mirror.setFault(t.requireToken(realmOf(service)))
				up.setFault(respondError(isManifest, http.StatusTooManyRequests, "TOOMANYREQUESTS", "Retry-After", "60"))
				return &subject{image: image, fix: func() { up.setFault(nil) }}
			},
			runtime: fails(`.`),
			want:    want{"registry", "RateLimited", "likely", []string{"manifest/{host}"}, ""},
		},
		{
			name:     "mirrors-token-service-unreachable",
			misleads: "nothing: the upstream makes up for it",
			setup: func(s *scene) *subject {
				_, mirror, image := mirrored(s, hostOptions{}, hostOptions{})
				service := s.host(hostOptions{notListening: true})
				t := &tokenService{grant: grantAll}
				mirror.setFault(t.requireToken(realmOf(service)))
				service.setFault(func(http.Handler) http.Handler { return t })
				return &subject{image: image, fix: func() { service.listen() }}
			},
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name:     "mirror-in-a-black-hole",
			misleads: "nothing for minutes: the upstream is well and is not asked yet",
			setup: func(s *scene) *subject {
				_, mirror, image := mirrored(s, hostOptions{}, hostOptions{})
				return &subject{image: image, fix: s.firewall("-d", mirror.addrs[0].String(), "-j", "DROP")}
			},
			runtime: hangs(),
			want:    want{"node-infrastructure", "MirrorFaulty", "likely", []string{"dial/{mirror}/{mirrorAddr}", "blob/{host}"}, ""},
		},
		{
			name:     "mirror-answers-with-a-portal",
			misleads: "not found: the upstream has it, and a login page in the mirror's place is taken for the answer",
			setup: func(s *scene) *subject {
				_, mirror, image := mirrored(s, hostOptions{}, hostOptions{})
				mirror.setFault(replaceResponse(anyRequest, servePortal))
				return &subject{image: image, fix: func() { mirror.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `text/html`),
			want:    want{"node-infrastructure", "MirrorFaulty", "likely", []string{"manifest/{mirror}", "pull"}, ""},
		},
		{
			name:     "mirror-cuts-layers-off",
			misleads: "unexpected EOF: the upstream would give them whole",
			setup: func(s *scene) *subject {
				up, mirror, _ := mirrored(s, hostOptions{}, hostOptions{})
				repository, tag := randomWord(), randomWord()
				s.pushRandom(repository, tag, lab.Image{Size: 256 << 10})
				mirror.setFault(truncateLayers)
				return &subject{image: up.image(repository, tag), args: patiently, fix: func() { mirror.setFault(nil) }}
			},
			runtime: fails(`EOF|reset`),
			want:    want{"node-infrastructure", "MirrorFaulty", "likely", []string{"pull"}, ""},
		},
		{
			name:     "mirror-serves-spoilt-layers",
			misleads: "failed precondition, wrong digest: the image is well at its upstream",
			setup: func(s *scene) *subject {
				up, mirror, _ := mirrored(s, hostOptions{}, hostOptions{})
				repository, tag := randomWord(), randomWord()
				s.pushRandom(repository, tag, lab.Image{Size: 256 << 10})
				mirror.setFault(corruptLayers)
				return &subject{image: up.image(repository, tag), fix: func() { mirror.setFault(nil) }}
			},
			runtime: failsWith(codes.FailedPrecondition, `unexpected commit digest`),
			want:    want{"node-infrastructure", "MirrorFaulty", "likely", []string{"pull"}, ""},
		},
		{
			name:     "mirror-has-an-old-index",
			misleads: "no match for platform: the upstream has this platform, the mirror's copy of the tag is old",
			setup: func(s *scene) *subject {
				up, mirror, _ := mirrored(s, hostOptions{}, hostOptions{})
				repository, tag, old := randomWord(), randomWord(), randomWord()
				s.pushObject(repository, tag, s.index("linux/amd64", "linux/arm64"))
				s.pushObject(repository, old, s.index("linux/arm64"))
				mirror.setFault(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/v2/"+repository+"/manifests/"+tag {
							r.URL.Path = "/v2/" + repository + "/manifests/" + old
						}
						next.ServeHTTP(w, r)
					})
				})
				return &subject{image: up.image(repository, tag), fix: func() { mirror.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `no match for platform`),
			want:    want{"node-infrastructure", "MirrorFaulty", "confirmed", []string{"image/{mirror}", "pull"}, ""},
		},
	}
}
