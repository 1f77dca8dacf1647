package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verdictRule gives a verdict if it applies.
type verdictRule struct {
	id       string
	when     string // when it applies, in one sentence
	evaluate func(*evaluation) (Verdict, bool)
}

// confirmed returns a verdict that the evidence proves, with its cause's default
// fault.
func confirmed(c Cause, because ...string) Verdict {
	return Verdict{Cause: c, Fault: c.DefaultFault(), Confidence: Confirmed, Because: because}
}

// likely returns a verdict that one source supports, with its cause's default
// fault.
func likely(c Cause, because ...string) Verdict {
	return Verdict{Cause: c, Fault: c.DefaultFault(), Confidence: Likely, Because: because}
}

// verdictsBeforeThePull decide without the path to the image: by the image's
// name, the pod, the kubelet's message, the runtime and the sandbox.
func verdictsBeforeThePull() []verdictRule {
	no := Verdict{}
	return []verdictRule{
		{"invalid-reference", "the image name is not valid", func(e *evaluation) (Verdict, bool) {
			c := e.get(IDReference)
			return confirmed(c.Cause, e.existing(IDReference, e.messageID())...), c.Outcome == Fail
		}},
		{"pod-not-waiting", "the pod is not waiting for an image", func(e *evaluation) (Verdict, bool) {
			c := e.get(IDPod)
			if c.Outcome != Pass || c.Cause == "" {
				return no, false
			}
			v := confirmed(c.Cause, IDPod)
			if c.Evidence[KeyReason] == "CreateContainerError" {
				v.Confidence = Likely // unpacking is a part of that
			}
			return v, true
		}},
		{"never-but-present", "the message of policy Never, while the image is present", func(e *evaluation) (Verdict, bool) {
			if !e.message.proven || e.message.cause != NeverPullNotPresent || !e.present() {
				return no, false
			}
			// Newer kubelets report the same for an image that was pulled with
			// credentials that this pod does not have.
			return likely(PresentNotAuthorized, e.message.check.ID, e.localImages().ID), true
		}},
		{"message-proves-cause", "the message alone proves the cause", func(e *evaluation) (Verdict, bool) {
			// What a registry says of an invalid name is not proven against one that parses.
			parses := e.message.cause == InvalidReference && e.get(IDReference).Outcome == Pass
			if !e.message.proven || parses {
				return no, false
			}
			return confirmed(e.message.cause, e.message.check.ID), true
		}},
		{"runtime-unavailable", "the container runtime does not answer", func(e *evaluation) (Verdict, bool) {
			// A runtime that is only slow to report its status does not outrank an
			// obstacle that every client meets.
			c := e.get(IDRuntime)
			slow := c.Evidence[KeyWhy] == "hung" && c.Evidence[KeyVersion] != "" && e.obstacle.found()
			return e.verdictIf(obstacle{check: c, because: []string{IDRuntime}}, c.Outcome == Fail && !slow)
		}},
		{"sandbox-image-unavailable", "the sandbox image is missing, and its path is blocked", func(e *evaluation) (Verdict, bool) {
			// The image that was examined is then the sandbox image, not one of the pod's.
			sandbox := e.get(IDRuntimeSandbox).Evidence
			if sandbox[KeyPresent] != "false" || sandbox[KeyImage] != e.get(IDReference).Target || !e.noSandbox() {
				return no, false
			}
			o := e.obstacle.withRootCause(SandboxImageUnavailable, IDRuntimeSandbox)
			o = o.likelyAtMost()
			return e.verdictIf(o, e.obstacle.found())
		}},
		{"sandbox-not-ready", "the pod has no sandbox yet, and the path is not blocked", func(e *evaluation) (Verdict, bool) {
			v := likely(NotAPullProblem, IDPod)
			v.WouldDecide = []string{"check what the pod is waiting for: a volume, its network; kubectl describe pod shows it"}
			return v, e.creating() && e.noSandbox() && !e.obstacle.found()
		}},
	}
}

