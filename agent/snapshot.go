package agent

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/report"
)

// snapshot returns the current report.
func (a *Agent) snapshot() report.NodeReport {
	all, waiting := a.results.list()
	handled := handledWithoutDiagnosis(a.pods.Handled(), all)
	stuck, fault, cause := a.worst(waiting)
	sweep := a.sweeper.Last()
	if sweep != nil && sweep.Control.Outcome == report.Fail && fault != report.FaultNode {
		fault, cause = report.FaultNode, sweep.Control.Cause
	}
	a.metrics.SetStuckPods(stuck)
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	return report.NodeReport{
		Schema:    report.Schema,
		Node:      a.opts.NodeName,
		Agent:     a.opts.Version,
		Time:      time.Now().UTC().Truncate(time.Second),
		Fault:     fault,
		Cause:     cause,
		Stuck:     stuck,
		Runtime:   a.state.runtime,
		Disk:      a.state.disk,
		Sweep:     sweep,
		Diagnoses: all,
		Answered:  handled,
	}
}

// worst returns how many pods are stuck, and the worst of their verdicts. A failing pod
// without a diagnosis counts as undetermined.
func (a *Agent) worst(waiting []report.Diagnosis) (stuck int, fault report.Fault, cause report.Cause) {
	fault, cause = report.Worst(waiting)
	counted := map[string]bool{}
	for _, d := range waiting {
		counted[d.UID] = true
	}
	for _, p := range a.pods.All() {
		failing := slices.ContainsFunc(p.PendingImages(time.Time{}), func(w pods.PendingImage) bool { return w.Failing })
		if !failing || counted[string(p.UID)] {
			continue
		}
		counted[string(p.UID)] = true
		if report.Worse(report.FaultUndetermined, fault) {
			fault, cause = report.FaultUndetermined, report.Undetermined
		}
	}
	return len(counted), fault, cause
}

// maxHandled limits the handled requests in a report: tenants write them.
const maxHandled = 100

// handledWithoutDiagnosis returns the handled requests, by UID, that are in no diagnosis.
// Without them an agent that restarts would handle them again.
func handledWithoutDiagnosis(handled map[types.UID]string, all []report.Diagnosis) map[string]string {
	for _, d := range all {
		if handled[types.UID(d.UID)] == d.Asked {
			delete(handled, types.UID(d.UID))
		}
	}
	out := map[string]string{}
	for _, uid := range slices.Sorted(maps.Keys(handled))[:min(len(handled), maxHandled)] {
		out[string(uid)] = handled[uid]
	}
	return out
}
