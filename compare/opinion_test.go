package compare_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

func TestSecondOpinions(t *testing.T) {
	timeout := report.ConnectionTimeout
	subnet := trait(TraitSubnet, "10.1.9.0/24")
	for _, tt := range []struct {
		name  string
		nodes []Node
		since int // seconds
		want  string
	}{
		{
			"two others get through", []Node{node("a", down(timeout)), node("b", up()), node("c", up())},
			0, "2 asked, 2 reached, 0 failed, oldest 10 s",
		},
		{
			"all fail", []Node{node("a", down(timeout)), node("b", down(timeout)), node("c", down(report.ConnectionRefused))},
			0, "2 asked, 0 reached, 2 failed, oldest 5 s; or else none",
		},
		{
			"all fail behind one egress",
			[]Node{node("a", down(timeout), trait(TraitEgress, "192.0.2.1")), node("b", down(timeout), trait(TraitEgress, "192.0.2.1")), node("c", down(timeout), trait(TraitEgress, "192.0.2.1"))},
			0, "2 asked, 0 reached, 2 failed, oldest 5 s; or else all of them have the same egress: 192.0.2.1",
		},
		{
			"all fail by one resolver",
			[]Node{
				node("a", down(report.HostNotFound), resolver("10.0.0.2")), node("b", down(report.HostNotFound), resolver("10.0.0.2")),
				node("c", down(report.HostNotFound), resolver("10.0.0.2")),
			},
			0, "2 asked, 0 reached, 2 failed, oldest 5 s; or else all of them have the same resolver: 10.0.0.2",
		},
		{
			"all fail, one of them in another way",
			[]Node{node("a", down(timeout)), node("b", down(timeout)), node("c", down(report.CertificateExpired))},
			0, "2 asked, 0 reached, 2 failed, oldest 5 s",
		},
		{
			"others agree on another certificate",
			[]Node{
				node("a", down(report.CertificateUntrusted, shows("1111", "aaaa"))),
				node("b", up(shows("2222", "bbbb"))), node("c", up(shows("2222", "bbbb"))),
			},
			0, "2 asked, 2 reached, 0 failed, oldest 10 s; sees another certificate, issuer",
		},
		{
			"others have a renewed certificate",
			[]Node{
				node("a", down(report.CertificateUntrusted, shows("1111", "bbbb"))),
				node("b", up(shows("2222", "bbbb"))), node("c", up(shows("2222", "bbbb"))),
			},
			0, "2 asked, 2 reached, 0 failed, oldest 10 s; sees another certificate",
		},
		{
			"others each see their own certificate",
			[]Node{
				node("a", down(report.CertificateUntrusted, shows("1111", "aaaa"))),
				node("b", up(shows("2222", "bbbb"))), node("c", up(shows("3333", "cccc"))),
			},
			0, "2 asked, 2 reached, 0 failed, oldest 10 s",
		},
		{
			"others got through only after it checked",
			[]Node{node("a", down(timeout, times(60, 30))), node("b", up(times(20, 2))), node("c", up(times(8, 2))), node("d", up(times(4, 2)))},
			0, "3 asked, 3 reached, 0 failed, oldest 2 s; again since 8 s",
		},
		{
			"two others got through before it checked, and one after",
			[]Node{node("a", down(timeout, times(60, 30))), node("b", up(times(90, 2))), node("c", up(times(90, 2))), node("d", up(times(4, 2)))},
			0, "3 asked, 3 reached, 0 failed, oldest 2 s",
		},
		{
			"what sets the failing nodes apart",
			[]Node{node("a", down(timeout), subnet), node("b", down(timeout), subnet), node("c", up()), node("d", up())},
			0, "3 asked, 2 reached, 1 failed, oldest 10 s; apart by subnet",
		},
		{
			"one fails in another way", []Node{node("a", down(timeout)), node("b", down(report.HostNotFound)), node("c", up())},
			0, "2 asked, 1 reached, 1 failed, oldest 10 s",
		},
		{
			"observations from before it began", []Node{node("a", down(timeout)), node("b", up(times(3600, 90))), node("c", up())},
			0, "1 asked, 1 reached, 0 failed, oldest 10 s; 1 earlier",
		},
		{
			"the failure is newer than its facts", []Node{node("a", up()), node("b", up()), node("c", up(times(3600, 2)))},
			5, "1 asked, 1 reached, 0 failed, oldest 2 s; 1 earlier",
		},
		{"not in its facts", []Node{node("a"), node("b", up(times(3600, 2)))}, 5, "1 asked, 1 reached, 0 failed, oldest 2 s"},
		{
			"it got through while another one failed, and before this one did",
			[]Node{node("a", down(timeout, times(20, 5))), node("b", down(timeout, times(600, 5))), node("c", up(times(3600, 60)))},
			0, "1 asked, 0 reached, 1 failed, oldest 5 s; 1 earlier",
		},
		{"stale and cut off", []Node{
			node("a", down(timeout)), node("b", up(times(7200, 700))), node("c", down(timeout), cutOff(timeout)),
		}, 0, "0 asked, 0 reached, 0 failed, oldest 0 s; 1 cut-off; 1 stale"},
		{
			"it is itself cut off", []Node{node("a", down(timeout), cutOff(timeout)), node("b", up())},
			0, "1 asked, 1 reached, 0 failed, oldest 10 s",
		},
		{"the one that asks is not known", []Node{node("b", up(times(3600, 2)))}, 5, "1 asked, 1 reached, 0 failed, oldest 2 s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Request{Node: "a", Host: reg}
			if tt.since > 0 {
				r.Cause, r.Since = timeout, now.Add(-time.Duration(tt.since)*time.Second)
			}
			o := SecondOpinions(Input{Now: now, MaxAge: maxAge, Nodes: tt.nodes}, r)[0]
			got := fmt.Sprintf("%d asked, %d reached, %d failed, oldest %s", o.Asked, o.Reached, o.Failed, readable.Duration(time.Duration(o.Age)))
			for _, s := range o.SetsApart {
				got += "; apart by " + s.Trait
			}
			for _, rival := range o.Rivals {
				got += "; or else " + rival
			}
			if len(o.SeesAnother) > 0 {
				got += "; sees another " + strings.Join(o.SeesAnother, ", ")
			}
			if !o.Again.IsZero() {
				got += "; again since " + readable.Duration(now.Sub(o.Again))
			}
			for _, a := range o.Neither {
				got += fmt.Sprintf("; %d %s", a.Count, a.Rule)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if o.Which.Count != o.Reached || o.Failing.Count != o.Failed || slices.Contains(o.Failing.First, "a") {
				t.Errorf("names do not agree with the counts: %+v", o)
			}
		})
	}
}

