package connect

import (
	"errors"
	"net"
	"net/netip"
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
