package flags

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func example() (Groups, *string) {
	var g Groups
	out := g.Add("Output").StringP("output", "o", "text", "text or json")
	limits := g.Add("Limits")
	limits.Duration("timeout", 5*time.Second, "deadline for "+strings.Repeat("everything ", 12))
	limits.Int("workers", 4, "`number` of checks")
	limits.Bool("no-pull", false, "no test pull")
	return g, out
}

// Flags stand before, between and after the other arguments.
func TestParse(t *testing.T) {
	g, out := example()
	rest, err := g.Parse([]string{"a", "--no-pull", "b", "-o", "json", "c", "--", "-d"})
	if err != nil || *out != "json" || !cmp.Equal(rest, []string{"a", "b", "c", "-d"}) {
		t.Errorf("%q %q %v", rest, *out, err)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct{ arg, want string }{
		{"-h", pflag.ErrHelp.Error()},
		{"--timeot=1s", "unknown flag --timeot: did you mean --timeout?"},
		{"-timeout=1s", "unknown flag -timeout: use two dashes, --timeout"},
		{"--nonsense", "unknown flag --nonsense: see --help"},
		{"-x", "unknown flag -x: see --help"},
		{"--timeout=soon", "--timeout=soon: must be a duration, such as 90s or 5m"},
		{"--workers=many", "--workers=many: must be a whole number"},
		{"--no-pull=maybe", "--no-pull=maybe: must be true or false"},
		{"--output", "flag needs an argument: --output"},
	} {
		g, _ := example()
		if _, err := g.Parse([]string{tt.arg}); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.arg, err, tt.want)
		}
	}
	if g, _ := example(); true {
		if _, err := g.Parse([]string{"--help"}); !errors.Is(err, pflag.ErrHelp) {
			t.Error(err)
		}
	}
}

func TestHelp(t *testing.T) {
	g, _ := example()
	var b strings.Builder
	g.Help(&b)
	const want = `
Output:
  -o, --output string
      text or json (default: text)

Limits:
  --timeout duration
      deadline for everything everything everything everything everything
      everything everything everything everything everything everything
      everything (default: 5s)
  --workers number
      number of checks (default: 4)
  --no-pull
      no test pull

Other:
  -h, --help
      show this help
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestClosest(t *testing.T) {
	names := []string{"agent", "check", "explain", "version"}
	for mistyped, want := range map[string]string{
		"chek": "check", "chekc": "check", "checks": "check", "expl": "explain", "verison": "version", "a": "", "nonsense": "", "": "",
	} {
		if got := Closest(mistyped, names); got != want {
			t.Errorf("%q: %q, want %q", mistyped, got, want)
		}
	}
}
