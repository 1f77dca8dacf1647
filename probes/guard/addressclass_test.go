package guard

import (
	"net/netip"
	"testing"
)

func TestAddressClass(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0": "unspecified", "::": "unspecified", "0.1.2.3": "unspecified", "127.0.0.1": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback",
		"10.1.2.3": "private", "172.16.0.1": "private", "192.168.0.1": "private", "fd00::1": "private", "169.254.0.1": "link-local", "fe80::1%eth0": "link-local",
		"169.254.169.254": "link-local", "168.63.129.16": "metadata", "100.64.0.1": "shared", "192.0.2.1": "documentation", "203.0.113.9": "documentation",
		"2001:db8::1": "documentation", "198.18.0.5": "benchmarking", "224.0.0.1": "multicast", "240.0.0.1": "reserved", "64:ff9b::10.0.0.1": "private",
		"8.8.8.8": "", "2606:4700::1": "", "100.128.0.1": "", "198.20.0.1": "",
	} {
		if got := AddressClass(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}
