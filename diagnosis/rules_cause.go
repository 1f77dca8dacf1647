package diagnosis

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// causeRule traces an obstacle to its root cause, or returns it unchanged.
type causeRule struct {
	id    string
	when  string // when it applies, in one sentence
	trace func(*evaluation, facts.Obstacle) facts.Obstacle
}

// causesOfAnonymity returns the root cause rules for requests without credentials: a pull
// secret is missing, wrong or not readable.
func causesOfAnonymity() []causeRule {
	return []causeRule{
		{"anonymous-for-lack-of-secret", "the request was anonymous: a pull secret is missing or wrong", missingSecret},
		{"anonymous-for-unread-secrets", "the request was anonymous: the secrets may not be read", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			relevant := o.RootCause().AboutLogin() || o.RootCause() == report.RepositoryNotFound
			if e.Get(report.IDCredentials).Outcome != report.Skipped || !anonymous(o) || !relevant {
				return o
			}
			if e.Message.Exists() && e.Message.Cause.AboutLogin() {
				o = o.WithRootCause(e.Message.Cause, e.Message.Check.ID) // the kubelet had them
			}
			return o.LikelyAtMost()
		}},
	}
}

// causesInAnswers returns the root cause rules for answers that do not mean what they say:
// a server that is no registry, a web page, HEAD that fails where GET works
// (RegistryUnavailable, TokenServiceFailed).
func causesInAnswers() []causeRule {
	return []causeRule{
		{"web-page-not-registry", "a web page answers instead of a registry", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			html := strings.HasPrefix(o.Check.Evidence[report.KeyContentType], "text/html")
			if o.Check.Kind != report.KindManifest || !html || e.Get(report.RegistryID(o.Check.Host)).Outcome == report.Pass {
				return o
			}
			wouldDecide := openInBrowser(o.Check.Host, "web pages")
			if o.RootCause() == report.RegistryUnavailable {
				return o.LikelyAtMost(wouldDecide) // a load balancer before a registry reports that in HTML, too
			}
			return o.WithRootCause(report.Undetermined).LikelyAtMost(wouldDecide)
		}},
		{"server-not-registry", "a server answers 404 to every registry path", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			// A registry answers /v2/ with 200 or 401, and reports what it lacks in JSON.
			base, manifest := e.Get(report.RegistryID(o.Check.Host)).Evidence, o.Check.Evidence
			registry := manifest[report.KeyCode] != "" || base[report.KeyAPIVersion] != "" || base[report.KeyCode] != ""
			if o.Check.Kind != report.KindManifest || manifest[report.KeyStatus] != "404" || base[report.KeyStatus] != "404" || registry {
				return o
			}
			return o.WithRootCause(report.Undetermined).LikelyAtMost(openInBrowser(o.Check.Host, "404 for every path"))
		}},
		{"get-works", "GET of the manifest works, and HEAD does not", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			registry := e.Get(report.RegistryID(o.Check.Host)).Evidence[report.KeyIsRegistry] != "false" // else GET may get a web page
			if o.Check.Kind != report.KindManifest || o.Check.Evidence[report.KeyGetStatus] != "200" || !registry {
				return o
			}
			o.AsRuntime = true
			return o.WithRootCause(report.RegistryUnavailable)
		}},
		{"web-page-not-token-service", "a web site refuses the login instead of a token service", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			token := e.Get(o.Check.BlockedBy)
			html := strings.HasPrefix(token.Evidence[report.KeyContentType], "text/html")
			if token.Kind != report.KindToken || !html || !o.RootCause().AboutLogin() {
				return o
			}
			return o.WithRootCause(report.TokenServiceFailed).LikelyAtMost()
		}},
	}
}

