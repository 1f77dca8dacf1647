package report

import (
	"cmp"
	"strconv"
	"time"
)

// Summary says what is wrong. A check that found the cause itself says it best. A
// message, or a check that found only a symptom, follows the cause's description.
func Summary(e *evidence, v Verdict) string {
	s := Fill(e, v, v.Cause.Meaning())
	if len(v.Because) == 0 || v.Fault == FaultNone {
		return s
	}
	c := e.get(v.Because[0])
	switch sentence := c.Sentence(); {
	case sentence == "":
	case v.Cause == PullTimedOut && e.fact(IDPull, KeyTimedOut) == True && e.fact(IDPull, KeySeconds) != "":
		seconds, _ := strconv.ParseFloat(e.fact(IDPull, KeySeconds), 64)
		s = "the pull did not finish within " + Duration(time.Duration(seconds*float64(time.Second)))
	case v.Cause == RegistryUnavailable && c.Evidence[KeyGetStatus] == "200":
		s = c.Host + " answers " + cmp.Or(c.Evidence[KeyStatus], "404") + " to HEAD and 200 to GET of the same manifest: " +
			"something in front of the registry does not pass HEAD on, and the runtime sends HEAD"
	case c.Outcome == Fail && c.Cause == v.Cause && c.ID != IDPod && c.ID != IDPull:
		s = sentence
	default:
		s += ": " + sentence
	}
	if c := e.get(IDControl); c.Outcome == Pass && v.Cause.BeforeTLS() {
		s += "; " + c.Summary
	}
	return s
}
