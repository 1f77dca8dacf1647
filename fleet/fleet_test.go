package fleet

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

func TestParse(t *testing.T) {
	env := func(values ...string) func(string) string {
		return func(name string) string {
			for _, v := range values {
				if k, v, _ := strings.Cut(v, "="); k == name {
					return v
				}
			}
			return ""
		}
	}
	o, err := Parse([]string{"--pool-labels=team, rack"}, env("POD_NAMESPACE=ns", "POD_NAME=me", "PULLPROBE_FLEET_METRICS_ADDR=:1"), new(strings.Builder))
	if err != nil || o.Namespace != "ns" || o.Identity != "me" || o.MetricsAddr != ":1" || fmt.Sprint(o.PoolLabels) != "[team rack]" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, tt := range []struct {
		args []string
		env  []string
		want string
	}{
		{nil, nil, "--namespace"},
		{[]string{"--namespace=n"}, nil, "--identity"},
		{[]string{"--namespace=n", "--identity=i", "x"}, nil, `"x"`},
		{[]string{"--namespace=n", "--identity=i", "--health-addr=9782"}, nil, "--health-addr=9782"},
		{[]string{"--namespace=n", "--identity=i"}, []string{"PULLPROBE_FLEET_LOG_LEVEL=loud"}, "PULLPROBE_FLEET_LOG_LEVEL=loud"},
	} {
		if _, err := Parse(tt.args, env(tt.env...), new(strings.Builder)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q %q: %v", tt.args, tt.env, err)
		}
	}
	var help strings.Builder
	if _, err := Parse([]string{"-h"}, env(), &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-pool-labels") {
		t.Errorf("%v %s", err, help.String())
	}
}

