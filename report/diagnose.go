package report

import (
	"cmp"
	"slices"
	"sync"
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
func Diagnose(checks []Check) Verdict { return rules().diagnose(checks) }

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
		causes:      slices.Concat(causesOfAnonymity(), causesInAnswers(), causesOnTheNetwork(), causesInMirrors()),
		confidences: confidenceRules(),
		weaknesses:  allWeaknesses(),
		rivalries:   allRivalries(),
		faults:      slices.Concat(faultsOnTheNetwork(), faultsInTrust(), faultsInAnswers()),
	}
}

func (r ruleSet) diagnose(checks []Check) Verdict {
	e := &evaluation{evidence: EvidenceOf(checks), ruleSet: r}
	e.obstacle = e.traced(path(e.evidence))
	v := e.verdict()
	v = e.withRivals(e.withWeaknesses(v))
	v.Also = otherCauses(e.evidence, v)
	if v.Fix == "" {
		v.Fix = Fix(e.evidence, v, e.openQuestion)
	}
	if v.Summary == "" {
		v.Summary = Summary(e.evidence, v)
	}
	return v
}

// evaluation is the evidence and the rules that apply to it.
type evaluation struct {
	*evidence
	ruleSet

	obstacle    obstacle // on the runtime's path to the image, as the checks found it
	faultByRule bool     // a rule found who must act, by evidence of its own

	openQuestion string // of the rival that leaves open who must act
}

func (e *evaluation) verdict() Verdict {
	for _, rule := range e.verdicts {
		if v, ok := rule.evaluate(e); ok {
			return v
		}
	}
	return Verdict{
		Fault:       FaultUndetermined,
		Cause:       Undetermined,
		Confidence:  ConfidenceUndetermined,
		Summary:     "no check failed, but none confirmed that the image can be pulled",
		Because:     e.stoppedAt(),
		WouldDecide: unchecked(e.evidence),
	}
}

// stoppedAt returns the ids of the checks at which the paths of all hosts end.
func (e *evaluation) stoppedAt() []string {
	var out []string
	for _, goal := range e.obstacle.goals {
		for _, id := range e.existing(e.origin(goal).ID, goal) {
			if !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
	}
	return out
}

// traced returns an obstacle with its root cause, as far as the rules know it.
func (e *evaluation) traced(o obstacle) obstacle {
	for _, rule := range e.causes {
		if !o.found() {
			break
		}
		o = rule.trace(e, o)
	}
	return o
}

// weigh compares an obstacle with the runtime's message.
func (e *evaluation) weigh(o obstacle) Verdict {
	cause := o.rootCause()
	v := Verdict{Cause: cause, Because: o.because, WouldDecide: slices.Clone(o.wouldDecide)}
	e.assignFault(&v, o)
	switch {
	case !e.message.exists():
		v.Confidence = atMost(v.Confidence, Likely)
	case e.message.mayMean(cause), e.message.mayMean(o.check.Cause), e.sameInnerFault(o), o.asRuntime && e.message.stage() == StageAnswer,
		e.loginOfHostsFile(o):
		if !slices.Contains(v.Because, e.message.check.ID) {
			v.Because = append(v.Because, e.message.check.ID)
		}
		v.Confidence = atMost(v.Confidence, Confirmed)
	case !e.message.informative(), len(e.hosts()) > 1:
		// A message that does not tell where the path fails, or that merges several
		// hosts into one error, does not contradict the checks.
		v.Confidence = atMost(v.Confidence, Likely)
	case cause.Stage() < e.message.stage() && !e.message.fromTestPull():
		// The checks fail at an earlier stage than the runtime did. What keeps the
		// pull from succeeding now is not what the message is about, but the message
		// is older.
		v.Confidence = atMost(v.Confidence, Likely)
		v.WouldDecide = append(v.WouldDecide, "wait for the kubelet's next attempt: its last message ("+string(e.message.cause)+
			") does not match what the checks found now")
	default:
		return e.contradiction(o)
	}
	if o.ruleChosen {
		v.Confidence = atMost(v.Confidence, Likely)
	}
	for _, rule := range e.confidences {
		if wouldDecide, applies := rule.applies(e, v, o); applies {
			v.Confidence = atMost(v.Confidence, Likely)
			if wouldDecide != "" {
				v.WouldDecide = append(v.WouldDecide, wouldDecide)
			}
		}
	}
	if cause == Undetermined {
		v.Confidence = ConfidenceUndetermined
		if len(o.wouldDecide) == 0 {
			v.WouldDecide = append(v.WouldDecide, "ask the operator of "+cmp.Or(o.check.Host, "the registry")+" why it answers so")
		}
	}
	return v
}

// responsibility is who must act, and what follows from that for the verdict.
type responsibility struct {
	fault       Fault
	likely      bool     // the verdict is likely at most
	because     []string // further checks that decided
	wouldDecide []string // what would settle who must act
}

// assignFault sets the verdict's fault: by the first rule that applies, else the
// cause's default.
func (e *evaluation) assignFault(v *Verdict, o obstacle) {
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
		v.Confidence = Likely
	}
	v.Because = append(v.Because, r.because...)
	v.WouldDecide = append(v.WouldDecide, r.wouldDecide...)
}

// sameInnerFault reports whether the message is about the same host that the
// registry refers the runtime to, and about the same fault there.
func (e *evaluation) sameInnerFault(o obstacle) bool {
	inner := e.innerCause(o)
	if inner == "" || !e.message.exists() {
		return false
	}
	// What the runtime makes of a web page instead of a layer cannot be predicted.
	agree := e.message.mayMean(inner) || inner == Undetermined
	switch o.rootCause() {
	case TokenServiceFailed:
		return agree && e.message.step() == "token"
	case BlobHostUnreachable:
		return agree && e.message.step() == "blob"
	}
	return false
}

// loginOfHostsFile reports whether the host rejects a login of hosts.toml, of which the
// runtime knows nothing: it reports that it has no credentials.
func (e *evaluation) loginOfHostsFile(o obstacle) bool {
	return o.check.Is(KeyLoginInHosts) && o.rootCause() == CredentialsRejected && e.message.mayMean(CredentialsMissing)
}

// innerCause returns the cause at a host that the registry refers the runtime to;
// empty if that host answered.
func (e *evaluation) innerCause(o obstacle) Cause {
	return Cause(cmp.Or(o.check.Evidence[KeyInnerCause], e.fact(o.check.BlockedBy, KeyInnerCause)))
}

// atMost lowers a confidence to a limit. The empty confidence is the highest.
func atMost(have, limit Confidence) Confidence {
	rank := map[Confidence]int{ConfidenceUndetermined: 1, Likely: 2, Confirmed: 3, "": 4}
	if rank[have] < rank[limit] {
		return have
	}
	return limit
}

// foundCause names a cause that checks found; they may have found a failure without
// its cause.
func foundCause(c Cause) string {
	if c == Undetermined {
		return "another failure, not its cause"
	}
	return string(c)
}

// contradiction returns the verdict where checks and message cannot both be
// right.
func (e *evaluation) contradiction(o obstacle) Verdict {
	return Verdict{
		Fault:      FaultUndetermined,
		Cause:      Undetermined,
		Confidence: ConfidenceUndetermined,
		Because:    append(slices.Clone(o.because), e.message.check.ID),
		Summary: "the runtime reports " + string(e.message.cause) + ", but the checks from this node found " +
			foundCause(o.rootCause()) + ": " + o.check.Sentence(),
		WouldDecide: []string{
			"retry: one of the two may have been transient",
			"read the runtime's log on this node at the time of the pull",
		},
	}
}
