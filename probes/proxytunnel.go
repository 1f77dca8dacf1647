package probes

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// tunnel opens a connection to the client's host through an HTTP proxy by
// CONNECT. For a host by plain HTTP and for a SOCKS proxy it only shows that
// the proxy can be reached, and returns no connection.
func (c *client) tunnel(ctx context.Context, proxy *url.URL) (net.Conn, error) {
	name, port := c.host.split()
	if addr, err := netip.ParseAddr(name); err == nil {
		if reason := refusal(addr, c.loopbackAllowed(c.host.Host)); reason != "" {
			return nil, &refusedError{addr.String() + " is " + reason}
		}
	}
	conn, err := c.node.dialName(ctx, proxyAddress(proxy), func(netip.Addr) string { return "" })
	if err != nil {
		return nil, &proxyError{err: err}
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if proxy.Scheme == "https" {
		roots := x509.NewCertPool()
		if c.node.Roots != nil {
			roots = c.node.Roots.Pool
		}
		secure := tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), RootCAs: roots})
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &proxyError{err: err}
		}
		conn = secure
	}
	if c.host.Scheme != "https" || proxy.Scheme != "http" && proxy.Scheme != "https" {
		conn.Close()
		return nil, nil
	}
	status, err := connect(conn, net.JoinHostPort(name, port), proxy.User)
	if err == nil && status != http.StatusOK {
		err = &proxyError{status: status}
	} else if err != nil {
		err = &proxyError{err: err}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// connect asks the proxy at the other end of conn for a tunnel to target.
func connect(conn net.Conn, target string, user *url.Userinfo) (status int, err error) {
	req := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target,
		Header: http.Header{"User-Agent": {userAgent}},
	}
	if user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return 0, err
	}
	// The server behind a tunnel does not speak before the client does, so that
	// the buffer cannot swallow any of its words.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHeaderBytes)), req) //nolint:bodyclose // of CONNECT: the connection is the body
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}
