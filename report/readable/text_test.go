package readable_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	. "github.com/pullprobe/pullprobe/report/readable"
)

func TestSanitize(t *testing.T) {
	for in, want := range map[string]string{
		"":                                       "",
		"plain text":                             "plain text",
		"  two\r\nlines\tand  spaces \n":         "two lines and spaces",
		"\x1b[31mred\x1b[0m":                     "[31mred[0m",
		"a\u202eb\u200bc\ufeffd":                 "abcd",
		"line\u2028separator\u0085nbsp\u00a0end": "line separator nbsp end",
		"bad \xff utf-8 \ufffd":                  "bad utf-8",
		"private \ue000 surrogate \xed\xa0\x80":  "private surrogate",
		"invisible\ufe0f\u3164\u115f":            "invisible",
		"Zürich 東京 …":                            "Zürich 東京 …",
	} {
		if got := Sanitize(in); got != want {
			t.Errorf("Sanitize(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTruncate(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"short", 5, "short"},
		{"longer", 5, "lo…"},
		{"üüüü", 8, "üüüü"},
		{"üüüü", 7, "üü…"},
		{"üüüü", 6, "ü…"},
		{"abc", 2, ""},
		{"abcd", 3, "…"},
		{"", 0, ""},
	} {
		if got := Truncate(tt.in, tt.limit); got != tt.want {
			t.Errorf("Truncate(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

// Clean marks a cut even where what it read has fewer than max bytes.
func TestClean(t *testing.T) {
	if got := Clean(strings.Repeat("a b\n", 3), 40); got != "a b a b a b" {
		t.Errorf("%q", got)
	}
	if got := Clean("x"+strings.Repeat("\x00", 100)+"secret", 10); got != "x…" {
		t.Errorf("%q", got)
	}
	if got := Clean(strings.Repeat("ü", 1<<20), 10); got != "üüü…" {
		t.Errorf("%q", got)
	}
}

func FuzzText(f *testing.F) {
	f.Add("", 0)
	f.Add("a  b\xff\u202e\u2028c…", 7)
	f.Add(strings.Repeat("ü ", 100), 33)
	f.Add("can\ufe0fary\x00", 1)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(limit, 1<<20)
		if limit < 0 {
			limit = -(limit + 1)
		}
		line := Sanitize(s)
		if !utf8.ValidString(line) || strings.ContainsAny(line, "\n\t\r") || strings.Contains(line, "  ") || strings.TrimSpace(line) != line {
			t.Errorf("Sanitize(%q) = %q", s, line)
		}
		if Sanitize(line) != line {
			t.Errorf("Sanitize is not idempotent: %q", line)
		}
		for name, of := range map[string]func(string) string{
			"Truncate(Sanitize)": func(s string) string { return Truncate(Sanitize(s), limit) },
			"Clean":              func(s string) string { return Clean(s, limit) },
		} {
			got := of(s)
			if !utf8.ValidString(got) || len(got) > limit {
				t.Errorf("%s(%q, %d) = %q", name, s, limit, got)
			}
			if again := of(got); again != got {
				t.Errorf("%s is not idempotent: %q, then %q", name, got, again)
			}
		}
	})
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 1 << 20: "1.0 MiB",
		536498176: "511.6 MiB", 41 << 30: "41.0 GiB", 1 << 40: "1.0 TiB", 1 << 60: "1048576.0 TiB", -2048: "-2.0 KiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
	if got := Bytes(uint64(1) << 63); got != "8388608.0 TiB" {
		t.Errorf("%q", got)
	}
}

func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		d                time.Duration
		precise, roughly string
	}{
		{0, "0 s", "0 s"},
		{200 * time.Microsecond, "1 ms", "0 s"},
		{250 * time.Millisecond, "250 ms", "0 s"},
		{999999 * time.Microsecond, "1 s", "1 s"},
		{1500 * time.Millisecond, "1.5 s", "2 s"},
		{2519 * time.Millisecond, "2.5 s", "3 s"},
		{9960 * time.Millisecond, "10 s", "10 s"},
		{12 * time.Second, "12 s", "12 s"},
		{59700 * time.Millisecond, "1 min", "1 min"},
		{3 * time.Minute, "3 min", "3 min"},
		{200 * time.Second, "3 min 20 s", "3 min"},
		{60 * time.Minute, "1 h", "60 min"},
		{89 * time.Minute, "1 h 29 min", "89 min"},
		{125 * time.Minute, "2 h 5 min", "2 h"},
		{47*time.Hour + 20*time.Minute, "47 h 20 min", "47 h"},
		{3*day + 4*time.Hour, "3 days 4 h", "3 days"},
		{-2 * time.Hour, "-2 h", "-2 h"},
	} {
		if got := Duration(tt.d); got != tt.precise {
			t.Errorf("Duration(%v) = %q, want %q", tt.d, got, tt.precise)
		}
		if got := Roughly(tt.d); got != tt.roughly {
			t.Errorf("Roughly(%v) = %q, want %q", tt.d, got, tt.roughly)
		}
	}
}

func TestTime(t *testing.T) {
	at := time.Date(2026, 11, 28, 21, 33, 50, 999, time.FixedZone("CET", 3600))
	if got := Time(at); got != "2026-11-28 20:33:50 UTC" {
		t.Errorf("%q", got)
	}
}

func TestAbbreviate(t *testing.T) {
	for in, want := range map[string]string{"": "", "b a": "a, b", "d c b a": "a, b, c, d", "e d c b a": "a, b, c and 2 more"} {
		if got := Abbreviate(strings.Fields(in)); got != want {
			t.Errorf("Abbreviate(%s) = %q, want %q", in, got, want)
		}
	}
}