// causesInLogins returns the root cause rules for a refused or missing login:
// AccessForbidden, AccessDeniedOrMissing, PresentNotAuthorized.
func causesInLogins() []causeRule {
	return []causeRule{
		{"role-missing", "Azure answers 401 to a provider's login that has no role", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			notRun := e.causeFromKubelet(o) && e.Fact(report.IDCredentials, report.KeyProviderNotRun) != ""
			byProvider := strings.HasPrefix(o.Check.Evidence[report.KeyUsedCredential], "provider ") || notRun
			if o.RootCause() != report.CredentialsRejected || !facts.IsAzure(o.Check.Host) || !byProvider {
				return o
			}
			o = o.WithRootCause(report.AccessForbidden)
			return o.LikelyAtMost("check whether the identity of the nodes has the role AcrPull on " + o.Check.Host)
		}},
		{"login-works-elsewhere", "the login is valid, and has access to something else", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			token := e.Get(report.TokenID(o.Check.Host))
			if o.RootCause() != report.CredentialsRejected || !token.Is(report.KeyLoginWorks) {
				return o
			}
			return o.WithRootCause(report.AccessForbidden).LikelyAtMost("check whether the repository exists, and the account may pull it: " +
				"the token service accepts the same login for other requests")
		}},
		{"refused-for-a-reason", "the registry names a reason of its own for a refusal", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			// A policy, a quota, a bill: with another login it would be the same.
			denied := o.RootCause() == report.AccessDeniedOrMissing || o.RootCause() == report.AccessForbidden
			if !denied || ownReason(e, o) == "" {
				return o
			}
			return o.WithRootCause(report.AccessForbidden).LikelyAtMost("have the operator of " + o.Check.Host +
				" look up in its log why it refused the pull: by its answer, " + inWords(ownReason(e, o)) + " forbids it, not the login")
		}},
		{"forbidden-to-anonymous", "an anonymous request was forbidden", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			policy := o.Check.Is(report.KeyPolicy) || ownReason(e, o) != ""
			if o.RootCause() != report.AccessForbidden || !e.Is(report.ManifestID(o.Check.Host), report.KeyAnonymous) ||
				e.causeFromKubelet(o) || policy {
				return o
			}
			return o.WithRootCause(report.AccessDeniedOrMissing)
		}},
		{"login-missing-or-refused", "the message is the same without and with a refused login, and the pod's credentials are not known", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			either := e.causeFromKubelet(o) && e.Message.MayMean(report.CredentialsRejected) && e.LoginsUnread()
			if o.RootCause() != report.CredentialsMissing || !either {
				return o
			}
			secrets := strings.ReplaceAll(e.Fact(report.IDPod, report.KeyPullSecrets), ",", " ")
			unread := cmp.Or(e.UnreadSources(), "the pull secrets of the pod")
			return o.WithRootCause(report.Undetermined).LikelyAtMost("check these credentials: " + unread + ". One of them must be for " +
				o.Check.Host + ", and valid:\nkubectl -n " + e.Fact(report.IDPod, report.KeyNamespace) + " get secrets " + secrets)
		}},
		{"present-but-not-for-pod", "the image is on the node, but this pod may not use it", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			// Newer kubelets pull an image that is present again, with the credentials of
			// each pod (KubeletEnsureSecretPulledImages); older ones would not have pulled.
			if !anonymous(o) || !o.Check.Cause.AboutLogin() || !e.Kubelet.Exists() || !e.Present() || e.AlwaysPulls() ||
				!e.KubeletMayRefusePresent() {
				return o
			}
			o = o.WithRootCause(report.PresentNotAuthorized, e.LocalImages().ID)
			return o.LikelyAtMost("wait for the kubelet's next attempt: the image may have been pulled to the node after the last attempt")
		}},
	}
}