// verdictsOfTheTestPull decide by the runtime's test pull, by what is on the
// node, and by credentials that stop either.
func verdictsOfTheTestPull() []verdictRule {
	no := Verdict{}
	return []verdictRule{
		{"pulls-other-platform", "the image can be pulled, but is for another platform", func(e *evaluation) (Verdict, bool) {
			if e.get(IDPull).Outcome != Pass {
				return no, false
			}
			for _, c := range e.checks {
				if c.Kind == KindImage && c.Outcome == Fail && c.Cause == PlatformMismatch {
					// The runtime pulls a single manifest of another architecture without an
					// error; the container then fails with "exec format error".
					v := likely(c.Cause, c.ID, IDPull)
					if c.Is(KeyPublisher) {
						v.Fault = FaultRegistry
					}
					return v, true
				}
			}
			return no, false
		}},
		{"pulls-without-node-credentials", "the image can be pulled only without the node's credentials", func(e *evaluation) (Verdict, bool) {
			refused := []Cause{CredentialsRejected, AccessForbidden, CredentialsExpired}
			if e.get(IDPull).Outcome != Pass || !e.anonymousPull() || !slices.Contains(refused, e.kubelet.cause) {
				return no, false
			}
			v := likely(e.kubelet.cause, e.existing(IDPod, IDPull)...)
			v.Fault = FaultNode
			v.WouldDecide = []string{"check which of the node's credentials the kubelet sends (credential providers, docker config files): " +
				"without credentials the image can be pulled"}
			return v, true
		}},
		{"pulls", "the test pull succeeded", func(e *evaluation) (Verdict, bool) {
			if e.get(IDPull).Outcome != Pass {
				return no, false
			}
			cause := Healthy
			if e.failed(IDPod) {
				cause = Recovered
			}
			return confirmed(cause, IDPull), true
		}},
		{"malformed-secret-stops-kubelet", "a malformed pull secret stops the kubelet before any request", func(e *evaluation) (Verdict, bool) {
			// pkg/credentialprovider/secrets
			c := e.get(IDCredentials)
			return e.verdictIf(obstacle{check: c, because: []string{IDCredentials}}, c.Outcome == Fail && c.Is(KeyFatal))
		}},
		{"image-present", "the image is on the node already", func(e *evaluation) (Verdict, bool) {
			v := likely(NotAPullProblem, e.existing(e.localImages().ID, IDPod)...)
			v.WouldDecide = []string{"wait for the kubelet's next status of this container: the image is on the node"}
			return v, e.creating() && e.present() && !e.alwaysPulls()
		}},
		{"disk-confirmed-by-message", "the disk has the fault that the message names", func(e *evaluation) (Verdict, bool) {
			c := e.get(IDDisk)
			return e.verdictIf(obstacle{check: c, because: []string{IDDisk}}, c.Outcome == Fail && e.message.mayMean(c.Cause))
		}},
		{"kubelet-passed-login", "the kubelet got past the login that stops the checks", func(e *evaluation) (Verdict, bool) {
			o := e.obstacle
			login := o.rootCause().AboutLogin() || o.rootCause() == CredentialProviderFailed
			if !o.found() || !login || !o.check.Is(KeyAnonymous) || e.unreadSources() == "" || e.message.fromTestPull() ||
				!e.message.informative() || e.message.mayMean(o.rootCause()) || e.message.stage() < StageAnswer {
				return no, false
			}
			// A provider that fails now may have answered the kubelet before.
			if c := e.get(IDCredentials); c.Outcome == Fail && c.Cause != CredentialProviderFailed {
				return no, false
			}
			v := e.messageOnly()
			v.WouldDecide = append([]string{"check " + e.unreadSources() + " (not read)"}, v.WouldDecide...)
			return v, true
		}},
	}
}

// verdictsOnThePath decide by what blocks the path to the image, or part of it.
func verdictsOnThePath() []verdictRule {
	no := Verdict{}
	return []verdictRule{
		{"path-blocked", "a check on the runtime's path failed", func(e *evaluation) (Verdict, bool) {
			return e.verdictIf(e.obstacle, e.obstacle.found())
		}},
		{"impossible-address", "the registry has an impossible address, which the checks do not contact", func(e *evaluation) (Verdict, bool) {
			hosts := e.hosts()
			if e.obstacle.clear || len(hosts) != 1 || !impossibleAddress(e.evidence, hosts[0]) {
				return no, false
			}
			v := likely(ResolverWrongAnswer, e.existing(DNSID(hosts[0]), e.messageID())...)
			v.WouldDecide = []string{fromOutside(hosts[0])}
			return v, !e.message.informative() || e.message.stage() <= StageTLS
		}},
		{"disk-without-message", "the disk has a fault, and there is no message yet", func(e *evaluation) (Verdict, bool) {
			// The image still has to be written, whatever was resolved.
			c := e.get(IDDisk)
			counts := c.Outcome == Fail && !e.message.exists() && c.Evidence[KeyNeed] == ""
			return e.verdictIf(obstacle{check: c, because: []string{IDDisk}}, counts)
		}},
		{"message-names-off-path-address", "the message names a cause found at an address that the runtime does not use", offPathAddress},
	}
}

