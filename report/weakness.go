package report

import (
	"slices"
	"strings"
)

// weakness is a property of a check: it did not see now what the runtime sees. It
// lowers every verdict that rests on the check to likely, whatever its cause.
type weakness struct {
	id   string
	when string // when a check has it, in one sentence
	// has reports whether the check has it, with the question that decides, if there
	// is one.
	has func(finding, Check) (wouldDecide string, has bool)
}

func allWeaknesses() []weakness {
	return []weakness{
		{"check-timed-out", "the check timed out before the runtime would", func(f finding, c Check) (string, bool) {
			if f.message.exists() {
				return "", c.Is(KeyDeadline)
			}
			return "wait for the runtime's own error (after its longer timeout, usually 30 s or more)", c.Is(KeyDeadline)
		}},
		{"remembered", "the answer is remembered, and no request was sent now", func(_ finding, c Check) (string, bool) {
			return "send a new request to " + c.Host + ": its answer is remembered from an earlier one", c.Is(KeyRemembered)
		}},
		{"login-not-sent", "the login was not sent where the runtime sends it", func(_ finding, c Check) (string, bool) {
			reason := c.Evidence[KeyLoginNotSent]
			return "repeat the request with the login, which was not sent: " + reason, reason != ""
		}},
		{"kubelet-login-unknown", "the request was anonymous, and the kubelet may have a login", func(f finding, c Check) (string, bool) {
			// A provider that fails is the cause, not a source that was not read.
			failed := f.Cause == CredentialProviderFailed && f.fact(IDCredentials, KeyProviderFailed) != ""
			unread := f.exists(IDPod) && f.unreadSources() != "" && !failed
			return "repeat the request with the kubelet's credentials: " + f.unreadSources() + " (not read)",
				unread && dependsOnLogin(f.evidence, c) && (c.Is(KeyAnonymous) || c.Cause == CredentialsMissing)
		}},
		{"secrets-not-read", "the pod's secrets were not read", func(f finding, c Check) (string, bool) {
			credentials := f.get(IDCredentials)
			return "repeat the request with the kubelet's credentials: " + credentials.Summary,
				credentials.Outcome == Skipped && dependsOnLogin(f.evidence, c)
		}},
		{"proxy-unknown", "the runtime may use a proxy", func(f finding, c Check) (string, bool) {
			return "check the runtime's proxy setting, which could not be read",
				(c.Kind == KindDNS || c.Kind == KindDial) && c.Outcome == Fail && f.get(IDRuntimeProxy).Outcome == Skipped
		}},
		{"trust-store-unknown", "the runtime's trust store could not be read", func(_ finding, c Check) (string, bool) {
			return "check the certificates that the runtime trusts, which could not be read",
				c.Kind == KindTLS && c.Outcome == Fail && c.Evidence[KeyTrust] == "unknown"
		}},
		{"address-disputed", "the hosts file or the resolvers of the node lead to different machines, and only one answered", func(
			f finding, c Check,
		) (string, bool) {
			name := f.get(DNSID(c.Host))
			says, other := name.Evidence[KeyDNSSays], "the other address of "+c.Host
			if says != "" {
				other += " (" + says + ")"
			}
			question := "send the same request to " + other + ": the one that answered may be an old machine"
			if name.Evidence[KeyFrom] == "hosts" && !strings.ContainsAny(says, ".:") { // an rcode, or no answer
				question = "check whether the address of " + c.Host + " in the hosts file of this node is right: DNS does not know the name"
			}
			pinned := name.Evidence[KeyFrom] == "hosts" && (says == "" || name.Is(KeyDisagree))
			// The resolvers of a public registry's name give different addresses by design.
			return question, answered(c) && !sameAnswer(c, KeyAnswerElsewhere) && (pinned || name.Is(KeyDisagree) && !name.Is(KeyPublicRegistry))
		}},
		{"one-machine-of-several", "the host has several addresses, and only the first machine answered", func(
			f finding, c Check,
		) (string, bool) {
			name := f.get(DNSID(c.Host))
			return "send the same request to every address of " + c.Host + " (" + name.Evidence[KeyAddresses] + "): only one machine was asked",
				answered(c) && severalMachines(f.evidence, c.Host) && !name.Is(KeyPublicRegistry) && !sameAnswer(c, KeyOtherMachines)
		}},
		{"sent-elsewhere", "a file of the node sends the pull to another registry than the image names, and to no other", func(
			f finding, c Check,
		) (string, bool) {
			return "check whether " + f.fact(HostsID(f.domain()), KeyFile) + " should send pulls of " + f.domain() + " to " +
				c.Host + ", which is not the registry that the image names", answered(c) && f.sentElsewhere(c.Host)
		}},
		{"need-estimated", "the space that the image needs is an estimate", func(_ finding, c Check) (string, bool) {
			return "", c.Kind == KindDisk && c.Is(KeyEstimated)
		}},
		{"login-in-hosts-toml", "a hosts.toml of the node adds a login of its own, which may be the one that is refused", func(
			_ finding, c Check,
		) (string, bool) {
			return "check the authorization header for " + c.Host + " in the hosts.toml of this node: it may be wrong",
				c.Outcome == Fail && c.Is(KeyLoginInHosts) && (c.Cause.AboutLogin() || c.Cause == RepositoryNotFound || c.Cause == TagNotFound)
		}},
		{"provider-timed-out", "a credential provider timed out early", func(f finding, c Check) (string, bool) {
			late := slices.ContainsFunc(f.below(familyProvider), func(p Check) bool { return p.Outcome == Fail && p.Is(KeyDeadline) })
			return "run the same provider with the kubelet's timeout of one minute",
				c.ID == IDCredentials && c.Cause == CredentialProviderFailed && late
		}},
	}
}

// withWeaknesses lowers a verdict that rests on weak checks.
func (e *evaluation) withWeaknesses(v Verdict) Verdict {
	if v.Fault == FaultNone || v.Cause == Undetermined {
		return v
	}
	f := e.findingOf(v)
	ids := slices.Clone(v.Because)
	for _, id := range v.Because {
		// The answer of a token service is the reason for the manifest's.
		if by := e.get(id).BlockedBy; e.failed(by) {
			ids = append(ids, by)
		}
	}
	for _, id := range ids {
		for _, w := range e.weaknesses {
			if wouldDecide, has := w.has(f, e.get(id)); has {
				v.Confidence = atMost(v.Confidence, Likely)
				v.WouldDecide = appendNew(v.WouldDecide, wouldDecide)
			}
		}
	}
	return v
}

// dependsOnLogin reports whether a failed check is the answer of a registry that
// may be another one to a login. A tag that is missing from a visible repository
// is missing for everyone.
func dependsOnLogin(e *evidence, c Check) bool {
	switch c.Kind {
	case KindManifest, KindToken, KindBlob:
	default:
		return false
	}
	switch c.Cause {
	case RateLimited, RegistryUnavailable, TokenServiceFailed, MirrorFaulty, ProxyDenied, Undetermined:
		return false
	}
	if c.Is(KeyPolicy) {
		return false // a rule for all users
	}
	return c.Outcome == Fail && c.Cause.Stage() == StageAnswer && e.fact(ManifestID(c.Host), KeyRepository) != "exists"
}
