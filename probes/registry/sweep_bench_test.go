package registry

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// swept is how many hosts the benchmark sweeps, each with a listener of its own.
const swept = 100

// BenchmarkSurvey sweeps 100 hosts, the servers in the same process, and looks
// at the slowest of them alone beside it. Where some are slow, all together may
// take 1.2 times as long as one of those. Where all are good it is the processor
// that is measured: a TLS handshake with each host, both sides of it.
func BenchmarkSurvey(b *testing.B) {
	hangs := func(w http.ResponseWriter, q *http.Request) { <-q.Context().Done() }
	slow := func(w http.ResponseWriter, q *http.Request) {
		time.Sleep(500 * time.Millisecond)
		w.WriteHeader(http.StatusUnauthorized)
	}
	for _, bb := range []struct {
		name   string
		bad    int // hosts that are not good
		answer http.HandlerFunc
	}{{"all-good", 0, nil}, {"5-slow", 5, slow}, {"5-hang", 5, hangs}} {
		b.Run(bb.name, func(b *testing.B) {
			var costs traffic
			n, places := costs.hosts(b, swept, bb.bad, bb.answer)
			var alone, together time.Duration
			sweeps := 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				start := time.Now()
				Survey(b.Context(), n, places[:1], 1) // a bad one if there is any
				alone += time.Since(start)
				before := costs.now()
				b.StartTimer()

				start = time.Now()
				looks := Survey(b.Context(), n, places, len(places))
				together += time.Since(start)

				b.StopTimer()
				costs.add(before)
				sweeps++
				good := 0
				for _, l := range looks {
					if diagnosis.StateOf(l.Place.Name(), l.Checks, l.At).State == report.Reachable {
						good++
					}
				}
				if min := swept - bb.bad; good < min || len(looks) != swept {
					b.Fatalf("%d looks, %d hosts are reachable, want %d", len(looks), good, min)
				}
				b.StartTimer()
			}
			b.ReportMetric(0, "ns/op") // the same as sweep-ms
			b.ReportMetric(milliseconds(together)/float64(sweeps), "sweep-ms")
			b.ReportMetric(milliseconds(alone)/float64(sweeps), "slowest-ms")
			b.ReportMetric(together.Seconds()/alone.Seconds(), "ratio")
			for i, unit := range []string{"conns/sweep", "B-sent/sweep", "B-received/sweep", "dns-queries/sweep"} {
				b.ReportMetric(float64(costs.sum[i])/float64(sweeps), unit)
			}
			if bb.bad > 0 && together.Seconds()/alone.Seconds() > 1.2 {
				b.Errorf("a sweep takes %.2f times as long as its slowest host", together.Seconds()/alone.Seconds())
			}
		})
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// traffic counts what a sweep costs, as its servers see it: connections, bytes
// sent and received by the sweep, TLS included, and DNS queries.
type traffic struct {
	conns, sent, received, queries atomic.Int64
	sum                            [4]int64
}

func (t *traffic) now() [4]int64 {
	return [4]int64{t.conns.Load(), t.sent.Load(), t.received.Load(), t.queries.Load()}
}

// add adds what came since.
func (t *traffic) add(before [4]int64) {
	for i, v := range t.now() {
		t.sum[i] += v - before[i]
	}
}

// hosts runs the servers, the bad ones first, and a DNS server for their names.
func (t *traffic) hosts(b testing.TB, count, bad int, answer http.HandlerFunc) (*connect.Prober, []Place) {
	ca := probetest.NewAuthority(b, nil)
	cert := ca.Good(b, "*.lab")
	n := newProber(b, ca, nil)
	n.ResolverPort = probetest.DNSPort(b)
	probetest.ServeDNS(b, "127.0.0.1", n.ResolverPort, func(w dns.ResponseWriter, q *dns.Msg) {
		t.queries.Add(1)
		probetest.Zone(map[string]string{q.Question[0].Name: "127.0.0.1"})(w, q)
	})
	n.Limits = connect.Limits{Overall: 1500 * time.Millisecond, DNS: time.Second, Dial: time.Second, TLS: time.Second, HTTP: time.Second}
	good := func(w http.ResponseWriter, q *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	var places []Place
	for i := range count {
		h := good
		if i < bad {
			h = answer
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(h), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ErrorLog: log.New(io.Discard, "", 0)}
		go s.ServeTLS(countedListener{l, t}, "", "")
		b.Cleanup(func() { s.Close() })
		_, more := Places(n, fmt.Sprintf("h%d.lab:%d", i, netip.MustParseAddrPort(l.Addr().String()).Port()))
		places = append(places, more...)
	}
	return n, places
}

type countedListener struct {
	net.Listener
	t *traffic
}

func (l countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.t.conns.Add(1)
	}
	return countedConn{c, l.t}, err
}

type countedConn struct {
	net.Conn
	t *traffic
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.t.sent.Add(int64(n))
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.t.received.Add(int64(n))
	return n, err
}
