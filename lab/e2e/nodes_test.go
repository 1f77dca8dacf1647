//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/lab"
)

const nodeC, nodeD = "node-c", "node-d"

// Addresses of the registry in the lab.
const (
	registryAddr = "10.77.0.10"
	mirrorAddr   = "10.77.0.26"
	refusedAddr  = "10.77.0.16"
)

// scene is one thing that is wrong, and what all nodes together say about it.
type scene struct {
	name  string
	image string   // {host} is the scene's own host name
	on    []string // nodes on which a pod wants the image
	also  []string // further nodes of the cluster, beside the three
	// wreck breaks it.
	wreck func(t *testing.T, host string)
	// verdicts are those that the nodes' own reports must have in the end, as
	// "fault cause confidence", where * is anything and | separates alternatives.
	verdicts map[string]string
	// says is in the summary of the verdict of each node, or in what would decide.
	says string
	// finding is what the fleet says in the end.
	finding wantedFinding
}

type wantedFinding struct {
	about, name string // name: {host} as above
	verdict     string
	failing     []string
	through     []string
	apart       string // "trait value": the only trait that sets the failing nodes apart
	rival       string // part of a rival
}

// What several nodes see together is in each node's report and in the fleet's ConfigMap
// within 10 s of the first report of the failure.
func TestNodesTogether(t *testing.T) {
	skipWithoutFleet(t)
	suite.addNode(t, nodeC)
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) { s.run(t) })
	}
}

