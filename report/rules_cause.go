package report

import (
	"cmp"
	"slices"
	"strings"
)

// causeRule traces an obstacle to its root cause, or returns it unchanged.
type causeRule struct {
	id    string
	when  string // when it applies, in one sentence
	trace func(*evaluation, obstacle) obstacle
}

// causesOfAnonymity trace what was asked without credentials.
func causesOfAnonymity() []causeRule {
	return []causeRule{
		{"anonymous-for-lack-of-secret", "the request was anonymous: a pull secret is missing or wrong", missingSecret},
		{"anonymous-for-unread-secrets", "the request was anonymous: the secrets may not be read", func(e *evaluation, o obstacle) obstacle {
			relevant := o.rootCause().AboutLogin() || o.rootCause() == RepositoryNotFound
			if e.get(IDCredentials).Outcome != Skipped || !anonymous(o) || !relevant {
				return o
			}
			if e.message.exists() && e.message.cause.AboutLogin() {
				o = o.withRootCause(e.message.cause, e.message.check.ID) // the kubelet had them
			}
			return o.likelyAtMost()
		}},
	}
}

// causesInAnswers are what an answer of the registry means.
func causesInAnswers() []causeRule {
	return []causeRule{
		{"web-page-not-registry", "a web page answers instead of a registry", func(e *evaluation, o obstacle) obstacle {
			html := strings.HasPrefix(o.check.Evidence[KeyContentType], "text/html")
			if o.check.Kind != KindManifest || !html || e.get(RegistryID(o.check.Host)).Outcome == Pass {
				return o
			}
			wouldDecide := openInBrowser(o.check.Host, "web pages")
			if o.rootCause() == RegistryUnavailable {
				return o.likelyAtMost(wouldDecide) // a load balancer before a registry reports that in HTML, too
			}
			return o.withRootCause(Undetermined).likelyAtMost(wouldDecide)
		}},
		{"server-not-registry", "a server answers 404 to every registry path", func(e *evaluation, o obstacle) obstacle {
			// A registry answers /v2/ with 200 or 401, and reports what it lacks in JSON.
			base, manifest := e.get(RegistryID(o.check.Host)).Evidence, o.check.Evidence
			registry := manifest[KeyCode] != "" || base[KeyAPIVersion] != "" || base[KeyCode] != ""
			if o.check.Kind != KindManifest || manifest[KeyStatus] != "404" || base[KeyStatus] != "404" || registry {
				return o
			}
			return o.withRootCause(Undetermined).likelyAtMost(openInBrowser(o.check.Host, "404 for every path"))
		}},
		{"get-works", "GET of the manifest works, and HEAD does not", func(e *evaluation, o obstacle) obstacle {
			registry := e.get(RegistryID(o.check.Host)).Evidence[KeyIsRegistry] != "false" // else GET may get a web page
			if o.check.Kind != KindManifest || o.check.Evidence[KeyGetStatus] != "200" || !registry {
				return o
			}
			o.asRuntime = true
			return o.withRootCause(RegistryUnavailable)
		}},
		{"web-page-not-token-service", "a web site refuses the login instead of a token service", func(e *evaluation, o obstacle) obstacle {
			token := e.get(o.check.BlockedBy)
			html := strings.HasPrefix(token.Evidence[KeyContentType], "text/html")
			if token.Kind != KindToken || !html || !o.rootCause().AboutLogin() {
				return o
			}
			return o.withRootCause(TokenServiceFailed).likelyAtMost()
		}},
		{"role-missing", "Azure answers 401 to a provider's login that has no role", func(e *evaluation, o obstacle) obstacle {
			byProvider := strings.HasPrefix(o.check.Evidence[KeyUsedCredential], "provider ")
			if o.rootCause() != CredentialsRejected || !azure(o.check.Host) || !byProvider {
				return o
			}
			return o.withRootCause(AccessForbidden).likelyAtMost("check whether the identity of the nodes has the role AcrPull on " + o.check.Host)
		}},
		{"login-works-elsewhere", "the login is good, and opens something else", func(e *evaluation, o obstacle) obstacle {
			token := e.get(TokenID(o.check.Host))
			if o.rootCause() != CredentialsRejected || !token.Is(KeyLoginWorks) {
				return o
			}
			return o.withRootCause(AccessForbidden).likelyAtMost("check whether the repository exists, and the account may pull it: " +
				"the token service accepts the same login for other requests")
		}},
		{"refused-for-a-reason", "the registry names a reason of its own for a refusal", func(_ *evaluation, o obstacle) obstacle {
			// A policy, a quota, a bill: with another login it would be the same.
			denied := o.rootCause() == AccessDeniedOrMissing || o.rootCause() == AccessForbidden
			if !denied || ownReason(o.check) == "" {
				return o
			}
			return o.withRootCause(AccessForbidden).likelyAtMost("read the registry's own record of the refusal: it names a reason (" +
				ownReason(o.check) + ") that is not the login's")
		}},
		{"forbidden-to-anonymous", "an anonymous request was forbidden", func(e *evaluation, o obstacle) obstacle {
			policy := o.check.Is(KeyPolicy) || ownReason(o.check) != ""
			if o.rootCause() != AccessForbidden || !e.is(ManifestID(o.check.Host), KeyAnonymous) || e.causeFromKubelet(o) || policy {
				return o
			}
			return o.withRootCause(AccessDeniedOrMissing)
		}},
		{"present-but-not-for-pod", "the image is on the node, but this pod may not use it", func(e *evaluation, o obstacle) obstacle {
			// Newer kubelets pull an image that is present again, with the credentials of
			// each pod (KubeletEnsureSecretPulledImages); older ones would not have pulled.
			if !anonymous(o) || !o.check.Cause.AboutLogin() || !e.kubelet.exists() || !e.present() || e.alwaysPulls() {
				return o
			}
			o = o.withRootCause(PresentNotAuthorized, e.localImages().ID)
			return o.likelyAtMost("wait for the kubelet's next attempt: the image may have been pulled to the node after its last one")
		}},
	}
}

