package similar

import "testing"

func TestNear(t *testing.T) {
	for _, tt := range []struct {
		name  string
		names []string
		want  string
	}{
		{"regcreds", []string{"harbor", "regcred"}, "regcred"},
		{"regcred", []string{"regcred"}, ""},
		{"recgred", []string{"regcred-2", "regcred"}, "regcred"},
		{"a", []string{"b"}, ""},
		{"pull", []string{"push", "poll"}, "poll"},
		{"team-a", []string{"other"}, ""},
		{"", []string{"x"}, ""},
	} {
		if got := Near(tt.name, tt.names); got != tt.want {
			t.Errorf("%q of %q: %q, want %q", tt.name, tt.names, got, tt.want)
		}
	}
}
