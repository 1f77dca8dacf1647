//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
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

// scenario is one thing that is wrong, and what all nodes together say about it.
type scenario struct {
	name  string
	image string   // empty: app:2 of the scenario's own host
	on    []string // nodes on which a pod wants the image
	also  []string // further nodes of the cluster, beside the three
	names bool     // only names are set, so that it can run beside others
	// wreck breaks it. The host is the scenario's own.
	wreck func(t *testing.T, ns, host string)
	// verdicts are those that the nodes' own reports must have in the end, as
	// "fault cause confidence", where * is anything and | separates alternatives.
	verdicts map[string]string
	// says is in the summary of the verdict of each node, or in what would decide.
	says string
	// finding is what the fleet says in the end.
	finding wantedFinding
}

type wantedFinding struct {
	about   string
	name    string // empty: the scenario's own host
	verdict string
	failing []string
	through []string
	apart   string // "trait value": the only trait that sets the failing nodes apart
	rival   string // part of a rival
}

// What three nodes see together is in the report of each, and in the fleet's ConfigMap.
func TestScenariosOfThreeNodes(t *testing.T) {
	skipWithoutFleet(t)
	suite.addNode(t, nodeC)
	suite.knowRegistries(t, allThree, "registry.lab", "mirror.lab", "dual.lab")
	t.Run("names", func(t *testing.T) {
		suite.settle(t)
		for _, s := range scenarios() {
			if s.names {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s.run(t)
				})
			}
		}
	})
	for _, s := range scenarios() {
		if !s.names {
			t.Run(s.name, func(t *testing.T) {
				for _, n := range s.also {
					suite.addNode(t, n)
				}
				suite.settle(t)
				s.run(t)
			})
		}
	}
}

// knowRegistries runs a pod from each registry on each node, so that a node which reaches
// nothing is known by them.
func (c *cluster) knowRegistries(t *testing.T, nodes []string, hosts ...string) {
	t.Helper()
	ns := c.namespace(t)
	var pods []string
	for _, node := range nodes {
		for _, host := range hosts {
			p := c.pod(t, podOptions{Node: node, Namespace: ns, Name: node + "-" + strings.TrimSuffix(host, ".lab"), Image: host + "/app:1"})
			pods = append(pods, p.Name)
		}
	}
	for _, p := range pods {
		c.waitRunning(t, ns, p)
	}
}

// examineAgain has everything on a node checked again.
func (c *cluster) examineAgain(t *testing.T, node string) {
	t.Helper()
	agent, value := c.agentPod(t, node), fmt.Sprint(time.Now().UnixNano())
	c.annotate(t, &agent, &value)
}

// settle waits until every node reaches its registries.
func (c *cluster) settle(t *testing.T) {
	t.Helper()
	began := time.Now()
	for _, n := range c.NodeNames() {
		c.examineAgain(t, n)
	}
	for _, n := range c.NodeNames() {
		_, r, ok := c.waitReport(t, n, 30*time.Second, func(_ *corev1.ConfigMap, r nodeReport) bool {
			away := func(h string) bool { return strings.HasPrefix(r.Sweep.stateOf(h), "unreachable") }
			return r.Sweep.Time.After(began) && !away("registry.lab") && !away("mirror.lab")
		})
		if !ok {
			t.Fatalf("%s does not recover: %+v", n, r.Sweep)
		}
	}
}

func scenarios() []scenario {
	return slices.Concat(scenariosOfNames(), scenariosOfConnections(), scenariosOfAnswers())
}

// allThree are the nodes of every scenario.
var allThree = []string{nodeA, nodeB, nodeC}