// causesOnTheNetwork returns the root cause rules for names and addresses:
// ResolverWrongAnswer, ResolverFailed, ResolverUnreachable.
func causesOnTheNetwork() []causeRule {
	return []causeRule{
		{"resolver-wrong-answer", "a resolver returns an address that is not the registry's", wrongAnswer},
		{"image-at-another-address", "the registry has the image at an address that the runtime does not use", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			if o.Check.Kind != report.KindManifest || o.RootCause().Stage() < report.StageAnswer ||
				!facts.AnsweredBy(o.Check, report.KeyAnswerElsewhere, "200") {
				return o
			}
			o = o.WithRootCause(report.ResolverWrongAnswer, report.DNSID(o.Check.Host))
			o.AsRuntime = true
			return o.LikelyAtMost("check whether " + e.Fact(report.DNSID(o.Check.Host), report.KeyAddresses) +
				" should be an address of " + o.Check.Host)
		}},
		{"name-known-to-other-resolver", "another resolver of this node resolves the name", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			if o.RootCause() != report.HostNotFound || o.Check.Evidence[report.KeyRedirectedTo] != "" {
				return o
			}
			return o.AlsoBecause(facts.ResolversThatKnow(e.Evidence, o.Check.Host)...)
		}},
		{"addresses-not-resolved", "a resolver failed for the addresses of the only family that this node reaches", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			only := o.Check.Evidence[report.KeyOnlyFamily]
			if o.RootCause() != report.NetworkUnreachable || only == "" {
				return o
			}
			for _, c := range e.Below(report.DNSID(o.Check.Host)) {
				cause := report.ResolverFailed
				switch answer := c.Evidence[recordType(only)]; answer {
				case "", "NOERROR", "NODATA", "NXDOMAIN":
					continue
				case "timeout":
					cause = report.ResolverUnreachable
				}
				o = o.WithRootCause(cause, c.ID)
				o.AsRuntime = true
				return o.LikelyAtMost("resolve the " + only + " addresses of " + o.Check.Host + ":\nnslookup -type=" +
					recordType(only) + " " + o.Check.Host)
			}
			return o
		}},
	}
}

// causesInTLSAndSettings returns the root cause rules for certificates, and for settings
// that change where or how the runtime connects: TLSIntercepted, CertificateInvalid,
// RuntimeConfigInvalid, RuntimeConfigStale, ProxyDenied, ProxyUnreachable, and
// TokenServiceFailed if a clock is wrong.
func causesInTLSAndSettings() []causeRule {
	return []causeRule{
		{"tls-intercepted", "TLS to a public registry is intercepted", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			intercepted := o.Check.Evidence[report.KeyInterceptor] != "" || o.Check.Evidence[report.KeySCT] == "false"
			if o.RootCause() != report.CertificateUntrusted || !o.Check.Is(report.KeyPublicRegistry) || !intercepted {
				return o
			}
			return o.WithRootCause(report.TLSIntercepted).LikelyAtMost("compare the certificate that " + o.Check.Host +
				" sends to this node and to another network:\nopenssl s_client -connect " + report.WithPort(o.Check.Host))
		}},
		{"another-certificate", "other nodes agree on another certificate, of another issuer", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			host := o.Check.Host
			if o.RootCause() != report.CertificateUntrusted || !e.OpinionOn(host).SeeAnother() {
				return o
			}
			o = o.WithRootCause(report.TLSIntercepted).AlsoBecause(report.OpinionID(host))
			if e.OthersReach(host) {
				return o
			}
			// A machine of the registry with a certificate of its own seems the same.
			return o.LikelyAtMost("compare the certificate of " + host + " on both:\nopenssl s_client -connect " + report.WithPort(host))
		}},
		{"intermediate-missing", "the server does not send its intermediate certificate", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			if o.RootCause() != report.CertificateUntrusted || !o.Check.Is(report.KeyMissingIntermediate) {
				return o
			}
			return o.WithRootCause(report.CertificateInvalid)
		}},
		{"hosts-toml-ignored", "the runtime ignores the registry's hosts.toml", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			c := e.Get(report.HostsID(e.Domain()))
			if c.Outcome != report.Fail || !c.Is(report.KeyIgnored) {
				return o
			}
			if o.RootCause().Stage() >= report.StageAnswer {
				file := cmp.Or(c.Evidence[report.KeyFile], "the hosts.toml")
				return o.LikelyAtMost("correct " + file + " (the runtime ignores it: " + c.Evidence[report.KeyReason] + "), and pull again")
			}
			return o.WithRootCause(c.Cause, c.ID).LikelyAtMost("check whether " +
				cmp.Or(c.Evidence[report.KeyFile], "hosts.toml") + " has a mirror or a CA for " + c.Host)
		}},
		{"token-invalid-by-registry-clock", "the token is not valid by the registry's clock", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			token := e.Get(report.TokenID(o.Check.Host))
			state := token.Evidence[report.KeyByRegistryClock]
			if state == "" || state == "valid" || o.Check.Kind != report.KindManifest || !o.RootCause().AboutLogin() {
				return o
			}
			return o.WithRootCause(report.TokenServiceFailed, token.ID)
		}},
		{"proxy-refuses-referred-host", "the proxy refuses the token service or the layers' host", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			inner := e.innerCause(o)
			referred := o.RootCause() == report.TokenServiceFailed || o.RootCause() == report.BlobHostUnreachable
			if !referred || inner != report.ProxyDenied && inner != report.ProxyUnreachable {
				return o
			}
			return o.WithRootCause(inner, e.Existing(report.TokenID(o.Check.Host))...)
		}},
		{"proxy-answers-error", "the proxy answers with an error of its own", func(_ *evaluation, o facts.Obstacle) facts.Obstacle {
			status := o.Check.Evidence[report.KeyStatus]
			bad := status == "502" || status == "503" || status == "504" // a 500 does not say that it is about the host
			if o.Check.Kind != report.KindDial || o.RootCause() != report.Undetermined || o.Check.Evidence[report.KeyStep] != "connect" || !bad {
				return o
			}
			return o.WithRootCause(report.ProxyDenied).LikelyAtMost()
		}},
		{"proxy-not-in-process", "the runtime was started without its present proxy settings", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			c := e.Get(report.IDRuntimeEnvironment)
			if !c.Is(report.KeyNewer) || !c.Is(report.KeyProxyDiffers) || o.RootCause().Stage() > report.StageDial {
				return o
			}
			return o.WithRootCause(report.RuntimeConfigStale, c.ID).LikelyAtMost("check whether the pull succeeds after a restart of the runtime")
		}},
	}
}

