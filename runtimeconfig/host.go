package runtimeconfig

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"
)

// host is one place that the runtime asks for an image: a mirror, or the
// registry itself.
type Host struct {
	Scheme       string // of the first request
	Host         string // name, and port if one is given
	Path         string // prefix of the registry API, "/v2"
	Capabilities capability
	SkipVerify   bool        // certificates are not verified
	HTTPFallback bool        // asked by https first, then by http if it does not speak TLS
	Header       http.Header // sent with every request; may hold secrets
	DialTimeout  time.Duration

	BlobsOnly    bool              // asked for content, but not what a tag stands for
	Configured   bool              // named in hosts.toml
	Foreign      bool              // named by a server, not by the node or the image
	ExplicitTLS  bool              // TLS settings are given for it
	CAFiles      []string          // further authorities of this host
	clients      [][2]string       // client certificate and key files; an empty key is in the first file
	ExtraCAs     []byte            // PEM text of caFiles
	Certificates []tls.Certificate // of clients
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
func (h Host) Serves(byTag bool) bool {
	need := canPull
	if byTag {
		need |= canResolve
	}
	return h.Capabilities&need == need
}

// name is the host as the checks call it: the port only where it is not the
// scheme's own.
func (h Host) Name() string {
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
func (h Host) Split() (name, port string) { return SplitHost(h.Host, h.Scheme) }

func SplitHost(hostport, scheme string) (name, port string) {
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
func (h Host) Address() string { return net.JoinHostPort(h.Split()) }

// isMirrorOf says whether h is asked on behalf of domain, by containerd's rule
// (RegistryHost.isProxy); such requests carry the domain as ?ns=.
func (h Host) IsMirrorOf(domain string) bool {
	return h.Host != domain && (domain != "docker.io" || h.Host != "registry-1.docker.io")
}

// isLocalhost is containerd's docker.IsLocalhost.
func IsLocalhost(hostport string) bool {
	name := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		name = h
	}
	return name == "localhost" || net.ParseIP(name).IsLoopback()
}

// referral returns a host that h, not the node or the image, names.
func (h Host) Referral(scheme, hostport string) Host {
	h.Scheme, h.Host, h.Path, h.Header = scheme, hostport, "", nil
	h.Configured, h.HTTPFallback, h.Foreign, h.BlobsOnly = false, false, true, false
	return h
}
