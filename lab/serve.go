package lab

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Behind the names of the zone are three CNCF distribution registries with one storage,
// on infra's loopback: open, htpasswd, token. In front of them are listeners that add
// certificate, speed, faults and access log. So all names and faults share one log and
// the behavior of a real registry.

// backends returns the loopback addresses of the registries, by how a host serves.
func backends() map[string]string {
	return map[string]string{
		serveOpen:  "127.0.0.1:" + registryPort,
		serveAuth:  "127.0.0.1:5002",
		serveToken: "127.0.0.1:5003",
	}
}

// tokenRealm is the token service to which the token registry refers; tokenService is
// its name.
const (
	tokenRealm   = "https://token.lab:5001/token"
	tokenService = "token.lab"
)

// slowRate is the speed of blobs from slow.lab, in bytes per second.
const slowRate = 1 << 20

// Request is one line of the access log.
type Request struct {
	Time      time.Time `json:"time"` // when it arrived
	Host      string    `json:"host"` // the Host header, without port
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Query     string    `json:"query,omitempty"`
	Range     string    `json:"range,omitempty"`
	Auth      string    `json:"auth,omitempty"` // "Basic <user>", "Form <user>", "Bearer", or empty
	Status    int       `json:"status"`         // 0: the client closed the connection before the response
	Bytes     int64     `json:"bytes"`          // of the body sent
	Millis    int64     `json:"millis"`
	Remote    string    `json:"remote"`
	Proto     string    `json:"proto"`
	UserAgent string    `json:"userAgent"`
}

// startListeners starts the listeners of all Hosts.
func startListeners(d Dir, access *jsonLog, errors *log.Logger) error {
	tokens, err := newTokenService(d)
	if err != nil {
		return err
	}
	byAddr := map[netip.Addr][]Host{}
	for _, h := range Hosts() {
		for _, a := range h.Addrs() {
			byAddr[a] = append(byAddr[a], h)
		}
	}
	for addr, hosts := range byAddr {
		h := hosts[0] // all hosts of one address are served alike
		where := netip.AddrPortFrom(addr, 443).String()
		switch h.serve {
		case serveNothing:
			continue
		case serveClose:
			err = serveTCP(where, func(c net.Conn) { c.Close() })
		case serveHang:
			err = serveTCP(where, func(c net.Conn) { io.Copy(io.Discard, c) })
		default:
			err = serveHTTP(d, where, h.cert, withAccessLog(access, handlerFor(h)), errors)
		}
		if err == nil && h.serve == serveToken {
			err = serveHTTP(d, netip.AddrPortFrom(addr, 5001).String(), h.cert, withAccessLog(access, tokens), errors)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return nil
}

func handlerFor(h Host) http.Handler {
	switch h.serve {
	case serveFault:
		return faultHandler(backends()[serveOpen])
	case serveAuth, serveToken:
		return RegistryProxy(backends()[h.serve])
	case serveSlow:
		return paceBlobs(RegistryProxy(backends()[serveOpen]))
	case serveRedirect:
		return RedirectBlobs(RegistryProxy(backends()[serveOpen]), "blobs.lab")
	default:
		return RegistryProxy(backends()[serveOpen])
	}
}

// serveHTTP listens and serves in the background: TLS with the key pair cert, or plain
// HTTP if cert is empty.
func serveHTTP(d Dir, addr, cert string, h http.Handler, errors *log.Logger) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ErrorLog: errors}
	if cert == "" {
		go s.Serve(l)
		return nil
	}
	pair, err := tls.LoadX509KeyPair(d.PKI(cert+".crt"), d.PKI(cert+".key"))
	if err != nil {
		return err
	}
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	go s.ServeTLS(l, "", "")
	return nil
}

func serveTCP(addr string, f func(net.Conn)) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
	return nil
}

// RegistryProxy returns a handler that forwards requests to the registry at addr:
// host:port, or the path of a Unix socket.
func RegistryProxy(addr string) http.Handler {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32}
	backend := &url.URL{Scheme: "http", Host: addr}
	if strings.HasPrefix(addr, "/") {
		backend.Host = "registry"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", addr)
		}
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(backend)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // clients that close the connection early
	}
}

// IsBlob reports whether a request fetches the content of a blob.
func IsBlob(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:")
}

// paceBlobs limits the speed of blobs to slowRate.
func paceBlobs(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if IsBlob(r) {
			w = &pacedWriter{ResponseWriter: w, ctx: r.Context()}
		}
		next.ServeHTTP(w, r)
	})
}

type pacedWriter struct {
	http.ResponseWriter
	ctx context.Context
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		n, err := p.ResponseWriter.Write(b[:min(len(b), 32<<10)])
		written, b = written+n, b[n:]
		if err != nil {
			return written, err
		}
		http.NewResponseController(p.ResponseWriter).Flush()
		select {
		case <-time.After(time.Duration(n) * time.Second / slowRate):
		case <-p.ctx.Done():
			return written, p.ctx.Err()
		}
	}
	return written, nil
}

func (p *pacedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// RedirectBlobs redirects requests for blobs to another host, as registries with an
// object store do.
func RedirectBlobs(next http.Handler, to string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if IsBlob(r) {
			http.Redirect(w, r, "https://"+to+r.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// withAccessLog logs each request when it has ended.
func withAccessLog(access *jsonLog, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &responseRecorder{ResponseWriter: w}
		defer func() {
			access.write(Request{
				Time: began, Host: hostOnly(r.Host), Method: r.Method, Path: r.URL.Path, Query: loggedQuery(r),
				Range: r.Header.Get("Range"), Auth: authKind(r), Status: rec.status, Bytes: rec.bytes,
				Millis: time.Since(began).Milliseconds(), Remote: r.RemoteAddr, Proto: r.Proto, UserAgent: r.UserAgent(),
			})
		}()
		next.ServeHTTP(rec, r)
	})
}

// loggedQuery returns the query of the URL, or the scope in the form that containerd
// sends to a token service.
func loggedQuery(r *http.Request) string {
	if scope := r.PostForm["scope"]; scope != nil {
		return url.Values{"scope": scope}.Encode()
	}
	return r.URL.RawQuery
}

// authKind returns the kind of credentials and the user, without any secret.
func authKind(r *http.Request) string {
	if user, _, ok := r.BasicAuth(); ok {
		return "Basic " + user
	}
	if user := r.PostForm.Get("username"); user != "" {
		return "Form " + user
	}
	kind, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return kind
}

func hostOnly(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return hostport
}

type responseRecorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *responseRecorder) WriteHeader(status int) {
	if status >= 200 && r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *responseRecorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

func (r *responseRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
