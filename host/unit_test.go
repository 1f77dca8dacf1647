package host

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

func TestUnitOf(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/containerd.service\n":                                                    "containerd.service",
		"0::/../../../system.slice/k3s.service\n":                                                  "k3s.service",
		"12:pids:/x\n1:name=systemd:/system.slice/snap.microk8s.daemon-containerd.service\n0::/\n": "snap.microk8s.daemon-containerd.service",
		"0::/kubepods.slice/cri-containerd-1.scope\n":                                              "",
		"0::/system.slice/.service\nnonsense":                                                      "",
		"":                                                                                         "",
	} {
		if got := unitOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestReadUnit(t *testing.T) {
	service := func(lines ...string) string {
		return "[Unit]\nEnvironment=A=unit\n[Service]\n" + strings.Join(lines, "\n") + "\n"
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"words, quotes, escapes", map[string]string{
			"/usr/lib/systemd/system/c.service": service(
				`Environment=A=1 "B=two words" 'C=x\y' D=a\\b "E=\"q\""`, `Environment="G=x" \`, `# in between`, ` H=2`, `; I=3`,
			),
		}, `A=1|B=two words|C=x\y|D=a\b|E="q"|G=x|H=2`},
		{"etc hides usr", map[string]string{
			"/usr/lib/systemd/system/c.service": service("Environment=A=usr"), "/etc/systemd/system/c.service": service("Environment=B=etc"),
		}, "B=etc"},
		{"drop-ins by name, masked by the earlier directory", map[string]string{
			"/lib/systemd/system/c.service":               service("Environment=A=unit"),
			"/etc/systemd/system/c.service.d/20.conf":     service("Environment=A=20"),
			"/etc/systemd/system/c.service.d/10.conf":     service("Environment=A=10 B=10"),
			"/usr/lib/systemd/system/c.service.d/20.conf": service("Environment=C=hidden"),
			"/etc/systemd/system/c.service.d/x":           service("Environment=D=no"),
		}, "A=20|B=10"},
		{"an empty line resets", map[string]string{
			"/lib/systemd/system/c.service": service("Environment=A=1", "EnvironmentFile=/a"), "/a": "F=1",
			"/etc/systemd/system/c.service.d/p.conf": service("Environment=", "Environment=B=2", "EnvironmentFile="),
		}, "B=2"},
		{"environment files win", map[string]string{
			"/lib/systemd/system/c.service": service(
				"EnvironmentFile=-/etc/default/%N", "EnvironmentFile=-/absent", "EnvironmentFile=/conf/*.env", "Environment=A=unit B=unit",
			),
			"/etc/default/c": "# A=0\nA=\"file one\"\nexport X='y'\nulimit -n 1\nLONG=a\\\nb\n bad-name=1\n",
			"/conf/2.env":    "A=2",
			"/conf/1.env":    "A=1\nZ=",
		}, "A=2|B=unit|LONG=a b|X=y|Z="},
		{"manager's default, and unset", map[string]string{
			"/lib/systemd/system/c.service": service("UnsetEnvironment=B C=3 D=other"),
			"/etc/systemd/system.conf":      "[Manager]\nDefaultEnvironment=A=m B=m C=3 D=4\n",
		}, "A=m|D=4"},
		{"for all services", map[string]string{
			"/lib/systemd/system/c.service": service(), "/etc/systemd/system/service.d/p.conf": service("Environment=A=all"),
		}, "A=all"},
		{"unknown", nil, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := ReadUnit(rootOf(t, tt.files), "c.service")
			got := []string{"none"}
			if u != nil {
				got = nil
				for k, v := range u.Env {
					got = append(got, k+"="+v)
				}
				slices.Sort(got)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "|")); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := unitDropIns("a-b-c.service"); fmt.Sprint(got) != "[service.d a-.service.d a-b-.service.d a-b-c.service.d]" {
		t.Errorf("drop-ins: %v", got)
	}
}

func FuzzReadUnit(f *testing.F) {
	f.Add("[Service]\nEnvironment=\"A=1\" 'B\\=2' \\\nC=3\nEnvironmentFile=-/etc/%N\nUnsetEnvironment=A", "A=\"x y\"\nexport B=1\\\n2")
	f.Add("[Manager\n=\n[Service]=\n\\", "'\"\\")
	f.Fuzz(func(t *testing.T, text, env string) {
		u := ReadUnit(hosttest.Memory{"/etc/systemd/system/c.service": text, "/etc/c": env, "/etc/systemd/system.conf": text}, "c.service")
		if u == nil {
			t.Fatal("the unit is there")
		}
		for name := range u.Env {
			if !envName.MatchString(name) {
				t.Errorf("variable %q", name)
			}
		}
		u.Differs(func(string) string { return env })
	})
}

// Drop-ins and environment files that only this process cannot list count as
// unreadable, not as absent.
func TestClosedDirectories(t *testing.T) {
	const file = "/etc/systemd/system/c.service"
	plain := hosttest.Memory{file: "[Service]\nEnvironmentFile=/etc/env.d/*\n"}
	for _, dir := range []string{"/etc/systemd/system/c.service.d", "/etc/systemd/system.conf.d", "/etc/env.d"} {
		if u := ReadUnit(hosttest.Closed{Memory: plain, Dir: dir}, "c.service"); u == nil || !strings.HasPrefix(u.Unread, dir) {
			t.Errorf("%s: %+v", dir, u)
		}
	}
	if u := ReadUnit(plain, "c.service"); u == nil || u.Unread != "" {
		t.Errorf("nothing is closed: %+v", u)
	}
}
