package diagnosis

import (
	"slices"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// weakness is a property of a check: it did not see now what the runtime sees. It
// lowers every verdict that rests on the check to likely, whatever its cause.
type weakness struct {
	id   string
	when string // when a check has it, in one sentence
	// has reports whether the check has the weakness, and returns the question that
	// would settle it, if there is one.
	has func(finding, report.Check) (wouldDecide string, has bool)
}

func allWeaknesses() []weakness {
	return slices.Concat(weaknessesOfChecks(), weaknessesOfMachines(), weaknessesOfAnswers())
}

// weaknessesOfChecks returns the weaknesses of checks that did less than the runtime does:
// they timed out early, sent another login, or could not read a proxy or the trust store.
func weaknessesOfChecks() []weakness {
	return []weakness{
		{"check-timed-out", "the check timed out before the runtime would", func(f finding, c report.Check) (string, bool) {
			switch {
			case f.Message.Exists():
				return "", c.Is(report.KeyDeadline)
			case f.Unpulled():
				return "pull the image on this node: the runtime's timeout is longer, usually 30 s or more", c.Is(report.KeyDeadline)
			}
			return "wait for the runtime's own error (after its longer timeout, usually 30 s or more)", c.Is(report.KeyDeadline)
		}},
		{"remembered", "the login was rejected for another image, and is not sent again now", func(_ finding, c report.Check) (string, bool) {
			return "request a new diagnosis, which sends this login to " + c.Host + " once more: it was rejected for another image",
				c.Is(report.KeyRemembered) && c.Evidence[report.KeyAnsweredAt] == ""
		}},
		{"login-not-sent", "the login was not sent where the runtime sends it", func(_ finding, c report.Check) (string, bool) {
			reason := c.Evidence[report.KeyLoginNotSent]
			return "repeat the request with the login, which was not sent: " + reason, reason != ""
		}},
		{"kubelet-login-unknown", "the request was anonymous, and the kubelet may have credentials", func(
			f finding, c report.Check,
		) (string, bool) {
			// A provider that fails is the cause, not a source that was not read.
			failed := f.Cause == report.CredentialProviderFailed && f.Fact(report.IDCredentials, report.KeyProviderFailed) != ""
			unread := f.Exists(report.IDPod) && f.UnreadSources() != "" && !failed
			return "repeat the request with the kubelet's credentials: " + f.UnreadSources() + " (not read)",
				unread && facts.DependsOnLogin(f.Evidence, c) && (c.Is(report.KeyAnonymous) || c.Cause == report.CredentialsMissing)
		}},
		{secretsNotRead, "the pod's secrets were not read", func(f finding, c report.Check) (string, bool) {
			credentials := f.Get(report.IDCredentials)
			return "repeat the request with the kubelet's credentials: " + credentials.Summary,
				credentials.Outcome == report.Skipped && facts.DependsOnLogin(f.Evidence, c)
		}},
		{"proxy-unknown", "the runtime may use a proxy", func(f finding, c report.Check) (string, bool) {
			return "check the runtime's proxy setting, which could not be read",
				(c.Kind == report.KindDNS || c.Kind == report.KindDial) && c.Outcome == report.Fail &&
					f.Get(report.IDRuntimeProxy).Outcome == report.Skipped
		}},
		{"trust-store-unknown", "the runtime's trust store could not be read", func(_ finding, c report.Check) (string, bool) {
			return "check the certificates that the runtime trusts, which could not be read",
				c.Kind == report.KindTLS && c.Outcome == report.Fail && c.Evidence[report.KeyTrust] == "unknown"
		}},
		{"need-estimated", "the space that the image needs is an estimate", func(_ finding, c report.Check) (string, bool) {
			return "", c.Kind == report.KindDisk && c.Is(report.KeyEstimated)
		}},
		{"login-in-hosts-toml", "a hosts.toml of the node adds a login of its own, which may be the one that is refused", func(
			_ finding, c report.Check,
		) (string, bool) {
			return "check the authorization header for " + c.Host + " in the hosts.toml of this node: it may be wrong",
				c.Outcome == report.Fail && c.Is(report.KeyLoginInHosts) &&
					(c.Cause.AboutLogin() || c.Cause == report.RepositoryNotFound || c.Cause == report.TagNotFound)
		}},
		{"provider-timed-out", "a credential provider timed out early", func(f finding, c report.Check) (string, bool) {
			late := slices.ContainsFunc(f.Below(report.FamilyProvider),
				func(p report.Check) bool { return p.Outcome == report.Fail && p.Is(report.KeyDeadline) })
			return "run the same provider with the kubelet's timeout of one minute",
				c.ID == report.IDCredentials && c.Cause == report.CredentialProviderFailed && late
		}},
	}
}

// withWeaknesses lowers a verdict that rests on weak checks.
func (e *evaluation) withWeaknesses(v report.Verdict) report.Verdict {
	if v.Fault == report.FaultNone || v.Cause == report.Undetermined {
		return v
	}
	f, unread := e.findingOf(v), false
	ids := slices.Clone(v.Because)
	for _, id := range v.Because {
		// The answer of a token service is the reason for the manifest's.
		if by := e.Get(id).BlockedBy; e.Failed(by) {
			ids = append(ids, by)
		}
	}
	for _, id := range ids {
		for _, w := range e.weaknesses {
			if wouldDecide, has := w.has(f, e.Get(id)); has {
				v.Confidence = atMost(v.Confidence, report.Likely)
				v.WouldDecide = appendNew(v.WouldDecide, wouldDecide)
				unread = unread || w.id == secretsNotRead || v.Cause.AboutLogin() && slices.Contains(loginNotKnown, w.id)
			}
		}
	}
	if unread && e.Unpulled() && e.Exists(report.IDPod) {
		return undeterminedLogin(e.Get(v.Because[0]), v)
	}
	return v
}

// secretsNotRead is the weakness of an answer that a login which the pod has may change.
const secretsNotRead = "secrets-not-read"

// loginNotKnown are the weaknesses of an answer about a login, where there may be another one.
var loginNotKnown = []string{"login-not-sent", "kubelet-login-unknown"}

// undeterminedLogin returns the verdict on an answer without the pod's login, where no error of the
// runtime shows that it gets the same.
func undeterminedLogin(c report.Check, v report.Verdict) report.Verdict {
	v.Fault, v.Cause, v.Confidence = report.FaultUndetermined, report.Undetermined, report.ConfidenceUndetermined
	v.Summary, v.Fix = "without the pod's credentials, which are not known here: "+c.Summary, ""
	return v
}
