package probes

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// skewTolerance is how far a server's Date may be off before it says anything
// about clocks.
const skewTolerance = 2 * time.Minute

// handshake speaks TLS over conn and judges the certificate by the runtime's
// trust store, at where the address is for people. The connection stays open.
func (n *Node) handshake(ctx context.Context, h host, conn net.Conn, at string) report.Check {
	name, _ := h.split()
	check := report.Check{
		ID: "tls/" + h.name() + "/" + at, Kind: report.KindTLS, Host: h.name(), Target: at,
	}
	ctx, cancel := context.WithTimeout(ctx, n.Limits.withDefaults().TLS)
	defer cancel()
	start := time.Now()
	// Verification is done below, by hand: a certificate that fails it is
	// evidence to be read, and nothing but one HEAD for the date is ever sent
	// over this connection.
	c := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true, Certificates: h.certs})
	err := c.HandshakeContext(ctx)
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		f := netFault(err, took, report.TLSHandshakeFailed)
		switch {
		case f.facts["eof"] != "":
			f.cause, f.words = report.TLSHandshakeFailed, "the server closed the connection"
		case f.cause == report.Undetermined:
			// Nothing but the handshake has been said, so the text is crypto/tls's own.
			f.cause, f.words = report.TLSHandshakeFailed, clean(err.Error(), 120)
		}
		check.Outcome, check.Cause = report.Fail, f.cause
		check.Summary = "TLS handshake with " + at + " failed: " + f.words
		check.Evidence = f.facts.checked()
		return check
	}
	state := c.ConnectionState()
	leaf := state.PeerCertificates[0]
	e := certEvidence(state)
	if n.Roots == nil {
		e["trust"] = "unknown"
	} else {
		e["roots"] = strconv.Itoa(n.Roots.Count)
		if n.Roots.Assumed {
			e["rootsAssumed"] = "true"
		}
	}
	if len(h.caFiles) > 0 {
		e["ca"] = strings.Join(h.caFiles, ", ")
	}
	check.Evidence = e
	n.judge(ctx, &check, h, c, state)
	if check.Outcome == report.Pass {
		check.Summary = fmt.Sprintf("certificate for %s, from %s, valid until %s", name, issuerName(leaf), day(leaf.NotAfter))
		if h.SkipVerify {
			check.Summary = "TLS with " + h.name() + " without verification, as the runtime does here"
		}
	}
	check.Evidence = evidence(check.Evidence).checked()
	return check
}

// judge decides on the certificate in the order in which the runtime's own
// verification would complain: window, name, trust.
func (n *Node) judge(ctx context.Context, check *report.Check, h host, c *tls.Conn, state tls.ConnectionState) {
	name, _ := h.split()
	e := evidence(check.Evidence)
	roots := h.rootsFor(n.Roots)
	chains, err := verifyChains(state, roots, name, time.Now())
	if h.SkipVerify {
		check.Outcome = report.Pass
		e["skipVerify"] = "true"
		if f, ok := certFault(err); ok {
			e["unverified"] = string(f.cause)
		}
		return
	}
	if err == nil && roots != nil {
		check.Outcome = report.Pass
		if file, newer := n.Roots.newerThanRuntime(chains); newer && !h.vouchesFor(state, name) {
			e["rootNewer"] = file
		}
		return
	}
	f, known := certFault(err)
	if err == nil || roots == nil && f.cause == report.CertificateUntrusted {
		check.Outcome, check.BlockedBy = report.Skipped, "runtime/ca"
		check.Summary = "name and dates of the certificate are right; whether the node trusts it is unknown"
		return
	}
	if !known {
		f = fault{report.CertificateInvalid, "certificate is not acceptable", evidence{"detail": err.Error()}}
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
		} else if leaf := state.PeerCertificates[0]; len(state.PeerCertificates) == 1 && len(leaf.IssuingCertificateURL) > 0 {
			// A certificate that says where its issuer's is to be had is seldom
			// signed by a root.
			check.Summary += "; the server sent no intermediate certificate"
		}
	case report.CertificateNameMismatch:
		check.Summary = fmt.Sprintf("certificate is for %s, not for %s", orDefault(e["names"], "no name at all"), name)
	case report.CertificateExpired, report.CertificateNotYetValid:
		n.compareClocks(ctx, check, h, c, state)
	}
}

// verify is what crypto/tls does with a server's certificates. A nil pool
// trusts nothing.
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

// compareClocks asks the server for its time, without credentials and over the
// connection whose certificate is out of its window. A certificate that is
// good by the server's clock means that the clocks differ.
func (n *Node) compareClocks(ctx context.Context, check *report.Check, h host, c *tls.Conn, state tls.ConnectionState) {
	name, _ := h.split()
	date, ok := serverDate(ctx, c, h.Host)
	if !ok {
		return
	}
	skew := time.Since(date).Round(time.Second)
	check.Evidence["serverDate"] = date.UTC().Format(time.RFC3339)
	check.Evidence["skewSeconds"] = strconv.Itoa(int(skew.Seconds()))
	if skew.Abs() <= skewTolerance {
		return
	}
	var window x509.CertificateInvalidError
	if err := verify(state, h.rootsFor(n.Roots), name, date); errors.As(err, &window) && window.Reason == x509.Expired {
		return
	}
	check.Evidence["byNodeClock"] = string(check.Cause)
	check.Cause = report.ClockSkewed
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	check.Summary = fmt.Sprintf("this node's clock is %s %s the server's; by the server's clock its certificate is valid", skew.Abs(), direction)
}

// serverDate is the Date header of the answer to a HEAD request.
func serverDate(ctx context.Context, c net.Conn, hostHeader string) (time.Time, bool) {
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+hostHeader+"/v2/", nil)
	if err != nil {
		return time.Time{}, false
	}
	req.Header.Set("User-Agent", userAgent)
	req.Close = true
	if req.Write(c) != nil {
		return time.Time{}, false
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, maxHeaderBytes)), req)
	if err != nil {
		return time.Time{}, false
	}
	resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	return date, err == nil
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
	names := cert.DNSNames
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	more := ""
	if len(names) > 6 {
		more = fmt.Sprintf(" and %d more", len(names)-6)
		names = names[:6]
	}
	return clean(strings.Join(names, ", "), 200) + more
}

func selfSigned(cert *x509.Certificate) bool {
	return cert.Subject.String() == cert.Issuer.String() && cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

func issuerName(cert *x509.Certificate) string {
	if cn := cert.Issuer.CommonName; cn != "" {
		return strconv.Quote(clean(cn, 80))
	}
	return strconv.Quote(orDefault(clean(cert.Issuer.String(), 80), "no name"))
}