func TestUnlike(t *testing.T) {
	place := func(zone, subnet, pool string) option {
		return func(n *Node) {
			n.Traits[TraitZone], n.Traits[TraitSubnet], n.Traits[TraitPool] = zone, subnet, pool
		}
	}
	asker := node("asker", place("z1", "s1", "p1"))
	nodes := []Node{
		asker, node("near", place("z1", "s1", "p1"), up()), node("pool", place("z1", "s1", "p2"), up()),
		node("subnet", place("z1", "s2", "p1"), up()),
		node("far", place("z2", "s3", "p3"), up()), node("cut", place("z9", "s9", "p9"), cutOff("")), node("silent", silent()),
	}
	if got := Unlike(asker, nodes, reg, 1); !slices.Equal(got, []string{"far"}) {
		t.Errorf("the node that resembles it least is far, not %v", got)
	}
	got := Unlike(asker, nodes, reg, 3)
	if slices.Sort(got); !slices.Equal(got, []string{"far", "pool", "subnet"}) {
		t.Errorf("got %v", got)
	}
	if got := Unlike(asker, nodes[:1], reg, 3); len(got) != 0 {
		t.Errorf("there is no other node, got %v", got)
	}
	if got := Unlike(asker, nodes, reg, 9); len(got) != 4 {
		t.Errorf("4 of 6 others can be asked, got %v", got)
	}

	// A node that has the host in its sweep is asked before one that has not.
	equal := []Node{node("one", place("z2", "s2", "p2")), node("two", place("z2", "s2", "p2"), up())}
	for i := range 10 {
		asker := node(fmt.Sprint("asker", i), place("z1", "s1", "p1"))
		if got := Unlike(asker, equal, reg, 1); !slices.Equal(got, []string{"two"}) {
			t.Errorf("%s asks %v, which does not know the host", asker.Name, got)
		}
	}

	// Many that ask do not all ask the same.
	others := many("n", 20, func(n string) Node { return node(n, place("z2", "s2", "p2"), up()) })
	asked := map[string]bool{}
	for i := range 20 {
		asker := node(fmt.Sprint("asker", i), place("z1", "s1", "p1"))
		first := Unlike(asker, others, reg, 3)
		slices.Reverse(others)
		if !slices.Equal(first, Unlike(asker, others, reg, 3)) {
			t.Errorf("whom %s asks depends on the order", asker.Name)
		}
		for _, n := range first {
			asked[n] = true
		}
	}
	if len(asked) < 10 {
		t.Errorf("20 nodes ask %d of 20", len(asked))
	}
}