func scenes() []scene {
	inject := func(fault string, nodes ...string) func(*testing.T, string) {
		return func(t *testing.T, host string) {
			suite.resolve(t, host, registryAddr)
			for _, n := range nodes {
				suite.inject(t, n, fault)
			}
		}
	}
	all := []string{nodeA, nodeB, nodeC}
	return []scene{
		{
			name: "resolver-dead-on-one", image: "{host}/app:2", on: []string{nodeB},
			wreck:    inject("resolver-dead", nodeB),
			verdicts: map[string]string{nodeB: "node-infrastructure ResolverUnreachable confirmed"},
			finding: wantedFinding{
				about: "node", name: nodeB, verdict: "node-infrastructure ResolverUnreachable confirmed",
				failing: []string{nodeB}, through: []string{nodeA, nodeC},
			},
		},
		{
			name: "firewall-on-one", image: "{host}/app:2", on: []string{nodeB},
			wreck:    inject("registry-dropped", nodeB),
			verdicts: map[string]string{nodeB: "node-infrastructure ConnectionTimeout confirmed"},
			says:     "2 of 2 other nodes get through",
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "node-infrastructure ConnectionTimeout confirmed",
				failing: []string{nodeB}, through: []string{nodeA, nodeC},
			},
		},
		{
			name: "firewall-on-two", image: "{host}/app:2", on: []string{nodeA, nodeB},
			wreck: inject("registry-dropped", nodeA, nodeB),
			verdicts: map[string]string{
				nodeA: "node-infrastructure ConnectionTimeout likely", nodeB: "node-infrastructure ConnectionTimeout likely",
			},
			says: "1 of 2 other nodes get through",
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "node-infrastructure ConnectionTimeout likely",
				failing: []string{nodeA, nodeB}, through: []string{nodeC},
			},
		},
		{
			name: "firewall-on-a-subnet", image: "{host}/app:2", on: []string{nodeA, nodeB}, also: []string{nodeD},
			wreck: inject("registry-dropped", nodeA, nodeB),
			verdicts: map[string]string{
				nodeA: "node-infrastructure ConnectionTimeout confirmed", nodeB: "node-infrastructure ConnectionTimeout confirmed",
			},
			says: "subnet 10.77.0.0/24",
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "node-infrastructure ConnectionTimeout confirmed",
				failing: []string{nodeA, nodeB}, through: []string{nodeC, nodeD}, apart: "subnet 10.77.0.0/24",
			},
		},
		{
			name: "registry-down", image: "{host}/app:2", on: []string{nodeA},
			wreck: func(t *testing.T, host string) { suite.resolve(t, host, refusedAddr) },
			verdicts: map[string]string{
				nodeA: "registry ConnectionRefused likely",
			},
			says: "0 of 2 other nodes get through",
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "registry ConnectionRefused likely",
				failing: all, rival: "egress",
			},
		},
		{
			name: "name-nowhere", image: "{host}/app:2", on: []string{nodeA},
			wreck:    func(*testing.T, string) {},
			verdicts: map[string]string{nodeA: "cluster-config HostNotFound confirmed"},
			says:     "resolves on none of 2 other nodes",
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "cluster-config HostNotFound confirmed", failing: all,
			},
		},
		{
			name: "name-nowhere-one-resolver", image: "{host}/app:2", on: []string{nodeA},
			wreck:    func(t *testing.T, host string) { suite.useResolver(t, nodeC, lab.ResolverGood) },
			verdicts: map[string]string{nodeA: "cluster-config HostNotFound likely"},
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "cluster-config HostNotFound likely", failing: all, rival: "resolver",
			},
		},
		{
			name: "name-of-one-resolver", image: "{host}/app:2", on: []string{nodeA},
			wreck: func(t *testing.T, host string) {
				suite.setDNS(t, lab.ResolverSecond, host, lab.Answer{Addrs: []netip.Addr{netip.MustParseAddr(registryAddr)}})
			},
			verdicts: map[string]string{nodeA: "node-infrastructure HostNotFound likely"},
			says:     "node-c",
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "node-infrastructure HostNotFound likely",
				failing: []string{nodeA, nodeB}, through: []string{nodeC},
			},
		},
		{
			name: "ca-missing-on-two", image: "{host}/app:2", on: []string{nodeA, nodeB},
			wreck: inject("ca-missing", nodeA, nodeB),
			verdicts: map[string]string{
				nodeA: "node-infrastructure CertificateUntrusted confirmed|likely", nodeB: "node-infrastructure CertificateUntrusted confirmed|likely",
			},
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "node-infrastructure CertificateUntrusted likely",
				failing: []string{nodeA, nodeB}, through: []string{nodeC},
			},
		},
		{
			name: "another-certificate-on-one", image: "{host}/app:2", on: []string{nodeB},
			wreck:    inject("registry-intercepted", nodeB),
			verdicts: map[string]string{nodeB: "node-infrastructure TLSIntercepted confirmed|likely"},
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "node-infrastructure TLSIntercepted confirmed",
				failing: []string{nodeB}, through: []string{nodeA, nodeC},
			},
		},
		{
			name: "an-address-dead-for-one", image: "{host}/app:2", on: []string{nodeB},
			wreck: func(t *testing.T, host string) {
				suite.resolve(t, host, registryAddr, mirrorAddr)
				suite.inject(t, nodeB, "mirror-dropped")
			},
			verdicts: map[string]string{nodeB: "*"},
			finding:  wantedFinding{about: "host", name: "{host}", verdict: "*", failing: []string{nodeB}},
		},
		{
			name: "another-address-on-one", image: "{host}/app:2", on: []string{nodeC},
			wreck: func(t *testing.T, host string) {
				suite.setDNS(t, lab.ResolverGood, host, lab.Answer{Addrs: []netip.Addr{netip.MustParseAddr(registryAddr)}})
				suite.setDNS(t, lab.ResolverSecond, host, lab.Answer{Addrs: []netip.Addr{netip.MustParseAddr(refusedAddr)}})
			},
			verdicts: map[string]string{nodeC: "node-infrastructure ConnectionRefused|ResolverWrongAnswer likely"},
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "node-infrastructure ResolverWrongAnswer likely",
				failing: []string{nodeC}, through: []string{nodeA, nodeB},
			},
		},
		{
			name: "one-cut-off", image: "{host}/app:2", on: []string{nodeA, nodeB},
			wreck: func(t *testing.T, host string) {
				suite.resolve(t, host, registryAddr)
				suite.inject(t, nodeB, "egress-dropped")
				suite.inject(t, nodeA, "registry-dropped")
			},
			verdicts: map[string]string{
				nodeA: "node-infrastructure ConnectionTimeout likely", nodeB: "node-infrastructure * confirmed",
			},
			finding: wantedFinding{
				about: "host", name: "{host}", verdict: "node-infrastructure ConnectionTimeout likely",
				failing: []string{nodeA}, through: []string{nodeC},
			},
		},
		{
			name: "mirror-lacks-a-tag", image: "registry.lab/app:2", on: []string{nodeA, nodeB, nodeC},
			wreck: func(t *testing.T, _ string) {
				suite.writeNodeFile(t, nodeB, "/etc/containerd/certs.d/registry.lab/hosts.toml",
					"server = \"https://stale.lab\"\n[host.\"https://stale.lab\"]\n  capabilities = [\"pull\", \"resolve\"]\n")
			},
			verdicts: map[string]string{nodeB: "node-infrastructure MirrorFaulty confirmed|likely"},
			finding: wantedFinding{
				about: "image", name: "registry.lab/app:2", verdict: "node-infrastructure MirrorFaulty confirmed|likely", failing: []string{nodeB},
			},
		},
	}
}