// causesOnTheNetwork trace names, addresses, certificates, and settings that
// change where the runtime connects to.
func causesOnTheNetwork() []causeRule {
	return []causeRule{
		{"resolver-wrong-answer", "a resolver returns an address that is not the registry's", wrongAnswer},
		{"image-at-another-address", "the registry has the image at an address that the runtime does not use", func(e *evaluation, o obstacle) obstacle {
			if o.check.Kind != KindManifest || o.rootCause().Stage() < StageAnswer || !answeredBy(o.check, KeyAnswerElsewhere, "200") {
				return o
			}
			o = o.withRootCause(ResolverWrongAnswer, DNSID(o.check.Host))
			o.asRuntime = true
			return o.likelyAtMost("check whether " + e.fact(DNSID(o.check.Host), KeyAddresses) + " should be an address of " + o.check.Host)
		}},
		{"name-known-to-other-resolver", "another resolver of this node resolves the name", func(e *evaluation, o obstacle) obstacle {
			if o.rootCause() != HostNotFound || o.check.Evidence[KeyRedirectedTo] != "" {
				return o
			}
			return o.alsoBecause(resolversThatKnow(e.evidence, o.check.Host)...)
		}},
		{"tls-intercepted", "TLS to a public registry is intercepted", func(e *evaluation, o obstacle) obstacle {
			intercepted := o.check.Evidence[KeyInterceptor] != "" || o.check.Evidence[KeySCT] == "false"
			if o.rootCause() != CertificateUntrusted || !o.check.Is(KeyPublicRegistry) || !intercepted {
				return o
			}
			return o.withRootCause(TLSIntercepted).likelyAtMost("compare the certificate that " + o.check.Host + " sends to another network")
		}},
		{"intermediate-missing", "the server does not send its intermediate certificate", func(e *evaluation, o obstacle) obstacle {
			if o.rootCause() != CertificateUntrusted || !o.check.Is(KeyMissingIntermediate) {
				return o
			}
			return o.withRootCause(CertificateInvalid)
		}},
		{"hosts-toml-ignored", "the runtime ignores the registry's hosts.toml", func(e *evaluation, o obstacle) obstacle {
			c := e.get(HostsID(e.fact(IDReference, KeyDomain)))
			if c.Outcome != Fail || !c.Is(KeyIgnored) {
				return o
			}
			if o.rootCause().Stage() >= StageAnswer {
				file := cmp.Or(c.Evidence[KeyFile], "the hosts.toml")
				return o.likelyAtMost("pull with a valid " + file + ", which the runtime ignores now: " + c.Evidence[KeyReason])
			}
			return o.withRootCause(c.Cause, c.ID).likelyAtMost("check whether " +
				cmp.Or(c.Evidence[KeyFile], "hosts.toml") + " has a mirror or a CA for " + c.Host)
		}},
		{"token-invalid-by-registry-clock", "the token is not valid by the registry's clock", func(e *evaluation, o obstacle) obstacle {
			token := e.get(TokenID(o.check.Host))
			state := token.Evidence[KeyByRegistryClock]
			if state == "" || state == "valid" || o.check.Kind != KindManifest || !o.rootCause().AboutLogin() {
				return o
			}
			return o.withRootCause(TokenServiceFailed, token.ID)
		}},
		{"proxy-refuses-referred-host", "the proxy refuses the token service or the layers' host", func(e *evaluation, o obstacle) obstacle {
			inner := e.innerCause(o)
			referred := o.rootCause() == TokenServiceFailed || o.rootCause() == BlobHostUnreachable
			if !referred || inner != ProxyDenied && inner != ProxyUnreachable {
				return o
			}
			return o.withRootCause(inner, e.existing(TokenID(o.check.Host))...)
		}},
		{"proxy-answers-error", "the proxy answers with an error of its own", func(_ *evaluation, o obstacle) obstacle {
			status := o.check.Evidence[KeyStatus]
			bad := status == "502" || status == "503" || status == "504" // a 500 does not say that it is about the host
			if o.check.Kind != KindDial || o.rootCause() != Undetermined || o.check.Evidence[KeyStep] != "connect" || !bad {
				return o
			}
			return o.withRootCause(ProxyDenied).likelyAtMost()
		}},
		{"proxy-not-in-process", "the runtime was started without its present proxy settings", func(e *evaluation, o obstacle) obstacle {
			c := e.get(IDRuntimeEnvironment)
			if !c.Is(KeyNewer) || !c.Is(KeyProxyDiffers) || o.rootCause().Stage() > StageDial {
				return o
			}
			return o.withRootCause(RuntimeConfigStale, c.ID).likelyAtMost("check whether the pull succeeds after a restart of the runtime")
		}},
	}
}

