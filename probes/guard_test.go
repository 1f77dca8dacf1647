package probes

import (
	"net/netip"
	"testing"
)

func TestRefusal(t *testing.T) {
	refused := []string{
		"0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1",
		"255.255.255.255", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "fd20:ce::254",
		"::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "::169.254.169.254", "::ffff:100.100.100.200",
	}
	loopback := []string{"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::"}
	allowed := []string{"10.0.0.1", "192.168.1.1", "8.8.8.8", "fd00::1", "2001:db8::1", "64:ff9b::8.8.8.8", "::ffff:10.0.0.1", "100.64.0.1"}
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
		if got := new(Node).loopbackFor(tt.host); got != tt.want {
			t.Errorf("%s: %v", tt.host.Host, got)
		}
	}
}
