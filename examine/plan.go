package examine

import (
	"cmp"
	"slices"

	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/report"
)

// This file holds the plan of an examination: the order of its checks, and
// whether there is a test pull. It contacts nothing.

// Reasons for [Subject.NoPull].
const (
	NoPullPolicyNever = "the pull policy is Never"
	NoPullCreating    = "the kubelet's own pull is still running and has not failed"
	NoPullPreflight   = "this is a preflight, which pulls nothing"
	NoPullSandbox     = "the runtime pulls its sandbox image on its own, each time it tries to start the pod"
)

// pullFacts is what decides whether there is a test pull.
type pullFacts struct {
	off         bool           // test pulls are switched off
	failing     bool           // the pod's own pull fails on this node
	notFailing  string         // why it does not, if that is known
	runtime     report.Check   // the check "runtime"
	credentials report.Check   // the check "credentials"
	noHandler   bool           // the runtime handler of the pod's RuntimeClass is not known
	rejected    bool           // the registry has just rejected every credential that applies
	found       []report.Check // what the probes found; nil: they have not ended
}

// refusal is why there is no test pull.
type refusal struct {
	summary   string
	skipped   string // evidence "skipped"
	blockedBy string // id of the check that blocks it
}

// noTestPull returns why there must be no test pull; ok is false if there may be
// one. [cri.Puller] has reasons of its own, which depend on the runtime's images
// and on free space.
func noTestPull(f pullFacts) (r refusal, ok bool) {
	why := f.objection()
	switch {
	case f.off:
		return refusal{summary: "no test pull: test pulls are switched off"}, true
	case why != "":
		return refusal{summary: "no test pull: " + why, skipped: "notFailing"}, true
	case f.runtime.Outcome != report.Pass:
		return refusal{summary: "no test pull: the runtime is not available", blockedBy: report.IDRuntime}, true
	}
	return refusal{}, false
}

// objection returns why a test pull would prove nothing about the pod's own
// pull, or would do what pullprobe must not do; empty if there is no objection.
// What is known last comes first.
func (f pullFacts) objection() string {
	denied, isDenied := guard.FirstDenied(f.found)
	switch {
	case f.rejected:
		return "the registry has just rejected every credential that applies, and a wrong password is not tried again"
	case isDenied:
		return "it would contact a host that pullprobe must not contact: " + denied.Summary
	case f.credentials.Outcome == report.Skipped: // an anonymous pull may fail where the pod's does not
		return "some of the kubelet's credentials for this image are unknown, and a pull without them proves nothing"
	case slices.ContainsFunc(f.found, loginInClear):
		return "it would have the runtime send the password in clear to the token service, which has no TLS; " +
			"the kubelet's own pulls do so at each attempt"
	case f.noHandler:
		return "the runtime handler of the pod's RuntimeClass is unknown, and a pull without it proves nothing"
	case f.credentials.Is(report.KeyFatal):
		return "the kubelet rejects the pull secret before it calls the runtime"
	case !f.failing:
		return cmp.Or(f.notFailing, "no pull of this image has failed here")
	}
	return ""
}

// keyRealmPlain marks a token service that has no TLS.
const keyRealmPlain = "realmPlain"

// loginInClear reports whether a check found that the runtime would send the pod's login to
// a token service without TLS. The registry names that service: who runs the node has not
// allowed it. The check passes if there is no login to be sent.
func loginInClear(c report.Check) bool {
	return c.Kind == report.KindToken && c.Outcome == report.Skipped && c.Is(keyRealmPlain)
}

// assemble returns all checks in the order of the report: the image's name and
// credentials, then the node, then the registries, then the test pull.
func assemble(known gathered, disk report.Check, found []report.Check, pull report.Check) []report.Check {
	checks := slices.Concat(
		[]report.Check{known.reference},
		known.credentials.Checks,
		[]report.Check{known.runtime},
		known.node.checks,
		[]report.Check{disk, known.local, known.present},
		found,
		[]report.Check{pull},
	)
	return slices.DeleteFunc(checks, func(c report.Check) bool { return c.ID == "" })
}
