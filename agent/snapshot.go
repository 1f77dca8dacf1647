package agent

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/metrics"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/report"
)

// nodeReporter assembles the node's report.
type nodeReporter struct {
	node    string
	version string // of the agent
	results *results
	pods    *pods.Store
	sweeper *sweep.Sweeper
	state   *nodeState
	metrics *metrics.Metrics

	incidents *incidents
}

// snapshot returns the current report.
func (n nodeReporter) snapshot() report.NodeReport {
	now := time.Now().UTC().Truncate(time.Second)
	all, waiting := n.results.list()
	n.incidents.update(waiting, now)
	diagnoses := publish.Group(all)
	verdicts, fault, cause := n.worst(waiting)
	var faults report.FaultCounts
	for _, v := range verdicts {
		faults.Add(v.Fault)
	}
	sweep := n.sweeper.Last()
	if sweep != nil && sweep.Control.Outcome == report.Fail && fault != report.FaultNode {
		fault, cause = report.FaultNode, sweep.Control.Cause
	}
	n.metrics.SetStuckPods(slices.Collect(maps.Values(verdicts)))
	runtime, disk := n.state.get()
	return report.NodeReport{
		Schema:    report.Schema,
		Node:      n.node,
		Agent:     n.version,
		Time:      now,
		Fault:     fault,
		Cause:     cause,
		Stuck:     len(verdicts),
		Faults:    faults,
		Runtime:   runtime,
		Disk:      disk,
		Sweep:     sweep,
		Diagnoses: diagnoses,
		Incidents: n.incidents.list(),
		Answered:  handledElsewhere(n.pods.Handled(), diagnoses),
	}
}

// worst returns the worst verdict of each stuck pod, by its UID, and the worst of all. A
// failing pod without a diagnosis counts as undetermined.
func (n nodeReporter) worst(waiting []publish.Waiting) (byPod map[string]report.Conclusion, fault report.Fault, cause report.Cause) {
	byPod = map[string]report.Conclusion{}
	diagnoses := make([]report.Diagnosis, len(waiting))
	for i, w := range waiting {
		diagnoses[i] = w.Diagnosis
	}
	fault, cause = report.Worst(diagnoses)
	for _, d := range diagnoses {
		if have, counted := byPod[d.UID]; !counted || report.Worse(d.Verdict.Fault, have.Fault) {
			byPod[d.UID] = report.Conclusion{Fault: d.Verdict.Fault, Cause: cmp.Or(d.Verdict.Cause, report.Undetermined)}
		}
	}
	for _, p := range n.pods.All() {
		failing := slices.ContainsFunc(p.PendingImages(time.Time{}), func(w pods.PendingImage) bool { return w.Failing })
		if _, counted := byPod[string(p.UID)]; !failing || counted {
			continue
		}
		byPod[string(p.UID)] = report.Conclusion{Fault: report.FaultUndetermined, Cause: report.Undetermined}
		if report.Worse(report.FaultUndetermined, fault) {
			fault, cause = report.FaultUndetermined, report.Undetermined
		}
	}
	return byPod, fault, cause
}

// maxHandled limits the handled requests in a report: tenants write them.
const maxHandled = 100

// handledElsewhere returns the handled requests, by UID, that no diagnosis names. Without
// them an agent that restarts would handle them again.
func handledElsewhere(handled map[types.UID]string, diagnoses []report.Diagnosis) map[string]string {
	for _, d := range diagnoses {
		for _, p := range d.Refs() {
			if handled[types.UID(p.UID)] == p.Asked {
				delete(handled, types.UID(p.UID))
			}
		}
	}
	out := map[string]string{}
	for _, uid := range slices.Sorted(maps.Keys(handled))[:min(len(handled), maxHandled)] {
		out[string(uid)] = handled[uid]
	}
	return out
}
