package probes

import (
	"net/url"

	"golang.org/x/net/http/httpproxy"
)

// Proxy is the proxy setting of the runtime's environment, by the rules of
// Go's net/http.
type Proxy struct {
	choose func(*url.URL) (*url.URL, error)
}

// ReadProxy reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY (either case) from an
// environment.
func ReadProxy(env []string) *Proxy {
	get := func(upper, lower string) string { return orDefault(lookupEnv(env, upper), lookupEnv(env, lower)) }
	config := httpproxy.Config{
		HTTPProxy:  get("HTTP_PROXY", "http_proxy"),
		HTTPSProxy: get("HTTPS_PROXY", "https_proxy"),
		NoProxy:    get("NO_PROXY", "no_proxy"),
		CGI:        lookupEnv(env, "REQUEST_METHOD") != "",
	}
	return &Proxy{choose: config.ProxyFunc()}
}

// For returns the proxy for a request to scheme://host, nil for none. An error
// means that the setting does not parse; the runtime fails on it too.
func (p *Proxy) For(scheme, host string) (*url.URL, error) {
	if p == nil {
		return nil, nil
	}
	return p.choose(&url.URL{Scheme: scheme, Host: host})
}
