//go:build matrix

package matrix

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// lacksTag is a registry that has the repository with older tags only.
func lacksTag(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		switch {
		case strings.HasSuffix(r.URL.Path, "/tags/list"):
			name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/tags/list")
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"name":%q,"tags":["1.0","1.1"]}`, name)
		case isManifest(r):
			lab.RegistryError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		case lab.IsBlob(r):
			lab.RegistryError(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func lacksRepository(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if strings.HasSuffix(r.URL.Path, "/tags/list") || isManifest(r) || lab.IsBlob(r) {
			lab.RegistryError(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// machineRows returns the rows in which the node is led to another machine than the registry, which
// answers like a registry: by its hosts file, by one of its resolvers, or by hosts.toml.
func machineRows() []row {
	notConfig := []string{"cluster-config * confirmed", "registry * confirmed"}
	notSure := bounds("*", "*", "likely|undetermined")
	// old makes a host that has another machine at the address a.
	old := func(s *scene, h *host, a netip.Addr, fault func(http.Handler) http.Handler) *host {
		o := s.host(hostOptions{name: h.name, port: h.port, addrs: []netip.Addr{a}, notInDNS: true})
		o.setFault(fault)
		s.hosts = append(s.hosts[:0], h, o)
		return o
	}
	pinned := func(name string, rt runtimeResult, auth bool, fault func(l *login) func(http.Handler) http.Handler, cert func(s *scene, o *host)) row {
		return row{
			name: name, kind: rivals,
			setup: func(s *scene) *subject {
				p := s.w.takePinnedName(s.t)
				h := s.host(hostOptions{name: p.name})
				image, _, _ := s.pushApp(h)
				l := newLogin()
				var f func(http.Handler) http.Handler
				if fault != nil {
					f = fault(l)
				}
				o := old(s, h, p.addr, f)
				if cert != nil {
					cert(s, o)
				}
				sub := &subject{image: image, fix: func() {
					o.setFault(nil)
					o.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name}))
				}}
				if auth {
					sub.auth = l
				}
				return sub
			},
			runtime: rt, want: notSure, never: notConfig,
		}
	}
	twoResolvers := func(name string, rt runtimeResult, auth bool, fault func(l *login) func(http.Handler) http.Handler, cert func(s *scene, o *host)) row {
		return row{
			name: name, kind: rivals,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				l := newLogin()
				a := s.w.addr(private4)
				var f func(http.Handler) http.Handler
				if fault != nil {
					f = fault(l)
				}
				o := old(s, h, a, f)
				if cert != nil {
					cert(s, o)
				}
				s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{a}}, resolver1)
				sub := &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
				if auth {
					sub.auth = l
				}
				return sub
			},
			runtime: rt, want: notSure, never: notConfig,
		}
	}
	lackTag := func(*login) func(http.Handler) http.Handler { return lacksTag }
	lackRepo := func(*login) func(http.Handler) http.Handler { return lacksRepository }
	otherUsers := func(*login) func(http.Handler) http.Handler { return requireBasicAuth(newLogin()) }
	forbids := func(*login) func(http.Handler) http.Handler { return forbidOtherLogins(newLogin()) }
	down := func(*login) func(http.Handler) http.Handler {
		return respondError(isManifest, http.StatusServiceUnavailable, "UNAVAILABLE")
	}
	blobsLost := func(*login) func(http.Handler) http.Handler {
		return respondError(lab.IsBlob, http.StatusNotFound, "BLOB_UNKNOWN")
	}
	expired := func(s *scene, o *host) {
		o.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: o.name, since: -30 * day, until: -time.Hour}))
	}
	// serverElsewhere is a hosts.toml whose server is another registry.
	serverElsewhere := func(name string, fault func(http.Handler) http.Handler, rt runtimeResult, auth bool) row {
		return row{
			name: name, kind: detours,
			setup: func(s *scene) *subject {
				h, other := s.host(hostOptions{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				other.setFault(fault)
				s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf("server = \"https://%s\"\n", other))
				sub := &subject{image: image, fix: func() {
					s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf("server = \"https://%s\"\n", h))
				}}
				if auth {
					sub.auth = newLogin()
				}
				return sub
			},
			runtime: rt, want: notSure, never: notConfig,
		}
	}
	// cache is a registry that calls itself Nexus, and may be a cache of another one.
	cache := func(name string, fault func(http.Handler) http.Handler, rt runtimeResult) row {
		return row{
			name: name, kind: rivals,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				named := func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Server", "Nexus/3.68.1-02 (OSS)")
						next.ServeHTTP(w, r)
					})
				}
				h.setFault(func(next http.Handler) http.Handler { return named(fault(next)) })
				return &subject{image: image, fix: func() { h.setFault(named) }}
			},
			runtime: rt, want: notSure, never: []string{"* * confirmed"},
		}
	}
	// twoMachines is a host of two addresses, of which the first one has a fault, and the
	// second one may have it, too.
	twoMachines := func(name string, rt runtimeResult, both bool, fault func(http.Handler) http.Handler, want want, never ...string) row {
		return row{
			name: name, kind: rivals,
			setup: func(s *scene) *subject {
				a, b := s.w.addr(private4), s.w.addr(private4)
				h := s.host(hostOptions{addrs: []netip.Addr{b}, notInDNS: true})
				image, _, _ := s.pushApp(h)
				first := s.host(hostOptions{name: h.name, port: h.port, addrs: []netip.Addr{a}, notInDNS: true})
				first.setFault(fault)
				if both {
					h.setFault(fault)
				}
				s.hosts = append(s.hosts[:0], h, first)
				s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{a, b}})
				return &subject{image: image, fix: func() {
					first.setFault(nil)
					h.setFault(nil)
				}}
			},
			runtime: rt, want: want, never: never,
		}
	}
	notFound := failsWith(codes.NotFound, `not found$`)
	return []row{
		twoMachines("first-of-two-machines-lacks-the-tag", notFound, false, lacksTag,
			bounds("registry", "TagNotFound", "likely", "manifest/{host}"), "cluster-config * *"),
		twoMachines("both-machines-lack-the-tag", notFound, true, lacksTag,
			bounds("cluster-config", "TagNotFound", "confirmed", "manifest/{host}")),
		twoMachines("first-of-two-machines-lacks-the-repository", notFound, false, lacksRepository,
			bounds("registry", "RepositoryNotFound", "likely", "manifest/{host}"), "cluster-config * *"),
		twoMachines("first-of-two-machines-is-down", fails(`503`), false,
			respondError(isManifest, http.StatusServiceUnavailable, "UNAVAILABLE"),
			bounds("registry", "RegistryUnavailable", "likely|confirmed", "manifest/{host}")),
		{
			name: "hosts-file-leads-to-a-machine-that-dns-does-not-know", kind: rivals,
			setup: func(s *scene) *subject {
				p := s.w.takePinnedName(s.t)
				h := s.host(hostOptions{name: p.name, addrs: []netip.Addr{p.addr}, notInDNS: true})
				image, _, _ := s.pushApp(h)
				h.setFault(lacksTag)
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: notFound, want: notSure, never: notConfig,
		},
		{
			name: "hosts-toml-adds-a-wrong-login", kind: detours,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(requireBasicAuth(newLogin()))
				s.w.common.hostsTOML(s.t, h.String(), fmt.Sprintf(
					"[host.\"https://%s\"]\n[host.\"https://%[1]s\".header]\nAuthorization = \"Basic %s\"\n", h, randomWord()))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`no basic auth`),
			want:    bounds("node-infrastructure|undetermined", "CredentialsRejected", "likely"),
			never:   []string{"cluster-config * *"}, neverFix: []string{"create secret", "pull secret"},
		},
		cache("cache-lacks-the-tag", lacksTag, notFound),
		cache("cache-lacks-the-repository", lacksRepository, notFound),
		cache("cache-lacks-the-layers", blobsLost(nil), failsWith(codes.NotFound, `not found`)),
		pinned("hosts-file-leads-to-an-old-machine-without-the-tag", notFound, false, lackTag, nil),
		pinned("hosts-file-leads-to-an-old-machine-without-the-repository", notFound, false, lackRepo, nil),
		pinned("hosts-file-leads-to-an-old-machine-with-other-users", fails(`401 Unauthorized`), true, otherUsers, nil),
		pinned("hosts-file-leads-to-an-old-machine-with-an-expired-certificate", fails(`expired`), false, nil, expired),
		twoResolvers("first-resolver-leads-to-an-old-machine-tag", notFound, false, lackTag, nil),
		twoResolvers("first-resolver-leads-to-an-old-machine-repository", notFound, false, lackRepo, nil),
		twoResolvers("first-resolver-leads-to-an-old-machine-login", fails(`401 Unauthorized`), true, otherUsers, nil),
		twoResolvers("first-resolver-leads-to-an-old-machine-nologin", fails(`no basic auth`), false, otherUsers, nil),
		twoResolvers("first-resolver-leads-to-an-old-machine-forbids", fails(`403`), true, forbids, nil),
		twoResolvers("first-resolver-leads-to-an-old-machine-down", fails(`503`), false, down, nil),
		twoResolvers("first-resolver-leads-to-an-old-machine-expired", fails(`expired`), false, nil, expired),
		twoResolvers("first-resolver-leads-to-an-old-machine-blobs", failsWith(codes.NotFound, `not found`), false, blobsLost, nil),
		serverElsewhere("hosts-toml-leads-to-another-registry-tag", lacksTag, notFound, false),
		serverElsewhere("hosts-toml-leads-to-another-registry-repository", lacksRepository, notFound, false),
		serverElsewhere("hosts-toml-leads-to-another-registry-login", requireBasicAuth(newLogin()), fails(`401 Unauthorized`), true),
		serverElsewhere("hosts-toml-leads-to-another-registry-nologin", requireBasicAuth(newLogin()), fails(`no basic auth`), false),
	}
}
