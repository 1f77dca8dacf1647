package report

import (
	"cmp"
	"slices"
)

// Diagnose draws the verdict from the checks of one image. It is a pure
// function: the same checks give the same verdict, so saved evidence can be
// replayed.
//
// It weighs two witnesses against each other. The one is the runtime, by its
// own words: the test pull's if there was one, else what the kubelet wrote
// into the pod's status. The other are the checks made beside it, followed
// from the goal (the image) back along BlockedBy to the first one that failed.
// Both agree: confirmed. One alone: likely. They contradict each other and no
// rule settles it: undetermined.
func Diagnose(checks []Check) Verdict { return theRules().diagnose(checks) }

// rulebook is everything that Diagnose decides by, in tables, so that every
// rule has a name, and a test can take one away to see what depends on it.
type rulebook struct {
	verdicts []verdictRule // in the order in which kubelet and runtime come past these things; the first that speaks decides
	roots    []rootRule    // root cause before symptom; all are asked, in order
	doubts   []doubtRule   // each lowers a verdict to likely
	acting   []actingRule  // who must act, where it is not the cause's default; the first that speaks decides
}

func theRules() rulebook {
	return rulebook{verdicts: verdictRules(), roots: rootRules(), doubts: doubtRules(), acting: actingRules()}
}

func (r rulebook) diagnose(checks []Check) Verdict {
	c := &judge{evidence: newEvidence(checks), rulebook: r}
	c.blocked = c.rootCause(c.way())
	v := c.verdict()
	v.Also = c.also(v)
	if v.Fix == "" {
		v.Fix = c.fix(v)
	}
	if v.Summary == "" {
		v.Summary = c.summary(v)
	}
	return v
}

// judge has the evidence and the rules before it.
type judge struct {
	*evidence
	rulebook

	blocked finding // what stands in the runtime's way, by the checks
}

func (j *judge) verdict() Verdict {
	for _, rule := range j.verdicts {
		if v, ok := rule.say(j); ok {
			return v
		}
	}
	return Verdict{
		Fault: FaultUndetermined, Cause: Undetermined, Confidence: Uncertain,
		Summary:     "nothing failed, but the image was not seen to be available either",
		Because:     j.stoppedAt(),
		WouldDecide: j.unchecked(),
	}
}

// stoppedAt names the checks at which the hosts' ways end.
func (j *judge) stoppedAt() []string {
	var out []string
	for _, goal := range j.blocked.goals {
		for _, id := range j.because(j.root(goal).ID, goal) {
			if !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
	}
	return out
}

// rootCause replaces a finding by what led to it.
func (j *judge) rootCause(f finding) finding {
	for _, rule := range j.roots {
		if !f.found() {
			break
		}
		f = rule.trace(j, f)
	}
	return f
}

// weigh puts a finding beside the runtime's words.
func (j *judge) weigh(f finding) Verdict {
	v := Verdict{Cause: f.name(), Because: f.because, WouldDecide: slices.Clone(f.decides)}
	j.whoActs(&v, f)
	switch {
	case j.words.check == nil:
		v.Confidence = atMost(v.Confidence, Likely)
	case j.agree(f.name()), j.agree(f.check.Cause), j.agreeOnTheWayTo(f):
		if !slices.Contains(v.Because, j.words.check.ID) {
			v.Because = append(v.Because, j.words.check.ID)
		}
		v.Confidence = atMost(v.Confidence, Confirmed)
	case !j.words.tells(), len(j.hosts()) > 1:
		// Words that say nothing of the way to the image, or that merge several
		// hosts into one error, do not contradict what was seen.
		v.Confidence = atMost(v.Confidence, Likely)
	case stage(f.name()) < j.words.stage() && !j.words.fresh():
		// The checks are stopped earlier than the runtime was when it spoke:
		// what holds the pull up now is not what it spoke of, but its words are
		// the older ones.
		v.Confidence = atMost(v.Confidence, Likely)
		v.WouldDecide = append(v.WouldDecide, "the kubelet's next attempt: its last message ("+string(j.words.cause)+") does not fit what the node sees now")
	default:
		return j.contradicted(f)
	}
	if f.softened {
		v.Confidence = atMost(v.Confidence, Likely)
	}
	for _, rule := range j.doubts {
		if decides, doubtful := rule.holds(j, v, f); doubtful {
			v.Confidence = atMost(v.Confidence, Likely)
			if decides != "" {
				v.WouldDecide = append(v.WouldDecide, decides)
			}
		}
	}
	if f.name() == Undetermined {
		v.Confidence = Uncertain
		v.WouldDecide = append(v.WouldDecide, "what stands behind this answer: "+f.check.Summary)
	}
	return v
}

// whoActs sets the verdict's fault, by the first rule that speaks or else its
// cause's default.
func (j *judge) whoActs(v *Verdict, f finding) {
	v.Fault = v.Cause.DefaultFault()
	for _, rule := range j.acting {
		if fault, ok := rule.say(j, v, f); ok {
			v.Fault = fault
			return
		}
	}
}

// agreeOnTheWayTo reports whether the words speak of the same host that the
// registry sent the runtime to, and of the same fault there.
func (j *judge) agreeOnTheWayTo(f finding) bool {
	inner := j.inner(f)
	if inner == "" || j.words.check == nil {
		return false
	}
	// What the runtime makes of a web page in the place of a layer is anybody's guess.
	agree := j.agree(inner) || inner == Undetermined
	step := j.words.check.Evidence["step"]
	return agree && (f.name() == TokenServiceFailed && step == "token" || f.name() == BlobHostUnreachable && step == "blob")
}

// inner is what was wrong at a host that the registry sends the runtime to;
// empty if it answered.
func (j *judge) inner(f finding) Cause {
	return Cause(cmp.Or(f.check.Evidence["innerCause"], j.fact(f.check.BlockedBy, "innerCause")))
}

// atMost lowers have to limit; the empty word is the highest.
func atMost(have, limit Confidence) Confidence {
	rank := map[Confidence]int{Uncertain: 1, Likely: 2, Confirmed: 3, "": 4}
	if rank[have] < rank[limit] {
		return have
	}
	return limit
}

// contradicted is the verdict where checks and words cannot both be right.
func (j *judge) contradicted(f finding) Verdict {
	return Verdict{
		Fault: FaultUndetermined, Cause: Undetermined, Confidence: Uncertain,
		Because: append(slices.Clone(f.because), j.words.check.ID),
		Summary: "the runtime says " + string(j.words.cause) + ", but the checks from this node say " + string(f.name()) + ": " + f.check.Summary,
		WouldDecide: []string{
			"asking again: one of the two may have been a passing state",
			"the runtime's own log on this node at the time of the pull",
		},
	}
}
