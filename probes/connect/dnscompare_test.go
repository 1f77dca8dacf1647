package connect

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

func TestSearchList(t *testing.T) {
	wildcard := map[string]string{"r.example.corp.": "127.0.0.40", "r.corp.": "127.0.0.40"}
	look := func(n *Prober, name string) report.Check {
		n, ctx, cancel := n.Begin(t.Context())
		defer cancel()
		l := n.lookUp(ctx, "r", name)
		defer l.stop()
		return l.check
	}
	t.Run("found through the search list only", func(t *testing.T) {
		n := resolvers(t, "search corp\n", wildcard)
		c := look(n, "r.example")
		probetest.Want(t, map[string]report.Check{"dns/r": c}, "dns/r", report.Pass, "", "via=corp.", "name=r.example.corp.", "asIs=NXDOMAIN", "wildcard=false")
	})
	t.Run("a wildcard swallows a name that exists", func(t *testing.T) {
		n := resolvers(t, "search corp\noptions ndots:3\n")
		probetest.ServeDNS(t, "127.0.0.20", n.ResolverPort, probetest.AnythingBelow("corp.", "127.0.0.40", map[string]string{"r.example.": "127.0.0.41"}))
		n.Resolv = view.ParseResolvConf([]byte("search corp\noptions ndots:3\nnameserver 127.0.0.20\n"))
		c := look(n, "r.example")
		probetest.Want(t, map[string]report.Check{"dns/r": c}, "dns/r", report.Pass, "", "via=corp.", "addresses=127.0.0.40", "asIs=127.0.0.41", "wildcard=true")
	})
	t.Run("a short name is meant to be searched", func(t *testing.T) {
		n := resolvers(t, "search corp\n", wildcard)
		c := look(n, "r")
		if probetest.Want(t, map[string]report.Check{"dns/r": c}, "dns/r", report.Pass, "", "via=corp."); c.Evidence["wildcard"] != "" {
			t.Errorf("asked needlessly: %v", c.Evidence)
		}
	})
}

// The probes wait for a silent first resolver once in a call, not at every name.
func TestSlowResolver(t *testing.T) {
	port := probetest.DNSPort(t)
	probetest.ServeDNS(t, "127.0.0.20", port, nil)
	probetest.ServeDNS(t, "127.0.0.21", port, probetest.Zone(map[string]string{"a.lab.": "127.0.0.1"}))
	n := &Prober{Node: view.Node{Resolv: view.ParseResolvConf([]byte("nameserver 127.0.0.20\nnameserver 127.0.0.21\n"))}, ResolverPort: port}
	n, ctx, cancel := n.Begin(t.Context())
	defer cancel()
	l := n.lookUp(ctx, "r", "a.lab")
	l.stop()
	probetest.Want(t, map[string]report.Check{"dns/r": l.check}, "dns/r", report.Pass, "", "passedOver=1")
	if _, mute := n.call.slowResolvers.Load(netip.MustParseAddrPort(serverAt(n, 0))); !mute {
		t.Error("not remembered")
	}
	if _, mute := n.call.slowResolvers.Load(netip.MustParseAddrPort(serverAt(n, 1))); mute {
		t.Error("the one that answered is held to be mute")
	}
}

// resolvers is a prober that asks real DNS servers, which answer from these
// zones.
func resolvers(t *testing.T, conf string, zones ...map[string]string) *Prober {
	t.Helper()
	port := probetest.DNSPort(t)
	for i, z := range zones {
		ip := fmt.Sprintf("127.0.0.%d", i+20)
		probetest.ServeDNS(t, ip, port, probetest.Zone(z))
		conf += "nameserver " + ip + "\n"
	}
	return &Prober{Node: view.Node{Resolv: view.ParseResolvConf([]byte(conf))}, ResolverPort: port}
}
