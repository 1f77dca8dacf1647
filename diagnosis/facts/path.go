package facts

import (
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// Obstacle is the failed check that keeps the runtime from the image.
type Obstacle struct {
	Check       report.Check
	Cause       report.Cause   // the root cause, if it differs from the check's
	Because     []string       // ids of the checks that decided it
	Clear       bool           // a host answered every request: there is no obstacle
	Goals       []string       // ids of the checks that would prove that the image can be pulled
	AsRuntime   bool           // the runtime gets the same answer, whatever its message makes of it
	RuleChosen  bool           // a rule chose this obstacle without agreement: likely at most
	WouldDecide []string       // what would settle what the rule left open
	Others      []report.Check // the obstacles at the hosts before this one
}

// Found reports whether there is an obstacle.
func (o Obstacle) Found() bool { return o.Check.Outcome == report.Fail }

// RootCause returns the root cause, which is the check's own unless a rule set
// another.
func (o Obstacle) RootCause() report.Cause {
	if o.Cause != "" {
		return o.Cause
	}
	return o.Check.Cause
}

// WithRootCause sets the root cause behind the failed check. The checks that
// showed it come first.
func (o Obstacle) WithRootCause(c report.Cause, ids ...string) Obstacle {
	o.Cause = c
	o.Because = append(ids, o.Because...)
	return o
}

// LikelyAtMost marks an obstacle that a rule chose, with what would confirm the choice.
func (o Obstacle) LikelyAtMost(wouldDecide ...string) Obstacle {
	o.RuleChosen = true
	o.WouldDecide = append(slices.Clone(o.WouldDecide), wouldDecide...)
	return o
}

// AlsoBecause adds ids of checks to those that show the obstacle.
func (o Obstacle) AlsoBecause(ids ...string) Obstacle {
	o.Because = append(slices.Clone(o.Because), ids...)
	return o
}

// ObstacleOf follows every host from the goal, an image that can be pulled, back to
// the obstacle before it.
func ObstacleOf(e *Evidence) Obstacle {
	var goals, unseen []string
	var failed []Obstacle
	for _, h := range e.Hosts() {
		last, bad := lastStep(e, h)
		goals = append(goals, last)
		switch {
		case bad == "" && e.Get(last).Outcome == report.Pass:
			return Obstacle{Clear: true, Goals: []string{last}, Others: checksOf(failed)}
		case bad != "":
			// The runtime uses the first manifest that it receives, for any platform.
			return Obstacle{Check: e.Get(bad), Because: []string{bad}, Goals: goals, Others: checksOf(failed)}
		}
		if origin := e.Origin(last); origin.Outcome == report.Fail {
			o := Obstacle{Check: origin, Because: []string{origin.ID}}
			if answersWithSomethingElse(origin) {
				// A success by its status: the runtime tries no further host.
				o.Goals, o.Others = goals, checksOf(failed)
				return o
			}
			failed = append(failed, o)
		} else {
			unseen = append(unseen, "request the manifest from "+h+": the checks did not see its answer")
		}
	}
	if len(failed) == 0 {
		return Obstacle{Goals: goals}
	}
	// With mirrors before it, the upstream counts: a mirror may lack the image,
	// but an upstream that is unreachable is a fault.
	o := failed[len(failed)-1]
	o.Goals, o.Others = goals, checksOf(failed[:len(failed)-1])
	same := true
	for _, other := range o.Others {
		o.Because = append(o.Because, other.ID)
		same = same && other.Cause == o.Check.Cause
	}
	o.RuleChosen = !same && errorShownByRuntime(e, append(o.Others, o.Check)).ID != o.Check.ID
	if len(unseen) > 0 {
		// The runtime's message may be about another host.
		o = o.LikelyAtMost(unseen...)
	}
	return o
}

// lastStep returns how far the checks came at a host that has the manifest: the
// last check that passed, and the failed one after it, empty if there is none.
// Of a host without the manifest it returns the manifest's check.
func lastStep(e *Evidence, host string) (last, bad string) {
	last = report.ManifestID(host)
	if e.Get(last).Outcome != report.Pass {
		return last, ""
	}
	if image := e.Get(report.ImageID(host)); image.Outcome == report.Fail {
		return last, image.ID
	} else if image.Outcome == report.Pass {
		last = image.ID
	}
	// The runtime fetches layers from any of the hosts, whichever had the manifest;
	// if none serves them, it shows the first one's error.
	unseen := ""
	for _, c := range e.Below(report.FamilyBlob) {
		switch {
		case c.Outcome == report.Pass:
			return c.ID, ""
		case c.Outcome == report.Fail && bad == "":
			bad = c.ID
		case c.Outcome == report.Skipped && c.Evidence[report.KeyRefused] != "" && c.Evidence[report.KeyBlobHost] != "":
			unseen = c.ID // a host that the probes may not contact
		}
	}
	if bad == "" && unseen != "" {
		return unseen, ""
	}
	return last, bad
}

func checksOf(list []Obstacle) []report.Check {
	var out []report.Check
	for _, o := range list {
		out = append(out, o.Check)
	}
	return out
}

// answersWithSomethingElse reports whether a request for the manifest returned
// something else with a status of success.
func answersWithSomethingElse(c report.Check) bool {
	return c.Kind == report.KindManifest && c.Evidence[report.KeyStatus] == "200"
}

// errorShownByRuntime returns the check of the host whose error the runtime shows
// when all hosts fail. Since 2.0 containerd ranks them: not reached, 404, any
// other status; it shows the first of the highest rank
// (core/remotes/docker/resolver.go). If the runtime's version is older or not
// known it returns the zero Check.
func errorShownByRuntime(e *Evidence, failed []report.Check) report.Check {
	version := strings.TrimPrefix(e.Fact(report.IDRuntime, report.KeyVersion), "v")
	if e.Fact(report.IDRuntime, report.KeyName) != "containerd" || version == "" || strings.HasPrefix(version, "1.") {
		return report.Check{}
	}
	var best report.Check
	for _, c := range failed {
		if best.ID == "" || errorRank(c) > errorRank(best) {
			best = c
		}
	}
	return best
}

func errorRank(c report.Check) int {
	switch {
	case c.Cause.Stage() < report.StageAnswer, c.Cause == report.TokenServiceFailed:
		return 1
	case c.Evidence[report.KeyStatus] == "404":
		return 2
	}
	return 3
}
