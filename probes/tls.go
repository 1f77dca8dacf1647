package probes

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// greeting is how a TLS handshake went.
type greeting struct {
	check report.Check
	peers []*x509.Certificate // what the server sent
	clock *reading            // the server's time, where it was asked for
	conn  *tls.Conn           // the same connection, past the handshake
}

// handshake speaks TLS over conn and judges the certificate by the runtime's
// trust store, at where the address is for people. The connection stays open.
func (p *Prober) handshake(ctx context.Context, h host, conn net.Conn, at string) (g greeting) {
	name, _ := h.split()
	check := &g.check
	*check = report.Check{
		ID: "tls/" + h.name() + "/" + at, Kind: report.KindTLS, Host: h.name(), Target: at,
	}
	ctx, cancel := context.WithTimeout(ctx, p.Limits.withDefaults().TLS)
	defer cancel()
	start := time.Now()
	// Verification is done below, by hand: a certificate that fails it is
	// evidence to be read, and nothing but one HEAD for the date is ever sent
	// over this connection; one that passes may carry a sweep's only request.
	c := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true, Certificates: h.certs})
	err := c.HandshakeContext(ctx)
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		f := netFault(unfinished(ctx, err), took, report.TLSHandshakeFailed)
		switch {
		case f.unfinished:
		case f.facts["eof"] != "":
			f.cause, f.words = report.TLSHandshakeFailed, "the server closed the connection"
		case f.cause == report.Undetermined:
			// Nothing but the handshake has been said, so the text is crypto/tls's own.
			f.cause, f.words = report.TLSHandshakeFailed, report.Clean(err.Error(), 120)
		}
		f.settle(check, "TLS handshake with "+at+" failed: ")
		return g
	}
	state := c.ConnectionState()
	g.conn, g.peers = c, state.PeerCertificates
	leaf := state.PeerCertificates[0]
	e := certEvidence(state)
	if p.Roots == nil {
		e["trust"] = "unknown"
	} else {
		e["roots"] = strconv.Itoa(p.Roots.Count)
		if p.Roots.Assumed {
			e["rootsAssumed"] = "true"
		}
	}
	if len(h.caFiles) > 0 {
		e["ca"] = strings.Join(h.caFiles, ", ")
	}
	check.Evidence = e
	g.clock = p.judge(ctx, check, h, c, state)
	if check.Outcome == report.Pass {
		check.Summary = fmt.Sprintf("certificate for %s, from %s, valid until %s", name, issuerName(leaf), report.Time(leaf.NotAfter))
		if e["expiresSoon"] != "" {
			check.Summary = fmt.Sprintf("certificate for %s ends in %s days, on %s", name, e["daysLeft"], report.Time(leaf.NotAfter))
		}
		if h.SkipVerify {
			check.Summary = "TLS with " + h.name() + " without verification, as the runtime does here"
		}
	}
	check.Evidence = evidence(check.Evidence).checked()
	return g
}

// judge decides on the certificate in the order in which the runtime's own
// verification would complain: window, name, trust. It returns the server's
// time if that was asked for.
func (p *Prober) judge(ctx context.Context, check *report.Check, h host, c *tls.Conn, state tls.ConnectionState) *reading {
	name, _ := h.split()
	e := evidence(check.Evidence)
	roots := p.rootsFor(h)
	chains, err := verifyChains(state, roots, name, time.Now())
	p.chainEvidence(e, h, state, chains, err)
	if h.SkipVerify {
		check.Outcome = report.Pass
		e["skipVerify"] = "true"
		if f, ok := certFault(err); ok {
			e["unverified"] = string(f.cause)
		}
		return nil
	}
	if err == nil && roots != nil {
		check.Outcome = report.Pass
		if file, newer := p.Roots.newerThanRuntime(chains); newer && !vouchesFor(h, state, name) {
			e["rootNewer"] = file
		}
		return nil
	}
	f, known := certFault(err)
	if err == nil || roots == nil && f.cause == report.CertificateUntrusted {
		check.Outcome, check.BlockedBy = report.Skipped, "runtime/ca"
		check.Summary = "name and dates of the certificate are right; whether the node trusts it is unknown"
		return nil
	}
	if !known {
		f = fault{cause: report.CertificateInvalid, words: "certificate is not acceptable", facts: evidence{"detail": err.Error()}}
	}
	check.Outcome, check.Cause = report.Fail, f.cause
	check.Summary = h.name() + ": " + f.words
	for k, v := range f.facts {
		e[k] = v
	}
	switch f.cause {
	case report.CertificateUntrusted:
		check.Summary = fmt.Sprintf("certificate of %s is signed by %s, which this node does not trust", h.name(), issuerName(state.PeerCertificates[0]))
		if selfSigned(state.PeerCertificates[0]) {
			check.Summary = fmt.Sprintf("certificate of %s is self-signed, and this node does not trust it", h.name())
		} else if e["missingIntermediate"] != "" {
			check.Summary += "; the server sent no intermediate certificate"
		} else if e["issuerKnownByName"] != "" {
			check.Summary += ": it knows an authority of that name, but with another key"
		}
	case report.CertificateNameMismatch:
		check.Summary = fmt.Sprintf("certificate is for %s, not for %s", cmp.Or(e["names"], "no name at all"), name)
	case report.CertificateExpired, report.CertificateNotYetValid:
		if e["expired"] != "" {
			check.Summary = h.name() + ": the authority " + strconv.Quote(report.Clean(e["expired"], 120)) + " behind its certificate has expired"
		}
		return p.compareClocks(ctx, check, h, c, state)
	}
	return nil
}

func certEvidence(state tls.ConnectionState) evidence {
	leaf := state.PeerCertificates[0]
	e := evidence{
		"version":       tls.VersionName(state.Version),
		"subject":       leaf.Subject.String(),
		"issuer":        leaf.Issuer.String(),
		"notBefore":     leaf.NotBefore.UTC().Format(time.RFC3339),
		"notAfter":      leaf.NotAfter.UTC().Format(time.RFC3339),
		"daysLeft":      strconv.Itoa(int(time.Until(leaf.NotAfter).Hours() / 24)),
		"names":         certNames(leaf),
		"intermediates": strconv.Itoa(len(state.PeerCertificates) - 1),
	}
	if selfSigned(leaf) {
		e["selfSigned"] = "true"
	}
	if len(leaf.IssuingCertificateURL) > 0 {
		e["issuerURL"] = leaf.IssuingCertificateURL[0]
	}
	return e
}

// certNames lists the names that a certificate is good for, at most six.
func certNames(cert *x509.Certificate) string {
	var names []string
	for _, name := range cert.DNSNames {
		names = append(names, word(name, 80))
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	more := ""
	if len(names) > 6 {
		more = fmt.Sprintf(" and %d more", len(names)-6)
		names = names[:6]
	}
	return report.Clean(strings.Join(names, ", "), 200) + more
}

func selfSigned(cert *x509.Certificate) bool {
	return cert.Subject.String() == cert.Issuer.String() && cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

func issuerName(cert *x509.Certificate) string {
	if cn := cert.Issuer.CommonName; cn != "" {
		return strconv.Quote(report.Clean(cn, 80))
	}
	return strconv.Quote(cmp.Or(report.Clean(cert.Issuer.String(), 80), "no name"))
}
