package lab

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Answer is a resolver's answer for one name, instead of its usual one. The zero
// value is NOERROR without records.
type Answer struct {
	Addrs []netip.Addr  `json:"addrs,omitempty"` // A and AAAA records
	CNAME string        `json:"cname,omitempty"` // followed in the same table
	Rcode string        `json:"rcode,omitempty"` // SERVFAIL, NXDOMAIN, REFUSED, …; empty: NOERROR
	Delay time.Duration `json:"delay,omitempty"` // before the answer
	Drop  bool          `json:"drop,omitempty"`  // no answer at all
	TCP   bool          `json:"tcp,omitempty"`   // over UDP only a truncated reply (TC)
}

// Query is one line of the DNS log.
type Query struct {
	Time     time.Time `json:"time"`
	Resolver string    `json:"resolver"` // the address that received it
	Proto    string    `json:"proto"`    // udp, tcp
	Client   string    `json:"client"`
	Name     string    `json:"name"` // without the final dot
	Type     string    `json:"type"`
	Rcode    string    `json:"rcode"` // "dropped" if there was no answer
}

// dnsTable holds the resolvers' answers: the zone, and what tests have set per
// resolver and name.
type dnsTable struct {
	mu        sync.RWMutex
	zone      map[string]Answer            // by lower-case name without final dot
	overrides map[string]map[string]Answer // by resolver, then name
}

func newDNSTable() *dnsTable {
	t := &dnsTable{zone: map[string]Answer{}, overrides: map[string]map[string]Answer{}}
	for _, h := range Hosts() {
		t.zone[h.Name] = Answer{Addrs: h.Addrs()}
	}
	return t
}

// lookup returns a resolver's answer for a name.
func (t *dnsTable) lookup(resolver, name string) Answer {
	name = canonicalName(name)
	t.mu.RLock()
	defer t.mu.RUnlock()
	if a, ok := t.overrides[resolver][name]; ok {
		return a
	}
	switch resolver {
	case ResolverServfail:
		return Answer{Rcode: "SERVFAIL"}
	case ResolverDead:
		return Answer{Drop: true}
	case ResolverNXDomain:
		return Answer{Rcode: "NXDOMAIN"}
	}
	if a, ok := t.zone[name]; ok {
		return a
	}
	if name == "lab" || strings.HasSuffix(name, ".lab") {
		return Answer{Rcode: "NXDOMAIN"}
	}
	return Answer{Rcode: "REFUSED"}
}

// dnsReply builds the response to a query from the answer that lookup returns, and how
// long to delay it. The response is nil if there is none.
func dnsReply(lookup func(name string) Answer, proto string, q *dns.Msg) (*dns.Msg, time.Duration) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	if len(q.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		return m, 0
	}
	name, kind := q.Question[0].Name, q.Question[0].Qtype
	a := lookup(name)
	if a.Drop {
		return nil, 0
	}
	if a.TCP && proto == "udp" {
		m.Truncated = true
		return m, a.Delay
	}
	delay := a.Delay
	const ttl = 1 // tests change the answers
	for hops := 0; a.CNAME != "" && hops < 8; hops++ {
		target := dns.Fqdn(a.CNAME)
		h := dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: ttl}
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: h, Target: target})
		name, a = target, lookup(target)
	}
	if rcode, ok := dns.StringToRcode[a.Rcode]; ok {
		m.Rcode = rcode
	}
	for _, addr := range a.Addrs {
		h := dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: ttl}
		switch {
		case addr.Is4() && kind == dns.TypeA:
			h.Rrtype = dns.TypeA
			m.Answer = append(m.Answer, &dns.A{Hdr: h, A: net.IP(addr.AsSlice())})
		case addr.Is6() && kind == dns.TypeAAAA:
			h.Rrtype = dns.TypeAAAA
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: h, AAAA: net.IP(addr.AsSlice())})
		}
	}
	return m, delay
}

// serve answers on one resolver's address.
func (t *dnsTable) serve(resolver, addr string, log *jsonLog) (shutdown func(), listening string, err error) {
	return ServeDNS(addr, func(name string) Answer { return t.lookup(resolver, name) }, func(q Query) {
		q.Resolver = resolver
		log.write(q)
	})
}

// ServeDNS starts a DNS server on addr, UDP and TCP. It answers with what lookup
// returns and calls seen for every query. ServeDNS returns when both listen.
func ServeDNS(addr string, lookup func(name string) Answer, seen func(Query)) (shutdown func(), listening string, err error) {
	packets, listener, err := listenBoth(addr)
	if err != nil {
		return nil, "", err
	}
	handle := func(proto string) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			m, delay := dnsReply(lookup, proto, q)
			entry := Query{Time: time.Now(), Resolver: addr, Proto: proto, Client: w.RemoteAddr().String(), Rcode: "dropped"}
			if len(q.Question) == 1 {
				entry.Name = strings.TrimSuffix(q.Question[0].Name, ".")
				entry.Type = dns.TypeToString[q.Question[0].Qtype]
			}
			if m != nil {
				entry.Rcode = dns.RcodeToString[m.Rcode]
			}
			seen(entry)
			if m == nil {
				return
			}
			time.Sleep(delay)
			w.WriteMsg(m)
		}
	}
	udp := &dns.Server{PacketConn: packets, Handler: handle("udp")}
	tcp := &dns.Server{Listener: listener, Handler: handle("tcp")}
	go udp.ActivateAndServe()
	go tcp.ActivateAndServe()
	return func() { udp.Shutdown(); tcp.Shutdown() }, packets.LocalAddr().String(), nil
}

// listenBoth listens on the same port of UDP and TCP. For port 0, a port that is free
// in UDP may be in use in TCP: then it tries another.
func listenBoth(addr string) (net.PacketConn, net.Listener, error) {
	for try := 0; ; try++ {
		packets, err := net.ListenPacket("udp", addr)
		if err != nil {
			return nil, nil, err
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, listener, nil
		}
		packets.Close()
		if !strings.HasSuffix(addr, ":0") || try == 9 {
			return nil, nil, err
		}
	}
}

// handleControl adds the table to infra's control socket.
func (t *dnsTable) handleControl(mux *http.ServeMux) {
	mux.HandleFunc("PUT /dns/{resolver}/{name}", func(w http.ResponseWriter, r *http.Request) {
		var a Answer
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := t.setOverride(r.PathValue("resolver"), r.PathValue("name"), a); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("DELETE /dns/{resolver}/{name}", func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.overrides[r.PathValue("resolver")], canonicalName(r.PathValue("name")))
	})
	mux.HandleFunc("DELETE /dns", func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		clear(t.overrides)
	})
	mux.HandleFunc("GET /dns", func(w http.ResponseWriter, r *http.Request) {
		t.mu.RLock()
		defer t.mu.RUnlock()
		json.NewEncoder(w).Encode(t.overrides)
	})
}

func (t *dnsTable) setOverride(resolver, name string, a Answer) error {
	if _, ok := dns.StringToRcode[a.Rcode]; a.Rcode != "" && !ok {
		return fmt.Errorf("unknown rcode %q", a.Rcode)
	}
	if !slices.Contains(resolvers(), resolver) {
		return fmt.Errorf("unknown resolver %q", resolver)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.overrides[resolver] == nil {
		t.overrides[resolver] = map[string]Answer{}
	}
	t.overrides[resolver][canonicalName(name)] = a
	return nil
}

func canonicalName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
