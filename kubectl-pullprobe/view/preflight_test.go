package view

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/preflight"
	"github.com/pullprobe/pullprobe/report"
)

// written returns the text of some preflights.
func written(list ...Preflight) string {
	t := screen.NewText(screen.Style{})
	WritePreflights(t, list)
	return t.String()
}

func kindOf(arch, pool, zone, node string, results ...preflight.Result) PreflightKind {
	return PreflightKind{Kind: preflight.Kind{Arch: arch, Pool: pool, Zone: zone, Nodes: 1, Node: node}, Results: results}
}

func resultFor(image string, v report.Verdict) preflight.Result {
	return preflight.Result{Image: image, Index: 1, Of: 1, Verdict: v}
}

var (
	well    = report.Verdict{Fault: report.FaultNone, Cause: report.Healthy, Confidence: report.Likely}
	missing = report.Verdict{Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: report.Likely, Summary: "no such tag"}
)

// TestPreflightKinds checks that kinds of nodes are named by what they differ in.
func TestPreflightKinds(t *testing.T) {
	ok := resultFor("app:1", well)
	for _, c := range []struct {
		want  string
		kinds []PreflightKind
	}{
		{"SIZE   amd64/general/zone-1", []PreflightKind{kindOf("amd64", "general", "zone-1", "a", ok)}},
		{"SIZE   amd64   arm64", []PreflightKind{kindOf("amd64", "general", "", "a", ok), kindOf("arm64", "general", "", "b", ok)}},
		{"SIZE   general   none", []PreflightKind{kindOf("amd64", "general", "", "a", ok), kindOf("amd64", "", "", "b", ok)}},
		{"SIZE   all nodes", []PreflightKind{kindOf("", "", "", "a", ok)}},
	} {
		if text := written(Preflight{Kinds: c.kinds}); !strings.Contains(text, c.want) {
			t.Errorf("no %q in\n%s", c.want, text)
		}
	}
}

// TestPreflightManyKinds checks that many kinds are below each other, and what the cells are where
// a pod may not run.
func TestPreflightManyKinds(t *testing.T) {
	var kinds []PreflightKind
	for i := range 6 {
		kinds = append(kinds, kindOf("amd64", "", fmt.Sprintf("zone-%d", i), fmt.Sprintf("node-%d", i), resultFor("app:1", well)))
	}
	kinds[3].Results[0].Verdict = missing
	text := written(Preflight{Name: "deployment/web", Kinds: kinds}, Preflight{Name: "job/once", Kinds: kinds[:1]})
	for _, want := range []string{
		"1 of 2 images cannot be pulled", "deployment/web   app:1   -      zone-2   ok", "deployment/web   app:1   -      zone-3   TagNotFound",
		"cluster-config TagNotFound (likely)", "  on           zone-3 (node-3)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "job/once"); n != 1 {
		t.Errorf("the job may run on one kind, and has %d rows:\n%s", n, text)
	}
}

// TestPreflightOutcome checks when everything is known to be healthy, and when a fault is known.
func TestPreflightOutcome(t *testing.T) {
	ok, bad := resultFor("app:1", well), resultFor("app:1", missing)
	two, left := ok, ok
	two.Of, left.Left = 2, 1
	open := resultFor("app:1", report.Verdict{Fault: report.FaultUndetermined, Cause: report.Undetermined, Confidence: report.ConfidenceUndetermined})
	seen := resultFor("app:1", report.Verdict{Fault: report.FaultUndetermined, Cause: report.ConnectionTimeout, Confidence: report.Likely})
	of := func(r ...preflight.Result) Preflight {
		return Preflight{Kinds: []PreflightKind{kindOf("amd64", "", "", "a", r...)}}
	}
	for name, c := range map[string]struct {
		p               Preflight
		healthy, faulty bool
	}{
		"healthy":        {of(ok), true, false},
		"a fault":        {of(bad), false, true},
		"whose is open":  {of(seen), false, true},
		"undetermined":   {of(open), false, false},
		"no answer":      {of(), false, false},
		"half an answer": {of(two), false, false},
		"too many":       {of(left), false, false},
		"a problem":      {Preflight{Problem: "x", Kinds: of(ok).Kinds}, false, false},
		"kinds left out": {Preflight{KindsOmitted: 1, Kinds: of(ok).Kinds}, false, false},
		"no node":        {Preflight{}, false, false},
	} {
		if c.p.Healthy() != c.healthy || c.p.Faulty() != c.faulty {
			t.Errorf("%s: healthy %v, faulty %v", name, c.p.Healthy(), c.p.Faulty())
		}
	}
}
