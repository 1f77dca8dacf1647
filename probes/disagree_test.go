package probes

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/report"
)

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

func TestElsewhere(t *testing.T) {
	ca := newAuthority(t, nil)
	good, foreign := ca.good(t, "r.lab"), newAuthority(t, nil).good(t, "portal.lab")
	registry := newRegistry(t)
	port := serveAt(t, "127.0.0.31", 0, &good, registry)
	serveAt(t, "127.0.0.32", port, &foreign, http.NotFoundHandler())
	at := func(ip string) string { return fmt.Sprintf("%s:%d", ip, port) }
	host := at("r.lab")
	base := newProber(t, ca, nil)
	answers := func(addrs string) map[string]string { return map[string]string{"r.lab.": addrs} }
	const second = "127.0.0.21:" // its port follows

	t.Run("somebody else's certificate at the first resolver's address", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.32"), answers("127.0.0.31"))
		c := probe(t, n, host+"/app:1")
		want(t, c, "dns/"+host, report.Pass, "", "disagree=true", "special=loopback", "addresses=127.0.0.32")
		want(t, c, "tls/"+host+"/"+at("127.0.0.32"), report.Fail, report.CertificateNameMismatch, "names=portal.lab")
		e := want(t, c, "elsewhere/"+host+"/"+at("127.0.0.31"), report.Pass, "", "names=r.lab")
		if e.Kind != report.KindTLS || !strings.HasPrefix(e.Evidence["resolver"], second) {
			t.Errorf("%+v", e)
		}
		want(t, c, "manifest/"+host, report.Skipped, "") // off the path
	})
	t.Run("nothing at the first resolver's address, somebody else at the second's", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.33"), answers("127.0.0.32"))
		c := probe(t, n, host+"/app:1")
		want(t, c, "dial/"+host+"/"+at("127.0.0.33"), report.Fail, report.ConnectionRefused)
		want(t, c, "elsewhere/"+host+"/"+at("127.0.0.32"), report.Fail, report.CertificateNameMismatch)
	})
	t.Run("the first resolver denies the name", func(t *testing.T) {
		n := withResolvers(t, base, "", nil, answers("127.0.0.31"))
		c := probe(t, n, host+"/app:1")
		want(t, c, "dns/"+host, report.Fail, report.HostNotFound, "disagree=true")
		want(t, c, "elsewhere/"+host+"/"+at("127.0.0.31"), report.Pass, "")
	})
	t.Run("the way is open: nobody else is asked", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.31"), answers("127.0.0.32"))
		c := probe(t, n, host+"/app:1")
		want(t, c, "dns/"+host, report.Pass, "", "disagree=true")
		want(t, c, "manifest/"+host, report.Pass, "")
		for id := range c {
			if strings.HasPrefix(id, "elsewhere/") {
				t.Errorf("asked: %s", id)
			}
		}
	})
	t.Run("answers that share an address do not disagree", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.32 127.0.0.31"), answers("127.0.0.31"))
		c := probe(t, n, host+"/app:1")
		if got := want(t, c, "dns/"+host, report.Pass, "").Evidence["disagree"]; got != "" {
			t.Errorf("disagree=%s", got)
		}
	})
	t.Run("the hosts file blocks the name", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.31"))
		n.Hosts = ParseHostsFile([]byte("0.0.0.0 r.lab\n"))
		c := probe(t, n, host+"/app:1")
		want(t, c, "dns/"+host, report.Pass, "", "from=hosts", "special=unspecified", "dnsSays=127.0.0.31", "disagree=true")
		want(t, c, "dial/"+host+"/"+at("0.0.0.0"), report.Skipped, "", "refused")
		want(t, c, "elsewhere/"+host+"/"+at("127.0.0.31"), report.Pass, "")
	})
	t.Run("a loopback answer where loopback is not dialled", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.1"), answers("127.0.0.31"))
		n.Guard.Loopback = false
		c := probe(t, n, host+"/app:1")
		want(t, c, "dns/"+host, report.Pass, "", "special=loopback", "disagree=true")
		want(t, c, "elsewhere/"+host+"/"+at("127.0.0.31"), report.Skipped, "", "refused=a loopback address")
	})
}

