package connect

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
)

func addrs(list string) (out []netip.Addr) {
	for s := range strings.FieldsSeq(list) {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// The vectors are those of RFC 6724 section 10.2, and of Go's own
// net/addrselect_test.go where it leaves a rule out.
func TestDialOrder(t *testing.T) {
	tests := []struct{ name, addrs, sources, want string }{
		{"matching scope", "2001:db8:1::1 198.51.100.121", "2001:db8:1::2 169.254.13.78", "2001:db8:1::1 198.51.100.121"},
		{"matching scope, v4", "2001:db8:1::1 198.51.100.121", "fe80::1 198.51.100.117", "198.51.100.121 2001:db8:1::1"},
		{"precedence", "10.1.2.3 2001:db8:1::1", "10.1.2.4 2001:db8:1::2", "2001:db8:1::1 10.1.2.3"},
		{"smaller scope", "2001:db8:1::1 fe80::1", "2001:db8:1::2 fe80::2", "fe80::1 2001:db8:1::1"},
		{"matching label", "2001:db8:1::1 2002:c633:6401::1", "2002:c633:6401::2 2002:c633:6401::2", "2002:c633:6401::1 2001:db8:1::1"},
		{"no route", "2001:db8:1::1 10.0.0.1", "- 10.0.0.9", "10.0.0.1 2001:db8:1::1"},
		{"no route at all", "10.0.0.1 2001:db8:1::1", "- -", "10.0.0.1 2001:db8:1::1"},
		{"unique local below v4", "fd00::1 10.0.0.1", "fd00::2 10.0.0.9", "10.0.0.1 fd00::1"},
		{"v4 keeps the order of the answer", "10.9.0.1 10.0.0.1 10.5.0.1", "10.0.0.9 10.0.0.9 10.0.0.9", "10.9.0.1 10.0.0.1 10.5.0.1"},
		{"longest prefix, v6", "2001:db8:2::1 2001:db8:1::1", "2001:db8:1::9 2001:db8:1::9", "2001:db8:1::1 2001:db8:2::1"},
		{"mapped", "::ffff:10.0.0.1 2001:db8::1", "10.0.0.9 -", "10.0.0.1 2001:db8::1"},
	}
	for _, tt := range tests {
		all := addrs(tt.addrs)
		from := map[netip.Addr]netip.Addr{}
		for i, s := range strings.Fields(tt.sources) {
			if s != "-" {
				from[all[i].Unmap()] = netip.MustParseAddr(s)
			}
		}
		got := dialOrder(all, func(a netip.Addr) netip.Addr { return from[a] }, 8)
		if !slices.Equal(got, addrs(tt.want)) {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}

	many := dialOrder(addrs("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8 10.0.0.9 fd00::1 fd00::2 fd00::3"),
		func(a netip.Addr) netip.Addr { return a }, 8)
	if v6 := slices.IndexFunc(many, netip.Addr.Is6); len(many) != 8 || v6 != 6 {
		t.Errorf("kept %v", many)
	}
}

// Go's own resolver is the reference: it gets the same answers from a real DNS
// server and sorts them for a dialer on this machine.
func TestDialOrderIsGos(t *testing.T) {
	port := probetest.DNSPort(t)
	for i, records := range []string{"127.0.0.5 127.0.0.3 ::1", "192.0.2.1 127.0.0.1", "2001:db8::1 192.0.2.1 127.0.0.1 fe80::7", "fd00::1 2001:db8::1 10.0.0.1 169.254.1.1 ::1"} {
		ip := "127.0.0." + strconv.Itoa(i+2)
		probetest.ServeDNS(t, ip, port, probetest.Zone(map[string]string{"order.example.": records}))
		n := &Prober{Node: view.Node{Resolv: view.ParseResolvConf([]byte("nameserver " + ip))}, ResolverPort: port}
		l := n.lookUp(t.Context(), "order.example", "order.example")
		l.stop()
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, serverAt(n, 0))
		}}
		want, err := resolver.LookupNetIP(t.Context(), "ip", "order.example.")
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i] = want[i].Unmap()
		}
		if !slices.Equal(l.addrs, want) {
			t.Errorf("%s: %v, Go dials %v", records, l.addrs, want)
		}
	}
}

func serverAt(n *Prober, i int) string {
	return netip.AddrPortFrom(n.Resolv.Servers[i], n.ResolverPort).String()
}

func TestRace(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	up := func(v4 bool, took time.Duration) attempted { return attempted{v4: v4, connected: true, took: took} }
	hole := func(v4 bool) attempted { return attempted{v4: v4, silent: true, took: 2500 * ms} }
	refused := func(v4 bool) attempted { return attempted{v4: v4, took: ms} }
	tests := []struct {
		name   string
		tries  []attempted
		winner int
		after  time.Duration
	}{
		{"one", []attempted{up(true, 5*ms)}, 0, 5 * ms},
		{"the first that connects", []attempted{up(true, 5*ms), up(true, ms)}, 0, 5 * ms},
		{"refused, then the next", []attempted{refused(true), up(true, 5*ms)}, 1, 6 * ms},
		{"a hole costs its share of 30 s", []attempted{hole(true), up(true, 5*ms)}, 1, 15*s + 5*ms},
		{"two holes", []attempted{hole(true), hole(true), up(true, 5*ms)}, 2, 20*s + 5*ms},
		{"v6 refused falls to v4 at once", []attempted{refused(false), up(true, 5*ms)}, 1, 6 * ms},
		{"v6 hole costs 300 ms", []attempted{hole(false), up(true, 5*ms)}, 1, 305 * ms},
		{"slow v6 loses", []attempted{up(false, 400*ms), up(true, 5*ms)}, 1, 305 * ms},
		{"v6 within 300 ms wins", []attempted{up(false, 290*ms), up(true, 5*ms)}, 0, 290 * ms},
		{"v6 faster than late v4", []attempted{up(false, 310*ms), up(true, 50*ms)}, 0, 310 * ms},
		{"second v6 after a refused one", []attempted{refused(false), up(false, ms), up(true, ms)}, 1, 2 * ms},
		{"none", []attempted{refused(false), refused(true)}, -1, ms},
	}
	for _, tt := range tests {
		if winner, after := race(tt.tries, 30*s); winner != tt.winner || winner >= 0 && after != tt.after {
			t.Errorf("%s: %d after %v, want %d after %v", tt.name, winner, after, tt.winner, tt.after)
		}
	}
	if winner, _ := race([]attempted{hole(true), up(true, ms)}, 2*s); winner != -1 {
		t.Errorf("with 2 s for both the first takes all of it (net.partialDeadline), not %d", winner)
	}
}
