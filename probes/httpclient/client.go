package httpclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// QuestionTimeout bounds a request that the runtime does not send.
const QuestionTimeout = time.Second

// MaxRedirects is how many redirects the runtime follows.
const MaxRedirects = 10

// Client sends the requests for one host. It goes only to the address that
// the checks before found good, or, for a token service or a redirect target,
// to addresses of that name which pass the guard; through the node's proxy if
// there is one for the host.
type Client struct {
	prober *connect.Prober
	host   runtimeconfig.Host
	addr   netip.AddrPort // of host, checked; invalid behind a proxy
	budget *Budget
	http   *http.Client

	idle atomic.Pointer[connect.IdleConn] // for the first request; nil: there is none, or it was used

	// AddressOf returns the checked address of a target other than the host; false: it
	// was not checked. Nil: none was.
	AddressOf func(target string) (netip.AddrPort, bool)

	// strict verifies certificates even if the host has skip_verify: for
	// credentials to any other host.
	strict  *http.Client
	proxies sync.Map // addresses of the proxies that proxyFor returned

	refused refusedLogins
}

// New returns a client for a host at an address.
func New(p *connect.Prober, h runtimeconfig.Host, addr netip.AddrPort, b *Budget) *Client {
	c := &Client{prober: p, host: h, addr: addr, budget: b}
	roots := p.RootsFor(h)
	if roots == nil {
		roots = x509.NewCertPool() // unknown: trust no certificate; not those that this process trusts
	}
	config := &tls.Config{RootCAs: roots, Certificates: h.Certificates, InsecureSkipVerify: h.SkipVerify}
	c.http = c.newHTTP(config)
	c.strict = c.http
	if h.SkipVerify {
		strict := config.Clone()
		strict.InsecureSkipVerify = false
		c.strict = c.newHTTP(strict)
	}
	return c
}

// NewWithTransport returns a client that sends its requests through a transport instead of
// the network, for tests.
func NewWithTransport(p *connect.Prober, h runtimeconfig.Host, b *Budget, transport http.RoundTripper) *Client {
	do := &http.Client{Transport: transport}
	return &Client{prober: p, host: h, budget: b, http: do, strict: do}
}

func (c *Client) newHTTP(config *tls.Config) *http.Client {
	limits := c.prober.Limits.WithDefaults()
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  c.proxyFor,
			DialContext:            c.dialContext,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    limits.TLS,
			ResponseHeaderTimeout:  limits.HTTP,
			MaxResponseHeaderBytes: connect.MaxHeaderBytes,
			DisableCompression:     true,
			OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
				if resp.StatusCode != http.StatusOK {
					return connect.ProxyAnswer(resp.StatusCode, resp.Header)
				}
				return nil
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// idleTTL is how long a connection may be idle between the handshake and the
// request: a server closes it after a while, which would look like a fault.
const idleTTL = time.Second

// Reuse makes the first request use a connection; nil: there is none.
func (c *Client) Reuse(conn *connect.IdleConn) { c.idle.Store(conn) }

// reuseIdle returns a client for one request over the connection of the TLS check;
// nil if there is none that is fresh.
func (c *Client) reuseIdle() *http.Client {
	g := c.idle.Swap(nil)
	if g == nil || time.Since(g.Since) > idleTTL {
		g.Close()
		return nil
	}
	once := c.newHTTP(nil)
	t := once.Transport.(*http.Transport)
	t.DialTLSContext = func(context.Context, string, string) (net.Conn, error) { return g.Conn, nil }
	t.DisableKeepAlives = true // no other request uses it
	return once
}

// Close ends idle connections.
func (c *Client) Close() {
	c.idle.Swap(nil).Close()
	c.http.CloseIdleConnections()
	c.strict.CloseIdleConnections()
}

func (c *Client) proxyFor(req *http.Request) (*url.URL, error) {
	proxy, err := c.prober.Proxy.For(req.URL.Scheme, req.URL.Host)
	if err != nil {
		return nil, connect.ProxyUnreachable(err)
	}
	if proxy != nil {
		c.proxies.Store(connect.ProxyAddress(proxy), true)
	}
	return proxy, nil
}

// Blocked returns why nothing may be sent to a host, as far as its name tells: a
// proxy hides its address. It is nil if something may be sent.
func (c *Client) Blocked(hostport, scheme string) error {
	name, port := runtimeconfig.SplitHost(hostport, scheme)
	loopback := hostport == c.host.Host && c.prober.LoopbackAllowed(c.host)
	reason := c.prober.Guard.Name(name, port, loopback)
	if reason == "" {
		return nil
	}
	return &connect.BlockedError{Reason: readable.Clean(name, 80) + " is " + string(reason)}
}

// dialContext connects to the transport's target: the host's checked address, the
// token service's, the proxy, or another host if the guard permits.
func (c *Client) dialContext(ctx context.Context, network, target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.prober.Limits.WithDefaults().Dial)
	defer cancel()
	if c.addr.IsValid() && target == c.host.Address() {
		return connect.NewDialer().DialContext(ctx, network, c.addr.String())
	}
	if c.AddressOf != nil {
		if addr, ok := c.AddressOf(target); ok {
			return new(net.Dialer).DialContext(ctx, network, addr.String())
		}
	}
	if _, ok := c.proxies.Load(target); ok {
		conn, err := c.prober.DialName(ctx, target, nil)
		if err != nil {
			return nil, connect.ProxyUnreachable(err)
		}
		return conn, nil
	}
	return c.prober.DialName(ctx, target, &c.prober.Guard)
}