func encoded(t *testing.T, f nodefacts.Facts) string {
	t.Helper()
	text, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A report counts if its Node exists, if it has the name that only that node's agent may
// write, and as long as it says.
func TestInput(t *testing.T) {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	c := newCluster()
	for _, n := range []string{"a", "b", "c", "d", "e"} {
		c.setNode(n, member{uid: "uid-" + n})
	}
	facts := func(at time.Time, fresh int) string {
		return encoded(t, nodefacts.Facts{At: nodefacts.StampOf(at), Fresh: fresh, Control: report.Pass})
	}
	c.setReport("pullprobe-a", facts(now, 990), now.Add(-10*time.Minute))
	c.setReport("pullprobe-b", facts(now, 990), now.Add(-20*time.Minute))
	c.setReport("pullprobe-c", "nonsense", now)
	c.setReport("pullprobe-d", facts(now.Add(-time.Hour), 1800), now) // its clock is wrong
	c.setReport("pullprobe-gone", facts(now, 990), now)
	c.setReport("forged", facts(now, 990), now)
	in, oldest := c.input(now)
	got := ""
	for _, n := range in.Nodes {
		if n.Facts != nil {
			got += n.Name
		}
	}
	if len(in.Nodes) != 5 || len(got) != 2 || !strings.Contains(got, "a") || !strings.Contains(got, "d") {
		t.Errorf("of %d nodes these count: %q", len(in.Nodes), got)
	}
	if !oldest.Equal(now.Add(-10 * time.Minute)) {
		t.Errorf("the oldest is of %v", oldest)
	}

	// Times alone are no change.
	same := func(at time.Time) bool { _, changed := c.setReport("pullprobe-a", facts(at, 990), at); return !changed }
	if !same(now.Add(time.Minute)) {
		t.Error("a heartbeat is a change")
	}
	if _, changed := c.setReport("pullprobe-a", facts(now, 100), now); !changed {
		t.Error("another interval is no change")
	}
}

func TestRender(t *testing.T) {
	r := documentOf(compare.Result{
		Schema: compare.Schema, Time: time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC), Nodes: 3, Silent: compare.Names{Count: 1, First: []string{"c"}},
	}, []Unscheduled{{Pod: "shop/web", Why: "cordoned"}})
	for i := range 50 {
		r.Findings = append(r.Findings, compare.Finding{
			Rule: "these-nodes", About: compare.AboutHost, Name: fmt.Sprint("r", i), Fault: report.FaultRegistry, Cause: report.RegistryUnavailable,
			Confidence: report.Likely, Summary: strings.Repeat("many words in one line ", 12),
			Rivals: []string{strings.Repeat("x", 5000)}, WouldDecide: []string{"ask\n" + "curl " + strings.Repeat("y", 100)},
		})
	}
	r.Findings[7].Fault, r.Findings[7].Cause = report.FaultNode, report.DiskFull
	cm, err := render(r, "ns")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		report.LabelFault: "node-infrastructure", report.LabelCause: "DiskFull", report.LabelNodes: "3", labelSilent: "1",
		report.LabelChecked: "20261121T040000Z", "pullprobe.dev/node-infrastructure": "1",
	} {
		if cm.Labels[name] != want {
			t.Errorf("%s is %q, want %q", name, cm.Labels[name], want)
		}
	}
	for key, text := range cm.Data {
		if len(text) > maxResult {
			t.Errorf("%s has %d bytes", key, len(text))
		}
	}
	var got compare.Result
	if err := json.Unmarshal([]byte(cm.Data[resultKey]), &got); err != nil || len(got.Findings)+got.Omitted != 50 || got.Omitted == 0 {
		t.Errorf("%d findings, %d omitted, %v", len(got.Findings), got.Omitted, err)
	}
	if !strings.HasPrefix(cm.Data[report.SummaryKey], "Updated 2026-11-21 04:00:00 UTC.\n") {
		t.Errorf("the summary has no time: %.60s", cm.Data[report.SummaryKey])
	}
	for line := range strings.Lines(cm.Data[report.SummaryKey]) {
		if len(line) > width+1 && strings.Contains(line, "many words") {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	if !strings.Contains(cm.Data[report.SummaryKey], "\n                curl "+strings.Repeat("y", 100)+"\n") {
		t.Error("a command has no line of its own")
	}
	if !strings.Contains(cm.Data[report.SummaryKey], "\n1 pods wait for a node, and for no image\n  shop/web: cordoned\n") {
		t.Errorf("%s", cm.Data[report.SummaryKey])
	}
	later := r
	later.Time = r.Time.Add(time.Hour)
	if changeKey(r) != changeKey(later) {
		t.Error("time alone is a change")
	}
	later.Nodes++
	if changeKey(r) == changeKey(later) {
		t.Error("one more node is no change")
	}
}

// More questions than one round considers: each is answered in turn, none is forgotten, and a
// node that no longer asks is.
func TestManyQuestions(t *testing.T) {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	const nodes = maxQuestions + 100
	in := compare.Input{Now: now, MaxAge: maxAge}
	for i := range nodes {
		h := nodefacts.Host{
			Name: "r.example", State: report.Unreachable, Cause: report.ConnectionTimeout,
			Since: nodefacts.StampOf(now) - 60, Checked: nodefacts.StampOf(now) - 10, Used: "192.0.2.7",
		}
		in.Nodes = append(in.Nodes, compare.Node{Name: fmt.Sprintf("n%04d", i), Facts: &nodefacts.Facts{
			Control: report.Pass, Hosts: []nodefacts.Host{h}, Asks: []string{"r.example"},
		}})
	}
	a := newAnswerer(nil, "ns", newCluster())
	out, more := a.answers(in)
	if len(out) != maxQuestions || !more {
		t.Errorf("%d answers in the first round, more: %v", len(out), more)
	}
	in.Now = now.Add(time.Second)
	if out, more = a.answers(in); len(out) != nodes || !more {
		t.Errorf("%d answers in the second round, more: %v", len(out), more)
	}
	for node, answer := range out {
		if o := answer.Opinions[0]; o.Asked != nodes-1 || o.Failed != nodes-1 || len(answer.Checks) != 0 {
			t.Fatalf("%s: %+v", node, answer)
		}
	}
	in.Nodes = in.Nodes[:10]
	in.Nodes[0].Facts.Asks = nil
	if out, more = a.answers(in); len(out) != 9 || more || len(a.asks) != 9 {
		t.Errorf("%d answers to 9 that ask, more: %v", len(out), more)
	}
}

// Others get through only after the node that asks has checked: it is asked to check once
// more, so that it is known whether it is through as well by now.
func TestNodeChecksAgain(t *testing.T) {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) nodefacts.Stamp { return nodefacts.StampOf(now.Add(-d)) }
	sees := func(name string, state report.HostState, since, checked time.Duration, asks ...string) compare.Node {
		h := nodefacts.Host{Name: "r.example", State: state, Since: ago(since), Checked: ago(checked)}
		if state.Bad() {
			h.Cause = report.CertificateUntrusted
		}
		return compare.Node{Name: name, Facts: &nodefacts.Facts{Control: report.Pass, Hosts: []nodefacts.Host{h}, Asks: asks}}
	}
	in := compare.Input{Now: now, MaxAge: maxAge, Nodes: []compare.Node{
		sees("a", report.Unreachable, 30*time.Second, 20*time.Second, "r.example"),
		sees("b", report.Reachable, 5*time.Second, 5*time.Second), sees("c", report.Reachable, 4*time.Second, 4*time.Second),
	}}
	a := newAnswerer(nil, "ns", newCluster())
	out, _ := a.answers(in)
	want := []nodefacts.Wanted{{Host: "r.example", Since: ago(4 * time.Second)}}
	if !slices.Equal(out["a"].Checks, want) || len(out["b"].Checks) != 0 {
		t.Errorf("%+v", out)
	}
	in.Nodes[0] = sees("a", report.Unreachable, 30*time.Second, 2*time.Second, "r.example")
	if out, _ = a.answers(in); len(out["a"].Checks) != 0 || out["a"].Opinions[0].Reached != 2 {
		t.Errorf("it has checked again: %+v", out)
	}
}

