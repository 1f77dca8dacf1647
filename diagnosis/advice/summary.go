package advice

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Summary says what is wrong. If the deciding check found the cause itself, that is its
// sentence. Else it is the meaning of the cause, and then the sentence of the check or the
// runtime's message.
func Summary(e *facts.Evidence, v report.Verdict) string {
	s := Fill(e, v, v.Cause.Meaning())
	if pod := e.Get(report.IDPod); v.Cause == report.NotAPullProblem && (pod.Evidence[report.KeyState] != "" || e.NoSandbox()) {
		return pod.Summary // it says what the pod does instead
	}
	if len(v.Because) == 0 || v.Fault == report.FaultNone {
		return s
	}
	if v.Cause == report.CredentialsMissing && e.LoginsUnread() {
		s = Fill(e, v, "{registry} requires credentials, and the pull had none")
	}
	c := e.Get(v.Because[0])
	switch sentence := c.Sentence(); {
	case sentence == "":
	case v.Cause == report.PullTimedOut && e.Fact(report.IDPull, report.KeyTimedOut) == report.True &&
		e.Fact(report.IDPull, report.KeySeconds) != "":
		seconds, _ := strconv.ParseFloat(e.Fact(report.IDPull, report.KeySeconds), 64)
		s = "the pull did not finish within " + readable.Duration(time.Duration(seconds*float64(time.Second)))
	case v.Cause == report.RegistryUnavailable && c.Evidence[report.KeyGetStatus] == "200":
		s = c.Host + " answers " + cmp.Or(c.Evidence[report.KeyStatus], "404") + " to HEAD and 200 to GET of the same manifest: " +
			"something in front of the registry does not pass HEAD on, and the runtime sends HEAD"
	case c.Outcome == report.Fail && c.Cause == v.Cause && c.ID != report.IDPod && c.ID != report.IDPull:
		s = sentence
	default:
		s += ": " + sentence
	}
	if c := e.Get(report.IDSuggested); c.Outcome == report.Pass && (v.Cause.OnTheNetwork() || v.Cause.Stage() == report.StageAnswer) {
		s += "; " + c.Summary
	}
	latest := e.Fact(report.IDReference, report.KeyTag) == "latest"
	if v.Cause == report.TagNotFound && latest && !strings.HasSuffix(e.Get(report.IDReference).Target, ":latest") {
		s += "; the image has no tag, which means latest"
	}
	if c := e.Get(report.IDControl); c.Outcome == report.Pass && v.Cause.BeforeTLS() {
		s += "; " + c.Summary
	}
	for _, id := range v.Because[1:] {
		if c := e.Get(id); c.Kind == report.KindElsewhere {
			s += "; " + c.Summary
		}
	}
	return s
}
