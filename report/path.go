package report

import (
	"slices"
	"strings"
)

// obstacle is the failed check that keeps the runtime from the image.
type obstacle struct {
	check       Check
	cause       Cause    // the root cause, if it differs from the check's
	because     []string // ids of the checks that decided it
	clear       bool     // a host answered every request: there is no obstacle
	goals       []string // ids of the checks that would prove that the image can be pulled
	asRuntime   bool     // the runtime gets the same answer, whatever its message makes of it
	ruleChosen  bool     // a rule chose this obstacle without agreement: likely at most
	wouldDecide []string // what would settle what the rule left open
	others      []Check  // the obstacles at the hosts before this one
}

func (o obstacle) found() bool { return o.check.Outcome == Fail }

// rootCause returns the root cause, which is the check's own unless a rule set
// another.
func (o obstacle) rootCause() Cause {
	if o.cause != "" {
		return o.cause
	}
	return o.check.Cause
}

// withRootCause sets the root cause behind the failed check. The checks that
// showed it come first.
func (o obstacle) withRootCause(c Cause, ids ...string) obstacle {
	o.cause = c
	o.because = append(ids, o.because...)
	return o
}

// likelyAtMost marks an obstacle that a rule chose, with what would decide.
func (o obstacle) likelyAtMost(wouldDecide ...string) obstacle {
	o.ruleChosen = true
	o.wouldDecide = append(slices.Clone(o.wouldDecide), wouldDecide...)
	return o
}

// alsoBecause adds ids to those that decided.
func (o obstacle) alsoBecause(ids ...string) obstacle {
	o.because = append(slices.Clone(o.because), ids...)
	return o
}

// path follows every host from the goal, an image that can be pulled, back to
// the obstacle before it.
func path(e *evidence) obstacle {
	var goals, unseen []string
	var failed []obstacle
	for _, h := range e.hosts() {
		last, bad := lastStep(e, h)
		goals = append(goals, last)
		switch {
		case bad == "" && e.get(last).Outcome == Pass:
			return obstacle{clear: true, goals: []string{last}, others: checksOf(failed)}
		case bad != "":
			// The runtime uses the first manifest that it receives, for any platform.
			return obstacle{check: e.get(bad), because: []string{bad}, goals: goals, others: checksOf(failed)}
		}
		if origin := e.origin(last); origin.Outcome == Fail {
			o := obstacle{check: origin, because: []string{origin.ID}}
			if answersWithSomethingElse(origin) {
				// A success by its status: the runtime tries no further host.
				o.goals, o.others = goals, checksOf(failed)
				return o
			}
			failed = append(failed, o)
		} else {
			unseen = append(unseen, "request the manifest from "+h+": the checks did not see its answer")
		}
	}
	if len(failed) == 0 {
		return obstacle{goals: goals}
	}
	// With mirrors before it, the upstream decides: a mirror may lack the image,
	// but an upstream that is unreachable is a fault.
	o := failed[len(failed)-1]
	o.goals, o.others = goals, checksOf(failed[:len(failed)-1])
	same := true
	for _, other := range o.others {
		o.because = append(o.because, other.ID)
		same = same && other.Cause == o.check.Cause
	}
	o.ruleChosen = !same && errorShownByRuntime(e, append(o.others, o.check)).ID != o.check.ID
	if len(unseen) > 0 {
		// The runtime's message may be about another host.
		o = o.likelyAtMost(unseen...)
	}
	return o
}

// lastStep returns how far the checks came at a host that has the manifest: the
// last check that passed, and the failed one after it, empty if there is none.
// Of a host without the manifest it returns the manifest's check.
func lastStep(e *evidence, host string) (last, bad string) {
	last = ManifestID(host)
	if e.get(last).Outcome != Pass {
		return last, ""
	}
	if image := e.get(ImageID(host)); image.Outcome == Fail {
		return last, image.ID
	} else if image.Outcome == Pass {
		last = image.ID
	}
	// The runtime fetches layers from any of the hosts, whichever had the manifest;
	// if none serves them, it shows the first one's error.
	unseen := ""
	for _, c := range e.below(familyBlob) {
		switch {
		case c.Outcome == Pass:
			return c.ID, ""
		case c.Outcome == Fail && bad == "":
			bad = c.ID
		case c.Outcome == Skipped && c.Evidence[KeyRefused] != "" && c.Evidence[KeyBlobHost] != "":
			unseen = c.ID // a host that the probes may not contact
		}
	}
	if bad == "" && unseen != "" {
		return unseen, ""
	}
	return last, bad
}

func checksOf(list []obstacle) []Check {
	var out []Check
	for _, o := range list {
		out = append(out, o.check)
	}
	return out
}

// answersWithSomethingElse reports whether a request for the manifest returned
// something else with a status of success.
func answersWithSomethingElse(c Check) bool {
	return c.Kind == KindManifest && c.Evidence[KeyStatus] == "200"
}

// errorShownByRuntime returns the check of the host whose error the runtime shows
// when all hosts fail. Since 2.0 containerd ranks them: not reached, 404, any
// other status; it shows the first of the highest rank
// (core/remotes/docker/resolver.go). If the runtime's version is older or not
// known it returns the zero Check.
func errorShownByRuntime(e *evidence, failed []Check) Check {
	version := strings.TrimPrefix(e.fact(IDRuntime, KeyVersion), "v")
	if e.fact(IDRuntime, KeyName) != "containerd" || version == "" || strings.HasPrefix(version, "1.") {
		return Check{}
	}
	var best Check
	for _, c := range failed {
		if best.ID == "" || errorRank(c) > errorRank(best) {
			best = c
		}
	}
	return best
}

func errorRank(c Check) int {
	switch {
	case c.Cause.Stage() < StageAnswer, c.Cause == TokenServiceFailed:
		return 1
	case c.Evidence[KeyStatus] == "404":
		return 2
	}
	return 3
}
