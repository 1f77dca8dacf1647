package connect

import (
	"cmp"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"time"
)

// How the runtime's dialer uses several addresses of a name: it sorts them by RFC
// 6724, tries those of the first one's family one after the other, and those of the
// other family concurrently as soon as the first family has failed or 300 ms have
// passed (net/addrselect.go and net/dial.go of the Go distribution; containerd sets
// the delays in core/remotes/docker). It uses the first that connects: if TLS fails
// there, it tries no other.
const (
	runtimeDialTimeout = 30 * time.Second // over all addresses
	fallbackDelay      = 300 * time.Millisecond
	leastShare         = 2 * time.Second // of one address, while there is that much
)

// dialOrder returns addrs in the order in which Go's resolver passes them to the
// dialer, at most limit of them, some of either family. source returns the source
// address of packets to an address; invalid: there is no route.
func dialOrder(addrs []netip.Addr, source func(netip.Addr) netip.Addr, limit int) []netip.Addr {
	if len(addrs) < 2 {
		return addrs
	}
	type candidate struct{ addr, src netip.Addr }
	sorted := make([]candidate, len(addrs))
	for i, a := range addrs {
		a = a.Unmap()
		sorted[i] = candidate{a, source(a)}
	}
	slices.SortStableFunc(sorted, func(a, b candidate) int { return compareRFC6724(a.addr, a.src, b.addr, b.src) })
	// Addresses of the first one's family beyond the limit make room for the other's.
	first := func(c candidate) bool { return c.addr.Is4() == sorted[0].addr.Is4() }
	others := 0
	for _, c := range sorted {
		if !first(c) {
			others++
		}
	}
	room := map[bool]int{true: limit - min(others, limit/4)}
	room[false] = limit - min(len(sorted)-others, room[true])
	var out []netip.Addr
	for _, c := range sorted {
		if room[first(c)]--; room[first(c)] >= 0 {
			out = append(out, c.addr)
		}
	}
	return out
}

// sourceOf returns the source address of packets to a. It sends nothing.
func sourceOf(a netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 53)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// compareRFC6724 is section 6 of RFC 6724 with the rules that Go follows:
// negative if a goes before b.
func compareRFC6724(a, srcA, b, srcB netip.Addr) int {
	switch {
	case !srcA.IsValid() && !srcB.IsValid():
		return 0
	case !srcB.IsValid(): // rule 1: avoid unusable destinations
		return -1
	case !srcA.IsValid():
		return 1
	}
	precedenceA, labelA := rfc6724Policy(a)
	precedenceB, labelB := rfc6724Policy(b)
	_, srcLabelA := rfc6724Policy(srcA)
	_, srcLabelB := rfc6724Policy(srcB)
	common := 0
	if a.Is6() && b.Is6() {
		common = commonPrefix(srcB, b) - commonPrefix(srcA, a)
	}
	return cmp.Or(
		falseLast(rfc6724Scope(a) == rfc6724Scope(srcA), rfc6724Scope(b) == rfc6724Scope(srcB)), // rule 2: matching scope
		falseLast(labelA == srcLabelA, labelB == srcLabelB),                                     // rule 5: matching label
		precedenceB-precedenceA,         // rule 6: higher precedence
		rfc6724Scope(a)-rfc6724Scope(b), // rule 8: smaller scope
		common,                          // rule 9: longest matching prefix, IPv6 only
	)
}

func falseLast(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// rfc6724Policy returns the entry of the table of RFC 6724 section 2.1, as far as Go
// has it.
func rfc6724Policy(a netip.Addr) (precedence, label int) {
	if a.Is4() {
		return 35, 4
	}
	b := a.As16()
	switch {
	case a.IsLoopback():
		return 50, 0
	case netip.AddrFrom16(b).Is4In6():
		return 35, 4
	case [12]byte(b[:12]) == [12]byte{}:
		return 1, 3 // IPv4-compatible
	case [4]byte(b[:4]) == [4]byte{0x20, 0x01}:
		return 5, 5 // Teredo
	case b[0] == 0x20 && b[1] == 0x02:
		return 30, 2 // 6to4
	case b[0] == 0x3f && b[1] == 0xfe:
		return 1, 12 // 6bone
	case b[0] == 0xfe && b[1]&0xc0 == 0xc0:
		return 1, 11 // site-local
	case b[0]&0xfe == 0xfc:
		return 3, 13 // unique local
	}
	return 40, 1
}

// rfc6724Scope returns the scope of RFC 6724 section 3.1.
func rfc6724Scope(a netip.Addr) int {
	b := a.As16()
	switch {
	case a.IsLoopback(), a.IsLinkLocalUnicast():
		return 0x2
	case a.Is6() && a.IsMulticast():
		return int(b[1] & 0xf)
	case a.Is6() && b[0] == 0xfe && b[1]&0xc0 == 0xc0:
		return 0x5
	}
	return 0xe
}

// commonPrefix returns the number of leading bits that two IPv6 addresses share, up
// to 64: the rest is the interface's.
func commonPrefix(a, b netip.Addr) int {
	if !a.Is6() || !b.Is6() {
		return 0
	}
	x, y := a.As16(), b.As16()
	for i := range 8 {
		if d := x[i] ^ y[i]; d != 0 {
			return 8*i + bits.LeadingZeros8(d)
		}
	}
	return 64
}

// attempted is the result of dialling one address.
type attempted struct {
	v4        bool
	connected bool
	silent    bool          // no answer: the runtime waits for its share of the time
	took      time.Duration // until it was known
}

// race returns which of the addresses, in dial order, the runtime's dialer would
// use, and after how long; -1: none connects.
func race(tries []attempted, timeout time.Duration) (winner int, after time.Duration) {
	var first, other []int
	for i, t := range tries {
		if t.v4 == tries[0].v4 {
			first = append(first, i)
		} else {
			other = append(other, i)
		}
	}
	winner, after = dialSerial(tries, first, timeout)
	start := min(after, fallbackDelay)
	if winner >= 0 && after <= fallbackDelay {
		return winner, after
	}
	if second, more := dialSerial(tries, other, timeout-start); second >= 0 && (winner < 0 || start+more < after) {
		return second, start + more
	}
	return winner, after
}

// dialSerial tries the addresses at the indices one after the other (dialSerial of
// net/dial.go).
func dialSerial(tries []attempted, at []int, timeout time.Duration) (winner int, after time.Duration) {
	for n, i := range at {
		left := timeout - after
		if left <= 0 {
			break
		}
		share := max(left/time.Duration(len(at)-n), min(left, leastShare))
		switch t := tries[i]; {
		case t.connected && t.took <= share:
			return i, after + t.took
		case t.connected || t.silent:
			after += share
		default:
			after += min(t.took, share)
		}
	}
	return -1, after
}