// scenariosOfNames break what resolvers answer.
func scenariosOfNames() []scenario {
	return []scenario{
		{
			name: "name-nowhere", on: []string{nodeA}, names: true,
			wreck:    func(*testing.T, string, string) {},
			verdicts: map[string]string{nodeA: "cluster-config HostNotFound confirmed"},
			says:     "0 of 2 other nodes get through",
			finding:  wantedFinding{about: "host", verdict: "cluster-config HostNotFound confirmed", failing: []string{nodeA}},
		},
		{
			name: "name-of-one-resolver", on: []string{nodeA}, names: true,
			wreck:    func(t *testing.T, _, host string) { suite.resolveBy(t, lab.ResolverSecond, host, registryAddr) },
			verdicts: map[string]string{nodeA: "node-infrastructure HostNotFound likely"},
			says:     "1 of 2 other nodes get through",
			finding: wantedFinding{
				about: "host", verdict: "node-infrastructure HostNotFound likely", failing: []string{nodeA}, through: []string{nodeC},
			},
		},
		{
			name: "another-address-on-one", on: []string{nodeC}, names: true,
			wreck: func(t *testing.T, _, host string) {
				suite.resolveBy(t, lab.ResolverGood, host, registryAddr)
				suite.resolveBy(t, lab.ResolverSecond, host, refusedAddr)
			},
			verdicts: map[string]string{nodeC: "node-infrastructure ConnectionRefused|ResolverWrongAnswer likely"},
			says:     "2 of 2 other nodes get through",
			finding: wantedFinding{
				about: "host", verdict: "node-infrastructure ResolverWrongAnswer likely", failing: []string{nodeC}, through: []string{nodeA, nodeB},
			},
		},
		{
			name: "registry-down", on: []string{nodeA}, names: true,
			wreck:    func(t *testing.T, _, host string) { suite.resolve(t, host, refusedAddr) },
			verdicts: map[string]string{nodeA: "registry ConnectionRefused likely"},
			says:     "the same egress",
			finding: wantedFinding{
				about: "host", verdict: "registry ConnectionRefused likely", failing: []string{nodeA}, rival: "egress",
			},
		},
		{
			name: "name-nowhere-by-one-resolver", on: []string{nodeA},
			wreck: func(t *testing.T, _, _ string) {
				suite.writeNodeFile(t, nodeC, "/etc/resolv.conf", "nameserver "+lab.ResolverGood+"\n")
			},
			verdicts: map[string]string{nodeA: "cluster-config HostNotFound likely"},
			says:     "the same resolver",
			finding: wantedFinding{
				about: "host", verdict: "cluster-config HostNotFound likely", failing: []string{nodeA}, rival: "resolver",
			},
		},
		{
			name: "resolver-dead-on-one", on: []string{nodeB},
			wreck:    breaking("resolver-dead", nodeB),
			verdicts: map[string]string{nodeB: "node-infrastructure ResolverUnreachable confirmed|likely"},
			finding: wantedFinding{
				about: "node", name: nodeB, verdict: "node-infrastructure ResolverUnreachable confirmed",
				failing: []string{nodeB}, through: []string{nodeA, nodeC},
			},
		},
	}
}

// breaking returns a function that gives the host its address, and injects a fault into
// nodes.
func breaking(fault string, nodes ...string) func(*testing.T, string, string) {
	return func(t *testing.T, _, host string) {
		suite.resolve(t, host, registryAddr)
		for _, n := range nodes {
			suite.inject(t, n, fault)
		}
	}
}

// scenariosOfConnections break what nodes connect to.
func scenariosOfConnections() []scenario {
	timeout := func(confidence string, nodes ...string) map[string]string {
		out := map[string]string{}
		for _, n := range nodes {
			out[n] = "node-infrastructure ConnectionTimeout " + confidence
		}
		return out
	}
	return []scenario{
		{
			name: "firewall-on-one", on: []string{nodeB},
			wreck:    breaking("registry-dropped", nodeB),
			verdicts: timeout("confirmed|likely", nodeB),
			says:     "2 of 2 other nodes get through",
			finding: wantedFinding{
				about: "host", verdict: "node-infrastructure ConnectionTimeout confirmed", failing: []string{nodeB}, through: []string{nodeA, nodeC},
			},
		},
		{
			name: "firewall-on-two", on: []string{nodeA, nodeB},
			wreck:    breaking("registry-dropped", nodeA, nodeB),
			verdicts: timeout("likely", nodeA, nodeB),
			says:     "1 of 2 other nodes get through",
			finding: wantedFinding{
				about: "host", verdict: "node-infrastructure ConnectionTimeout likely", failing: []string{nodeA, nodeB}, through: []string{nodeC},
			},
		},
		{
			name: "firewall-on-a-subnet", on: []string{nodeA, nodeB}, also: []string{nodeD},
			wreck:    breaking("registry-dropped", nodeA, nodeB),
			verdicts: timeout("confirmed|likely", nodeA, nodeB),
			says:     "subnet 10.77.0.0/24",
			finding: wantedFinding{
				about: "host", verdict: "node-infrastructure ConnectionTimeout confirmed",
				failing: []string{nodeA, nodeB}, through: []string{nodeC, nodeD}, apart: "subnet 10.77.0.0/24",
			},
		},
		{
			name: "address-dead-for-one", on: []string{nodeB},
			wreck: func(t *testing.T, _, host string) {
				suite.resolve(t, host, mirrorAddr, registryAddr)
				suite.inject(t, nodeB, "mirror-dropped")
			},
			// The pull succeeds after 15 s, perhaps before others have checked.
			verdicts: map[string]string{nodeB: "node-infrastructure|undetermined ConnectionTimeout likely"},
			says:     "the runtime waits",
			finding: wantedFinding{ // the node gets through to the host, in the end
				about: "host", name: "mirror.lab", verdict: "node-infrastructure ConnectionTimeout confirmed|likely",
				failing: []string{nodeB}, through: []string{nodeA, nodeC},
			},
		},
		{
			name: "one-cut-off", on: []string{nodeA, nodeB},
			wreck: func(t *testing.T, ns, host string) {
				breaking("egress-dropped", nodeB)(t, ns, host)
				suite.inject(t, nodeA, "registry-dropped")
			},
			verdicts: timeout("likely", nodeA),
			says:     "1 of 1 other nodes get through",
			finding: wantedFinding{
				about: "host", verdict: "node-infrastructure ConnectionTimeout likely", failing: []string{nodeA}, through: []string{nodeC},
			},
		},
	}
}

