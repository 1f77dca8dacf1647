package compare_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

var update = flag.Bool("update", false, "rewrite golden files")

// Every rule decides something: without it some finding changes.
func TestEveryRuleDecides(t *testing.T) {
	all := situations()
	want := make([]Result, len(all))
	for i, s := range all {
		want[i] = Compare(s.input())
	}
	for _, rule := range Rules() {
		var changed []string
		compare := Without(rule)
		for i, s := range all {
			if !reflect.DeepEqual(want[i], compare(s.input())) {
				changed = append(changed, s.name)
			}
		}
		if len(changed) == 0 {
			t.Errorf("nothing depends on the rule %s (%s)", rule, rule.When)
			continue
		}
		t.Logf("%-32s %2d situations, e.g. %s", rule, len(changed), changed[0])
	}
}

// Every rule has a unique id and a sentence.
func TestRulesHaveIDs(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	ids := map[string]bool{}
	for _, rule := range Rules() {
		if !kebab.MatchString(rule.ID) || ids[rule.ID] || rule.When == "" {
			t.Errorf("%s is no id, not unique, or has no sentence", rule)
		}
		ids[rule.ID] = true
	}
}

// The order of the nodes changes nothing, and neither does a node that is listed twice.
func TestOrderDoesNotMatter(t *testing.T) {
	for _, s := range situations() {
		want := Compare(s.input())
		for range 5 {
			in := s.input()
			in.Nodes = slices.Clone(in.Nodes)
			rand.Shuffle(len(in.Nodes), func(i, j int) { in.Nodes[i], in.Nodes[j] = in.Nodes[j], in.Nodes[i] })
			in.Nodes = append(in.Nodes, in.Nodes[0])
			got := Compare(in)
			got.Nodes = want.Nodes
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%s: %s", s.name, d)
			}
		}
	}
}

// A result is bounded: what is most severe stays, and what is left out is counted.
func TestBounded(t *testing.T) {
	// Each host fails for another pair of nodes, so that no two findings are the same.
	nodes := many("n", 40, func(n string) Node {
		var hosts []any
		for i := range 300 {
			h := up(named(fmt.Sprintf("r%03d.example", i)))
			one, two := i%40, (i%40+1+i/40)%40
			if i >= 100 && (n == fmt.Sprintf("n%02d", one) || n == fmt.Sprintf("n%02d", two)) || i == 299 {
				h = down(report.HostNotFound, named(h.Name))
			}
			hosts = append(hosts, h)
		}
		return node(n, hosts...)
	})
	r := Compare(Input{Now: now, MaxAge: maxAge, Nodes: nodes})
	if len(r.Findings) != 50 || r.Omitted != 150 || len(r.Hosts) != 200 || r.HostsOmitted != 100 {
		t.Errorf("%d findings (%d omitted), %d hosts (%d omitted)", len(r.Findings), r.Omitted, len(r.Hosts), r.HostsOmitted)
	}
	if r.Hosts[0].Host != "r299.example" || r.Hosts[199].Failing == 0 {
		t.Errorf("the hosts at which most nodes fail are not first: %v", r.Hosts[0])
	}
	if h := r.Hosts[0]; h.Failing != 40 || h.Through != 0 {
		t.Errorf("%+v", h)
	}
}

// One finding for all hosts that the same nodes do not reach. A node that lies about many
// hosts does not crowd out what others say.
func TestOneCauseOneFinding(t *testing.T) {
	causes := report.Catalogue()
	nodes := many("n", 10, func(n string) Node {
		hosts := []any{down(report.RegistryUnavailable, named("down.example"))}
		for i := range 100 {
			h := up(named(fmt.Sprintf("r%03d.example", i)))
			switch {
			case n == "n00":
				h = down(report.ConnectionTimeout, named(h.Name))
			case n == "n01":
				h = down(causes[i%len(causes)].Cause, named(h.Name))
			}
			hosts = append(hosts, h)
		}
		return node(n, hosts...)
	})
	r := Compare(Input{Now: now, MaxAge: maxAge, Nodes: nodes})
	if f := r.Findings[0]; f.Name != "down.example" || f.Fault != report.FaultRegistry {
		t.Errorf("the outage of all is not first: %s", f.Text())
	}
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Failing.Count == 1 && f.Failing.First[0] == "n00" })
	if i < 0 || r.Findings[i].Also.Count < 80 || len(r.Findings[i].Also.First) != 10 {
		t.Errorf("what n00 does not reach is not one finding")
	}
}

