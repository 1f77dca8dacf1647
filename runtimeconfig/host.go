package runtimeconfig

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Host is one host that the runtime contacts for an image: a mirror, or the registry
// itself.
type Host struct {
	Scheme       string // of the first request
	Host         string // name, and port if one is given
	Path         string // prefix of the registry API, "/v2"
	Capabilities capability
	SkipVerify   bool        // certificates are not verified
	HTTPFallback bool        // https first, then http if the host does not speak TLS
	Header       http.Header // sent with every request; may have secrets
	DialTimeout  time.Duration

	BlobsOnly    bool              // the runtime requests blobs from it, but does not resolve tags there
	Configured   bool              // it is in the node's configuration
	Foreign      bool              // a server named it, not the node or the image
	ExplicitTLS  bool              // it has TLS settings of its own
	CAFiles      []string          // files with additional authorities for this host
	ExtraCAs     []byte            // PEM text of CAFiles
	Certificates []tls.Certificate // of clients
	clients      [][2]string       // client certificate and key files; an empty key is in the first file
}

// capability is what a host may be used for, with the values of containerd's
// docker.HostCapabilities.
type capability uint8

const (
	canPull capability = 1 << iota
	canResolve
	canPush
	canReferrers
	canAll = canPull | canResolve | canPush | canReferrers
)

// Serves reports whether the runtime asks h for an image, by tag or by digest.
func (h Host) Serves(byTag bool) bool {
	need := canPull
	if byTag {
		need |= canResolve
	}
	return h.Capabilities&need == need
}

// Name returns the host as the checks name it: with the port only where it is not
// the scheme's default.
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

// Split returns the bare name or literal address, and the port to dial.
func (h Host) Split() (name, port string) { return SplitHost(h.Host, h.Scheme) }

// SplitHost splits a host with or without a port into the bare name or literal
// address and the port to dial.
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

// Address returns name and port to dial.
func (h Host) Address() string { return net.JoinHostPort(h.Split()) }

// IsMirrorOf reports whether h is contacted on behalf of domain, by containerd's rule
// (RegistryHost.isProxy); such requests have the domain as ?ns=.
func (h Host) IsMirrorOf(domain string) bool {
	return !report.Serves(h.Host, domain)
}

// IsLocalhost is containerd's docker.IsLocalhost.
func IsLocalhost(hostport string) bool {
	name := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		name = h
	}
	return name == "localhost" || net.ParseIP(name).IsLoopback()
}

// Referral returns a host that h, not the node or the image, names.
func (h Host) Referral(scheme, hostport string) Host {
	h.Scheme, h.Host, h.Path, h.Header = scheme, hostport, "", nil
	h.Configured, h.HTTPFallback, h.Foreign, h.BlobsOnly = false, false, true, false
	return h
}
