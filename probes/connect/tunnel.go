package connect

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Tunnel opens a connection to h through a proxy, by CONNECT or by SOCKS5. For a
// host by plain HTTP behind an HTTP proxy it only checks that the proxy is
// reachable, and returns no connection.
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
		err = requestTunnel(conn, net.JoinHostPort(name, port), proxy.User)
	}
	if err != nil {
		conn.Close()
		if !errors.As(err, new(*ProxyError)) {
			err = &ProxyError{err: err, step: "connect"}
		}
		return nil, err
	}
	return conn, nil
}

// requestTunnel requests a tunnel to target from the proxy at the other end of
// conn.
func requestTunnel(conn net.Conn, target string, user *url.Userinfo) error {
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
	// The server behind a tunnel sends nothing before the client does, so that the
	// buffer cannot swallow any of its bytes.
	header := bufio.NewReader(io.LimitReader(conn, MaxHeaderBytes))
	resp, err := http.ReadResponse(header, req) //nolint:bodyclose // of CONNECT: the connection is the body
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return ProxyAnswer(resp.StatusCode, resp.Header)
	}
	return nil
}