// What must hold for every finding, whatever the nodes say.
func checkInvariants(t *testing.T, in Input, r Result) {
	t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > 512<<10 || len(r.Findings) > 50 || len(r.Hosts) > 200 {
		t.Errorf("%d bytes, %d findings, %d hosts", len(body), len(r.Findings), len(r.Hosts))
	}
	exists := map[string]bool{}
	for _, n := range in.Nodes {
		exists[n.Name] = true
	}
	for _, f := range r.Findings {
		text := f.Text()
		if strings.Contains(strings.ToLower(text), "because") {
			t.Errorf("a finding explains: %s", text)
		}
		if strings.ContainsAny(text, "{}\x1b\u202e") {
			t.Errorf("a finding has a placeholder or a control character: %q", text)
		}
		if f.Rule == "undecided" {
			t.Errorf("no rule decides: %s", text)
		}
		if f.Confidence == report.Confirmed && f.About == AboutHost && f.Through.Count < 2 && failAlike(f) < 3 && !eachConfirms(in, f) {
			t.Errorf("confirmed by fewer than two other nodes: %s", text)
		}
		if (f.Fault == report.FaultUndetermined) != (f.Confidence == report.ConfidenceUndetermined) {
			t.Errorf("%s, but %s: %s", f.Fault, f.Confidence, text)
		}
		if f.Confidence == report.ConfidenceUndetermined && len(f.WouldDecide) == 0 {
			t.Errorf("undetermined, and nothing would decide: %s", text)
		}
		if len(f.SetsApart) > 0 && failAlike(f) < 2 {
			t.Errorf("one node is set apart: %s", text)
		}
		for _, s := range f.SetsApart {
			if s.Failing != s.OfFailing || s.Others != 0 || s.OfOthers < 2 || s.Unknown != 0 {
				t.Errorf("sets apart with an exception: %s", s)
			}
		}
		for _, list := range []Names{f.Failing, f.Through} {
			for _, n := range list.First {
				if !exists[n] {
					t.Errorf("node %q does not exist", n)
				}
			}
		}
	}
}

// failAlike returns at most how many nodes have seen what a finding says, those included that only
// checked the host for others.
func failAlike(f Finding) int {
	count := f.Failing.Count
	for _, a := range f.Neither {
		if a.Rule == "asked" {
			count += a.Count
		}
	}
	return count
}

// eachConfirms reports whether two nodes fail at least, and each has confirmed itself that the registry is at
// fault.
func eachConfirms(in Input, f Finding) bool {
	sure := 0
	for _, n := range in.Nodes {
		if slices.Contains(f.Failing.First, n.Name) && slices.ContainsFunc(n.Facts.Images, func(i nodefacts.Image) bool {
			return i.Host == f.Name && i.Cause == f.Cause && i.Fault == report.FaultRegistry && i.Confidence == report.Confirmed
		}) {
			sure++
		}
	}
	return sure > 1 && sure == f.Failing.Count && f.Fault == report.FaultRegistry
}

func TestInvariants(t *testing.T) {
	for _, s := range situations() {
		checkInvariants(t, s.input(), Compare(s.input()))
	}
}

// A node that is cut off changes no finding about a host.
func TestCutOffNodesSayNothing(t *testing.T) {
	for _, s := range hostSituations() {
		in := s.input()
		before := hostsOnly(Compare(in))
		in.Nodes = append(slices.Clone(in.Nodes), many("cut", 5, func(n string) Node {
			return node(n, down(report.HostNotFound), cutOff(report.HostNotFound))
		})...)
		after := hostsOnly(Compare(in))
		if d := cmp.Diff(before, after); d != "" {
			t.Errorf("%s: %s", s.name, d)
		}
	}
}

func hostsOnly(r Result) []string {
	var out []string
	for _, f := range r.Findings {
		if f.About == AboutHost {
			out = append(out, short(f))
		}
	}
	return out
}

// The finding of each kind, as people read it.
func TestText(t *testing.T) {
	var b strings.Builder
	for _, s := range situations() {
		fmt.Fprintf(&b, "# %s\n\n", s.name)
		if err := Compare(s.input()).WriteText(&b); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n")
	}
	golden(t, "situations.txt", b.String())
}