// offPathAddress applies where one address of several fails, for example, which the
// runtime may have tried.
func offPathAddress(e *evaluation) (Verdict, bool) {
	if !e.obstacle.clear || !e.message.exists() {
		return Verdict{}, false
	}
	for _, c := range e.checks {
		if c.Outcome == Fail && (c.Kind == KindDial || c.Kind == KindTLS) && e.message.mayMean(c.Cause) && !c.Elsewhere() {
			return e.weigh(obstacle{check: c, because: []string{c.ID}, ruleChosen: true}), true
		}
	}
	return Verdict{}, false
}

// verdictsOfAClearPath decide where every check passes and the pull still fails.
func verdictsOfAClearPath() []verdictRule {
	no := Verdict{}
	return []verdictRule{
		{"runtime-config-stale", "the runtime runs with older settings than those on disk", staleSettings},
		{"mirror-times-out", "a mirror times out before a host that has the image", func(e *evaluation) (Verdict, bool) {
			// The runtime waits far longer for each of its requests to a mirror than these
			// checks do, before it tries the next host.
			timedOut := e.creating() || e.message.cause == PullTimedOut || e.message.cause == ConnectionTimeout || e.pullTimedOut()
			if !e.obstacle.clear || !timedOut {
				return no, false
			}
			for _, c := range e.obstacle.others {
				if c.Is(KeyDeadline) {
					o := obstacle{check: c, because: append([]string{c.ID}, e.obstacle.goals...)}.withRootCause(MirrorFaulty)
					return e.weigh(o.likelyAtMost("pull without this mirror: every other host has the image")), true
				}
			}
			return no, false
		}},
		{"queued-behind-pull", "the pull waits behind another one", func(e *evaluation) (Verdict, bool) {
			c := e.get(IDQueue)
			if c.Evidence[KeyAhead] == "" || !e.obstacle.clear || !(e.creating() || e.message.cause == PullQueueLimited) {
				return no, false
			}
			o := obstacle{check: c, because: append([]string{IDQueue}, e.obstacle.goals...)}.withRootCause(PullQueueLimited)
			return e.weigh(o.likelyAtMost("check whether the kubelet pulls one image at a time: " +
				"serializeImagePulls and maxParallelImagePulls in its configuration")), true
		}},
		{"no-space-for-test-pull", "the disk has no space for the test pull", func(e *evaluation) (Verdict, bool) {
			c := e.get(IDDisk)
			if c.Outcome != Fail || e.fact(IDPull, KeySkipped) != "noSpace" || e.message.informative() {
				return no, false
			}
			return e.weigh(obstacle{check: c, because: []string{IDDisk, IDPull}}.likelyAtMost("wait for the runtime's own pull")), true
		}},
		{"mirror-corrupts-layers", "the layers of a mirror are bad, and the upstream has the image too", func(e *evaluation) (Verdict, bool) {
			hosts := e.hosts()
			if !e.obstacle.clear || len(hosts) < 2 || !e.message.exists() || e.message.stage() != StageBlob ||
				e.message.cause == PullTimedOut || e.message.cause == BlobHostUnreachable {
				return no, false
			}
			used, upstream := e.get(ManifestID(e.usedHost())), e.get(ManifestID(hosts[len(hosts)-1]))
			if used.Host == upstream.Host || upstream.Outcome != Pass {
				return no, false
			}
			v := likely(MirrorFaulty, used.ID, e.message.check.ID, upstream.ID)
			v.Summary = "mirror " + used.Host + " sends bad layers: " + e.message.check.Summary +
				"; " + cmp.Or(e.fact(IDRuntime, KeyName), "the runtime") + " does not try the upstream then"
			v.WouldDecide = []string{"pull without this mirror: " + upstream.Host + " has the image too"}
			return v, true
		}},
		{"test-pull-timed-out", "the test pull timed out", func(e *evaluation) (Verdict, bool) {
			if !e.obstacle.clear || !e.pullTimedOut() || e.message.informative() {
				return no, false
			}
			if c, slow := e.slowBefore(); slow {
				if !e.everyStepSeen() {
					return no, false
				}
				v := likely(Healthy, append([]string{c.ID}, e.obstacle.goals...)...)
				v.Summary = "the image can be pulled on this node, slowly: " + c.Summary
				return v, true
			}
			v := likely(PullTimedOut, append([]string{IDPull}, e.obstacle.goals...)...)
			v.WouldDecide = []string{
				"measure how fast another node downloads these layers",
				"check whether other downloads on this node hang: the runtime limits parallel downloads",
			}
			if !e.tooSlow() {
				v.Cause, v.Fault, v.Confidence = Undetermined, FaultUndetermined, ConfidenceUndetermined
				v.Summary = "every check from this node passes, but " + e.get(IDPull).Summary + ": slow or stalled"
				v.WouldDecide = []string{"pull with more time: crictl pull"}
			}
			return v, true
		}},
	}
}

