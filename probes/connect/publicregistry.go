package connect

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"
)

// interceptors are makers of products that intercept TLS, as they are named in the
// certificates that these products issue.
func interceptors() []string {
	return []string{
		"Zscaler", "Fortinet", "FortiGate", "Palo Alto Networks", "Blue Coat", "Bluecoat", "Symantec Web", "Netskope",
		"Cisco Umbrella", "Cisco Secure Web", "IronPort", "Sophos", "Kaspersky", "McAfee Web", "Skyhigh", "Forcepoint",
		"Websense", "Check Point", "Barracuda", "WatchGuard", "SonicWall", "Untangle", "Smoothwall", "iboss",
		"Menlo Security", "Cloudflare Gateway", "Gateway CA - Cloudflare", "Cato Networks", "Avast", "ESET SSL Filter",
		"Bitdefender", "mitmproxy", "Squid", "PortSwigger", "Charles Proxy", "Fiddler", "DO_NOT_TRUST",
	}
}

// interceptor returns the maker of such a product among the issuers of a chain;
// empty: none.
func interceptor(chain []*x509.Certificate) string {
	for _, cert := range chain {
		issuer := strings.ToLower(cert.Issuer.String())
		if i := slices.IndexFunc(interceptors(), func(p string) bool { return strings.Contains(issuer, strings.ToLower(p)) }); i >= 0 {
			return interceptors()[i]
		}
	}
	return ""
}

// hasSCTs reports whether a certificate comes with timestamps of Certificate
// Transparency logs (RFC 6962 section 3.3), in itself or in the handshake.
// Certificates of public authorities do; those of a private authority or of a
// product that intercepts TLS do not.
func hasSCTs(state tls.ConnectionState) bool {
	if len(state.SignedCertificateTimestamps) > 0 {
		return true
	}
	list := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	for _, e := range state.PeerCertificates[0].Extensions {
		if e.Id.Equal(list) && len(bytes.TrimSpace(e.Value)) > 0 {
			return true
		}
	}
	return false
}