// A fleet of 40 nodes, of which three share a subnet that a firewall closes.
func fleet() Input {
	nodes := many("node-", 37, func(n string) Node {
		return node(n, up(), trait(TraitSubnet, "10.1.1.0/24"), trait(TraitZone, "eu-1a"), resolver("10.0.0.2"))
	})
	nodes = append(nodes, many("edge-", 3, func(n string) Node {
		return node(n, down(report.ConnectionTimeout), trait(TraitSubnet, "10.1.9.0/24"), trait(TraitZone, "eu-1a"), resolver("10.0.0.2"))
	})...)
	return Input{Now: now, MaxAge: maxAge, Nodes: append(nodes, node("new", silent()))}
}

func TestFleetText(t *testing.T) {
	var b strings.Builder
	r := Compare(fleet())
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "fleet.txt", b.String())
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "fleet.json", string(body)+"\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: %s", name, d)
	}
}

// What foreign nodes say never breaks the comparison, and never decides more than it may.
func FuzzCompare(f *testing.F) {
	for _, s := range situations() {
		for _, n := range s.nodes {
			if n.Facts != nil {
				if text, err := n.Facts.Encode(); err == nil {
					f.Add(text, text)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		in := fleet()
		for i, text := range []string{a, b} {
			n := Node{Name: fmt.Sprintf("foreign-%d", i), Traits: Traits{}}
			if facts, err := nodefacts.Decode(text); err == nil {
				n.Facts = &facts
			}
			in.Nodes = append(in.Nodes, n)
		}
		r := Compare(in)
		checkInvariants(t, in, r)
		for _, x := range r.Findings {
			// Two nodes that say anything at all never make others' registry faulty.
			if x.About == AboutHost && x.Name == reg && x.Fault == report.FaultRegistry && x.Confidence == report.Confirmed &&
				x.Through.Count > 30 && x.Cause != report.RateLimited {
				t.Errorf("two nodes against 37: %s", x.Text())
			}
		}
		SecondOpinions(in, Request{Node: "foreign-0", Host: reg})
	})
}

func BenchmarkCompare5000(b *testing.B) {
	nodes := many("n", 5000, func(n string) Node {
		hosts := []any{trait(TraitSubnet, "10.1."+n[1:3]+".0/24")}
		for i := range 20 {
			host := up(named(fmt.Sprintf("r%02d.example", i)))
			if n < "n03" && i < 10 {
				host = down(report.ConnectionTimeout, named(host.Name))
			}
			hosts = append(hosts, host)
		}
		return node(n, hosts...)
	})
	for b.Loop() {
		Compare(Input{Now: now, MaxAge: maxAge, Nodes: nodes})
	}
}

func BenchmarkSecondOpinions1000(b *testing.B) {
	nodes := many("n", 5000, func(n string) Node { return node(n, down(report.ConnectionTimeout)) })
	var requests []Request
	for i := range 1000 {
		requests = append(requests, Request{Node: nodes[i].Name, Host: reg})
	}
	for b.Loop() {
		SecondOpinions(Input{Now: now, MaxAge: maxAge, Nodes: nodes}, requests...)
	}
}

// docs/fleet.md has every rule, and no other.
func TestRulesAreDocumented(t *testing.T) {
	const file, begin, end = "../docs/fleet.md", "-update -->\n", "<!-- /rules -->"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(doc), begin)
	section, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no section of rules", file)
	}
	titles := map[string]string{
		"count": "Observations that do not count", "host": "Hosts", "doubt": "Doubts", "image": "Images", "node": "Nodes",
	}
	var b strings.Builder
	table := ""
	for _, r := range Rules() {
		if r.Table != table {
			table = r.Table
			fmt.Fprintf(&b, "\n**%s**\n\n| rule | when |\n| --- | --- |\n", titles[table])
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.ID, r.When)
	}
	b.WriteString("\n")
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(b.String(), section); d != "" {
		t.Errorf("%s: %s", file, d)
	}
}

// docs/fleet.md has every field of the facts.
func TestFactsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	var check func(prefix string, of reflect.Type)
	check = func(prefix string, of reflect.Type) {
		for f := range of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch inner := f.Type; {
			case inner.Kind() == reflect.Struct:
				check(name+".", inner)
			case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
				check(name+"[].", inner.Elem())
			case !strings.Contains(string(doc), "`"+prefix+name+"`"):
				t.Errorf("docs/fleet.md lacks %s", prefix+name)
			}
		}
	}
	check("", reflect.TypeFor[nodefacts.Facts]())
}