// verdictsOfTheMessage decide by the runtime's message, or by its absence.
func verdictsOfTheMessage() []verdictRule {
	no := Verdict{}
	return []verdictRule{
		{"message-disproved", "every check contradicts the message", func(e *evaluation) (Verdict, bool) {
			m := e.message
			if !m.exists() || m.cause == Undetermined || !e.obstacle.clear || m.cause == PullQueueLimited || !e.disproves(m) {
				return no, false
			}
			return Verdict{
				Fault:       FaultUndetermined,
				Cause:       Undetermined,
				Confidence:  ConfidenceUndetermined,
				Because:     append([]string{m.check.ID}, e.obstacle.goals...),
				Summary:     "the runtime reported " + string(m.cause) + ", but every check passes now: possibly transient",
				WouldDecide: append([]string{"wait for the kubelet's next attempt"}, unchecked(e.evidence)...),
			}, true
		}},
		{"message-only", "only the message shows a fault", func(e *evaluation) (Verdict, bool) {
			if !e.message.exists() {
				return no, false
			}
			return e.messageOnly(), true
		}},
		{"creating-on-clear-path", "the container is being created, and the path is clear", func(e *evaluation) (Verdict, bool) {
			if !e.obstacle.clear || !e.creating() {
				return no, false
			}
			summary := "the kubelet is waiting for the image without reporting a failure, and every check from this node passes: " +
				"the pull may be slow rather than broken"
			if s, err := strconv.ParseFloat(e.fact(IDPull, KeyEstimateSeconds), 64); err == nil {
				summary += "; at the rate of earlier test pulls it takes about " + Roughly(time.Duration(s*float64(time.Second)))
			}
			return Verdict{
				Fault:       FaultUndetermined,
				Cause:       Undetermined,
				Confidence:  ConfidenceUndetermined,
				Because:     append(slices.Clone(e.obstacle.goals), IDPod),
				Summary:     summary,
				WouldDecide: []string{"wait for the end of the kubelet's own pull", "measure the download rate"},
			}, true
		}},
		{"all-checks-pass", "every check passes", func(e *evaluation) (Verdict, bool) {
			v := likely(Healthy, e.obstacle.goals...)
			v.WouldDecide = []string{"pull the image: only one byte of its largest layer was checked, not the rest of it, " +
				"the other layers or the runtime's image verifiers"}
			if e.everyLayerSeen() {
				v.WouldDecide = []string{"pull the image: one byte of each layer was checked, " +
					"not the rest of them or the runtime's image verifiers"}
			}
			return v, e.everyStepSeen() && e.get(IDRuntime).Outcome != Error
		}},
		{"reachable-as-far-as-checked", "no check fails, but not every step was seen", func(e *evaluation) (Verdict, bool) {
			if !e.obstacle.clear {
				return no, false
			}
			missing := e.unseenSteps()
			if e.get(IDRuntime).Outcome == Error {
				missing = append(missing, IDRuntime+": "+e.get(IDRuntime).Summary)
			}
			return Verdict{
				Fault:       FaultUndetermined,
				Cause:       Undetermined,
				Confidence:  ConfidenceUndetermined,
				Because:     e.obstacle.goals,
				Summary:     "reachable as far as checked; not checked: " + strings.Join(missing, "; "),
				WouldDecide: missing,
			}, true
		}},
	}
}

