//go:build matrix

package matrix

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"time"

	"github.com/pullprobe/pullprobe/lab"
)

// tlsRows returns the rows about certificates and what the runtime trusts.
func tlsRows() []row {
	// withCertificate makes a host with another certificate.
	withCertificate := func(a func(*world) *lab.Authority, l func(*host) leafSpec) func(*scene) *subject {
		return func(s *scene) *subject {
			h := s.host(hostOptions{})
			image, _, _ := s.pushApp(h)
			h.setCertificate(s.certificate(a(s.w), l(h)))
			fix := func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }
			return &subject{image: image, ca: a(s.w).PEM(), fix: fix}
		}
	}
	trusted := func(w *world) *lab.Authority { return w.trustedCA }
	private := func(w *world) *lab.Authority { return w.privateCA }
	// withPrivateCA makes a host whose certificate is signed by an authority that only its
	// hosts.toml may name. wrong returns a wrong hosts.toml; the fix writes the right
	// one.
	const right = "[host.\"https://%s\"]\n  ca = %q\n"
	withPrivateCA := func(wrong func(s *scene, m *machine, h *host) string) func(*scene) *subject {
		return func(s *scene) *subject {
			h, m := s.host(hostOptions{}), s.w.common
			image, _, _ := s.pushApp(h)
			h.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: h.name}))
			ca := "/etc/containerd/certs.d/" + h.String() + "/ca.pem"
			m.hostsTOML(s.t, h.String(), wrong(s, m, h))
			return &subject{image: image, fix: func() {
				must(s.t, writeFiles(m.dir, map[string]string{ca: string(s.w.privateCA.PEM())}))
				m.hostsTOML(s.t, h.String(), fmt.Sprintf(right, h, ca))
			}}
		}
	}
	return []row{
		{
			name:     "private-authority",
			misleads: "interception: an authority that nobody knows is what a private registry has",
			setup:    withCertificate(private, func(h *host) leafSpec { return leafSpec{name: h.name} }),
			runtime:  fails(`certificate signed by unknown authority`),
			want:     want{"node-infrastructure", "CertificateUntrusted", "confirmed", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name: "self-signed",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				cert := s.selfSigned(h.name)
				h.setCertificate(cert)
				return &subject{image: image, ca: pemOf(cert), fix: func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: fails(`certificate signed by unknown authority`),
			want:    want{"node-infrastructure", "CertificateUntrusted", "confirmed", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:    "certificate-expired",
			setup:   withCertificate(trusted, func(h *host) leafSpec { return leafSpec{name: h.name, since: -30 * day, until: -day} }),
			runtime: fails(`certificate has expired or is not yet valid: current time .* is after`),
			want:    want{"registry", "CertificateExpired", "confirmed", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:    "certificate-not-yet-valid",
			setup:   withCertificate(trusted, func(h *host) leafSpec { return leafSpec{name: h.name, since: day, until: 30 * day} }),
			runtime: fails(`certificate has expired or is not yet valid: current time .* is before`),
			want:    want{"undetermined", "CertificateNotYetValid", "likely", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:    "certificate-for-another-name",
			setup:   withCertificate(trusted, func(*host) leafSpec { return leafSpec{name: randomWord() + ".net"} }),
			runtime: fails(`certificate is valid for`),
			want:    want{"registry", "CertificateNameMismatch", "confirmed", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:    "certificate-without-names",
			setup:   withCertificate(trusted, func(h *host) leafSpec { return leafSpec{name: h.name, noNames: true} }),
			runtime: fails(`legacy Common Name|not valid for any names`),
			want:    want{"registry", "CertificateInvalid", "confirmed", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "intermediate-missing",
			misleads: "unknown authority: the node trusts the root, the server keeps the intermediate to itself",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				between, err := s.w.trustedCA.Intermediate("Issuing " + randomWord())
				must(s.t, err)
				l := leafSpec{name: h.name, aia: "http://" + s.w.name() + "/issuing.crt"}
				h.setCertificate(s.certificate(between, l))
				return &subject{image: image, fix: func() {
					l.chain = [][]byte{between.DER()}
					h.setCertificate(s.certificate(between, l))
				}}
			},
			runtime: fails(`certificate signed by unknown authority`),
			want:    want{"undetermined", "CertificateUntrusted", "likely", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "clock-ahead",
			misleads: "certificate has expired: not by the server's clock",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name, since: -30 * day, until: -2 * day}))
				h.setFault(shiftDate(-5 * day))
				return &subject{image: image, fix: func() {
					h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name}))
					h.setFault(nil)
				}}
			},
			runtime: fails(`certificate has expired or is not yet valid`),
			want:    want{"node-infrastructure", "ClockSkewed", "likely", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "clock-behind",
			misleads: "certificate is not yet valid: it is, by the server's clock",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name, since: 3 * day, until: 30 * day}))
				h.setFault(shiftDate(5 * day))
				return &subject{image: image, fix: func() {
					h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name}))
					h.setFault(nil)
				}}
			},
			runtime: fails(`certificate has expired or is not yet valid`),
			want:    want{"node-infrastructure", "ClockSkewed", "likely", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "servers-clock-wrong",
			misleads: "a wrong clock: the server's date is off, and its certificate is good all the same",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(shiftDate(-5 * time.Hour))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name: "plain-http",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{port: 5000})
				image, _, _ := s.pushApp(h)
				h.setConnHandler(servePlainHTTP)
				return &subject{image: image, fix: func() { h.setConnHandler(nil) }}
			},
			runtime: fails(`server gave HTTP response to HTTPS client`),
			want:    want{"node-infrastructure", "PlainHTTPRegistry", "confirmed", []string{"tls/{host}/{addr}", "pull"}, ""},
		}, {
			name: "plain-http-on-443",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{port: 443})
				image, _, _ := s.pushApp(h)
				h.setConnHandler(servePlainHTTP)
				return &subject{image: image, fix: func() { h.setConnHandler(nil) }}
			},
			runtime: fails(`server gave HTTP response to HTTPS client`),
			want:    want{"node-infrastructure", "PlainHTTPRegistry", "confirmed", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name: "closed-before-tls",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setConnHandler(closeConn)
				return &subject{image: image, fix: func() { h.setConnHandler(nil) }}
			},
			runtime: fails(`EOF|reset by peer`),
			want:    want{"node-infrastructure", "TLSHandshakeFailed", "likely", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "silence-instead-of-tls",
			misleads: "handshake timeout: something takes connections and is no registry",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setConnHandler(holdConn)
				return &subject{image: image, fix: func() { h.setConnHandler(nil) }}
			},
			runtime: hangs(),
			want:    want{"node-infrastructure", "TLSHandshakeFailed", "likely", []string{"tls/{host}/{addr}"}, ""},
		},
		{
			name: "tls-too-old",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setTLS(&tls.Config{
					Certificates: []tls.Certificate{s.certificate(s.w.trustedCA, leafSpec{name: h.name})},
					MinVersion:   tls.VersionTLS10,
					MaxVersion:   tls.VersionTLS11,
				})
				return &subject{image: image, fix: func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: fails(`protocol version`),
			want:    want{"node-infrastructure", "TLSHandshakeFailed", "likely", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name: "client-certificate-wanted",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setTLS(&tls.Config{
					Certificates: []tls.Certificate{s.certificate(s.w.trustedCA, leafSpec{name: h.name})},
					ClientAuth:   tls.RequireAnyClientCert,
				})
				return &subject{image: image, fix: func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: fails(`certificate required`),
			want:    want{"node-infrastructure", "TLSHandshakeFailed", "likely", []string{"pull"}, ""},
		},
		{
			name:     "public-registry-intercepted",
			misleads: "unknown authority: a private registry would have one, this is a public one",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{name: "ghcr.io", port: 443, addrs: []netip.Addr{s.w.addr(public4)}})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: h.name}))
				return &subject{image: image, fix: func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: fails(`certificate signed by unknown authority`),
			want:    want{"node-infrastructure", "TLSIntercepted", "likely", []string{"tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "hosts-toml-with-a-syntax-error",
			misleads: "unknown authority: hosts.toml names it and is silently ignored",
			setup: withPrivateCA(func(s *scene, m *machine, h *host) string {
				ca := "/etc/containerd/certs.d/" + h.String() + "/ca.pem"
				must(s.t, writeFiles(m.dir, map[string]string{ca: string(s.w.privateCA.PEM())}))
				return fmt.Sprintf("[host.\"https://%s\"\n  ca = %q\n", h, ca)
			}),
			runtime: fails(`certificate signed by unknown authority`),
			want:    want{"node-infrastructure", "RuntimeConfigInvalid", "likely", []string{"hosts/{host}", "tls/{host}/{addr}", "pull"}, ""},
		},
		{
			name:     "hosts-toml-names-a-missing-ca-file",
			misleads: "unknown authority or a missing file: the registry is well",
			setup: withPrivateCA(func(_ *scene, _ *machine, h *host) string {
				return fmt.Sprintf(right, h, "/etc/containerd/certs.d/"+randomWord()+".pem")
			}),
			runtime: fails(`unable to (read|load) CA cert`),
			want:    want{"node-infrastructure", "RuntimeConfigInvalid", "confirmed", []string{"hosts/{host}", "pull"}, ""},
		},
		{
			name:     "hosts-toml-names-an-empty-ca-file",
			misleads: "unknown authority: hosts.toml names a file of it, and nothing is in it",
			setup: withPrivateCA(func(s *scene, m *machine, h *host) string {
				ca := "/etc/containerd/certs.d/" + h.String() + "/empty.pem"
				must(s.t, writeFiles(m.dir, map[string]string{ca: "\n"}))
				return fmt.Sprintf(right, h, ca)
			}),
			runtime: fails(`unable to (read|load) CA cert`),
			want:    want{"node-infrastructure", "RuntimeConfigInvalid", "confirmed", []string{"hosts/{host}", "pull"}, ""},
		},
		{
			name: "hosts-toml-skips-verification",
			setup: func(s *scene) *subject {
				h, m := s.host(hostOptions{}), s.w.common
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: randomWord() + ".net"}))
				m.hostsTOML(s.t, h.String(), fmt.Sprintf("[host.\"https://%s\"]\n  skip_verify = true\n", h))
				return &subject{image: image, fix: func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }}
			},
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name:     "trust-store-newer-than-the-runtime",
			misleads: "unknown authority: it stands in the node's store, and the runtime read that before",
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{})
				// Go reads the trust store at its first use.
				s.warmUp(m)
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: h.name}))
				both := string(s.w.trustedCA.PEM()) + string(s.w.privateCA.PEM())
				must(s.t, writeFiles(m.etc(""), map[string]string{"ssl/certs/ca-certificates.crt": both}))
				return &subject{image: image, machine: m, fix: func() { m.restart(s.t) }}
			},
			runtime: fails(`certificate signed by unknown authority`),
			want:    want{"node-infrastructure", "RuntimeConfigStale", "confirmed", []string{"pull"}, ""},
		},
		{
			name:     "config-toml-newer-than-the-runtime",
			misleads: "unknown authority: hosts.toml names it, and the runtime does not know of that directory yet",
			setup: func(s *scene) *subject {
				elsewhere := "[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/elsewhere\"\n"
				m := s.w.newMachine(s.t, machineSpec{config: containerdBasics + elsewhere})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: h.name}))
				ca := "/etc/containerd/certs.d/" + h.String() + "/ca.pem"
				must(s.t, writeFiles(m.dir, map[string]string{ca: string(s.w.privateCA.PEM())}))
				m.hostsTOML(s.t, h.String(), fmt.Sprintf(right, h, ca))
				must(s.t, writeFiles(m.etc(""), map[string]string{"containerd/config.toml": containerdConfig}))
				return &subject{image: image, machine: m, fix: func() { m.restart(s.t) }}
			},
			runtime: fails(`certificate signed by unknown authority`),
			want:    want{"node-infrastructure", "RuntimeConfigStale", "likely", []string{"pull"}, ""},
		},
	}
}
