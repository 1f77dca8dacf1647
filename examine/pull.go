package examine

import (
	"context"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/report"
)

// pullPlan is the test pull that is to be made, or why there is none.
type pullPlan struct {
	refused   bool
	reason    refusal
	justified bool // the pod's own pull has failed, and a test pull proves something
	request   cri.PullRequest
}

// testPuller plans the test pull of one image, and makes it.
type testPuller struct {
	puller   *cri.Puller                 // nil: test pulls are switched off
	rejected *credentials.RejectionCache // the passwords that must not be tried again; nil: none are known
	retry    *retryTimes
}

// plan says whether there is a test pull when the probes have ended: then it is
// known how large the image is, and which credentials are worth trying. It waits
// no longer than their head start, because a probe may hang where the runtime
// does not. The exception: where the policy denies hosts, only the probes can
// find out whether the runtime would contact one.
func (p testPuller) plan(s Subject, known gathered, probing *task[probed]) pullPlan {
	facts := pullFacts{
		off:         p.puller == nil,
		failing:     s.Failing,
		notFailing:  s.NoPull,
		runtime:     known.runtime,
		credentials: known.credentials.Checks[0],
		noHandler:   known.noHandler,
	}
	plan := pullPlan{request: cri.PullRequest{
		Image:  known.ref.String(),
		Pod:    known.pod,
		Wait:   turnTimeout,
		Yields: true, // probes that take so long may have met a host that does not answer
	}}
	usable := known.credentials.Matched
	found, ended := probed{}, true
	if len(known.node.Guard.Deny) > 0 {
		found = probing.wait()
	} else {
		found, ended = probing.waitUntil(time.Now().Add(headStart))
	}
	if ended {
		usable = withoutRejected(usable, found.hosts(), p.rejected)
		facts.found = found.checks
		facts.rejected = facts.credentials.Evidence[report.KeyMatched] != "" && len(usable) == 0
		plan.request.Yields, plan.request.Bytes = false, found.size()
	}
	plan.reason, plan.refused = noTestPull(facts)
	plan.justified = facts.objection() == ""
	plan.request.Failing = plan.justified
	plan.request.Credentials = usable
	plan.request.NotBefore = p.retry.notBefore(known.ref.Domain)
	return plan
}

// pull makes the test pull, if the plan has one.
func (p testPuller) pull(ctx context.Context, plan pullPlan) report.Check {
	if !plan.refused {
		return p.puller.Pull(ctx, plan.request)
	}
	c := report.Check{
		ID:        report.IDPull,
		Kind:      report.KindPull,
		Target:    plan.request.Image,
		Outcome:   report.Skipped,
		Summary:   plan.reason.summary,
		BlockedBy: plan.reason.blockedBy,
	}
	if plan.reason.skipped != "" {
		c.Evidence = map[string]string{report.KeySkipped: plan.reason.skipped}
	}
	return c
}

// stillPulling is the check of a test pull that has not ended.
func stillPulling() report.Check {
	return report.Check{ID: report.IDPull, Kind: report.KindPull, Outcome: report.Unknown, Summary: "the test pull is still running"}
}