// Request is one HTTP request.
type Request struct {
	Method    string
	URL       string
	Header    http.Header // without secrets
	By        Login       // sent over TLS, and not along a redirect to another host
	form      url.Values  // body; has secrets
	Limit     int64       // bytes of the body that are read
	FirstByte bool        // of a successful answer, read one byte only
	Question  bool        // the runtime does not send it: its answer is evidence
	Anonymous bool        // without the login that hosts.toml adds, too
	Plain     bool        // without any header that hosts.toml adds
}

// Reply is the answer to a request.
type Reply struct {
	Status  int
	Header  http.Header
	Body    []byte
	Cut     bool   // the body may be longer than what was read
	Encoded string // the Content-Encoding that the body still has; empty: it is readable
	Host    string // that answered in the end
	Hops    int    // redirects followed
	Dropped bool   // the credentials or the headers of hosts.toml were not sent to the host that answered
	NoForm  bool   // a redirect turned the POST into a GET without a login, as it does for the runtime
	Took    time.Duration
	Sent    time.Time // when the last request was sent
	At      time.Time // when the header of its answer arrived

	Complete bool // to a GET of the whole manifest
}

// Send sends r and follows redirects. Over plain HTTP and after a redirect to another
// host it sends neither credentials nor the headers of hosts.toml: the probes are
// stricter here than the runtime, which sends them to subdomains and other ports, too. A
// password that the host refuses is sent to it once.
func (c *Client) Send(ctx context.Context, r Request) (*Reply, error) {
	if !r.By.IsPassword() {
		return c.send(ctx, r)
	}
	return c.refused.unlessRefused(r.By, func() (*Reply, error) { return c.send(ctx, r) })
}

