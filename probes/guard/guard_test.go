package guard

import (
	"cmp"
	"net/netip"
	"testing"
)

func TestRefusal(t *testing.T) {
	refused := []string{
		"0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1",
		"255.255.255.255", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "fd20:ce::254",
		"::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "::169.254.169.254", "::ffff:100.100.100.200",
		"fd00:ec2::123", "fd00:ec2:0:1::7", "64:ff9b:1::169.254.169.254", "64:ff9b:1::100.100.100.200",
		"64:ff9b:1:0:a9:fea9:fe00:0", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:a9fe:a9:fe00::", // the forms of a /64, a /56 and a /48
	}
	loopback := []string{"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::"}
	allowed := []string{"10.0.0.1", "192.168.1.1", "8.8.8.8", "fd00::1", "2001:db8::1", "64:ff9b::8.8.8.8", "64:ff9b:1::8.8.8.8", "fd00:ec3::1", "::ffff:10.0.0.1", "100.64.0.1"}
	for _, s := range refused {
		if refusal(netip.MustParseAddr(s), true) == "" {
			t.Errorf("%s is not refused", s)
		}
	}
	for _, s := range loopback {
		if refusal(netip.MustParseAddr(s), false) == "" {
			t.Errorf("%s is not refused", s)
		}
		if r := refusal(netip.MustParseAddr(s), true); r != "" {
			t.Errorf("%s is refused as %s although loopback is allowed", s, r)
		}
	}
	for _, s := range allowed {
		if r := refusal(netip.MustParseAddr(s), false); r != "" {
			t.Errorf("%s is refused as %s", s, r)
		}
	}
	if refusal(netip.Addr{}, true) == "" {
		t.Error("no address at all is not refused")
	}
}

// Addresses of the node itself are refused, unless its configuration or the image
// names them.
func TestOwnAddresses(t *testing.T) {
	for _, a := range []string{"192.0.2.7", "::ffff:192.0.2.7", "64:ff9b::c000:207", "fd00::7", "fd00::7%eth0"} {
		g := Guard{Own: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("fd00::7")}}
		if got := g.Address("r.lab", "443", netip.MustParseAddr(a), false); got != ownAddress {
			t.Errorf("%s: %q", a, got)
		}
		if got := g.Address("r.lab", "443", netip.MustParseAddr(a), true); got != "" {
			t.Errorf("%s, which the node names: %q", a, got)
		}
		g.Allow = patterns(t, "r.lab:443")
		if got := g.Address("r.lab", "443", netip.MustParseAddr(a), false); got != "" {
			t.Errorf("%s is allowed: %q", a, got)
		}
		g.Loopback, g.Allow = true, nil
		if got := g.Address("r.lab", "443", netip.MustParseAddr(a), false); got != "" {
			t.Errorf("%s for check: %q", a, got)
		}
	}
	if got := (Guard{Own: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}).Address("r.lab", "443", netip.MustParseAddr("192.0.2.8"), false); got != "" {
		t.Errorf("the neighbour: %q", got)
	}
}

func TestGuard(t *testing.T) {
	tests := []struct {
		name        string
		deny, allow []string
		host, port  string
		addr        string // empty: the name alone
		want        string
	}{
		{name: "nothing is set", host: "r.example", addr: "10.0.0.1"},
		{name: "the built-in refusals", host: "r.example", addr: "127.0.0.1", want: "a loopback address"},
		{name: "a name that is an address", host: "169.254.169.254", want: "a link-local address"},
		{name: "in another notation", host: "0xa9fea9fe", want: "a link-local address"},
		{name: "denied by name", deny: []string{"r.example"}, host: "r.example", want: deniedPrefix + "r.example"},
		{name: "in capitals, with a dot", deny: []string{"r.example"}, host: "R.Example.", want: deniedPrefix + "r.example"},
		{name: "in full width", deny: []string{"r.example"}, host: "ｒ。example", want: deniedPrefix + "r.example"},
		{name: "all below", deny: []string{"*.corp.example"}, host: "a.b.corp.example", want: deniedPrefix + "*.corp.example"},
		{name: "not itself", deny: []string{"*.corp.example"}, host: "corp.example"},
		{name: "no other ending", deny: []string{"*.corp.example"}, host: "xcorp.example"},
		{name: "everything", deny: []string{"*"}, host: "r.example", want: deniedPrefix + "*"},
		{name: "Docker Hub as images name it", deny: []string{"docker.io"}, host: "registry-1.docker.io", want: deniedPrefix + "docker.io"},
		{name: "on this port", deny: []string{"r.example:5000"}, host: "r.example", port: "5000", want: deniedPrefix + "r.example:5000"},
		{name: "port in another notation", deny: []string{"r.example:443"}, host: "r.example", port: "0443", want: deniedPrefix + "r.example:443"},
		{name: "on no other", deny: []string{"r.example:5000"}, host: "r.example"},
		{name: "by the address it resolves to", deny: []string{"10.0.0.0/8"}, host: "r.example", addr: "10.1.2.3", want: deniedPrefix + "10.0.0.0/8"},
		{name: "mapped", deny: []string{"10.0.0.0/8"}, host: "r.example", addr: "::ffff:10.1.2.3", want: deniedPrefix + "10.0.0.0/8"},
		{name: "behind NAT64", deny: []string{"10.0.0.0/8"}, host: "r.example", addr: "64:ff9b::a01:203", want: deniedPrefix + "10.0.0.0/8"},
		{name: "NAT64 itself", deny: []string{"64:ff9b::/96"}, host: "r.example", addr: "64:ff9b::808:808", want: deniedPrefix + "64:ff9b::/96"},
		{name: "an address in the place of a name", deny: []string{"10.1.2.3:443"}, host: "10.66051", want: deniedPrefix + "10.1.2.3:443"},
		{name: "another address", deny: []string{"10.1.2.3"}, host: "r.example", addr: "10.1.2.4"},
		{name: "allowed by address", allow: []string{"127.0.0.1"}, host: "r.example", addr: "127.0.0.1"},
		{name: "allowed by name", allow: []string{"*.example"}, host: "r.example", addr: "169.254.20.10"},
		{name: "allowed as a name that is an address", allow: []string{"169.254.0.0/16"}, host: "169.254.20.10"},
		{name: "allowed on one port", allow: []string{"127.0.0.1:5000"}, host: "r.example", addr: "127.0.0.1", want: "a loopback address"},
		{name: "another host is allowed", allow: []string{"s.example"}, host: "r.example", addr: "127.0.0.1", want: "a loopback address"},
		{name: "allowed is where packets end up", allow: []string{"64:ff9b::/96"}, host: "r.example", addr: "64:ff9b::a9fe:a9fe", want: "a link-local address"},
		{name: "deny wins", deny: []string{"127.0.0.0/8"}, allow: []string{"r.example", "127.0.0.1"}, host: "r.example", addr: "127.0.0.1", want: deniedPrefix + "127.0.0.0/8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := Guard{Deny: patterns(t, tt.deny...), Allow: patterns(t, tt.allow...)}
			port := cmp.Or(tt.port, "443")
			got := g.Name(tt.host, port, false)
			if tt.addr != "" {
				got = g.Address(tt.host, port, netip.MustParseAddr(tt.addr), false)
			}
			if string(got) != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
