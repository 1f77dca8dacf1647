package probes

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/report"
)

// maxHostile bounds what one probe of a hostile server may allocate in all, in
// bytes, its DNS server and the test around it included.
const maxHostile = 8 << 20

// drip sends b slowly, without end.
func drip(c net.Conn, b []byte) {
	for {
		for i := range b {
			if _, err := c.Write(b[i : i+1]); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// hostile servers by name: what they do with a connection.
func hostile(cert tls.Certificate) map[string]func(net.Conn) {
	afterTLS := func(talk func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
			if s.Handshake() == nil {
				http.ReadRequest(bufio.NewReader(s))
				talk(s)
			}
		}
	}
	forever := func(head, again string) func(net.Conn) {
		block := strings.Repeat(again, 1+(32<<10)/len(again))
		return func(c net.Conn) {
			for _, err := io.WriteString(c, head); err == nil; _, err = io.WriteString(c, block) {
			}
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	return map[string]func(net.Conn){
		"endless headers":       afterTLS(forever(ok, "X-A: b\r\n")),
		"giant header":          afterTLS(forever(ok+"X-A: ", "aaaaaaaa")),
		"endless status":        afterTLS(forever("HTTP/1.1 200 ", "OK ")),
		"endless 100s":          afterTLS(forever("", "HTTP/1.1 100 Continue\r\n\r\n")),
		"endless chunks":        afterTLS(forever(ok+"Transfer-Encoding: chunked\r\n\r\n", "1;"+strings.Repeat("x", 99)+"\r\na\r\n")),
		"drip of a header":      afterTLS(func(c net.Conn) { io.WriteString(c, ok); drip(c, []byte("X-A: b\r\n")) }),
		"drip of a body":        afterTLS(func(c net.Conn) { io.WriteString(c, ok+"Content-Length: 999999\r\n\r\n"); drip(c, []byte("{")) }),
		"drip of a ServerHello": func(c net.Conn) { drip(c, []byte{22, 3, 3, 0x3f, 0xff, 2, 0, 0x3f, 0xfb}) },
		"endless handshake":     func(c net.Conn) { c.Read(make([]byte, 999)); forever("", "\x16\x03\x03\x00\x04\x00\x00\x00\x00")(c) },
		"10 MB chain": func(c net.Conn) {
			huge := cert
			for n := 0; n < 10<<20; n += len(cert.Certificate[0]) {
				huge.Certificate = append(huge.Certificate, cert.Certificate[0])
			}
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{huge}}).Handshake()
			c.Read(make([]byte, 1))
		},
	}
}

// TestHostileServer is the server process of TestHostile, so that what it
// allocates itself does not count.
func TestHostileServer(t *testing.T) {
	kind, pair := os.Getenv("HOSTILE"), os.Getenv("HOSTILE_PAIR")
	if kind == "" {
		return
	}
	cert, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("port %d\n", listenRaw(t, hostile(cert)[kind]))
	io.Copy(io.Discard, os.Stdin) // until the parent is done
}

func startHostile(t *testing.T, kind, pair string) (port uint16) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHostileServer$")
	c.Env = append(os.Environ(), "HOSTILE="+kind, "HOSTILE_PAIR="+pair)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Wait() })
	if _, err := fmt.Fscanf(out, "port %d\n", &port); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
	return port
}