// A node that checks a host for others, and does not get through either, goes on: its answer does
// not go away, and come back. One that uses the host checks it anyway.
func TestAskedNodeGoesOn(t *testing.T) {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	at := nodefacts.StampOf(now)
	fails := nodefacts.Host{Name: "r.example", State: report.Unreachable, Cause: report.HostNotFound, Since: at - 9, Checked: at - 5}
	in := compare.Input{Now: now, MaxAge: maxAge, Nodes: []compare.Node{
		{Name: "a", Facts: &nodefacts.Facts{Control: report.Pass}},
		{Name: "b", Facts: &nodefacts.Facts{Control: report.Pass, Hosts: []nodefacts.Host{fails}, Asks: []string{"r.example"}}},
	}}
	a := newAnswerer(nil, "ns", newCluster())
	first, _ := a.answers(in)
	for _, asked := range []bool{true, false} {
		h := fails
		h.Checked, h.Asked = at+3, asked
		in.Nodes[0].Facts.Hosts = []nodefacts.Host{h}
		in.Now = now.Add(5 * time.Second)
		if out, _ := a.answers(in); slices.Equal(out["a"].Checks, first["a"].Checks) != asked || len(first["a"].Checks) != 1 {
			t.Errorf("asked only: %v: %+v, then %+v", asked, first["a"], out["a"])
		}
	}
}

// A node that reaches nothing asks nothing: the others check one of its hosts all the same,
// so that it is known whether they still reach anything.
func TestCutOffNodeIsCompared(t *testing.T) {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	at := func(name string, state report.HostState, checked time.Duration) compare.Node {
		h := nodefacts.Host{Name: "r.example", State: state, Checked: nodefacts.StampOf(now.Add(-checked))}
		f := &nodefacts.Facts{Control: report.Pass, Hosts: []nodefacts.Host{h}}
		if state.Bad() {
			f.Control, f.Cause, f.Hosts[0].Cause, f.Hosts[0].Since = report.Fail, report.ResolverUnreachable, report.ResolverUnreachable, h.Checked
		}
		return compare.Node{Name: name, Facts: f}
	}
	in := compare.Input{Now: now, MaxAge: maxAge, Nodes: []compare.Node{
		at("a", report.Unreachable, 5*time.Second), at("b", report.Reachable, time.Minute), at("c", report.Reachable, time.Minute),
	}}
	asker := newAnswerer(nil, "ns", newCluster())
	out, _ := asker.answers(in)
	if len(out["b"].Checks) != 1 || len(out["c"].Checks) != 1 || len(out["a"].Opinions)+len(out["a"].Checks) != 0 {
		t.Errorf("%+v", out)
	}
	if f := compare.Compare(in).Findings[0]; f.About != compare.AboutNode || f.Confidence != report.Likely {
		t.Errorf("before they have: %+v", f)
	}
	in.Nodes[1], in.Nodes[2] = at("b", report.Reachable, time.Second), at("c", report.Reachable, time.Second)
	if f := compare.Compare(in).Findings[0]; f.About != compare.AboutNode || f.Confidence != report.Confirmed {
		t.Errorf("after they have: %+v", f)
	}
	// When one more of its hosts fails, they have to check again.
	late := nodefacts.StampOf(now) + 10
	in.Nodes[0].Facts.Hosts = append(in.Nodes[0].Facts.Hosts, nodefacts.Host{Name: "z.example", State: report.Unreachable, Since: late, Checked: late})
	in.Now = now.Add(11 * time.Second)
	if out, _ := asker.answers(in); len(out["b"].Checks) != 1 || out["b"].Checks[0].Since < late {
		t.Errorf("after the last failure: %+v", out["b"].Checks)
	}
}

