package refusal

import (
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/refusal"
	"github.com/pullprobe/pullprobe/report"
)

// refusedForOf returns the reason of an answer whose body was read; empty if it is not
// readable. A text that is cut off, or that answers a request without the login that
// the runtime sends, may give a reason, but never none.
func refusedForOf(rep *httpclient.Reply) string {
	if rep.Encoded != "" {
		return ""
	}
	reason := refusal.Reason(rep.Status, answers.StoreCode(rep.Body), string(rep.Body))
	if reason == refusal.None && (rep.Cut || rep.Dropped) {
		return ""
	}
	return reason
}

// readRefusal adds to "manifest/<host>" the reason of the refusal. HEAD has no text:
// that of a GET beside it counts if it was refused with the same status, as for
// containerd since 2.3.3 (withGETErrorBody).
func (x *explainer) readRefusal() {
	status := x.session.manifest.status
	if x.check.Outcome != report.Fail || x.check.BlockedBy != "" {
		return
	}
	reason := refusal.ReasonOfStatus(status)
	if x.get != nil {
		reason = ""
		if x.get.Status == status {
			reason = refusedForOf(x.get)
		}
	}
	x.facts[report.KeyRefusedFor] = reason
}

// readRefusal adds to "blob/<host>" the reason of the refusal.
func (b *layerCheck) readRefusal(rep *httpclient.Reply) {
	if b.check.Outcome == report.Fail {
		b.facts[report.KeyRefusedFor] = refusedForOf(rep)
	}
}

// withRefusal adds the reason of a refusal to the facts of a token service's answer.
func (t tokenResult) withRefusal(rep *httpclient.Reply) tokenResult {
	switch {
	case t.cause == report.CredentialsRejected && rep.Encoded == "" && !rep.Cut:
		t.facts = evidence.With(t.facts, report.KeyRefusedFor, refusal.ReasonOfLogin(string(rep.Body)))
	case t.outcome == report.Fail:
		t.facts = evidence.With(t.facts, report.KeyRefusedFor, refusedForOf(rep))
	}
	return t
}
