package view

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseResolvConf(t *testing.T) {
	five := func(c ResolvConf) ResolvConf {
		if c.NDots == 0 {
			c.NDots = 1
		}
		if c.Timeout == 0 {
			c.Timeout = 5 * time.Second
		}
		if c.Attempts == 0 {
			c.Attempts = 2
		}
		return c
	}
	ips := func(s ...string) (out []netip.Addr) {
		for _, a := range s {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	tests := []struct {
		text string
		want ResolvConf
	}{
		{"", ResolvConf{Servers: ips("127.0.0.1", "::1"), Default: true}},
		{"# nameserver 1.1.1.1\n; nameserver 2.2.2.2\nnameserver 10.0.0.1 # c\n", ResolvConf{Servers: ips("10.0.0.1")}},
		{" nameserver 10.0.0.1\r\nnameserver fe80::1%eth0\n", ResolvConf{Servers: ips("10.0.0.1", "fe80::1%eth0")}},
		{"nameserver dns.lab\nnameserver\n", ResolvConf{Servers: ips("127.0.0.1", "::1"), Default: true}},
		{"nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4", ResolvConf{Servers: ips("1.1.1.1", "2.2.2.2", "3.3.3.3")}},
		{"nameserver 1.1.1.1\ndomain a\nsearch b c. .\n", ResolvConf{Servers: ips("1.1.1.1"), Search: []string{"b.", "c."}}},
		{"nameserver 1.1.1.1\nsearch b\ndomain a\n", ResolvConf{Servers: ips("1.1.1.1"), Search: []string{"a."}}},
		{"nameserver 1.1.1.1\noptions ndots:5 timeout:1 attempts:3 rotate use-vc edns0 unknown\n", ResolvConf{Servers: ips("1.1.1.1"), NDots: 5, Timeout: time.Second, Attempts: 3, Rotate: true, TCP: true}},
		{"nameserver 1.1.1.1\noptions ndots:99999999999999999999 timeout:0 attempts:-4\n", ResolvConf{Servers: ips("1.1.1.1"), NDots: 15, Timeout: time.Second, Attempts: 1}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(five(tt.want), *ParseResolvConf([]byte(tt.text)), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestNames(t *testing.T) {
	tests := []struct {
		ndots  int
		search []string
		host   string
		want   []string
	}{
		{1, nil, "registry.lab", []string{"registry.lab."}},
		{1, []string{"a.", "b."}, "registry", []string{"registry.a.", "registry.b.", "registry."}},
		{1, []string{"a."}, "registry.lab", []string{"registry.lab.", "registry.lab.a."}},
		{5, []string{"a."}, "registry.lab", []string{"registry.lab.a.", "registry.lab."}},
		{5, []string{"a."}, "registry.lab.", []string{"registry.lab."}},
		{1, []string{"a."}, "x.onion", []string{"x.onion.a."}},
		{1, nil, strings.Repeat("a", 255), nil},
	}
	for _, tt := range tests {
		c := &ResolvConf{NDots: tt.ndots, Search: tt.search}
		if got := c.Names(tt.host); !slices.Equal(got, tt.want) {
			t.Errorf("ndots %d, search %v: names(%q) = %q, want %q", tt.ndots, tt.search, tt.host, got, tt.want)
		}
	}
}

func TestParseHostsFile(t *testing.T) {
	h := ParseHostsFile([]byte("127.0.0.1 localhost\n10.0.0.1\tRegistry.Lab registry # registry.not\n10.0.0.2 registry.lab.\nbad name\nfe80::1%lo0 six\n::1 localhost"))
	tests := []struct{ name, want string }{
		{"localhost", "127.0.0.1 ::1"}, {"registry.lab", "10.0.0.1 10.0.0.2"}, {"REGISTRY", "10.0.0.1"}, {"registry.not", ""}, {"name", ""}, {"six.", "fe80::1%lo0"},
	}
	for _, tt := range tests {
		if got := strings.Trim(fmt.Sprint(h.Addresses(tt.name)), "[]"); got != tt.want {
			t.Errorf("%s is %q, want %q", tt.name, got, tt.want)
		}
	}
	if (*HostsFile)(nil).Addresses("localhost") != nil {
		t.Error("an unknown file has addresses")
	}
}

func TestParseNSSwitch(t *testing.T) {
	tests := []struct {
		text string
		want Lookup
	}{
		{"", Lookup{}},
		{"passwd: files\nhosts:\t files dns # x\n", Lookup{}},
		{"hosts: dns files", Lookup{DNSFirst: true}},
		{"hosts: files", Lookup{NoDNS: true}},
		{"hosts: dns", Lookup{NoFiles: true}},
		{"hosts: files mdns4_minimal [NOTFOUND=return] dns", Lookup{Others: []string{"mdns4_minimal"}}},
		{"hosts: files resolve [!UNAVAIL=return] myhostname", Lookup{Others: []string{"resolve", "myhostname"}}},
		{"hosts:", Lookup{}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, ParseNSSwitch([]byte(tt.text))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
}

func FuzzResolverFiles(f *testing.F) {
	f.Add([]byte("nameserver 1.1.1.1\noptions ndots:5\nsearch a b\n"), "registry.lab")
	f.Add([]byte("10.0.0.1 a b c\nhosts: files dns"), "a")
	f.Fuzz(func(t *testing.T, text []byte, host string) {
		c := ParseResolvConf(text)
		if len(c.Servers) == 0 || len(c.Servers) > 3 || c.NDots < 0 || c.NDots > 15 || c.Attempts < 1 || c.Timeout < time.Second {
			t.Errorf("out of bounds: %+v", c)
		}
		for _, n := range c.Names(host) {
			if !strings.HasSuffix(n, ".") {
				t.Errorf("not rooted: %q", n)
			}
		}
		ParseHostsFile(text).Addresses(host)
		ParseNSSwitch(text)
	})
}
