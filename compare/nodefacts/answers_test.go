package nodefacts_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/compare/nodefacts"
)

func TestAnswersRoundTrip(t *testing.T) {
	a := Answers{
		Version: Version,
		Opinions: []Opinion{{
			Host: "registry.example:5000", Asked: 3, Reached: 2, Failed: 1, How: []string{"ConnectionTimeout"}, Which: []string{"b", "c"},
			Failing: []string{"d"}, Addresses: []string{"192.0.2.7"}, SetsApart: []string{"subnet 10.1.2.0/24"}, Oldest: 1795233600,
		}},
		Images: []Sighting{{
			Image: "registry.example/app:2", Found: []string{"registry.example"}, Which: []string{"b"}, Around: true, Oldest: 1795233600,
		}},
		Checks: []Wanted{{Host: "registry.example", Since: 1795233600}},
	}
	text, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeAnswers(text)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, got); d != "" {
		t.Error(d)
	}
	for i := range 100 {
		o := a.Opinions[0]
		o.Host = fmt.Sprintf("%s%03d.example", strings.Repeat("x", 200), i)
		a.Opinions = append(a.Opinions, o)
	}
	if text, err := a.Encode(); err != nil || len(text) > MaxAnswers || !strings.Contains(text, "registry.example:5000") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestDecodeAnswers(t *testing.T) {
	for _, tt := range []struct {
		in       string
		opinions int
		checks   int
		err      string
	}{
		{"", 0, 0, ""},
		{`{"v":1}`, 0, 0, ""},
		{`{"v":2}`, 0, 0, "version 2"},
		{`{"v":1,`, 0, 0, "not JSON"},
		{strings.Repeat(" ", 20<<10), 0, 0, "20480 bytes"},
		{`{"v":1,"opinions":[{"h":"a","asked":2,"reached":2,"failed":0},{"h":"a b","asked":0}],"checks":[{"h":"a","since":5},{"h":"a"},{"h":"; x","since":5}]}`, 1, 1, ""},
		{`{"v":1,"opinions":[{"h":"a","asked":1,"reached":2,"failed":0},{"h":"a","asked":0,"reached":2,"failed":-2}]}`, 0, 0, ""},
	} {
		a, err := DecodeAnswers(tt.in)
		if len(a.Opinions) != tt.opinions || len(a.Checks) != tt.checks || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.80s: %+v, %v", tt.in, a, err)
		}
	}
}

// Whatever the API server returns is bounded, and reads the same again.
func FuzzDecodeAnswers(f *testing.F) {
	f.Add(`{"v":1,"opinions":[{"h":"a","asked":2,"reached":2,"failed":0,"how":["X"],"which":["\u001b"]}],"checks":[{"h":"a","since":5}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		a, err := DecodeAnswers(s)
		if err != nil {
			return
		}
		text, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeAnswers(text)
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Opinions) == len(a.Opinions) {
			if d := cmp.Diff(a.Opinions, again.Opinions); d != "" {
				t.Error(d)
			}
		}
	})
}
