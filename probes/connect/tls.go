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
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// HandshakeResult is the result of a TLS handshake.
type HandshakeResult struct {
	Check report.Check
	Clock *ClockReading // the server's time; nil: it was not requested

	peers []*x509.Certificate // that the server sent
	conn  *tls.Conn           // the same connection, after the handshake
}

// Handshake does a TLS handshake over conn and judges the certificate by the
// runtime's trust store; at is the address for people. The connection stays open.
func (p *Prober) Handshake(ctx context.Context, h runtimeconfig.Host, conn net.Conn, at string) (result HandshakeResult) {
	name, _ := h.Split()
	check := &result.Check
	*check = report.Check{ID: report.TLSID(h.Name(), at), Kind: report.KindTLS, Host: h.Name(), Target: at}
	ctx, cancel := context.WithTimeout(ctx, p.Limits.WithDefaults().TLS)
	defer cancel()
	start := time.Now()
	// The certificate is verified below: one that fails is evidence to be read, and
	// only one HEAD for the date is ever sent over its connection. A connection whose
	// certificate passes may carry a sweep's only request.
	c := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true, Certificates: h.Certificates})
	err := c.HandshakeContext(ctx)
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		handshakeFailure(ctx, err, took).Apply(check, "TLS handshake with "+at+" failed: ")
		return result
	}
	state := c.ConnectionState()
	result.conn, result.peers = c, state.PeerCertificates
	check.Evidence = p.tlsEvidence(h, state)
	result.Clock = p.judge(ctx, check, h, c, state)
	if check.Outcome == report.Pass {
		check.Summary = p.validSummary(check, h, state.PeerCertificates[0])
	}
	check.Evidence = evidence.Facts(check.Evidence).Checked()
	return result
}

// handshakeFailure returns what the error of a handshake means.
func handshakeFailure(ctx context.Context, err error, took time.Duration) Failure {
	f := Classify(MarkUnfinished(ctx, err), took, report.TLSHandshakeFailed)
	switch {
	case f.Unfinished:
	case f.Facts[report.KeyEOF] != "":
		f.Cause, f.Message = report.TLSHandshakeFailed, "the server closed the connection"
	case f.Cause == report.Undetermined:
		// Only the handshake was sent, so the text is crypto/tls's own.
		f.Cause, f.Message = report.TLSHandshakeFailed, readable.Clean(err.Error(), 120)
	}
	return f
}

// tlsEvidence returns the facts of the server's certificate and of the trust store.
func (p *Prober) tlsEvidence(h runtimeconfig.Host, state tls.ConnectionState) evidence.Facts {
	e := certEvidence(state)
	if p.Roots == nil {
		e[report.KeyTrust] = "unknown"
	} else {
		e[report.KeyRoots] = strconv.Itoa(p.Roots.Count)
		if p.Roots.Assumed {
			e[report.KeyRootsAssumed] = report.True
		}
	}
	e[report.KeyPlaceholder] = placeholderOf(state.PeerCertificates)
	if len(h.CAFiles) > 0 {
		e[report.KeyCA] = strings.Join(h.CAFiles, ", ")
	}
	return e
}

// validSummary is the summary of a certificate that passed.
func (p *Prober) validSummary(check *report.Check, h runtimeconfig.Host, leaf *x509.Certificate) string {
	name, _ := h.Split()
	switch {
	case h.SkipVerify:
		return "TLS with " + h.Name() + " without verification, as the runtime does here"
	case check.Evidence[report.KeyExpiresSoon] != "":
		return fmt.Sprintf("certificate for %s expires in %s days, on %s", name, check.Evidence[report.KeyDaysLeft], readable.Time(leaf.NotAfter))
	}
	return fmt.Sprintf("certificate for %s, from %s, valid until %s", name, issuerName(leaf), readable.Time(leaf.NotAfter))
}

