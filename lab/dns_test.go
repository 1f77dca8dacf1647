package lab

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// resolver starts one of the lab's resolvers on loopback.
func resolver(t *testing.T, table *dnsTable, which string) (addr, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "dns.log")
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	shutdown, addr, err := table.serve(which, "127.0.0.1:0", &jsonLog{w: f})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutdown(); f.Close() })
	return addr, log
}

func ask(t *testing.T, addr, proto, name string, kind uint16) (*dns.Msg, error) {
	t.Helper()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	m, _, err := (&dns.Client{Net: proto, Timeout: 5 * time.Second}).Exchange(q, addr)
	return m, err
}

func TestResolversAnswerAsTheirAddressSays(t *testing.T) {
	for _, tt := range []struct {
		resolver, name string
		kind           uint16
		rcode          int
		answer         string // end of the one record, or empty for none
	}{
		{ResolverGood, "registry.lab", dns.TypeA, dns.RcodeSuccess, "10.77.0.10"},
		{ResolverGood, "Registry.LAB", dns.TypeA, dns.RcodeSuccess, "10.77.0.10"},
		{ResolverGood, "registry.lab", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{ResolverGood, "dual.lab", dns.TypeAAAA, dns.RcodeSuccess, "fd77::25"},
		{ResolverGood, "nosuchhost.lab", dns.TypeA, dns.RcodeNameError, ""},
		{ResolverGood, "registry.example.com", dns.TypeA, dns.RcodeRefused, ""},
		{ResolverServfail, "registry.lab", dns.TypeA, dns.RcodeServerFailure, ""},
		{ResolverNXDomain, "registry.lab", dns.TypeA, dns.RcodeNameError, ""},
	} {
		addr, _ := resolver(t, newDNSTable(), tt.resolver)
		for _, proto := range []string{"udp", "tcp"} {
			m, err := ask(t, addr, proto, tt.name, tt.kind)
			if err != nil {
				t.Errorf("%s %s %s: %v", tt.resolver, proto, tt.name, err)
				continue
			}
			got := ""
			if len(m.Answer) > 0 {
				got = m.Answer[0].String()
			}
			if m.Rcode != tt.rcode || (tt.answer == "") != (got == "") || !strings.HasSuffix(got, tt.answer) {
				t.Errorf("%s %s %s: %s %q", tt.resolver, proto, tt.name, dns.RcodeToString[m.Rcode], got)
			}
		}
	}
}

func TestDeadResolverReadsAndIsSilent(t *testing.T) {
	addr, log := resolver(t, newDNSTable(), ResolverDead)
	q := new(dns.Msg).SetQuestion("registry.lab.", dns.TypeA)
	_, _, err := (&dns.Client{Timeout: 50 * time.Millisecond}).Exchange(q, addr)
	if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
		t.Errorf("got %v, want a timeout", err)
	}
	entries, err := readJSONLog(log, 0, func(Query) bool { return true })
	if err != nil || len(entries) != 1 || entries[0].Rcode != "dropped" || entries[0].Name != "registry.lab" {
		t.Errorf("log: %+v, %v", entries, err)
	}
}

func TestOverridesApplyToOneResolverAndName(t *testing.T) {
	table := newDNSTable()
	mux := http.NewServeMux()
	table.handleControl(mux)
	control := httptest.NewServer(mux)
	defer control.Close()
	do := func(method, path, body string) int {
		t.Helper()
		req, err := http.NewRequest(method, control.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}

	for path, body := range map[string]string{
		"/dns/10.77.0.1/registry.lab": `{"rcode":"SERVFAIL"}`,
		"/dns/10.77.0.1/new.lab":      `{"addrs":["10.77.0.10","fd77::1"]}`,
		"/dns/10.77.0.1/alias.lab":    `{"cname":"new.lab"}`,
	} {
		if code := do("PUT", path, body); code != http.StatusOK {
			t.Fatalf("PUT %s: %d", path, code)
		}
	}
	for path, body := range map[string]string{
		"/dns/10.77.0.1/x.lab": `{"rcode":"NONSENSE"}`,
		"/dns/10.9.9.9/x.lab":  `{}`,
		"/dns/10.77.0.1/y.lab": `{"addrs":["not an address"]}`,
	} {
		if code := do("PUT", path, body); code != http.StatusBadRequest {
			t.Errorf("PUT %s %s: %d, want 400", path, body, code)
		}
	}

	if a := table.lookup(ResolverGood, "registry.lab."); a.Rcode != "SERVFAIL" {
		t.Errorf("override not seen: %+v", a)
	}
	if a := table.lookup(ResolverNXDomain, "new.lab."); a.Rcode != "NXDOMAIN" {
		t.Errorf("override of another resolver seen: %+v", a)
	}
	lookup := func(name string) Answer { return table.lookup(ResolverGood, name) }
	m, _ := dnsReply(lookup, "udp", new(dns.Msg).SetQuestion("alias.lab.", dns.TypeA))
	if len(m.Answer) != 2 || m.Answer[0].Header().Rrtype != dns.TypeCNAME || m.Answer[1].Header().Name != "new.lab." {
		t.Errorf("CNAME: %v", m.Answer)
	}

	do("DELETE", "/dns/10.77.0.1/registry.lab", "")
	if a := table.lookup(ResolverGood, "registry.lab."); len(a.Addrs) != 1 {
		t.Errorf("after DELETE: %+v", a)
	}
	do("DELETE", "/dns", "")
	if a := table.lookup(ResolverGood, "new.lab."); a.Rcode != "NXDOMAIN" {
		t.Errorf("after DELETE of all: %+v", a)
	}
}

func TestTruncatedAnswerSendsToTCP(t *testing.T) {
	table := newDNSTable()
	overTCP := Answer{TCP: true, Addrs: []netip.Addr{netip.MustParseAddr("10.77.0.10")}}
	if err := table.setOverride(ResolverGood, "big.lab", overTCP); err != nil {
		t.Fatal(err)
	}
	addr, _ := resolver(t, table, ResolverGood)
	if m, err := ask(t, addr, "udp", "big.lab", dns.TypeA); err != nil || !m.Truncated || len(m.Answer) != 0 {
		t.Errorf("udp: %v, %v", m, err)
	}
	if m, err := ask(t, addr, "tcp", "big.lab", dns.TypeA); err != nil || m.Truncated || len(m.Answer) != 1 {
		t.Errorf("tcp: %v, %v", m, err)
	}
}

func TestLogIsReadFromAMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var b bytes.Buffer
	l := &jsonLog{w: &b}
	l.write(Query{Name: "a.lab"})
	mark := Mark(b.Len())
	l.write(Query{Name: "b.lab"})
	l.write(Query{Name: "c.lab"})
	b.WriteString(`{"name":"half`) // being written
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := readJSONLog(path, mark, func(q Query) bool { return q.Name != "c.lab" })
	if err != nil || len(got) != 1 || got[0].Name != "b.lab" {
		t.Errorf("got %+v, %v", got, err)
	}
}
