// Package diagnosis draws the verdict from the checks of one image, and the state of
// a host from those of a sweep. Its rules are in tables; they read facts (package
// facts) and leave the texts of fixes to package advice. It does no I/O: the same
// checks give the same verdict.
package diagnosis

import (
	"cmp"
	"slices"
	"sync"

	"github.com/pullprobe/pullprobe/diagnosis/advice"
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// Diagnose draws the verdict from the checks of one image. It is a pure
// function: the same checks give the same verdict, so saved evidence can be
// replayed.
//
// It compares two sources. One is the runtime's error message: the test pull's
// if there was one, else the one that the kubelet wrote into the pod's status.
// The other are pullprobe's own checks, followed from the goal (the image) back
// along BlockedBy to the first one that failed. Both agree: confirmed. One
// alone: likely. They contradict each other and no rule settles it:
// undetermined. Agreement proves the symptom only: a verdict is likely at most
// while something else explains the same evidence (rivals), or while a check that
// it rests on did not see what the runtime sees (weaknesses).
func Diagnose(checks []report.Check) report.Verdict { return rules().diagnose(checks) }

// rules returns all rules. They do not change.
var rules = sync.OnceValue(allRules)

// ruleSet holds everything that Diagnose decides by, in tables. Every rule has
// an id, and a test removes each of them to see what depends on it.
type ruleSet struct {
	verdicts    []verdictRule    // in the order in which kubelet and runtime get to these points; the first that applies decides
	causes      []causeRule      // from the symptom to the root cause; all apply, in order
	confidences []confidenceRule // each lowers a verdict to likely
	weaknesses  []weakness       // what a check did not see; each lowers every verdict that rests on it to likely
	rivalries   []rivalry        // what else explains the evidence of a cause; each lowers its verdicts to likely
	faults      []faultRule      // who must act, where it is not the cause's default; the first that applies decides
}

func allRules() ruleSet {
	return ruleSet{
		verdicts: slices.Concat(
			verdictsBeforeThePull(),
			verdictsOfTheTestPull(),
			verdictsOnThePath(),
			verdictsOfAClearPath(),
			verdictsOfTheMessage(),
		),
		causes: slices.Concat(
			causesOfAnonymity(), causesInAnswers(), causesInLogins(), causesInLostLogins(),
			causesOnTheNetwork(), causesInSettings(), causesInMirrors(),
		),
		confidences: confidenceRules(),
		weaknesses:  allWeaknesses(),
		rivalries:   allRivalries(),
		faults: slices.Concat(
			faultsOnTheNetwork(), faultsByOtherNodes(), faultsOfHosts(), faultsInTrust(), faultsInAnswers(), faultsInLogins(),
		),
	}
}

func (r ruleSet) diagnose(checks []report.Check) report.Verdict {
	e := &evaluation{Evidence: facts.Of(checks), ruleSet: r}
	e.obstacle = e.traced(facts.ObstacleOf(e.Evidence))
	v := e.verdict()
	v = e.withRivals(e.withWeaknesses(v))
	v.Also = facts.OtherCauses(e.Evidence, v)
	if v.Fix == "" {
		v.Fix = advice.Fix(e.Evidence, v, e.openQuestion)
	}
	if v.Summary == "" {
		v.Summary = advice.Summary(e.Evidence, v)
	}
	return e.besideOthers(e.asNotWaiting(v))
}

// evaluation is the evidence and the rules that apply to it.
type evaluation struct {
	*facts.Evidence
	ruleSet

	obstacle    facts.Obstacle // on the runtime's path to the image, as the checks found it
	faultByRule bool           // a rule found who must act, by evidence of its own

	openQuestion string // of the rival that leaves open who must act
}

func (e *evaluation) verdict() report.Verdict {
	for _, rule := range e.verdicts {
		if v, ok := rule.evaluate(e); ok {
			return v
		}
	}
	return report.Verdict{
		Fault:       report.FaultUndetermined,
		Cause:       report.Undetermined,
		Confidence:  report.ConfidenceUndetermined,
		Summary:     "no check failed, but none confirmed that the image can be pulled",
		Because:     e.stoppedAt(),
		WouldDecide: facts.Unchecked(e.Evidence),
	}
}

// stoppedAt returns the ids of the checks at which the paths of all hosts end.
func (e *evaluation) stoppedAt() []string {
	var out []string
	for _, goal := range e.obstacle.Goals {
		for _, id := range e.Existing(e.Origin(goal).ID, goal) {
			if !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
	}
	return out
}

// traced returns an obstacle with its root cause, as far as the rules know it.
func (e *evaluation) traced(o facts.Obstacle) facts.Obstacle {
	for _, rule := range e.causes {
		if !o.Found() {
			break
		}
		o = rule.trace(e, o)
	}
	return o
}

// weigh compares an obstacle with the runtime's message.
func (e *evaluation) weigh(o facts.Obstacle) report.Verdict {
	cause := o.RootCause()
	v := report.Verdict{Cause: cause, Because: o.Because, WouldDecide: slices.Clone(o.WouldDecide)}
	e.assignFault(&v, o)
	switch {
	case !e.Message.Exists():
		v.Confidence = atMost(v.Confidence, report.Likely)
	case e.Message.MayMean(cause), e.Message.MayMean(o.Check.Cause), e.sameInnerFault(o),
		o.AsRuntime && e.Message.Stage() == report.StageAnswer,
		e.loginOfHostsFile(o):
		if !slices.Contains(v.Because, e.Message.Check.ID) {
			v.Because = append(v.Because, e.Message.Check.ID)
		}
		v.Confidence = atMost(v.Confidence, report.Confirmed)
	case !e.Message.Informative(), len(e.Hosts()) > 1:
		// A message that does not tell where the path fails, or that merges several
		// hosts into one error, does not contradict the checks.
		v.Confidence = atMost(v.Confidence, report.Likely)
	case cause.Stage() < e.Message.Stage() && !e.Message.FromTestPull():
		// The checks fail at an earlier stage than the runtime did. What keeps the
		// pull from succeeding now is not what the message is about, but the message
		// is older.
		v.Confidence = atMost(v.Confidence, report.Likely)
		v.WouldDecide = append(v.WouldDecide, "wait for the kubelet's next attempt: its last message ("+string(e.Message.Cause)+
			") does not match what the checks found now")
	case e.limitedAfter(o):
		v.Confidence = atMost(v.Confidence, report.Likely)
		v.WouldDecide = append(v.WouldDecide, "pull again when "+o.Check.Host+
			" accepts requests: its limit stopped the test pull, after it had answered the checks")
	default:
		return e.contradiction(o)
	}
	if o.RuleChosen {
		v.Confidence = atMost(v.Confidence, report.Likely)
	}
	for _, rule := range e.confidences {
		if wouldDecide, applies := rule.applies(e, v, o); applies {
			v.Confidence = atMost(v.Confidence, report.Likely)
			if wouldDecide != "" {
				v.WouldDecide = append(v.WouldDecide, wouldDecide)
			}
		}
	}
	if cause == report.Undetermined {
		v.Confidence = report.ConfidenceUndetermined
		if len(o.WouldDecide) == 0 {
			v.WouldDecide = append(v.WouldDecide, "ask the operator of "+cmp.Or(o.Check.Host, "the registry")+" why it answers so")
		}
	}
	return v
}

// responsibility is who must act, and what follows from that for the verdict.
type responsibility struct {
	fault       report.Fault
	likely      bool     // the verdict is likely at most
	because     []string // further checks that decided
	wouldDecide []string // what would settle who must act
}

// assignFault sets the verdict's fault: by the first rule that applies, else the
// cause's default.
func (e *evaluation) assignFault(v *report.Verdict, o facts.Obstacle) {
	r := responsibility{fault: v.Cause.DefaultFault()}
	e.faultByRule = false
	for _, rule := range e.faults {
		if decided, ok := rule.assign(e, o); ok {
			r, e.faultByRule = decided, true
			break
		}
	}
	v.Fault = r.fault
	if r.likely {
		v.Confidence = report.Likely
	}
	v.Because = append(v.Because, r.because...)
	v.WouldDecide = append(v.WouldDecide, r.wouldDecide...)
}

// sameInnerFault reports whether the message is about the same host that the
// registry refers the runtime to, and about the same fault there.
func (e *evaluation) sameInnerFault(o facts.Obstacle) bool {
	inner := e.innerCause(o)
	if inner == "" || !e.Message.Exists() {
		return false
	}
	// What the runtime makes of a web page instead of a layer cannot be predicted.
	agree := e.Message.MayMean(inner) || inner == report.Undetermined
	switch o.RootCause() {
	case report.TokenServiceFailed:
		return agree && e.Message.Step() == "token"
	case report.BlobHostUnreachable:
		return agree && e.Message.Step() == "blob"
	}
	return false
}

// loginOfHostsFile reports whether the host rejects a login of hosts.toml, of which the
// runtime knows nothing: it reports that it has no credentials.
func (e *evaluation) loginOfHostsFile(o facts.Obstacle) bool {
	return o.Check.Is(report.KeyLoginInHosts) && o.RootCause() == report.CredentialsRejected && e.Message.MayMean(report.CredentialsMissing)
}

// innerCause returns the cause at a host that the registry refers the runtime to;
// empty if that host answered.
func (e *evaluation) innerCause(o facts.Obstacle) report.Cause {
	return report.Cause(cmp.Or(o.Check.Evidence[report.KeyInnerCause], e.Fact(o.Check.BlockedBy, report.KeyInnerCause)))
}

// atMost lowers a confidence to a limit. The empty confidence is the highest.
func atMost(have, limit report.Confidence) report.Confidence {
	rank := map[report.Confidence]int{report.ConfidenceUndetermined: 1, report.Likely: 2, report.Confirmed: 3, "": 4}
	if rank[have] < rank[limit] {
		return have
	}
	return limit
}

// foundCause names a cause that checks found; they may have found a failure without
// its cause.
func foundCause(c report.Cause) string {
	if c == report.Undetermined {
		return "another failure, not its cause"
	}
	return string(c)
}

// limitedAfter reports whether the registry answered the checks, and then refused the
// test pull for a limit of its own, that the requests of the checks may have used up.
func (e *evaluation) limitedAfter(o facts.Obstacle) bool {
	return e.Message.FromTestPull() && e.Message.MayMean(report.RateLimited) && facts.IsAnswer(o.Check)
}

// contradiction returns the verdict where checks and message cannot both be
// right.
func (e *evaluation) contradiction(o facts.Obstacle) report.Verdict {
	return report.Verdict{
		Fault:      report.FaultUndetermined,
		Cause:      report.Undetermined,
		Confidence: report.ConfidenceUndetermined,
		Because:    append(slices.Clone(o.Because), e.Message.Check.ID),
		Summary: "the runtime reports " + string(e.Message.Cause) + ", but the checks from this node found " +
			foundCause(o.RootCause()) + ": " + o.Check.Sentence(),
		WouldDecide: []string{
			"request a new diagnosis: one of the two may have been transient",
			"read the runtime's log on this node at the time of the pull",
		},
	}
}
