package report

import (
	"slices"
	"strings"
)

// finding is the failed check that stands in the runtime's way to the image.
type finding struct {
	check    Check
	cause    Cause    // the root cause, if it is another than the check's own
	because  []string // ids of the checks that decided it
	open     bool     // a host gave all that was asked of it: nothing is in the way
	goals    []string // ids of the checks that would prove the image can be had
	softened bool     // a rule, not agreement, picked this finding: likely at most
	decides  []string // what would settle what the rule left open
	others   []Check  // what stands in the way at the hosts before this one
}

func (f finding) found() bool { return f.check.Outcome == Fail }

// name is the root cause.
func (f finding) name() Cause {
	if f.cause != "" {
		return f.cause
	}
	return f.check.Cause
}

// rooted puts a root cause behind the failed check; the checks that showed it
// come first.
func (f finding) rooted(c Cause, ids ...string) finding {
	f.cause = c
	f.because = append(ids, f.because...)
	return f
}

// doubtful marks a finding that a rule picked, with what would decide.
func (f finding) doubtful(decides ...string) finding {
	f.softened = true
	f.decides = append(slices.Clone(f.decides), decides...)
	return f
}

// way follows every host from the goal, an image that can be had, back to what
// stands before it.
func (d *evidence) way() finding {
	var goals, open []string
	var failed []finding
	for _, h := range d.hosts() {
		last, bad := d.climbed(h)
		goals = append(goals, last)
		switch {
		case bad == "" && d.get(last).Outcome == Pass:
			return finding{open: true, goals: []string{last}, others: checksOf(failed)}
		case bad != "":
			// The runtime takes the first manifest it gets, whatever is in it.
			return finding{check: d.get(bad), because: []string{bad}, goals: goals, others: checksOf(failed)}
		}
		if root := d.root(last); root.Outcome == Fail {
			f := finding{check: root, because: []string{root.ID}}
			if answersWithSomethingElse(root) {
				// A success by its status: the runtime asks no further host.
				f.goals, f.others = goals, checksOf(failed)
				return f
			}
			failed = append(failed, f)
		} else {
			open = append(open, "what "+h+" answers, which the checks did not get to see")
		}
	}
	if len(failed) == 0 {
		return finding{goals: goals}
	}
	// With mirrors before it, the upstream decides: a mirror that lacks the
	// image is what mirrors do, an upstream that cannot be reached is a fault.
	f := failed[len(failed)-1]
	f.goals, f.others = goals, checksOf(failed[:len(failed)-1])
	same := true
	for _, other := range f.others {
		f.because = append(f.because, other.ID)
		same = same && other.Cause == f.check.Cause
	}
	f.softened = !same && d.spokesman(append(f.others, f.check)).ID != f.check.ID
	if len(open) > 0 {
		// The runtime's words may be another host's.
		f = f.doubtful(open...)
	}
	return f
}

// climbed is how far the checks came at a host whose manifest was there: the
// last check that passed, and the failed one after it, empty if there is none.
// Where the manifest was not there it is the manifest's check.
func (d *evidence) climbed(host string) (last, bad string) {
	last = "manifest/" + host
	if d.get(last).Outcome != Pass {
		return last, ""
	}
	if image := d.get("image/" + host); image.Outcome == Fail {
		return last, image.ID
	} else if image.Outcome == Pass {
		last = image.ID
	}
	// Layers come from any of the hosts, whichever had the manifest; if from
	// none, the runtime shows the first one's error.
	unseen := ""
	for _, c := range d.below("blob/") {
		switch {
		case c.Outcome == Pass:
			return c.ID, ""
		case c.Outcome == Fail && bad == "":
			bad = c.ID
		case c.Outcome == Skipped && c.Evidence["refused"] != "" && c.Evidence["blobHost"] != "":
			unseen = c.ID // it leads where the probes do not go
		}
	}
	if bad == "" && unseen != "" {
		return unseen, ""
	}
	return last, bad
}

func checksOf(list []finding) []Check {
	var out []Check
	for _, f := range list {
		out = append(out, f.check)
	}
	return out
}

// answersWithSomethingElse reports whether the manifest was asked for and
// something that is no manifest came, under a status of success.
func answersWithSomethingElse(c Check) bool {
	return c.Kind == KindManifest && c.Evidence["status"] == "200"
}

// spokesman is the host whose error the runtime shows when all fail. From 2.0
// on containerd ranks them: nothing reached, 404, any other status; the first
// of the highest rank speaks (core/remotes/docker/resolver.go). It is nobody's
// word where the runtime's version is not known to be such.
func (d *evidence) spokesman(failed []Check) Check {
	version := strings.TrimPrefix(d.fact("runtime", "version"), "v")
	if d.fact("runtime", "name") != "containerd" || version == "" || strings.HasPrefix(version, "1.") {
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
	case stage(c.Cause) < stageAnswer, c.Cause == TokenServiceFailed:
		return 1
	case c.Evidence["status"] == "404":
		return 2
	}
	return 3
}
