package probes

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"
)

// host is one place that the runtime asks for an image: a mirror, or the
// registry itself.
type host struct {
	Scheme       string // of the first request
	Host         string // name, and port if one is given
	Path         string // prefix of the registry API, "/v2"
	Capabilities capability
	SkipVerify   bool        // certificates are not verified
	HTTPFallback bool        // asked by https first, then by http if it does not speak TLS
	Header       http.Header // sent with every request; may hold secrets
	DialTimeout  time.Duration

	blobsOnly   bool              // asked for content, but not what a tag stands for
	configured  bool              // named in hosts.toml
	foreign     bool              // named by a server, not by the node or the image
	explicitTLS bool              // TLS settings are given for it
	caFiles     []string          // further authorities of this host
	clients     [][2]string       // client certificate and key files; an empty key is in the first file
	extraRoots  []byte            // PEM text of caFiles
	certs       []tls.Certificate // of clients
}

// capability is what a host may be asked for, with the values of containerd's
// docker.HostCapabilities.
type capability uint8

const (
	canPull capability = 1 << iota
	canResolve
	canPush
	canReferrers
	canAll = canPull | canResolve | canPush | canReferrers
)

// serves reports whether the runtime asks h for an image, by tag or by digest.
func (h host) serves(byTag bool) bool {
	need := canPull
	if byTag {
		need |= canResolve
	}
	return h.Capabilities&need == need
}

// name is the host as the checks call it: the port only where it is not the
// scheme's own.
func (h host) name() string {
	if name, port, err := net.SplitHostPort(h.Host); err == nil &&
		(h.Scheme == "https" && port == "443" || h.Scheme == "http" && port == "80") {
		if strings.Contains(name, ":") {
			return "[" + name + "]"
		}
		return name
	}
	return h.Host
}

// split returns the bare name or literal address, and the port to dial.
func (h host) split() (name, port string) { return splitHost(h.Host, h.Scheme) }

func splitHost(hostport, scheme string) (name, port string) {
	name, port, err := net.SplitHostPort(hostport)
	if err != nil {
		name, port = strings.Trim(hostport, "[]"), ""
	}
	if port == "" {
		port = "443"
		if scheme == "http" {
			port = "80"
		}
	}
	return name, port
}

// address returns name and port to dial.
func (h host) address() string { return net.JoinHostPort(h.split()) }

// isMirrorOf says whether h is asked on behalf of domain, by containerd's rule
// (RegistryHost.isProxy); such requests carry the domain as ?ns=.
func (h host) isMirrorOf(domain string) bool {
	return h.Host != domain && (domain != "docker.io" || h.Host != "registry-1.docker.io")
}

// isLocalhost is containerd's docker.IsLocalhost.
func isLocalhost(hostport string) bool {
	name := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		name = h
	}
	return name == "localhost" || net.ParseIP(name).IsLoopback()
}

// referral returns a host that h, not the node or the image, names.
func (h host) referral(scheme, hostport string) host {
	h.Scheme, h.Host, h.Path, h.Header = scheme, hostport, "", nil
	h.configured, h.HTTPFallback, h.foreign, h.blobsOnly = false, false, true, false
	return h
}
