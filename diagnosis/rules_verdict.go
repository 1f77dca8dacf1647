package diagnosis

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/diagnosis/advice"
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// verdictRule gives a verdict if it applies.
type verdictRule struct {
	id       string
	when     string // when it applies, in one sentence
	evaluate func(*evaluation) (report.Verdict, bool)
}

// confirmedVerdict returns a verdict with the confidence Confirmed. Who must act is the
// default of the cause.
func confirmedVerdict(c report.Cause, because ...string) report.Verdict {
	return report.Verdict{Cause: c, Fault: c.DefaultFault(), Confidence: report.Confirmed, Because: because}
}

// likelyVerdict returns a verdict with the confidence Likely. Who must act is the default
// of the cause.
func likelyVerdict(c report.Cause, because ...string) report.Verdict {
	return report.Verdict{Cause: c, Fault: c.DefaultFault(), Confidence: report.Likely, Because: because}
}

// verdictsBeforeThePull returns the verdict rules that do not need the path to the image:
// for its name, the pod, a message that proves its cause, the runtime and the sandbox.
func verdictsBeforeThePull() []verdictRule {
	no := report.Verdict{}
	return []verdictRule{
		{"invalid-reference", "the image name is not valid", func(e *evaluation) (report.Verdict, bool) {
			c := e.Get(report.IDReference)
			return confirmedVerdict(c.Cause, e.Existing(report.IDReference, e.MessageID())...), c.Outcome == report.Fail
		}},
		{"program-not-for-node", "the container's program cannot be executed on this node", programNotForNode},
		{"pod-not-waiting", "the pod is not waiting for an image", func(e *evaluation) (report.Verdict, bool) {
			c := e.Get(report.IDPod)
			if c.Outcome != report.Pass || c.Cause == "" {
				return no, false
			}
			v := confirmedVerdict(c.Cause, report.IDPod)
			if c.Evidence[report.KeyReason] == "CreateContainerError" {
				v.Confidence = report.Likely // unpacking is a part of that
			}
			return v, true
		}},
		{"never-but-present", "the message of policy Never, while the image is present", func(e *evaluation) (report.Verdict, bool) {
			if !e.Message.Proven || e.Message.Cause != report.NeverPullNotPresent || !e.Present() {
				return no, false
			}
			if !e.KubeletMayRefusePresent() {
				v := likelyVerdict(report.Recovered, e.LocalImages().ID, e.Message.Check.ID)
				v.WouldDecide = []string{"wait for the kubelet's next attempt: the image is on the node now, so it should succeed"}
				return v, true
			}
			// Newer kubelets report the same for an image that was pulled with
			// credentials that this pod does not have.
			return likelyVerdict(report.PresentNotAuthorized, e.Message.Check.ID, e.LocalImages().ID), true
		}},
		{"message-proves-cause", "the message alone proves the cause", func(e *evaluation) (report.Verdict, bool) {
			// What a registry says of an invalid name is not proven against one that parses.
			parses := e.Message.Cause == report.InvalidReference && e.Get(report.IDReference).Outcome == report.Pass
			if !e.Message.Proven || parses {
				return no, false
			}
			return confirmedVerdict(e.Message.Cause, e.Message.Check.ID), true
		}},
		{"runtime-unavailable", "the container runtime does not answer", func(e *evaluation) (report.Verdict, bool) {
			// A runtime that is only slow to report its status does not outrank an
			// obstacle that every client meets.
			c := e.Get(report.IDRuntime)
			slow := c.Evidence[report.KeyWhy] == "hung" && c.Evidence[report.KeyVersion] != "" && e.obstacle.Found()
			return e.verdictIf(facts.Obstacle{Check: c, Because: []string{report.IDRuntime}}, c.Outcome == report.Fail && !slow)
		}},
		{"sandbox-image-unavailable", "the sandbox image is missing, and its path is blocked", func(e *evaluation) (report.Verdict, bool) {
			// The image that was examined is then the sandbox image, not one of the pod's.
			if !e.sandboxImageMissing() {
				return no, false
			}
			o := e.obstacle.WithRootCause(report.SandboxImageUnavailable, report.IDRuntimeSandbox)
			o = o.LikelyAtMost()
			return e.verdictIf(o, e.obstacle.Found())
		}},
		{"full-disk-stops-sandbox", "the pod has no sandbox yet, and the disk on which the runtime would make it is full", func(
			e *evaluation,
		) (report.Verdict, bool) {
			o := facts.Obstacle{Check: e.Get(report.IDDisk), Because: []string{report.IDDisk, report.IDPod}}
			o = o.LikelyAtMost("read the pod's Event FailedCreatePodSandBox: it says \"no space left on device\", or names another cause")
			return e.verdictIf(o, e.Creating() && e.NoSandbox() && o.Check.Outcome == report.Fail)
		}},
		{"sandbox-not-ready", "the pod has no sandbox yet, and the path is not blocked", func(e *evaluation) (report.Verdict, bool) {
			open := e.sandboxImageMissing() && !e.obstacle.Clear
			return likelyVerdict(report.NotAPullProblem, report.IDPod), e.Creating() && e.NoSandbox() && !e.obstacle.Found() && !open
		}},
	}
}

