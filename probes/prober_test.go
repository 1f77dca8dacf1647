package probes

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/report"
)

// newProber is a prober on a node that trusts ca and asks a DNS server where every name
// below lab. is 127.0.0.1.
func newProber(t testing.TB, ca *authority, tree map[string]string, env ...string) *Prober {
	t.Helper()
	port := dnsPort(t)
	serveDNS(t, "127.0.0.1", port, func(w dns.ResponseWriter, q *dns.Msg) {
		if n := q.Question[0].Name; strings.HasSuffix(n, ".lab.") {
			zone(map[string]string{n: "127.0.0.1"})(w, q)
		} else {
			always(dns.RcodeNameError)(w, q)
		}
	})
	all := map[string]string{"/etc/resolv.conf": "nameserver 127.0.0.1\n", "/etc/hosts": "127.0.0.1 localhost\n"}
	if ca != nil {
		all["/etc/ssl/certs/ca-certificates.crt"] = string(ca.pem)
	}
	for k, v := range tree {
		all[k] = v
	}
	node, checks := ReadNode(Dir(files(t, all)), append([]string{"PATH=/bin"}, env...), Paths{})
	for _, c := range checks {
		t.Fatalf("ReadNode: %+v", c)
	}
	p := NewProber(node)
	p.ResolverPort, p.Guard.Loopback = port, true
	return p
}

// probe parses image and asks the registries for it.
func probe(t *testing.T, n *Prober, image string, creds ...Credential) map[string]report.Check {
	t.Helper()
	check, ref := Reference(image)
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
func withResolvers(t *testing.T, n *Prober, conf string, zones ...map[string]string) *Prober {
	t.Helper()
	m := *n
	m.ResolverPort = dnsPort(t)
	for i, z := range zones {
		ip := fmt.Sprintf("127.0.0.%d", i+20)
		serveDNS(t, ip, m.ResolverPort, zone(z))
		conf += "nameserver " + ip + "\n"
	}
	m.Resolv = ParseResolvConf([]byte(conf))
	return &m
}
