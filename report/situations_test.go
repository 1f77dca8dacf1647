package report_test

import (
	"slices"

	. "github.com/pullprobe/pullprobe/report"
)

const host = "registry.example"

type edit func(*Check)

func ev(kv ...string) edit {
	return func(c *Check) {
		if c.Evidence == nil {
			c.Evidence = map[string]string{}
		}
		for i := 0; i < len(kv); i += 2 {
			c.Evidence[kv[i]] = kv[i+1]
		}
	}
}

func check(id string, kind Kind, outcome Outcome, cause Cause, edits ...edit) Check {
	c := Check{ID: id, Kind: kind, Host: host, Outcome: outcome, Cause: cause, Summary: "as seen by " + id}
	for _, e := range edits {
		e(&c)
	}
	return c
}

func blocked(id string, kind Kind, by string) Check {
	c := check(id, kind, Skipped, "")
	c.BlockedBy = by
	return c
}

func reference() Check {
	return check("reference", KindReference, Pass, "", ev("domain", host, "path", "app", "tag", "1"))
}

// words is what the kubelet says.
func words(cause Cause, could ...Cause) Check {
	list := ""
	for _, c := range could {
		list += string(c) + ","
	}
	return check("pod", KindPod, Fail, cause, ev("could", list, "namespace", "shop", "name", "web"))
}

// ladder is what the checks of one host come to, up to the one that fails.
func ladder(fails Kind, cause Cause, edits ...edit) []Check {
	rungs := []struct {
		id   string
		kind Kind
	}{
		{"dns/" + host, KindDNS}, {"dial/" + host + "/192.0.2.1:443", KindDial}, {"tls/" + host + "/192.0.2.1:443", KindTLS},
		{"registry/" + host, KindRegistry}, {"manifest/" + host, KindManifest}, {"image/" + host, KindImage},
	}
	var out []Check
	blocker := ""
	for _, r := range rungs {
		switch {
		case blocker != "":
			out = append(out, blocked(r.id, r.kind, blocker))
			blocker = r.id
		case r.kind == fails:
			out = append(out, check(r.id, r.kind, Fail, cause, edits...))
			blocker = r.id
		default:
			out = append(out, check(r.id, r.kind, Pass, ""))
		}
	}
	return out
}

// refusing is a registry whose token service gives no token.
func refusing(cause Cause, edits ...edit) []Check {
	token := check("token/"+host, KindToken, Fail, cause, edits...)
	return append([]Check{token}, ladder(KindManifest, cause, append(edits, func(c *Check) { c.BlockedBy = token.ID })...)...)
}

func all(parts ...any) []Check {
	out := []Check{reference()}
	for _, p := range parts {
		switch p := p.(type) {
		case Check:
			out = append(out, p)
		case []Check:
			out = append(out, p...)
		}
	}
	return out
}

// situation is evidence and the verdict that it must lead to.
type situation struct {
	name       string
	checks     []Check
	fault      Fault
	cause      Cause
	confidence Confidence
	because    string // first
}

