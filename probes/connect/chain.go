package connect

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// verify verifies a server's certificates as crypto/tls does. A nil pool trusts
// nothing.
func verify(state tls.ConnectionState, roots *x509.CertPool, name string, now time.Time) error {
	_, err := verifyChains(state, roots, name, now)
	return err
}

func verifyChains(state tls.ConnectionState, roots *x509.CertPool, name string, now time.Time) ([][]*x509.Certificate, error) {
	if roots == nil {
		roots = x509.NewCertPool()
	}
	intermediates := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	return state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, DNSName: name, CurrentTime: now,
	})
}

// chainEvidence adds facts on the authorities of a server's certificate, whether it
// is valid or not.
func (p *Prober) chainEvidence(e evidence.Facts, h runtimeconfig.Host, state tls.ConnectionState, chains [][]*x509.Certificate, err error) {
	name, _ := h.Split()
	leaf := state.PeerCertificates[0]
	if report.IsPublicRegistry(name) {
		e[report.KeyPublicRegistry] = report.True
		e[report.KeySCT] = strconv.FormatBool(hasSCTs(state))
	}
	e[report.KeyIssuerOrg] = strings.Join(leaf.Issuer.Organization, ", ")
	e[report.KeyInterceptor] = interceptor(state.PeerCertificates)
	if len(chains) > 0 {
		e[report.KeyRoot] = chains[0][len(chains[0])-1].Subject.String()
	}
	if p.Roots != nil && len(h.ExtraCAs) > 0 {
		e[report.KeyTrustedBy] = p.trustedBy(h, state)
	}
	if days := time.Until(leaf.NotAfter).Hours() / 24; days >= 0 && days < float64(p.ExpirySoon) {
		e[report.KeyExpiresSoon] = report.True
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if ok && invalid.Reason == x509.Expired && invalid.Cert != nil && !invalid.Cert.Equal(leaf) {
		e[report.KeyExpired] = invalid.Cert.Subject.String() // an authority, not the server
		e[report.KeyExpiredFrom] = "server"
		if p.trusts(h, invalid.Cert) {
			e[report.KeyExpiredFrom] = "node"
		}
	}
	if p.Roots != nil && errors.As(err, new(x509.UnknownAuthorityError)) {
		p.issuerEvidence(e, h, state.PeerCertificates)
	}
}

// trustedBy returns which store trusts the certificate, whatever its name and
// validity: the node's own, the host's ca of hosts.toml, both or none.
func (p *Prober) trustedBy(h runtimeconfig.Host, state tls.ConnectionState) string {
	extra := x509.NewCertPool()
	extra.AppendCertsFromPEM(h.ExtraCAs)
	within := state.PeerCertificates[0].NotBefore.Add(time.Second)
	if now := time.Now(); now.After(within) && now.Before(state.PeerCertificates[0].NotAfter) {
		within = now
	}
	var by []string
	if verify(state, p.Roots.Pool, "", within) == nil {
		by = append(by, "node")
	}
	if verify(state, extra, "", within) == nil {
		by = append(by, "ca")
	}
	return cmp.Or(strings.Join(by, ", "), "none")
}

// issuerEvidence adds what is known of the issuer that was not found: that of the
// last certificate of the server's chain.
func (p *Prober) issuerEvidence(e evidence.Facts, h runtimeconfig.Host, peers []*x509.Certificate) {
	top := topOf(peers)
	if selfSigned(top) {
		return
	}
	if !top.Equal(peers[0]) {
		e[report.KeyTopIssuer] = top.Issuer.String()
	}
	for _, ca := range p.authorities(h) {
		if bytes.Equal(ca.RawSubject, top.RawIssuer) && top.CheckSignatureFrom(ca) != nil {
			// An authority of that name is trusted, with another key: it was issued again.
			e[report.KeyIssuerKnownByName] = report.True
			e[report.KeyKnownIssuerFrom] = ca.NotBefore.UTC().Format(time.RFC3339)
			return
		}
	}
	if top.Equal(peers[0]) && len(top.IssuingCertificateURL) > 0 {
		// A certificate with the URL of its issuer's certificate is rarely signed by a
		// root.
		e[report.KeyMissingIntermediate] = "likely"
	}
}

// topOf returns the last certificate of a server's chain, from its own one on.
func topOf(peers []*x509.Certificate) *x509.Certificate {
	top := peers[0]
	for range peers {
		next := issuerOf(top, peers[1:])
		if next == nil {
			break
		}
		top = next
	}
	return top
}

// issuerOf returns the certificate that signed cert; nil if it is not there.
func issuerOf(cert *x509.Certificate, among []*x509.Certificate) *x509.Certificate {
	for _, ca := range among[:min(len(among), 16)] {
		if !ca.Equal(cert) && bytes.Equal(ca.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

// authorities returns all that are trusted for h.
func (p *Prober) authorities(h runtimeconfig.Host) []*x509.Certificate {
	all := p.Roots.Certificates()
	for text := h.ExtraCAs; len(text) > 0; {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all[:len(all):len(all)], cert)
		}
	}
	return all
}

func (p *Prober) trusts(h runtimeconfig.Host, cert *x509.Certificate) bool {
	if p.Roots == nil {
		return false
	}
	for _, ca := range p.authorities(h) {
		if ca.Equal(cert) {
			return true
		}
	}
	return false
}

// compareChains searches the certificates of a host's other addresses for the issuer
// that one address does not send.
func compareChains(ends []endpoint) {
	for i := range ends {
		e := &ends[i]
		if e.tls == nil || e.tls.Cause != report.CertificateUntrusted || len(e.peers) == 0 {
			continue
		}
		for _, other := range ends {
			if len(other.peers) > 1 && issuerOf(topOf(e.peers), other.peers[1:]) != nil {
				e.tls.Evidence[report.KeyMissingIntermediate] = report.True
				e.tls.Evidence[report.KeySentBy] = other.addr.String()
				e.tls.Summary = fmt.Sprintf("%s does not send the intermediate certificate %s, which %s sends",
					e.addr, issuerName(topOf(e.peers)), other.addr)
				break
			}
		}
	}
}

// RootsFor returns the trust store for connections to h: the node's, and the
// authorities that hosts.toml adds for h. It is nil if the node's is unknown.
func (p *Prober) RootsFor(h runtimeconfig.Host) *x509.CertPool {
	if p.Roots == nil {
		return nil
	}
	if len(h.ExtraCAs) == 0 {
		return p.Roots.Pool
	}
	pool := p.Roots.Pool.Clone()
	pool.AppendCertsFromPEM(h.ExtraCAs)
	return pool
}

// vouchesFor reports whether the authorities that hosts.toml adds for h are enough,
// without the node's.
func vouchesFor(h runtimeconfig.Host, state tls.ConnectionState, name string) bool {
	pool := x509.NewCertPool()
	return pool.AppendCertsFromPEM(h.ExtraCAs) && verify(state, pool, name, time.Now()) == nil
}
