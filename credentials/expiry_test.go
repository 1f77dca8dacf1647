package credentials

import (
	"encoding/base64"
	"testing"
)

func TestExpiry(t *testing.T) {
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
	}
	ecr := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, tt := range []struct {
		name, secret string
		want         int64 // 0: none
	}{
		{"web token", jwt(`{"exp":1700000000}`), 1700000000},
		{"web token, fraction", jwt(`{"exp":1700000000.5}`), 1700000000},
		{"web token of a job", "glcbt-" + jwt(`{"exp":1700000000}`), 1700000000},
		{"ECR", ecr(`{"payload":"x","datakey":"y","version":"2","type":"DATA_KEY","expiration":1700000000}`), 1700000000},
		{"empty", "", 0},
		{"no token", "hunter2", 0},
		{"two dots", "a.b.c", 0},
		{"no claim", jwt(`{}`), 0},
		{"before the epoch", jwt(`{"exp":-1}`), 0},
		{"out of range", jwt(`{"exp":1e99}`), 0},
		{"not JSON", jwt(`[`), 0},
		{"a string", jwt(`{"exp":"1700000000"}`), 0},
		{"ECR without it", ecr(`{"payload":"x"}`), 0},
		{"base64 of something else", ecr("user:password"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Expiry(tt.secret)
			if ok != (tt.want != 0) || ok && got.Unix() != tt.want {
				t.Errorf("Expiry = %v %v, want %d", got, ok, tt.want)
			}
		})
	}
}

func FuzzExpiry(f *testing.F) {
	f.Add("e30.eyJleHAiOjE3MDAwMDAwMDB9.sig")
	f.Add(base64.StdEncoding.EncodeToString([]byte(`{"expiration":1700000000}`)))
	f.Fuzz(func(t *testing.T, s string) {
		if at, ok := Expiry(s); ok && at.Unix() < 0 {
			t.Errorf("Expiry(%q) = %v", s, at)
		}
	})
}
