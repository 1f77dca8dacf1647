package report

import (
	"slices"
	"strconv"
	"strings"
)

// verdictRule gives a verdict if it applies.
type verdictRule struct {
	name string
	say  func(*judge) (Verdict, bool)
}

// sure is a verdict that the evidence proves, with its cause's default fault.
func sure(c Cause, because ...string) Verdict {
	return Verdict{Cause: c, Fault: c.DefaultFault(), Confidence: Confirmed, Because: because}
}

func verdictRules() []verdictRule {
	no := Verdict{}
	return []verdictRule{
		{"the image name cannot be read", func(j *judge) (Verdict, bool) {
			c := j.get("reference")
			return sure(c.Cause, j.because("reference", j.wordsID())...), c.Outcome == Fail
		}},
		{"the pod waits for no image", func(j *judge) (Verdict, bool) {
			p := j.get("pod")
			if p.Outcome != Pass || p.Cause == "" {
				return no, false
			}
			v := sure(p.Cause, "pod")
			if p.Evidence["reason"] == "CreateContainerError" {
				v.Confidence = Likely // unpacking is a part of that
			}
			return v, true
		}},
		{"Never, in the words that also mean present but not for this pod", func(j *judge) (Verdict, bool) {
			if !j.words.proven || j.words.cause != NeverPullNotPresent || j.local().Evidence["present"] != "true" {
				return no, false
			}
			// Newer kubelets say the same of an image that was pulled with
			// credentials that this pod does not have.
			v := sure(PresentNotAuthorized, j.words.check.ID, j.local().ID)
			v.Confidence = Likely
			return v, true
		}},
		{"the text alone proves it", func(j *judge) (Verdict, bool) {
			if !j.words.proven {
				return no, false
			}
			return sure(j.words.cause, j.words.check.ID), true
		}},
		{"the runtime is away", func(j *judge) (Verdict, bool) {
			// One that is only slow to say how it is does not outrank what stands in
			// the way of everybody else, too.
			c := j.get("runtime")
			slow := c.Evidence["why"] == "hung" && c.Evidence["version"] != "" && j.blocked.found()
			return j.verdictIf(finding{check: c, because: []string{"runtime"}}, c.Outcome == Fail && !slow)
		}},
		{"the sandbox image is not to be had", func(j *judge) (Verdict, bool) {
			// What is examined is then that image, not one of the pod's own.
			e := j.get("runtime/sandbox").Evidence
			if e["present"] != "false" || e["image"] != j.get("reference").Target || j.fact("pod", "sandbox") != "absent" {
				return no, false
			}
			return j.verdictIf(j.blocked.rooted(SandboxImageUnavailable, "runtime/sandbox").doubtful("the runtime's own error: kubectl describe pod shows it as FailedCreatePodSandBox"), j.blocked.found())
		}},
		{"the pod has no sandbox yet", func(j *judge) (Verdict, bool) {
			return Verdict{Cause: NotAPullProblem, Fault: FaultNone, Confidence: Likely, Because: []string{"pod"},
				WouldDecide: []string{"what the pod waits for: a volume, its network; kubectl describe pod shows it"}}, j.creating() && j.fact("pod", "sandbox") == "absent" && !j.blocked.found()
		}},
		{"pulls, but for another machine", func(j *judge) (Verdict, bool) {
			if j.get("pull").Outcome != Pass {
				return no, false
			}
			for _, c := range j.checks {
				if c.Kind == KindImage && c.Outcome == Fail && c.Cause == PlatformMismatch {
					// The runtime pulls a single manifest of another architecture
					// without a word; the container then dies with "exec format error".
					v := Verdict{Cause: c.Cause, Fault: c.Cause.DefaultFault(), Confidence: Likely, Because: []string{c.ID, "pull"}}
					if c.Evidence["publisher"] == "true" {
						v.Fault = FaultRegistry
					}
					return v, true
				}
			}
			return no, false
		}},
		{"pulls without the credentials that the node sends", func(j *judge) (Verdict, bool) {
			w := j.said
			if j.get("pull").Outcome != Pass || !j.anonymousPull() || !slices.Contains([]Cause{CredentialsRejected, AccessForbidden, CredentialsExpired}, w.cause) {
				return no, false
			}
			return Verdict{Fault: FaultNode, Cause: w.cause, Confidence: Likely, Because: j.because("pod", "pull"),
				WouldDecide: []string{"which credentials of the node the kubelet sends (credential providers, docker config files): without any the image can be pulled"}}, true
		}},
		{"pulls", func(j *judge) (Verdict, bool) {
			if j.get("pull").Outcome != Pass {
				return no, false
			}
			cause := Healthy
			if j.failed("pod") {
				cause = Recovered
			}
			return sure(cause, "pull"), true
		}},
		{"the kubelet gives up on a pull secret before it asks anybody", func(j *judge) (Verdict, bool) {
			// pkg/credentialprovider/secrets
			c := j.get("credentials")
			return j.verdictIf(finding{check: c, because: []string{"credentials"}}, c.Outcome == Fail && c.Evidence["fatal"] == "true")
		}},
		{"the image is here already", func(j *judge) (Verdict, bool) {
			local := j.local()
			return Verdict{Cause: NotAPullProblem, Fault: FaultNone, Confidence: Likely, Because: j.because(local.ID, "pod"),
				WouldDecide: []string{"the kubelet's next word on this container: the image is on the node"}}, j.creating() && local.Evidence["present"] == "true" && !j.alwaysPulls()
		}},
		{"disk, as the runtime says", func(j *judge) (Verdict, bool) {
			c := j.get("disk")
			return j.verdictIf(finding{check: c, because: []string{"disk"}}, c.Outcome == Fail && j.words.check != nil && j.agree(c.Cause))
		}},
		{"the kubelet got past the login that stops the checks", func(j *judge) (Verdict, bool) {
			f := j.blocked
			if !f.found() || !inCredentials(f.name()) && f.name() != CredentialProviderFailed || f.check.Evidence["anonymous"] != "true" || j.mayKnowMore() == "" || j.words.check == nil || j.words.fresh() ||
				!j.words.tells() || j.agree(f.name()) || j.words.stage() < stageAnswer {
				return no, false
			}
			// A provider that fails now may have answered the kubelet before.
			if c := j.get("credentials"); c.Outcome == Fail && c.Cause != CredentialProviderFailed {
				return no, false
			}
			v := j.wordsAlone()
			v.WouldDecide = append([]string{j.mayKnowMore() + ", not looked at"}, v.WouldDecide...)
			return v, true
		}},
		{"the way is blocked", func(j *judge) (Verdict, bool) {
			return j.verdictIf(j.blocked, j.blocked.found())
		}},
		{"an address that is nobody's, which the checks do not go to", func(j *judge) (Verdict, bool) {
			hosts := j.hosts()
			if j.blocked.open || len(hosts) != 1 || !j.nobodysAddress(hosts[0]) {
				return no, false
			}
			return Verdict{Cause: ResolverWrongAnswer, Fault: FaultNode, Confidence: Likely,
				Because: j.because("dns/"+hosts[0], j.wordsID()), WouldDecide: []string{fromOutside(hosts[0])}}, !j.words.tells() || j.words.stage() <= stageTLS
		}},
		{"the disk, before anything is said", func(j *judge) (Verdict, bool) {
			// Whatever was resolved still has to be written.
			c := j.get("disk")
			return j.verdictIf(finding{check: c, because: []string{"disk"}}, c.Outcome == Fail && j.words.check == nil && c.Evidence["need"] == "")
		}},
		{"a part off the way that the words speak of", func(j *judge) (Verdict, bool) {
			// One address of several, say, at which the runtime may have knocked.
			if !j.blocked.open || j.words.check == nil {
				return no, false
			}
			for _, c := range j.checks {
				if c.Outcome == Fail && (c.Kind == KindDial || c.Kind == KindTLS) && j.agree(c.Cause) && !strings.HasPrefix(c.ID, "elsewhere/") {
					return j.weigh(finding{check: c, because: []string{c.ID}, softened: true}), true
				}
			}
			return no, false
		}},
		{"the runtime runs with older settings", staleSettings},
		{"a mirror that swallows the pull", func(j *judge) (Verdict, bool) {
			// The runtime waits far longer for each of its requests to a mirror
			// than these checks do, before it turns to the next host.
			if !j.blocked.open || !(j.creating() || j.words.cause == PullTimedOut || j.words.cause == ConnectionTimeout || j.pullDidNotEnd()) {
				return no, false
			}
			for _, c := range j.blocked.others {
				if c.Evidence["deadline"] == "true" {
					f := finding{check: c, because: append([]string{c.ID}, j.blocked.goals...)}.rooted(MirrorFaulty)
					return j.weigh(f.doubtful("a pull without this mirror: every other host has the image")), true
				}
			}
			return no, false
		}},
		{"held back behind another pull", func(j *judge) (Verdict, bool) {
			q := j.get("queue")
			if q.Evidence["ahead"] == "" || !j.blocked.open || !(j.creating() || j.words.cause == PullQueueLimited) {
				return no, false
			}
			f := finding{check: q, because: append([]string{"queue"}, j.blocked.goals...)}.rooted(PullQueueLimited)
			return j.weigh(f.doubtful("whether the kubelet pulls one image at a time: serializeImagePulls and maxParallelImagePulls of its configuration")), true
		}},
		{"no room for the test pull", func(j *judge) (Verdict, bool) {
			c := j.get("disk")
			if c.Outcome != Fail || j.fact("pull", "skipped") != "noSpace" || j.words.tells() {
				return no, false
			}
			return j.weigh(finding{check: c, because: []string{"disk", "pull"}}.doubtful("the runtime's own pull")), true
		}},
		{"spoilt on the way through a mirror", func(j *judge) (Verdict, bool) {
			hosts := j.hosts()
			if !j.blocked.open || len(hosts) < 2 || j.words.check == nil || j.words.stage() != stageBlob || j.words.cause == PullTimedOut || j.words.cause == BlobHostUnreachable {
				return no, false
			}
			used, upstream := j.get("manifest/"+j.used()), j.get("manifest/"+hosts[len(hosts)-1])
			if used.Host == upstream.Host || upstream.Outcome != Pass {
				return no, false
			}
			return Verdict{Cause: MirrorFaulty, Fault: MirrorFaulty.DefaultFault(), Confidence: Likely, Because: []string{used.ID, j.words.check.ID, upstream.ID},
				WouldDecide: []string{"a pull without this mirror: " + upstream.Host + " has the image too"}}, true
		}},
		{"a pull that does not end", func(j *judge) (Verdict, bool) {
			if !j.blocked.open || !j.pullDidNotEnd() || j.words.tells() {
				return no, false
			}
			if c, slow := j.waitsBefore(); slow {
				return Verdict{Fault: FaultNone, Cause: Healthy, Confidence: Likely, Because: append([]string{c.ID}, j.blocked.goals...),
					Summary: "the image can be pulled on this node, slowly: " + c.Summary}, true
			}
			v := Verdict{Cause: PullTimedOut, Fault: PullTimedOut.DefaultFault(), Confidence: Likely, Because: append([]string{"pull"}, j.blocked.goals...),
				WouldDecide: []string{"how fast the layers come from there to another node", "whether other downloads of this node hang: the runtime has few places for them"}}
			if !j.slowPull() {
				v.Cause, v.Fault, v.Confidence = Undetermined, FaultUndetermined, Uncertain
				v.Summary = "every check from this node passes, and " + j.get("pull").Summary + ": slow perhaps, or stalled"
				v.WouldDecide = []string{"a test pull that is given more time"}
			}
			return v, true
		}},
		{"words that every check contradicts", func(j *judge) (Verdict, bool) {
			w := j.words
			if w.check == nil || w.cause == Undetermined || !j.blocked.open || w.cause == PullQueueLimited || !j.disproves(w) {
				return no, false
			}
			return Verdict{
				Fault: FaultUndetermined, Cause: Undetermined, Confidence: Uncertain,
				Because:     append([]string{w.check.ID}, j.blocked.goals...),
				Summary:     "the runtime said " + string(w.cause) + ", but every check from this node passes now; it may have been a passing state",
				WouldDecide: append([]string{"the kubelet's next attempt"}, j.unchecked()...),
			}, true
		}},
		{"words alone", func(j *judge) (Verdict, bool) {
			if j.words.check == nil {
				return no, false
			}
			return j.wordsAlone(), true
		}},
		{"being created, and nothing is in the way", func(j *judge) (Verdict, bool) {
			if !j.blocked.open || !j.creating() {
				return no, false
			}
			summary := "the kubelet has been waiting for the image and has reported no failure; every check from this node passes, so the pull may be slow rather than broken"
			if s := j.fact("pull", "estimateSeconds"); s != "" {
				summary += ": at the rate that test pulls had here it takes about " + s + " s"
			}
			return Verdict{
				Fault: FaultUndetermined, Cause: Undetermined, Confidence: Uncertain, Because: append(slices.Clone(j.blocked.goals), "pod"),
				Summary:     summary,
				WouldDecide: []string{"the end of the kubelet's own pull", "how fast the layers come, which was not measured"},
			}, true
		}},
		{"everything passes", func(j *judge) (Verdict, bool) {
			r := j.get("runtime")
			return Verdict{Fault: FaultNone, Cause: Healthy, Confidence: Likely, Because: j.blocked.goals}, j.blocked.open && r.Outcome != Error
		}},
	}
}

