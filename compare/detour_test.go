package compare_test

import (
	"slices"
	"testing"

	. "github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// A node that only checks a mirror for another does not fail: the node that uses it does. What the
// former does without the mirror is named, if it is known.
func TestMirrorOfOneNode(t *testing.T) {
	const upstream = "up.example"
	stuck := nodefacts.Image{
		Name: upstream + "/app:1", Host: reg, Cause: report.HostNotFound, Fault: report.FaultNode, Confidence: report.Likely, Checked: ago(5),
	}
	pulls := has(30, upstream)
	pulls.Name = upstream + "/app:1"
	asked := down(report.HostNotFound, onlyAsked)
	const compareFiles = "compare hosts.toml of up.example on b with that on a, which "
	for _, tt := range []struct {
		name string
		a    Node
		want string // in what would decide
	}{
		{"it can pull", node("a", asked, pulls), compareFiles + "can pull up.example/app:1 without registry.example"},
		{"it has not checked the mirror yet", node("a", pulls), compareFiles + "can pull up.example/app:1 without registry.example"},
		{"it reaches the registry", node("a", asked, up(named(upstream), mirrored())), compareFiles + "reaches up.example without registry.example"},
		{"its hosts.toml is not known", node("a", asked, up(named(upstream))), ""},
		{"it names the mirror, too", node("a", asked, pulls, up(named(upstream), mirrored(reg, upstream))), ""},
		{"it uses the mirror", node("a", down(report.HostNotFound), pulls), ""},
		{"it reached the registry long ago", node("a", asked, up(named(upstream), mirrored(), times(9000, 8000))), ""},
		{"it does not reach the registry", node("a", asked, down(report.ConnectionTimeout, named(upstream), mirrored())), ""},
	} {
		findings := Compare(Input{Now: now, MaxAge: maxAge, Nodes: []Node{tt.a, node("b", down(report.HostNotFound), stuck)}}).Findings
		i := slices.IndexFunc(findings, func(f Finding) bool { return f.Name == reg })
		if i < 0 {
			t.Fatalf("%s: no finding", tt.name)
		}
		f := findings[i]
		if h, ok := tt.a.Facts.Host(reg); ok && h.Asked {
			want := Aside{Rule: "asked", Why: "does not get through either, but only checked it for others: it does not use it", Names: Names{Count: 1, First: []string{"a"}}}
			if f.Failing.Count != 1 || f.Failing.First[0] != "b" || len(f.Neither) != 1 || f.Neither[0].Rule != want.Rule ||
				f.Neither[0].Why != want.Why || !slices.Equal(f.Neither[0].First, want.First) {
				t.Errorf("%s: %s", tt.name, f.Text())
			}
		}
		if is := slices.Contains(f.WouldDecide, tt.want); is != (tt.want != "") {
			t.Errorf("%s: %s", tt.name, f.Text())
		}
		if tt.want == "" && slices.ContainsFunc(f.WouldDecide, func(s string) bool { return len(s) > 18 && s[:18] == compareFiles[:18] }) {
			t.Errorf("%s: %s", tt.name, f.Text())
		}
	}
}