// A zone fails at once: what its nodes see of each other does not count as enough. A few nodes
// of other zones are asked, the same for all that ask.
func TestManyFailAtOnce(t *testing.T) {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	at := nodefacts.StampOf(now)
	in := compare.Input{Now: now, MaxAge: maxAge}
	for i := range 30 {
		h := nodefacts.Host{Name: "r.example", State: report.Reachable, Since: at - 3600, Checked: at - 100}
		f := &nodefacts.Facts{Control: report.Pass}
		if i%3 == 0 {
			h.State, h.Cause, h.Since, h.Checked = report.Unreachable, report.ConnectionTimeout, at-5, at-5
			f.Asks = []string{"r.example"}
		}
		f.Hosts = []nodefacts.Host{h}
		in.Nodes = append(in.Nodes, compare.Node{
			Name: fmt.Sprintf("n%02d", i), Facts: f, Traits: compare.Traits{compare.TraitZone: fmt.Sprint("zone-", i%3)},
		})
	}
	a := newAnswerer(nil, "ns", newCluster())
	out, _ := a.answers(in)
	var wanted []string
	for node, answer := range out {
		if len(answer.Checks) > 0 {
			wanted = append(wanted, node)
		}
	}
	if len(wanted) != askMost {
		t.Fatalf("nodes that are asked: %v", wanted)
	}
	for i := range in.Nodes {
		n := &in.Nodes[i]
		if !slices.Contains(wanted, n.Name) {
			continue
		}
		if n.Traits[compare.TraitZone] == "zone-0" {
			t.Errorf("%s fails itself", n.Name)
		}
		n.Facts.Hosts[0].Checked = at + 3
	}
	since := out[wanted[0]].Checks[0].Since

	// Another node of the zone asks. What was checked for the others counts for it, unless its
	// failure began later.
	late := func(began nodefacts.Stamp) nodefacts.Stamp {
		h := nodefacts.Host{Name: "r.example", State: report.Unreachable, Cause: report.ConnectionTimeout, Since: began, Checked: began}
		in.Nodes = append(in.Nodes, compare.Node{
			Name: fmt.Sprint("late-", began), Facts: &nodefacts.Facts{Control: report.Pass, Hosts: []nodefacts.Host{h}, Asks: []string{"r.example"}},
			Traits: compare.Traits{compare.TraitZone: "zone-0"},
		})
		in.Now = in.Now.Add(20 * time.Second)
		out, _ = a.answers(in)
		in.Nodes = in.Nodes[:len(in.Nodes)-1]
		return out[wanted[0]].Checks[0].Since
	}
	if got := late(at - 4); got != since {
		t.Errorf("a check is wanted once more: %d, then %d", since, got)
	}
	if got := late(at + 35); got != at+35 {
		t.Errorf("a check is wanted since %d, not since the failure began at %d", got, at+35)
	}
	// What a node sees that fails itself counts already; one that is silent is replaced.
	failing, silent := &in.Nodes[slices.IndexFunc(in.Nodes, func(n compare.Node) bool { return n.Name == wanted[0] })],
		&in.Nodes[slices.IndexFunc(in.Nodes, func(n compare.Node) bool { return n.Name == wanted[1] })]
	was := failing.Facts.Hosts[0]
	failing.Facts.Hosts[0].State, failing.Facts.Hosts[0].Cause = report.Unreachable, report.ConnectionTimeout
	facts := silent.Facts
	silent.Facts = nil
	out, _ = a.answers(in)
	if len(out[failing.Name].Checks)+len(out[silent.Name].Checks) > 0 {
		t.Errorf("asked: %+v %+v", out[failing.Name], out[silent.Name])
	}
	failing.Facts.Hosts[0], silent.Facts = was, facts
	out, _ = a.answers(in)
	for _, n := range in.Nodes {
		if len(n.Facts.Asks) == 0 {
			continue
		}
		o := out[n.Name].Opinions
		if len(o) != 1 || o[0].Reached != askMost || o[0].Failed != 9 || fmt.Sprint(o[0].SetsApart) != "[zone zone-0]" {
			t.Errorf("%s: %+v", n.Name, o)
		}
	}
	for i := range in.Nodes {
		in.Nodes[i].Facts.Asks = nil
	}
	if out, _ = a.answers(in); len(out)+len(a.chosen) > 0 {
		t.Errorf("after the outage: %v %v", out, a.chosen)
	}
}
