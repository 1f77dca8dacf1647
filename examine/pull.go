package examine

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"time"

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

// planPull decides about the test pull when the probes have ended: then it is
// known how large the image is, and which credentials are worth trying. It waits
// no longer than their head start, because a probe may hang where the runtime
// does not. The exception: where the policy denies hosts, only the probes can
// find out whether the runtime would contact one.
func (e *Examiner) planPull(s Subject, known gathered, probing *task[probed]) pullPlan {
	facts := pullFacts{
		off:         e.Puller == nil || !e.policy().TestPull,
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
		usable = withoutRejected(usable, found.hosts(), e.rejections(s))
		facts.found = found.checks
		facts.rejected = facts.credentials.Evidence[report.KeyMatched] != "" && len(usable) == 0
		plan.request.Yields, plan.request.Bytes = false, found.size()
	}
	plan.reason, plan.refused = noTestPull(facts)
	plan.justified = facts.objection() == ""
	plan.request.Failing = plan.justified
	plan.request.Credentials = usable
	plan.request.NotBefore = e.notBeforeFor(known.ref.Domain)
	return plan
}

// pull makes the test pull, if the plan has one.
func (e *Examiner) pull(ctx context.Context, plan pullPlan) report.Check {
	if !plan.refused {
		return e.Puller.Pull(ctx, plan.request)
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

// remember stores until when a registry that answered 429 wants no requests.
func (e *Examiner) remember(domain string, checks []report.Check) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range checks {
		if c.Cause != report.RateLimited && c.Evidence[report.KeyLimited] != "429" {
			continue
		}
		now := time.Now()
		until := now.Add(RetryAfter(c.Evidence[report.KeyRetryAfter], now))
		if e.notBefore == nil {
			e.notBefore = map[string]time.Time{}
		}
		// Tenants name the registries, so entries that have passed are removed.
		maps.DeleteFunc(e.notBefore, func(_ string, at time.Time) bool { return now.After(at) })
		if until.After(e.notBefore[domain]) {
			e.notBefore[domain] = until
		}
	}
}

// RetryAfter returns the time that a Retry-After header asks to wait, in seconds
// or as a date (RFC 9110, 10.2.3): a minute if it is absent or invalid, a day at
// most.
func RetryAfter(header string, now time.Time) time.Duration {
	wait := time.Minute
	if s, err := strconv.Atoi(header); err == nil && s > 0 {
		wait = time.Duration(min(s, 86400)) * time.Second
	} else if at, err := http.ParseTime(header); err == nil && at.After(now) {
		wait = at.Sub(now)
	}
	return min(wait, 24*time.Hour)
}

func (e *Examiner) notBeforeFor(domain string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.notBefore[domain]
}