// run breaks what the scene breaks, and waits until the reports say what they should.
func (s scene) run(t *testing.T) {
	host := s.name + lab.AnyHost
	own := func(text string) string { return strings.ReplaceAll(text, "{host}", host) }
	for _, n := range s.also {
		suite.addNode(t, n)
	}
	for _, n := range suite.NodeNames() {
		suite.sweepNow(t, n, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.Control.Outcome != "fail" })
	}
	ns := suite.namespace(t)
	s.wreck(t, host)
	for _, n := range s.on {
		suite.pod(t, podOptions{Node: n, Namespace: ns, Name: n, Image: own(s.image), Policy: corev1.PullAlways})
	}
	want := s.finding
	want.name = own(want.name)

	var first time.Time
	took := map[string]time.Duration{}
	diagnoses := map[string]diagnosis{}
	var fleet fleetResult
	ok := suite.eventually(t, 90*time.Second, func(ctx context.Context) bool {
		list, err := suite.api.CoreV1().ConfigMaps(agentNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false
		}
		now := time.Now()
		note := func(who string, ok bool) {
			if !ok {
				delete(took, who)
			} else if _, since := took[who]; !since && !first.IsZero() {
				took[who] = now.Sub(first)
			}
		}
		for _, cm := range list.Items {
			if cm.Name == fleetName {
				fleet = fleetResult{}
				if err := json.Unmarshal([]byte(cm.Data["fleet.json"]), &fleet); err != nil {
					t.Fatalf("fleet.json: %v", err)
				}
				note("the fleet", slices.ContainsFunc(fleet.Findings, want.matches))
				continue
			}
			node := strings.TrimPrefix(cm.Name, "pullprobe-")
			r, err := reportOf(&cm)
			if err != nil {
				continue
			}
			for _, d := range r.Diagnoses {
				if d.Pod != ns+"/"+node {
					continue
				}
				diagnoses[node] = d
				if first.IsZero() && d.Verdict.Fault != "none" {
					first = now
				}
				if pattern := s.verdicts[node]; pattern != "" {
					note(node, isVerdict(pattern, d.String()) && strings.Contains(d.Verdict.Summary+strings.Join(d.Verdict.WouldDecide, " "), s.says))
				}
			}
		}
		return len(took) == len(s.verdicts)+1
	})
	for _, who := range slices.Sorted(maps.Keys(took)) {
		d := took[who]
		t.Logf("%-10s %5.1f s after the first failing report", who, d.Seconds())
		if d > 10*time.Second {
			t.Errorf("%s: after %v", who, d)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(s.verdicts)) {
		t.Logf("%s: %s: %s\n  to confirm: %q", n, diagnoses[n], diagnoses[n].Verdict.Summary, diagnoses[n].Verdict.WouldDecide)
		if _, right := took[n]; !right {
			t.Errorf("%s: want %s %q\n%s", n, s.verdicts[n], s.says, diagnoses[n].explain())
		}
	}
	t.Logf("fleet:\n%s", fleetSummary(t))
	if !ok {
		t.Errorf("in time: %v; the fleet's findings: %+v", took, fleet.Findings)
	}
}