// verdictsOfTheTestPull returns the verdict rules for a test pull that succeeded, for an
// image that is on the node, and for credentials that stop the checks or the kubelet.
func verdictsOfTheTestPull() []verdictRule {
	no := report.Verdict{}
	return []verdictRule{
		{"pulls-other-platform", "the image can be pulled, but is for another platform", func(e *evaluation) (report.Verdict, bool) {
			if e.Get(report.IDPull).Outcome != report.Pass {
				return no, false
			}
			for _, c := range e.Checks {
				// An index without this platform is not pulled: the pull contradicts that check.
				inIndex := c.Is(report.KeyIndex) && !c.Is(report.KeyPublisher)
				if c.Kind == report.KindImage && c.Outcome == report.Fail && c.Cause == report.PlatformMismatch && !inIndex {
					// The runtime pulls a single manifest of another architecture without an
					// error; the container then fails with "exec format error".
					v := likelyVerdict(c.Cause, c.ID, report.IDPull)
					if c.Is(report.KeyPublisher) {
						v.Fault = report.FaultRegistry
					}
					return v, true
				}
			}
			return no, false
		}},
		{"pulls-without-node-credentials", "the image can be pulled only without the node's credentials", func(
			e *evaluation,
		) (report.Verdict, bool) {
			refused := []report.Cause{report.CredentialsRejected, report.AccessForbidden, report.CredentialsExpired}
			if e.Get(report.IDPull).Outcome != report.Pass || !e.AnonymousPull() || !slices.Contains(refused, e.Kubelet.Cause) {
				return no, false
			}
			v := likelyVerdict(e.Kubelet.Cause, e.Existing(report.IDPod, report.IDPull)...)
			v.Fault = report.FaultNode
			v.WouldDecide = []string{"check which of the node's credentials the kubelet sends (credential providers, docker config files): " +
				"without credentials the image can be pulled"}
			return v, true
		}},
		{"pulls", "the test pull succeeded", func(e *evaluation) (report.Verdict, bool) {
			if e.Get(report.IDPull).Outcome != report.Pass {
				return no, false
			}
			if !e.Failed(report.IDPod) {
				return confirmedVerdict(report.Healthy, report.IDPull), true
			}
			v := confirmedVerdict(report.Recovered, report.IDPull)
			if e.AnonymousPull() && e.UnreadSources() != "" && e.Kubelet.Stage() >= report.StageAnswer {
				v.Confidence = report.Likely // the kubelet may send a login, and get another answer
				v.WouldDecide = []string{"wait for the kubelet's next attempt: it may use " + e.UnreadSources() + ", which the test pull did not"}
			}
			return v, true
		}},
		{"malformed-secret-stops-kubelet", "a malformed pull secret stops the kubelet before any request", func(
			e *evaluation,
		) (report.Verdict, bool) {
			// pkg/credentialprovider/secrets
			c := e.Get(report.IDCredentials)
			return e.verdictIf(facts.Obstacle{Check: c, Because: []string{report.IDCredentials}}, c.Outcome == report.Fail && c.Is(report.KeyFatal))
		}},
		{"image-present", "the image is on the node already", func(e *evaluation) (report.Verdict, bool) {
			v := likelyVerdict(report.NotAPullProblem, e.Existing(e.LocalImages().ID, report.IDPod)...)
			v.WouldDecide = []string{"wait for the kubelet's next status of this container: the image is on the node"}
			return v, e.Creating() && e.Present() && !e.AlwaysPulls()
		}},
		{"disk-confirmed-by-message", "the disk has the fault that the message names", func(e *evaluation) (report.Verdict, bool) {
			c := e.Get(report.IDDisk)
			return e.verdictIf(facts.Obstacle{Check: c, Because: []string{report.IDDisk}}, c.Outcome == report.Fail && e.Message.MayMean(c.Cause))
		}},
		{"kubelet-passed-login", "the kubelet got past the login at which the checks stop", func(e *evaluation) (report.Verdict, bool) {
			o := e.obstacle
			login := o.RootCause().AboutLogin() || o.RootCause() == report.CredentialProviderFailed
			same := e.Message.MayMean(o.RootCause()) && !kubeletHadLogin(e)
			if !o.Found() || !login || !o.Check.Is(report.KeyAnonymous) || e.UnreadSources() == "" || e.Message.FromTestPull() ||
				!e.Message.Informative() || same || e.Message.Stage() < report.StageAnswer {
				return no, false
			}
			// A provider that fails now may have answered the kubelet before.
			if c := e.Get(report.IDCredentials); c.Outcome == report.Fail && c.Cause != report.CredentialProviderFailed {
				return no, false
			}
			v := e.messageOnly()
			v.WouldDecide = append([]string{"check " + e.UnreadSources() + " (not read)"}, v.WouldDecide...)
			return v, true
		}},
	}
}

