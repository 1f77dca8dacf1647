package examine

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

// The addresses of Services, which kube-proxy may bind on every node, are not the
// node's own.
func TestServicesAreNotOwnAddresses(t *testing.T) {
	cidr := func(list ...string) (out []net.Addr) {
		for _, s := range list {
			ip, n, err := net.ParseCIDR(s)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		return out
	}
	got := exclude(
		cidr("127.0.0.1/8", "192.0.2.7/24", "10.96.0.10/32", "fe80::1/64", "fd00::7/64", "fd96::a/128"),
		cidr("10.96.0.10/32", "fd96::a/128"),
	)
	want := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("fd00::7")}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if interfaceAddresses("no-such-interface") != nil {
		t.Error("addresses of an interface that is not there")
	}
}