// allocated is how many bytes do allocates in all.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Every hostile server ends as a check that did not pass, in the time of the
// step and in bounded memory.
func TestHostile(t *testing.T) {
	ca := newAuthority(t, nil)
	cert := ca.good(t, "r.lab")
	pair := t.TempDir() + "/pair.pem"
	if err := os.WriteFile(pair, []byte(pairPEM(t, cert)), 0o600); err != nil {
		t.Fatal(err)
	}
	n := newProber(t, ca, nil)
	n.Limits = Limits{Overall: 20 * time.Second, TLS: 400 * time.Millisecond, HTTP: 400 * time.Millisecond}
	for kind := range hostile(cert) {
		t.Run(kind, func(t *testing.T) {
			host := fmt.Sprintf("r.lab:%d", startHostile(t, kind, pair))
			var c map[string]report.Check
			if bytes := allocated(func() { c = probe(t, n, host+"/app:1") }); bytes > maxHostile {
				t.Errorf("%d bytes", bytes)
			}
			for id, check := range c {
				if (check.Kind == report.KindManifest || check.Kind == report.KindImage) && check.Outcome == report.Pass {
					t.Errorf("%s passed: %s", id, check.Summary)
				}
			}
		})
	}
	t.Run("redirect loop", func(t *testing.T) {
		var rec recorder
		var host string
		host = fmt.Sprintf("r.lab:%d", serve(t, &cert, rec.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "https://"+host+q.URL.Path+"x", http.StatusFound)
		}))))
		c := probe(t, n, host+"/app:1")
		want(t, c, "registry/"+host, report.Skipped, "", "refused=more than 10 redirects, where the runtime gives up")
		if got := len(rec.all()); got > 2*(maxRedirects+1) {
			t.Errorf("%d requests", got)
		}
	})
	t.Run("a proxy with endless headers", func(t *testing.T) {
		m := *n
		m.Proxy = ReadProxy([]string{fmt.Sprintf("HTTPS_PROXY=http://127.0.0.1:%d", listenRaw(t, func(c net.Conn) {
			c.Read(make([]byte, 999))
			for _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"); err == nil; _, err = io.WriteString(c, "X-A: b\r\n") {
			}
		}))})
		var c map[string]report.Check
		if bytes := allocated(func() { c = probe(t, &m, "r.outside/app:1") }); bytes > maxHostile {
			t.Errorf("%d bytes", bytes)
		}
		want(t, c, "dial/r.outside/proxy", report.Fail, report.ProxyUnreachable, "step=connect")
	})
}

// Resolvers that answer with what is no answer.
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
			port := dnsPort(t)
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
		port := dnsPort(t)
		serveDNS(t, "127.0.0.1", port, func(w dns.ResponseWriter, q *dns.Msg) {
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
		port := dnsPort(t)
		serveDNS(t, "127.0.0.1", port, func(w dns.ResponseWriter, q *dns.Msg) {
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
		port := listenRaw(t, func(c net.Conn) { drip(c, []byte{0xff, 0xff}) })
		hostileLookUp(t, port, "options use-vc\n")
	})
}

func hostileLookUp(t *testing.T, port uint16, conf string) lookup {
	t.Helper()
	n := &Prober{Node: Node{Resolv: ParseResolvConf([]byte(conf + "nameserver 127.0.0.1\n"))}, ResolverPort: port, Limits: Limits{DNS: 600 * time.Millisecond}}
	n, ctx, cancel := n.begin(t.Context())
	defer cancel()
	var l lookup
	if bytes := allocated(func() {
		l = n.lookUp(ctx, "r", "r.lab")
		l.resolverChecks(ctx, "r", "r.lab")
		l.stop()
	}); bytes > maxHostile {
		t.Errorf("%d bytes", bytes)
	}
	t.Logf("%s %s", l.check.Outcome, l.check.Summary)
	if l.check.Outcome == report.Fail && l.check.Cause != report.ResolverFailed && l.check.Cause != report.ResolverUnreachable {
		t.Errorf("%+v", l.check)
	}
	return l
}

// What a resolver sends must not break the reader, nor grow in it.
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
			special(addr)
			refusal(addr, false)
		}
		dialOrder(a.addrs, func(a netip.Addr) netip.Addr { return a }, maxAddresses)
	})
}

// The proxy setting is the node's own text, and a proxy's reply is anybody's.
func FuzzProxy(f *testing.F) {
	f.Add("HTTPS_PROXY=http://u:p@proxy.lab:3128", "NO_PROXY=.lab,10.0.0.0/8,*.x,r:5000", "r.lab:443", "ERR_CONNECT_FAIL 111")
	f.Add("https_proxy=socks5://[::1]:1080", "no_proxy=[::1]", "[::1]:5000", "p; error=dns_error; details=\"x\"")
	f.Add("HTTPS_PROXY=%zz", "NO_PROXY=/", "", "")
	f.Fuzz(func(t *testing.T, proxy, no, host, says string) {
		p := ReadProxy([]string{proxy, no})
		for _, scheme := range []string{"http", "https"} {
			if u, err := p.For(scheme, host); err == nil && u != nil {
				proxyAddress(u)
			}
			p.Ignored(scheme)
		}
		fault := (&proxyError{status: 503, says: says}).fault(0)
		for k, v := range fault.facts.checked() {
			if len(v) > maxValue || clean(v, maxValue) != v {
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
