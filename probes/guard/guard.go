package guard

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// Guard decides which hosts the probes contact as registry, mirror, token service
// and redirect target; the node's own resolvers and proxies are exempt. Image names
// come from tenants, and token realms and redirects from servers that tenants
// choose: they must not direct the probes at the node itself or at the cloud's
// metadata service. The zero value is right where tenants name the images.
type Guard struct {
	Deny  []Pattern // never contacted, even if allowed
	Allow []Pattern // contacted even at an address of a class that is refused

	// Own are the node's own addresses. They are contacted only if the node's
	// configuration or the image itself names one.
	Own []netip.Addr

	// Loopback permits loopback addresses, and the node's own: for tests and for
	// `pullprobe check` on a developer's machine.
	Loopback bool
}

// Reason is why a host is not contacted; empty if it may be.
type Reason string

// Configured reports whether the setting deny is the reason.
func (r Reason) Configured() bool { return strings.HasPrefix(string(r), deniedPrefix) }

// ownAddress is the reason of a refusal that is not rare: a registry, or the ingress
// before it, may run on this node.
const ownAddress = "an address of this node itself (the setting allow permits it)"

// deniedPrefix is the beginning of a reason that is the setting deny.
const deniedPrefix = "refused by the setting deny: "

// Name returns why a host must not be contacted, as far as its name tells; empty if
// it may be. A name that is an address is judged as an address. loopback permits
// loopback addresses and the node's own for this host.
func (g Guard) Name(name, port string, loopback bool) Reason {
	if a, ok := literal(name); ok {
		return g.Address(name, port, a, loopback)
	}
	return g.denies(name, port)
}

// Address returns why a host must not be contacted at this address; empty if it may
// be. A denied range applies to the address and to the IPv4 address inside it, an
// allowed range only to where the packets end up.
func (g Guard) Address(name, port string, a netip.Addr, loopback bool) Reason {
	a = a.WithZone("").Unmap()
	if reason := g.denies(name, port, a, embedded(a)); reason != "" {
		return reason
	}
	if a.IsValid() && slices.ContainsFunc(g.Allow, func(p Pattern) bool { return p.matches(name, port, embedded(a)) }) {
		return ""
	}
	if reason := refusal(a, loopback || g.Loopback); reason != "" {
		return reason
	}
	if !loopback && !g.Loopback && g.ownsAddress(a) {
		return ownAddress
	}
	return ""
}

func (g Guard) ownsAddress(a netip.Addr) bool {
	return slices.Contains(g.Own, embedded(a.WithZone("")))
}

// Owns reports whether a name is an address of the node.
func (g Guard) Owns(name string) bool {
	a, ok := literal(name)
	return ok && g.ownsAddress(a)
}

// DeniesName returns the reason if the setting deny forbids a host by its name, so
// that it is not even resolved; empty if it does not.
func (g Guard) DeniesName(name, port string) Reason {
	if a, ok := literal(name); ok {
		return g.denies(name, port, a, embedded(a))
	}
	return g.denies(name, port)
}

func (g Guard) denies(name, port string, addrs ...netip.Addr) Reason {
	for _, p := range g.Deny {
		if p.matches(name, port, addrs...) {
			return Reason(deniedPrefix + p.String())
		}
	}
	return ""
}

// FirstDenied returns the first of the checks that the setting deny kept from a host;
// ok is false if there is none.
func FirstDenied(checks []report.Check) (c report.Check, ok bool) {
	denied := func(c report.Check) bool { return strings.Contains(c.Evidence[report.KeyRefused], deniedPrefix) }
	i := slices.IndexFunc(checks, denied)
	if i < 0 {
		return c, false
	}
	return checks[i], true
}

// refusal returns why a must not be contacted for an image, whatever is configured;
// empty if it may be.
func refusal(a netip.Addr, loopbackAllowed bool) Reason {
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
	case isMetadata(a):
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

// metadataNetworks are IPv6 networks that clouds give to their own link-local services:
// AWS has its instance metadata service, time and DNS servers in fd00:ec2::/32.
func metadataNetworks() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("fd00:ec2::/32")} }

func isMetadata(a netip.Addr) bool {
	return slices.Contains(metadataAddresses(), a) ||
		slices.ContainsFunc(metadataNetworks(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// embedded returns the IPv4 address inside an IPv4-mapped (RFC 4291), NAT64 (RFC
// 6052, RFC 8215) or 6to4 (RFC 3056) address, which is where its packets end up; a
// itself for other addresses.
func embedded(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case netip.MustParsePrefix("64:ff9b:1::/48").Contains(a):
		return localNAT64(b)
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case netip.MustParsePrefix("::/96").Contains(a) && a != netip.IPv6Loopback() && !a.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:16])) // IPv4-compatible, deprecated
	}
	return a
}

// localNAT64 returns the IPv4 address inside an address of 64:ff9b:1::/48, the prefix
// for translators within a network (RFC 8215). Such a network uses a /48, a /56, a /64
// or a /96 of it, and each has the IPv4 address elsewhere (RFC 6052, 2.2). The first
// form that is refused counts; without one, the /96 is meant.
func localNAT64(b [16]byte) netip.Addr {
	last := netip.AddrFrom4([4]byte(b[12:16]))
	for _, v4 := range []netip.Addr{
		last,
		netip.AddrFrom4([4]byte{b[9], b[10], b[11], b[12]}), // /64
		netip.AddrFrom4([4]byte{b[7], b[9], b[10], b[11]}),  // /56
		netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}),   // /48
	} {
		if v4.IsLinkLocalUnicast() || v4.IsLoopback() || isMetadata(v4) {
			return v4
		}
	}
	return last
}
