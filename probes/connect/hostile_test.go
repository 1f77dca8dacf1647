package connect

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Resolvers that send invalid answers.
func TestHostileDNS(t *testing.T) {
	question := func(q []byte) (id, rest []byte) { return q[:2], q[12:] }
	udp := map[string]func(q []byte) []byte{
		"garbage":     func(q []byte) []byte { return []byte(strings.Repeat("\xff", 500)) },
		"one byte":    func(q []byte) []byte { return q[:1] },
		"only header": func(q []byte) []byte { return append(append([]byte{}, q[:2]...), 0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0) },
		"compression loop": func(q []byte) []byte {
			id, _ := question(q)
			m := append(append([]byte{}, id...), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0)
			m = append(m, 0xc0, 12, 0, 1, 0, 1) // a name that points at itself
			return append(m, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4)
		},
		"records that are not there": func(q []byte) []byte {
			m := append([]byte{}, q...)
			m[2], m[3] = 0x81, 0x80
			binary.BigEndian.PutUint16(m[6:], 65535)
			return m
		},
	}
	for name, answer := range udp {
		t.Run(name, func(t *testing.T) {
			port := probetest.DNSPort(t)
			p, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			go func() {
				buf := make([]byte, 4096)
				for {
					n, from, err := p.ReadFrom(buf)
					if err != nil {
						return
					}
					p.WriteTo(answer(buf[:n]), from)
				}
			}()
			hostileLookUp(t, port, "")
		})
	}
	t.Run("a flood of answers to something else", func(t *testing.T) {
		port := probetest.DNSPort(t)
		probetest.ServeDNS(t, "127.0.0.1", port, func(w dns.ResponseWriter, q *dns.Msg) {
			for range 5000 {
				m := new(dns.Msg)
				m.SetReply(q)
				m.Id++
				if w.WriteMsg(m) != nil {
					return
				}
			}
		})
		hostileLookUp(t, port, "")
	})
	t.Run("huge over TCP", func(t *testing.T) {
		port := probetest.DNSPort(t)
		probetest.ServeDNS(t, "127.0.0.1", port, func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			m.SetReply(q)
			m.RecursionAvailable = true
			for i := range 3500 {
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(10, 0, byte(i>>8), byte(i))})
			}
			m.Compress = true
			w.WriteMsg(m)
		})
		l := hostileLookUp(t, port, "options use-vc\n")
		if len(l.addrs) == 0 || len(l.addrs) > maxAddresses {
			t.Errorf("%d addresses", len(l.addrs))
		}
	})
	t.Run("slow over TCP", func(t *testing.T) {
		port := probetest.ListenRaw(t, func(c net.Conn) { probetest.Drip(c, []byte{0xff, 0xff}) })
		hostileLookUp(t, port, "options use-vc\n")
	})
}

func hostileLookUp(t *testing.T, port uint16, conf string) lookup {
	t.Helper()
	n := &Prober{Node: view.Node{Resolv: view.ParseResolvConf([]byte(conf + "nameserver 127.0.0.1\n"))}, ResolverPort: port, Limits: Limits{DNS: 600 * time.Millisecond}}
	n, ctx, cancel := n.Begin(t.Context())
	defer cancel()
	var l lookup
	if bytes := probetest.Allocated(func() {
		l = n.lookUp(ctx, "r", "r.lab")
		l.resolverChecks(ctx, "r", "r.lab")
		l.stop()
	}); bytes > probetest.MaxHostile {
		t.Errorf("%d bytes", bytes)
	}
	t.Logf("%s %s", l.check.Outcome, l.check.Summary)
	if l.check.Outcome == report.Fail && l.check.Cause != report.ResolverFailed && l.check.Cause != report.ResolverUnreachable {
		t.Errorf("%+v", l.check)
	}
	return l
}

// An answer of a resolver must not break the reader, nor grow in it.
func FuzzAnswer(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion("r.lab.", dns.TypeA)
	m.Response = true
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "r.lab.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(10, 0, 0, 1)}}
	text, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, false)
	f.Add([]byte("\x00\x01\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"), true)
	f.Fuzz(func(t *testing.T, text []byte, six bool) {
		m := new(dns.Msg)
		if m.Unpack(text) != nil {
			return
		}
		qtype := dns.TypeA
		if six {
			qtype = dns.TypeAAAA
		}
		var a answer
		a.read(m, "r.lab.", qtype)
		if len(a.addrs) > maxAddresses || (a.finding == present) != (len(a.addrs) > 0) {
			t.Errorf("%+v", a)
		}
		for _, addr := range a.addrs {
			if !addr.IsValid() {
				t.Errorf("%+v", a)
			}
			guard.AddressClass(addr)
			guard.Guard{}.Address("r.lab", "443", addr, false)
		}
		dialOrder(a.addrs, func(a netip.Addr) netip.Addr { return a }, maxAddresses)
	})
}

// The proxy setting is the node's own text; a proxy's answer may be anything.
func FuzzProxy(f *testing.F) {
	f.Add("HTTPS_PROXY=http://u:p@proxy.lab:3128", "NO_PROXY=.lab,10.0.0.0/8,*.x,r:5000", "r.lab:443", "ERR_CONNECT_FAIL 111")
	f.Add("https_proxy=socks5://[::1]:1080", "no_proxy=[::1]", "[::1]:5000", "p; error=dns_error; details=\"x\"")
	f.Add("HTTPS_PROXY=%zz", "NO_PROXY=/", "", "")
	f.Fuzz(func(t *testing.T, proxy, no, host, says string) {
		p := view.ReadProxy([]string{proxy, no})
		for _, scheme := range []string{"http", "https"} {
			if u, err := p.For(scheme, host); err == nil && u != nil {
				ProxyAddress(u)
			}
			p.Ignored(scheme)
		}
		fault := (&ProxyError{status: 503, reason: says}).failure(0)
		for k, v := range fault.Facts.Checked() {
			if len(v) > evidence.MaxValue || readable.Clean(v, evidence.MaxValue) != v {
				t.Errorf("%s=%q", k, v)
			}
		}
		near, far := net.Pipe()
		go func() { defer far.Close(); io.CopyN(io.Discard, far, 3); io.WriteString(far, says) }()
		near.SetDeadline(time.Now().Add(time.Second))
		if err := socksConnect(near, "r.lab", "443", nil); err == nil && !strings.HasPrefix(says, "\x05\x00\x05\x00") {
			t.Errorf("%q is taken for a SOCKS connection", says)
		}
		near.Close()
	})
}
