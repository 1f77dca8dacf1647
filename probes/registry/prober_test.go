package registry

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// newProber is a prober on a node that trusts ca and asks a DNS server where every name
// below lab. is 127.0.0.1.
func newProber(t testing.TB, ca *probetest.Authority, tree map[string]string, env ...string) *connect.Prober {
	t.Helper()
	port := probetest.DNSPort(t)
	probetest.ServeDNS(t, "127.0.0.1", port, func(w dns.ResponseWriter, q *dns.Msg) {
		if n := q.Question[0].Name; strings.HasSuffix(n, ".lab.") {
			probetest.Zone(map[string]string{n: "127.0.0.1"})(w, q)
		} else {
			probetest.Always(dns.RcodeNameError)(w, q)
		}
	})
	all := map[string]string{"/etc/resolv.conf": "nameserver 127.0.0.1\n", "/etc/hosts": "127.0.0.1 localhost\n"}
	if ca != nil {
		all["/etc/ssl/certs/ca-certificates.crt"] = string(ca.PEM)
	}
	for k, v := range tree {
		all[k] = v
	}
	node, checks := view.Read(view.Dir(probetest.Files(t, all)), append([]string{"PATH=/bin"}, env...), view.Paths{HostsDir: "/etc/containerd/certs.d:/etc/docker/certs.d"})
	for _, c := range checks {
		t.Fatalf("ReadNode: %+v", c)
	}
	p := connect.NewProber(node)
	p.ResolverPort, p.Guard.Loopback = port, true
	return p
}

// probe parses image and probes the registries for it.
func probe(t *testing.T, n *connect.Prober, image string, creds ...credentials.Credential) map[string]report.Check {
	t.Helper()
	check, ref := reference.Parse(image)
	if check.Outcome != report.Pass {
		t.Fatalf("reference: %+v", check)
	}
	checks := Probe(context.Background(), n, ref, Target{Image: image, Credentials: creds, Platform: "linux/amd64"})
	byID := map[string]report.Check{}
	for _, c := range checks {
		if _, twice := byID[c.ID]; twice {
			t.Errorf("two checks with the id %s", c.ID)
		}
		byID[c.ID] = c
		t.Logf("%s %s: %s %v", c.Outcome, c.ID, c.Summary, c.Evidence)
		if c.Summary == "" || c.Kind == "" {
			t.Errorf("incomplete check: %+v", c)
		}
		if c.Outcome == report.Fail && !c.Cause.Known() {
			t.Errorf("a failed check without a cause of the catalogue: %+v", c)
		}
		if c.Outcome != report.Fail && c.Cause != "" {
			t.Errorf("a cause without a failure: %+v", c)
		}
		for k, v := range c.Evidence {
			for _, cred := range creds {
				for _, secret := range []string{cred.Password, cred.IdentityToken} {
					if secret != "" && strings.Contains(v+c.Summary, secret) {
						t.Errorf("%s: the secret is in %s", c.ID, k)
					}
				}
			}
		}
		for _, blocker := range []string{c.BlockedBy} {
			if blocker != "" && !strings.HasPrefix(blocker, "runtime/") {
				found := false
				for _, other := range checks {
					found = found || other.ID == blocker
				}
				if !found {
					t.Errorf("%s is blocked by %s, which is not there", c.ID, blocker)
				}
			}
		}
	}
	return byID
}

// withResolvers is n, asking real DNS servers that answer from these zones.
func withResolvers(t *testing.T, n *connect.Prober, conf string, zones ...map[string]string) *connect.Prober {
	t.Helper()
	m := *n
	m.ResolverPort = probetest.DNSPort(t)
	for i, z := range zones {
		ip := fmt.Sprintf("127.0.0.%d", i+20)
		probetest.ServeDNS(t, ip, m.ResolverPort, probetest.Zone(z))
		conf += "nameserver " + ip + "\n"
	}
	m.Resolv = view.ParseResolvConf([]byte(conf))
	return &m
}

// netipAddr returns the loopback address of a host with a port.
func netipAddr(t *testing.T, host string) netip.AddrPort {
	t.Helper()
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort("127.0.0.1:" + port)
}
