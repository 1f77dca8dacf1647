package registry

import (
	"mime"

	"net/http"
	"strconv"
	"strings"
)

// totalSize returns the size of the whole blob by the answer; false if the answer
// does not give it. In a Content-Encoding the size is another one.
func totalSize(rep *reply) (int64, bool) {
	if rep.encoded != "" || rep.header.Get("Content-Encoding") != "" {
		return 0, false
	}
	text := rep.header.Get("Content-Length")
	if rep.status != http.StatusOK {
		_, text, _ = strings.Cut(rep.header.Get("Content-Range"), "/") // bytes 0-0/1234 (RFC 9110, 14.4)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil && n >= 0
}

// manifestSize returns the size of the manifest by an answer to HEAD; -1 if the
// answer does not give it.
func manifestSize(rep *reply) int64 {
	n, err := strconv.ParseInt(rep.header.Get("Content-Length"), 10, 64)
	if err != nil || n < 0 || rep.header.Get("Content-Encoding") != "" {
		return -1
	}
	return n
}

// mediaType returns the Content-Type without its parameters, as containerd reads
// it: plain text means Docker's first schema.
func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		t, _, _ = strings.Cut(h.Get("Content-Type"), ";")
	}
	return strings.TrimSpace(t)
}

func isWebPage(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Get("Content-Type"))), "text/html")
}
