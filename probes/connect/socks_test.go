package connect

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"testing"
)

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
		var refused *ProxyError
		if err := socksConnect(&heard{rest: bytes.NewReader(answer)}, name, "443", user); errors.As(err, &refused) {
			socksFailure(refused.socks).Facts.Checked()
		}
	})
}

// heard is a connection at which everything has been said already.
type heard struct {
	net.Conn
	rest io.Reader
}

func (h *heard) Read(b []byte) (int, error) { return h.rest.Read(b) }

func (h *heard) Write(b []byte) (int, error) { return len(b), nil }
