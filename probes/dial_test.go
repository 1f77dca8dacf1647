package probes

import (
	"net/netip"
	"testing"
)

func TestLoopbackFor(t *testing.T) {
	tests := []struct {
		host host
		want bool
	}{
		{host{Host: "registry.lab"}, false},
		{host{Host: "127.0.0.1:5000"}, true},
		{host{Host: "localhost:5000"}, true},
		{host{Host: "mirror.lab:30020", configured: true}, true},
	}
	for _, tt := range tests {
		if got := new(Prober).loopbackFor(tt.host); got != tt.want {
			t.Errorf("%s: %v", tt.host.Host, got)
		}
	}
}

func TestOwnAddressFor(t *testing.T) {
	tests := []struct {
		host host
		want bool
	}{
		{host{Host: "127.0.0.1:5000"}, true}, {host{Host: "192.0.2.7:5000"}, true}, {host{Host: "192.0.2.8:5000"}, false},
		{host{Host: "192.0.2.7:5000", foreign: true}, false}, {host{Host: "r.lab", configured: true}, true}, {host{Host: "r.lab"}, false},
	}
	for _, tt := range tests {
		m := Prober{Guard: Guard{Own: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}}
		if got := m.loopbackFor(tt.host); got != tt.want {
			t.Errorf("%+v: %v", tt.host, got)
		}
	}
}
