package compare_test

import (
	"slices"
	"testing"

	. "github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/report"
)

// TestAsked checks that nodes which were asked to check a host, and all fail, speak for those that have
// not checked since; and that no others do.
func TestAsked(t *testing.T) {
	failing := many("a", 10, func(n string) Node { return node(n, down(report.ConnectionTimeout)) })
	earlier := many("e", 20, func(n string) Node { return node(n, up(times(3600, 90))) })
	all := slices.Concat(failing, earlier)
	asked := func(host string, nodes ...Node) map[string]map[string]bool {
		out := map[string]bool{}
		for _, n := range nodes {
			out[n.Name] = true
		}
		return map[string]map[string]bool{host: out}
	}
	for _, tt := range []struct {
		name  string
		nodes []Node
		asked map[string]map[string]bool
		want  string
	}{
		{"nobody was asked", all, nil, "too-few-since undetermined undetermined"},
		{"all that fail were asked", all, asked(reg, failing...), "down-for-all registry likely"},
		{"some of them", all, asked(reg, failing[:9]...), "too-few-since undetermined undetermined"},
		{"to check another host", all, asked("other.example", failing...), "too-few-since undetermined undetermined"},
		{"nodes that have not checked since", all, asked(reg, earlier...), "too-few-since undetermined undetermined"},
		{
			"one that was asked gets through", append(slices.Clone(all), node("good", up(times(3600, 3)))),
			asked(reg, failing...), "one-against-many undetermined undetermined",
		},
	} {
		r := Compare(Input{Now: now, MaxAge: maxAge, Nodes: tt.nodes, Asked: tt.asked})
		if len(r.Findings) != 1 {
			t.Fatalf("%s: %d findings", tt.name, len(r.Findings))
		}
		f := r.Findings[0]
		if got := f.Rule + " " + string(f.Fault) + " " + string(f.Confidence); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
