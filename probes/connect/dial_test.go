package connect

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

func TestLoopbackAllowed(t *testing.T) {
	tests := []struct {
		host runtimeconfig.Host
		want bool
	}{
		{runtimeconfig.Host{Host: "registry.lab"}, false},
		{runtimeconfig.Host{Host: "127.0.0.1:5000"}, true},
		{runtimeconfig.Host{Host: "localhost:5000"}, true},
		{runtimeconfig.Host{Host: "mirror.lab:30020", Configured: true}, true},
	}
	for _, tt := range tests {
		if got := new(Prober).LoopbackAllowed(tt.host); got != tt.want {
			t.Errorf("%s: %v", tt.host.Host, got)
		}
	}
}

func TestOwnAddressAllowed(t *testing.T) {
	tests := []struct {
		host runtimeconfig.Host
		want bool
	}{
		{runtimeconfig.Host{Host: "127.0.0.1:5000"}, true}, {runtimeconfig.Host{Host: "192.0.2.7:5000"}, true}, {runtimeconfig.Host{Host: "192.0.2.8:5000"}, false},
		{runtimeconfig.Host{Host: "192.0.2.7:5000", Foreign: true}, false}, {runtimeconfig.Host{Host: "r.lab", Configured: true}, true}, {runtimeconfig.Host{Host: "r.lab"}, false},
	}
	for _, tt := range tests {
		m := Prober{Guard: guard.Guard{Own: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}}
		if got := m.LoopbackAllowed(tt.host); got != tt.want {
			t.Errorf("%+v: %v", tt.host, got)
		}
	}
}

func TestOnlyFamily(t *testing.T) {
	routes := func(families ...string) func(netip.Addr) netip.Addr {
		return func(a netip.Addr) netip.Addr {
			if a.Is4() && slices.Contains(families, "IPv4") || a.Is6() && slices.Contains(families, "IPv6") {
				return a
			}
			return netip.Addr{}
		}
	}
	for _, tt := range []struct {
		addr, want string
		routes     []string
	}{
		{"10.0.0.1", "IPv6", []string{"IPv6"}},
		{"::ffff:10.0.0.1", "IPv6", []string{"IPv6"}},
		{"fd00::1", "IPv4", []string{"IPv4"}},
		{"fd00::1", "", []string{"IPv6"}},
		{"10.0.0.1", "", []string{"IPv4", "IPv6"}},
		{"10.0.0.1", "", nil}, // it has none: that is no matter of families
	} {
		if got := onlyFamily(netip.MustParseAddr(tt.addr), routes(tt.routes...)); got != tt.want {
			t.Errorf("%s with routes for %v: %q, want %q", tt.addr, tt.routes, got, tt.want)
		}
	}
}

// The route of an address is known without a packet.
func TestLocalRoute(t *testing.T) {
	if got := localRoute(netip.MustParseAddrPort("127.0.0.1:9")); got != "exists" {
		t.Errorf("loopback: %q", got)
	}
	far := netip.MustParseAddrPort("[2001:db8::1]:9")
	if _, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(far)); errors.Is(err, syscall.ENETUNREACH) {
		if got := localRoute(far); got != "none" {
			t.Errorf("without a route: %q", got)
		}
	}
}
