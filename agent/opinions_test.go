package agent

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/report"
)

// fleetSays writes what the fleet says to the node.
func (w *world) fleetSays(a nodefacts.Answers) {
	w.t.Helper()
	text, err := a.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	code, out := w.do(http.MethodPatch, "/api/v1/namespaces/"+w.ns+"/configmaps/"+report.AnswersName(w.node, "")+"?fieldManager=fleet&force=true",
		"application/apply-patch+yaml", map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": report.AnswersName(w.node, "")},
			"data": map[string]string{nodefacts.AnswersKey: text},
		})
	if code/100 != 2 {
		w.t.Fatalf("%d %s", code, out)
	}
}

// TestSecondOpinion checks that the evidence of other nodes changes the verdict on a pod and
// on the registry, and that it goes with the failure.
func TestSecondOpinion(t *testing.T) {
	w := newWorld(t)
	registry := examinetest.StartImages(t)
	host := strings.TrimPrefix(registry.URL, "http://")
	registry.Close()
	refused := backOff
	refused.Message = `Back-off pulling image: ErrImagePull: failed to resolve image: dial tcp ` + host + `: connect: connection refused`
	w.pod("web", host+"/app:1", refused)
	var a *Agent
	w.agent(sweeping(&a), func(a *Agent) { a.examiner.Node.Runtime, a.examiner.Node.OwnFiles = nil, true })
	d := w.diagnosed("web", anyDiagnosis)
	if d.Verdict.Fault != report.FaultUndetermined {
		t.Fatalf("from one node alone: %+v", d.Verdict)
	}
	w.until("it asks", 20*time.Second, func() bool { f := w.facts(); return len(f.Asks) == 1 && f.Asks[0] == host })
	opinion := nodefacts.Opinion{Host: host, Asked: 2, Reached: 2, Which: []string{"b", "c"}, Oldest: nodefacts.StampOf(time.Now())}
	w.fleetSays(nodefacts.Answers{Opinions: []nodefacts.Opinion{opinion}})
	d = w.diagnosed("web", func(d report.Diagnosis) bool { return d.Verdict.Fault == report.FaultNode })
	c := report.Find(d.Checks, report.OpinionID(host))
	if c.Kind != report.KindElsewhere || c.Evidence[report.KeyReached] != "2" || c.Evidence[report.KeyWhich] != "b, c" {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(d.Verdict.Summary, "2 of 2 other nodes get through") {
		t.Errorf("%s", d.Verdict.Summary)
	}
	w.swept("the registry's state follows", func(s *report.Sweep) bool { return len(s.Registries) == 1 && s.Registries[0].Fault == report.FaultNode })
	if f := w.facts(); len(f.Asks) != 1 {
		t.Errorf("it no longer asks, so that the answer would go: %+v", f.Asks)
	}
	w.fleetSays(nodefacts.Answers{})
	w.diagnosed("web", func(d report.Diagnosis) bool { return d.Verdict.Fault == report.FaultUndetermined })
}

// TestChecksForOthers checks that the agent checks a host for other nodes, that it says so at
// once, and that this node does not ask about it.
func TestChecksForOthers(t *testing.T) {
	w := newWorld(t)
	registry := examinetest.StartImages(t)
	host := strings.TrimPrefix(registry.URL, "http://")
	var a *Agent
	w.agent(sweeping(&a))
	w.swept("a sweep of nothing", func(s *report.Sweep) bool { return len(s.Registries) == 0 })
	w.fleetSays(nodefacts.Answers{Checks: []nodefacts.Wanted{{Host: host, Since: nodefacts.StampOf(time.Now())}}})
	w.swept("the host", func(s *report.Sweep) bool { return s.Has(host) && s.Registries[0].State == report.Reachable })
	checked := w.facts().Hosts[0].Checked
	// Nothing changes but the time, and that is written too.
	w.fleetSays(nodefacts.Answers{Checks: []nodefacts.Wanted{{Host: host, Since: checked + 1}}})
	w.until("a newer check", 20*time.Second, func() bool { return w.facts().Hosts[0].Checked > checked })
	registry.Close()
	a.sweeper.SweepNow()
	n := w.swept("it is unreachable", func(s *report.Sweep) bool { return s.Registries[0].State == report.Unreachable })
	if f := w.facts(); len(f.Asks) != 0 || f.Hosts[0].State != report.Unreachable {
		t.Errorf("%+v", f)
	}
	if n.Sweep.Bad() != 0 || len(w.nodeEvents()) != 0 {
		t.Errorf("a host of others counts as one of this node: %d, %d Events", n.Sweep.Bad(), len(w.nodeEvents()))
	}
	w.fleetSays(nodefacts.Answers{})
	w.swept("it is forgotten", func(s *report.Sweep) bool {
		a.sweeper.SweepNow() // the agent may not have heard of it when the last one began
		return len(s.Registries) == 0
	})
}
