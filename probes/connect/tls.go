package connect

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

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// greeting is how a TLS handshake went.
type HandshakeResult struct {
	Check report.Check
	peers []*x509.Certificate // what the server sent
	Clock *ClockReading       // the server's time, where it was asked for
	conn  *tls.Conn           // the same connection, past the handshake
}

// handshake speaks TLS over conn and judges the certificate by the runtime's
// trust store, at where the address is for people. The connection stays open.
func (p *Prober) Handshake(ctx context.Context, h runtimeconfig.Host, conn net.Conn, at string) (g HandshakeResult) {
	name, _ := h.Split()
	check := &g.Check
	*check = report.Check{
		ID: "tls/" + h.Name() + "/" + at, Kind: report.KindTLS, Host: h.Name(), Target: at,
	}
	ctx, cancel := context.WithTimeout(ctx, p.Limits.WithDefaults().TLS)
	defer cancel()
	start := time.Now()
	// Verification is done below, by hand: a certificate that fails it is
	// evidence to be read, and nothing but one HEAD for the date is ever sent
	// over this connection; one that passes may carry a sweep's only request.
	c := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true, Certificates: h.Certificates})
	err := c.HandshakeContext(ctx)
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		f := Classify(MarkUnfinished(ctx, err), took, report.TLSHandshakeFailed)
		switch {
		case f.Unfinished:
		case f.Facts["eof"] != "":
			f.Cause, f.Message = report.TLSHandshakeFailed, "the server closed the connection"
		case f.Cause == report.Undetermined:
			// Nothing but the handshake has been said, so the text is crypto/tls's own.
			f.Cause, f.Message = report.TLSHandshakeFailed, report.Clean(err.Error(), 120)
		}
		f.Apply(check, "TLS handshake with "+at+" failed: ")
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
	if len(h.CAFiles) > 0 {
		e["ca"] = strings.Join(h.CAFiles, ", ")
	}
	check.Evidence = e
	g.Clock = p.judge(ctx, check, h, c, state)
	if check.Outcome == report.Pass {
		check.Summary = fmt.Sprintf("certificate for %s, from %s, valid until %s", name, issuerName(leaf), report.Time(leaf.NotAfter))
		if e["expiresSoon"] != "" {
			check.Summary = fmt.Sprintf("certificate for %s ends in %s days, on %s", name, e["daysLeft"], report.Time(leaf.NotAfter))
		}
		if h.SkipVerify {
			check.Summary = "TLS with " + h.Name() + " without verification, as the runtime does here"
		}
	}
	check.Evidence = evidence.Facts(check.Evidence).Checked()
	return g
}

// judge decides on the certificate in the order in which the runtime's own
// verification would complain: window, name, trust. It returns the server's
// time if that was asked for.
func (p *Prober) judge(ctx context.Context, check *report.Check, h runtimeconfig.Host, c *tls.Conn, state tls.ConnectionState) *ClockReading {
	name, _ := h.Split()
	e := evidence.Facts(check.Evidence)
	roots := p.RootsFor(h)
	chains, err := verifyChains(state, roots, name, time.Now())
	p.chainEvidence(e, h, state, chains, err)
	if h.SkipVerify {
		check.Outcome = report.Pass
		e["skipVerify"] = "true"
		if f, ok := ClassifyCertificate(err); ok {
			e["unverified"] = string(f.Cause)
		}
		return nil
	}
	if err == nil && roots != nil {
		check.Outcome = report.Pass
		if file, newer := p.Roots.NewerThanRuntime(chains); newer && !vouchesFor(h, state, name) {
			e["rootNewer"] = file
		}
		return nil
	}
	f, known := ClassifyCertificate(err)
	if err == nil || roots == nil && f.Cause == report.CertificateUntrusted {
		check.Outcome, check.BlockedBy = report.Skipped, "runtime/ca"
		check.Summary = "name and dates of the certificate are right; whether the node trusts it is unknown"
		return nil
	}
	if !known {
		f = Failure{Cause: report.CertificateInvalid, Message: "certificate is not acceptable", Facts: evidence.Facts{"detail": err.Error()}}
	}
	check.Outcome, check.Cause = report.Fail, f.Cause
	check.Summary = h.Name() + ": " + f.Message
	for k, v := range f.Facts {
		e[k] = v
	}
	switch f.Cause {
	case report.CertificateUntrusted:
		check.Summary = fmt.Sprintf("certificate of %s is signed by %s, which this node does not trust", h.Name(), issuerName(state.PeerCertificates[0]))
		if selfSigned(state.PeerCertificates[0]) {
			check.Summary = fmt.Sprintf("certificate of %s is self-signed, and this node does not trust it", h.Name())
		} else if e["missingIntermediate"] != "" {
			check.Summary += "; the server sent no intermediate certificate"
		} else if e["issuerKnownByName"] != "" {
			check.Summary += ": it knows an authority of that name, but with another key"
		}
	case report.CertificateNameMismatch:
		check.Summary = fmt.Sprintf("certificate is for %s, not for %s", cmp.Or(e["names"], "no name at all"), name)
	case report.CertificateExpired, report.CertificateNotYetValid:
		if e["expired"] != "" {
			check.Summary = h.Name() + ": the authority " + strconv.Quote(report.Clean(e["expired"], 120)) + " behind its certificate has expired"
		}
		return p.compareClocks(ctx, check, h, c, state)
	}
	return nil
}

func certEvidence(state tls.ConnectionState) evidence.Facts {
	leaf := state.PeerCertificates[0]
	e := evidence.Facts{
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
		names = append(names, evidence.Word(name, 80))
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
