//go:build matrix

package matrix

import (
	"net/netip"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// proxyRows returns the rows about nodes that use a proxy: failures of the direct path do
// not matter then.
func proxyRows() []row {
	// proxied makes a host, a proxy with these lines of configuration, and a machine
	// that uses the proxy.
	proxied := func(s *scene, o hostOptions, spec machineSpec, lines ...string) (h *host, p *proxy, m *machine, image string) {
		h, p = s.host(o), s.proxy()
		p.start(lines...)
		spec.env = append(p.env(), spec.env...)
		m = s.w.newMachine(s.t, spec)
		image, _, _ = s.pushApp(h)
		s.setPlaceholder("proxy", p.addr)
		return h, p, m, image
	}
	return []row{
		{
			name:     "proxy-refuses-connections",
			misleads: "connection refused: the registry's address was never dialled",
			setup: func(s *scene) *subject {
				_, p, m, image := proxied(s, hostOptions{}, machineSpec{})
				p.stop()
				return &subject{image: image, machine: m, fix: func() { p.start() }}
			},
			runtime: fails(`proxyconnect tcp: dial tcp .*connection refused`),
			want:    want{"node-infrastructure", "ProxyUnreachable", "confirmed", []string{"dial/{host}/proxy", "pull"}, ""},
		},
		{
			name:     "proxy-in-a-black-hole",
			misleads: "i/o timeout: the registry's address was never dialled",
			setup: func(s *scene) *subject {
				h, p := s.host(hostOptions{}), s.proxy()
				p.start()
				m := s.w.newMachine(s.t, machineSpec{env: []string{"HTTPS_PROXY=http://" + s.w.addr(dark4).String() + ":3128"}})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, machine: m, fix: func() { m.restart(s.t, p.env()...) }}
			},
			runtime: hangs(),
			want:    want{"node-infrastructure", "ProxyUnreachable", "likely", []string{"dial/{host}/proxy"}, ""},
		},
		{
			name:     "proxy-without-a-name",
			misleads: "no such host: not the registry's name",
			setup: func(s *scene) *subject {
				h, p := s.host(hostOptions{}), s.proxy()
				p.start()
				addr := netip.MustParseAddrPort(p.addr)
				name := s.w.name()
				m := s.w.newMachine(s.t, machineSpec{env: []string{"HTTPS_PROXY=http://" + name + p.addr[len(addr.Addr().String()):]}})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, machine: m, fix: func() { s.w.setDNS(name, lab.Answer{Addrs: []netip.Addr{addr.Addr()}}) }}
			},
			runtime: fails(`proxyconnect tcp: .*no such host`),
			want:    want{"node-infrastructure", "ProxyUnreachable", "confirmed", []string{"dial/{host}/proxy", "pull"}, ""},
		},
		{
			name: "proxy-wants-credentials",
			setup: func(s *scene) *subject {
				user, password := randomWord(), randomWord()
				_, p, m, image := proxied(s, hostOptions{}, machineSpec{}, "BasicAuth "+user+" "+password)
				return &subject{image: image, machine: m, fix: func() { m.restart(s.t, "HTTPS_PROXY=http://"+user+":"+password+"@"+p.addr) }}
			},
			runtime: fails(`Proxy Authentication Required`),
			want:    want{"node-infrastructure", "ProxyDenied", "confirmed", []string{"dial/{host}/proxy", "pull"}, ""},
		},
		{
			name:     "proxy-denies-the-port",
			misleads: "access violation: not the registry's word",
			setup: func(s *scene) *subject {
				_, p, m, image := proxied(s, hostOptions{port: 8443}, machineSpec{}, "ConnectPort 443")
				return &subject{image: image, machine: m, fix: func() { p.start("ConnectPort 443", "ConnectPort 8443") }}
			},
			runtime: fails(`: Access violation$`),
			want:    want{"node-infrastructure", "ProxyDenied", "likely", []string{"dial/{host}/proxy"}, ""},
		},
		{
			name:     "proxy-filters-the-host",
			misleads: "filtered, and no word of a proxy",
			setup: func(s *scene) *subject {
				h, p := s.host(hostOptions{}), s.proxy()
				must(s.t, writeFiles(p.dir, map[string]string{"filter": h.name + "\n"}))
				p.start("Filter \"" + p.dir + "/filter\"")
				m := s.w.newMachine(s.t, machineSpec{env: p.env()})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, machine: m, fix: func() { p.start() }}
			},
			runtime: fails(`: Filtered$`),
			want:    want{"node-infrastructure", "ProxyDenied", "likely", []string{"dial/{host}/proxy"}, ""},
		},
		{
			name:     "proxy-cannot-reach-the-registry",
			misleads: "unable to connect, and no word of a proxy",
			setup: func(s *scene) *subject {
				h, _, m, image := proxied(s, hostOptions{notListening: true}, machineSpec{})
				return &subject{image: image, machine: m, fix: func() { h.listen() }}
			},
			runtime: fails(`: Unable to connect$`),
			want:    want{"undetermined", "RegistryUnavailable", "likely", []string{"dial/{host}/proxy"}, ""},
		},
		{
			name:     "proxied-with-dead-direct-dns",
			misleads: "nothing: direct DNS is dead and nobody needs it",
			setup: func(s *scene) *subject {
				_, p, m, image := proxied(s, hostOptions{}, machineSpec{resolvConf: "nameserver " + s.w.addr(dark4).String() + "\n"})
				return &subject{image: image, machine: m, fix: func() {
					must(s.t, writeFiles(m.etc(""), map[string]string{"resolv.conf": "nameserver " + resolver1 + "\n"}))
					m.restart(s.t, p.env()...)
				}}
			},
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name:     "proxied-with-dead-direct-dns-and-a-missing-tag",
			misleads: "DNS: it is dead, harmless, and the tag is missing",
			setup: func(s *scene) *subject {
				h, _, m, _ := proxied(s, hostOptions{}, machineSpec{resolvConf: "nameserver " + s.w.addr(dark4).String() + "\n"})
				_, repository, _ := s.pushApp(h)
				tag := randomWord()
				return &subject{image: h.image(repository, tag), machine: m, fix: func() { s.pushRandom(repository, tag, lab.Image{}) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    want{"cluster-config", "TagNotFound", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name:     "no-proxy-for-a-host-that-needs-it",
			misleads: "connection refused: the proxy would get there, NO_PROXY names the host",
			setup: func(s *scene) *subject {
				h, p := s.host(hostOptions{}), s.proxy()
				p.start()
				m := s.w.newMachine(s.t, machineSpec{env: p.env("NO_PROXY=.net")})
				image, _, _ := s.pushApp(h)
				h.stopListening()
				return &subject{image: image, machine: m, fix: func() { h.listen() }}
			},
			runtime: fails(`connection refused`),
			want:    want{"undetermined", "ConnectionRefused", "confirmed", []string{"dial/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "proxy-between-hands-over-an-unknown-certificate",
			misleads: "interception by the proxy: the registry's own certificate is private",
			setup: func(s *scene) *subject {
				h, _, m, image := proxied(s, hostOptions{}, machineSpec{})
				h.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: h.name}))
				return &subject{image: image, machine: m, fix: func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: fails(`certificate signed by unknown authority`),
			want:    want{"node-infrastructure", "CertificateUntrusted", "confirmed", []string{"tls/{host}/proxy", "pull"}, ""},
		},
	}
}