// causesInMirrors trace faults that a mirror has and its upstream has not.
func causesInMirrors() []causeRule {
	return []causeRule{
		{"mirror-answers-wrongly", "a mirror answers for the upstream, with something else", func(e *evaluation, o obstacle) obstacle {
			hosts := e.hosts()
			if len(hosts) < 2 || o.check.Host == "" || o.check.Host == hosts[len(hosts)-1] {
				return o
			}
			upstream := e.get(ManifestID(hosts[len(hosts)-1]))
			theirs, ours := upstream.Evidence[KeyDigest], e.fact(ManifestID(o.check.Host), KeyDigest)
			if upstream.Outcome != Pass || theirs == ours && theirs != "" {
				return o // it returns what the upstream has
			}
			o = o.withRootCause(MirrorFaulty).alsoBecause(upstream.ID)
			if o.check.Kind == KindImage && (theirs == "" || ours == "") {
				return o.likelyAtMost("check whether " + hosts[len(hosts)-1] + " has the same manifest: without its digest they cannot be compared")
			}
			return o
		}},
		{"mirror-decides-in-an-air-gap", "a mirror answers, and the upstream is unreachable by design", func(e *evaluation, o obstacle) obstacle {
			if len(o.others) == 0 || !outOfReachByDesign(o.check) {
				return o
			}
			for _, c := range o.others {
				if c.Cause.Stage() < StageTLS {
					continue
				}
				upstream := o.check
				o.because, o.check, o.cause = []string{c.ID, upstream.ID}, c, ""
				if c.Cause == RegistryUnavailable || c.Cause == TokenServiceFailed {
					o = o.withRootCause(MirrorFaulty)
				}
				return o.likelyAtMost("check whether this node should reach the upstream " + upstream.Host + " at all: if so, that is the fault")
			}
			return o
		}},
		{"mirror-fails-upstream-unreachable", "a mirror fails, and the upstream is unreachable", func(e *evaluation, o obstacle) obstacle {
			if len(o.others) == 0 || o.check.Cause.Stage() >= StageAnswer {
				return o
			}
			for _, c := range o.others {
				lacksImage := c.Cause == TagNotFound || c.Cause == RepositoryNotFound || c.Cause == TokenServiceFailed || c.Cause.AboutLogin()
				if !lacksImage && c.Cause.Stage() >= StageAnswer {
					o.because = []string{c.ID, o.check.ID}
					o.check = c
					o = o.withRootCause(MirrorFaulty)
					return o.likelyAtMost("check whether this node should reach the upstream at all: if so, that is the fault")
				}
			}
			return o
		}},
	}
}

// openInBrowser decides whether a host is a registry at all.
func openInBrowser(host, returns string) string {
	return "open https://" + host + "/v2/ : it returns " + returns + "; is the name right?"
}

