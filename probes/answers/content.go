package answers

import (
	"mime"

	"net/http"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/probes/httpclient"
)

// TotalSize returns the size of the whole blob by the answer; false if the answer
// does not give it. In a Content-Encoding the size is another one.
func TotalSize(rep *httpclient.Reply) (int64, bool) {
	if rep.Encoded != "" || rep.Header.Get("Content-Encoding") != "" {
		return 0, false
	}
	text := rep.Header.Get("Content-Length")
	if rep.Status != http.StatusOK {
		_, text, _ = strings.Cut(rep.Header.Get("Content-Range"), "/") // bytes 0-0/1234 (RFC 9110, 14.4)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil && n >= 0
}

// ManifestSize returns the size of the manifest by an answer to HEAD; -1 if the
// answer does not give it.
func ManifestSize(rep *httpclient.Reply) int64 {
	n, err := strconv.ParseInt(rep.Header.Get("Content-Length"), 10, 64)
	if err != nil || n < 0 || rep.Header.Get("Content-Encoding") != "" {
		return -1
	}
	return n
}

// MediaType returns the Content-Type without its parameters, as containerd reads
// it: plain text means Docker's first schema.
func MediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		t, _, _ = strings.Cut(h.Get("Content-Type"), ";")
	}
	return strings.TrimSpace(t)
}

// IsWebPage reports whether an answer is HTML by its Content-Type.
func IsWebPage(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Get("Content-Type"))), "text/html")
}
