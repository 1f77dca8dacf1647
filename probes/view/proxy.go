package view

import (
	"cmp"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/pullprobe/pullprobe/report"
)

// Proxy is the proxy setting of the runtime's environment, by the rules of
// Go's net/http.
type Proxy struct {
	choose  func(*url.URL) (*url.URL, error)
	ignored map[string]string // by scheme: the variable whose value is not a URL
}

// ReadProxy reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY (either case) from an
// environment.
func ReadProxy(env []string) *Proxy {
	get := func(upper, lower string) string { return cmp.Or(lookupEnv(env, upper), lookupEnv(env, lower)) }
	config := httpproxy.Config{
		HTTPProxy:  get("HTTP_PROXY", "http_proxy"),
		HTTPSProxy: get("HTTPS_PROXY", "https_proxy"),
		NoProxy:    get("NO_PROXY", "no_proxy"),
		CGI:        lookupEnv(env, "REQUEST_METHOD") != "",
	}
	p := &Proxy{choose: config.ProxyFunc(), ignored: map[string]string{}}
	everywhere := httpproxy.Config{HTTPProxy: config.HTTPProxy, HTTPSProxy: config.HTTPSProxy}
	for scheme, set := range map[string]string{"http": config.HTTPProxy, "https": config.HTTPSProxy} {
		if proxy, err := everywhere.ProxyFunc()(&url.URL{Scheme: scheme, Host: "registry.invalid"}); set != "" && proxy == nil && err == nil {
			p.ignored[scheme] = strings.ToUpper(scheme) + "_PROXY"
		}
	}
	return p
}

// Setting returns the proxy for https to hosts that NO_PROXY does not name, without user
// and password; [report.None] if there is none, empty if it is not known. p may be nil.
func (p *Proxy) Setting() string {
	if p == nil {
		return ""
	}
	switch u, err := p.For("https", "registry.invalid"); {
	case err != nil:
		return ""
	case u == nil:
		return report.None
	default:
		return u.Scheme + "://" + u.Host
	}
}

// Ignored returns the variable that the runtime silently ignores because its proxy
// is not a URL; empty if there is none for this scheme. p may be nil.
func (p *Proxy) Ignored(scheme string) string {
	if p == nil {
		return ""
	}
	return p.ignored[scheme]
}

// For returns the proxy for a request to scheme://host; nil: none. An error means
// that the runtime refuses to use the setting (HTTP_PROXY under CGI). p may be nil.
func (p *Proxy) For(scheme, host string) (*url.URL, error) {
	if p == nil {
		return nil, nil
	}
	return p.choose(&url.URL{Scheme: scheme, Host: host})
}
