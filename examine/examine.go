package examine

import (
	"context"
	"time"

	"github.com/containerd/platforms"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/redact"
)

// Examiner checks images from this node. It calls no Kubernetes API.
type Examiner struct {
	Node     *NodeReader
	Puller   *cri.Puller // nil: no test pulls; the policy can forbid them, too
	Platform string      // os/arch[/variant]; empty: this machine's

	// Providers runs the kubelet's credential providers; nil: they are not run.
	// The policy must allow it, too.
	Providers *credentials.ProviderRunner
	// Refusals caches rejected passwords; nil: no cache.
	Refusals *credentials.RejectionCache

	// Control checks whether this node reaches any host other than that of a
	// domain; nil: no other host is known.
	Control func(ctx context.Context, domain string) report.Check
	// Known returns a sweep's recent result for a host and its age, if the sweep
	// was later than after; nil: there are no sweeps.
	Known func(host string, after time.Time) (report.Check, time.Duration, bool)

	retry  retryTimes
	speeds pullSpeeds
}

const (
	// VerdictTimeout is when a first result must exist, whatever hangs.
	VerdictTimeout = 4500 * time.Millisecond
	// SecretsTimeout limits the reading of all pull secrets: the probes need the
	// rest of the time.
	SecretsTimeout = time.Second
	// headStart is how long the probes run before the test pull starts beside
	// them. Usually they end within it: then the size of the image is known, and
	// credentials that were rejected are not tried again.
	headStart = time.Second
	// PullTimeout limits a test pull of an image that the probes can reach.
	PullTimeout = 2 * time.Minute
	// runtimeTimeout limits the calls to the runtime before the probes begin: if it
	// hangs, they still have time.
	runtimeTimeout = 2 * time.Second
	// stopGrace is the time that a stopped test pull has to report that.
	stopGrace = 250 * time.Millisecond
	// turnTimeout is how long a test pull waits for another one to end. A large image
	// must not delay the verdicts on all others: they have the kubelet's message.
	turnTimeout = 500 * time.Millisecond
)

// Policy is what an examination may do, and what it warns about.
type Policy struct {
	TestPull            bool // test pulls are allowed
	CredentialProviders bool // the kubelet's credential providers may be run
	ProviderTokens      bool // those that take a token of the pod's ServiceAccount get one
	CertificateDays     int  // a certificate that ends within as many days is worth a warning; 0: none is
	Allow, Deny         []guard.Pattern
}

// DefaultPolicy returns the policy without an agent: all that the fields of the
// examiner permit.
func DefaultPolicy() Policy {
	return Policy{TestPull: true, CredentialProviders: true, CertificateDays: 14}
}

// Subject is what is examined.
type Subject struct {
	Image string
	// Pod needs the image; nil: none. The examination finds out the handler and the
	// attempt of its sandbox.
	Pod          *cri.Pod
	RuntimeClass string // the pod's
	// Secrets fetches the pull secrets of the pod.
	Secrets func(context.Context) []credentials.SecretLookup
	// Account fetches the pull secrets that the pod's ServiceAccount lists and the
	// pod does not; nil: there is no ServiceAccount.
	Account func(context.Context) *credentials.ServiceAccount
	// Identity is whose token a credential provider gets that takes one; nil: the image is
	// for no pod.
	Identity *credentials.Identity
	// Failing reports that the pod's own pull fails on this node. If not, there is
	// no test pull, and NoPull may hold the reason.
	Failing bool
	NoPull  string
	// Neighbors returns what other pods of this node run; nil: that is not known. Another
	// image may be suggested by it.
	Neighbors func() Neighbors
	After     time.Time // what was found before this time does not count: results of sweeps, rejected passwords, failed providers
}

// Result is what an examination found.
type Result struct {
	Checks []report.Check // redacted
	Final  bool           // false: the test pull is still running
	// Redactor knows the secrets that were used. Checks that are added later must
	// pass through it.
	Redactor redact.Redactor
}

// Examine makes all checks of one image, in four steps: gather what this node
// knows, probe the registries, let the runtime pull, assemble the result. If the
// test pull is still running at the verdict deadline, early gets the result
// without it.
//
// All goroutines have ended when Examine returns. The exceptions are calls that
// hang in the kernel, see [callWithTimeout].
func (e *Examiner) Examine(ctx context.Context, s Subject, early func(Result)) Result {
	deadline := time.Now().Add(VerdictTimeout)
	s = s.readOnce()
	refCheck, ref := reference.Parse(s.Image)
	quick, cancel := context.WithDeadline(ctx, deadline) // for all but the test pull
	defer cancel()
	if refCheck.Outcome == report.Fail {
		check, redactor := e.completeDigest(quick, s, refCheck)
		return Result{Checks: report.RedactedChecks(redactor, []report.Check{check}), Final: true, Redactor: redactor}
	}
	known := e.gather(quick, s, refCheck, ref)
	defer known.node.close()

	probing := run(func() probed { return e.probe(quick, s, known) })
	control := startControl(quick, e.Control, ref.Domain)
	defer control.stop()
	puller := e.testPuller(s)
	plan := puller.plan(s, known, probing)
	pullCtx, stopPull := context.WithTimeout(ctx, PullTimeout)
	defer stopPull()
	pulling := run(func() report.Check { return puller.pull(pullCtx, plan) })

	found := probing.wait()
	if found.unreachable() {
		found.add(control.result())
	}
	if !found.available() {
		// The checks had no more time than this, so the test pull gets no more. It
		// may need a moment to report that it was stopped.
		defer context.AfterFunc(quick, stopPull)()
		deadline = deadline.Add(stopGrace)
	}
	pull, ended := pulling.waitUntil(deadline)
	if !ended {
		if early != nil {
			early(e.result(known, found, e.speeds.addEstimate(stillPulling(), ref.Domain, found.size()), false))
		}
		pull = pulling.wait()
	}
	e.retry.note(ref.Domain, []report.Check{pull})
	e.speeds.record(ref.Domain, pull)
	if !plan.justified { // how long the kubelet's own pull will take
		pull = e.speeds.addEstimate(pull, ref.Domain, found.size())
	}
	return e.result(known, found, pull, true)
}

// result assembles the checks and removes all secrets from them.
func (e *Examiner) result(known gathered, found probed, pull report.Check, final bool) Result {
	disk := known.disk
	if need := found.needBeside(known.local); need > 0 && disk.Outcome == report.Pass {
		disk = e.Node.disks.check(known.node.disk, need)
	}
	checks := assemble(known, disk, found.checks, pull)
	return Result{Checks: report.RedactedChecks(found.redactor, checks), Final: final, Redactor: found.redactor}
}

// testPuller returns what makes the test pull of an examination.
func (e *Examiner) testPuller(s Subject) testPuller {
	p := testPuller{rejected: e.rejections(s), retry: &e.retry}
	if e.Node.policy().TestPull {
		p.puller = e.Puller
	}
	return p
}

// rejections returns the rejected passwords that count for an examination: a request
// must be answered by asking, not by what was remembered before it. Nil: no cache.
func (e *Examiner) rejections(s Subject) *credentials.RejectionCache {
	if e.Refusals == nil || s.After.IsZero() {
		return e.Refusals
	}
	return e.Refusals.Since(s.After)
}

// ValidPlatform returns what is wrong with a platform, os/arch[/variant]. The
// empty platform is valid: it is this machine's.
func ValidPlatform(platform string) error {
	if platform == "" {
		return nil
	}
	_, err := platforms.Parse(platform)
	return err
}
