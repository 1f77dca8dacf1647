package answers

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/report"
)

// Quota returns the quota that an answer announces, as received: Docker Hub sends it with
// every manifest (docs.docker.com/docker-hub/usage/pulls).
func Quota(h http.Header) evidence.Facts {
	return evidence.Facts{
		report.KeyLimit:     cmp.Or(h.Get("RateLimit-Limit"), h.Get("X-RateLimit-Limit")),
		report.KeyRemaining: cmp.Or(h.Get("RateLimit-Remaining"), h.Get("X-RateLimit-Remaining")),
		report.KeyReset:     cmp.Or(h.Get("RateLimit-Reset"), h.Get("X-RateLimit-Reset")),
	}
}

// StatusText returns "503 Service Unavailable".
func StatusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
}

// RateLimit reads an answer 429. It returns a message, which follows the name of
// the host, and the quota.
func RateLimit(rep *httpclient.Reply) (message string, quota evidence.Facts) {
	quota = Quota(rep.Header)
	quota[report.KeyRetryAfter] = RetryAfter(rep.Header)
	message = "is rate-limiting this node (429"
	if after := quota[report.KeyRetryAfter]; strings.HasSuffix(after, "GMT") {
		message += "; retry after " + after
	} else if after != "" {
		message += "; retry after " + after + " s"
	}
	return message + ")", quota
}

// RetryAfter returns the header Retry-After, seconds or a date (RFC 9110,
// 10.2.3), in one notation; empty if it is anything else. It becomes part of the
// fix.
func RetryAfter(h http.Header) string {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return strconv.FormatUint(n, 10)
	}
	if at, err := http.ParseTime(text); err == nil {
		return at.UTC().Format(http.TimeFormat)
	}
	return ""
}