// slowBefore returns the check of what the runtime waits for, longer than the
// test pull could, before it uses what works.
func (e *evaluation) slowBefore() (Check, bool) {
	host := e.usedHost()
	if name := e.get(DNSID(host)); name.Evidence[KeyPassedOver] != "" {
		return name, true // every lookup waits for the silent resolver first
	}
	for _, c := range e.below(DNSID(host)) {
		if c.Outcome == Pass && (c.Evidence[KeyA] == "timeout" || c.Evidence[KeyAAAA] == "timeout") {
			return c, true // and for the answer of the other address family
		}
	}
	seconds, err := strconv.ParseFloat(e.fact(IDPull, KeySeconds), 64)
	if err != nil {
		return Check{}, false
	}
	for _, c := range e.below(DialID(host)) {
		after, err := strconv.ParseFloat(c.Evidence[KeyAfterMs], 64)
		if !c.Is(KeyTaken) || err != nil || after < 1000*seconds {
			continue
		}
		for _, dead := range e.below(DialID(host)) {
			if dead.Outcome == Fail {
				return dead, true
			}
		}
	}
	return Check{}, false
}

// tooSlow reports whether an image of this size should have been pulled in the
// test pull's time, over any line that is of use to a cluster.
func (e *evaluation) tooSlow() bool {
	const slowest = 128 << 10 // bytes a second
	seconds, err := strconv.ParseFloat(e.fact(IDPull, KeySeconds), 64)
	size, sizeErr := strconv.ParseFloat(e.fact(ImageID(e.usedHost()), KeySize), 64)
	return err == nil && sizeErr == nil && size < slowest*seconds
}

// everyStepSeen reports whether every step on the path to the image was seen to
// work, from the manifest to a byte of a layer. A manifest that was received
// proves what lies before it: name, address, handshake and login.
func (e *evaluation) everyStepSeen() bool { return e.obstacle.clear && len(e.unseenSteps()) == 0 }

// everyLayerSeen reports whether each layer of the image was found.
func (e *evaluation) everyLayerSeen() bool {
	return slices.ContainsFunc(e.below(familyBlob), func(c Check) bool {
		seen, all, asked := strings.Cut(c.Evidence[KeyLayersSeen], " of ")
		return asked && seen == all
	})
}

// unseenSteps says which steps on the path to the image were not seen to work: a
// step that was skipped, refused, cut short or not planned at all.
func (e *evaluation) unseenSteps() []string {
	host := e.usedHost()
	var out []string
	miss := func(c Check, id string) { out = append(out, cmp.Or(c.ID, id)+": "+cmp.Or(c.Summary, "not checked")) }
	if c := e.get(IDReference); c.Outcome != Pass {
		miss(c, IDReference)
	}
	if c := e.get(ManifestID(host)); c.Is(KeyNoContentType) {
		out = append(out, c.ID+": the answer has no Content-Type, and the runtime treats such a manifest as a layer")
	}
	for _, id := range []string{ManifestID(host), ImageID(host)} {
		if what := e.fact(id, KeyNotSeen); what != "" {
			out = append(out, id+": not seen: "+what)
		} else if c := e.get(id); c.Outcome != Pass {
			miss(c, id)
		}
	}
	blobs := e.below(familyBlob)
	if !slices.ContainsFunc(blobs, func(c Check) bool { return c.Outcome == Pass && c.Evidence[KeyNotSeen] == "" }) {
		miss(e.get(BlobID(host)), BlobID(host))
	}
	return out
}

// verdictIf weighs an obstacle if it counts.
func (e *evaluation) verdictIf(o obstacle, counts bool) (Verdict, bool) {
	if !counts {
		return Verdict{}, false
	}
	return e.weigh(o), true
}

