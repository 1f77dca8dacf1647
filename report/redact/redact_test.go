package redact_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/report/redact"
)

func TestRedactor(t *testing.T) {
	r := redact.New("hunter2", "abc", "hunter2-long")
	tests := []struct{ in, want string }{
		{"password is hunter2.", "password is [redacted]."},
		{"hunter2-long goes whole", "[redacted] goes whole"},
		{"abc is too short to be told from a word", "abc is too short to be told from a word"},
		{"Get https://user:pw@registry.example/v2/", "Get https://[redacted]@registry.example/v2/"},
		{"Authorization: Bearer abcdefghijkl", "Authorization: Bearer [redacted]"},
		{"token=xyz&scope=pull", "token=[redacted]&scope=pull"},
		{"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.sig_nature here", "[redacted] here"},
		{"two\nlines\tand \x1b[31mred\x1b[0m \u202eevil", "two lines and [31mred[0m evil"},
		{"bad utf-8 \xff", "bad utf-8"},
	}
	for _, tt := range tests {
		if got := r.Text(tt.in, 0); got != tt.want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
	if got := r.Text(strings.Repeat("ü", 100), 21); len(got) > 21 || !strings.HasSuffix(got, "…") {
		t.Errorf("bounded text is %q", got)
	}
}

// A server that returns a secret may split it with invisible characters, or choose
// where it is cut.
func TestRedactorOfSecretsInPieces(t *testing.T) {
	r := redact.New("canary-7f3a", "two  words\there").With("later-9c1e")
	for in, want := range map[string]string{
		"cana\u200bry-7f3a":                 "[redacted]",
		"can\x1bary-\u202e7f3a":             "[redacted]",
		"can\ufe0fary\xff-7f\u00ad3a":       "[redacted]",
		"later-\x009c1e":                    "[redacted]",
		"says two words here":               "says [redacted]",
		"says two  words\there":             "says [redacted]",
		"cut short: canary-7…":              "cut short: [redacted]…",
		"cut short: cana...":                "cut short: [redacted]...",
		"cut canary-7f… and later-9… (401)": "cut [redacted]… and [redacted]… (401)",
		"a can…":                            "a can…",
		"canary-7 is not cut":               "canary-7 is not cut",
	} {
		if got := r.Text(in, 0); got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
	}
}

// A secret is removed in every form in which it travels, whole or cut short.
func TestRedactorOfForms(t *testing.T) {
	const secret = "c4n&ry/ s3cr+t=\u00fc"
	r := redact.New(secret).WithLogin("canary-user", "pa?ss w/rd")
	pair := []byte("canary-user:pa?ss w/rd")
	forms := map[string]string{
		"plain":             secret,
		"query":             url.QueryEscape(secret),
		"path":              url.PathEscape(secret),
		"base64":            base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 unpadded":   base64.RawStdEncoding.EncodeToString([]byte(secret)),
		"base64 for URLs":   base64.URLEncoding.EncodeToString([]byte(secret)),
		"password":          "pa?ss w/rd",
		"password in query": url.QueryEscape("pa?ss w/rd"),
		"password in path":  url.PathEscape("pa?ss w/rd"),
		"user and password": "canary-user:pa?ss w/rd",
		"basic":             base64.StdEncoding.EncodeToString(pair),
		"basic unpadded":    base64.RawURLEncoding.EncodeToString(pair),
	}
	for name, form := range forms {
		if got := r.Text("sent <"+form+"> back", 0); got != "sent <[redacted]> back" {
			t.Errorf("%s: %q", name, got)
		}
		beginning := []rune(form)
		cut := string(beginning[:len(beginning)-1])
		if got := r.Text("sent "+cut+"… back", 0); strings.Contains(got, cut) {
			t.Errorf("%s, cut short: %q", name, got)
		}
	}
	if got := redact.New().WithLogin("user", "").Text("user: x", 0); got != "user: x" {
		t.Errorf("no password: %q", got)
	}
}
