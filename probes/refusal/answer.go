package refusal

import (
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/httpclient"
)

// ReasonOfAnswer returns the reason of an answer whose body was read; empty if it is not
// readable. A text that is cut off, or that answers a request without the login that
// the runtime sends, may give a reason, but never none.
func ReasonOfAnswer(rep *httpclient.Reply) string {
	if rep.Encoded != "" {
		return ""
	}
	reason := Reason(rep.Status, answers.StoreCode(rep.Body), string(rep.Body))
	if reason == None && (rep.Cut || rep.Dropped) {
		return ""
	}
	return reason
}
