package agent

import (
	"strconv"
	"testing"

	"github.com/pullprobe/pullprobe/report"
)

// What is said twice is no news, and a pod whose owner names one image after
// the other takes no more memory for it.
func TestSayingIsRemembered(t *testing.T) {
	r := newResults()
	v := report.Verdict{Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: report.Likely, Summary: "long"}
	if !r.say("uid", "web", "app:1", v) || r.say("uid", "web", "app:1", v) {
		t.Error("the first time is news, the second is not")
	}
	v.Confidence = report.Confirmed
	if !r.say("uid", "web", "app:1", v) {
		t.Error("it is surer now, and that is no news")
	}
	for i := range 10 * maxSaid {
		r.say("uid", "web", "app:"+strconv.Itoa(i), v)
	}
	if n := len(r.said["uid"]); n > maxSaid {
		t.Errorf("%d verdicts are remembered", n)
	}
}
