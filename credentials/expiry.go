package credentials

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"time"
)

// Expiry is when a password stops working, if it tells: the exp claim of a JSON
// web token (RFC 7519, 4.1.4; Azure and GitLab give such ones), or the
// expiration in the password that ECR gives, base64 of a JSON object, twelve
// hours after it was made (GetAuthorizationToken). The registry decides, and
// nothing is verified here.
func Expiry(password string) (time.Time, bool) {
	const longest = 16 << 10
	if len(password) > longest {
		return time.Time{}, false
	}
	if parts := strings.Split(password, "."); len(parts) == 3 {
		var claims struct {
			Exp *float64 `json:"exp"`
		}
		text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
		if err != nil || json.Unmarshal(text, &claims) != nil {
			return time.Time{}, false
		}
		return instant(claims.Exp)
	}
	var ecr struct {
		Payload    string   `json:"payload"`
		Expiration *float64 `json:"expiration"`
	}
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(password, "="))
	if err != nil || json.Unmarshal(text, &ecr) != nil || ecr.Payload == "" {
		return time.Time{}, false
	}
	return instant(ecr.Expiration)
}

// instant is a number of seconds since 1970, if it is one that a clock may show.
func instant(seconds *float64) (time.Time, bool) {
	const year3000 = 32503680000
	if seconds == nil || math.IsNaN(*seconds) || *seconds <= 0 || *seconds > year3000 {
		return time.Time{}, false
	}
	return time.Unix(int64(*seconds), 0).UTC(), true
}
