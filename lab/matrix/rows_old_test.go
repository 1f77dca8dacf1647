//go:build matrix

package matrix

import (
	"fmt"

	"github.com/pullprobe/pullprobe/lab"
)

// oldRows returns rows on a node with containerd 1.6, which sends other requests
// than later ones.
func oldRows(others []row) []row {
	// onOld runs a row of another kind on the common machine with containerd 1.6. Without a
	// verdict, it is the same as on the current one.
	onOld := func(name string, runtime runtimeResult, w ...want) row {
		for _, r := range others {
			if r.name != name {
				continue
			}
			made := r.setup
			r.name = "containerd-1.6-" + r.name
			r.setup = func(s *scene) *subject {
				sub := made(s)
				sub.machine = s.old()
				return sub
			}
			r.runtime = runtime
			if len(w) > 0 {
				r.want = w[0]
			}
			if r.kind == other {
				r.kind = requests
			}
			return r
		}
		panic("no row " + name)
	}
	mirrored := func(s *scene, m *machine, l *login) (up, mirror *host, image string) {
		up, mirror = s.host(hostOptions{}), s.host(hostOptions{})
		image, _, _ = s.pushApp(up)
		up.setFault(requireBasicAuth(l))
		mirror.setFault(requireBasicAuth(l))
		m.hostsTOML(s.t, up.String(), mirrorTOML(up, `"pull", "resolve"`, mirror))
		return up, mirror, image
	}
	// configured makes a machine with this configuration, and a mirror in its certs.d.
	configured := func(name, registry string) row {
		return row{
			name: name, kind: logins,
			setup: func(s *scene) *subject {
				l := newLogin()
				m := s.newOldMachine(oldConfig(registry))
				_, _, image := mirrored(s, m, l)
				return &subject{image: image, machine: m, auth: l, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed|likely"),
		}
	}
	tokenFails := bounds("registry", "TokenServiceFailed", "confirmed|likely", "pull")
	rows := []row{
		onOld("tag-missing", failsWithAny(`not found$`)),
		onOld("credentials-missing", failsWithAny(`401 Unauthorized`)),
		onOld("credentials-rejected", failsWithAny(`401 Unauthorized|authorization`)),
		onOld("certificate-expired", failsWithAny(`certificate has expired`)),
		onOld("server-error", failsWithAny(`503 Service Unavailable`)),
		onOld("layer-lost", failsWithAny(`not found|404`), bounds("registry", "LayerCorrupt", "confirmed|likely")),
		onOld("index-without-platform", failsWithAny(`no match for platform`)),
		onOld("hidden-without-a-challenge-to-a-login-never-used", failsWithAny(`not found$`)),
		onOld("head-404-get-200", failsWithAny(`not found$`)),
		onOld("head-405-get-200", passes()),
		onOld("head-without-a-content-type", failsWithAny(`.`)),
		onOld("token-post-500-get-200", failsWithAny(`500`), tokenFails),
		onOld("token-post-400-get-200", passes()),
		onOld("unavailable-once", failsWithAny(`503`), bounds("*", "*", "*")),
		onOld("text-of-a-quota", failsWithAny(`403 Forbidden`)),
		onOld("name-servers-of-one-domain-fail", failsWithAny(`server misbehaving`)),
		configured("containerd-1.6-certs-d-that-nothing-names", ""),
		configured("containerd-1.6-certs-d-that-a-later-containerd-would-read",
			"\n[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n"),
		configured("containerd-1.6-certs-d-beside-another-directory",
			"\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/registries\"\n"),
		configured("containerd-1.6-certs-d-that-is-read", oldConfigPath),
		{
			name: "containerd-1.6-login-of-the-runtime-and-a-mirror-for-layers", kind: logins,
			setup: func(s *scene) *subject {
				up, mirror, l := s.host(hostOptions{}), s.host(hostOptions{}), newLogin()
				m := s.newOldMachine(oldConfig(oldConfigPath + fmt.Sprintf(
					"[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.%q.auth]\n  username = %q\n  password = %q\n",
					up, l.user, l.password)))
				image, _, _ := s.pushApp(up)
				up.setFault(requireBasicAuth(l))
				mirror.setFault(requireBasicAuth(l))
				m.hostsTOML(s.t, up.String(), mirrorTOML(up, `"pull"`, mirror))
				return &subject{image: image, machine: m, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed|likely"),
		},
		{
			name: "containerd-1.6-mirrors-in-config-toml", kind: logins,
			setup: func(s *scene) *subject {
				up, mirror, l := s.host(hostOptions{}), s.host(hostOptions{}), newLogin()
				m := s.newOldMachine(oldConfig(fmt.Sprintf(
					"\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.%q]\n  endpoint = [\"https://%s\"]\n", up,
					mirror)))
				repository := randomWord()
				s.pushRandom(repository, "1", lab.Image{})
				up.setFault(requireBasicAuth(l))
				mirror.setFault(requireBasicAuth(l))
				return &subject{image: up.image(repository, "1"), auth: l, machine: m, fix: func() {}}
			},
			runtime: passes(),
			want:    bounds("none", "Healthy", "confirmed|likely"),
		},
	}
	for _, t := range oddHostsTOML {
		rows = append(rows, t.row("", func(s *scene) *machine { return s.w.common }),
			t.row("containerd-1.6-", (*scene).old))
	}
	return rows
}

// oddText is a hosts.toml that containerds read in different ways. The access log shows
// whether they request the mirror.
type oddText struct{ name, text string } // %[1]s: the upstream, %[2]s: the mirror

var oddHostsTOML = []oddText{
	{"hosts-toml-with-an-open-bracket", "server = \"https://%[1]s\"\n[host.\"https://%[2]s\"\n  capabilities = " +
		"[\"pull\", \"resolve\"]\n"},
	{"hosts-toml-with-an-inline-table", "server = \"https://%[1]s\"\nhost = {\"https://%[2]s\" = {capabilities = " +
		"[\"pull\", \"resolve\"]}}\n"},
	{"hosts-toml-with-dotted-keys", "server = \"https://%[1]s\"\nhost.\"https://%[2]s\".capabilities = [\"pull\", \"resolve\"]\n"},
	{"hosts-toml-without-a-scheme", "server = \"https://%[1]s\"\n[host.\"%[2]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n"},
	{"hosts-toml-with-an-unknown-capability",
		"server = \"https://%[1]s\"\n[host.\"https://%[2]s\"]\n  capabilities = [\"pull\", \"resolve\", \"referrers\"]\n"},
	{"hosts-toml-with-capabilities-in-a-string",
		"server = \"https://%[1]s\"\n[host.\"https://%[2]s\"]\n  capabilities = \"pull\"\n"},
	{"hosts-toml-with-skip-verify-in-a-string",
		"server = \"https://%[1]s\"\n[host.\"https://%[2]s\"]\n  skip_verify = \"true\"\n"},
	{"hosts-toml-with-no-capabilities", "server = \"https://%[1]s\"\n[host.\"https://%[2]s\"]\n  capabilities = []\n"},
	{"hosts-toml-with-the-same-key-twice",
		"server = \"https://%[1]s\"\n[host.\"https://%[2]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n  " +
			"capabilities = [\"pull\", \"resolve\"]\n"},
	{"hosts-toml-with-the-same-table-twice",
		"server = \"https://%[1]s\"\n[host.\"https://%[2]s\"]\n[host.\"https://%[2]s\"]\n"},
	{"hosts-toml-with-a-later-key", "server = \"https://%[1]s\"\n[host.\"https://%[2]s\"]\n  capabilities = " +
		"[\"pull\", \"resolve\"]\n  dial_timeout = \"2s\"\n"},
	{"hosts-toml-with-numbers-in-an-array-of-words",
		"server = \"https://%[1]s\"\n[host.\"https://%[2]s\"]\n  capabilities = [\"pull\", 1]\n"},
	{"hosts-toml-with-a-host-without-a-table", "server = \"https://%[1]s\"\n[host]\n\"https://%[2]s\" = \"pull\"\n"},
	{"hosts-toml-with-a-missing-authority",
		"server = \"https://%[1]s\"\n[host.\"https://%[2]s\"]\n  ca = \"/etc/containerd/missing.pem\"\n"},
}

func (o oddText) row(prefix string, machine func(*scene) *machine) row {
	return row{
		name: prefix + o.name, kind: logins,
		setup: func(s *scene) *subject {
			up, mirror, l := s.host(hostOptions{}), s.host(hostOptions{}), newLogin()
			image, _, _ := s.pushApp(up)
			up.setFault(requireBasicAuth(l))
			mirror.setFault(requireBasicAuth(l))
			m := machine(s)
			m.hostsTOML(s.t, up.String(), fmt.Sprintf(o.text, up, mirror))
			return &subject{image: image, auth: l, machine: m, fix: func() {
				m.hostsTOML(s.t, up.String(), mirrorTOML(up,
					`"pull", "resolve"`, mirror))
			}}
		},
		runtime: runtimeResult{any: true},
		want:    bounds("*", "*", "*"),
	}
}

// failsWithAny is a failure with any code.
func failsWithAny(text string) runtimeResult { return runtimeResult{text: text, anyCode: true} }
