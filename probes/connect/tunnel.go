package connect

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// tunnel opens a connection to h through a proxy, by CONNECT or
// by SOCKS5. For a host by plain HTTP behind an HTTP proxy it only shows that the
// proxy can be reached, and returns no connection.
func (p *Prober) Tunnel(ctx context.Context, h runtimeconfig.Host, proxy *url.URL) (net.Conn, error) {
	name, port := h.Split()
	conn, err := p.DialName(ctx, ProxyAddress(proxy), nil)
	if err != nil {
		return nil, &ProxyError{err: err}
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if proxy.Scheme == "https" {
		roots := x509.NewCertPool()
		if p.Roots != nil {
			roots = p.Roots.Pool
		}
		secure := tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), RootCAs: roots})
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &ProxyError{err: err, step: "tls"}
		}
		conn = secure
	}
	switch {
	case proxy.Scheme == "socks5" || proxy.Scheme == "socks5h":
		err = socksConnect(conn, name, port, proxy.User)
	case h.Scheme != "https":
		conn.Close()
		return nil, nil
	default:
		err = connect(conn, net.JoinHostPort(name, port), proxy.User)
	}
	if err != nil {
		conn.Close()
		var answered *ProxyError
		if !errors.As(err, &answered) {
			err = &ProxyError{err: err, step: "connect"}
		}
		return nil, err
	}
	return conn, nil
}

// connect asks the proxy at the other end of conn for a tunnel to target.
func connect(conn net.Conn, target string, user *url.Userinfo) error {
	req := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target,
		Header: http.Header{"User-Agent": {UserAgent}},
	}
	if user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	// The server behind a tunnel does not speak before the client does, so that
	// the buffer cannot swallow any of its words.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, MaxHeaderBytes)), req) //nolint:bodyclose // of CONNECT: the connection is the body
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return ProxyAnswer(resp.StatusCode, resp.Header)
	}
	return nil
}

// proxyAnswer is a proxy's refusal, with what it says of the reason.
func ProxyAnswer(status int, h http.Header) *ProxyError {
	return &ProxyError{status: status, says: cmp.Or(h.Get("X-Squid-Error"), h.Get("Proxy-Status"))}
}

// proxyFault reads what a proxy says of the reason: Squid's X-Squid-Error, its
// page and the system's error number, or the error of a Proxy-Status (RFC 9209
// section 2.3).
func proxyFault(f *Failure, says string) {
	word, number, _ := strings.Cut(says, " ")
	errno, err := strconv.Atoi(number)
	known, ok := errnoFaults[syscall.Errno(errno)]
	switch {
	case word == "ERR_CONNECT_FAIL" && err == nil && ok:
		f.inner(known.cause, known.words)
		return
	case word == "ERR_DNS_FAIL":
		f.inner(report.HostNotFound, "name not resolved")
		return
	}
	for _, part := range strings.Split(says, ";") {
		switch key, value, _ := strings.Cut(strings.TrimSpace(part), "="); {
		case key != "error":
		case value == "dns_error" || value == "dns_timeout":
			f.inner(report.HostNotFound, "name not resolved")
		case value == "connection_refused":
			f.inner(report.ConnectionRefused, "connection refused")
		case value == "connection_timeout":
			f.inner(report.ConnectionTimeout, "connection timed out")
		case value == "destination_ip_unroutable":
			f.inner(report.NetworkUnreachable, "no route")
		}
	}
}