// pullDidNotEnd reports whether the test pull was stopped by its own deadline.
func (d *evidence) pullDidNotEnd() bool { return d.fact("pull", "timedOut") == "true" }

// waitsBefore is what the runtime waits for longer than the test pull had,
// before it comes to what works.
func (j *judge) waitsBefore() (Check, bool) {
	host := j.used()
	if name := j.get("dns/" + host); name.Evidence["passedOver"] != "" {
		return name, true // every lookup waits for the silent resolver first
	}
	for _, c := range j.below("dns/" + host + "/") {
		if c.Outcome == Pass && (c.Evidence["A"] == "timeout" || c.Evidence["AAAA"] == "timeout") {
			return c, true // and for the answer of the other family
		}
	}
	had, err := strconv.ParseFloat(j.fact("pull", "seconds"), 64)
	for _, c := range j.below("dial/" + host + "/") {
		after, bad := strconv.ParseFloat(c.Evidence["afterMs"], 64)
		if c.Evidence["taken"] == "true" && err == nil && bad == nil && after >= 1000*had {
			for _, dead := range j.below("dial/" + host + "/") {
				if dead.Outcome == Fail {
					return dead, true
				}
			}
		}
	}
	return Check{}, false
}

// slowPull reports whether an image that small should have come in the time
// that the test pull had, on any line that is of use to a cluster.
func (j *judge) slowPull() bool {
	const slowest = 128 << 10 // bytes a second
	seconds, err := strconv.ParseFloat(j.fact("pull", "seconds"), 64)
	size, bad := strconv.ParseFloat(j.fact("image/"+j.used(), "size"), 64)
	return err == nil && bad == nil && size < slowest*seconds
}

