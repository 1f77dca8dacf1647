package host

import (
	"slices"
	"testing"
)

var flagTests = []struct {
	name string
	args []string // without the program's name
	want []string // values of root-dir
}{
	{"absent", []string{"--config=/c"}, nil},
	{"one argument", []string{"--root-dir=/a"}, []string{"/a"}},
	{"two arguments", []string{"--root-dir", "/a"}, []string{"/a"}},
	{"empty value", []string{"--root-dir="}, []string{""}},
	{"empty argument as the value", []string{"--root-dir", ""}, []string{""}},
	{"equals sign in the value", []string{"--root-dir=/a=b"}, []string{"/a=b"}},
	{"quotes are part of the value", []string{`--root-dir="/a"`}, []string{`"/a"`}},
	{"all occurrences, in order", []string{"--root-dir=/a", "--root-dir", "/b"}, []string{"/a", "/b"}},
	{"underscore in the name", []string{"--root_dir=/a"}, []string{"/a"}},
	{"underscore in the value stays", []string{"--root-dir=/a_b"}, []string{"/a_b"}},
	{"value that looks like a flag", []string{"--root-dir", "--config=/c"}, []string{"--config=/c"}},
	{"flag that is another's value", []string{"--config", "--root-dir=/a"}, nil},
	{"two dashes as the value", []string{"--root-dir", "--", "--config=/c"}, []string{"--"}},
	{"after the end of flags", []string{"--root-dir=/a", "--", "--root-dir=/b"}, []string{"/a"}},
	{"after a switch", []string{"--switch", "--root-dir=/a"}, []string{"/a"}},
	{"after a switch with a value", []string{"--switch=false", "--root-dir=/a"}, []string{"/a"}},
	{"after a positional argument", []string{"x", "--root-dir=/a"}, []string{"/a"}},
	{"after a shorthand", []string{"-v", "2", "--root-dir=/a"}, []string{"/a"}},
	{"after a shorthand with its value", []string{"-v2", "--root-dir=/a"}, []string{"/a"}},
	// With these the kubelet does not start.
	{"no value", []string{"--root-dir=/a", "--root-dir"}, []string{"/a"}},
	{"one dash", []string{"-root-dir=/a"}, nil},
	{"three dashes", []string{"---root-dir=/a"}, nil},
	{"other case", []string{"--Root-Dir=/a"}, nil},
	{"beginning of the name", []string{"--root=/a"}, nil},
}

func TestParseFlags(t *testing.T) {
	for _, tt := range flagTests {
		got := ParseFlags(append([]string{"kubelet"}, tt.args...), "root-dir", "config")
		if !slices.Equal(got["root-dir"], tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got["root-dir"], tt.want)
		}
	}
	if got := ParseFlags([]string{"--root-dir=/a"}, "root-dir"); got["root-dir"] != nil {
		t.Errorf("the program's name is a flag: %q", got)
	}
}

func TestEnv(t *testing.T) {
	e := Env{"HOMER=/x", "HOME=/a=b", "HOME=/b", "EMPTY=", "=", "=x", "NOVALUE", ""}
	for _, tt := range []struct {
		name, want string
		ok         bool
	}{
		{"HOME", "/a=b", true}, {"EMPTY", "", true}, {"PATH", "", false}, {"NOVALUE", "", false}, {"", "", false}, {"home", "", false},
	} {
		if got, ok := e.Lookup(tt.name); got != tt.want || ok != tt.ok {
			t.Errorf("%q: %q %v", tt.name, got, ok)
		}
	}
}