// causesInMirrors returns the root cause rules for a mirror that fails where its upstream
// does not, or in its place: MirrorFaulty.
func causesInMirrors() []causeRule {
	return []causeRule{
		{"mirror-answers-wrongly", "a mirror answers for the upstream, with something else", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			hosts := e.Hosts()
			if len(hosts) < 2 || o.Check.Host == "" || o.Check.Host == hosts[len(hosts)-1] {
				return o
			}
			upstream := e.Get(report.ManifestID(hosts[len(hosts)-1]))
			theirs, ours := upstream.Evidence[report.KeyDigest], e.Fact(report.ManifestID(o.Check.Host), report.KeyDigest)
			if upstream.Outcome != report.Pass || theirs == ours && theirs != "" {
				return o // it returns what the upstream has
			}
			o = o.WithRootCause(report.MirrorFaulty).AlsoBecause(upstream.ID)
			if o.Check.Kind == report.KindImage && (theirs == "" || ours == "") {
				return o.LikelyAtMost("check whether " + hosts[len(hosts)-1] + " has the same manifest: without its digest they cannot be compared")
			}
			return o
		}},
		{"mirror-lacks-image", "a mirror does not have the image, and other nodes find it", func(e *evaluation, o facts.Obstacle) facts.Obstacle {
			c := e.Get(report.IDImageElsewhere)
			host := o.Check.Host
			notThere := o.RootCause() == report.TagNotFound || o.RootCause() == report.RepositoryNotFound
			if c.Outcome != report.Pass || !notThere || host == "" || report.Serves(host, e.Domain()) || facts.FoundAt(e.Evidence, host) {
				return o
			}
			o = o.WithRootCause(report.MirrorFaulty).AlsoBecause(c.ID)
			if which := c.Evidence[report.KeyWhich]; !c.Is(report.KeyAround) || !strings.Contains(which, ",") {
				return o.LikelyAtMost("check the image on " + which + " again: it may have been pushed or removed in between")
			}
			return o
		}},
		{"mirror-lacks-layer", "a mirror lacks a layer, and its upstream does not give the layer", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			hosts := e.Hosts()
			if o.Check.Kind != report.KindBlob || o.RootCause() != report.LayerCorrupt || len(hosts) < 2 || o.Check.Host == hosts[len(hosts)-1] {
				return o
			}
			o = o.WithRootCause(report.MirrorFaulty)
			return o.LikelyAtMost("check whether " + hosts[len(hosts)-1] + " has the layers that mirror " + o.Check.Host + " lacks")
		}},
		{"mirror-decides-in-an-air-gap", "a mirror answers, and the upstream is unreachable by design", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			if len(o.Others) == 0 || !outOfReachByDesign(o.Check) {
				return o
			}
			for _, c := range o.Others {
				if c.Cause.Stage() < report.StageTLS {
					continue
				}
				upstream := o.Check
				o.Because, o.Check, o.Cause = []string{c.ID, upstream.ID}, c, ""
				if c.Cause == report.RegistryUnavailable || c.Cause == report.TokenServiceFailed {
					o = o.WithRootCause(report.MirrorFaulty)
				}
				return o.LikelyAtMost("check whether this node should reach the upstream " + upstream.Host + " at all: if so, that is the fault")
			}
			return o
		}},
		{"mirror-fails-upstream-unreachable", "a mirror fails, and the upstream is unreachable", func(
			e *evaluation, o facts.Obstacle,
		) facts.Obstacle {
			if len(o.Others) == 0 || o.Check.Cause.Stage() >= report.StageAnswer {
				return o
			}
			for _, c := range o.Others {
				lacksImage := c.Cause == report.TagNotFound || c.Cause == report.RepositoryNotFound ||
					c.Cause == report.TokenServiceFailed || c.Cause.AboutLogin()
				if !lacksImage && c.Cause.Stage() >= report.StageAnswer {
					o.Because = []string{c.ID, o.Check.ID}
					o.Check = c
					o = o.WithRootCause(report.MirrorFaulty)
					return o.LikelyAtMost("check whether this node should reach the upstream at all: if so, that is the fault")
				}
			}
			return o
		}},
	}
}

