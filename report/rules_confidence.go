package report

// confidenceRule lowers a verdict to likely, and may say what would decide.
type confidenceRule struct {
	id      string
	when    string // when it applies, in one sentence
	applies func(e *evaluation, v Verdict, o obstacle) (wouldDecide string, applies bool)
}

func confidenceRules() []confidenceRule {
	return []confidenceRule{
		{"kubelet-not-at-image-yet", "the kubelet has not come to the image yet", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			return "check what the pod is waiting for first: it has no sandbox yet",
				e.creating() && e.noSandbox() && o.rootCause() != SandboxImageUnavailable
		}},
		{"test-pull-lacks-credentials", "the kubelet may have more credentials", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			anonymousTestPull := e.message.fromTestPull() && e.anonymousPull()
			kubeletDisagrees := e.kubelet.exists() && !e.kubelet.mayMean(o.rootCause())
			return "wait for the kubelet's own message: it may have credentials from " + e.unreadSources(),
				e.unreadSources() != "" && o.rootCause().AboutLogin() && anonymousTestPull && kubeletDisagrees
		}},
		{"present-by-now", "the image was pulled to the node in the meantime", func(e *evaluation, _ Verdict, o obstacle) (string, bool) {
			return "wait for the kubelet's next attempt: the image is on the node now, so it should succeed",
				e.present() && o.rootCause().Stage() == StageAnswer && !e.alwaysPulls()
		}},
	}
}
