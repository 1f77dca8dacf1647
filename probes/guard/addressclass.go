package guard

import (
	"net/netip"
	"slices"
)

// AddressClass returns the class of an address that no public registry has; empty
// for an ordinary address. Sinkholes, entries of the hosts file, fake-IP proxies and
// internal DNS views give such addresses (IANA's special-purpose address registries,
// RFC 6890).
func AddressClass(a netip.Addr) string {
	a = embedded(a.WithZone(""))
	in := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return netip.MustParsePrefix(p).Contains(a) })
	}
	switch {
	case !a.IsValid():
		return ""
	case a.IsUnspecified(), in("0.0.0.0/8"):
		return "unspecified"
	case a.IsLoopback():
		return "loopback"
	case isMetadata(a):
		return "metadata"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsPrivate():
		return "private"
	case in("100.64.0.0/10"):
		return "shared" // carrier-grade NAT
	case in("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"):
		return "documentation"
	case in("198.18.0.0/15", "2001:2::/48"):
		return "benchmarking" // fake-IP proxies give it
	case a.IsMulticast():
		return "multicast"
	case in("240.0.0.0/4", "100::/64"):
		return "reserved"
	}
	return ""
}
