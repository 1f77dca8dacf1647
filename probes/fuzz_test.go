package probes

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// FuzzHeaders gives an answer's headers to everything that reads one.
func FuzzHeaders(f *testing.F) {
	f.Add("Sat, 21 Nov 2026 09:00:00 GMT", "60", "bytes 0-0/1234", `Bearer realm="https://a.lab/token",service="s",scope="a b",error="insufficient_scope"`)
	f.Add("Saturday, 21-Nov-26 09:00:00 GMT", "99999999999", "bytes 0-0/*", `Basic realm="x", Bearer realm="::"`)
	f.Add("", "-1", "/-7", `Bearer realm="\",service=`)
	f.Fuzz(func(t *testing.T, date, number, span, challenge string) {
		h := http.Header{"Date": {date}, "Age": {number}, "Retry-After": {number}, "Ratelimit-Limit": {number}, "Content-Range": {span}, "Content-Length": {number}, "Www-Authenticate": {challenge}}
		now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
		if r, ok := readClock("r.lab", h, now, now); ok {
			r.off()
		}
		for _, status := range []int{http.StatusOK, http.StatusPartialContent} {
			if n, ok := totalSize(&reply{status: status, header: h}); ok && n < 0 {
				t.Errorf("a blob of %d bytes", n)
			}
		}
		limits(h).checked()
		if after := retryAfter(h); clean(after, maxValue) != after {
			t.Errorf("retry after %q", after)
		}
		if ch, ok := readChallenge(h); ok {
			if name := ch.serviceHost(); name == "" || len(name) > 80 || clean(name, 80) != name {
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
		if code := storeCode(body); len(code) > 40 || clean(code, 40) != code {
			t.Errorf("code %q", code)
		}
	})
}

// FuzzRoots gives a file of a trust store.
func FuzzRoots(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\na: b\n\n-----END"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := &Roots{Pool: x509.NewCertPool(), dated: map[[sha256.Size]byte]int{}}
		r.add(text, "a", rootFile{name: "a"})
		r.add(text, "b", rootFile{name: "b"})
		if r.Count != len(r.certs) || len(r.files) > 2 {
			t.Errorf("%d certificates of %d in %d files", r.Count, len(r.certs), len(r.files))
		}
	})
}

// FuzzSOCKS gives what a SOCKS5 proxy answers.
func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"), "r.lab", false)
	f.Add([]byte("\x05\x02\x01\x00\x05\x05\x00\x03\x02ab\x00\x00"), "::1", true)
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"), "10.0.0.1", true)
	f.Fuzz(func(t *testing.T, answer []byte, name string, login bool) {
		var user *url.Userinfo
		if login {
			user = url.UserPassword("joe", "secret")
		}
		var refused *proxyError
		if err := socksConnect(&heard{rest: bytes.NewReader(answer)}, name, "443", user); errors.As(err, &refused) {
			socksFault(refused.socks).facts.checked()
		}
	})
}

// heard is a connection at which everything has been said already.
type heard struct {
	net.Conn
	rest io.Reader
}

func (h *heard) Read(b []byte) (int, error)  { return h.rest.Read(b) }
func (h *heard) Write(b []byte) (int, error) { return len(b), nil }