// judge fills in the check in the order in which the runtime's own verification
// would fail: validity, name, trust. It returns the server's time if it was
// requested.
func (p *Prober) judge(
	ctx context.Context, check *report.Check, h runtimeconfig.Host, c *tls.Conn, state tls.ConnectionState,
) *ClockReading {
	name, _ := h.Split()
	e := evidence.Facts(check.Evidence)
	roots := p.RootsFor(h)
	chains, err := verifyChains(state, roots, name, time.Now())
	p.chainEvidence(e, h, state, chains, err)
	f, known := ClassifyCertificate(err)
	switch {
	case h.SkipVerify:
		check.Outcome = report.Pass
		e[report.KeySkipVerify] = report.True
		if known {
			e[report.KeyUnverified] = string(f.Cause)
		}
		return nil
	case err == nil && roots != nil:
		check.Outcome = report.Pass
		if file, newer := p.Roots.NewerThanRuntime(chains); newer && !vouchesFor(h, state, name) {
			e[report.KeyRootNewer] = file
		}
		return nil
	case err == nil, roots == nil && f.Cause == report.CertificateUntrusted:
		check.Outcome, check.BlockedBy = report.Skipped, report.IDRuntimeCA
		check.Summary = "name and dates of the certificate are valid; whether the node trusts it is unknown"
		return nil
	case !known:
		f = Failure{
			Cause:   report.CertificateInvalid,
			Message: "certificate is not acceptable",
			Facts:   evidence.Facts{report.KeyDetail: err.Error()},
		}
	}
	check.Outcome, check.Cause = report.Fail, f.Cause
	for k, v := range f.Facts {
		e[k] = v
	}
	check.Summary = invalidSummary(f, e, h, state.PeerCertificates[0])
	if f.Cause == report.CertificateExpired || f.Cause == report.CertificateNotYetValid {
		return p.compareClocks(ctx, check, h, c, state)
	}
	return nil
}

// invalidSummary is the summary of a certificate that failed.
func invalidSummary(f Failure, e evidence.Facts, h runtimeconfig.Host, leaf *x509.Certificate) string {
	name, _ := h.Split()
	switch {
	case f.Cause == report.CertificateUntrusted && selfSigned(leaf):
		return fmt.Sprintf("%s's certificate is self-signed, and this node does not trust it", h.Name())
	case f.Cause == report.CertificateUntrusted:
		summary := fmt.Sprintf("%s's certificate is signed by %s, which this node does not trust", h.Name(), issuerName(leaf))
		if e[report.KeyMissingIntermediate] != "" {
			summary += "; the server sent no intermediate certificate"
		} else if e[report.KeyIssuerKnownByName] != "" {
			summary += ": it trusts an authority of that name, but with another key"
		}
		return summary
	case f.Cause == report.CertificateNameMismatch:
		return fmt.Sprintf("certificate is for %s, not for %s", cmp.Or(e[report.KeyNames], "no name at all"), name)
	case e[report.KeyExpired] != "" && (f.Cause == report.CertificateExpired || f.Cause == report.CertificateNotYetValid):
		return h.Name() + ": the authority " + strconv.Quote(readable.Clean(e[report.KeyExpired], 120)) + " of its certificate has expired"
	}
	return h.Name() + ": " + f.Message
}

func certEvidence(state tls.ConnectionState) evidence.Facts {
	leaf := state.PeerCertificates[0]
	e := evidence.Facts{
		report.KeyVersion:       tls.VersionName(state.Version),
		report.KeySubject:       leaf.Subject.String(),
		report.KeyFingerprint:   report.Digest(leaf.Raw),
		report.KeyIssuer:        leaf.Issuer.String(),
		report.KeyNotBefore:     leaf.NotBefore.UTC().Format(time.RFC3339),
		report.KeyNotAfter:      leaf.NotAfter.UTC().Format(time.RFC3339),
		report.KeyDaysLeft:      strconv.Itoa(int(time.Until(leaf.NotAfter).Hours() / 24)),
		report.KeyNames:         certNames(leaf),
		report.KeyIntermediates: strconv.Itoa(len(state.PeerCertificates) - 1),
	}
	if selfSigned(leaf) {
		e[report.KeySelfSigned] = report.True
	}
	if len(leaf.IssuingCertificateURL) > 0 {
		e[report.KeyIssuerURL] = leaf.IssuingCertificateURL[0]
	}
	return e
}

// certNames returns the names of a certificate, at most six.
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
	return readable.Clean(strings.Join(names, ", "), 200) + more
}

func selfSigned(cert *x509.Certificate) bool {
	return cert.Subject.String() == cert.Issuer.String() &&
		cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

func issuerName(cert *x509.Certificate) string {
	if cn := cert.Issuer.CommonName; cn != "" {
		return strconv.Quote(readable.Clean(cn, 80))
	}
	return strconv.Quote(cmp.Or(readable.Clean(cert.Issuer.String(), 80), "no name"))
}