// kubeletHadLogin reports whether the kubelet's message proves that it sent a login where
// the checks sent none: a client without a login gets no token, and so no 404; and a
// registry that answers 401 to it does not answer 403.
func kubeletHadLogin(e *evaluation) bool {
	c := e.obstacle.Check
	switch e.Message.Cause {
	case report.TagNotFound, report.RepositoryNotFound:
		return e.Failed(c.BlockedBy) && e.Get(c.BlockedBy).Kind == report.KindToken
	case report.AccessForbidden: // if a provider is known, other rules name the cause
		known := e.Fact(report.IDCredentials, report.KeyProviderNotRun) + e.Fact(report.IDCredentials, report.KeyExpectedProvider)
		return known == "" && c.Evidence[report.KeyAuth] == "basic" && c.Evidence[report.KeyStatus] == "401"
	}
	return false
}

// verdictsOnThePath returns the verdict rules for a check that failed on the path to the
// image: what blocks the path becomes the verdict.
func verdictsOnThePath() []verdictRule {
	no := report.Verdict{}
	return []verdictRule{
		{"path-blocked", "a check on the runtime's path failed", func(e *evaluation) (report.Verdict, bool) {
			return e.verdictIf(e.obstacle, e.obstacle.Found())
		}},
		{"impossible-address", "the registry has an impossible address, which the checks do not contact", func(
			e *evaluation,
		) (report.Verdict, bool) {
			hosts := e.Hosts()
			if e.obstacle.Clear || len(hosts) != 1 || !facts.ImpossibleAddress(e.Evidence, hosts[0]) {
				return no, false
			}
			v := likelyVerdict(report.ResolverWrongAnswer, e.Existing(report.DNSID(hosts[0]), e.MessageID())...)
			v.WouldDecide = []string{fromOutside(hosts[0])}
			return v, !e.Message.Informative() || e.Message.Stage() <= report.StageTLS
		}},
		{"disk-without-message", "the disk has a fault, and there is no message yet", func(e *evaluation) (report.Verdict, bool) {
			// The image still has to be written, whatever was resolved.
			c := e.Get(report.IDDisk)
			counts := c.Outcome == report.Fail && !e.Message.Exists() && c.Evidence[report.KeyNeed] == ""
			return e.verdictIf(facts.Obstacle{Check: c, Because: []string{report.IDDisk}}, counts)
		}},
		{"message-names-off-path-address", "the message names a cause found at an address that the runtime does not use", offPathAddress},
	}
}

