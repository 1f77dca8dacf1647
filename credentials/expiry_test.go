package credentials

import (
	"encoding/base64"
	"testing"
	"time"
)

func TestExpiry(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	raw, std := base64.RawURLEncoding.EncodeToString, base64.StdEncoding.EncodeToString
	jwt := func(claims string) string {
		return raw([]byte(`{"alg":"ES256"}`)) + "." + raw([]byte(claims)) + "." + raw([]byte("signature"))
	}
	tests := []struct {
		name, password string
		want           time.Time
	}{
		{"JSON web token", jwt(`{"exp":1795262400,"iat":1}`), at},
		{"with a fraction", jwt(`{"exp":1795262400.5}`), at},
		{"without exp", jwt(`{"iat":1795262400}`), time.Time{}},
		{"exp is a text", jwt(`{"exp":"1795262400"}`), time.Time{}},
		{"exp is out of this world", jwt(`{"exp":1e300}`), time.Time{}},
		{"ECR", std([]byte(`{"payload":"abc","datakey":"def","version":"2","type":"DATA_KEY","expiration":1795262400}`)), at},
		{"base64 of another object", std([]byte(`{"expiration":1795262400}`)), time.Time{}},
		{"password with two dots", "a.b.c", time.Time{}},
		{"password", "hunter2", time.Time{}},
		{"none", "", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Expiry(tt.password)
			if !got.Equal(tt.want) || ok != !tt.want.IsZero() {
				t.Errorf("got %v %v, want %v", got, ok, tt.want)
			}
		})
	}
}

func FuzzExpiry(f *testing.F) {
	f.Add("a.eyJleHAiOjE3OTUyNjI0MDB9.c")
	f.Add("eyJwYXlsb2FkIjoieCIsImV4cGlyYXRpb24iOjE3OTUyNjI0MDB9")
	f.Fuzz(func(t *testing.T, password string) {
		if at, ok := Expiry(password); ok && (at.Year() < 1970 || at.Year() > 3000) {
			t.Errorf("%v", at)
		}
	})
}