func TestNodeTraits(t *testing.T) {
	for _, tt := range []struct {
		name string
		info NodeInfo
		by   []string
		want Traits
	}{
		{"nothing", NodeInfo{}, nil, Traits{}},
		{
			"EKS", NodeInfo{
				Labels: map[string]string{
					"topology.kubernetes.io/zone": "eu-1a", "topology.kubernetes.io/region": "eu-1", "node.kubernetes.io/instance-type": "m5.large",
					"eks.amazonaws.com/nodegroup": "blue",
				},
				Arch: "amd64", OSImage: "Debian 12", Kernel: "6.1", Kubelet: "v1.36.1", Runtime: "containerd://2.4.2",
				InternalIP: []string{"10.1.2.3", "fd00:1:2:3:4::5"}, ExternalIP: []string{"198.51.100.7"},
			}, nil, Traits{
				TraitZone: "eu-1a", TraitRegion: "eu-1", TraitInstanceType: "m5.large", TraitPool: "blue", TraitArch: "amd64", TraitOS: "Debian 12",
				TraitKernel: "6.1", TraitKubelet: "v1.36.1", TraitRuntime: "containerd://2.4.2", TraitSubnet: "10.1.2.0/24, fd00:1:2:3::/64",
				TraitEgress: "198.51.100.7",
			},
		},
		{"GKE", NodeInfo{Labels: map[string]string{"cloud.google.com/gke-nodepool": "p"}}, nil, Traits{TraitPool: "p"}},
		{"AKS", NodeInfo{Labels: map[string]string{"kubernetes.azure.com/agentpool": "p", "agentpool": "q"}}, nil, Traits{TraitPool: "p"}},
		{"Karpenter", NodeInfo{Labels: map[string]string{"karpenter.sh/nodepool": "p"}}, nil, Traits{TraitPool: "p"}},
		{"kops", NodeInfo{Labels: map[string]string{"kops.k8s.io/instancegroup": "p"}}, nil, Traits{TraitPool: "p"}},
		{"RKE2", NodeInfo{Labels: map[string]string{"rke.cattle.io/rke-machine-pool-name": "p"}}, nil, Traits{TraitPool: "p"}},
		{
			"a label of one's own", NodeInfo{Labels: map[string]string{"team": "x", "agentpool": "q"}},
			[]string{"rack", "team"}, Traits{TraitPool: "x"},
		},
		{"hostile", NodeInfo{Kernel: "6.1\x1b[2J", InternalIP: []string{"x", "10.1.2.3"}, ExternalIP: []string{"x"}}, nil, Traits{
			TraitKernel: "6.1[2J", TraitSubnet: "10.1.2.0/24",
		}},
	} {
		got := NodeTraits(tt.info, tt.by...)
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Every trait can set nodes apart, and what only the node itself says of the host counts too.
func TestTraitsSetApart(t *testing.T) {
	timeout := report.ConnectionTimeout
	node4 := func(bad, good func(*Node)) []Node {
		out := []Node{node("a", down(timeout)), node("b", down(timeout)), node("c", up()), node("d", up())}
		for i := range out {
			change := good
			if i < 2 {
				change = bad
			}
			change(&out[i])
		}
		return out
	}
	same := func(*Node) {}
	ofNode := func(name string) func(*Node) { return func(n *Node) { n.Traits[name] = "x" } }
	ofHost := func(set func(*nodefacts.Host)) func(*Node) { return func(n *Node) { set(&n.Facts.Hosts[0]) } }
	for _, tt := range []struct {
		trait     string
		bad, good func(*Node)
	}{
		{TraitZone, ofNode(TraitZone), same},
		{TraitRegion, ofNode(TraitRegion), same},
		{TraitPool, ofNode(TraitPool), same},
		{TraitInstanceType, ofNode(TraitInstanceType), same},
		{TraitArch, ofNode(TraitArch), same},
		{TraitOS, ofNode(TraitOS), same},
		{TraitKernel, ofNode(TraitKernel), same},
		{TraitKubelet, ofNode(TraitKubelet), same},
		{TraitRuntime, ofNode(TraitRuntime), same},
		{TraitSubnet, ofNode(TraitSubnet), same},
		{TraitEgress, ofNode(TraitEgress), same},
		{TraitResolver, resolver("10.0.0.9", "10.0.0.1"), resolver("10.0.0.1")},
		{TraitProxy, proxy("http://p:3128"), same},
		{TraitCA, pool("0ca"), same},
		{
			TraitMirrors, ofHost(func(h *nodefacts.Host) { h.Mirrors = []string{"m"} }),
			ofHost(func(h *nodefacts.Host) { h.Mirrors = []string{"k"} }),
		},
		{TraitHostsTOML, ofHost(func(h *nodefacts.Host) { h.HostsTOML = "aa" }), ofHost(func(h *nodefacts.Host) { h.HostsTOML = "bb" })},
		{TraitAddress, ofHost(at("192.0.2.1", "192.0.2.7")), same},
		{TraitCertificate, ofHost(func(h *nodefacts.Host) { h.Certificate = "aa" }), same},
		{TraitFamily, ofHost(at("2001:db8::1")), same},
	} {
		r := Compare(Input{Now: now, MaxAge: maxAge, Nodes: node4(tt.bad, tt.good)})
		if len(r.Findings) != 1 || !slices.ContainsFunc(r.Findings[0].SetsApart, func(s Share) bool { return s.Trait == tt.trait }) {
			t.Errorf("%s does not set apart: %s", tt.trait, r.Findings[0].Text())
		}
	}
}
