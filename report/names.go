package report

import (
	"net/netip"
	"slices"
	"strings"
)

// resolversThatKnow returns the ids of the checks of single resolvers that have an
// address for host.
func resolversThatKnow(e *evidence, host string) []string {
	var out []string
	for _, c := range e.below(DNSID(host)) {
		if c.Outcome == Pass {
			out = append(out, c.ID)
		}
	}
	return out
}

// foundElsewhere reports whether an address that only another resolver returns has
// a certificate for this host.
func foundElsewhere(e *evidence, host string) bool {
	return slices.ContainsFunc(e.below(ElsewhereID(host)), func(c Check) bool { return c.Outcome == Pass && c.Kind == KindTLS })
}

// unresolvable reports whether every resolver of the node was queried and
// answered that the name does not exist.
func unresolvable(e *evidence, host string) bool {
	n := 0
	for _, c := range e.below(DNSID(host)) {
		if c.Cause != HostNotFound {
			return false
		}
		n++
	}
	return n > 0
}

// impossibleAddress reports whether host resolves to an address that cannot be
// its own: sinkholes answer with 0.0.0.0, and blocking entries of a hosts file
// send a public name to this machine.
func impossibleAddress(e *evidence, host string) bool {
	return e.fact(DNSID(host), KeySpecial) == "unspecified" ||
		unexpectedClass(e, host, "loopback", "link-local", "metadata", "documentation", "benchmarking", "multicast", "reserved")
}

// unexpectedClass reports whether a public registry resolves to an address of one
// of these classes. A private registry may have any.
func unexpectedClass(e *evidence, host string, classes ...string) bool {
	return e.is(DNSID(host), KeyPublicRegistry) && slices.Contains(classes, e.fact(DNSID(host), KeySpecial))
}

// severalMachines reports whether a host was reached at more than one address of the
// same family: those of both families are mostly one machine's.
func severalMachines(e *evidence, host string) bool {
	n := map[bool]int{}
	for _, c := range e.below(DialID(host)) {
		if c.Outcome == Pass {
			n[strings.Contains(c.ID, "[")]++
		}
	}
	return n[true] > 1 || n[false] > 1
}

// loopback reports whether a host is an address of the machine itself.
func loopback(host string) bool {
	address, err := netip.ParseAddrPort(WithPort(host))
	return err == nil && address.Addr().IsLoopback()
}
