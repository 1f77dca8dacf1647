package credentials

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// maxTokenBytes bounds the passwords and tokens that are parsed.
const maxTokenBytes = 64 << 10

// Expiry returns when a password or token expires, if its format contains that:
// a JSON web token (RFC 7519, exp), such as ACR's refresh tokens and GitLab's
// job tokens, or an ECR password, which is base64 of a JSON object with the key
// "expiration". Nothing is verified, and the issuer may revoke it earlier.
func Expiry(secret string) (time.Time, bool) {
	if len(secret) > maxTokenBytes {
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

// Times are the time claims of a JSON web token (RFC 7519, 4.1). A claim that
// the token lacks is zero.
type Times struct{ Issued, NotBefore, Expires time.Time }

// TokenTimes returns the time claims of a JSON web token, and none for any
// other text. Nothing is verified.
func TokenTimes(token string) Times {
	var claims struct {
		Issued    float64 `json:"iat"`
		NotBefore float64 `json:"nbf"`
		Expires   float64 `json:"exp"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxTokenBytes {
		return Times{}
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return Times{}
	}
	return Times{
		Issued:    unixTime(claims.Issued),
		NotBefore: unixTime(claims.NotBefore),
		Expires:   unixTime(claims.Expires),
	}
}

// unixTime converts seconds since 1970 into a time. It returns the zero time if
// they are out of any plausible range.
func unixTime(seconds float64) time.Time {
	if !(seconds > 0 && seconds < 1<<40) {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