// fleetSummary returns what the fleet says to people.
func fleetSummary(t *testing.T) string {
	cm, err := suite.api.CoreV1().ConfigMaps(agentNamespace).Get(t.Context(), fleetName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cm.Data["summary"]
}

// isVerdict reports whether "fault cause confidence" has the form of a pattern.
func isVerdict(pattern, got string) bool {
	w, g := strings.Fields(pattern), strings.Fields(got)
	if pattern == "*" {
		return true
	}
	return slices.EqualFunc(w, g, func(w, g string) bool { return w == "*" || slices.Contains(strings.Split(w, "|"), g) })
}

func (w wantedFinding) matches(f fleetFinding) bool {
	apart := []string{}
	for _, s := range f.SetsApart {
		apart = append(apart, s.Trait+" "+s.Value)
	}
	return f.About == w.about && f.Name == w.name && isVerdict(w.verdict, fmt.Sprint(f.Fault, " ", f.Cause, " ", f.Confidence)) &&
		slices.Equal(f.Failing.First, w.failing) && slices.Equal(f.Through.First, w.through) &&
		(w.apart == "" || slices.Equal(apart, []string{w.apart})) &&
		(w.rival == "" || strings.Contains(strings.Join(f.Rivals, " "), w.rival))
}

// addNode adds a node until the test ends, with its agent.
func (c *cluster) addNode(t *testing.T, node string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.RemoveNode(ctx, node); err != nil {
			t.Error(err)
		}
	})
	if err := c.AddNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := c.waitReport(t, node, time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool { return len(r.Sweep.Registries) > 0 }); !ok {
		t.Fatalf("%s does not report", node)
	}
}

// setDNS sets what a resolver answers until the test ends.
func (c *cluster) setDNS(t *testing.T, resolver, name string, a lab.Answer) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.UnsetDNS(context.Background(), resolver, name); err != nil {
			t.Error(err)
		}
	})
	if err := c.SetDNS(t.Context(), resolver, name, a); err != nil {
		t.Fatal(err)
	}
}

// resolve gives a name addresses, for the resolvers of all nodes.
func (c *cluster) resolve(t *testing.T, name string, addrs ...string) {
	t.Helper()
	var a lab.Answer
	for _, s := range addrs {
		a.Addrs = append(a.Addrs, netip.MustParseAddr(s))
	}
	for _, r := range []string{lab.ResolverGood, lab.ResolverSecond} {
		c.setDNS(t, r, name, a)
	}
}

// useResolver has a node use another resolver until the test ends.
func (c *cluster) useResolver(t *testing.T, node, resolver string) {
	t.Helper()
	c.writeNodeFile(t, node, "/etc/resolv.conf", "nameserver "+resolver+"\n")
	if err := c.WaitResolverSeen(t.Context(), node); err != nil {
		t.Fatal(err)
	}
}

// writeNodeFile writes a file of a node until the test ends.
func (c *cluster) writeNodeFile(t *testing.T, node, path, text string) {
	t.Helper()
	before, err := c.ReadFile(node, path)
	t.Cleanup(func() {
		undo := func() error { return c.WriteFile(node, path, before) }
		if err != nil {
			undo = func() error { return c.RemoveFile(node, path) }
		}
		if err := undo(); err != nil {
			t.Error(err)
		}
	})
	if err := c.WriteFile(node, path, []byte(text)); err != nil {
		t.Fatal(err)
	}
}