// used is the host whose manifest the runtime would take; empty if none has it.
func (j *judge) used() string {
	for _, h := range j.hosts() {
		if j.get("manifest/"+h).Outcome == Pass {
			return h
		}
	}
	return ""
}

// verdictIf weighs a finding if it counts.
func (j *judge) verdictIf(f finding, counts bool) (Verdict, bool) {
	if !counts {
		return Verdict{}, false
	}
	return j.weigh(f), true
}

// disproves reports whether the checks came past the place of which the words
// speak. That one byte of a layer comes proves the way to it, not its content,
// and no check asks the node's image verifiers.
func (j *judge) disproves(w words) bool {
	if w.cause == SignatureRejected {
		return false
	}
	blob := slices.ContainsFunc(j.blocked.goals, func(id string) bool { return strings.HasPrefix(id, "blob/") })
	return w.stage() <= stageImage || blob && w.cause == BlobHostUnreachable
}

// wordsAlone is the verdict where no check found what the runtime complains of.
func (j *judge) wordsAlone() Verdict {
	w := j.words
	if w.cause == AccessForbidden && w.fresh() && j.anonymousPull() {
		w.cause = AccessDeniedOrMissing // forbidden to nobody in particular
	}
	domain := j.fact("reference", "domain")
	f := finding{check: Check{Host: domain}, cause: w.cause}
	if s := stage(w.cause); w.check.Evidence["step"] == "token" && s >= stageDNS && s <= stageTLS {
		// Said of the way to the token service, not of that to the registry.
		f.check.Evidence, f.check.BlockedBy = map[string]string{"innerCause": string(w.cause)}, "token/"+domain
		w.cause, f.cause = TokenServiceFailed, TokenServiceFailed
	}
	v := Verdict{Cause: w.cause, Because: []string{w.check.ID}, Confidence: Likely}
	j.whoActs(&v, f)
	if b := j.get("blob/" + j.used()); w.stage() == stageBlob && b.Evidence["blobHost"] != "" {
		v.Because = append(v.Because, b.ID) // the layers come from there
	}
	if w.cause == Undetermined {
		v.Confidence = Uncertain
		v.Summary = "the runtime's words do not say why, and no check from this node found a fault: " + w.check.Summary
	}
	v.WouldDecide = append(v.WouldDecide, j.unchecked()...)
	return v
}