// openInBrowser returns the question whether a host is a registry at all.
func openInBrowser(host, returns string) string {
	return "check whether " + host + " is the intended name: it returns " + returns + ":\ncurl -i https://" + host + "/v2/"
}

// ownReason returns the reason that the text of the registry, or of its token service,
// gives for a refusal; empty if it gives none, or the text is not known.
func ownReason(e *evaluation, o facts.Obstacle) string {
	reason := cmp.Or(o.Check.Evidence[report.KeyRefusedFor], e.Fact(o.Check.BlockedBy, report.KeyRefusedFor))
	if reason == "none" {
		return ""
	}
	return reason
}

// inWords returns what a reason for a refusal stands for.
func inWords(reason string) string {
	switch reason {
	case "owner":
		return "a policy of the repository"
	case "network":
		return "the address of this node"
	case "country":
		return "a rule for this country"
	case "billing":
		return "an unpaid or missing subscription"
	default:
		return "a " + reason // policy, quota, quarantine
	}
}

// missingSecret traces an answer to an anonymous request to the pull secret that
// should have been used.
func missingSecret(e *evaluation, o facts.Obstacle) facts.Obstacle {
	c := e.Get(report.IDCredentials)
	if c.Outcome != report.Fail || !anonymous(o) || ownReason(e, o) != "" {
		return o
	}
	otherRegistry := c.Cause == report.PullSecretOtherRegistry // it does not show that this registry needs a secret
	otherName := o.Check.Evidence[report.KeySuggestRepository] != "" || e.Fact(report.IDSuggested, report.KeySuggestImage) != ""
	switch cause := o.RootCause(); {
	case cause == report.CredentialsMissing && otherRegistry && c.Evidence[report.KeyExpectedProvider] != "":
		return o
	case cause == report.CredentialsMissing && otherRegistry && c.Evidence[report.KeyPossibleProvider] != "":
		return o.WithRootCause(c.Cause, report.IDCredentials).LikelyAtMost("check whether pods of this node should get their credentials from " +
			c.Evidence[report.KeyPossibleProvider] + ", which could not be checked")
	case cause == report.CredentialsMissing:
		return o.WithRootCause(c.Cause, report.IDCredentials)
	case cause == report.AccessDeniedOrMissing && o.Check.Evidence[report.KeyRegistryStatus] == "403":
		return o.LikelyAtMost()
	case cause == report.AccessDeniedOrMissing && otherRegistry && otherName:
		return o.LikelyAtMost()
	case cause == report.AccessDeniedOrMissing: // whether the repository exists at all is not known
		return o.WithRootCause(c.Cause, report.IDCredentials).LikelyAtMost(existsAtAll(e, o))
	case cause == report.TagNotFound && o.Check.Evidence[report.KeyRepository] == "exists": // it lists its tags to anyone
		return o
	case cause == report.RepositoryNotFound, cause == report.TagNotFound: // with credentials it might be visible
		return o.LikelyAtMost(existsAtAll(e, o))
	}
	return o
}