// scenariosOfAnswers break what the registry's certificate or a mirror says.
func scenariosOfAnswers() []scenario {
	return []scenario{
		{
			name: "ca-missing-on-two", on: []string{nodeA, nodeB},
			wreck: breaking("ca-missing", nodeA, nodeB),
			verdicts: map[string]string{
				nodeA: "node-infrastructure CertificateUntrusted confirmed", nodeB: "node-infrastructure CertificateUntrusted confirmed",
			},
			finding: wantedFinding{
				about: "host", verdict: "node-infrastructure CertificateUntrusted likely", failing: []string{nodeA, nodeB}, through: []string{nodeC},
			},
		},
		{
			name: "another-certificate-on-one", on: []string{nodeB},
			wreck:    breaking("registry-intercepted", nodeB),
			verdicts: map[string]string{nodeB: "node-infrastructure TLSIntercepted confirmed"},
			finding: wantedFinding{
				about: "host", verdict: "node-infrastructure TLSIntercepted confirmed", failing: []string{nodeB}, through: []string{nodeA, nodeC},
			},
		},
		{
			name: "mirror-lacks-a-tag", image: "registry.lab/app:2", on: []string{nodeB},
			wreck: func(t *testing.T, ns, _ string) {
				asked := "now"
				for _, n := range []string{nodeA, nodeC} { // they find it, and somebody asks
					p := suite.pod(t, podOptions{Node: n, Namespace: ns, Name: "on-" + n, Image: "registry.lab/app:2", Policy: corev1.PullAlways})
					suite.waitRunning(t, ns, p.Name)
					suite.annotate(t, p, &asked)
				}
				suite.writeNodeFile(t, nodeB, "/etc/containerd/certs.d/registry.lab/hosts.toml",
					"server = \"https://stale.lab\"\n[host.\"https://stale.lab\"]\n  capabilities = [\"pull\", \"resolve\"]\n")
			},
			verdicts: map[string]string{nodeB: "node-infrastructure MirrorFaulty confirmed|likely"},
			finding: wantedFinding{
				about: "image", name: "registry.lab/app:2", verdict: "node-infrastructure MirrorFaulty confirmed|likely",
				failing: []string{nodeB}, through: []string{nodeA, nodeC},
			},
		},
	}
}

// run breaks what the scenario breaks, and waits until the reports say what they should.
func (s scenario) run(t *testing.T) {
	host := s.name + lab.AnyHost
	ns := suite.namespace(t)
	s.wreck(t, ns, host)
	for _, n := range s.on {
		suite.pod(t, podOptions{Node: n, Namespace: ns, Name: n, Image: cmp.Or(s.image, host+"/app:2"), Policy: corev1.PullAlways})
	}
	s.finding.name = cmp.Or(s.finding.name, host)
	r := scenarioRun{scenario: s, ns: ns, took: map[string]time.Duration{}, diagnoses: map[string]diagnosis{}}
	ok := suite.eventually(t, time.Minute, func(ctx context.Context) bool { return r.look(ctx, t) })
	for _, who := range slices.Sorted(maps.Keys(r.took)) {
		t.Logf("%s: %.1f s after the first failing report", who, r.took[who].Seconds())
	}
	for _, n := range slices.Sorted(maps.Keys(r.diagnoses)) {
		d := r.diagnoses[n]
		t.Logf("%s: %s: %s\n  to confirm: %q", n, d, d.Verdict.Summary, d.Verdict.WouldDecide)
		if _, right := r.took[n]; !right && s.verdicts[n] != "" {
			t.Errorf("%s: want %s %q\n%s", n, s.verdicts[n], s.says, d.explain())
		}
	}
	t.Logf("fleet:\n%s", fleetSummary(t))
	if !ok {
		t.Errorf("right are: %v; the fleet's findings: %+v", r.took, r.fleet.Findings)
	}
	r.checkOpinions(t)
}