// longWait is from when on the wait for a dead address explains that a pull is slow: it waits
// so at each of several connections.
const longWait = 3 * time.Second

// offPathAddress applies where one address of several fails, for example, which the
// runtime may have tried.
func offPathAddress(e *evaluation) (report.Verdict, bool) {
	if !e.obstacle.Clear || !e.Message.Exists() {
		return report.Verdict{}, false
	}
	for _, c := range e.Checks {
		if c.Outcome == report.Fail && (c.Kind == report.KindDial || c.Kind == report.KindTLS) && e.Message.MayMean(c.Cause) && !c.Elsewhere() {
			return e.weigh(facts.Obstacle{Check: c, Because: []string{c.ID}, RuleChosen: true}), true
		}
	}
	return report.Verdict{}, false
}

// verdictsOfAClearPath returns the verdict rules for pulls that fail although every check on
// the path passes: RuntimeConfigStale, MirrorFaulty, PullQueueLimited, PullTimedOut, DiskFull.
func verdictsOfAClearPath() []verdictRule {
	no := report.Verdict{}
	return []verdictRule{
		{"runtime-config-stale", "the runtime runs with older settings than those on disk", staleSettings},
		{"mirror-times-out", "a mirror times out before a host that has the image", func(e *evaluation) (report.Verdict, bool) {
			// The runtime waits far longer for each of its requests to a mirror than these
			// checks do, before it tries the next host.
			timedOut := e.Creating() || e.Message.Cause == report.PullTimedOut || e.Message.Cause == report.ConnectionTimeout || e.PullTimedOut()
			if !e.obstacle.Clear || !timedOut {
				return no, false
			}
			for _, c := range e.obstacle.Others {
				if c.Is(report.KeyDeadline) {
					o := facts.Obstacle{Check: c, Because: append([]string{c.ID}, e.obstacle.Goals...)}.WithRootCause(report.MirrorFaulty)
					return e.weigh(o.LikelyAtMost("pull without this mirror: every other host has the image")), true
				}
			}
			return no, false
		}},
		{"queued-behind-pull", "the pull waits behind another one", func(e *evaluation) (report.Verdict, bool) {
			c := e.Get(report.IDQueue)
			if c.Evidence[report.KeyAhead] == "" || !e.obstacle.Clear || !(e.Creating() || e.Message.Cause == report.PullQueueLimited) {
				return no, false
			}
			o := facts.Obstacle{Check: c, Because: append([]string{report.IDQueue}, e.obstacle.Goals...)}.WithRootCause(report.PullQueueLimited)
			return e.weigh(o.LikelyAtMost("check whether the kubelet pulls one image at a time: " +
				"serializeImagePulls and maxParallelImagePulls in its configuration")), true
		}},
		{"no-space-for-test-pull", "the disk has no space for the test pull", func(e *evaluation) (report.Verdict, bool) {
			c := e.Get(report.IDDisk)
			if c.Outcome != report.Fail || e.Fact(report.IDPull, report.KeySkipped) != "noSpace" || e.Message.Informative() {
				return no, false
			}
			o := facts.Obstacle{Check: c, Because: []string{report.IDDisk, report.IDPull}}
			return e.weigh(o.LikelyAtMost("wait for the runtime's own pull")), true
		}},
		{"no-space-for-image", "the disk has no space for an image that was not pulled", func(e *evaluation) (report.Verdict, bool) {
			c := e.Get(report.IDDisk)
			if c.Outcome != report.Fail || c.Evidence[report.KeyNeed] == "" || e.Get(report.IDPull).Outcome != report.Skipped ||
				!e.obstacle.Clear || e.Message.Exists() || e.Creating() || e.Present() {
				return no, false
			}
			o := facts.Obstacle{Check: c, Because: []string{report.IDDisk}}
			return e.weigh(o.LikelyAtMost("pull the image: its size on the disk is an estimate, some of its layers may be there, " +
				"and the kubelet removes unused images from a full disk")), true
		}},
		{"mirror-corrupts-layers", "the layers of a mirror are bad, and the upstream has the image too", func(
			e *evaluation,
		) (report.Verdict, bool) {
			hosts := e.Hosts()
			if !e.obstacle.Clear || len(hosts) < 2 || !e.Message.Exists() || e.Message.Stage() != report.StageBlob ||
				e.Message.Cause == report.PullTimedOut || e.Message.Cause == report.BlobHostUnreachable {
				return no, false
			}
			used, upstream := e.Get(report.ManifestID(e.UsedHost())), e.Get(report.ManifestID(hosts[len(hosts)-1]))
			if used.Host == upstream.Host || upstream.Outcome != report.Pass {
				return no, false
			}
			v := likelyVerdict(report.MirrorFaulty, used.ID, e.Message.Check.ID, upstream.ID)
			v.Summary = "mirror " + used.Host + " sends bad layers: " + e.Message.Check.Summary +
				"; " + cmp.Or(e.Fact(report.IDRuntime, report.KeyName), "the runtime") + " does not try the upstream then"
			v.WouldDecide = []string{"pull without this mirror: " + upstream.Host + " has the image too"}
			return v, true
		}},
		{"test-pull-timed-out", "the test pull timed out", func(e *evaluation) (report.Verdict, bool) {
			if !e.obstacle.Clear || !e.PullTimedOut() || e.Message.Informative() {
				return no, false
			}
			if c, slow := facts.SlowBefore(e.Evidence); slow {
				if !e.everyStepSeen() {
					return no, false
				}
				v := likelyVerdict(report.Healthy, append([]string{c.ID}, e.obstacle.Goals...)...)
				v.Summary = "the image can be pulled on this node, slowly: " + c.Summary
				return v, true
			}
			v := likelyVerdict(report.PullTimedOut, append([]string{report.IDPull}, e.obstacle.Goals...)...)
			v.WouldDecide = []string{
				"measure how fast another node downloads these layers",
				"check whether other downloads on this node hang: the runtime limits parallel downloads",
			}
			if !facts.TooSlow(e.Evidence) {
				v.Cause, v.Fault, v.Confidence = report.Undetermined, report.FaultUndetermined, report.ConfidenceUndetermined
				v.Summary = "every check from this node passes, but " + e.Get(report.IDPull).Summary + ": slow or stalled"
				v.WouldDecide = []string{"pull without a time limit, on this node:\ncrictl pull " + e.Get(report.IDReference).Target}
			}
			return v, true
		}},
	}
}

