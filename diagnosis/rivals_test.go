package diagnosis_test

import (
	"slices"
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

// rivalCase is evidence in which one rival of a cause is open.
type rivalCase struct {
	id    string
	cause Cause
	// closed excludes every rival, so that the cause is confirmed. It is nil if the
	// rival can never be excluded, or the cause is never confirmed.
	closed []Check
	open   []Check
	fault  Fault // of the verdict while the rival is open
}

// set returns the checks with a fact of one of them added or, if it is empty,
// removed.
func set(checks []Check, id, key, value string) []Check {
	out := slices.Clone(checks)
	for i, c := range out {
		if c.ID != id {
			continue
		}
		evidence := map[string]string{}
		for k, v := range c.Evidence {
			evidence[k] = v
		}
		if evidence[key] = value; value == "" {
			delete(evidence, key)
		}
		out[i].Evidence = evidence
	}
	return out
}

// behindProxy returns the checks of a host that is reached by a proxy, and was not
// seen to be a registry.
func behindProxy(checks []Check) []Check {
	return set(set(checks, atManifest, "proxy", "http://192.0.2.3:3128"), atRegistry, "isRegistry", "")
}

const (
	atManifest = "manifest/" + host
	atRegistry = "registry/" + host
	atDNS      = "dns/" + host
	atTLS      = "tls/" + host + "/192.0.2.1:443"
	atDial     = "dial/" + host + "/192.0.2.1:443"
)

func rivalCases() []rivalCase {
	return slices.Concat(rivalCasesOfNames(), rivalCasesOfLogins(), rivalCasesOfTheNetwork(), rivalCasesOfTheNode())
}

func rivalCasesOfNames() []rivalCase {
	tag := all(reported(TagNotFound), ladder(KindManifest, TagNotFound))
	bare := set(set(tag, atManifest, "repository", ""), atManifest, "loginUsed", "true")
	repository := all(reported(RepositoryNotFound), ladder(KindManifest, RepositoryNotFound))
	denied := all(
		reported(AccessDeniedOrMissing),
		check("credentials", KindCredentials, Pass, "", ev("node", "read")),
		ladder(KindManifest, AccessDeniedOrMissing, ev("status", "403", "anonymous", "true", "code", "DENIED", "refusedFor", "none")),
	)
	platform := all(reported(PlatformMismatch), ladder(KindImage, PlatformMismatch))
	nameless := all(reported(HostNotFound), imagesHere("0"), editedAt(ladder(KindDNS, HostNotFound), 0, ev("nsswitch", "files")))
	return []rivalCase{
		{"foreign-text", InvalidReference, nil, all(check("pod", KindPod, Fail, InvalidReference, ev("proven", "true"))), FaultUndetermined},
		{"head-not-passed-on", TagNotFound, tag, set(tag, atManifest, "getStatus", ""), FaultConfig},
		{"tag-hidden-from-anonymous", TagNotFound, tag, set(tag, atManifest, "repository", ""), FaultConfig},
		{"tag-listed", TagNotFound, tag, set(tag, atManifest, "listed", ""), FaultConfig},
		{"tag-of-no-registry", TagNotFound, bare, set(bare, atRegistry, "isRegistry", "false"), FaultConfig},
		{"repository-hidden-from-anonymous", RepositoryNotFound, repository, set(repository, atManifest, "challenged", ""), FaultConfig},
		{"repository-hidden-from-anonymous", RepositoryNotFound, repository, set(repository, atRegistry, "product", "artifactory"), FaultConfig},
		{"tag-of-a-cache", TagNotFound, tag, set(tag, atRegistry, "product", "nexus"), FaultConfig},
		{"tag-hidden-from-login", TagNotFound, nil, set(set(set(bare, atRegistry, "product", "artifactory"), atManifest, "loginUsed", "true"), "reference", "path", "app"), FaultConfig},
		{"repository-hidden-from-login", RepositoryNotFound, nil, set(set(repository, atRegistry, "product", "artifactory"), atManifest, "loginUsed", "true"), FaultConfig},
		{"tag-of-another-site", TagNotFound, tag, set(tag, atDNS, "sibling", "same"), FaultConfig},
		{"repository-of-another-site", RepositoryNotFound, repository, set(repository, atDNS, "sibling", "same"), FaultConfig},
		{"repository-lost", RepositoryNotFound, repository, all(repository, check("local/"+host, KindImage, Pass, "", ev("count", "2", "ofRepository", "1"))), FaultUndetermined},
		{"repository-of-a-cache", RepositoryNotFound, repository, set(repository, "reference", "path", "hub-proxy/library/app"), FaultConfig},
		{"repository-of-no-registry", RepositoryNotFound, repository, set(repository, atRegistry, "isRegistry", "false"), FaultConfig},
		{"denied-for-lack-of-the-nodes-login", AccessDeniedOrMissing, denied, set(denied, "credentials", "possibleProvider", "gcp"), FaultUndetermined},
		{"head-forbidden", AccessDeniedOrMissing, denied, set(set(denied, atManifest, "code", ""), atManifest, "refusedFor", ""), FaultUndetermined},
		{"refused-to-anonymous", AccessDeniedOrMissing, denied, set(denied, atManifest, "refusedFor", ""), FaultConfig},
		{"denied-by-no-registry", AccessDeniedOrMissing, denied, set(denied, atRegistry, "isRegistry", "false"), FaultConfig},
		{"index-not-read", PlatformMismatch, platform, set(platform, "image/"+host, "platforms", ""), FaultConfig},
		{"answered-for-any-name", HostNotFound, all(nameless, resolves("192.0.2.54:53"), elsewhere(Pass))[1:],
			all(nameless, resolves("192.0.2.54:53"))[1:], FaultNode},
		{"name-from-other-sources", HostNotFound, nameless, set(nameless, atDNS, "nsswitchOthers", "ldap"), FaultNode},
	}
}

func rivalCasesOfLogins() []rivalCase {
	read := check("credentials", KindCredentials, Pass, "", ev("node", "read"))
	missing := all(reported(CredentialsMissing), read, ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")))
	rejected := all(reported(CredentialsRejected), ladder(KindManifest, CredentialsRejected))
	byToken := all(reported(CredentialsRejected), with(refusing(CredentialsRejected, ev("auth", "bearer", "usedCredential", "secret regcred"))[0],
		ev("loginWorks", "false")), refusing(CredentialsRejected, ev("auth", "bearer", "usedCredential", "secret regcred"))[1:])
	expired := all(reported(CredentialsRejected), ladder(KindManifest, CredentialsExpired))
	forbidden := all(reported(AccessForbidden), ladder(KindManifest, AccessForbidden,
		ev("status", "403", "code", "DENIED", "auth", "basic", "credentialExpires", "2030-01-01T00:00:00Z", "refusedFor", "none")))
	noSecret := all(reported(CredentialsMissing), secret(PullSecretMissing), ladder(KindManifest, CredentialsMissing))
	otherSecret := all(reported(CredentialsMissing), secret(PullSecretOtherRegistry), ladder(KindManifest, CredentialsMissing))
	unattached := all(reported(CredentialsMissing), secret(PullSecretNotAttached), ladder(KindManifest, CredentialsMissing))
	never := all(check("pod", KindPod, Fail, NeverPullNotPresent, ev("proven", "true")), check("local/"+host, KindImage, Pass, "", ev("present", "false")))
	malformed := all(check("pod", KindPod, Fail, PullSecretMalformed, ev("proven", "true")))
	provider := all(reported(CredentialsMissing), secret(CredentialProviderFailed), ladder(KindManifest, CredentialsMissing))
	return []rivalCase{
		{"login-from-the-node", CredentialsMissing, missing, set(missing, "credentials", "possibleProvider", "ecr"), FaultUndetermined},
		{"login-of-a-site", CredentialsMissing, missing, set(missing, atRegistry, "isRegistry", "false"), FaultConfig},
		{"login-under-a-wildcard", CredentialsMissing, missing, set(missing, atDNS, "sibling", "same"), FaultConfig},
		{"password-of-a-site", CredentialsRejected, rejected, set(rejected, atRegistry, "isRegistry", "false"), FaultConfig},
		{"password-of-another-site", CredentialsRejected, rejected, set(rejected, atDNS, "sibling", "same"), FaultConfig},
		{"login-without-role", CredentialsRejected, byToken, set(byToken, "token/"+host, "loginWorks", ""), FaultConfig},
		{"login-without-role", CredentialsRejected, nil, all(reported(CredentialsRejected),
			onHost("shop.azurecr.io", ladder(KindManifest, CredentialsRejected))), FaultConfig},
		{"expiry-unknown", CredentialsExpired, expired, set(expired, atManifest, "credentialExpires", ""), FaultConfig},
		{"head-forbidden-to-login", AccessForbidden, forbidden, set(set(forbidden, atManifest, "code", ""), atManifest, "refusedFor", ""), FaultUndetermined},
		{"refused-to-login", AccessForbidden, forbidden, set(forbidden, atManifest, "refusedFor", ""), FaultConfig},
		{"forbidden-may-be-expired", AccessForbidden, forbidden, set(forbidden, atManifest, "credentialExpires", ""), FaultConfig},
		{"existence-hidden", AccessForbidden, forbidden, set(forbidden, atManifest, "existence", "hidden"), FaultConfig},
		{"missing-secret-not-needed", PullSecretMissing, noSecret, set(noSecret, "credentials", "possibleProvider", "ecr"), FaultUndetermined},
		{"missing-secret-of-several", PullSecretMissing, noSecret, set(noSecret, "credentials", "absent", "a, b"), FaultConfig},
		{"secret-for-a-site", PullSecretMissing, noSecret, set(noSecret, atRegistry, "isRegistry", "false"), FaultConfig},
		{"other-secret-not-needed", PullSecretOtherRegistry, otherSecret, set(otherSecret, "credentials", "providerNotRun", "ecr"), FaultUndetermined},
		{"other-secret-for-a-site", PullSecretOtherRegistry, otherSecret, set(otherSecret, atRegistry, "isRegistry", "false"), FaultConfig},
		{"unattached-secret-not-needed", PullSecretNotAttached, unattached, set(unattached, "credentials", "possibleProvider", "ecr"), FaultUndetermined},
		{"secret-passed-over", PullSecretMalformed, nil, malformed, FaultConfig},
		{"present-for-others", NeverPullNotPresent, never, set(never, "local/"+host, "present", ""), FaultConfig},
		{"pulled-meanwhile", PresentNotAuthorized, nil, all(
			check("pod", KindPod, Fail, NeverPullNotPresent, ev("proven", "true")),
			check("local/"+host, KindImage, Pass, "", ev("present", "true")),
		), FaultConfig},
		{"verifier-not-run", SignatureRejected, nil, all(check("pull", KindPull, Fail, SignatureRejected)), FaultConfig},
		{"provider-fails-here-only", CredentialProviderFailed, provider, all(secret(CredentialProviderFailed), ladder(KindManifest, CredentialsMissing)), FaultNode},
	}
}

func rivalCasesOfTheNetwork() []rivalCase {
	isolated := check("control", KindControl, Fail, ResolverFailed)
	servfail := all(reported(ResolverFailed), resolverFails(ResolverFailed), ladder(KindDNS, ResolverFailed), isolated)
	byOtherName := set(all(reported(ResolverFailed), resolverFails(ResolverFailed), ladder(KindDNS, ResolverFailed)),
		atDNS+"/192.0.2.53:53", "otherName", "fails")
	silent := set(all(reported(ResolverUnreachable), resolverFails(ResolverUnreachable), ladder(KindDNS, ResolverUnreachable)),
		atDNS+"/192.0.2.53:53", "error", "ECONNREFUSED")
	refused := all(reported(ConnectionRefused), imagesHere("0"), ladder(KindDial, ConnectionRefused))
	late := all(reported(ConnectionTimeout), imagesHere("0"), ladder(KindDial, ConnectionTimeout))
	route := all(reported(NetworkUnreachable), ladder(KindDial, NetworkUnreachable))
	proxy := all(reported(ProxyDenied), imagesHere("3"), ladder(KindDial, ProxyDenied, ev("status", "403")))
	plainHTTP := all(reported(PlainHTTPRegistry), ladder(KindTLS, PlainHTTPRegistry))
	untrusted := all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted))
	mismatch := all(reported(CertificateNameMismatch), ladder(KindTLS, CertificateNameMismatch))
	invalid := all(reported(CertificateInvalid), ladder(KindTLS, CertificateInvalid))
	expired := all(reported(CertificateExpired), ladder(KindTLS, CertificateExpired))
	skewed := all(reported(ClockSkewed), ladder(KindTLS, ClockSkewed), check("clock/"+host, KindClock, Fail, ClockSkewed, ev("servers", "2")))
	wrong := all(reported(CertificateNameMismatch), ladder(KindTLS, CertificateNameMismatch), elsewhere(Pass))
	return []rivalCase{
		{"domain-fails", ResolverFailed, byOtherName, set(byOtherName, atDNS+"/192.0.2.53:53", "otherName", ""), FaultUndetermined},
		{"domain-fails", ResolverFailed, byOtherName, set(byOtherName, atDNS+"/192.0.2.53:53", "otherName", "answers"), FaultUndetermined},
		{"domain-refuses", ResolverFailed, set(byOtherName, atDNS+"/192.0.2.53:53", "rcode", "REFUSED"),
			set(set(byOtherName, atDNS+"/192.0.2.53:53", "rcode", "REFUSED"), atDNS+"/192.0.2.53:53", "otherName", "answers"), FaultNode},
		{"failure-beside-other-sources", ResolverFailed, servfail, set(servfail, atDNS, "nsswitchOthers", "ldap"), FaultNode},
		{"domain-unanswered", ResolverUnreachable, silent, set(silent, atDNS+"/192.0.2.53:53", "error", ""), FaultNode},
		{"address-out-of-order", ResolverWrongAnswer, wrong,
			all(reported(ConnectionRefused), ladder(KindDial, ConnectionRefused), elsewhere(Pass)), FaultNode},
		{"refused-under-a-wildcard", ConnectionRefused, refused, set(refused, atDNS, "sibling", "same"), FaultUndetermined},
		{"silent-under-a-wildcard", ConnectionTimeout, late, set(late, atDNS, "sibling", "same"), FaultUndetermined},
		{"router-reports", NetworkUnreachable, route, set(route, atDial, "errno", "EHOSTUNREACH"), FaultUndetermined},
		{"router-reports", NetworkUnreachable, route, set(route, atDial, "errno", "ENETUNREACH"), FaultUndetermined},
		{"reset-by-the-server", ConnectionReset, nil, all(reported(ConnectionReset), ladder(KindTLS, ConnectionReset)), FaultNode},
		{"layer-cut-off-by-the-server", ConnectionReset, nil, all(with(reported(ConnectionReset), ev("step", "blob")), pullable()), FaultNode},
		{"name-not-on-the-list", ProxyDenied, proxy, set(proxy, "local/"+host, "count", "0"), FaultNode},
		{"http-since-lately", PlainHTTPRegistry, plainHTTP, all(plainHTTP, imagesHere("3")), FaultUndetermined},
		{"certificate-replaced", CertificateUntrusted, untrusted, all(set(untrusted, atTLS, "selfSigned", "true"), imagesHere("3")), FaultUndetermined},
		{"refused-behind-the-proxy", ProxyDenied, proxy,
			all(reported(ProxyDenied), ladder(KindDial, Undetermined, ev("status", "502", "step", "connect"))), FaultUndetermined},
		{"another-service", TLSHandshakeFailed, nil, all(reported(TLSHandshakeFailed), ladder(KindTLS, TLSHandshakeFailed)), FaultNode},
		{"no-registry-in-plain-http", PlainHTTPRegistry, plainHTTP, set(plainHTTP, atTLS, "httpAnswer", ""), FaultNode},
		{"http-answer-under-a-wildcard", PlainHTTPRegistry, plainHTTP, set(plainHTTP, atDNS, "sibling", "same"), FaultUndetermined},
		{"untrusted-ingress", CertificateUntrusted, untrusted, set(untrusted, atDNS, "sibling", "same"), FaultUndetermined},
		{"untrusted-ingress", CertificateUntrusted, untrusted, set(untrusted, atTLS, "placeholder", "ingress-nginx default"), FaultUndetermined},
		{"untrusted-ingress", CertificateUntrusted, untrusted, set(untrusted, atTLS, "placeholder", "Let's Encrypt staging"), FaultRegistry},
		{"chain-incomplete", CertificateUntrusted, untrusted, set(untrusted, atTLS, "missingIntermediate", "likely"), FaultUndetermined},
		{"mismatch-under-a-wildcard", CertificateNameMismatch, mismatch, set(mismatch, atDNS, "sibling", "same"), FaultUndetermined},
		{"mismatch-under-a-wildcard", CertificateNameMismatch, mismatch, set(mismatch, atDNS, "sibling", ""), FaultUndetermined},
		{"mismatch-under-a-wildcard", CertificateNameMismatch, mismatch, set(mismatch, atTLS, "placeholder", "traefik default"), FaultUndetermined},
		{"mismatch-by-a-resolver", CertificateNameMismatch, mismatch, set(mismatch, atDNS, "disagree", "true"), FaultUndetermined},
		{"invalid-ingress", CertificateInvalid, invalid, set(invalid, atDNS, "sibling", "same"), FaultUndetermined},
		{"expired-for-another-name", CertificateExpired, expired, set(expired, atTLS, "names", "www.elsewhere.example"), FaultUndetermined},
		{"clock-ahead", CertificateExpired, expired, set(expired, atTLS, "serverDate", ""), FaultUndetermined},
		{"used-too-early", CertificateNotYetValid, nil, all(reported(CertificateNotYetValid), ladder(KindTLS, CertificateNotYetValid)), FaultUndetermined},
		{"one-clock-against-one", ClockSkewed, skewed, set(skewed, "clock/"+host, "servers", "1"), FaultNode},
		{"authority-changed", TLSIntercepted, nil, all(check("pod", KindPod, Fail, TLSIntercepted, ev("proven", "true"))), FaultNode},
	}
}

