package registry

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// A host that fails is compared with a random name beside it: under a wildcard record
// every name has its addresses. A host that works costs no such query.
func TestSiblingName(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	wrong, right := ca.Good(t, "elsewhere.lab"), ca.Good(t, "r.corp.lab")
	n := newProber(t, ca, nil)
	port := probetest.Serve(t, &wrong, http.NotFoundHandler())
	host := fmt.Sprintf("r.corp.lab:%d", port)
	good := fmt.Sprintf("r.corp.lab:%d", probetest.Serve(t, &right, probetest.NewRegistry(t)))
	none := withResolvers(t, n, "", map[string]string{"r.corp.lab.": "127.0.0.1"})

	if got := probe(t, n, host+"/app:1")["dns/"+host].Evidence["sibling"]; got != "same" {
		t.Errorf("under a wildcard: %q", got)
	}
	if got := probe(t, none, host+"/app:1")["dns/"+host].Evidence["sibling"]; got != "none" {
		t.Errorf("without a wildcard: %q", got)
	}
	if got, asked := probe(t, n, good+"/app:1")["dns/"+good].Evidence["sibling"]; asked {
		t.Errorf("a host that works: %q", got)
	}
}

// A resolver that fails for one name is asked for another.
func TestOtherName(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	for _, tt := range []struct {
		name string
		zone dns.HandlerFunc
		want string
	}{
		{"one domain fails", func(w dns.ResponseWriter, q *dns.Msg) {
			if q.Question[0].Name == "." {
				probetest.Zone(map[string]string{".": ""})(w, q)
				return
			}
			probetest.Always(dns.RcodeServerFailure)(w, q)
		}, "answers"},
		{"everything fails", probetest.Always(dns.RcodeServerFailure), "fails"},
		{"silent", nil, "fails"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := *newProber(t, ca, nil)
			n.ResolverPort = probetest.DNSPort(t)
			probetest.ServeDNS(t, "127.0.0.31", n.ResolverPort, tt.zone)
			n.Resolv = view.ParseResolvConf([]byte("nameserver 127.0.0.31\n"))
			c := probe(t, &n, "r.lab/app:1")
			id := fmt.Sprintf("dns/r.lab/127.0.0.31:%d", n.ResolverPort)
			if got := probetest.Want(t, c, id, report.Fail, c[id].Cause).Evidence["otherName"]; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