func (c *Client) send(ctx context.Context, r Request) (*Reply, error) {
	timeout := c.prober.Limits.WithDefaults().HTTP
	if r.Question {
		timeout = min(timeout, QuestionTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	target, err := url.Parse(r.URL)
	if err != nil {
		return nil, err
	}
	rep, first := &Reply{}, target
	away := false // a redirect has led to another host
	for {
		if blocked := c.budget.exhausted(target.Host, r.Question); blocked != nil {
			return nil, rep.failed(target, blocked)
		}
		if err := c.Blocked(target.Host, target.Scheme); err != nil {
			return nil, rep.failed(target, err)
		}
		req, err := c.newRequest(ctx, r, target, away)
		if err != nil {
			return nil, err
		}
		rep.Dropped = rep.Dropped || away && r.By.Sent() && !r.By.follows(target) ||
			(away || target.Scheme != "https") && len(c.host.Header) > 0 && !r.Plain
		rep.Sent = time.Now()
		resp, err := c.clientFor(req, target, rep.Hops).Do(req)
		if err != nil {
			return nil, rep.failed(target, connect.MarkUnfinished(ctx, err))
		}
		rep.At = time.Now()
		c.budget.spend(resp, target.Host, r.Question)
		next, err := redirectTarget(resp, target)
		if err == nil && next == nil {
			err = c.read(rep, resp, r)
			rep.Host, rep.Took = target.Host, time.Since(start)
			if err != nil {
				return nil, rep.failed(target, connect.MarkUnfinished(ctx, err))
			}
			return rep, nil
		}
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		if rep.Hops++; rep.Hops > MaxRedirects {
			return nil, &connect.BlockedError{Reason: "more than 10 redirects, where the runtime gives up", Cause: report.RegistryUnavailable}
		}
		if r.Method == http.MethodPost && resp.StatusCode < http.StatusTemporaryRedirect { // 301, 302 and 303, as net/http
			r.Method, r.form, rep.NoForm = http.MethodGet, nil, true
		}
		// A question goes with the login to the runtime's own paths only.
		away = away || r.Question || next.Scheme != first.Scheme || next.Host != first.Host
		target = next
	}
}

// newRequest returns the request for target; away: a redirect has led to another host.
func (c *Client) newRequest(ctx context.Context, r Request, target *url.URL, away bool) (*http.Request, error) {
	secure := target.Scheme == "https"
	var body io.Reader
	if r.form != nil {
		body = strings.NewReader(r.form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if secure && !away && target.Host == c.host.Host && !r.Plain {
		for k, v := range c.host.Header {
			if !r.Anonymous || !isLogin(k) {
				req.Header[k] = append(req.Header[k], v...)
			}
		}
	}
	for k, v := range r.Header {
		req.Header[k] = v
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", connect.UserAgent)
	}
	if err := authorize(req, r, target, away); err != nil {
		return nil, err
	}
	return req, nil
}

// clientFor returns the HTTP client for the request to target, after so many
// redirects.
func (c *Client) clientFor(req *http.Request, target *url.URL, hops int) *http.Client {
	switch own := target.Host == c.host.Host; {
	case !own && carriesLogin(req):
		return c.strict
	case own && hops == 0 && target.Scheme == "https":
		return cmp.Or(c.reuseIdle(), c.http)
	}
	return c.http
}

// read reads the answer within the budget.
func (c *Client) read(rep *Reply, resp *http.Response, r Request) (err error) {
	defer resp.Body.Close()
	rep.Status, rep.Header = resp.StatusCode, resp.Header
	limit := r.Limit
	if r.FirstByte && resp.StatusCode < 300 {
		limit = 1
	}
	rep.Body, rep.Cut, err = c.budget.read(resp.Body, limit)
	rep.decode(limit)
	return err
}

// RedirectError is a failure at a host that another one redirected to.
type RedirectError struct {
	Host string
	err  error
}

func (e *RedirectError) Error() string { return "redirect to " + e.Host + ": " + e.err.Error() }
func (e *RedirectError) Unwrap() error { return e.err }

func (r *Reply) failed(at *url.URL, err error) error {
	if r.Hops == 0 {
		return err
	}
	return &RedirectError{Host: at.Host, err: err}
}

// redirectTarget returns where resp redirects to; nil if it does not.
func redirectTarget(resp *http.Response, from *url.URL) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	location, err := resp.Location()
	if errors.Is(err, http.ErrNoLocation) {
		return nil, nil
	}
	if err != nil {
		return nil, &connect.BlockedError{Reason: "a redirect to something that is not a URL"}
	}
	switch {
	case location.Scheme != "https" && location.Scheme != "http":
		return nil, &connect.BlockedError{Reason: "a redirect to something other than HTTP"}
	case !IsHostName(location.Host):
		return nil, &connect.BlockedError{Reason: "a redirect to something that is not a host"}
	case from.Scheme == "https" && location.Scheme == "http":
		return nil, &connect.BlockedError{Reason: "a redirect from https to http"}
	}
	location.User = nil
	return location, nil
}

// IsHostName reports whether a host, with or without a port, may be part of a
// command line or a sentence: the host of a URL may have characters that no name
// and no address has.
func IsHostName(host string) bool {
	return host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("-._:[]%。．｡", r)
	})
}