func situations() []situation {
	resolver := func(cause Cause) Check {
		return check("dns/"+host+"/192.0.2.53:53", KindDNS, Fail, cause)
	}
	local := func(n string) Check {
		return check("local/"+host, KindImage, Pass, "", ev("count", n))
	}
	return []situation{
		{"both witnesses agree", all(words(TagNotFound), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Confirmed, "manifest/" + host},
		{"words allow for it", all(words(TagNotFound, RepositoryNotFound), ladder(KindManifest, RepositoryNotFound)), FaultConfig, RepositoryNotFound, Confirmed, "manifest/" + host},
		{"checks alone", all(ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Likely, "manifest/" + host},
		{"words alone, of a later stage", all(words(LayerCorrupt), ladder("", "")), FaultRegistry, LayerCorrupt, Likely, "pod"},
		{"a layer of which nothing was written", all(check("pod", KindPod, Fail, LayerCorrupt, ev("step", "empty")), ladder("", "")), FaultNode, LayerCorrupt, Likely, "pod"},
		{"words that everything contradicts", all(words(ConnectionReset), ladder("", "")), FaultUndetermined, Undetermined, Uncertain, "pod"},
		{"words say nothing, checks pass", all(words(Undetermined), ladder("", "")), FaultUndetermined, Undetermined, Uncertain, "pod"},
		{"words say nothing, a check fails", all(words(Undetermined), ladder(KindTLS, CertificateUntrusted)), FaultNode, CertificateUntrusted, Likely, "tls/" + host + "/192.0.2.1:443"},
		{"later failure than the words tell", all(words(ConnectionRefused), ladder(KindManifest, TagNotFound)), FaultUndetermined, Undetermined, Uncertain, "manifest/" + host},

		{"invalid reference is proven", []Check{check("reference", KindReference, Fail, InvalidReference), words(InvalidReference)}, FaultConfig, InvalidReference, Confirmed, "reference"},
		{"Never is proven", all(check("pod", KindPod, Fail, NeverPullNotPresent, ev("proven", "true")), ladder("", "")), FaultConfig, NeverPullNotPresent, Confirmed, "pod"},
		{"Never, but the image is there", all(check("pod", KindPod, Fail, NeverPullNotPresent, ev("proven", "true")), check("local/"+host, KindImage, Pass, "", ev("present", "true")), ladder("", "")), FaultConfig, PresentNotAuthorized, Likely, "pod"},
		{"not a pull problem", all(check("pod", KindPod, Pass, NotAPullProblem), ladder(KindDial, ConnectionRefused)), FaultNone, NotAPullProblem, Confirmed, "pod"},
		{"being created, image on the node", all(check("pod", KindPod, Pass, "", ev("creating", "true")), check("local/"+host, KindImage, Pass, "", ev("present", "true")), ladder("", "")), FaultNone, NotAPullProblem, Likely, "local/" + host},
		{"being created, to be pulled whatever is there", all(check("pod", KindPod, Pass, "", ev("creating", "true", "policy", "Always")), check("local/"+host, KindImage, Pass, "", ev("present", "true")), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Likely, "manifest/" + host},
		{"being created, nothing in the way", all(check("pod", KindPod, Pass, "", ev("creating", "true")), ladder("", "")), FaultUndetermined, Undetermined, Uncertain, "image/" + host},
		{"runtime away", all(words(RuntimeUnavailable), check("runtime", KindRuntime, Fail, RuntimeUnavailable)), FaultNode, RuntimeUnavailable, Confirmed, "runtime"},

		{"a runtime that is slow to answer, and a registry that refuses", all(check("runtime", KindRuntime, Fail, RuntimeUnavailable, ev("why", "hung", "version", "v2.4.2")), ladder(KindDial, ConnectionRefused)), FaultUndetermined, ConnectionRefused, Likely, "dial/" + host + "/192.0.2.1:443"},
		{"a runtime that does not answer at all", all(check("runtime", KindRuntime, Fail, RuntimeUnavailable, ev("why", "hung")), ladder(KindDial, ConnectionRefused)), FaultNode, RuntimeUnavailable, Likely, "runtime"},
		{"refused, seen from here only", all(words(ConnectionRefused), local("0"), ladder(KindDial, ConnectionRefused)), FaultUndetermined, ConnectionRefused, Confirmed, "dial/" + host + "/192.0.2.1:443"},
		{"refused, but pulled from before", all(words(ConnectionRefused), local("3"), ladder(KindDial, ConnectionRefused)), FaultNode, ConnectionRefused, Likely, "dial/" + host + "/192.0.2.1:443"},
		{"our deadline is shorter than the runtime's", all(words(ConnectionTimeout), local("3"), ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))), FaultNode, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443"},
		{"nobody resolves the name", all(words(HostNotFound), local("0"), resolver(HostNotFound), ladder(KindDNS, HostNotFound)), FaultConfig, HostNotFound, Likely, "dns/" + host},
		{"one resolver could not say", all(words(HostNotFound), local("0"), resolver(HostNotFound), resolver(ResolverUnreachable), ladder(KindDNS, HostNotFound)), FaultUndetermined, HostNotFound, Confirmed, "dns/" + host},
		{"no such name, but pulled from before", all(words(HostNotFound), local("2"), resolver(HostNotFound), ladder(KindDNS, HostNotFound)), FaultNode, HostNotFound, Likely, "dns/" + host},
		{"a dead resolver beside a good one", all(resolver(ResolverUnreachable), ladder("", ""), check("pull", KindPull, Pass, "")), FaultNone, Healthy, Confirmed, "pull"},
		{"proxy unknown", all(words(ConnectionRefused), check("runtime/proxy", KindRuntime, Skipped, ""), local("1"), ladder(KindDial, ConnectionRefused)), FaultNode, ConnectionRefused, Likely, "dial/" + host + "/192.0.2.1:443"},

		{"secret missing behind a 401", all(words(CredentialsMissing), check("credentials", KindCredentials, Fail, PullSecretMissing, ev("secret", "regcred")), ladder(KindManifest, CredentialsMissing)), FaultConfig, PullSecretMissing, Confirmed, "credentials"},
		{"secret missing, but the tag is too", all(words(TagNotFound), check("credentials", KindCredentials, Fail, PullSecretMissing), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Confirmed, "manifest/" + host},
		{"undecodable secret stops the kubelet", all(words(PullSecretMalformed), check("credentials", KindCredentials, Fail, PullSecretMalformed, ev("fatal", "true")), ladder("", "")), FaultConfig, PullSecretMalformed, Confirmed, "credentials"},
		{"a secret that the kubelet passes over", all(words(CredentialsMissing), check("credentials", KindCredentials, Fail, PullSecretMalformed), ladder(KindManifest, CredentialsMissing)), FaultConfig, PullSecretMalformed, Confirmed, "credentials"},
		{"secrets may not be read", all(words(CredentialsRejected), check("credentials", KindCredentials, Skipped, ""), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true"))), FaultConfig, CredentialsRejected, Likely, "pod"},
		{"rejected password of a node file", all(words(CredentialsRejected), ladder(KindManifest, CredentialsRejected, ev("usedCredential", "node /root/.docker/config.json"))), FaultNode, CredentialsRejected, Confirmed, "manifest/" + host},

		{"a credential provider that fails", all(words(CredentialsMissing), check("credentials", KindCredentials, Fail, CredentialProviderFailed), ladder(KindManifest, CredentialsMissing)), FaultNode, CredentialProviderFailed, Confirmed, "credentials"},
		{"a credential provider that was not waited for", all(words(CredentialsMissing), check("credentials", KindCredentials, Fail, CredentialProviderFailed), check("credentials/provider/p", KindCredentials, Fail, CredentialProviderFailed, ev("deadline", "true")), ladder(KindManifest, CredentialsMissing)), FaultNode, CredentialProviderFailed, Likely, "credentials"},
		{"a registry whose credentials the node should have", all(words(CredentialsMissing), check("credentials", KindCredentials, Pass, "", ev("expectedProvider", "ecr-credential-provider")), ladder(KindManifest, CredentialsMissing)), FaultNode, CredentialsMissing, Likely, "manifest/" + host},
		{"the kubelet has nothing more than the checks", all(words(TagNotFound), check("credentials", KindCredentials, Pass, "", ev("node", "read")), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")), check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous"))), FaultConfig, CredentialsMissing, Confirmed, "manifest/" + host},
		{"a token service that cannot be reached is not its owner's fault yet", all(words(ConnectionTimeout, TokenServiceFailed), ladder(KindManifest, TokenServiceFailed, ev("innerCause", "ConnectionTimeout"))), FaultUndetermined, TokenServiceFailed, Likely, "manifest/" + host},
		{"a token service that answers wrongly is", all(words(TokenServiceFailed), ladder(KindManifest, TokenServiceFailed)), FaultRegistry, TokenServiceFailed, Confirmed, "manifest/" + host},
		{"layers behind an expired certificate", all(words(CertificateExpired, BlobHostUnreachable), ladder(KindImage, BlobHostUnreachable, ev("innerCause", "CertificateExpired"))), FaultRegistry, BlobHostUnreachable, Likely, "image/" + host},
		{"the kubelet got past a login that the checks lack", all(words(TagNotFound), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")), check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous"))), FaultConfig, TagNotFound, Likely, "pod"},
		{"refused with credentials of the node, fine without any", all(words(CredentialsRejected), ladder("", ""), check("pull", KindPull, Pass, "", ev("auth", "anonymous"))), FaultNode, CredentialsRejected, Likely, "pod"},
		{"typo on a registry that hides what exists, secret for another one", all(words(AccessDeniedOrMissing), check("credentials", KindCredentials, Fail, PullSecretOtherRegistry), ladder(KindManifest, AccessDeniedOrMissing, ev("anonymous", "true"))), FaultConfig, PullSecretOtherRegistry, Likely, "credentials"},
		{"the same, and a name like it exists", all(words(AccessDeniedOrMissing), check("credentials", KindCredentials, Fail, PullSecretOtherRegistry), ladder(KindManifest, AccessDeniedOrMissing, ev("anonymous", "true", "suggestRepository", "library/app"))), FaultConfig, AccessDeniedOrMissing, Likely, "manifest/" + host},
		{"secret for another registry", all(words(CredentialsMissing), check("credentials", KindCredentials, Fail, PullSecretOtherRegistry), ladder(KindManifest, CredentialsMissing)), FaultConfig, PullSecretOtherRegistry, Confirmed, "credentials"},
		{"secret for another registry, and a provider of the node may be meant", all(words(CredentialsMissing), check("credentials", KindCredentials, Fail, PullSecretOtherRegistry, ev("possibleProvider", "ecr-credential-provider")), ladder(KindManifest, CredentialsMissing)), FaultConfig, PullSecretOtherRegistry, Likely, "credentials"},
		{"secret for another registry, where the node should have the credentials", all(words(CredentialsMissing), check("credentials", KindCredentials, Fail, PullSecretOtherRegistry, ev("node", "read", "expectedProvider", "ecr-credential-provider")), ladder(KindManifest, CredentialsMissing)), FaultNode, CredentialsMissing, Likely, "manifest/" + host},
		{"credentials of a provider that was not run are refused", all(words(AccessForbidden), check("credentials", KindCredentials, Skipped, "", ev("providerNotRun", "ecr")), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true"))), FaultNode, AccessForbidden, Likely, "pod"},
		{"those of a provider that was not run, or of a secret that was not read", all(words(AccessForbidden), check("credentials", KindCredentials, Skipped, "", ev("providerNotRun", "ecr", "unreadable", "secret regcred")), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true"))), FaultUndetermined, AccessForbidden, Likely, "pod"},
		{"a provider that fails now, and a kubelet that got past the login", all(words(TagNotFound), check("credentials", KindCredentials, Fail, CredentialProviderFailed, ev("node", "read", "unknown", "credential provider ecr")), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")), check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous"))), FaultConfig, TagNotFound, Likely, "pod"},
		{"no such repository on an open registry, secret for another one", all(words(RepositoryNotFound), check("credentials", KindCredentials, Fail, PullSecretOtherRegistry), ladder(KindManifest, RepositoryNotFound, ev("anonymous", "true"))), FaultConfig, RepositoryNotFound, Likely, "manifest/" + host},
		{"reset may come from either end", all(words(ConnectionReset), ladder(KindTLS, ConnectionReset)), FaultNode, ConnectionReset, Likely, "tls/" + host + "/192.0.2.1:443"},
		{"a certificate that should come with its issuer's", all(words(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted, ev("missingIntermediate", "likely"))), FaultUndetermined, CertificateUntrusted, Likely, "tls/" + host + "/192.0.2.1:443"},
		{"403 to a password may be its end", all(words(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("auth", "basic"))), FaultConfig, AccessForbidden, Likely, "manifest/" + host},
		{"an answer that no rule knows", all(words(Undetermined), ladder(KindManifest, Undetermined)), FaultUndetermined, Undetermined, Uncertain, "manifest/" + host},
		{"one of two addresses is bad, and the runtime met it", all(words(CertificateExpired), ladder("", ""), check("tls/"+host+"/192.0.2.2:443", KindTLS, Fail, CertificateExpired)), FaultRegistry, CertificateExpired, Likely, "tls/" + host + "/192.0.2.2:443"},
		{"disk full by a rule of thumb is a remark", all(ladder("", ""), check("disk", KindDisk, Fail, DiskFull, ev("need", "1"))), FaultNone, Healthy, Likely, "image/" + host},
		{"disk full wins where both witnesses agree", all(words(DiskFull), check("disk", KindDisk, Fail, DiskFull), ladder(KindRegistry, RateLimited)), FaultNode, DiskFull, Confirmed, "disk"},
		{"a registry that exists does not resolve", all(words(HostNotFound), resolver(HostNotFound), edited(ladder(KindDNS, HostNotFound), 0, ev("publicRegistry", "true"))), FaultUndetermined, HostNotFound, Confirmed, "dns/" + host},
		{"full disk, and the runtime says so", all(words(DiskFull), check("disk", KindDisk, Fail, DiskFull), ladder("", "")), FaultNode, DiskFull, Confirmed, "disk"},
		{"full disk behind a missing tag", all(words(TagNotFound), check("disk", KindDisk, Fail, DiskFull), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Confirmed, "manifest/" + host},
		{"platform", all(words(PlatformMismatch), ladder(KindImage, PlatformMismatch)), FaultConfig, PlatformMismatch, Confirmed, "image/" + host},

		{"pull works again", all(words(ConnectionReset), ladder("", ""), check("pull", KindPull, Pass, "")), FaultNone, Recovered, Confirmed, "pull"},
		{"pulls, but for another architecture", all(ladder(KindImage, PlatformMismatch), check("pull", KindPull, Pass, "")), FaultConfig, PlatformMismatch, Likely, "image/" + host},
		{"the test pull's words are fresher than the pod's", all(words(HostNotFound), ladder(KindManifest, TagNotFound), check("pull", KindPull, Fail, TagNotFound)), FaultConfig, TagNotFound, Confirmed, "manifest/" + host},
		{"test pull fails where every check passes", all(words(ConnectionReset), ladder("", ""), check("pull", KindPull, Fail, ConnectionReset)), FaultUndetermined, Undetermined, Uncertain, "pull"},
		{"nothing fails, nothing is said", all(ladder("", "")), FaultNone, Healthy, Likely, "image/" + host},
		{"no checks at all", nil, FaultUndetermined, Undetermined, Uncertain, ""},

		{"credentials that have run out", all(words(CredentialsRejected), ladder(KindManifest, CredentialsExpired)), FaultConfig, CredentialsExpired, Confirmed, "manifest/" + host},
		{"an expired token of the node, answered with 403", all(words(AccessForbidden), ladder(KindManifest, CredentialsExpired, ev("usedCredential", "provider ecr"))), FaultNode, CredentialsExpired, Confirmed, "manifest/" + host},
		{"403 to a password that still holds", all(words(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("auth", "basic", "credentialExpires", "2030-01-01T00:00:00Z"))), FaultConfig, AccessForbidden, Confirmed, "manifest/" + host},
		{"403 from a registry that hides what does not exist", all(words(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("existence", "hidden"))), FaultConfig, AccessForbidden, Likely, "manifest/" + host},
		{"403 to everything that this node asks", all(words(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("registryStatus", "403"))), FaultUndetermined, AccessForbidden, Likely, "manifest/" + host},
		{"403 to everything, also to nobody", all(words(AccessDeniedOrMissing), ladder(KindManifest, AccessDeniedOrMissing, ev("registryStatus", "403", "anonymous", "true"))), FaultUndetermined, AccessDeniedOrMissing, Likely, "manifest/" + host},
		{"403 to everything, and a secret for another registry", all(words(AccessDeniedOrMissing), check("credentials", KindCredentials, Fail, PullSecretOtherRegistry), ladder(KindManifest, AccessDeniedOrMissing, ev("registryStatus", "403", "anonymous", "true"))), FaultUndetermined, AccessDeniedOrMissing, Likely, "manifest/" + host},
		{"403 of a token service", all(words(AccessForbidden), refusing(AccessForbidden)), FaultConfig, AccessForbidden, Likely, "manifest/" + host},
		{"403 of a token service to a password that still holds", all(words(AccessForbidden), refusing(AccessForbidden, ev("credentialExpires", "2030-01-01T00:00:00Z"))), FaultConfig, AccessForbidden, Confirmed, "manifest/" + host},
		{"a web page in the place of a token service", all(words(TokenServiceFailed), refusing(TokenServiceFailed, ev("contentType", "text/html", "status", "403"))), FaultUndetermined, TokenServiceFailed, Likely, "manifest/" + host},
		{"a token service that is down, in HTML", all(words(TokenServiceFailed), refusing(TokenServiceFailed, ev("contentType", "text/html", "status", "503"))), FaultRegistry, TokenServiceFailed, Confirmed, "manifest/" + host},
		{"a policy of the registry that credentials of the node meet", all(words(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("policy", "true", "usedCredential", "node /root/.docker/config.json"))), FaultConfig, AccessForbidden, Confirmed, "manifest/" + host},
		{"too little room by an estimate", all(words(DiskFull), check("disk", KindDisk, Fail, DiskFull, ev("need", "1", "estimated", "true")), ladder("", "")), FaultNode, DiskFull, Likely, "disk"},
		{"layers missing at a mirror, and had upstream", all(at(mirror, ladder("", "")), at(host, ladder("", "")), check("blob/"+mirror, KindBlob, Fail, LayerCorrupt), check("blob/"+host, KindBlob, Pass, ""), check("pull", KindPull, Pass, "")), FaultNone, Healthy, Confirmed, "pull"},
		{"layers missing at a mirror, and no pull was made", all(at(mirror, ladder("", "")), at(host, ladder("", "")), check("blob/"+mirror, KindBlob, Fail, LayerCorrupt), check("blob/"+host, KindBlob, Pass, "")), FaultNone, Healthy, Likely, "blob/" + host},
		{"a store that rejects what the registry signed", all(words(AccessForbidden, BlobHostUnreachable), ladder("", ""), check("blob/"+host, KindBlob, Fail, BlobHostUnreachable, ev("innerCause", "AccessForbidden", "code", "SignatureDoesNotMatch"))), FaultRegistry, BlobHostUnreachable, Likely, "blob/" + host},
		{"the sandbox image is not to be had", all(with(reference(), func(c *Check) { c.Target = "pause:3" }), check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent")), check("runtime/sandbox", KindRuntime, Pass, "", ev("present", "false", "image", "pause:3")), ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))), FaultNode, SandboxImageUnavailable, Likely, "runtime/sandbox"},
		{"no sandbox yet, and the image can be had", all(check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent")), ladder("", "")), FaultNone, NotAPullProblem, Likely, "pod"},
		{"no sandbox yet, and no such tag when it comes to that", all(check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent")), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Likely, "manifest/" + host},
		{"no sandbox image, but the pod has its sandbox", all(words(TagNotFound), check("runtime/sandbox", KindRuntime, Pass, "", ev("present", "false", "image", "pause:3")), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Confirmed, "manifest/" + host},
		{"a full disk before anything is said", all(check("disk", KindDisk, Fail, DiskFull), ladder("", "")), FaultNode, DiskFull, Likely, "disk"},
		{"behind another pull", all(check("pod", KindPod, Pass, "", ev("creating", "true")), check("queue", KindPod, Pass, "", ev("ahead", "shop/other")), ladder("", "")), FaultNode, PullQueueLimited, Likely, "queue"},
		{"behind another pull, but its own way is blocked too", all(check("pod", KindPod, Pass, "", ev("creating", "true")), check("queue", KindPod, Pass, "", ev("ahead", "shop/other")), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Likely, "manifest/" + host},
		{"timed out by our shorter deadline, on a node that knows nothing of the host", all(words(ConnectionTimeout), local("0"), ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))), FaultUndetermined, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443"},
		{"404 where not even the repository is known", all(words(TagNotFound), ladder(KindManifest, TagNotFound, ev("repository", "unknown"))), FaultConfig, TagNotFound, Likely, "manifest/" + host},
		{"the test pull had no credentials, the kubelet says nothing of the kind", all(words(Undetermined), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")), check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous"))), FaultConfig, CredentialsMissing, Likely, "manifest/" + host},
		{"refused, and the image came in the meantime", all(words(CredentialsRejected), check("local/"+host, KindImage, Pass, "", ev("present", "true")), ladder(KindManifest, CredentialsRejected)), FaultConfig, CredentialsRejected, Likely, "manifest/" + host},
		{"on the node, pulled by a pod with credentials", all(words(CredentialsMissing), check("local/"+host, KindImage, Pass, "", ev("present", "true")), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true"))), FaultConfig, PresentNotAuthorized, Likely, "local/" + host},
		{"on the node, but to be pulled whatever is there", all(check("pod", KindPod, Fail, CredentialsMissing, ev("policy", "Always")), check("local/"+host, KindImage, Pass, "", ev("present", "true")), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true"))), FaultConfig, CredentialsMissing, Confirmed, "manifest/" + host},
		{"names by other means", all(words(ResolverFailed), edited(ladder(KindDNS, ResolverFailed), 0, ev("nsswitchOthers", "ldap"))), FaultNode, ResolverFailed, Likely, "dns/" + host},
		{"no such tag, asked without the pod's secrets", all(words(TagNotFound), check("credentials", KindCredentials, Skipped, ""), ladder(KindManifest, TagNotFound, ev("anonymous", "true"))), FaultConfig, TagNotFound, Likely, "manifest/" + host},
		{"a platform that the publisher left out", all(words(PlatformMismatch), ladder(KindImage, PlatformMismatch, ev("publisher", "true"))), FaultRegistry, PlatformMismatch, Confirmed, "image/" + host},

		{"SERVFAIL for every name", all(words(ResolverFailed), ladder(KindDNS, ResolverFailed), check("control", KindControl, Fail, ResolverFailed)), FaultNode, ResolverFailed, Confirmed, "dns/" + host},
		{"SERVFAIL for this name alone", all(words(ResolverFailed), ladder(KindDNS, ResolverFailed), check("control", KindControl, Pass, "")), FaultUndetermined, ResolverFailed, Likely, "dns/" + host},
		{"no answer for this name alone", all(words(ResolverUnreachable), ladder(KindDNS, ResolverUnreachable), check("control", KindControl, Pass, "")), FaultUndetermined, ResolverUnreachable, Likely, "dns/" + host},
		{"NXDOMAIN from the first resolver only", all(words(HostNotFound), local("0"), resolver(HostNotFound), knows("192.0.2.54:53"), ladder(KindDNS, HostNotFound)), FaultNode, HostNotFound, Confirmed, "dns/" + host},
		{"another resolver's address has the right certificate", all(words(CertificateNameMismatch), ladder(KindTLS, CertificateNameMismatch), elsewhere(Pass)), FaultNode, ResolverWrongAnswer, Confirmed, "dns/" + host},
		{"another resolver's address is served, the runtime's refuses", all(words(ConnectionRefused), ladder(KindDial, ConnectionRefused), elsewhere(Pass)), FaultNode, ResolverWrongAnswer, Likely, "dns/" + host},
		{"another resolver's address is served, the runtime's has let its certificate expire", all(words(CertificateExpired), ladder(KindTLS, CertificateExpired), elsewhere(Pass)), FaultNode, ResolverWrongAnswer, Likely, "dns/" + host},
		{"another resolver's address is no better", all(words(CertificateNameMismatch), ladder(KindTLS, CertificateNameMismatch), elsewhere(Fail)), FaultRegistry, CertificateNameMismatch, Confirmed, "tls/" + host + "/192.0.2.1:443"},
		{"a sinkhole's address", all(words(ConnectionRefused), local("0"), edited(ladder(KindDial, ConnectionRefused), 0, ev("special", "unspecified"))), FaultNode, ResolverWrongAnswer, Likely, "dns/" + host},
		{"this machine's address for a private registry may be right", all(words(ConnectionRefused), local("0"), edited(ladder(KindDial, ConnectionRefused), 0, ev("special", "loopback"))), FaultUndetermined, ConnectionRefused, Confirmed, "dial/" + host + "/192.0.2.1:443"},
		{"this machine's address for a public registry", all(words(ConnectionRefused), edited(ladder(KindDial, ConnectionRefused), 0, ev("special", "loopback", "publicRegistry", "true"))), FaultNode, ResolverWrongAnswer, Likely, "dns/" + host},
		{"the same, where the checks do not go", all(words(ConnectionRefused), edited(unasked(), 0, ev("special", "loopback", "publicRegistry", "true"))), FaultNode, ResolverWrongAnswer, Likely, "dns/" + host},
		{"a private address for a public registry that another resolver has elsewhere", all(words(CertificateNameMismatch), edited(ladder(KindTLS, CertificateNameMismatch), 0, ev("special", "private", "disagree", "true", "publicRegistry", "true"))), FaultNode, ResolverWrongAnswer, Likely, "dns/" + host},
		{"a private address for a private registry is no wrong answer", all(words(ConnectionRefused), local("0"), edited(ladder(KindDial, ConnectionRefused), 0, ev("special", "private"))), FaultUndetermined, ConnectionRefused, Confirmed, "dial/" + host + "/192.0.2.1:443"},

		{"another authority before a public registry", all(words(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted, ev("publicRegistry", "true", "sct", "false"))), FaultNode, TLSIntercepted, Likely, "tls/" + host + "/192.0.2.1:443"},
		{"a private authority of a private registry", all(words(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted)), FaultNode, CertificateUntrusted, Confirmed, "tls/" + host + "/192.0.2.1:443"},
		{"a chain without its middle, seen whole at another address", all(words(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted, ev("missingIntermediate", "true"))), FaultRegistry, CertificateInvalid, Confirmed, "tls/" + host + "/192.0.2.1:443"},
		{"only one server says that the clock is wrong", all(words(CertificateExpired), ladder(KindTLS, ClockSkewed), check("clock/"+host, KindClock, Fail, ClockSkewed, ev("servers", "1"))), FaultNode, ClockSkewed, Likely, "tls/" + host + "/192.0.2.1:443"},
		{"two servers say that the clock is wrong", all(words(CertificateExpired), ladder(KindTLS, ClockSkewed), check("clock/"+host, KindClock, Fail, ClockSkewed, ev("servers", "2"))), FaultNode, ClockSkewed, Confirmed, "tls/" + host + "/192.0.2.1:443"},
		{"a certificate that begins later", all(words(CertificateNotYetValid), ladder(KindTLS, CertificateNotYetValid)), FaultNode, CertificateNotYetValid, Confirmed, "tls/" + host + "/192.0.2.1:443"},
		{"a certificate that begins later, by the server's clock, too", all(words(CertificateNotYetValid), ladder(KindTLS, CertificateNotYetValid), check("clock/"+host, KindClock, Pass, "")), FaultUndetermined, CertificateNotYetValid, Likely, "tls/" + host + "/192.0.2.1:443"},
		{"a certificate that begins later, by a third clock", all(words(CertificateNotYetValid), ladder(KindTLS, CertificateNotYetValid, ev("agreesWith", "other.example"))), FaultUndetermined, CertificateNotYetValid, Likely, "tls/" + host + "/192.0.2.1:443"},
		{"an authority of the node has expired", all(words(CertificateExpired), ladder(KindTLS, CertificateExpired, ev("expiredFrom", "node"))), FaultNode, CertificateExpired, Confirmed, "tls/" + host + "/192.0.2.1:443"},
		{"a search domain that answers for everything", all(words(CertificateNameMismatch), edited(ladder(KindTLS, CertificateNameMismatch), 0, ev("via", "corp.example", "wildcard", "true"))), FaultNode, ResolverWrongAnswer, Likely, "dns/" + host},
		{"a token that was never good by the registry's clock", all(words(CredentialsRejected), check("token/"+host, KindToken, Pass, "", ev("byRegistryClock", "expired")), ladder(KindManifest, CredentialsRejected)), FaultRegistry, TokenServiceFailed, Confirmed, "token/" + host},

		{"an authority in a hosts.toml that is ignored", all(words(CertificateUntrusted), ignored(), ladder(KindTLS, CertificateUntrusted)), FaultNode, RuntimeConfigInvalid, Likely, "hosts/" + host},
		{"a tag that may be on the mirror of a hosts.toml that is ignored", all(words(TagNotFound), ignored(), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Likely, "manifest/" + host},
		{"a trust store newer than the runtime", all(newer("runtime/ca"), edited(ladder("", ""), 2, ev("rootNewer", "/etc/ssl/certs/ca.pem")), check("pull", KindPull, Fail, CertificateUntrusted)), FaultNode, RuntimeConfigStale, Confirmed, "runtime/ca"},
		{"a trust store newer than the runtime, by the kubelet's older words", all(words(CertificateUntrusted), newer("runtime/ca"), edited(ladder("", ""), 2, ev("rootNewer", "/etc/ssl/certs/ca.pem"))), FaultNode, RuntimeConfigStale, Likely, "runtime/ca"},
		{"a newer trust store that is not why", all(words(CertificateUntrusted), newer("runtime/ca"), ladder("", "")), FaultUndetermined, Undetermined, Uncertain, "pod"},
		{"a config.toml newer than the runtime", all(newer("runtime/config.toml", ev("differs", "config_path")), ladder("", ""), check("pull", KindPull, Fail, TagNotFound)), FaultNode, RuntimeConfigStale, Confirmed, "runtime/config.toml"},
		{"a config.toml that says the same", all(newer("runtime/config.toml"), ladder("", ""), check("pull", KindPull, Fail, TagNotFound)), FaultUndetermined, Undetermined, Uncertain, "pull"},
		{"a proxy that the runtime does not have yet", all(words(ConnectionTimeout), newer("runtime/environment", ev("proxyDiffers", "true")), ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))), FaultNode, RuntimeConfigStale, Likely, "runtime/environment"},

		{"mirror's 404, upstream out of reach", all(words(TagNotFound), containerd("v2.4.2"), at(mirror, ladder(KindManifest, TagNotFound, ev("status", "404"))), at(host, ladder(KindDial, ConnectionTimeout, ev("deadline", "true")))), FaultUndetermined, ConnectionTimeout, Likely, "dial/" + host},
		{"mirror refused, tag not upstream: the runtime shows the latter", all(words(TagNotFound), containerd("v2.4.2"), at(mirror, ladder(KindDial, ConnectionRefused)), at(host, ladder(KindManifest, TagNotFound, ev("status", "404")))), FaultConfig, TagNotFound, Confirmed, "manifest/" + host},
		{"the same of an older containerd, which shows the first", all(words(TagNotFound), containerd("1.7.29"), at(mirror, ladder(KindDial, ConnectionRefused)), at(host, ladder(KindManifest, TagNotFound, ev("status", "404")))), FaultConfig, TagNotFound, Likely, "manifest/" + host},
		{"a mirror that serves something else than the upstream", all(words(PlatformMismatch), at(mirror, edited(ladder(KindImage, PlatformMismatch), 4, ev("digest", "sha256:1"))), at(host, edited(ladder("", ""), 4, ev("digest", "sha256:2")))), FaultNode, MirrorFaulty, Confirmed, "image/" + mirror},
		{"a mirror that serves something, and nobody knows what the upstream has", all(words(PlatformMismatch), at(mirror, ladder(KindImage, PlatformMismatch)), at(host, ladder("", ""))), FaultNode, MirrorFaulty, Likely, "image/" + mirror},
		{"mirror's 404, upstream not asked to the end", all(words(TagNotFound), containerd("v2.4.2"), at(mirror, ladder(KindManifest, TagNotFound, ev("status", "404"))), at(host, []Check{check("manifest", KindManifest, Unknown, "")})), FaultConfig, TagNotFound, Likely, "manifest/" + mirror},
		{"a mirror that serves what the upstream has", all(words(PlatformMismatch), at(mirror, edited(ladder(KindImage, PlatformMismatch), 4, ev("digest", "sha256:1"))), at(host, edited(ladder("", ""), 4, ev("digest", "sha256:1")))), FaultConfig, PlatformMismatch, Confirmed, "image/" + mirror},
		{"a mirror that shows a web page for the manifest", all(words(Undetermined, MirrorFaulty), at(mirror, ladder(KindManifest, Undetermined, ev("status", "200"))), at(host, ladder("", ""))), FaultNode, MirrorFaulty, Confirmed, "manifest/" + mirror},
		{"a mirror that answers 503 where the upstream is out of reach", all(words(RegistryUnavailable), at(mirror, ladder(KindRegistry, RegistryUnavailable)), at(host, ladder(KindDial, ConnectionTimeout, ev("deadline", "true")))), FaultNode, MirrorFaulty, Likely, "registry/" + mirror},
		{"a black hole of a mirror before a good upstream", all(check("pod", KindPod, Pass, "", ev("creating", "true")), at(mirror, ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))), at(host, ladder("", ""))), FaultNode, MirrorFaulty, Likely, "dial/" + mirror},
		{"a refusing mirror before a good upstream", all(at(mirror, ladder(KindDial, ConnectionRefused)), at(host, ladder("", "")), check("pull", KindPull, Pass, "")), FaultNone, Healthy, Confirmed, "pull"},

		{"a token service whose name the runtime cannot resolve either", all(with(words(HostNotFound), ev("step", "token")), ladder(KindManifest, TokenServiceFailed, ev("innerCause", "HostNotFound"))), FaultUndetermined, TokenServiceFailed, Likely, "manifest/" + host},
		{"layers that nobody answers for", all(with(words(ConnectionRefused), ev("step", "blob")), ladder("", ""), check("blob/"+host, KindBlob, Fail, BlobHostUnreachable, ev("innerCause", "ConnectionRefused"))), FaultUndetermined, BlobHostUnreachable, Likely, "blob/" + host},
		{"a web page for a layer", all(with(words(ConnectionReset), ev("step", "blob")), ladder("", ""), check("blob/"+host, KindBlob, Fail, BlobHostUnreachable, ev("innerCause", "Undetermined", "contentType", "text/html"))), FaultNode, BlobHostUnreachable, Likely, "blob/" + host},
		{"a small image that does not come", all(edited(ladder("", ""), 5, ev("size", "4096")), check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5"))), FaultNode, PullTimedOut, Likely, "pull"},
		{"a resolver that every lookup waits for", all(edited(edited(ladder("", ""), 5, ev("size", "4096")), 0, ev("passedOver", "1")), check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5"))), FaultNone, Healthy, Likely, "dns/" + host},
		{"layers that an anonymous pull may not have", all(ladder("", ""), check("pull", KindPull, Fail, AccessForbidden, ev("auth", "anonymous", "step", "blob"))), FaultConfig, AccessDeniedOrMissing, Likely, "pull"},
		{"a large image that has not come yet", all(edited(ladder("", ""), 5, ev("size", "400000000")), check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5"))), FaultUndetermined, Undetermined, Uncertain, "pull"},
		{"a mirror that holds up the test pull", all(at(mirror, ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))), at(host, ladder("", "")), check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5"))), FaultNode, MirrorFaulty, Likely, "dial/" + mirror},
		{"layers that nobody may have without credentials", all(words(AccessForbidden), edited(ladder("", ""), 4, ev("anonymous", "true")), check("blob/"+host, KindBlob, Fail, AccessForbidden)), FaultConfig, AccessDeniedOrMissing, Confirmed, "blob/" + host},
		{"a host that shows web pages", all(edited(edited(ladder(KindManifest, TagNotFound, ev("contentType", "text/html; charset=utf-8")), 3, func(c *Check) { c.Outcome = Unknown }), 3, ev("contentType", "text/html"))), FaultUndetermined, Undetermined, Uncertain, "manifest/" + host},
		{"a node that asks no DNS", all(words(HostNotFound), edited(ladder(KindDNS, HostNotFound), 0, ev("nsswitch", "files"))), FaultNode, HostNotFound, Confirmed, "dns/" + host},
		{"no room for the image", all(ladder("", ""), check("disk", KindDisk, Fail, DiskFull, ev("need", "1")), check("pull", KindPull, Skipped, "", ev("skipped", "noSpace"))), FaultNode, DiskFull, Likely, "disk"},
		{"layers spoilt by a mirror", all(at(mirror, ladder("", "")), at(host, ladder("", "")), check("pull", KindPull, Fail, LayerCorrupt, ev("step", "blob"))), FaultNode, MirrorFaulty, Likely, "manifest/" + mirror},
		{"an image verifier of the node refuses", all(ladder("", ""), check("pull", KindPull, Fail, SignatureRejected, ev("step", "verify"))), FaultConfig, SignatureRejected, Likely, "pull"},
		{"an image verifier of the node fails", all(ladder("", ""), check("pull", KindPull, Fail, SignatureRejected, ev("step", "verifier"))), FaultNode, SignatureRejected, Likely, "pull"},
		{"layers spoilt with no mirror between", all(ladder("", ""), check("pull", KindPull, Fail, LayerCorrupt, ev("step", "blob"))), FaultRegistry, LayerCorrupt, Likely, "pull"},
		{"a runtime that does not say how it is", all(ladder("", ""), check("runtime", KindRuntime, Error, "")), FaultUndetermined, Undetermined, Uncertain, "image/" + host},
		{"a server that knows no registry's paths", all(edited(edited(ladder(KindManifest, TagNotFound, ev("status", "404")), 3, func(c *Check) { c.Outcome = Unknown }), 3, ev("status", "404", "contentType", "text/plain"))), FaultUndetermined, Undetermined, Uncertain, "manifest/" + host},
		{"words on the way to a token service where the probes do not go", all(with(words(NetworkUnreachable), ev("step", "token")), ladder(KindManifest, "", func(c *Check) { c.Outcome, c.BlockedBy = Skipped, "token/"+host }), check("token/"+host, KindToken, Skipped, "", ev("realmHost", "169.254.169.254", "refused", "a link-local address"))), FaultUndetermined, TokenServiceFailed, Likely, "pod"},
		{"layers where the probes do not go", all(ladder("", ""), check("blob/"+host, KindBlob, Skipped, "", ev("refused", "a link-local address", "blobHost", "169.254.169.254"))), FaultUndetermined, Undetermined, Uncertain, "blob/" + host},
		{"a manifest behind a redirect to a name that nobody knows", all(knows("192.0.2.53:53"), ladder(KindManifest, HostNotFound, ev("redirectedTo", "elsewhere.example"))), FaultUndetermined, HostNotFound, Likely, "manifest/" + host},
		{"503 in HTML from what stands before the registry", all(edited(edited(ladder(KindManifest, RegistryUnavailable, ev("contentType", "text/html", "status", "503")), 3, func(c *Check) { c.Outcome, c.Cause = Fail, RegistryUnavailable }), 3, ev("contentType", "text/html"))), FaultRegistry, RegistryUnavailable, Likely, "manifest/" + host},
		{"a dead address before a good one", all(edited(edited(ladder("", ""), 1, ev("taken", "true", "afterMs", "15000")), 5, ev("size", "4096")), check("dial/"+host+"/192.0.2.2:443", KindDial, Fail, ConnectionTimeout, ev("deadline", "true")), check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5"))), FaultNone, Healthy, Likely, "dial/" + host + "/192.0.2.2:443"},
		{"an answer of one family that does not come", all(edited(ladder("", ""), 5, ev("size", "4096")), check("dns/"+host+"/192.0.2.53:53", KindDNS, Pass, "", ev("AAAA", "timeout")), check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5"))), FaultNone, Healthy, Likely, "dns/" + host + "/192.0.2.53:53"},
		{"layers on a host that is out of reach", all(words(ConnectionTimeout, BlobHostUnreachable), ladder("", ""), check("blob/"+host, KindBlob, Fail, BlobHostUnreachable, ev("innerCause", "ConnectionTimeout", "deadline", "true"))), FaultUndetermined, BlobHostUnreachable, Likely, "blob/" + host},
		{"the layers' host answers now", all(words(BlobHostUnreachable), ladder("", ""), check("blob/"+host, KindBlob, Pass, "")), FaultUndetermined, Undetermined, Uncertain, "pod"},
	}
}

const mirror = "mirror.example"

// at moves the checks to another host, one check to each rung.
func at(h string, checks []Check) []Check {
	out := slices.Clone(checks)
	for i := range out {
		out[i].Host = h
		out[i].ID = string(out[i].Kind) + "/" + h
		if out[i].BlockedBy != "" && i > 0 {
			out[i].BlockedBy = out[i-1].ID
		}
	}
	return out
}

// edited changes one of the checks.
func edited(checks []Check, i int, e edit) []Check {
	e(&checks[i])
	return checks
}

func with(c Check, e edit) Check {
	e(&c)
	return c
}

func knows(resolver string) Check {
	return check("dns/"+host+"/"+resolver, KindDNS, Pass, "")
}

// unasked is a host that was not dialled for safety's sake.
func unasked() []Check {
	return []Check{check("dns/"+host, KindDNS, Pass, ""), check("dial/"+host+"/127.0.0.1:443", KindDial, Skipped, ""), blocked("manifest/"+host, KindManifest, "dial/"+host+"/127.0.0.1:443")}
}

func elsewhere(o Outcome) Check {
	return check("elsewhere/"+host+"/192.0.2.9:443", KindTLS, o, "")
}

func ignored() Check {
	return check("hosts/"+host, KindRuntime, Fail, RuntimeConfigInvalid, ev("ignored", "true", "file", "/etc/containerd/certs.d/"+host+"/hosts.toml", "reason", "toml: line 1"))
}

func newer(id string, edits ...edit) Check {
	return check(id, KindRuntime, Pass, "", append(edits, ev("newer", "true"))...)
}

func containerd(version string) Check {
	return check("runtime", KindRuntime, Pass, "", ev("name", "containerd", "version", version))
}
