package sweep

import (
	"log/slog"
	"slices"
	"strconv"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// announcer logs what a sweep has changed, and emits Events.
type announcer struct {
	log  *slog.Logger
	emit func(NodeEvent)
}

// isolation logs, and emits an Event, when the node becomes isolated or is no longer so: the
// check of the control set fails, or passes again. It was isolated before, or not.
func (a announcer) isolation(control report.Check, before bool) {
	hosts := control.Evidence[report.KeyHosts]
	switch isolated := control.Outcome == report.Fail; {
	case isolated && !before:
		a.log.Warn("this node cannot reach any host", "hosts", hosts, "cause", control.Cause)
		a.emit(NodeEvent{
			Reason:  "NothingReachable",
			Warning: true,
			Message: report.Conclusion{Fault: report.FaultNode, Cause: control.Cause}.String() + ": " + control.Summary,
			Who:     report.FaultNode.Who(),
			Fix:     report.IsolatedFix("", control.Cause),
		})
	case !isolated && before:
		a.log.Info("this node reaches other hosts again", "hosts", hosts)
		a.emit(NodeEvent{Reason: "Reachable", Message: "this node reaches other hosts again: " + control.Summary})
	}
}

// change logs one change and, unless quiet, emits an Event. Changes that have one
// common reason are quiet.
func (a announcer) change(c hostChange, quiet bool) {
	r := c.Registry
	e := NodeEvent{Host: r.Host}
	fields := []any{"registry", r.Host, "state", r.State}
	why := append(slices.Clone(fields), "fault", r.Fault, "cause", r.Cause, "because", r.Because)
	switch c.transition {
	case unchanged:
		return
	case becameUnavailable:
		e.Reason, e.Warning = "RegistryUnreachable", true
		e.Message = r.Host + ": " + report.Conclusion{Fault: r.Fault, Cause: r.Cause}.String() + ": " + r.Summary
		if r.State == report.Limited {
			e.Reason = "RegistryLimited"
		}
		e.Who, e.Fix = r.Who(), r.HowToFix()
		a.log.Warn("registry unreachable", why...)
	case recovered:
		e.Reason = "RegistryReachable"
		e.Message = r.Host + " is reachable again"
		a.log.Info("registry reachable again", fields...)
	case causeChanged:
		a.log.Info("registry still unreachable, cause changed", why...)
		return
	case startedFlapping:
		e.Reason, e.Warning = "RegistryFlapping", true
		e.Message = r.Host + " is flapping: " + strconv.Itoa(flapChanges) + " changes within an hour, now " + string(r.State) +
			"; no Events until stable for " + readable.Duration(flapQuiet)
		a.log.Warn("registry is flapping", fields...)
	case stabilized:
		e.Reason, e.Warning = "RegistryStable", r.State.Bad()
		e.Message = r.Host + " has been " + string(r.State) + " since " + readable.Time(r.Since)
		a.log.Info("registry is stable again", fields...)
	}
	// A host that does not exist is not this node's matter: it is in the Events on the pods.
	if quiet || e.Warning && r.Fault == report.FaultConfig {
		return
	}
	a.emit(e)
}
