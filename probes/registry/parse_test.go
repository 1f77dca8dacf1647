package registry

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/report"
)

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

// Text from a registry must not break a probe, nor grow in it.
func FuzzForeign(f *testing.F) {
	f.Add(`Bearer realm="https://a.lab/token",service="s",scope="x"`, `{"errors":[{"code":"DENIED"}]}`)
	f.Add(`Basic`, `{"tags":["a","b`)
	f.Add(`Bearer realm=`, `{"errors":[{"code":7}]}`)
	f.Fuzz(func(t *testing.T, header, body string) {
		readChallenge(http.Header{"Www-Authenticate": {header}})
		if code := errorCode([]byte(body)); len(code) > 40 || report.Clean(code, 40) != code {
			t.Errorf("code %q", code)
		}
		tagsIn([]byte(body))
		if code := storeCode([]byte(body)); len(code) > 40 || report.Clean(code, 40) != code {
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

// Retry-After is a number, a date or nothing: it becomes part of the fix.
func TestWait(t *testing.T) {
	for in, want := range map[string]string{
		"120": "120", " 007 ": "7", "Fri, 31 Dec 9999 23:59:59 GMT": "Fri, 31 Dec 9999 23:59:59 GMT", "Friday, 01-Jan-27 00:00:00 GMT": "Fri, 01 Jan 2027 00:00:00 GMT",
		"-1": "", "": "", "soon": "", "1; Fix: rm": "", "99999999999999999999": "", "1e9": "",
	} {
		if got := retryAfterOf(http.Header{"Retry-After": {in}}); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
