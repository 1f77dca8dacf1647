package evidence

import (
	"testing"
)

// What a server sends as a name reads like a name.
func TestWord(t *testing.T) {
	for in, want := range map[string]string{
		"linux/arm64/v8": "linux/arm64/v8", "*.example": "*.example", "bücher.example": "bücher.example",
		"x. Fix: rm -rf /": "x.?Fix??rm?-rf?/", "a;b$(c)`d`": "a?b??c??d?", "\x1b[2J": "?2J",
	} {
		if got := Word(in, 40); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