// publicAddress reports whether a target is an address of the internet.
func publicAddress(target string) bool {
	a, err := netip.ParseAddrPort(target)
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // RFC 6598
	return err == nil && a.Addr().IsGlobalUnicast() && !a.Addr().IsPrivate() && !shared.Contains(a.Addr().Unmap())
}

// existsAtAll asks what no anonymous request shows.
func existsAtAll(e *evaluation, o facts.Obstacle) string {
	return "check with a login whether " + e.Fact(report.IDReference, report.KeyPath) + " exists on " + o.Check.Host +
		": it may be hidden from anonymous requests"
}

// causeFromKubelet reports whether the root cause is that of the kubelet's
// message. The kubelet had credentials that the checks had not.
func (e *evaluation) causeFromKubelet(o facts.Obstacle) bool {
	return o.Cause != "" && o.Cause.AboutLogin() && e.Message.Exists() && !e.Message.FromTestPull() &&
		slices.Contains(o.Because, e.Message.Check.ID)
}

// anonymous reports whether the request that failed had no credentials.
func anonymous(o facts.Obstacle) bool {
	return o.RootCause() == report.CredentialsMissing || o.Check.Is(report.KeyAnonymous)
}

// wrongAnswer traces a failed connection or handshake to an address that is not
// the registry's.
func wrongAnswer(e *evaluation, o facts.Obstacle) facts.Obstacle {
	host := o.Check.Host
	if s := o.Check.Cause.Stage(); s != report.StageDial && s != report.StageTLS || host == "" {
		return o
	}
	name := e.Get(report.DNSID(host))
	name.ID = report.DNSID(host)
	for _, c := range e.Below(report.ElsewhereID(host)) {
		if c.Outcome != report.Pass || c.Kind != report.KindTLS {
			continue
		}
		// Another resolver returned this address, and the registry is there. The
		// runtime's address may be the registry's as well, and out of order; or a
		// private one that is meant, with a wrong certificate.
		o = o.WithRootCause(report.ResolverWrongAnswer, name.ID, c.ID)
		inside := !publicAddress(o.Check.Target) && publicAddress(c.Target)
		if o.Check.Cause == report.CertificateNameMismatch && !inside || facts.ImpossibleAddress(e.Evidence, host) {
			return o
		}
		address := cmp.Or(name.Evidence[report.KeyAddresses], o.Check.Target, "the address found")
		return o.LikelyAtMost("check whether " + address + " should be an address of " + host)
	}
	if via := name.Evidence[report.KeyVia]; via != "" && (name.Is(report.KeyWildcard) || name.Evidence[report.KeyAsIs] != "") {
		o = o.WithRootCause(report.ResolverWrongAnswer, name.ID)
		return o.LikelyAtMost("resolve the name with a dot at its end: " + host + " was found under the search domain " + via)
	}
	internal := o.Check.Cause.Stage() == report.StageTLS && facts.UnexpectedClass(e.Evidence, host, "private", "shared") &&
		name.Is(report.KeyDisagree)
	if facts.ImpossibleAddress(e.Evidence, host) || internal {
		return o.WithRootCause(report.ResolverWrongAnswer, name.ID).LikelyAtMost(fromOutside(host))
	}
	return o
}

func fromOutside(host string) string {
	return "resolve " + host + " with a resolver outside this node"
}

// outOfReachByDesign reports whether a host was not reached in a manner that is
// chosen: no route to it, no name for it, or a proxy that refuses it. A host that
// does not answer, or refuses, is meant to be reached.
func outOfReachByDesign(c report.Check) bool {
	switch c.Cause {
	case report.NetworkUnreachable, report.HostNotFound, report.ProxyDenied:
		return true
	case report.ResolverFailed:
		return c.Evidence[report.KeyRcode] == "REFUSED"
	}
	return false
}