// staleSettings speaks where the runtime fails at what passes by the files
// that it would read if it were started now.
func staleSettings(j *judge) (Verdict, bool) {
	if !j.blocked.open || !j.words.tells() {
		return Verdict{}, false
	}
	stale := func(ids ...string) (Verdict, bool) {
		v := Verdict{Cause: RuntimeConfigStale, Fault: RuntimeConfigStale.DefaultFault(), Confidence: Likely, Because: append(ids, j.words.check.ID)}
		if j.words.fresh() {
			// Said just now by the process that holds the older settings in
			// memory, of what passes by those on disk.
			v.Confidence = Confirmed
		} else {
			v.WouldDecide = []string{"whether the pull works after a restart of the runtime"}
		}
		return v, true
	}
	if c := j.words.cause; c == CertificateUntrusted || c == TLSIntercepted {
		for _, t := range j.below("tls/" + j.used() + "/") {
			if t.Outcome == Pass && t.Evidence["rootNewer"] != "" {
				return stale("runtime/ca", t.ID)
			}
		}
	}
	if s := j.words.stage(); j.fact("runtime/config.toml", "newer") == "true" && j.fact("runtime/config.toml", "differs") != "" && s > stageLocal && s <= stageAnswer {
		return stale(append([]string{"runtime/config.toml"}, j.blocked.goals...)...)
	}
	return Verdict{}, false
}
