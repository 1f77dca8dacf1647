//go:build matrix

package matrix

import (
	"cmp"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/pullprobe/pullprobe/lab"
)

// host is one registry as clients see it: a random name and port, addresses, a
// certificate, and behind them the real registry, unless a row sets a fault. Rows may
// change everything while it serves.
type host struct {
	s        *scene
	name     string
	port     int
	addrs    []netip.Addr
	registry http.Handler // forwards to the registry
	connListener
	mu         sync.Mutex
	listeners  map[netip.Addr]net.Listener
	handleConn func(net.Conn) // handles a connection
	handler    http.Handler
	tls        *tls.Config
	cost       cost
}

// cost counts what the product requested from a host.
type cost struct {
	requests  int
	manifests int   // GETs
	bytes     int64 // of headers and bodies sent
}

// hostOptions are the properties that cannot be changed later. The comments give the
// defaults.
type hostOptions struct {
	name         string
	port         int          // 443 or another, at random
	addrs        []netip.Addr // one of private4
	notListening bool         // nothing listens
	notInDNS     bool         // no resolver knows the name
}

// host makes a healthy registry host.
func (s *scene) host(o hostOptions) *host {
	s.t.Helper()
	h := &host{
		s: s, name: o.name, port: o.port, addrs: o.addrs,
		listeners:    map[netip.Addr]net.Listener{},
		connListener: connListener{make(chan net.Conn), make(chan struct{})},
	}
	if h.name == "" {
		h.name = s.w.name()
	}
	if h.port == 0 {
		if h.port = 443; randomNumber(2) == 0 {
			h.port = int(1024 + randomNumber(40000))
		}
	}
	if h.addrs == nil {
		h.addrs = []netip.Addr{s.w.addr(private4)}
	}
	h.registry = lab.RegistryProxy(s.w.registry)
	h.handler = h.registry
	h.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: h.name}))
	h.setConnHandler(nil)
	server := &http.Server{Handler: http.HandlerFunc(h.serve), ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(h.connListener)
	s.t.Cleanup(func() { server.Close() })
	if !o.notInDNS {
		s.w.setDNS(h.name, lab.Answer{Addrs: h.addrs})
	}
	if !o.notListening {
		h.listen()
	}
	s.t.Cleanup(h.stopListening)
	s.hosts = append(s.hosts, h)
	return h
}

// String returns the host as in an image name.
func (h *host) String() string {
	if h.port == 443 {
		return h.name
	}
	return h.name + ":" + h.portText()
}

func (h *host) portText() string { return strconv.Itoa(h.port) }

// addrPort returns the i-th address with the port, as in check ids.
func (h *host) addrPort(i int) string {
	return netip.AddrPortFrom(h.addrs[i], uint16(h.port)).String()
}

// image returns the name of an image of this host.
func (h *host) image(repository, tag string) string {
	if strings.HasPrefix(tag, "sha256:") {
		return h.String() + "/" + repository + "@" + tag
	}
	return h.String() + "/" + repository + ":" + tag
}

// listen listens on the given addresses, or on all.
func (h *host) listen(addrs ...netip.Addr) {
	h.s.t.Helper()
	if addrs == nil {
		addrs = h.addrs
	}
	for _, a := range addrs {
		l, err := h.s.w.listen(netip.AddrPortFrom(a, uint16(h.port)).String())
		must(h.s.t, err)
		h.mu.Lock()
		h.listeners[a] = l
		h.mu.Unlock()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				h.mu.Lock()
				conduct := h.handleConn
				h.mu.Unlock()
				go conduct(c)
			}
		}()
	}
}

// stopListening closes all listeners, so that connections are refused.
func (h *host) stopListening() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for a, l := range h.listeners {
		l.Close()
		delete(h.listeners, a)
	}
}

// setConnHandler sets the handler of new connections. nil means HTTP over TLS.
func (h *host) setConnHandler(f func(*host, net.Conn)) {
	if f == nil {
		f = serveTLS
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handleConn = func(c net.Conn) { f(h, c) }
}

func serveTLS(h *host, c net.Conn) {
	h.mu.Lock()
	config := h.tls
	h.mu.Unlock()
	h.deliver(tls.Server(c, config))
}

// setCertificate sets the certificate.
func (h *host) setCertificate(cert tls.Certificate) {
	h.setTLS(&tls.Config{Certificates: []tls.Certificate{cert}})
}

// setTLS sets the whole TLS configuration.
func (h *host) setTLS(c *tls.Config) {
	c.NextProtos = []string{"http/1.1"}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tls = c
}

// setFault puts a fault between client and registry. nil removes it.
func (h *host) setFault(fault func(next http.Handler) http.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.handler = h.registry; fault != nil {
		h.handler = fault(h.registry)
	}
}

// productAgent is the product's user agent.
const productAgent = "pullprobe"

func (h *host) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	handler := h.handler
	h.mu.Unlock()
	by := h.s.log.client(r)
	if h.s.log.isDown(h.String(), by) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	readForm(r)
	original := r.Clone(r.Context()) // handlers may change the path
	counted := &counter{ResponseWriter: w}
	defer func() { h.s.log.add(h.String(), by, original, cmp.Or(counted.status, http.StatusOK), counted.Header()) }()
	defer func() {
		if by != byProduct {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.cost.requests++
		h.cost.bytes += counted.bytes
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
			h.cost.manifests++
		}
	}()
	handler.ServeHTTP(counted, r)
}

// counter counts the bytes that are sent.
type counter struct {
	http.ResponseWriter
	bytes  int64
	status int
}

func (c *counter) WriteHeader(status int) {
	c.status = status
	for k, values := range c.Header() {
		for _, v := range values {
			c.bytes += int64(len(k) + len(v) + 4)
		}
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.bytes += int64(n)
	return n, err
}

func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// takeCost returns what the product has requested from this host since the last call.
func (h *host) takeCost() cost {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.cost
	h.cost = cost{}
	return c
}

// connListener is a net.Listener that returns the connections passed to deliver.
type connListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (i connListener) deliver(c net.Conn) {
	select {
	case i.conns <- c:
	case <-i.closed:
		c.Close()
	}
}

func (i connListener) Accept() (net.Conn, error) {
	select {
	case c := <-i.conns:
		return c, nil
	case <-i.closed:
		return nil, net.ErrClosed
	}
}

func (i connListener) Close() error   { close(i.closed); return nil }
func (i connListener) Addr() net.Addr { return &net.TCPAddr{} }

// Other handlers of connections.

func servePlainHTTP(h *host, c net.Conn) { h.deliver(c) }

// closeConn closes the connection. It reads first: with unread data the close would be a
// reset.
func closeConn(_ *host, c net.Conn) {
	c.Read(make([]byte, 16<<10))
	c.Close()
}

// resetConn resets the connection. It reads first, because an earlier reset may reach the
// client before it is connected.
func resetConn(_ *host, c net.Conn) {
	c.Read(make([]byte, 16<<10))
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// holdConn sends nothing and waits until the client closes the connection.
func holdConn(_ *host, c net.Conn) {
	defer c.Close()
	io.Copy(io.Discard, c)
}
