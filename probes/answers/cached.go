package answers

import (
	"net/http"
	"strconv"
	"strings"
)

// Cached returns what shows that a cache gave an answer: its age (RFC 9111 section 5.1), or
// the hit that it names (RFC 9211, and the older X-Cache). Empty: nothing does.
func Cached(h http.Header) string {
	if age, err := strconv.Atoi(strings.TrimSpace(h.Get("Age"))); err == nil && age > 0 {
		return "Age " + strconv.Itoa(age)
	}
	if strings.Contains(strings.ToLower(h.Get("Cache-Status")), "; hit") {
		return "Cache-Status hit"
	}
	if strings.HasPrefix(strings.ToUpper(strings.TrimSpace(h.Get("X-Cache"))), "HIT") {
		return "X-Cache HIT"
	}
	return ""
}
