package facts

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// ResolversThatKnow returns the ids of the checks of single resolvers that have an
// address for host.
func ResolversThatKnow(e *Evidence, host string) []string {
	var out []string
	for _, c := range e.Below(report.DNSID(host)) {
		if c.Outcome == report.Pass {
			out = append(out, c.ID)
		}
	}
	return out
}

// ResolversRefuse reports whether every resolver that failed for a host's name refused
// to answer, which is its own decision: resolvers answer SERVFAIL for a domain whose
// name servers fail (RFC 8914, section 4.23).
func ResolversRefuse(e *Evidence, host string) bool {
	n := 0
	for _, c := range e.Below(report.DNSID(host)) {
		if c.Outcome != report.Fail {
			continue
		}
		if c.Evidence[report.KeyRcode] != "REFUSED" && c.Evidence[report.KeyError] != "ECONNREFUSED" {
			return false
		}
		n++
	}
	return n > 0
}

// FoundElsewhere reports whether an address that only another resolver returns has
// a certificate for this host.
func FoundElsewhere(e *Evidence, host string) bool {
	return slices.ContainsFunc(e.Below(report.ElsewhereID(host)),
		func(c report.Check) bool { return c.Outcome == report.Pass && c.Kind == report.KindTLS })
}

// Unresolvable reports whether every resolver of the node was queried and
// answered that the name does not exist.
func Unresolvable(e *Evidence, host string) bool {
	n := 0
	for _, c := range e.Below(report.DNSID(host)) {
		if c.Cause != report.HostNotFound {
			return false
		}
		n++
	}
	return n > 0
}

// ImpossibleAddress reports whether host resolves to an address that cannot be
// its own: sinkholes answer with 0.0.0.0, and blocking entries of a hosts file
// send a public name to this machine.
func ImpossibleAddress(e *Evidence, host string) bool {
	return e.Fact(report.DNSID(host), report.KeySpecial) == "unspecified" ||
		UnexpectedClass(e, host, "loopback", "link-local", "metadata", "documentation", "benchmarking", "multicast", "reserved")
}

// UnexpectedClass reports whether a public registry resolves to an address of one
// of these classes. A private registry may have any.
func UnexpectedClass(e *Evidence, host string, classes ...string) bool {
	return e.Is(report.DNSID(host), report.KeyPublicRegistry) && slices.Contains(classes, e.Fact(report.DNSID(host), report.KeySpecial))
}

// SeveralMachines reports whether a host has more than one address: a registry, one at which
// it was reached; another host, by its name.
func SeveralMachines(e *Evidence, host string) bool {
	if !slices.Contains(e.Hosts(), host) {
		return strings.Contains(e.Fact(report.DNSID(host), report.KeyAddresses), ", ")
	}
	n := 0
	for _, c := range e.Below(report.DialID(host)) {
		if c.Outcome == report.Pass {
			n++
		}
	}
	return n > 1
}

// IsOneService reports whether a host's addresses are those of one service by design: a
// public registry, or the object store or the network of a cloud. Resolvers give different
// ones, and each has the same content.
func IsOneService(e *Evidence, host string) bool {
	name, _, _ := strings.Cut(host, ":")
	return e.Is(report.DNSID(host), report.KeyPublicRegistry) || slices.ContainsFunc([]string{
		".amazonaws.com", ".amazonaws.com.cn", ".googleapis.com", ".windows.net", ".azurecr.io", ".cloudfront.net",
		".r2.cloudflarestorage.com", ".pkg.dev", ".gcr.io",
	}, func(domain string) bool { return strings.HasSuffix(name, domain) })
}

// IsLoopback reports whether a host is an address of the machine itself.
func IsLoopback(host string) bool {
	address, err := netip.ParseAddrPort(report.WithPort(host))
	return err == nil && address.Addr().IsLoopback()
}