// disproves reports whether the checks got past the point that the message is
// about. One byte of a layer proves that its host is reachable, not that its
// content is good, and no check runs the node's image verifiers.
func (e *evaluation) disproves(m message) bool {
	if m.cause == SignatureRejected || e.tokenByPost(m) {
		return false
	}
	blob := slices.ContainsFunc(e.obstacle.goals, func(id string) bool { return strings.HasPrefix(id, familyBlob+"/") })
	return m.stage() <= StageImage || blob && m.cause == BlobHostUnreachable
}

// tokenByPost reports whether the runtime failed at a token service to which it
// sends a login by POST, and the checks did not see an answer to that.
func (e *evaluation) tokenByPost(m message) bool {
	status := e.fact(TokenID(e.usedHost()), KeyPostStatus)
	return m.fromTestPull() && m.step() == "token" && m.cause == TokenServiceFailed && !e.anonymousPull() && !strings.HasPrefix(status, "2")
}

// messageOnly returns the verdict where no check found what the message reports.
func (e *evaluation) messageOnly() Verdict {
	m := e.message
	if m.cause == AccessForbidden && m.fromTestPull() && e.anonymousPull() {
		m.cause = AccessDeniedOrMissing // forbidden to anonymous clients
	}
	domain := e.fact(IDReference, KeyDomain)
	o := obstacle{check: Check{Host: domain}, cause: m.cause}
	if m.step() == "token" && m.cause.OnTheNetwork() {
		// It is about the path to the token service, not to the registry.
		o.check.Evidence, o.check.BlockedBy = map[string]string{KeyInnerCause: string(m.cause)}, TokenID(domain)
		m.cause, o.cause = TokenServiceFailed, TokenServiceFailed
	}
	v := Verdict{Cause: m.cause, Because: []string{m.check.ID}, Confidence: Likely}
	e.assignFault(&v, o)
	if b := e.get(BlobID(e.usedHost())); m.stage() == StageBlob && b.Evidence[KeyBlobHost] != "" {
		v.Because = append(v.Because, b.ID) // the host that serves the layers
	}
	if m.cause == Undetermined {
		v.Confidence = ConfidenceUndetermined
		v.Summary = "the runtime's error does not name a cause, and no check from this node found a fault: " + m.check.Summary
	}
	v.WouldDecide = append(v.WouldDecide, unchecked(e.evidence)...)
	return v
}

// staleSettings applies where the runtime fails at what passes with the files
// that it would read if it were started now.
func staleSettings(e *evaluation) (Verdict, bool) {
	if !e.obstacle.clear || !e.message.informative() {
		return Verdict{}, false
	}
	stale := func(ids ...string) (Verdict, bool) {
		v := confirmed(RuntimeConfigStale, append(ids, e.message.check.ID)...)
		if !e.message.fromTestPull() {
			v.Confidence = Likely
			v.WouldDecide = []string{"check whether the pull succeeds after a restart of the runtime"}
		}
		// A test pull was made just now, by the process that has the older settings in
		// memory, while the same passes with those on disk.
		return v, true
	}
	if c := e.message.cause; c == CertificateUntrusted || c == TLSIntercepted {
		for _, t := range e.below(TLSID(e.usedHost())) {
			if t.Outcome == Pass && t.Evidence[KeyRootNewer] != "" {
				return stale(IDRuntimeCA, t.ID)
			}
		}
	}
	config, s := e.get(IDRuntimeConfig), e.message.stage()
	differs := config.Is(KeyNewer) && config.Evidence[KeyDiffers] != ""
	if differs && s > StageLocal && s <= StageAnswer && e.configMatters() {
		return stale(append([]string{IDRuntimeConfig}, e.obstacle.goals...)...)
	}
	return Verdict{}, false
}

// configMatters reports whether an edited config_path can affect what failed: the
// new directory has something for this registry, or the runtime failed at a host
// that the new one does not name. A token service and a missing tag of the
// registry's own host are the same under any config_path.
func (e *evaluation) configMatters() bool {
	registry := e.fact(IDReference, KeyDomain)
	hosts := e.get(HostsID(registry))
	at := e.message.check.Evidence[KeyHost]
	if at != "" && !slices.Contains(e.hosts(), at) && e.message.step() == "" {
		return true
	}
	configured := hosts.Evidence[KeyFile] != "" || strings.Contains(hosts.Evidence[KeyOrder], ",")
	return configured && e.message.step() != "token"
}
