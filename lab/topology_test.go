package lab

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestTopologyHoldsTogether(t *testing.T) {
	var onBridge []netip.Prefix
	for _, s := range []string{Subnet, SubnetV6, SubnetGlobal} {
		onBridge = append(onBridge, netip.MustParsePrefix(s))
	}
	taken := map[string]string{}
	once := func(addr, who string) {
		t.Helper()
		if other, ok := taken[addr]; ok && other != who {
			t.Errorf("%s is both %s and %s", addr, other, who)
		}
		taken[addr] = who
	}
	take := func(addr, who string) {
		t.Helper()
		once(addr, who)
		if a := netip.MustParseAddr(addr); !slices.ContainsFunc(onBridge, func(p netip.Prefix) bool { return p.Contains(a) }) {
			t.Errorf("%s of %s is not in %v", addr, who, onBridge)
		}
	}
	for _, r := range append(resolvers(), ResolverNoHost) {
		take(r, "resolver "+r)
	}
	for _, n := range Nodes() {
		once(n.Addr, n.Name)
		once(n.V6, n.Name)
		once(n.pods, n.Name)
		if !n.onBridge() { // its link has the subnet alone
			once(gateway(n.Addr).String(), "the gateway of "+n.Name)
			once(gateway(n.V6).String(), "the gateway of "+n.Name)
		}
		if !slices.Contains(resolvers(), n.Resolver) {
			t.Errorf("%s has the resolver %q", n.Name, n.Resolver)
		}
	}
	for _, name := range DefaultNodes() {
		if _, err := findNode(name); err != nil {
			t.Error(err)
		}
	}
	names := map[string]bool{}
	for _, h := range Hosts() {
		if names[h.Name] {
			t.Errorf("%s twice", h.Name)
		}
		names[h.Name] = true
		for _, a := range h.Addrs() {
			if h.serve == serveFault {
				take(a.String(), "the fault listener")
			} else {
				take(a.String(), h.Name)
			}
		}
	}
}

// The README names every node, fault and host.
func TestREADMENamesNodesHostsAndFaults(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range Nodes() {
		if !strings.Contains(string(b), "`"+n.Name+"`") {
			t.Errorf("README.md lacks the node %s", n.Name)
		}
	}
	for _, h := range Hosts() {
		if !strings.Contains(string(b), "`"+h.Name+"`") {
			t.Errorf("README.md lacks the host %s", h.Name)
		}
	}
	for _, f := range Faults() {
		if !strings.Contains(string(b), "`"+f.Name+"`") {
			t.Errorf("README.md lacks the fault %s", f.Name)
		}
	}
}

func TestUnknownNodeAndFaultAreNamed(t *testing.T) {
	l := labOf(t, "node-a")
	if _, err := l.findFault("node-z", "disk-full"); err == nil || !strings.Contains(err.Error(), "node-a") {
		t.Errorf("unknown node: %v", err)
	}
	if _, err := l.findFault("node-a", "nonsense"); err == nil || !strings.Contains(err.Error(), "disk-full") {
		t.Errorf("unknown fault: %v", err)
	}
	if _, err := l.findFault("node-c", "disk-full"); err == nil || !strings.Contains(err.Error(), "`lab add node-c`") {
		t.Errorf("a node that is not started: %v", err)
	}
}

// labOf returns a lab whose files say that these nodes are started, all by this process.
func labOf(t *testing.T, nodes ...string) *Lab {
	t.Helper()
	d := Dir(t.TempDir())
	if err := os.MkdirAll(d.Run(), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := processOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range append(nodes, Infra) {
		if err := writePIDFile(d.Run(n+".pid"), self); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(d.Run("ready"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Open(d)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestOnlyStartedNodesCount(t *testing.T) {
	l := labOf(t, "node-c", "node-a")
	if got := l.NodeNames(); !slices.Equal(got, []string{"node-a", "node-c"}) {
		t.Errorf("%v", got)
	}
	if got := l.Spaces(); !slices.Equal(got, []string{Infra, "node-a", "node-c"}) {
		t.Errorf("%v", got)
	}
	if err := l.Inject(t.Context(), "node-b", "disk-full"); err == nil || !strings.Contains(err.Error(), "node-b is not started") {
		t.Errorf("%v", err)
	}
}