// verdictsOfTheMessage returns the verdict rules for what only the runtime's message shows,
// and for pods without a message: Healthy, Recovered, Undetermined.
func verdictsOfTheMessage() []verdictRule {
	no := report.Verdict{}
	return []verdictRule{
		{"fault-is-gone", "every check passes, and the kubelet has not pulled since they found what it reported", faultIsGone},
		{"message-disproved", "every check contradicts the message", func(e *evaluation) (report.Verdict, bool) {
			m := e.Message
			if !m.Exists() || m.Cause == report.Undetermined || !e.obstacle.Clear || m.Cause == report.PullQueueLimited || !e.disproves(m) {
				return no, false
			}
			return report.Verdict{
				Fault:       report.FaultUndetermined,
				Cause:       report.Undetermined,
				Confidence:  report.ConfidenceUndetermined,
				Because:     append([]string{m.Check.ID}, e.obstacle.Goals...),
				Summary:     "the runtime reported " + string(m.Cause) + ", but every check passes now: possibly transient",
				WouldDecide: append([]string{"wait for the kubelet's next attempt"}, facts.Unchecked(e.Evidence)...),
			}, true
		}},
		{"message-only", "only the message shows a fault", func(e *evaluation) (report.Verdict, bool) {
			if !e.Message.Exists() {
				return no, false
			}
			return e.messageOnly(), true
		}},
		{"creating-behind-dead-address", "the container is being created, and the runtime waits for an address that does not answer", func(
			e *evaluation,
		) (report.Verdict, bool) {
			dead, used, after := facts.DeadFirst(e.Evidence, e.UsedHost())
			if e.obstacle.Found() || !e.Creating() || after < longWait {
				return no, false
			}
			v := e.weigh(facts.Obstacle{Check: dead, Because: append([]string{dead.ID, used.ID}, e.obstacle.Goals...), RuleChosen: true})
			v.Summary = advice.Summary(e.Evidence, v) + "; the runtime waits " + readable.Duration(after) + " for it before it uses " + used.Target +
				", at every connection"
			return v, true
		}},
		{"creating-on-clear-path", "the container is being created, and the path is clear", func(e *evaluation) (report.Verdict, bool) {
			if !e.obstacle.Clear || !e.Creating() {
				return no, false
			}
			summary := "the kubelet is waiting for the image without reporting a failure, and every check from this node passes: " +
				"the pull may be slow rather than broken"
			if s, err := strconv.ParseFloat(e.Fact(report.IDPull, report.KeyEstimateSeconds), 64); err == nil {
				summary += "; at the rate of earlier test pulls it takes about " + readable.Roughly(time.Duration(s*float64(time.Second)))
			}
			return report.Verdict{
				Fault:       report.FaultUndetermined,
				Cause:       report.Undetermined,
				Confidence:  report.ConfidenceUndetermined,
				Because:     append(slices.Clone(e.obstacle.Goals), report.IDPod),
				Summary:     summary,
				WouldDecide: []string{"wait for the end of the kubelet's own pull", "measure the download rate"},
			}, true
		}},
		{"all-checks-pass", "every check passes", func(e *evaluation) (report.Verdict, bool) {
			v := likelyVerdict(report.Healthy, e.obstacle.Goals...)
			v.WouldDecide = []string{"pull the image: only one byte of its largest layer was checked, not the rest of it, " +
				"the other layers or the runtime's image verifiers"}
			if facts.EveryLayerSeen(e.Evidence) {
				v.WouldDecide = []string{"pull the image: one byte of each layer was checked, " +
					"not the rest of them or the runtime's image verifiers"}
			}
			if question := e.versionQuestion(); question != "" {
				v.WouldDecide = append([]string{question}, v.WouldDecide...)
			}
			return v, e.everyStepSeen() && e.Get(report.IDRuntime).Outcome != report.Error
		}},
		{"reachable-as-far-as-checked", "no check fails, but not every step was seen", func(e *evaluation) (report.Verdict, bool) {
			if !e.obstacle.Clear {
				return no, false
			}
			missing := facts.UnseenSteps(e.Evidence)
			if e.Get(report.IDRuntime).Outcome == report.Error {
				missing = append(missing, report.IDRuntime+": "+e.Get(report.IDRuntime).Summary)
			}
			return report.Verdict{
				Fault:       report.FaultUndetermined,
				Cause:       report.Undetermined,
				Confidence:  report.ConfidenceUndetermined,
				Because:     e.obstacle.Goals,
				Summary:     "reachable as far as checked; not checked: " + strings.Join(missing, "; "),
				WouldDecide: missing,
			}, true
		}},
	}
}

