package report

// confidenceRule lowers a verdict to likely, and may say what would decide.
type confidenceRule struct {
	id      string
	when    string // when it applies, in one sentence
	applies func(e *evaluation, v Verdict, o obstacle) (wouldDecide string, applies bool)
}

func confidenceRules() []confidenceRule {
	return []confidenceRule{
		{"check-timed-out", "the check timed out before the runtime would", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			if e.message.exists() {
				return "", o.check.Is(KeyDeadline)
			}
			return "the runtime's own error (after its longer timeout, usually 30 s or more)", o.check.Is(KeyDeadline)
		}},
		{"kubelet-not-at-image-yet", "the kubelet has not come to the image yet", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			return "what the pod is waiting for first: it has no sandbox yet",
				e.creating() && e.noSandbox() && o.rootCause() != SandboxImageUnavailable
		}},
		{"repository-unknown", "it is not known whether the repository exists", func(_ *evaluation, _ Verdict, o obstacle) (string, bool) {
			return "", o.check.Evidence[KeyRepository] == "unknown"
		}},
		{"forbidden-may-be-expired", "a 403 may mean an expired password", func(_ *evaluation, _ Verdict, o obstacle) (string, bool) {
			return "whether the credentials have expired: some registries answer 403 then",
				o.rootCause() == AccessForbidden && o.check.Evidence[KeyAuth] == "basic" && o.check.Evidence[KeyCredentialExpires] == ""
		}},
		{"forbidden-by-token-service", "a token service answers 403 for many reasons", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			return "whether the credentials are still valid and the repository exists: token services answer 403 in these cases, too",
				o.rootCause() == AccessForbidden && e.get(o.check.BlockedBy).Kind == KindToken && o.check.Evidence[KeyCredentialExpires] == ""
		}},
		{"existence-hidden", "the registry hides what does not exist", func(_ *evaluation, _ Verdict, o obstacle) (string, bool) {
			return "whether the repository exists: " + o.check.Host + " answers the same for one that does not",
				o.rootCause() == AccessForbidden && o.check.Evidence[KeyExistence] == "hidden"
		}},
		{"need-estimated", "the space that the image needs is an estimate", func(_ *evaluation, _ Verdict, o obstacle) (string, bool) {
			return "", o.check.Kind == KindDisk && o.check.Is(KeyEstimated)
		}},
		{"test-pull-lacks-credentials", "the kubelet may have more credentials", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			anonymousTestPull := e.message.fromTestPull() && e.anonymousPull()
			kubeletDisagrees := e.kubelet.exists() && !e.kubelet.mayMean(o.rootCause())
			return "the kubelet's own message: it may have credentials from " + e.unreadSources(),
				e.unreadSources() != "" && inCredentials(o.rootCause()) && anonymousTestPull && kubeletDisagrees
		}},
		{"provider-timed-out", "a credential provider timed out early", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			for _, c := range e.below(familyProvider) {
				if o.rootCause() == CredentialProviderFailed && c.Outcome == Fail && c.Is(KeyDeadline) {
					return "the same provider with the kubelet's timeout of one minute", true
				}
			}
			return "", false
		}},
		{"present-by-now", "the image was pulled to the node in the meantime", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			return "the kubelet's next attempt: the image is on the node by now",
				e.present() && stage(o.rootCause()) == stageAnswer && !e.alwaysPulls()
		}},
		{"proxy-unknown", "the runtime may use a proxy", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			return "the runtime's proxy setting, which could not be read",
				beforeTLS(o.rootCause()) && e.get(IDRuntimeProxy).Outcome == Skipped
		}},
		{"secrets-not-read", "the pod's secrets were not read", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			c := e.get(IDCredentials)
			return "the same request with the kubelet's credentials: " + c.Summary, c.Outcome == Skipped && stage(o.rootCause()) == stageAnswer
		}},
		{"other-name-sources", "the runtime may resolve names by other means", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			others := e.fact(DNSID(o.check.Host), KeyNsswitchOthers)
			return "the answer of nsswitch.conf's other sources (" + others + ") for " + o.check.Host,
				others != "" && stage(o.rootCause()) == stageDNS
		}},
		{"one-clock-against-one", "only one server's clock contradicts this node's", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			n := e.fact(ClockID(o.check.Host), KeyServers)
			return "the time by another clock: only the clock of " + o.check.Host + " contradicts this node's",
				o.rootCause() == ClockSkewed && (n == "" || n == "1")
		}},
	}
}
