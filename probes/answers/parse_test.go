package answers

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/report/readable"
)

func TestReadChallenge(t *testing.T) {
	tests := []struct {
		header []string
		want   Challenge
		ok     bool
	}{
		{nil, Challenge{}, false},
		{[]string{`Digest realm="x"`}, Challenge{}, false},
		{[]string{`Basic realm="x"`}, Challenge{}, true},
		{[]string{`Basic realm="x"`, `Bearer realm="https://a.lab/token",service="s",scope="repository:a:pull repository:b:pull"`},
			Challenge{Bearer: true, Realm: "https://a.lab/token", Service: "s", Scopes: []string{"repository:a:pull", "repository:b:pull"}}, true},
		{[]string{`bearer realm="https://a.lab/token",error="insufficient_scope"`}, Challenge{Bearer: true, Realm: "https://a.lab/token", Problem: "insufficient_scope"}, true},
	}
	for _, tt := range tests {
		got, ok := ReadChallenge(http.Header{"Www-Authenticate": tt.header})
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Challenge{})); diff != "" || ok != tt.ok {
			t.Errorf("%q: %v (-want +got):\n%s", tt.header, ok, diff)
		}
	}
}

// A 401 that asks for another kind of login does not reject the one that was sent.
func TestWantsTokenOnly(t *testing.T) {
	for _, tt := range []struct {
		header []string
		want   bool
	}{
		{nil, false},
		{[]string{`Basic realm="x"`}, false},
		{[]string{`Bearer realm="https://a.lab/token"`}, true},
		{[]string{`Bearer realm="https://a.lab/token"`, `Basic realm="x"`}, false},
	} {
		if got := WantsTokenOnly(http.Header{"Www-Authenticate": tt.header}); got != tt.want {
			t.Errorf("%q: %v", tt.header, got)
		}
	}
}

// Text from a registry must not break a probe, nor grow in it.
func FuzzForeign(f *testing.F) {
	f.Add(`Bearer realm="https://a.lab/token",service="s",scope="x"`, `{"errors":[{"code":"DENIED"}]}`)
	f.Add(`Basic`, `{"tags":["a","b`)
	f.Add(`Bearer realm=`, `{"errors":[{"code":7}]}`)
	f.Fuzz(func(t *testing.T, header, body string) {
		ReadChallenge(http.Header{"Www-Authenticate": {header}})
		if code := ErrorCode([]byte(body)); len(code) > 40 || readable.Clean(code, 40) != code {
			t.Errorf("code %q", code)
		}
		Tags([]byte(body))
		if code := StoreCode([]byte(body)); len(code) > 40 || readable.Clean(code, 40) != code {
			t.Errorf("code %q", code)
		}
		MediaType(http.Header{"Content-Type": {header}})
	})
}

func TestTagsIn(t *testing.T) {
	whole, _ := json.Marshal(map[string]any{"name": "app", "tags": []string{"1", "2", "3"}})
	for cut, want := range map[int]string{0: "1 2 3", 3: "1 2", 7: "1"} {
		if got := strings.Join(Tags(whole[:len(whole)-cut]), " "); got != want {
			t.Errorf("cut by %d: %q, want %q (%s)", cut, got, want, whole[:len(whole)-cut])
		}
	}
}

// Retry-After is a number, a date or nothing: it becomes part of the fix.
func TestWait(t *testing.T) {
	for in, want := range map[string]string{
		"120": "120", " 007 ": "7", "Fri, 31 Dec 9999 23:59:59 GMT": "Fri, 31 Dec 9999 23:59:59 GMT", "Friday, 01-Jan-27 00:00:00 GMT": "Fri, 01 Jan 2027 00:00:00 GMT",
		"-1": "", "": "", "soon": "", "1; Fix: rm": "", "99999999999999999999": "", "1e9": "",
	} {
		if got := RetryAfter(http.Header{"Retry-After": {in}}); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
