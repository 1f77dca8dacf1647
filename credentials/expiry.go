package credentials

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// maxSecret bounds what Expiry looks into, in bytes.
const maxSecret = 64 << 10

// Expiry reads from a password or token until when it is good, if it is of a
// kind that says so: a JSON web token (RFC 7519, exp), as ACR's refresh tokens
// and GitLab's job tokens are, or an ECR password, which is base64 of a JSON
// object with the key expiration. Nothing is verified: whoever issued it may
// end it earlier.
func Expiry(secret string) (time.Time, bool) {
	if len(secret) > maxSecret {
		return time.Time{}, false
	}
	var claims struct {
		Exp        float64 `json:"exp"`
		Expiration float64 `json:"expiration"`
	}
	if parts := strings.Split(secret, "."); len(parts) == 3 {
		text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
		if err != nil || json.Unmarshal(text, &claims) != nil {
			return time.Time{}, false
		}
		return unixTime(claims.Exp)
	}
	text, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || !bytes.HasPrefix(text, []byte("{")) || json.Unmarshal(text, &claims) != nil {
		return time.Time{}, false
	}
	return unixTime(claims.Expiration)
}

// unixTime is a time that fits into a certificate or a token, if it is one.
func unixTime(seconds float64) (time.Time, bool) {
	if !(seconds > 0 && seconds < 1<<40) {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}
