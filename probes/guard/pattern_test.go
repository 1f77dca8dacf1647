package guard

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParsePattern(t *testing.T) {
	for in, want := range map[string]string{
		"registry.example":      "registry.example",
		"Registry.Example.":     "registry.example",
		"registry.example:5000": "registry.example:5000",
		"registry.example:0443": "registry.example:443",
		"*.corp.example":        "*.corp.example",
		"*":                     "*",
		"*:5000":                "*:5000",
		"10.0.0.1":              "10.0.0.1",
		"10.0.0.1:5000":         "10.0.0.1:5000",
		"::ffff:10.0.0.1":       "10.0.0.1",
		"fd00::1":               "fd00::1",
		"[fd00::1]":             "fd00::1",
		"[fd00::1]:5000":        "[fd00::1]:5000",
		"10.0.0.0/8":            "10.0.0.0/8",
		"fd00::/8":              "fd00::/8",
		"10.0.0.1/32":           "10.0.0.1",
	} {
		p, err := ParsePattern(in)
		if err != nil || p.String() != want {
			t.Errorf("%s: %q, %v", in, p, err)
		}
	}
	for in, want := range map[string]string{
		"":                        "an empty entry",
		"https://r.example":       "has a scheme",
		"r.example/team":          "a host has no path",
		"10.0.0.1/8":              "write 10.0.0.0/8",
		"10.0.0.0/33":             "is no range",
		"fe80::1%eth0":            "write fe80::1",
		"r.example:":              "ends in no port",
		"r.example:0":             "ends in no port",
		"r.example:65536":         "ends in no port",
		"r.example:https":         "ends in no port",
		".corp.example":           "*.example",
		"a..example":              "is no host",
		".":                       "is no host",
		"10.0.*":                  "write one such as 10.0.0.0/8",
		"r?.example":              "is no host",
		"r[12].example":           "is no host",
		"user@r.example":          "is no host",
		"r.example, s.example":    "is no host",
		"münchen.example":         "is no host",
		strings.Repeat("a", 1000): "is no host",
	} {
		if _, err := ParsePattern(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", in, err, want)
		}
	}
}

func TestHostOfPattern(t *testing.T) {
	for in, want := range map[string]string{
		"r.example:5000": "r.example:5000", "10.0.0.1": "10.0.0.1", "fd00::1": "[fd00::1]", "[fd00::1]:5000": "[fd00::1]:5000",
		"*.example": "", "10.0.0.0/8": "",
	} {
		if got, ok := pattern(t, in).Host(); got != want || ok != (want != "") {
			t.Errorf("%s: %q %v", in, got, ok)
		}
	}
}

func pattern(t *testing.T, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func patterns(t *testing.T, list ...string) (out []Pattern) {
	t.Helper()
	for _, s := range list {
		out = append(out, pattern(t, s))
	}
	return out
}

func TestLiteral(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1": "127.0.0.1", "fd00::1": "fd00::1", "127.1": "127.0.0.1", "0x7f000001": "127.0.0.1", "2130706433": "127.0.0.1",
		"0177.0.0.1": "127.0.0.1", "10.0.258": "10.0.1.2", "１０.0.0.1": "10.0.0.1", "127.0.0.1.": "127.0.0.1",
	} {
		if a, ok := literal(in); !ok || a != netip.MustParseAddr(want) {
			t.Errorf("%s: %v %v", in, a, ok)
		}
	}
	for _, in := range []string{"", "r.example", "1.2.3.4.5", "256.1.1.1", "1.16777216", "0b1.1", "1_0.1", "10.r"} {
		if a, ok := literal(in); ok {
			t.Errorf("%s: %v", in, a)
		}
	}
}

// FuzzPattern reads an entry of a list of hosts, and a name that it is
// held against.
func FuzzPattern(f *testing.F) {
	f.Add("*.corp.example", "registry.corp.example", "443")
	f.Add("10.0.0.0/8", "10.1.2.3", "5000")
	f.Add("[fd00::1]:5000", "fd00::1", "5000")
	f.Add("*:0443", "0x7f.1", "443")
	f.Add("*.*.*-_", "ｒ.example", "")
	f.Fuzz(func(t *testing.T, entry, name, port string) {
		a, _ := literal(name)
		p, err := ParsePattern(entry)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil || again != p {
			t.Errorf("%q is %q, and that %q: %v", entry, p, again, err)
		}
		if p.matches(name, port, a) && !p.matches(strings.ToUpper(plainName(name))+".", port, a) {
			t.Errorf("%q holds %q, but not in capitals", p, name)
		}
	})
}