// everyStepSeen reports whether every step on the path to the image was seen to
// work, from the manifest to a byte of a layer. A manifest that was received
// proves what lies before it: name, address, handshake and login.
func (e *evaluation) everyStepSeen() bool {
	return e.obstacle.Clear && len(facts.UnseenSteps(e.Evidence)) == 0
}

// verdictIf weighs an obstacle if it counts.
func (e *evaluation) verdictIf(o facts.Obstacle, counts bool) (report.Verdict, bool) {
	if !counts {
		return report.Verdict{}, false
	}
	return e.weigh(o), true
}

// sandboxImageMissing reports whether the pod waits for the sandbox image, which is then
// the image that was examined.
func (e *evaluation) sandboxImageMissing() bool {
	sandbox := e.Get(report.IDRuntimeSandbox).Evidence
	return e.NoSandbox() && sandbox[report.KeyPresent] == "false" && sandbox[report.KeyImage] == e.Get(report.IDReference).Target
}

// faultIsGone applies where the checks found what the kubelet reported, and do not find it
// any more, while the kubelet has not tried again.
func faultIsGone(e *evaluation) (report.Verdict, bool) {
	pod := e.Get(report.IDPod).Evidence
	was := report.Cause(pod[report.KeyEarlierCause])
	sameMessage := e.Message.Exists() && e.Message.Check.ID == report.IDPod &&
		(e.Message.MayMean(was) || e.Message.Cause == report.Undetermined)
	if was == "" || was.Stage() > report.StageImage || !sameMessage || !e.everyStepSeen() {
		return report.Verdict{}, false
	}
	v := likelyVerdict(report.Recovered, append(slices.Clone(e.obstacle.Goals), report.IDPod)...)
	v.Summary = "the pull works now, as far as checked; the kubelet's last failure (" + string(was) + ") is from before that"
	if at, err := time.Parse(time.RFC3339, pod[report.KeyNextPull]); err == nil {
		v.Summary += ", and it pulls again at about " + readable.Time(at)
	}
	v.WouldDecide = []string{"wait for the kubelet's next attempt"}
	return v, true
}

