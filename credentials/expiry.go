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
	if strings.Count(secret, ".") == 2 {
		at := TokenTimes(secret).Expires
		return at, !at.IsZero()
	}
	var ecr struct {
		Expiration float64 `json:"expiration"`
	}
	text, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || !bytes.HasPrefix(text, []byte("{")) || json.Unmarshal(text, &ecr) != nil {
		return time.Time{}, false
	}
	at := unixTime(ecr.Expiration)
	return at, !at.IsZero()
}

// Times are the registered claims of a JSON web token that are times (RFC 7519,
// 4.1); zero where it does not say.
type Times struct{ Issued, NotBefore, Expires time.Time }

// TokenTimes reads the times of a JSON web token; of anything else there are
// none. Nothing is verified.
func TokenTimes(token string) Times {
	var claims struct {
		Issued    float64 `json:"iat"`
		NotBefore float64 `json:"nbf"`
		Expires   float64 `json:"exp"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxSecret {
		return Times{}
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return Times{}
	}
	return Times{Issued: unixTime(claims.Issued), NotBefore: unixTime(claims.NotBefore), Expires: unixTime(claims.Expires)}
}

// unixTime is the time of so many seconds if it fits into a certificate or a
// token, else zero.
func unixTime(seconds float64) time.Time {
	if !(seconds > 0 && seconds < 1<<40) {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
