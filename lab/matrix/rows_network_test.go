//go:build matrix

package matrix

import (
	"net/netip"

	"github.com/pullprobe/pullprobe/lab"
)

// resolverRows returns the rows about names and resolvers.
func resolverRows() []row {
	rcode := func(r string) lab.Answer { return lab.Answer{Rcode: r} }
	silent := lab.Answer{Drop: true}
	// dnsFault makes a healthy host for which resolvers return another answer.
	dnsFault := func(a lab.Answer, resolvers ...string) func(*scene) *subject {
		return func(s *scene) *subject {
			h := s.host(hostOptions{})
			image, _, _ := s.pushApp(h)
			s.w.setDNS(h.name, a, resolvers...)
			return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
		}
	}
	return []row{
		{
			name:    "name-unknown",
			setup:   dnsFault(rcode("NXDOMAIN")),
			runtime: fails(`no such host`),
			want:    want{"cluster-config", "HostNotFound", "likely", []string{"dns/{host}", "pull"}, ""},
		},
		{
			name: "name-unknown-to-a-node-that-pulled-from-there",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				s.pulledBefore(h)
				image, _, _ := s.pushApp(h)
				s.w.setDNS(h.name, rcode("NXDOMAIN"))
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
			},
			runtime: fails(`no such host`),
			want:    want{"node-infrastructure", "HostNotFound", "likely", []string{"dns/{host}", "local/{host}", "pull"}, ""},
		},
		{
			name:     "name-without-address",
			misleads: "no such host: the name exists and has no address",
			setup:    dnsFault(lab.Answer{}),
			runtime:  fails(`no such host`),
			want:     want{"cluster-config", "HostNotFound", "likely", []string{"dns/{host}", "pull"}, ""},
		},
		{
			name:    "resolvers-fail",
			setup:   dnsFault(rcode("SERVFAIL")),
			runtime: fails(`server misbehaving`),
			want:    want{"undetermined|registry", "ResolverFailed|HostNotFound|Undetermined", "likely|undetermined", []string{"dns/{host}", "pull"}, ""},
		},
		{
			name:     "resolvers-refuse",
			misleads: "server misbehaving: the resolver refuses this name, and answers for others",
			setup:    dnsFault(rcode("REFUSED")),
			runtime:  fails(`server misbehaving`),
			want:     want{"node-infrastructure", "ResolverFailed", "likely", []string{"dns/{host}", "pull"}, ""},
		},
		{
			name:     "resolvers-silent",
			misleads: "i/o timeout: not the registry's",
			setup:    dnsFault(silent),
			runtime:  hangs(),
			want:     want{"node-infrastructure", "ResolverUnreachable", "likely", []string{"dns/{host}"}, ""},
		},
		{
			name:     "first-resolver-denies",
			misleads: "no such host: the second resolver knows it and is never asked",
			setup:    dnsFault(rcode("NXDOMAIN"), resolver1),
			runtime:  fails(`no such host`),
			want:     want{"node-infrastructure", "HostNotFound", "confirmed", []string{"dns/{host}", "dns/{host}/{resolver2}", "pull"}, ""},
		},
		{
			name:     "second-resolver-denies",
			misleads: "nothing: a resolver denies the name, and it is not asked",
			setup:    dnsFault(rcode("NXDOMAIN"), resolver2),
			runtime:  passes(),
			want:     want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name:    "first-resolver-fails",
			setup:   dnsFault(rcode("SERVFAIL"), resolver1),
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name: "first-resolver-silent",
			setup: func(s *scene) *subject {
				sub := dnsFault(silent, resolver1)(s)
				sub.args = []string{"--timeout", "50s"}
				return sub
			},
			runtime: passes(), // after ten seconds
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name:     "first-resolver-silent-and-no-time-to-wait",
			misleads: "nothing: the pull is slow, and that a resolver is passed over makes it so",
			setup:    dnsFault(silent, resolver1),
			runtime:  passes(), // after ten seconds
			want:     want{"none", "Healthy", "likely", []string{"dns/{host}"}, ""},
		},
		{
			name: "answer-by-tcp-only",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs, TCP: true})
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
			},
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name:     "first-resolver-lies",
			misleads: "certificate is valid for another name: the resolver gives another machine's address",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{port: 443})
				other := s.host(hostOptions{port: 443})
				image, _, _ := s.pushApp(h)
				s.w.setDNS(h.name, lab.Answer{Addrs: other.addrs}, resolver1)
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
			},
			runtime: fails(`certificate is valid for`),
			want:    want{"node-infrastructure", "ResolverWrongAnswer", "confirmed", []string{"dns/{host}", "pull"}, ""},
		},
		{
			name:     "public-registry-sunk-to-loopback",
			misleads: "connection refused: a filtering resolver answers 127.0.0.1",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{name: "quay.io", port: 443, addrs: []netip.Addr{s.w.addr(public4)}})
				image, _, _ := s.pushApp(h)
				s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, resolver1)
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
			},
			runtime: fails(`connection refused`),
			want:    want{"node-infrastructure", "ResolverWrongAnswer", "confirmed", []string{"dns/{host}", "pull"}, ""},
		},
		{
			name:     "pinned-in-the-hosts-file",
			misleads: "connection refused: the registry is up, /etc/hosts names an address of old",
			setup: func(s *scene) *subject {
				p := s.w.takePinnedName(s.t)
				h := s.host(hostOptions{name: p.name})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, fix: func() {
					h.addrs = append(h.addrs, p.addr)
					h.listen(p.addr)
				}}
			},
			runtime: fails(`connection refused`),
			want:    want{"node-infrastructure", "ResolverWrongAnswer", "likely", []string{"dns/{host}", "pull"}, ""},
		},
		{
			name:     "nsswitch-without-dns",
			misleads: "no such host: DNS is well and is not asked",
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{nsswitch: "hosts: files\n"})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, machine: m, fix: func() {
					must(s.t, writeFiles(m.etc(""), map[string]string{"nsswitch.conf": "hosts: files dns\n"}))
					m.restart(s.t)
				}}
			},
			runtime: fails(`no such host`),
			want:    want{"node-infrastructure", "HostNotFound", "confirmed", []string{"dns/{host}", "pull"}, ""},
		},
		{
			name: "search-domain-needed",
			setup: func(s *scene) *subject {
				domain := randomWord() + ".net"
				m := s.w.newMachine(s.t, machineSpec{resolvConf: "nameserver " + resolver1 + "\n"})
				h := s.host(hostOptions{name: randomWord(), port: 5000, notInDNS: true})
				s.w.setDNS(h.name+"."+domain, lab.Answer{Addrs: h.addrs})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, machine: m, fix: func() {
					must(s.t, writeFiles(m.etc(""), map[string]string{"resolv.conf": "search " + domain + "\nnameserver " + resolver1 + "\n"}))
					m.restart(s.t)
				}}
			},
			runtime: fails(`no such host`),
			want:    want{"cluster-config", "HostNotFound", "likely", []string{"dns/{host}", "pull"}, ""},
		},
		{
			name:     "resolver-port-closed",
			misleads: "connection refused: not the registry's",
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{resolvConf: "nameserver " + s.w.addr(private4).String() + "\n"})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, machine: m, fix: func() {
					must(s.t, writeFiles(m.etc(""), map[string]string{"resolv.conf": "nameserver " + resolver1 + "\n"}))
					m.restart(s.t)
				}}
			},
			runtime: fails(`lookup .*connection refused`),
			want:    want{"node-infrastructure", "ResolverUnreachable", "confirmed", []string{"dns/{host}", "pull"}, ""},
		},
		{
			name:     "resolver-in-a-black-hole",
			misleads: "i/o timeout: not the registry's",
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{resolvConf: "nameserver " + s.w.addr(dark4).String() + "\n"})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, machine: m, fix: func() {
					must(s.t, writeFiles(m.etc(""), map[string]string{"resolv.conf": "nameserver " + resolver1 + "\n"}))
					m.restart(s.t)
				}}
			},
			runtime: hangs(),
			want:    want{"node-infrastructure", "ResolverUnreachable", "likely", []string{"dns/{host}"}, ""},
		},
	}
}