// disproves reports whether the checks got past the point that the message is
// about. One byte of a layer proves that its host is reachable, not that its
// content is good, and no check runs the node's image verifiers.
func (e *evaluation) disproves(m facts.Message) bool {
	if m.Cause == report.SignatureRejected || e.tokenByPost(m) {
		return false
	}
	blob := slices.ContainsFunc(e.obstacle.Goals, func(id string) bool { return strings.HasPrefix(id, report.FamilyBlob+"/") })
	return m.Stage() <= report.StageImage || blob && m.Cause == report.BlobHostUnreachable
}

// tokenByPost reports whether the runtime failed at a token service to which it
// sends a login by POST, and the checks did not see an answer to that.
func (e *evaluation) tokenByPost(m facts.Message) bool {
	status := e.Fact(report.TokenID(e.UsedHost()), report.KeyPostStatus)
	return m.FromTestPull() && m.Step() == "token" && m.Cause == report.TokenServiceFailed && !e.AnonymousPull() &&
		!strings.HasPrefix(status, "2")
}

// messageOnly returns the verdict where no check found what the message reports.
func (e *evaluation) messageOnly() report.Verdict {
	m := e.Message
	if m.Cause == report.AccessForbidden && m.FromTestPull() && e.AnonymousPull() {
		m.Cause = report.AccessDeniedOrMissing // forbidden to anonymous clients
	}
	domain := e.Domain()
	o := facts.Obstacle{Check: report.Check{Host: domain}, Cause: m.Cause}
	if m.Step() == "token" && m.Cause.OnTheNetwork() {
		// It is about the path to the token service, not to the registry.
		o.Check.Evidence, o.Check.BlockedBy = map[string]string{report.KeyInnerCause: string(m.Cause)}, report.TokenID(domain)
		m.Cause, o.Cause = report.TokenServiceFailed, report.TokenServiceFailed
	}
	because, summary := []string{m.Check.ID}, ""
	if blob := e.Get(report.BlobID(e.UsedHost())); m.Step() == "blob" && m.Cause.AboutLogin() && blob.Is(report.KeyRuntimeWouldSend) {
		// The layers' host refuses the login that the runtime sends along: without it the checks got a layer.
		o.Check, because = blob, []string{blob.ID, m.Check.ID}
		summary = "the layers' host refuses the login that the runtime sends along the redirect to it: " + m.Check.Summary
		o.Check.Evidence = map[string]string{report.KeyInnerCause: string(m.Cause), report.KeyBlobHost: blob.Evidence[report.KeyBlobHost]}
		m.Cause, o.Cause = report.BlobHostUnreachable, report.BlobHostUnreachable
	}
	v := report.Verdict{Cause: m.Cause, Because: because, Confidence: report.Likely, Summary: summary}
	e.assignFault(&v, o)
	if b := e.Get(report.BlobID(e.UsedHost())); len(because) == 1 && m.Stage() == report.StageBlob && b.Evidence[report.KeyBlobHost] != "" {
		v.Because = append(v.Because, b.ID) // the host that serves the layers
	}
	if m.Cause == report.Undetermined {
		v.Confidence = report.ConfidenceUndetermined
		v.Summary = "the runtime's error does not name a cause, and no check from this node found a fault: " + m.Check.Summary
	}
	v.WouldDecide = append(v.WouldDecide, facts.Unchecked(e.Evidence)...)
	return v
}