func TestSearchList(t *testing.T) {
	ca := newAuthority(t, nil)
	base := newProber(t, ca, nil)
	wildcard := map[string]string{"r.example.corp.": "127.0.0.40", "r.corp.": "127.0.0.40"}
	look := func(n *Prober, name string) report.Check {
		n, ctx, cancel := n.begin(t.Context())
		defer cancel()
		l := n.lookUp(ctx, "r", name)
		defer l.stop()
		return l.check
	}
	t.Run("found through the search list only", func(t *testing.T) {
		n := withResolvers(t, base, "search corp\n", wildcard)
		c := look(n, "r.example")
		want(t, map[string]report.Check{"dns/r": c}, "dns/r", report.Pass, "", "via=corp.", "name=r.example.corp.", "asIs=NXDOMAIN", "wildcard=false")
	})
	t.Run("a wildcard swallows a name that exists", func(t *testing.T) {
		n := withResolvers(t, base, "search corp\noptions ndots:3\n")
		serveDNS(t, "127.0.0.20", n.ResolverPort, anythingBelow("corp.", "127.0.0.40", map[string]string{"r.example.": "127.0.0.41"}))
		n.Resolv = ParseResolvConf([]byte("search corp\noptions ndots:3\nnameserver 127.0.0.20\n"))
		c := look(n, "r.example")
		want(t, map[string]report.Check{"dns/r": c}, "dns/r", report.Pass, "", "via=corp.", "addresses=127.0.0.40", "asIs=127.0.0.41", "wildcard=true")
	})
	t.Run("a short name is meant to be searched", func(t *testing.T) {
		n := withResolvers(t, base, "search corp\n", wildcard)
		c := look(n, "r")
		if want(t, map[string]report.Check{"dns/r": c}, "dns/r", report.Pass, "", "via=corp."); c.Evidence["wildcard"] != "" {
			t.Errorf("asked needlessly: %v", c.Evidence)
		}
	})
}

func TestSpecial(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0": "unspecified", "::": "unspecified", "0.1.2.3": "unspecified", "127.0.0.1": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback",
		"10.1.2.3": "private", "172.16.0.1": "private", "192.168.0.1": "private", "fd00::1": "private", "169.254.0.1": "link-local", "fe80::1%eth0": "link-local",
		"169.254.169.254": "link-local", "168.63.129.16": "metadata", "100.64.0.1": "shared", "192.0.2.1": "documentation", "203.0.113.9": "documentation",
		"2001:db8::1": "documentation", "198.18.0.5": "benchmarking", "224.0.0.1": "multicast", "240.0.0.1": "reserved", "64:ff9b::10.0.0.1": "private",
		"8.8.8.8": "", "2606:4700::1": "", "100.128.0.1": "", "198.20.0.1": "",
	} {
		if got := special(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

// A silent first resolver is waited for once in a call, not at every name.
func TestMuteResolver(t *testing.T) {
	port := dnsPort(t)
	serveDNS(t, "127.0.0.20", port, nil)
	serveDNS(t, "127.0.0.21", port, zone(map[string]string{"a.lab.": "127.0.0.1"}))
	n := &Prober{Node: Node{Resolv: ParseResolvConf([]byte("nameserver 127.0.0.20\nnameserver 127.0.0.21\n"))}, ResolverPort: port}
	n, ctx, cancel := n.begin(t.Context())
	defer cancel()
	l := n.lookUp(ctx, "r", "a.lab")
	l.stop()
	want(t, map[string]report.Check{"dns/r": l.check}, "dns/r", report.Pass, "", "passedOver=1")
	if _, mute := n.call.slowResolvers.Load(netip.MustParseAddrPort(serverAt(n, 0))); !mute {
		t.Error("not remembered")
	}
	if _, mute := n.call.slowResolvers.Load(netip.MustParseAddrPort(serverAt(n, 1))); mute {
		t.Error("the one that answered is held to be mute")
	}
}
