package answers

import (
	"net/http"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/report/readable"
)

// FuzzHeaders gives an answer's headers to everything that reads one.
func FuzzHeaders(f *testing.F) {
	f.Add("Sat, 21 Nov 2026 09:00:00 GMT", "60", "bytes 0-0/1234", `Bearer realm="https://a.lab/token",service="s",scope="a b",error="insufficient_scope"`)
	f.Add("Saturday, 21-Nov-26 09:00:00 GMT", "99999999999", "bytes 0-0/*", `Basic realm="x", Bearer realm="::"`)
	f.Add("", "-1", "/-7", `Bearer realm="\",service=`)
	f.Fuzz(func(t *testing.T, date, number, span, challenge string) {
		h := http.Header{"Date": {date}, "Age": {number}, "Retry-After": {number}, "Ratelimit-Limit": {number}, "Content-Range": {span}, "Content-Length": {number}, "Www-Authenticate": {challenge}}
		now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
		if r, ok := connect.ReadClock("r.lab", h, now, now); ok {
			r.Off()
		}
		for _, status := range []int{http.StatusOK, http.StatusPartialContent} {
			if n, ok := TotalSize(&httpclient.Reply{Status: status, Header: h}); ok && n < 0 {
				t.Errorf("a blob of %d bytes", n)
			}
		}
		if message, quota := RateLimit(&httpclient.Reply{Header: h}); readable.Clean(message, evidence.MaxValue) != message {
			t.Errorf("message %q, quota %v", message, quota.Checked())
		}
		if ch, ok := ReadChallenge(h); ok {
			if name := ch.ServiceHost(); name == "" || len(name) > 80 || readable.Clean(name, 80) != name {
				t.Errorf("service host %q", name)
			}
		}
	})
}

// FuzzStoreCode gives the answer of an object store.
func FuzzStoreCode(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`))
	f.Add([]byte(`<Error><Code>a</Code><Code>b`))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "c">]><Error><Code>&b;</Code></Error>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if code := StoreCode(body); len(code) > 40 || readable.Clean(code, 40) != code {
			t.Errorf("code %q", code)
		}
	})
}
