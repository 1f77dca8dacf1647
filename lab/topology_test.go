package lab

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestTopologyHoldsTogether(t *testing.T) {
	subnet := netip.MustParsePrefix(Subnet)
	taken := map[string]string{}
	take := func(addr, who string) {
		t.Helper()
		if other, ok := taken[addr]; ok && other != who {
			t.Errorf("%s is both %s and %s", addr, other, who)
		}
		if !subnet.Contains(netip.MustParseAddr(addr)) {
			t.Errorf("%s of %s is outside %s", addr, who, subnet)
		}
		taken[addr] = who
	}
	for _, r := range []string{ResolverGood, ResolverServfail, ResolverDead, ResolverNXDomain, ResolverNoHost} {
		take(r, "resolver "+r)
	}
	for _, n := range Nodes() {
		take(n.Addr, n.Name)
	}
	names := map[string]bool{}
	for _, h := range Hosts() {
		if names[h.Name] {
			t.Errorf("%s twice", h.Name)
		}
		names[h.Name] = true
		if h.serve == serveFault {
			take(h.Addr.String(), "the fault listener")
		} else {
			take(h.Addr.String(), h.Name)
		}
	}
}

// The README names every fault and every host.
func TestREADMENamesHostsAndFaults(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
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
	if _, err := findFault("node-z", "disk-full"); err == nil || !strings.Contains(err.Error(), "node-a") {
		t.Errorf("unknown node: %v", err)
	}
	if _, err := findFault("node-a", "nonsense"); err == nil || !strings.Contains(err.Error(), "disk-full") {
		t.Errorf("unknown fault: %v", err)
	}
}