func rivalCasesOfTheNode() []rivalCase {
	stale := func(message Check) []Check {
		return all(newer("runtime/ca"), editedAt(ladder("", ""), 2, ev("rootNewer", "/etc/ssl/certs/ca.pem")), message)
	}
	limited := all(reported(RateLimited), ladder(KindManifest, RateLimited))
	down := all(reported(RegistryUnavailable), ladder(KindManifest, RegistryUnavailable))
	token := all(reported(TokenServiceFailed), ladder(KindManifest, TokenServiceFailed))
	lost := all(reported(LayerCorrupt), ladder("", ""), check("blob/"+host, KindBlob, Fail, LayerCorrupt, ev("status", "404", "code", "BLOB_UNKNOWN")))
	unsupported := all(reported(UnsupportedManifest), ladder(KindImage, UnsupportedManifest))
	config := all(reported(RuntimeConfigInvalid), check("hosts/"+host, KindRuntime, Fail, RuntimeConfigInvalid),
		blocked("manifest/"+host, KindManifest, "hosts/"+host))
	mirrors := all(
		reported(PlatformMismatch),
		onHost(mirror, editedAt(ladder(KindImage, PlatformMismatch), 4, ev("digest", "sha256:1"))),
		onHost(host, editedAt(ladder("", ""), 4, ev("digest", "sha256:2"))),
	)
	out := []rivalCase{
		{"failed-before", RuntimeConfigStale, stale(check("pull", KindPull, Fail, CertificateUntrusted)),
			stale(reported(CertificateUntrusted)), FaultNode},
		{"file-does-not-matter", RuntimeConfigInvalid, config, set(config, "hosts/"+host, "ignored", "true"), FaultNode},
		{"sandbox-fails-otherwise", SandboxImageUnavailable, nil, all(
			with(reference(), func(c *Check) { c.Target = "pause:3" }),
			check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent")),
			check("runtime/sandbox", KindRuntime, Pass, "", ev("present", "false", "image", "pause:3")),
			ladder(KindDial, ConnectionTimeout),
		)[1:], FaultNode},
		{"upstream-not-seen", MirrorFaulty, mirrors, all(
			reported(RegistryUnavailable),
			onHost(mirror, ladder(KindRegistry, RegistryUnavailable)),
			onHost(host, ladder(KindDial, ConnectionTimeout)),
		), FaultNode},
		{"slow-elsewhere", PullTimedOut, nil, all(check("pod", KindPod, Fail, PullTimedOut, ev("proven", "true"))), FaultNode},
		{"slow-not-queued", PullQueueLimited, nil, all(check("pod", KindPod, Fail, PullQueueLimited, ev("proven", "true"))), FaultNode},
		{"bad-layer", UnpackFailed, nil, all(reported(UnpackFailed)), FaultNode},
		{"spoilt-on-the-way", LayerCorrupt, lost, set(lost, "blob/"+host, "status", ""), FaultRegistry},
		{"content-of-a-cache", LayerCorrupt, lost, set(lost, atRegistry, "product", "nexus"), FaultRegistry},
		{"limited-on-the-way", RateLimited, limited, behindProxy(limited), FaultUndetermined},
		{"answered-by-the-proxy", RegistryUnavailable, down, behindProxy(down), FaultUndetermined},
		{"error-of-no-registry", RegistryUnavailable, down, set(down, atRegistry, "isRegistry", "false"), FaultRegistry},
		{"head-answered-otherwise", RegistryUnavailable, down,
			all(reported(TagNotFound), ladder(KindManifest, TagNotFound, ev("getStatus", "200"))), FaultRegistry},
		{"token-answer-of-the-proxy", TokenServiceFailed, token, set(token, atManifest, "proxy", "http://192.0.2.3:3128"), FaultUndetermined},
		{"unknown-media-type", UnsupportedManifest, unsupported, set(unsupported, "image/"+host, "mediaType", ""), FaultRegistry},
	}
	for id, cause := range map[string]Cause{
		"full-elsewhere": DiskFull, "no-inodes-elsewhere": InodesExhausted, "read-only-elsewhere": DiskReadOnly, "io-error-elsewhere": DiskIOError,
	} {
		closed := all(reported(cause), check("disk", KindDisk, Fail, cause))
		out = append(out, rivalCase{id, cause, closed, all(reported(cause), check("disk", KindDisk, Pass, "")), FaultUndetermined})
	}
	return out
}

