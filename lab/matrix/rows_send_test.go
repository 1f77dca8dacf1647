//go:build matrix

package matrix

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/lab"
)

// mirrorTOML is a hosts.toml with these mirrors.
func mirrorTOML(upstream *host, capabilities string, mirrors ...*host) string {
	text := fmt.Sprintf("server = \"https://%s\"\n", upstream)
	for _, m := range mirrors {
		text += fmt.Sprintf("[host.\"https://%s\"]\n  capabilities = [%s]\n", m, capabilities)
	}
	return text
}

// sendRows returns the rows about whom a login may be given to. The access logs of every
// row are compared; these rows make the cases in which a guess would be wrong.
func sendRows() []row {
	const everything = `"pull", "resolve"`
	anyVerdict := bounds("*", "*", "*")
	// mirrored makes an upstream and a mirror that both want the login, with a certs.d.
	mirrored := func(s *scene, m *machine, l *login, text func(up, mirror *host) string) (up, mirror *host, image string) {
		up, mirror = s.host(hostOptions{}), s.host(hostOptions{})
		image, _, _ = s.pushApp(up)
		up.setFault(requireBasicAuth(l))
		mirror.setFault(requireBasicAuth(l))
		s.setPlaceholder("mirror", mirror.String())
		m.hostsTOML(s.t, up.String(), text(up, mirror))
		return up, mirror, image
	}
	// ownLogin makes a machine whose containerd has a login of its own for the registry.
	ownLogin := func(name, capabilities string) row {
		return row{
			name: name, kind: logins,
			setup: func(s *scene) *subject {
				up := s.host(hostOptions{})
				l := newLogin()
				m := s.w.newMachine(s.t, machineSpec{config: containerdConfig + fmt.Sprintf(
					"[plugins.\"io.containerd.cri.v1.images\".registry.configs.%q.auth]\n  username = %q\n  password = %q\n",
					up, l.user, l.password)})
				mirror := s.host(hostOptions{})
				image, _, _ := s.pushApp(up)
				up.setFault(requireBasicAuth(l))
				mirror.setFault(requireBasicAuth(l))
				m.hostsTOML(s.t, up.String(), mirrorTOML(up, capabilities, mirror))
				return &subject{image: image, machine: m, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed|likely"),
		}
	}
	// unread makes a certs.d that containerd does not read, with a mirror in it.
	unread := func(name, config string) row {
		return row{
			name: name, kind: logins,
			setup: func(s *scene) *subject {
				l := newLogin()
				m := s.w.newMachine(s.t, machineSpec{config: config})
				_, _, image := mirrored(s, m, l, func(up, mirror *host) string { return mirrorTOML(up, everything, mirror) })
				return &subject{image: image, machine: m, auth: l, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed|likely"),
		}
	}
	// metadata makes a registry whose challenge names a realm at a metadata service.
	metadata := func(name string, network netip.Prefix) row {
		return row{
			name: name, kind: logins,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				addr := s.w.addr(network)
				service := s.host(hostOptions{name: "[" + addr.String() + "]", port: 80, addrs: []netip.Addr{addr},
					notInDNS: true})
				service.setConnHandler(servePlainHTTP)
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantAll}
				h.setFault(t.requireToken("http://" + service.name + "/token"))
				service.setFault(func(http.Handler) http.Handler { return t })
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: passes(), want: anyVerdict,
			also: func(s *scene, _ diagnosis) []string {
				if n := s.log.requested(byProduct, func(a access) bool { return a.path == "/token" }); n > 0 {
					return []string{fmt.Sprintf("pullprobe sent %d requests to %s", n, network)}
				}
				return nil
			},
		}
	}
	images := func(configPath string) string {
		return fmt.Sprintf("\n[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = %q\n", configPath)
	}
	// directories makes a machine with two directories, each with its own mirror: which of
	// them containerd reads is up to its configuration. All want the login.
	directories := func(name, config string, files map[string]string, dirs ...string) row {
		return row{
			name: name, kind: logins,
			setup: func(s *scene) *subject {
				up, l := s.host(hostOptions{port: 5443}), newLogin()
				m := s.w.newMachine(s.t, machineSpec{config: config, files: files})
				image, _, _ := s.pushApp(up)
				up.setFault(requireBasicAuth(l))
				for _, dir := range dirs {
					mirror := s.host(hostOptions{})
					mirror.setFault(requireBasicAuth(l))
					dir = strings.NewReplacer("HOST", up.String(), "NAME", up.name).Replace(dir)
					must(s.t, writeFiles(m.etc("containerd/"+dir), map[string]string{"hosts.toml": mirrorTOML(up, everything, mirror)}))
				}
				return &subject{image: image, machine: m, auth: l, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed|likely"),
		}
	}
	// edited makes a machine whose configuration names the certs.d only since containerd
	// was started. The mirror in it is not requested before a restart.
	edited := func(name, before, after string) row {
		return row{
			name: name, kind: logins,
			setup: func(s *scene) *subject {
				l := newLogin()
				m := s.w.newMachine(s.t, machineSpec{config: before})
				_, _, image := mirrored(s, m, l, func(up, mirror *host) string { return mirrorTOML(up, everything, mirror) })
				must(s.t, writeFiles(m.etc(""), map[string]string{"containerd/config.toml": after}))
				return &subject{image: image, machine: m, auth: l, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed|likely"),
		}
	}
	return []row{
		ownLogin("login-of-the-runtime-and-a-mirror-for-layers", `"pull"`),
		ownLogin("login-of-the-runtime-and-a-mirror", everything),
		unread("certs-d-that-no-configuration-names", containerdBasics),
		unread("certs-d-that-the-configuration-of-an-older-containerd-names",
			containerdBasics+"\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n"),
		unread("certs-d-beside-another-directory",
			containerdBasics+"\n[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/containerd/registries\"\n"),
		{
			name: "mirror-for-pushes-only", kind: logins,
			setup: func(s *scene) *subject {
				l := newLogin()
				_, _, image := mirrored(s, s.w.common, l, func(up, mirror *host) string {
					return mirrorTOML(up, `"push"`,
						mirror)
				})
				return &subject{image: image, auth: l, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed", "pull"),
		},
		{
			name: "mirror-of-another-port", kind: logins,
			setup: func(s *scene) *subject {
				l := newLogin()
				up, other := s.host(hostOptions{port: 5443}), s.host(hostOptions{})
				image, _, _ := s.pushApp(up)
				up.setFault(requireBasicAuth(l))
				other.setFault(requireBasicAuth(l))
				s.w.common.hostsTOML(s.t, up.name, fmt.Sprintf("[host.\"https://%s\"]\n", other)) // read for port 443
				return &subject{image: image, auth: l, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed", "pull"),
		},
		{
			name: "wrong-password-and-a-realm-of-three-mirrors", kind: logins,
			setup: func(s *scene) *subject {
				l := newLogin()
				up, service := s.host(hostOptions{}), s.host(hostOptions{})
				mirrors := []*host{s.host(hostOptions{}), s.host(hostOptions{}), s.host(hostOptions{})}
				image, _, _ := s.pushApp(up)
				t := &tokenService{grant: grantOnly(l)}
				for _, h := range append(mirrors, up) {
					h.setFault(t.requireToken(realmOf(service)))
				}
				service.setFault(func(http.Handler) http.Handler { return t })
				s.w.common.hostsTOML(s.t, up.String(), mirrorTOML(up, everything, mirrors...))
				sub := &subject{image: image, auth: &login{l.user, randomWord()}}
				sub.fix = func() { sub.auth = l }
				return sub
			},
			runtime: fails(`401 Unauthorized`),
			want:    bounds("cluster-config", "CredentialsRejected", "confirmed|likely"),
		},
		{
			name: "wrong-password-and-a-realm-of-a-mirror-and-its-upstream", kind: logins,
			setup: func(s *scene) *subject {
				l := newLogin()
				up, mirror := s.host(hostOptions{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(up)
				t := &tokenService{grant: grantOnly(l)}
				up.setFault(t.requireToken(realmOf(up)))
				mirror.setFault(t.requireToken(realmOf(up)))
				s.w.common.hostsTOML(s.t, up.String(), mirrorTOML(up, everything, mirror))
				sub := &subject{image: image, auth: &login{l.user, randomWord()}}
				sub.fix = func() { sub.auth = l }
				return sub
			},
			runtime: fails(`401 Unauthorized`),
			want:    bounds("cluster-config", "CredentialsRejected", "confirmed|likely"),
		},
		{
			name: "secret-for-the-mirror", kind: logins,
			misleads: "the secret names the mirror: the kubelet looks for the registry of the image's name",
			setup: func(s *scene) *subject {
				l := newLogin()
				_, mirror, image := mirrored(s, s.w.common, l, func(up, mirror *host) string {
					return mirrorTOML(up,
						everything, mirror)
				})
				sub := &subject{image: image, secret: dockerConfig(mirror.String(), l)}
				sub.fix = func() { sub.secret, sub.auth = "", l }
				return sub
			},
			runtime: fails(`no basic auth credentials`),
			want:    bounds("cluster-config", "PullSecretOtherRegistry", "confirmed|likely"),
		},
		{
			name: "secret-for-another-path", kind: logins,
			misleads: "the secret names the host: and another path of it",
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				h.setFault(requireBasicAuth(l))
				sub := &subject{image: image, secret: dockerConfig(h.String()+"/"+randomWord(), l)}
				sub.fix = func() { sub.secret, sub.auth = "", l }
				return sub
			},
			runtime: fails(`no basic auth credentials`),
			want:    bounds("cluster-config", "PullSecretOtherRegistry", "confirmed|likely"),
		},
		{
			name: "manifest-redirected-to-a-host-that-wants-a-login", kind: logins,
			setup: func(s *scene) *subject {
				h, other, l := s.host(hostOptions{}), s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				other.setFault(requireBasicAuth(l))
				moved := replaceResponse(isManifest, func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "https://"+other.String()+r.URL.Path, http.StatusTemporaryRedirect)
				})
				h.setFault(func(next http.Handler) http.Handler { return requireBasicAuth(l)(moved(next)) })
				return &subject{image: image, auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed|likely"),
		},
		{
			name: "token-sent-along-to-the-layers-host", kind: logins,
			setup: func(s *scene) *subject {
				h, cdn, l := s.host(hostOptions{}), s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				h.setFault(func(next http.Handler) http.Handler {
					return t.requireToken(realmOf(h))(lab.RedirectBlobs(next, cdn.String()))
				})
				return &subject{image: image, auth: l, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed", "pull"),
		},
		{
			name: "token-service-over-plain-http", kind: logins,
			setup: func(s *scene) *subject {
				h, service, l := s.host(hostOptions{}), s.host(hostOptions{}), newLogin()
				service.setConnHandler(servePlainHTTP)
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				h.setFault(t.requireToken("http://" + service.name + ":" + service.portText() + "/token"))
				service.setFault(func(http.Handler) http.Handler { return t })
				return &subject{image: image, auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: passes(), want: anyVerdict,
			also: func(s *scene, d diagnosis) []string {
				var out []string
				said := slices.ContainsFunc(d.Checks, func(c json.RawMessage) bool {
					return strings.Contains(string(c),
						`"runtimeWouldSend"`)
				})
				for _, by := range []client{byProduct, byTestPull} {
					n := s.log.requested(by, func(a access) bool { return a.path == "/token" && a.realm != "" })
					if n > 0 && (by == byProduct || !said) {
						out = append(out, fmt.Sprintf("%s sent the password %d times in clear", by, n))
					}
				}
				return out
			},
		},
		directories("two-directories-of-one-registry", containerdConfig, nil, "certs.d/HOST", "certs.d/NAME_5443_"),
		directories("directory-of-one-registry-and-of-all", containerdConfig, nil, "certs.d/HOST", "certs.d/_default"),
		directories("two-config-paths", containerdBasics+images("/etc/containerd/one:/etc/containerd/two"), nil,
			"one/HOST", "two/HOST"),
		directories("config-path-in-an-imported-file", "imports = [\"/etc/containerd/conf.d/*.toml\"]\n"+containerdConfig,
			map[string]string{"containerd/conf.d/registry.toml": "version = 3\n" + images("/etc/containerd/two")},
			"certs.d/HOST", "two/HOST"),
		directories("config-path-in-two-imported-files", "imports = [\"/etc/containerd/conf.d/*.toml\"]\n"+containerdBasics,
			map[string]string{
				"containerd/conf.d/10-one.toml": "version = 3\n" + images("/etc/containerd/one"),
				"containerd/conf.d/20-two.toml": "version = 3\n" + images("/etc/containerd/two"),
			}, "one/HOST", "two/HOST"),
		directories("config-path-of-an-older-and-of-this-containerd", containerdBasics+images("/etc/containerd/one")+
			"\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/two\"\n", nil, "one/HOST", "two/HOST"),
		edited("config-path-edited-after-the-start", containerdBasics, containerdConfig),
		edited("config-path-moved-after-the-start", containerdBasics+images("/etc/containerd/elsewhere"), containerdConfig),
		metadata("realm-at-the-metadata-service-of-aws", metadata6),
		metadata("realm-at-a-translated-metadata-service", nat64),
	}
}