// scenarioRun is what was seen of a scenario.
type scenarioRun struct {
	scenario
	ns        string
	first     time.Time                // when a report had the failure
	took      map[string]time.Duration // from then to the right verdict, of each node and of the fleet
	diagnoses map[string]diagnosis     // by node
	fleet     fleetResult
}

// look reads all reports once, and reports whether all say what they should.
func (r *scenarioRun) look(ctx context.Context, t *testing.T) bool {
	list, err := suite.api.CoreV1().ConfigMaps(agentNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false
	}
	now := time.Now()
	note := func(who string, ok bool) {
		if !ok {
			delete(r.took, who)
		} else if _, since := r.took[who]; !since && !r.first.IsZero() {
			r.took[who] = now.Sub(r.first)
		}
	}
	for _, cm := range list.Items {
		if cm.Name == fleetName {
			r.fleet = fleetResult{}
			if err := json.Unmarshal([]byte(cm.Data["fleet.json"]), &r.fleet); err != nil {
				t.Fatalf("fleet.json: %v", err)
			}
			note("the fleet", slices.ContainsFunc(r.fleet.Findings, r.finding.matches))
			continue
		}
		node := strings.TrimPrefix(cm.Name, "pullprobe-")
		report, err := reportOf(&cm)
		if err != nil {
			continue
		}
		for _, d := range report.Diagnoses {
			if d.Pod != r.ns+"/"+node {
				continue
			}
			r.diagnoses[node] = d
			if r.first.IsZero() && d.Verdict.Fault != "none" {
				r.first = now
			}
			if pattern := r.verdicts[node]; pattern != "" {
				note(node, isVerdict(pattern, d.String()) && strings.Contains(d.Verdict.Summary+strings.Join(d.Verdict.WouldDecide, " "), r.says))
			}
		}
	}
	return len(r.took) == len(r.verdicts)+1
}

// checkOpinions checks that where two other nodes have checked, it is decided who must act,
// and that no verdict is confirmed that another node contradicts.
func (r *scenarioRun) checkOpinions(t *testing.T) {
	t.Helper()
	for node, d := range r.diagnoses {
		for _, c := range d.Checks {
			if !strings.HasPrefix(c.ID, "elsewhere/") || c.Evidence["asked"] == "" {
				continue
			}
			if d.Verdict.Fault == "undetermined" && c.Evidence["asked"] != "1" {
				t.Errorf("%s: undetermined, although %s other nodes have checked", node, c.Evidence["asked"])
			}
			if f := d.Verdict.Fault; (f == "registry" || f == "cluster-config") && d.Verdict.Confidence == "confirmed" && c.Evidence["reached"] != "0" {
				t.Errorf("%s: %s, and other nodes get through", node, d)
			}
		}
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
	named := f.Name == w.name || slices.Contains(f.Also.First, w.name)
	return f.About == w.about && named && isVerdict(w.verdict, fmt.Sprint(f.Fault, " ", f.Cause, " ", f.Confidence)) &&
		slices.Equal(f.Failing.First, w.failing) && slices.Equal(f.Through.First, w.through) &&
		(w.apart == "" || slices.Equal(apart, []string{w.apart})) &&
		(w.rival == "" || strings.Contains(strings.Join(f.Rivals, " "), w.rival))
}

// membership is held while a node is added or removed: the lab does one at a time.
var membership sync.Mutex

// addNode adds a node until the test ends, with its agent.
func (c *cluster) addNode(t *testing.T, node string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		membership.Lock()
		defer membership.Unlock()
		if err := c.RemoveNode(ctx, node); err != nil {
			t.Error(err)
		}
	})
	membership.Lock()
	err := c.AddNode(t.Context(), node)
	membership.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := c.waitReport(t, node, time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool { return len(r.Sweep.Registries) > 0 }); !ok {
		t.Fatalf("%s does not report", node)
	}
}

// resolveBy has one resolver give a name addresses, until the test ends.
func (c *cluster) resolveBy(t *testing.T, resolver, name string, addrs ...string) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.UnsetDNS(context.Background(), resolver, name); err != nil {
			t.Error(err)
		}
	})
	var a lab.Answer
	for _, s := range addrs {
		a.Addrs = append(a.Addrs, netip.MustParseAddr(s))
	}
	if err := c.SetDNS(t.Context(), resolver, name, a); err != nil {
		t.Fatal(err)
	}
}

// resolve gives a name addresses, by the resolvers of all nodes.
func (c *cluster) resolve(t *testing.T, name string, addrs ...string) {
	t.Helper()
	for _, r := range []string{lab.ResolverGood, lab.ResolverSecond} {
		c.resolveBy(t, r, name, addrs...)
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