// An open rival makes a verdict likely, leaves open who must act if the rival
// differs in that, and is asked about. With every rival excluded the cause is
// confirmed, and without the rival in the table the verdict would be wrong.
func TestRivals(t *testing.T) {
	for _, tt := range rivalCases() {
		name := string(tt.cause) + "/" + tt.id
		if tt.closed != nil {
			if v := Diagnose(tt.closed); v.Cause != tt.cause || v.Confidence != Confirmed {
				t.Errorf("%s: excluded: %s %s %s: %q", name, v.Fault, v.Cause, v.Confidence, v.WouldDecide)
			}
		}
		sameCause := strings.HasSuffix(tt.id, "-under-a-wildcard") && (tt.cause == ConnectionRefused || tt.cause == ConnectionTimeout)
		v := Diagnose(tt.open)
		if v.Cause != tt.cause || v.Confidence != Likely && !sameCause || v.Fault != tt.fault || len(v.WouldDecide) == 0 {
			t.Errorf("%s: open: %s %s %s, want %s: %q", name, v.Fault, v.Cause, v.Confidence, tt.fault, v.WouldDecide)
		}
		if strings.ContainsAny(strings.Join(v.WouldDecide, ""), "{}") {
			t.Errorf("%s: a placeholder in %q", name, v.WouldDecide)
		}
	}
}

// Every cause says what else looks like it, or why nothing does, and every rival
// has a case.
func TestEveryCauseHasRivals(t *testing.T) {
	for _, info := range Catalogue() {
		if rivals, note := Rivals(info.Cause); len(rivals) == 0 && note == "" {
			t.Errorf("%s has neither rivals nor a reason for having none", info.Cause)
		}
	}
	for _, rule := range Rules() {
		if rule.Table == "rival" && !slices.ContainsFunc(rivalCases(), func(c rivalCase) bool { return c.id == rule.ID }) {
			t.Errorf("no case for the rival %s", rule.ID)
		}
	}
}
