package probes

import (
	"net/netip"
	"slices"
)

// refusal says why a must not be asked for an image, empty if it may be. Image
// names come from tenants, and so do token realms and redirects in the end:
// they must not turn the probes against the node itself or the cloud's
// metadata service.
func refusal(a netip.Addr, loopbackAllowed bool) string {
	a = embedded(a.WithZone(""))
	switch {
	case !a.IsValid():
		return "not an address"
	case a.IsUnspecified(), a.Is4() && a.As4()[0] == 0:
		return "an unspecified address"
	case a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "a multicast or broadcast address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case slices.Contains(metadataAddresses(), a):
		return "a cloud metadata address"
	case a.IsLoopback() && !loopbackAllowed:
		return "a loopback address"
	}
	return ""
}

// metadataAddresses are instance metadata services outside the link-local
// range: AWS, GCP, Azure's wire server, Alibaba Cloud, Oracle Cloud.
func metadataAddresses() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"),
		netip.MustParseAddr("fd20:ce::254"),
		netip.MustParseAddr("168.63.129.16"),
		netip.MustParseAddr("100.100.100.200"),
		netip.MustParseAddr("192.0.0.192"),
	}
}

// embedded returns the IPv4 address inside an IPv4-mapped (RFC 4291), NAT64
// (RFC 6052) or 6to4 (RFC 3056) address: that is where its packets end up.
func embedded(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case netip.MustParsePrefix("::/96").Contains(a) && a != netip.IPv6Loopback() && !a.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:16])) // IPv4-compatible, deprecated
	}
	return a
}