// ownReason returns the reason that the registry's own text gives for a refusal;
// empty if it gives none, or its text is not known.
func ownReason(c Check) string {
	if reason := c.Evidence[KeyRefusedFor]; reason != "none" {
		return reason
	}
	return ""
}

// missingSecret traces an answer to an anonymous request to the pull secret that
// should have been used.
func missingSecret(e *evaluation, o obstacle) obstacle {
	c := e.get(IDCredentials)
	if c.Outcome != Fail || !anonymous(o) {
		return o
	}
	otherRegistry := c.Cause == PullSecretOtherRegistry // it does not show that this registry needs a secret
	switch cause := o.rootCause(); {
	case cause == CredentialsMissing && otherRegistry && c.Evidence[KeyExpectedProvider] != "":
		return o
	case cause == CredentialsMissing && otherRegistry && c.Evidence[KeyPossibleProvider] != "":
		return o.withRootCause(c.Cause, IDCredentials).likelyAtMost("check whether pods of this node should get their credentials from " +
			c.Evidence[KeyPossibleProvider] + ", which could not be checked")
	case cause == CredentialsMissing:
		return o.withRootCause(c.Cause, IDCredentials)
	case cause == AccessDeniedOrMissing && o.check.Evidence[KeyRegistryStatus] == "403":
		return o.likelyAtMost()
	case cause == AccessDeniedOrMissing && otherRegistry && o.check.Evidence[KeySuggestRepository] != "":
		return o.likelyAtMost()
	case cause == AccessDeniedOrMissing: // whether the repository exists at all is not known
		return o.withRootCause(c.Cause, IDCredentials).likelyAtMost()
	case cause == RepositoryNotFound, cause == TagNotFound: // with credentials it might be visible
		return o.likelyAtMost()
	}
	return o
}

// causeFromKubelet reports whether the root cause is that of the kubelet's
// message. The kubelet had credentials that the checks had not.
func (e *evaluation) causeFromKubelet(o obstacle) bool {
	return o.cause != "" && o.cause.AboutLogin() && e.message.exists() && !e.message.fromTestPull() &&
		slices.Contains(o.because, e.message.check.ID)
}

// anonymous reports whether the request that failed had no credentials.
func anonymous(o obstacle) bool {
	return o.rootCause() == CredentialsMissing || o.check.Is(KeyAnonymous)
}

// wrongAnswer traces a failed connection or handshake to an address that is not
// the registry's.
func wrongAnswer(e *evaluation, o obstacle) obstacle {
	host := o.check.Host
	if s := o.check.Cause.Stage(); s != StageDial && s != StageTLS || host == "" {
		return o
	}
	name := e.get(DNSID(host))
	name.ID = DNSID(host)
	for _, c := range e.below(ElsewhereID(host)) {
		if c.Outcome != Pass || c.Kind != KindTLS {
			continue
		}
		// Another resolver returned this address, and the registry is there. The
		// runtime's address may be the registry's as well, and out of order: only a
		// certificate for another name disproves that.
		o = o.withRootCause(ResolverWrongAnswer, name.ID, c.ID)
		if o.check.Cause == CertificateNameMismatch || impossibleAddress(e.evidence, host) {
			return o
		}
		address := cmp.Or(name.Evidence[KeyAddresses], o.check.Target, "the address found")
		return o.likelyAtMost("check whether " + address + " should be an address of " + host)
	}
	if via := name.Evidence[KeyVia]; via != "" && (name.Is(KeyWildcard) || name.Evidence[KeyAsIs] != "") {
		o = o.withRootCause(ResolverWrongAnswer, name.ID)
		return o.likelyAtMost("resolve the name with a dot at its end: " + host + " was found under the search domain " + via)
	}
	internal := o.check.Cause.Stage() == StageTLS && unexpectedClass(e.evidence, host, "private", "shared") && name.Is(KeyDisagree)
	if impossibleAddress(e.evidence, host) || internal {
		return o.withRootCause(ResolverWrongAnswer, name.ID).likelyAtMost(fromOutside(host))
	}
	return o
}

func fromOutside(host string) string {
	return "resolve " + host + " with a resolver outside this node"
}

// outOfReachByDesign reports whether a host was not reached in a manner that is
// chosen: no route to it, no name for it, or a proxy that refuses it. A host that
// does not answer, or refuses, is meant to be reached.
func outOfReachByDesign(c Check) bool {
	switch c.Cause {
	case NetworkUnreachable, HostNotFound, ProxyDenied:
		return true
	case ResolverFailed:
		return c.Evidence[KeyRcode] == "REFUSED"
	}
	return false
}
