package guard

import (
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/pullprobe/pullprobe/report"
)

// Pattern is one entry of a list of hosts: a name, in which * matches any
// characters, also dots; an address; or a range of addresses. A name and an address
// may have a port; without one they match all ports.
type Pattern struct {
	name   string       // lower case, without a dot at its end; empty: prefix applies
	prefix netip.Prefix // of a single address: all its bits
	port   uint16       // 0: all ports
}

// ParsePattern reads an entry. The error quotes it and gives a valid form.
func ParsePattern(s string) (Pattern, error) {
	bad := func(why string, args ...any) (Pattern, error) {
		return Pattern{}, fmt.Errorf("%.80q %s", s, fmt.Sprintf(why, args...))
	}
	switch {
	case s == "":
		return Pattern{}, fmt.Errorf("an empty entry")
	case strings.Contains(s, "://"):
		return bad("has a scheme: write the host alone, such as registry.example:5000")
	case strings.Contains(s, "/"):
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return bad("is no range of addresses such as 10.0.0.0/8, and a host has no path")
		}
		if p != p.Masked() {
			return bad("has bits set beyond its length: write %s", p.Masked())
		}
		return Pattern{prefix: p}, nil
	}
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		if addr.Zone() != "" {
			return bad("has a zone: write %s, for all interfaces", addr.WithZone(""))
		}
		return single(addr, 0), nil
	}
	name, number, hasPort := s, "", false
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		name, number, hasPort = s[:i], s[i+1:], true
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if hasPort && (err != nil || port == 0) {
		return bad("ends in no port: write 1 to 65535 after the colon")
	}
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil && addr.Zone() == "" && (addr.Is4() || name[0] == '[') {
		return single(addr, uint16(port)), nil
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	switch {
	case name == "" || strings.HasPrefix(name, ".") || strings.Contains(name, "..") || len(name) > 253:
		return bad("is no host: write one such as registry.example, or *.example for all below example")
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.*") != "":
		return bad("is no host: a name has letters, digits, - _ and dots, and * for any characters")
	case strings.Contains(name, "*") && strings.ContainsAny(name, "0123456789") && strings.Trim(name, "0123456789.*") == "":
		return bad("looks like a range of addresses: write one such as 10.0.0.0/8")
	}
	return Pattern{name: name, port: uint16(port)}, nil
}

func single(a netip.Addr, port uint16) Pattern {
	a = a.Unmap()
	return Pattern{prefix: netip.PrefixFrom(a, a.BitLen()), port: port}
}

// String returns the entry as it is written.
func (p Pattern) String() string {
	out := p.name
	if out == "" && p.prefix.IsSingleIP() {
		out = p.prefix.Addr().String()
		if p.port != 0 && p.prefix.Addr().Is6() {
			out = "[" + out + "]"
		}
	} else if out == "" {
		out = p.prefix.String()
	}
	if p.port != 0 {
		out += ":" + strconv.Itoa(int(p.port))
	}
	return out
}

// Host returns the one host that p matches, as images name it; ok is false if p
// matches several.
func (p Pattern) Host() (host string, ok bool) {
	switch {
	case strings.Contains(p.name, "*"), p.name == "" && !p.prefix.IsSingleIP():
		return "", false
	case p.name == "" && p.prefix.Addr().Is6() && p.port == 0:
		return "[" + p.String() + "]", true
	}
	return p.String(), true
}

// matches reports whether p matches a host of this name, or one of these addresses.
func (p Pattern) matches(name, port string, addrs ...netip.Addr) bool {
	if number, err := strconv.ParseUint(port, 10, 16); p.port != 0 && (err != nil || uint16(number) != p.port) {
		return false
	}
	if p.name == "" {
		for _, a := range addrs {
			if p.prefix.Contains(a) {
				return true
			}
		}
		return false
	}
	name = plainName(name)
	ok, _ := path.Match(p.name, name) // a parsed pattern gives no error
	if !ok && report.Serves(name, report.DockerHub) {
		ok, _ = path.Match(p.name, report.DockerHub) // as images name it
	}
	return ok
}

// plainName returns a name in the form in which it is resolved: a server may write
// it in many ways.
func plainName(name string) string {
	for _, b := range []byte(name) {
		if b >= 0x80 {
			if ascii, err := idna.Lookup.ToASCII(name); err == nil {
				name = ascii
			}
			break
		}
	}
	return strings.TrimRight(strings.ToLower(name), ".")
}

// literal returns the address that a name is, if it is one: in the usual notation,
// or in those of inet_aton(3) (127.1, 0x7f000001), which a proxy may accept.
func literal(name string) (netip.Addr, bool) {
	name = plainName(name)
	if a, err := netip.ParseAddr(name); err == nil {
		return a, true
	}
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var whole uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts)) // the last part has the remaining bits
		}
		n, err := strconv.ParseUint(part, 0, bits)
		if err != nil || strings.Contains(part, "_") || strings.HasPrefix(part, "0b") || strings.HasPrefix(part, "0o") {
			return netip.Addr{}, false
		}
		whole = whole<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(whole >> 24), byte(whole >> 16), byte(whole >> 8), byte(whole)}), true
}
