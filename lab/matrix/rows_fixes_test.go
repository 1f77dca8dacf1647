//go:build matrix

package matrix

import (
	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// fixRows returns the rows about the commands and files that a fix names.
func fixRows() []row {
	const elsewhere = containerdBasics + "\n[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = " +
		"\"/etc/containerd/registries\"\n"
	// on makes a registry with a fault, on a machine with this configuration.
	on := func(name, config string, runtime runtimeResult, w want, fault func(*scene, *host, *subject)) row {
		return row{
			name: name, kind: fixLines,
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{config: config})
				h := s.host(hostOptions{port: 5000})
				image, _, _ := s.pushApp(h)
				sub := &subject{image: image, machine: m}
				fault(s, h, sub)
				return sub
			},
			runtime: runtime, want: w,
		}
	}
	plain := func(_ *scene, h *host, sub *subject) {
		h.setConnHandler(servePlainHTTP)
		sub.fix = func() { h.setConnHandler(nil) }
	}
	untrusted := func(s *scene, h *host, sub *subject) {
		h.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: h.name}))
		sub.ca = s.w.privateCA.PEM()
		sub.fix = func() { h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name})) }
	}
	plainHTTP := bounds("node-infrastructure", "PlainHTTPRegistry", "confirmed|likely", "tls/{host}/{addr}")
	untrustedCA := bounds("node-infrastructure", "CertificateUntrusted", "confirmed|likely", "tls/{host}/{addr}")
	gaveHTTP, unknown := fails(`HTTP response to HTTPS client`), fails(`certificate signed by unknown authority`)
	// mirror makes a mirror with a fault, whose upstream has no name.
	mirror := func(name string, runtime runtimeResult, causes string, fault func(*scene, *host, *subject)) row {
		return row{
			name: name, kind: fixLines,
			setup: func(s *scene) *subject {
				up, mi := s.host(hostOptions{}), s.host(hostOptions{port: 5000})
				image, _, _ := s.pushApp(up)
				s.w.setDNS(up.name, lab.Answer{Rcode: "NXDOMAIN"})
				s.w.common.hostsTOML(s.t, up.String(), mirrorTOML(up, `"pull", "resolve"`, mi))
				s.setPlaceholder("mirror", mi.String())
				s.setPlaceholder("mirrorAddr", mi.addrPort(0))
				sub := &subject{image: image, machine: s.w.common}
				fault(s, mi, sub)
				return sub
			},
			runtime: runtime,
			want: bounds("node-infrastructure|registry|undetermined", causes, "confirmed|likely",
				"tls/{mirror}/{mirrorAddr}"),
		}
	}
	return []row{
		on("plain-http-below-another-config-path", elsewhere, gaveHTTP, plainHTTP, plain),
		on("private-authority-below-another-config-path", elsewhere, unknown, untrustedCA, untrusted),
		on("plain-http-and-no-config-path", containerdBasics, gaveHTTP, plainHTTP, plain),
		on("private-authority-and-no-config-path", containerdBasics, unknown, untrustedCA, untrusted),
		mirror("mirror-speaks-plain-http", gaveHTTP, "PlainHTTPRegistry|MirrorFaulty", plain),
		mirror("mirror-with-a-private-authority", unknown, "CertificateUntrusted|MirrorFaulty", untrusted),
		{
			name: "invalid-hosts-toml-below-another-config-path", kind: fixLines,
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{config: elsewhere})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: h.name}))
				dir := m.etc("containerd/registries/" + h.String())
				must(s.t, writeFiles(dir, map[string]string{"hosts.toml": "[host.\"https://" + h.String() + "\"\n  skip_verify = true\n"}))
				return &subject{image: image, machine: m, fix: func() {
					must(s.t, writeFiles(dir, map[string]string{"hosts.toml": "[host.\"https://" + h.String() + "\"]\n  skip_verify = true\n"}))
				}}
			},
			runtime: unknown,
			want:    bounds("node-infrastructure", "RuntimeConfigInvalid|CertificateUntrusted", "likely|confirmed", "tls/{host}/{addr}"),
		},
		{
			name: "repository-mistyped", kind: fixLines,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				group, app, tag := randomWord(), randomWord(), randomWord()
				s.pushRandom(group+"/"+app, tag, lab.Image{})
				return &subject{image: h.image(group+"/"+app+"s", tag), fixedImage: h.image(group+"/"+app, tag), fix: func() {}}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want: bounds("cluster-config", "RepositoryNotFound|AccessDeniedOrMissing", "likely",
				"manifest/{host}"),
		},
		{
			name: "secret-for-the-registry-without-its-port", kind: fixLines,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{port: 5000}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(requireBasicAuth(l))
				sub := &subject{image: image, secret: dockerConfig(h.name+":443", l)}
				sub.fix = func() { sub.secret, sub.auth = "", l }
				return sub
			},
			runtime: fails(`no basic auth credentials`),
			want:    bounds("cluster-config", "PullSecretOtherRegistry", "confirmed|likely", "manifest/{host}"),
		},
	}
}
