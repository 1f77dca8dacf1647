package diagnosis

import (
	"cmp"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/diagnosis/advice"
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// StateOf returns the state of one host from the checks of a sweep: whether it is
// reachable, who must act if not, and what was measured. Like [Diagnose] it is a
// pure function. The caller sets Roles, Since, Flapping and NotBefore.
func StateOf(host string, checks []report.Check, at time.Time) report.Registry {
	e := &evaluation{Evidence: facts.Of(checks), ruleSet: allRules()}
	r := report.Registry{Host: host, State: report.ReachUnknown, Checked: at}
	facts.Measure(&r, e.Evidence)
	goal := facts.GoalAt(e.Evidence, host)
	origin := e.Origin(goal.ID)
	switch {
	case goal.Outcome == report.Pass:
		r.State = report.Reachable
		r.Summary = facts.Remark(e.Evidence, host)
	case origin.Outcome == report.Fail && origin.Cause == report.RateLimited:
		r.State = report.Limited
	case origin.Outcome == report.Fail:
		r.State = report.Unreachable
	case goal.Outcome == report.Unknown && r.Status != 0 && !strings.HasPrefix(goal.Evidence[report.KeyContentType], "text/html"):
		// It refuses GET /v2/, which the runtime never sends.
		r.State, r.Summary = report.Reachable, goal.Summary
	default:
		r.Summary, r.Because = cmp.Or(origin.Summary, goal.Summary), cmp.Or(origin.ID, goal.ID)
	}
	if origin.Outcome == report.Fail {
		o := e.traced(facts.Obstacle{Check: origin, Because: []string{origin.ID}})
		v := report.Verdict{Cause: o.RootCause(), Because: o.Because}
		e.assignFault(&v, o)
		r.Fault, r.Cause, r.Summary, r.Because = v.Fault, v.Cause, origin.Summary, o.Because[0]
		r.Fix = advice.FixOfHost(e.Evidence, v)
	}
	return r
}
