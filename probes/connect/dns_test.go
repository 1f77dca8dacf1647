package connect

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
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
	records := probetest.Zone(map[string]string{
		"registry.lab.": "10.0.0.7 10.0.0.8 fd00::7", "v6.lab.": "fd00::9", "empty.lab.": "", "short.corp.": "10.0.0.9",
	})
	other := probetest.Zone(map[string]string{"registry.lab.": "10.9.9.9"})
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
		{"NXDOMAIN of the first is final", []any{probetest.Zone(nil), records}, "", "registry.lab", report.Fail, report.HostNotFound, nil, []string{"fail HostNotFound", "pass "}},
		{"the first decides", []any{other, records}, "", "registry.lab", report.Pass, "", []string{"addresses=10.9.9.9"}, []string{"pass ", "pass "}},
		{"SERVFAIL goes on", []any{probetest.Always(dns.RcodeServerFailure), records}, "", "registry.lab", report.Pass, "", []string{"passedOver=1"}, []string{"fail ResolverFailed", "pass "}},
		{"REFUSED goes on", []any{probetest.Always(dns.RcodeRefused), records}, "", "registry.lab", report.Pass, "", nil, []string{"fail ResolverFailed", "pass "}},
		{"a referral goes on", []any{referral, records}, "", "registry.lab", report.Pass, "", nil, []string{"fail ResolverFailed", "pass "}},
		{"SERVFAIL alone", []any{probetest.Always(dns.RcodeServerFailure)}, "", "registry.lab", report.Fail, report.ResolverFailed, []string{"rcode=SERVFAIL"}, []string{"fail ResolverFailed"}},
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
			port := probetest.DNSPort(t)
			conf := tt.conf
			for i, s := range tt.servers {
				ip := fmt.Sprintf("127.0.0.%d", i+2)
				conf += "nameserver " + ip + "\n"
				switch s := s.(type) {
				case nil:
					probetest.ServeDNS(t, ip, port, nil)
				case dns.HandlerFunc:
					probetest.ServeDNS(t, ip, port, s)
				case func(dns.ResponseWriter, *dns.Msg):
					probetest.ServeDNS(t, ip, port, s)
				}
			}
			n := &Prober{Node: view.Node{Resolv: view.ParseResolvConf([]byte(conf))}, ResolverPort: port}
			ctx, cancel := context.WithTimeout(context.Background(), 1200*time.Millisecond)
			defer cancel()
			l := n.lookUp(ctx, "r", tt.host)
			byID := map[string]report.Check{l.check.ID: l.check}
			probetest.Want(t, byID, "dns/r", tt.outcome, tt.cause, tt.facts...)
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
		n := &Prober{Node: view.Node{Resolv: view.ParseResolvConf(nil), Lookup: view.ParseNSSwitch([]byte("hosts: files\n"))}}
		l := n.lookUp(t.Context(), "r", "registry.lab")
		probetest.Want(t, map[string]report.Check{"dns/r": l.check}, "dns/r", report.Fail, report.HostNotFound)
	})
}
