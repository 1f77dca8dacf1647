package tokens

import (
	"encoding/base64"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/evidence"
)

// FuzzTimes reads the times of any token.
func FuzzTimes(f *testing.F) {
	f.Add("e30.eyJleHAiOjE3MDAwMDAwMDB9.x")
	f.Add("e30.eyJleHAiOi0xfQ.x")
	f.Fuzz(func(_ *testing.T, token string) { timesOf(token) })
}

func TestTimes(t *testing.T) {
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
	}
	want := evidence.Facts{"tokenExpires": "2023-11-14T22:13:20Z", "tokenNotBefore": "2023-11-14T22:13:19Z"}
	if diff := cmp.Diff(want, timesOf(jwt(`{"exp":1700000000,"nbf":1699999999,"iat":0}`))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, s := range []string{"", "a.b", "a.b.c", jwt(`{}`), jwt(`{"exp":-1}`), jwt(`{"exp":1e99}`), jwt(`[`)} {
		if got := timesOf(s); len(got) > 0 {
			t.Errorf("timesOf(%q) = %v", s, got)
		}
	}
}
