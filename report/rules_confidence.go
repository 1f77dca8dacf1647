package report

// doubtRule lowers a verdict to likely, and may say what would decide.
type doubtRule struct {
	name  string
	holds func(j *judge, v Verdict, f finding) (decides string, doubtful bool)
}

func doubtRules() []doubtRule {
	return []doubtRule{
		{"the check gave up before the runtime would", func(j *judge, _ Verdict, f finding) (string, bool) {
			if f.check.Evidence["deadline"] != "true" {
				return "", false
			}
			if j.words.check == nil {
				return "the runtime's own error, which comes when its longer deadline has passed", true
			}
			return "", true
		}},
		{"the kubelet has not come to the image yet", func(j *judge, _ Verdict, f finding) (string, bool) {
			return "what the pod waits for first: it has no sandbox yet", j.creating() && j.fact("pod", "sandbox") == "absent" && f.name() != SandboxImageUnavailable
		}},
		{"whether the repository exists is not known", func(_ *judge, _ Verdict, f finding) (string, bool) {
			return "", f.check.Evidence["repository"] == "unknown"
		}},
		{"a 403 may be a password that has run out", func(_ *judge, _ Verdict, f finding) (string, bool) {
			return "whether the credentials have expired: some registries answer 403 then", f.name() == AccessForbidden && f.check.Evidence["auth"] == "basic" && f.check.Evidence["credentialExpires"] == ""
		}},
		{"a token service has one 403 for much", func(j *judge, _ Verdict, f finding) (string, bool) {
			return "whether the credentials are still good and the repository exists: token services answer 403 then, too",
				f.name() == AccessForbidden && j.get(f.check.BlockedBy).Kind == KindToken && f.check.Evidence["credentialExpires"] == ""
		}},
		{"a registry that hides what does not exist", func(_ *judge, _ Verdict, f finding) (string, bool) {
			return "whether the repository exists: " + f.check.Host + " answers the same for one that does not", f.name() == AccessForbidden && f.check.Evidence["existence"] == "hidden"
		}},
		{"a need that is only estimated", func(_ *judge, _ Verdict, f finding) (string, bool) {
			return "", f.check.Kind == KindDisk && f.check.Evidence["estimated"] == "true"
		}},
		{"the kubelet may have credentials that the test pull lacks", func(j *judge, _ Verdict, f finding) (string, bool) {
			return "the kubelet's own words on this: it may have credentials from " + j.mayKnowMore(),
				j.mayKnowMore() != "" && inCredentials(f.name()) && j.words.fresh() && j.anonymousPull() && j.said.check != nil && !j.said.means(f.name())
		}},
		{"a provider that had less time than the kubelet gives it", func(j *judge, _ Verdict, f finding) (string, bool) {
			for _, c := range j.below("credentials/provider/") {
				if f.name() == CredentialProviderFailed && c.Outcome == Fail && c.Evidence["deadline"] == "true" {
					return "the same provider, given the kubelet's minute", true
				}
			}
			return "", false
		}},
		{"the image came in the meantime", func(j *judge, _ Verdict, f finding) (string, bool) {
			return "the kubelet's next attempt: the image is on the node by now",
				j.local().Evidence["present"] == "true" && stage(f.name()) == stageAnswer && !j.alwaysPulls()
		}},
		{"the runtime may go through a proxy", func(j *judge, _ Verdict, f finding) (string, bool) {
			return "the runtime's proxy setting, which could not be read",
				(stage(f.name()) == stageDial || stage(f.name()) == stageDNS) && j.get("runtime/proxy").Outcome == Skipped
		}},
		{"asked without the pod's secrets", func(j *judge, _ Verdict, f finding) (string, bool) {
			c := j.get("credentials")
			return "the same request with all that the kubelet has: " + c.Summary, c.Outcome == Skipped && stage(f.name()) == stageAnswer
		}},
		{"the runtime may resolve names by other means", func(j *judge, _ Verdict, f finding) (string, bool) {
			others := j.fact("dns/"+f.check.Host, "nsswitchOthers")
			return "what nsswitch.conf's other sources (" + others + ") say of " + f.check.Host, others != "" && stage(f.name()) == stageDNS
		}},
		{"one server's clock against this node's", func(j *judge, _ Verdict, f finding) (string, bool) {
			n := j.fact("clock/"+f.check.Host, "servers")
			return "the time by another clock: only " + f.check.Host + " says that this node's is wrong", f.name() == ClockSkewed && (n == "" || n == "1")
		}},
	}
}
