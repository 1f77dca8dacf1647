package registry

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strings"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// strictTLSSince is the version since which containerd's TLS is as strict as that of the
// probes. Go rejects RSA key exchange for programs of Go 1.22 and later, and certificates
// with negative serial numbers for those of Go 1.23 and later, by the version in go.mod
// (go.dev/doc/godebug, tlsrsakex and x509negativeserial): 1.6 and 1.7 have older ones.
const strictTLSSince = "2.0.0"

// forgiveStrictTLS makes a failure of a TLS check one that was not seen, if it is due to
// the probes' own TLS, which is stricter than the runtime's.
func (m model) forgiveStrictTLS(ctx context.Context, p *connect.Prober, checks []report.Check) {
	if runtimeconfig.AtLeast(m.version, strictTLSSince) || m.guess != "" {
		return
	}
	for i := range checks {
		c := &checks[i]
		if c.Kind != report.KindTLS || c.Outcome != report.Fail || c.Cause != report.TLSHandshakeFailed || !strictOnly(ctx, p, *c) {
			continue
		}
		c.Outcome, c.Cause = report.Unknown, ""
		c.Summary += "; the TLS of containerd " + readable.Clean(m.version, 20) + " is less strict, and may accept it"
		c.Evidence = evidence.With(c.Evidence, report.KeyNotSeen, "what is behind TLS, which is too old for pullprobe")
	}
}

// strictOnly reports whether a handshake failed for the strictness of the probes: at a
// negative serial number, or for want of a cipher suite that only older programs offer.
func strictOnly(ctx context.Context, p *connect.Prober, c report.Check) bool {
	if strings.Contains(c.Summary, "negative serial number") {
		return true
	}
	addr, err := netip.ParseAddrPort(c.Target)
	if err != nil || c.Evidence[report.KeyAlert] != "tls: handshake failure" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, p.Limits.WithDefaults().TLS)
	defer cancel()
	conn, err := connect.NewDialer().DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return false
	}
	defer conn.Close()
	name, _ := runtimeconfig.SplitHost(c.Host, "https")
	config := &tls.Config{ServerName: name, InsecureSkipVerify: true} // nothing but the handshake is sent
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		config.CipherSuites = append(config.CipherSuites, suite.ID)
	}
	return tls.Client(conn, config).HandshakeContext(ctx) == nil
}