// staleSettings applies where the runtime fails at what passes with the files
// that it would read if it were started now.
func staleSettings(e *evaluation) (report.Verdict, bool) {
	if !e.obstacle.Clear || !e.Message.Informative() {
		return report.Verdict{}, false
	}
	stale := func(ids ...string) (report.Verdict, bool) {
		v := confirmedVerdict(report.RuntimeConfigStale, append(ids, e.Message.Check.ID)...)
		if !e.Message.FromTestPull() || e.RunsWithUnknown() {
			v.Confidence = report.Likely
			v.WouldDecide = []string{"check whether the pull succeeds after a restart of the runtime"}
		}
		// A test pull was made just now, by the process that has the older settings in
		// memory, while the same passes with those on disk.
		return v, true
	}
	if c := e.Message.Cause; c == report.CertificateUntrusted || c == report.TLSIntercepted {
		for _, t := range e.Below(report.TLSID(e.UsedHost())) {
			if t.Outcome == report.Pass && t.Evidence[report.KeyRootNewer] != "" {
				return stale(report.IDRuntimeCA, t.ID)
			}
		}
	}
	config, s := e.Get(report.IDRuntimeConfig), e.Message.Stage()
	differs := config.Is(report.KeyNewer) && config.Evidence[report.KeyDiffers] != ""
	if (differs || e.RunsWithUnknown()) && s > report.StageLocal && s <= report.StageAnswer && e.configMatters() {
		return stale(append([]string{report.IDRuntimeConfig}, e.obstacle.Goals...)...)
	}
	return report.Verdict{}, false
}

// configMatters reports whether an edited config_path can affect what failed: the
// new directory has something for this registry, or the runtime failed at a host
// that the new one does not name. A token service and a missing tag of the
// registry's own host are the same under any config_path.
func (e *evaluation) configMatters() bool {
	registry := e.Domain()
	hosts := e.Get(report.HostsID(registry))
	at := e.Message.Check.Evidence[report.KeyHost]
	switch e.Message.Cause {
	case report.RegistryUnavailable, report.RateLimited: // the host was reached, and answered so itself
		return at != "" && !slices.Contains(e.Hosts(), at)
	default:
	}
	if at != "" && !slices.Contains(e.Hosts(), at) && e.Message.Step() == "" {
		return true
	}
	configured := hosts.Evidence[report.KeyFile] != "" || strings.Contains(hosts.Evidence[report.KeyOrder], ",")
	return configured && e.Message.Step() != "token"
}
