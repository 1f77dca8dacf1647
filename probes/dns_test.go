package probes

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/report"
)

// truncating answers over TCP only.
func truncating(h dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Truncated, m.RecursionAvailable = true, true
			w.WriteMsg(m)
			return
		}
		h(w, q)
	}
}

func TestLookUp(t *testing.T) {
	records := zone(map[string]string{
		"registry.lab.": "10.0.0.7 10.0.0.8 fd00::7", "v6.lab.": "fd00::9", "empty.lab.": "", "short.corp.": "10.0.0.9",
	})
	other := zone(map[string]string{"registry.lab.": "10.9.9.9"})
	referral := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		w.WriteMsg(m)
	}
	wrongID := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Id++
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(6, 6, 6, 6)}}
		w.WriteMsg(m)
		records(w, q)
	}
	const refused = "refused" // no server at all at this address
	tests := []struct {
		name    string
		servers []any // dns.HandlerFunc, nil for one that never answers, refused
		conf    string
		host    string
		outcome report.Outcome
		cause   report.Cause
		facts   []string
		each    []string // outcome and cause of every resolver
	}{
		{"both families", []any{records}, "", "registry.lab", report.Pass, "", []string{"addresses=10.0.0.7, 10.0.0.8, fd00::7"}, []string{"pass "}},
		{"only v6", []any{records}, "", "v6.lab", report.Pass, "", []string{"addresses=fd00::9"}, []string{"pass "}},
		{"NXDOMAIN", []any{records}, "", "nosuch.lab", report.Fail, report.HostNotFound, []string{"rcode=NXDOMAIN"}, []string{"fail HostNotFound"}},
		{"no data", []any{records}, "", "empty.lab", report.Fail, report.HostNotFound, []string{"rcode=NODATA"}, []string{"fail HostNotFound"}},
		{"NXDOMAIN of the first is final", []any{zone(nil), records}, "", "registry.lab", report.Fail, report.HostNotFound, nil, []string{"fail HostNotFound", "pass "}},
		{"the first decides", []any{other, records}, "", "registry.lab", report.Pass, "", []string{"addresses=10.9.9.9"}, []string{"pass ", "pass "}},
		{"SERVFAIL goes on", []any{always(dns.RcodeServerFailure), records}, "", "registry.lab", report.Pass, "", []string{"passedOver=1"}, []string{"fail ResolverFailed", "pass "}},
		{"REFUSED goes on", []any{always(dns.RcodeRefused), records}, "", "registry.lab", report.Pass, "", nil, []string{"fail ResolverFailed", "pass "}},
		{"a referral goes on", []any{referral, records}, "", "registry.lab", report.Pass, "", nil, []string{"fail ResolverFailed", "pass "}},
		{"SERVFAIL alone", []any{always(dns.RcodeServerFailure)}, "", "registry.lab", report.Fail, report.ResolverFailed, []string{"rcode=SERVFAIL"}, []string{"fail ResolverFailed"}},
		{"nothing on the port", []any{refused}, "", "registry.lab", report.Fail, report.ResolverUnreachable, []string{"error=ECONNREFUSED"}, []string{"fail ResolverUnreachable"}},
		{"silent alone", []any{nil}, "", "registry.lab", report.Fail, report.ResolverUnreachable, []string{"deadline=true"}, []string{"fail ResolverUnreachable"}},
		{"silent first", []any{nil, records}, "", "registry.lab", report.Pass, "", []string{"passedOver=1"}, []string{"fail ResolverUnreachable", "pass "}},
		{"silent second", []any{records, nil}, "", "registry.lab", report.Pass, "", nil, []string{"pass ", "fail ResolverUnreachable"}},
		{"refusing first", []any{refused, records}, "", "registry.lab", report.Pass, "", nil, []string{"fail ResolverUnreachable", "pass "}},
		{"truncated", []any{truncating(records)}, "", "registry.lab", report.Pass, "", nil, []string{"pass "}},
		{"TCP only", []any{truncating(records)}, "options use-vc\n", "registry.lab", report.Pass, "", nil, []string{"pass "}},
		{"forged answer first", []any{dns.HandlerFunc(wrongID)}, "", "v6.lab", report.Pass, "", []string{"addresses=fd00::9"}, []string{"pass "}},
		{"search list", []any{records}, "search lab corp\n", "short", report.Pass, "", []string{"name=short.corp."}, []string{"pass "}},
		{"search list in vain", []any{records}, "search lab corp\n", "long", report.Fail, report.HostNotFound, []string{"namesTried=3"}, []string{"fail HostNotFound"}},
		{"not a DNS name", []any{records}, "", strings.Repeat("a", 70) + ".lab", report.Fail, report.HostNotFound, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			port := dnsPort(t)
			conf := tt.conf
			for i, s := range tt.servers {
				ip := fmt.Sprintf("127.0.0.%d", i+2)
				conf += "nameserver " + ip + "\n"
				switch s := s.(type) {
				case nil:
					serveDNS(t, ip, port, nil)
				case dns.HandlerFunc:
					serveDNS(t, ip, port, s)
				case func(dns.ResponseWriter, *dns.Msg):
					serveDNS(t, ip, port, s)
				}
			}
			n := &Prober{Node: Node{Resolv: ParseResolvConf([]byte(conf))}, ResolverPort: port}
			ctx, cancel := context.WithTimeout(context.Background(), 1200*time.Millisecond)
			defer cancel()
			l := n.lookUp(ctx, "r", tt.host)
			byID := map[string]report.Check{l.check.ID: l.check}
			want(t, byID, "dns/r", tt.outcome, tt.cause, tt.facts...)
			var each []string
			for _, c := range l.resolverChecks(ctx, "r", tt.host) {
				each = append(each, c.Outcome.String()+" "+string(c.Cause))
			}
			if diff := cmp.Diff(tt.each, each); diff != "" {
				t.Errorf("resolvers (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("resolv.conf unknown", func(t *testing.T) {
		n := &Prober{}
		l := n.lookUp(t.Context(), "r", "registry.lab")
		if l.check.Outcome != report.Skipped || l.check.BlockedBy != "runtime/resolv.conf" {
			t.Errorf("%+v", l.check)
		}
	})
	t.Run("DNS switched off", func(t *testing.T) {
		n := &Prober{Node: Node{Resolv: ParseResolvConf(nil), Lookup: ParseNSSwitch([]byte("hosts: files\n"))}}
		l := n.lookUp(t.Context(), "r", "registry.lab")
		want(t, map[string]report.Check{"dns/r": l.check}, "dns/r", report.Fail, report.HostNotFound)
	})
}

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
		if got := c.names(tt.host); !slices.Equal(got, tt.want) {
			t.Errorf("ndots %d, search %v: names(%q) = %q, want %q", tt.ndots, tt.search, tt.host, got, tt.want)
		}
	}
}

func TestParseHostsFile(t *testing.T) {
	h := ParseHostsFile([]byte("127.0.0.1 localhost\n10.0.0.1\tRegistry.Lab registry # registry.not\n10.0.0.2 registry.lab.\nbad name\nfe80::1%lo0 six\n::1 localhost"))
	tests := []struct{ name, want string }{
		{"localhost", "127.0.0.1, ::1"}, {"registry.lab", "10.0.0.1, 10.0.0.2"}, {"REGISTRY", "10.0.0.1"}, {"registry.not", ""}, {"name", ""}, {"six.", "fe80::1%lo0"},
	}
	for _, tt := range tests {
		if got := joinAddrs(h.Addresses(tt.name)); got != tt.want {
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
		for _, n := range c.names(host) {
			if !strings.HasSuffix(n, ".") {
				t.Errorf("not rooted: %q", n)
			}
		}
		ParseHostsFile(text).Addresses(host)
		ParseNSSwitch(text)
	})
}