// dialRows returns the rows about addresses and connections.
func dialRows() []row {
	return []row{
		{
			name: "refused",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{notListening: true})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, fix: func() { h.listen() }}
			},
			runtime: fails(`connection refused`),
			want:    want{"undetermined", "ConnectionRefused", "confirmed", []string{"dial/{host}/{addr}", "pull"}, ""},
		},
		{
			name: "refused-to-a-node-that-pulled-from-there",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				s.pulledBefore(h)
				image, _, _ := s.pushApp(h)
				h.stopListening()
				return &subject{image: image, fix: func() { h.listen() }}
			},
			runtime: fails(`connection refused`),
			want:    want{"node-infrastructure", "ConnectionRefused", "likely", []string{"dial/{host}/{addr}", "local/{host}", "pull"}, ""},
		},
		{
			name:     "firewall-resets",
			misleads: "connection refused: the registry listens, a firewall answers for it",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				lift := s.firewall("-d", h.addrs[0].String(), "-p", "tcp", "--dport", h.portText(), "-j", "REJECT", "--reject-with", "tcp-reset")
				return &subject{image: image, fix: lift}
			},
			runtime: fails(`connection refused`),
			want:    want{"undetermined", "ConnectionRefused", "confirmed", []string{"dial/{host}/{addr}", "pull"}, ""},
		},
		{
			name: "black-hole",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				lift := s.firewall("-d", h.addrs[0].String(), "-j", "DROP")
				return &subject{image: image, fix: lift}
			},
			runtime: hangs(),
			want:    want{"undetermined", "ConnectionTimeout", "likely", []string{"dial/{host}/{addr}"}, ""},
		},
		{
			name: "black-hole-before-a-node-that-pulled-from-there",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				s.pulledBefore(h)
				image, _, _ := s.pushApp(h)
				lift := s.firewall("-d", h.addrs[0].String(), "-j", "DROP")
				return &subject{image: image, fix: lift}
			},
			runtime: hangs(),
			want:    want{"node-infrastructure", "ConnectionTimeout", "likely", []string{"dial/{host}/{addr}", "local/{host}"}, ""},
		},
		{
			name: "no-route",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, fix: s.blockRoute("unreachable", h.addrs[0])}
			},
			runtime: fails(`no route to host`),
			want:    want{"node-infrastructure|undetermined", "NetworkUnreachable", "likely", []string{"dial/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "route-prohibited",
			misleads: "permission denied: nobody asked for credentials, the node's routing table refuses",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, fix: s.blockRoute("prohibit", h.addrs[0])}
			},
			runtime: fails(`connect: permission denied`),
			want:    want{"node-infrastructure", "NetworkUnreachable", "confirmed", []string{"dial/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "firewall-prohibits",
			misleads: "no route to host: there is one, a firewall rejects",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				lift := s.firewall("-d", h.addrs[0].String(), "-p", "tcp", "--dport", h.portText(),
					"-j", "REJECT", "--reject-with", "icmp-admin-prohibited")
				return &subject{image: image, fix: lift}
			},
			runtime: fails(`no route to host`),
			want:    want{"node-infrastructure|undetermined", "NetworkUnreachable", "likely", []string{"dial/{host}/{addr}", "pull"}, ""},
		},
		{
			name: "reset-after-connect",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setConnHandler(resetConn)
				return &subject{image: image, fix: func() { h.setConnHandler(nil) }}
			},
			runtime: fails(`connection reset by peer`),
			want:    want{"node-infrastructure", "ConnectionReset", "likely", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "v6-in-a-black-hole-beside-v4",
			misleads: "nothing: an address is dead, and the runtime gets by",
			setup: func(s *scene) *subject {
				v4, v6 := s.w.addr(private4), s.w.addr(dark6)
				h := s.host(hostOptions{addrs: []netip.Addr{v4}, notInDNS: true})
				s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{v4, v6}})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{v4}}) }}
			},
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name: "v6-refused-beside-v4",
			setup: func(s *scene) *subject {
				v4, v6 := s.w.addr(private4), s.w.addr(public6)
				h := s.host(hostOptions{addrs: []netip.Addr{v4, v6}, notListening: true})
				h.listen(v4)
				image, _, _ := s.pushApp(h)
				return &subject{image: image, fix: func() { h.listen(v6) }}
			},
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name: "v6-only-in-a-black-hole",
			setup: func(s *scene) *subject {
				v6 := s.w.addr(dark6)
				h := s.host(hostOptions{notInDNS: true})
				s.w.setDNS(h.name, lab.Answer{Addrs: []netip.Addr{v6}})
				image, _, _ := s.pushApp(h)
				s.setPlaceholder("dark", netip.AddrPortFrom(v6, uint16(h.port)).String())
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
			},
			runtime: hangs(),
			want:    want{"undetermined", "ConnectionTimeout", "likely", []string{"dial/{host}/{dark}"}, ""},
		},
		{
			name: "one-address-of-two-refuses",
			setup: func(s *scene) *subject {
				a, b := s.w.addr(private4), s.w.addr(private4)
				h := s.host(hostOptions{addrs: []netip.Addr{a, b}, notListening: true})
				h.listen(b)
				image, _, _ := s.pushApp(h)
				return &subject{image: image, fix: func() { h.listen(a) }}
			},
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name:     "one-address-of-two-has-an-expired-certificate",
			misleads: "certificate has expired: not all machines of the registry have the old one",
			setup: func(s *scene) *subject {
				// The runtime uses the first address that answers.
				h := s.host(hostOptions{port: 443})
				old := s.host(hostOptions{name: h.name, port: 443, notInDNS: true})
				old.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name, since: -30 * day, until: -day}))
				s.w.setDNS(h.name, lab.Answer{Addrs: append(old.addrs, h.addrs...)})
				image, _, _ := s.pushApp(h)
				s.setPlaceholder("old", old.addrPort(0))
				return &subject{image: image, fix: func() { s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs}) }}
			},
			runtime: fails(`certificate has expired`),
			want:    want{"registry", "CertificateExpired", "confirmed", []string{"tls/{host}/{old}", "pull"}, ""},
		},
	}
}

// pulledBefore leaves an image of the host on the common machine.
func (s *scene) pulledBefore(h *host) {
	s.t.Helper()
	image, _, _ := s.pushApp(h)
	if p := s.w.common.pull(s.t.Context(), image, nil, hangTime); p.message != "" {
		s.t.Fatal(p.message)
	}
	s.t.Cleanup(func() { s.w.common.remove(s.t, image) })
}

// blockRoute makes an address unroutable, with a kind of route like unreachable or
// prohibit.
func (s *scene) blockRoute(kind string, a netip.Addr) (lift func()) {
	s.t.Helper()
	const table = "100"
	must(s.t, s.w.run("", "ip", "route", "replace", kind, a.String(), "table", table))
	must(s.t, s.w.run("", "ip", "rule", "add", "pref", "500", "to", a.String(), "lookup", table))
	return func() {
		must(s.t, s.w.run("", "ip", "rule", "del", "to", a.String(), "lookup", table))
		must(s.t, s.w.run("", "ip", "route", "del", kind, a.String(), "table", table))
	}
}
