package credentials

import (
	"strings"
	"testing"
)

// TestKubeletFlag tests the kubelet's syntax of flags (pflag, parseArgs).
func TestKubeletFlag(t *testing.T) {
	for _, tt := range []struct {
		name, args string // args: separated by spaces
		want       string
		given      bool
	}{
		{"absent", "--config=/c", "", false},
		{"one argument", "--root-dir=/a", "/a", true},
		{"two arguments", "--root-dir /a", "/a", true},
		{"empty", "--root-dir=", "", true},
		{"equals sign in the value", "--root-dir=/a=b", "/a=b", true},
		{"last one wins", "--root-dir=/a --root-dir /b", "/b", true},
		{"underscore", "--root_dir=/a", "/a", true},
		{"value that begins with dashes", "--root-dir --root-dir=/a", "--root-dir=/a", true},
		{"no value", "--root-dir=/a --root-dir", "/a", true},
		{"after the end of flags", "--root-dir=/a -- --root-dir=/b", "/a", true},
		{"one dash", "-root-dir=/a", "", false},
		{"beginning of another name", "--root-dirs=/a", "", false},
	} {
		k := Kubelet{Args: append([]string{"kubelet"}, strings.Fields(tt.args)...)}
		if got, given := k.flag("root-dir"); got != tt.want || given != tt.given {
			t.Errorf("%s: %q %v, want %q %v", tt.name, got, given, tt.want, tt.given)
		}
	}
	if got, given := (Kubelet{Args: []string{"--root-dir=/a"}}).flag("root-dir"); given {
		t.Errorf("the program's name is a flag: %q", got)
	}
}

func TestKubeletEnvironment(t *testing.T) {
	k := Kubelet{Environ: []string{"HOMER=/x", "HOME=/a=b", "HOME=/b", "=", ""}}
	if got := k.getenv("HOME"); got != "/a=b" {
		t.Errorf("got %q, want the first", got)
	}
	if got := k.getenv("PATH"); got != "" {
		t.Errorf("got %q, want none", got)
	}
}

func FuzzKubelet(f *testing.F) {
	f.Add("kubelet\x00--root-dir=/data\x00--root_dir\x00/other\x00--", "HOME=/root\x00HOME=/home", "/run")
	f.Add("kubelet\x00--image-credential-provider-config\x00c\x00--image-credential-provider-bin-dir=b", "", "")
	files := onNode(nil)
	f.Fuzz(func(t *testing.T, args, env, dir string) {
		k := Kubelet{Args: strings.Split(args, "\x00"), Environ: strings.Split(env, "\x00"), WorkDir: dir, Files: files}
		for _, name := range k.DockerConfig().Searched {
			if !strings.HasPrefix(name, "/") {
				t.Errorf("not absolute: %q", name)
			}
		}
		for _, name := range []string{"root-dir", "image-credential-provider-config"} {
			value, given := k.flag(name)
			if value != "" && !strings.Contains(args, value) || !given && value != "" {
				t.Errorf("--%s is %q (%v) of %q", name, value, given, args)
			}
		}
		k.ProviderConfig()
	})
}
