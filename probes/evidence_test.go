package probes

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func FuzzClean(f *testing.F) {
	f.Add("plain", 10)
	f.Add("a\x1b[31m b\r\n\u202e\xffc", 8)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 8 + limit&0xff
		got := clean(s, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Errorf("clean(%q, %d) = %q", s, limit, got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("clean(%q) keeps %q", s, r)
			}
		}
	})
}

func TestReadChallenge(t *testing.T) {
	tests := []struct {
		header []string
		want   challenge
		ok     bool
	}{
		{nil, challenge{}, false},
		{[]string{`Digest realm="x"`}, challenge{}, false},
		{[]string{`Basic realm="x"`}, challenge{}, true},
		{[]string{`Basic realm="x"`, `Bearer realm="https://a.lab/token",service="s",scope="repository:a:pull repository:b:pull"`},
			challenge{bearer: true, realm: "https://a.lab/token", service: "s", scopes: []string{"repository:a:pull", "repository:b:pull"}}, true},
		{[]string{`bearer realm="https://a.lab/token",error="insufficient_scope"`}, challenge{bearer: true, realm: "https://a.lab/token", problem: "insufficient_scope"}, true},
	}
	for _, tt := range tests {
		got, ok := readChallenge(http.Header{"Www-Authenticate": tt.header})
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(challenge{})); diff != "" || ok != tt.ok {
			t.Errorf("%q: %v (-want +got):\n%s", tt.header, ok, diff)
		}
	}
}

// What comes from a registry must not break a probe, nor grow in it.
func FuzzForeign(f *testing.F) {
	f.Add(`Bearer realm="https://a.lab/token",service="s",scope="x"`, `{"errors":[{"code":"DENIED"}]}`)
	f.Add(`Basic`, `{"tags":["a","b`)
	f.Add(`Bearer realm=`, `{"errors":[{"code":7}]}`)
	f.Fuzz(func(t *testing.T, header, body string) {
		readChallenge(http.Header{"Www-Authenticate": {header}})
		if code := errorCode([]byte(body)); len(code) > 40 || clean(code, 40) != code {
			t.Errorf("code %q", code)
		}
		meant, near := similar(header, tagsIn([]byte(body)))
		for _, tag := range append(meant, near...) {
			if len(tag) > maxName || clean(tag, maxName) != tag {
				t.Errorf("tag %q", tag)
			}
		}
		tokenTimes(body)
		tagsIn([]byte(body))
		if code := storeCode([]byte(body)); len(code) > 40 || clean(code, 40) != code {
			t.Errorf("code %q", code)
		}
		mediaType(http.Header{"Content-Type": {header}})
	})
}

func TestTagsIn(t *testing.T) {
	whole, _ := json.Marshal(map[string]any{"name": "app", "tags": []string{"1", "2", "3"}})
	for cut, want := range map[int]string{0: "1 2 3", 3: "1 2", 7: "1"} {
		if got := strings.Join(tagsIn(whole[:len(whole)-cut]), " "); got != want {
			t.Errorf("cut by %d: %q, want %q (%s)", cut, got, want, whole[:len(whole)-cut])
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"stable", "stabel", 1}, {"latest", "lates", 1}, {"v1.2", "1.2", 1}, {"abc", "xyz", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
