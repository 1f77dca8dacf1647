package diagnosis_test

import (
	"slices"
	"strconv"

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

// saying sets the summary of a check.
func saying(summary string) edit { return func(c *Check) { c.Summary = summary } }

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

// reported returns the pod's check with a message of the kubelet, classified.
func reported(cause Cause, could ...Cause) Check {
	list := ""
	for _, c := range could {
		list += string(c) + ","
	}
	return check("pod", KindPod, Fail, cause, ev("could", list, "namespace", "shop", "name", "web"))
}

// ladder returns the checks of one host, up to the one that fails.
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
			out = append(out, check(r.id, r.kind, Fail, cause, append([]edit{ev(plain[cause]...)}, edits...)...))
			blocker = r.id
		case r.kind == KindDNS:
			out = append(out, check(r.id, r.kind, Pass, "", ev("sibling", "none")))
		case r.kind == KindRegistry:
			out = append(out, check(r.id, r.kind, Pass, "", ev("isRegistry", "true")))
		default:
			out = append(out, check(r.id, r.kind, Pass, ""))
		}
	}
	return out
}

// plain is the evidence that excludes every rival of a cause. Situations about
// something else have it; TestRivals removes it piece by piece.
var plain = map[Cause][]string{
	TagNotFound:         {"status", "404", "getStatus", "404", "listed", "false", "repository", "exists"},
	RepositoryNotFound:  {"status", "404", "getStatus", "404", "code", "NAME_UNKNOWN", "challenged", "true"},
	CredentialsRejected: {"status", "401", "auth", "basic"},
	CredentialsExpired:  {"credentialExpires", "2026-01-01T00:00:00Z"},
	PlatformMismatch:    {"platforms", "linux/s390x"},
	PlainHTTPRegistry:   {"httpAnswer", "registry"},
	CertificateExpired:  {"serverDate", "2026-11-21T10:33:07Z", "names", host},
	RegistryUnavailable: {"status", "503"},
	UnsupportedManifest: {"mediaType", "application/x"},
	NetworkUnreachable:  {"errno", "EACCES"},
}

// pullable returns the checks of a host from which everything can be pulled.
func pullable() []Check {
	return append(ladder("", ""), check("blob/"+host, KindBlob, Pass, ""))
}

// secret returns the failed check of the pod's secrets, where the node's own
// credentials are known.
func secret(cause Cause, edits ...edit) Check {
	return check("credentials", KindCredentials, Fail, cause, append([]edit{ev("node", "read", "secret", "regcred")}, edits...)...)
}

// refusing returns the checks of a registry whose token service returns no token.
func refusing(cause Cause, edits ...edit) []Check {
	token := check("token/"+host, KindToken, Fail, cause, edits...)
	return append([]Check{token}, ladder(KindManifest, cause, append(edits, func(c *Check) { c.BlockedBy = token.ID })...)...)
}

// opinion returns what other nodes see of the host: how many get through, and how many
// fail with these causes.
func opinion(reached, failed int, how string) Check {
	return check("elsewhere/"+host, KindElsewhere, Pass, "", ev(
		"addresses", "192.0.2.1, 192.0.2.2", "asked", strconv.Itoa(reached+failed), "reached", strconv.Itoa(reached), "failed", strconv.Itoa(failed), "how", how, "which", "node-b",
	))
}

// reaching sets the addresses that the others connect to.
func reaching(c Check, addresses string) Check {
	c.Evidence["addresses"] = addresses
	return c
}

// unanswered is the same where no other node has checked the host.
func unanswered() Check {
	c := opinion(2, 0, "")
	c.Outcome = Skipped
	return c
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

// situation is evidence and the verdict that it must lead to. The keys of the
// evidence are literals here, so that these tests pin the constants' values.
type situation struct {
	name       string
	checks     []Check
	fault      Fault
	cause      Cause
	confidence Confidence
	because    string // the first id
}

func situations() []situation {
	return slices.Concat(
		situationsOfWeakAnswers(),
		situationsOfAgreement(),
		situationsOfBeforeThePull(),
		situationsOfReach(),
		situationsOfSecrets(),
		situationsOfProviders(),
		situationsOfPulls(),
		situationsOfAnswers(),
		situationsOfNames(),
		situationsOfTrust(),
		situationsOfConfig(),
		situationsOfMirrors(),
		situationsOfLayers(),
		situationsOfWeakChecks(),
		situationsOfThingsBetween(),
		situationsOfPodsThatDoNotWait(),
	)
}

func situationsOfAgreement() []situation {
	return []situation{
		{
			"both sources agree",
			all(reported(TagNotFound), ladder(KindManifest, TagNotFound)),
			FaultConfig, TagNotFound, Confirmed, "manifest/" + host,
		},
		{
			"the message may mean it",
			all(reported(TagNotFound, RepositoryNotFound), ladder(KindManifest, RepositoryNotFound)),
			FaultConfig, RepositoryNotFound, Confirmed, "manifest/" + host,
		},
		{
			"a short name is no proof of another one",
			all(reported(RepositoryNotFound), ladder(KindManifest, RepositoryNotFound, ev("suggestRepository", "app", "shortName", "true"))),
			FaultConfig, RepositoryNotFound, Likely, "manifest/" + host,
		},
		{
			"checks alone",
			all(ladder(KindManifest, TagNotFound)),
			FaultConfig, TagNotFound, Likely, "manifest/" + host,
		},
		{
			"message only, of a later stage",
			all(reported(LayerCorrupt), ladder("", "")),
			FaultRegistry, LayerCorrupt, Likely, "pod",
		},
		{
			"a layer of which nothing was written",
			all(check("pod", KindPod, Fail, LayerCorrupt, ev("step", "empty")), ladder("", "")),
			FaultNode, LayerCorrupt, Likely, "pod",
		},
		{
			"a message that every check contradicts",
			all(reported(ConnectionReset), ladder("", "")),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pod",
		},
		{
			"an unknown message, checks pass",
			all(reported(Undetermined), ladder("", "")),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pod",
		},
		{
			"an unknown message, a check fails",
			all(reported(Undetermined), ladder(KindTLS, CertificateUntrusted)),
			FaultNode, CertificateUntrusted, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"a later failure than the message names",
			all(reported(ConnectionRefused), ladder(KindManifest, TagNotFound)),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "manifest/" + host,
		},
	}
}

func situationsOfBeforeThePull() []situation {
	return []situation{
		{
			"invalid reference is proven",
			[]Check{check("reference", KindReference, Fail, InvalidReference), reported(InvalidReference)},
			FaultConfig, InvalidReference, Confirmed, "reference",
		},
		{
			"Never is proven",
			all(
				check("pod", KindPod, Fail, NeverPullNotPresent, ev("proven", "true")),
				check("local/"+host, KindImage, Pass, "", ev("present", "false")),
				ladder("", ""),
			),
			FaultConfig, NeverPullNotPresent, Confirmed, "pod",
		},
		{
			"Never, but the image is present",
			all(
				check("pod", KindPod, Fail, NeverPullNotPresent, ev("proven", "true")),
				check("local/"+host, KindImage, Pass, "", ev("present", "true")),
				ladder("", ""),
			),
			FaultConfig, PresentNotAuthorized, Likely, "pod",
		},
		{
			"Never, the image is present by now, a kubelet that refuses no pod a present image",
			all(
				check("pod", KindPod, Fail, NeverPullNotPresent, ev("proven", "true", "kubelet", "1.33")),
				check("local/"+host, KindImage, Pass, "", ev("present", "true")),
				ladder("", ""),
			),
			FaultNone, Recovered, Likely, "local/" + host,
		},
		{
			"not a pull problem",
			all(check("pod", KindPod, Pass, NotAPullProblem), ladder(KindDial, ConnectionRefused)),
			FaultNone, NotAPullProblem, Confirmed, "pod",
		},
		{
			"being created, image present",
			all(
				check("pod", KindPod, Pass, "", ev("creating", "true")),
				check("local/"+host, KindImage, Pass, "", ev("present", "true")),
				ladder("", ""),
			),
			FaultNone, NotAPullProblem, Likely, "local/" + host,
		},
		{
			"being created, image present, policy Always",
			all(
				check("pod", KindPod, Pass, "", ev("creating", "true", "policy", "Always")),
				check("local/"+host, KindImage, Pass, "", ev("present", "true")),
				ladder(KindManifest, TagNotFound),
			),
			FaultConfig, TagNotFound, Likely, "manifest/" + host,
		},
		{
			"being created, path clear",
			all(check("pod", KindPod, Pass, "", ev("creating", "true")), ladder("", "")),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "image/" + host,
		},
		{
			"runtime unavailable",
			all(reported(RuntimeUnavailable), check("runtime", KindRuntime, Fail, RuntimeUnavailable)),
			FaultNode, RuntimeUnavailable, Confirmed, "runtime",
		},
	}
}

func situationsOfReach() []situation {
	return []situation{
		{
			"slow runtime, connection refused",
			all(
				check(
					"runtime",
					KindRuntime,
					Fail,
					RuntimeUnavailable,
					ev("why", "hung", "version", "v2.4.2"),
				),
				ladder(KindDial, ConnectionRefused),
			),
			FaultUndetermined, ConnectionRefused, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"silent runtime, connection refused",
			all(
				check("runtime", KindRuntime, Fail, RuntimeUnavailable, ev("why", "hung")),
				ladder(KindDial, ConnectionRefused),
			),
			FaultNode, RuntimeUnavailable, Likely, "runtime",
		},
		{
			"refused, seen from one node",
			all(reported(ConnectionRefused), imagesHere("0"), ladder(KindDial, ConnectionRefused)),
			FaultUndetermined, ConnectionRefused, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"refused, images pulled before",
			all(reported(ConnectionRefused), imagesHere("3"), ladder(KindDial, ConnectionRefused)),
			FaultNode, ConnectionRefused, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, two other nodes get through",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), opinion(2, 0, "")),
			FaultNode, ConnectionTimeout, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, two other nodes get through to another address",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), reaching(opinion(2, 0, ""), "192.0.2.9")),
			FaultNode, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"reset, two other nodes get through to another address",
			all(reported(ConnectionReset), ladder(KindDial, ConnectionReset), reaching(opinion(2, 0, ""), "192.0.2.9")),
			FaultNode, ConnectionReset, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, some others get through and some do not",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), opinion(2, 5, "ConnectionTimeout")),
			FaultNode, ConnectionTimeout, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"untrusted where no CA certificate is, and the runtime's are not known",
			all(ladder(KindTLS, CertificateUntrusted, ev("roots", "0")), check("runtime", KindRuntime, Skipped, "")),
			FaultUndetermined, CertificateUntrusted, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, one other node gets through",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), opinion(1, 0, "")),
			FaultNode, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, one other node gets through and one does not",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), opinion(1, 1, "ConnectionTimeout")),
			FaultNode, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, one other node gets through and many do not",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), opinion(1, 9, "ConnectionTimeout")),
			FaultUndetermined, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out before the runtime would, and two other nodes get through",
			all(ladder(KindDial, ConnectionTimeout, ev("deadline", "true")), opinion(2, 0, "")),
			FaultNode, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"refused on all nodes, which have nothing else in common",
			all(reported(ConnectionRefused), ladder(KindDial, ConnectionRefused), with(opinion(0, 2, "ConnectionRefused"), ev("rivals", "none"))),
			FaultRegistry, ConnectionRefused, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"refused on all nodes, which may have one egress",
			all(reported(ConnectionRefused), ladder(KindDial, ConnectionRefused), with(opinion(0, 2, "ConnectionRefused"), ev("rivals", "they may all have the same egress"))),
			FaultRegistry, ConnectionRefused, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, two other nodes fail too",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), opinion(0, 2, "ConnectionTimeout, ConnectionRefused")),
			FaultRegistry, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, and two other nodes have no route",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), opinion(0, 2, "NetworkUnreachable")),
			FaultUndetermined, ConnectionTimeout, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, images pulled before, and two other nodes fail too",
			all(reported(ConnectionTimeout), imagesHere("3"), ladder(KindDial, ConnectionTimeout), opinion(0, 2, "ConnectionTimeout")),
			FaultRegistry, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, one other node fails too",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), opinion(0, 1, "ConnectionTimeout")),
			FaultUndetermined, ConnectionTimeout, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, other nodes do not even resolve the name",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), opinion(0, 2, "HostNotFound")),
			FaultUndetermined, ConnectionTimeout, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out, and other nodes could not answer",
			all(reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), unanswered()),
			FaultUndetermined, ConnectionTimeout, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"reset, two other nodes get through",
			all(reported(ConnectionReset), ladder(KindDial, ConnectionReset), opinion(2, 0, "")),
			FaultNode, ConnectionReset, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"a router reports it as unreachable, two other nodes get through",
			all(reported(NetworkUnreachable), ladder(KindDial, NetworkUnreachable, ev("errno", "EHOSTUNREACH")), opinion(2, 0, "")),
			FaultNode, NetworkUnreachable, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"the name resolves on no node",
			all(reported(HostNotFound), ladder(KindDNS, HostNotFound), opinion(0, 3, "HostNotFound")),
			FaultConfig, HostNotFound, Likely, "dns/" + host,
		},
		{
			"the registry does not have the tag, and another node found it at a mirror",
			all(
				reported(TagNotFound), ladder(KindManifest, TagNotFound),
				check("elsewhere/image", KindElsewhere, Pass, "", ev("foundAt", "mirror.example", "which", "node-a, node-c", "around", "true")),
			),
			FaultConfig, TagNotFound, Confirmed, "manifest/" + host,
		},
		{
			"the name resolves on no node, by different resolvers",
			all(reported(HostNotFound), ladder(KindDNS, HostNotFound), with(opinion(0, 2, "HostNotFound"), ev("rivals", "none"))),
			FaultConfig, HostNotFound, Confirmed, "dns/" + host,
		},
		{
			"the name resolves on no node, by one resolver",
			all(reported(HostNotFound), ladder(KindDNS, HostNotFound), with(opinion(0, 2, "HostNotFound"), ev("rivals", "all of them have the same resolver"))),
			FaultConfig, HostNotFound, Likely, "dns/" + host,
		},
		{
			"the name of a public registry resolves on no node",
			all(reported(HostNotFound), ladder(KindDNS, HostNotFound, ev("publicRegistry", "true")), with(opinion(0, 2, "HostNotFound"), ev("rivals", "none"))),
			FaultNode, HostNotFound, Likely, "dns/" + host,
		},
		{
			"the name resolves on no node, and images were pulled from there",
			all(reported(HostNotFound), imagesHere("3"), ladder(KindDNS, HostNotFound), with(opinion(0, 2, "HostNotFound"), ev("rivals", "none"))),
			FaultUndetermined, HostNotFound, Likely, "dns/" + host,
		},
		{
			"the resolver fails for this name only, and other nodes resolve it",
			all(
				reported(ResolverFailed), ladder(KindDNS, ResolverFailed),
				check("dns/"+host+"/10.0.0.2:53", KindDNS, Fail, ResolverFailed, ev("otherName", "answers")), opinion(2, 0, ""),
			),
			FaultNode, ResolverFailed, Likely, "dns/" + host,
		},
		{
			"other nodes agree on another certificate of another issuer at the same address",
			all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted), with(opinion(2, 0, ""), ev("seesAnother", "certificate, issuer"))),
			FaultNode, TLSIntercepted, Confirmed, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"other nodes agree on another certificate at another address",
			all(
				reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted),
				with(reaching(opinion(2, 0, ""), "192.0.2.9"), ev("seesAnother", "certificate, issuer")),
			),
			FaultNode, TLSIntercepted, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"other nodes agree on a renewed certificate of the same issuer",
			all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted), with(opinion(2, 0, ""), ev("seesAnother", "certificate"))),
			FaultNode, CertificateUntrusted, Confirmed, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"the name resolves on other nodes",
			all(reported(HostNotFound), ladder(KindDNS, HostNotFound), opinion(2, 0, "")),
			FaultNode, HostNotFound, Likely, "dns/" + host,
		},
		{
			"expired, and another node gets through",
			all(reported(CertificateExpired), ladder(KindTLS, CertificateExpired), opinion(1, 0, "")),
			FaultRegistry, CertificateExpired, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"the node is cut off, and others fail too",
			all(
				reported(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), check("control", KindControl, Fail, ConnectionTimeout),
				opinion(0, 3, "ConnectionTimeout"),
			),
			FaultNode, ConnectionTimeout, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"timed out earlier than the runtime",
			all(
				reported(ConnectionTimeout),
				imagesHere("3"),
				ladder(KindDial, ConnectionTimeout, ev("deadline", "true")),
			),
			FaultNode, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"no resolver has the name",
			all(reported(HostNotFound), imagesHere("0"), resolverFails(HostNotFound), ladder(KindDNS, HostNotFound)),
			FaultConfig, HostNotFound, Likely, "dns/" + host,
		},
		{
			"one resolver did not answer",
			all(
				reported(HostNotFound),
				imagesHere("0"),
				resolverFails(HostNotFound),
				resolverFails(ResolverUnreachable),
				ladder(KindDNS, HostNotFound),
			),
			FaultUndetermined, HostNotFound, Confirmed, "dns/" + host,
		},
		{
			"no such name, images pulled before",
			all(reported(HostNotFound), imagesHere("2"), resolverFails(HostNotFound), ladder(KindDNS, HostNotFound)),
			FaultNode, HostNotFound, Likely, "dns/" + host,
		},
		{
			"a dead resolver beside a good one",
			all(resolverFails(ResolverUnreachable), ladder("", ""), check("pull", KindPull, Pass, "")),
			FaultNone, Healthy, Confirmed, "pull",
		},
		{
			"proxy unknown",
			all(
				reported(ConnectionRefused),
				check("runtime/proxy", KindRuntime, Skipped, ""),
				imagesHere("1"),
				ladder(KindDial, ConnectionRefused),
			),
			FaultNode, ConnectionRefused, Likely, "dial/" + host + "/192.0.2.1:443",
		},
	}
}

func situationsOfSecrets() []situation {
	return []situation{
		{
			"secret missing behind a 401",
			all(
				reported(CredentialsMissing),
				secret(PullSecretMissing),
				ladder(KindManifest, CredentialsMissing),
			),
			FaultConfig, PullSecretMissing, Confirmed, "credentials",
		},
		{
			"secret missing, but the tag is too",
			all(
				reported(TagNotFound),
				secret(PullSecretMissing),
				ladder(KindManifest, TagNotFound),
			),
			FaultConfig, TagNotFound, Confirmed, "manifest/" + host,
		},
		{
			"undecodable secret stops the kubelet",
			all(
				reported(PullSecretMalformed),
				secret(PullSecretMalformed, ev("fatal", "true")),
				ladder("", ""),
			),
			FaultConfig, PullSecretMalformed, Confirmed, "credentials",
		},
		{
			"a secret that the kubelet ignores",
			all(
				reported(CredentialsMissing),
				secret(PullSecretMalformed),
				ladder(KindManifest, CredentialsMissing),
			),
			FaultConfig, PullSecretMalformed, Confirmed, "credentials",
		},
		{
			"secrets not readable",
			all(
				reported(CredentialsRejected),
				check("credentials", KindCredentials, Skipped, ""),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultConfig, CredentialsRejected, Likely, "pod",
		},
		{
			"rejected password of a file on the node",
			all(
				reported(CredentialsRejected),
				ladder(
					KindManifest,
					CredentialsRejected,
					ev("usedCredential", "node /root/.docker/config.json"),
				),
			),
			FaultNode, CredentialsRejected, Confirmed, "manifest/" + host,
		},
	}
}

func situationsOfProviders() []situation {
	return []situation{
		{
			"secret missing, for a registry whose host has another name",
			all(
				with(reference(), ev("domain", "docker.io")),
				reported(CredentialsMissing),
				with(secret(PullSecretMissing), func(c *Check) { c.Host = "docker.io" }),
				onHost("registry-1.docker.io", ladder(KindManifest, CredentialsMissing)),
			)[1:],
			FaultConfig, PullSecretMissing, Confirmed, "credentials",
		},
		{
			"a credential provider that fails",
			all(
				reported(CredentialsMissing),
				secret(CredentialProviderFailed),
				ladder(KindManifest, CredentialsMissing),
			),
			FaultNode, CredentialProviderFailed, Confirmed, "credentials",
		},
		{
			"a credential provider that timed out early",
			all(
				reported(CredentialsMissing),
				secret(CredentialProviderFailed),
				check(
					"credentials/provider/p",
					KindCredentials,
					Fail,
					CredentialProviderFailed,
					ev("deadline", "true"),
				),
				ladder(KindManifest, CredentialsMissing),
			),
			FaultNode, CredentialProviderFailed, Likely, "credentials",
		},
		{
			"a registry that needs a credential provider",
			all(
				reported(CredentialsMissing),
				check(
					"credentials",
					KindCredentials,
					Pass,
					"",
					ev("expectedProvider", "ecr-credential-provider"),
				),
				ladder(KindManifest, CredentialsMissing),
			),
			FaultNode, CredentialsMissing, Likely, "manifest/" + host,
		},
		{
			"the kubelet has no more credentials than the checks",
			all(
				reported(TagNotFound),
				check("credentials", KindCredentials, Pass, "", ev("node", "read")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
				check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous")),
			),
			FaultConfig, CredentialsMissing, Confirmed, "manifest/" + host,
		},
		{
			"an unreachable token service",
			all(
				reported(ConnectionTimeout, TokenServiceFailed),
				ladder(KindManifest, TokenServiceFailed, ev("innerCause", "ConnectionTimeout")),
			),
			FaultUndetermined, TokenServiceFailed, Likely, "manifest/" + host,
		},
		{
			"a token service that answers wrongly",
			all(reported(TokenServiceFailed), ladder(KindManifest, TokenServiceFailed)),
			FaultRegistry, TokenServiceFailed, Confirmed, "manifest/" + host,
		},
		{
			"layers behind an expired certificate",
			all(
				reported(CertificateExpired, BlobHostUnreachable),
				ladder(KindImage, BlobHostUnreachable, ev("innerCause", "CertificateExpired")),
			),
			FaultRegistry, BlobHostUnreachable, Likely, "image/" + host,
		},
		{
			"the kubelet passed a login that stops the checks",
			all(
				reported(TagNotFound),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
				check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous")),
			),
			FaultConfig, TagNotFound, Likely, "pod",
		},
		{
			"rejected with the node's credentials, pulls without",
			all(
				reported(CredentialsRejected),
				ladder("", ""),
				check("pull", KindPull, Pass, "", ev("auth", "anonymous")),
			),
			FaultNode, CredentialsRejected, Likely, "pod",
		},
		{
			"access denied or missing, secret for another registry",
			all(
				reported(AccessDeniedOrMissing),
				secret(PullSecretOtherRegistry),
				ladder(KindManifest, AccessDeniedOrMissing, ev("anonymous", "true")),
			),
			FaultConfig, PullSecretOtherRegistry, Likely, "credentials",
		},
		{
			"access denied or missing, secret for another registry, similar name exists",
			all(
				reported(AccessDeniedOrMissing),
				secret(PullSecretOtherRegistry),
				ladder(
					KindManifest,
					AccessDeniedOrMissing,
					ev("anonymous", "true", "suggestRepository", "library/app"),
				),
			),
			FaultConfig, AccessDeniedOrMissing, Likely, "manifest/" + host,
		},
		{
			"access denied or missing, secret for the registry in which the image exists",
			all(
				reported(AccessDeniedOrMissing),
				secret(PullSecretOtherRegistry),
				ladder(KindManifest, AccessDeniedOrMissing, ev("anonymous", "true")),
				suggested("suggestImage", "registry.lab/shop/app:1"),
			),
			FaultConfig, AccessDeniedOrMissing, Likely, "manifest/" + host,
		},
		{
			"no resolver has the name, and other pods use a similar one",
			all(reported(HostNotFound), imagesHere("0"), resolverFails(HostNotFound), ladder(KindDNS, HostNotFound),
				suggested("suggestImage", "registry.lab/app:1", "suggestHost", "registry.lab", "usedBy", "12")),
			FaultConfig, HostNotFound, Likely, "dns/" + host,
		},
		{
			"nothing else is reachable either, and other pods use a similar name",
			all(reported(HostNotFound), imagesHere("0"), resolverFails(HostNotFound), ladder(KindDNS, HostNotFound),
				check("control", KindControl, Fail, NetworkUnreachable), suggested("suggestHost", "registry.lab", "usedBy", "12")),
			FaultNode, HostNotFound, Confirmed, "dns/" + host,
		},
		{
			"secret for another registry",
			all(
				reported(CredentialsMissing),
				secret(PullSecretOtherRegistry),
				ladder(KindManifest, CredentialsMissing),
			),
			FaultConfig, PullSecretOtherRegistry, Confirmed, "credentials",
		},
		{
			"secret for another registry, provider possible",
			all(
				reported(CredentialsMissing),
				check(
					"credentials",
					KindCredentials,
					Fail,
					PullSecretOtherRegistry,
					ev("possibleProvider", "ecr-credential-provider"),
				),
				ladder(KindManifest, CredentialsMissing),
			),
			FaultUndetermined, PullSecretOtherRegistry, Likely, "credentials",
		},
		{
			"secret for another registry, provider expected",
			all(
				reported(CredentialsMissing),
				check(
					"credentials",
					KindCredentials,
					Fail,
					PullSecretOtherRegistry,
					ev("node", "read", "expectedProvider", "ecr-credential-provider"),
				),
				ladder(KindManifest, CredentialsMissing),
			),
			FaultNode, CredentialsMissing, Likely, "manifest/" + host,
		},
		{
			"credentials of a provider that was not run are forbidden",
			all(
				reported(AccessForbidden),
				check("credentials", KindCredentials, Skipped, "", ev("providerNotRun", "ecr")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultNode, AccessForbidden, Likely, "pod",
		},
		{
			"the node gets no token for the provider",
			all(
				reported(CredentialsMissing),
				check("credentials", KindCredentials, Skipped, "", ev("providerNotRun", "ecr; other")),
				check("credentials/provider/ecr", KindCredentials, Skipped, "", ev("kubeletToo", "true")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultConfig, CredentialsMissing, Likely, "pod",
		},
		{
			"forbidden: provider not run, or secret not read",
			all(
				reported(AccessForbidden),
				check(
					"credentials",
					KindCredentials,
					Skipped,
					"",
					ev("providerNotRun", "ecr", "unreadable", "secret regcred"),
				),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultUndetermined, AccessForbidden, Likely, "pod",
		},
		{
			"refused with a login or without one, and the pod's secrets are not read",
			all(
				with(reported(CredentialsMissing), ev("could", "CredentialsMissing,CredentialsRejected", "pullSecrets", "regcred")),
				check("credentials", KindCredentials, Skipped, "", ev("unreadable", "secret shop/regcred", "node", "read")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pod",
		},
		{
			"refused without a login before a rollout, and the pod's secrets are not read",
			all(
				check("pod", KindPod, Pass, "", ev("namespace", "shop")),
				check("credentials", KindCredentials, Skipped, "", ev("unreadable", "secret shop/regcred", "node", "read")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true", "status", "401")),
				check("pull", KindPull, Skipped, "", ev("skipped", "notFailing")),
			),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "manifest/" + host,
		},
		{
			"no such repository before a rollout, and the pod's secrets are not read",
			all(
				check("pod", KindPod, Pass, "", ev("namespace", "shop")),
				check("credentials", KindCredentials, Skipped, "", ev("unreadable", "secret shop/regcred", "node", "read")),
				ladder(KindManifest, RepositoryNotFound, ev("anonymous", "true", "status", "404")),
				check("pull", KindPull, Skipped, "", ev("skipped", "notFailing")),
			),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "manifest/" + host,
		},
		{
			"refused without a login before a rollout, and everything was read",
			all(
				check("pod", KindPod, Pass, "", ev("namespace", "shop")),
				check("credentials", KindCredentials, Pass, "", ev("node", "read")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true", "status", "401")),
				check("pull", KindPull, Skipped, "", ev("skipped", "notFailing")),
			),
			FaultConfig, CredentialsMissing, Likely, "manifest/" + host,
		},
		{
			"refused without a login, and the pod's secrets are not read",
			all(
				with(reported(CredentialsMissing), ev("could", "CredentialsMissing,AccessForbidden", "pullSecrets", "regcred")),
				check("credentials", KindCredentials, Skipped, "", ev("unreadable", "secret shop/regcred", "node", "read")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultConfig, CredentialsMissing, Likely, "pod",
		},
		{
			"provider fails now, the kubelet passed the login",
			all(
				reported(TagNotFound),
				check(
					"credentials",
					KindCredentials,
					Fail,
					CredentialProviderFailed,
					ev("node", "read", "unknown", "credential provider ecr"),
				),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
				check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous")),
			),
			FaultConfig, TagNotFound, Likely, "pod",
		},
		{
			"no such repository, secret for another registry",
			all(
				reported(RepositoryNotFound),
				secret(PullSecretOtherRegistry),
				ladder(KindManifest, RepositoryNotFound, ev("anonymous", "true")),
			),
			FaultConfig, RepositoryNotFound, Likely, "manifest/" + host,
		},
		{
			"reset may come from either end",
			all(reported(ConnectionReset), ladder(KindTLS, ConnectionReset)),
			FaultNode, ConnectionReset, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"a certificate that probably needs an intermediate",
			all(
				reported(CertificateUntrusted),
				ladder(KindTLS, CertificateUntrusted, ev("missingIntermediate", "likely")),
			),
			FaultUndetermined, CertificateUntrusted, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"403 to a password that may have expired",
			all(reported(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("auth", "basic"))),
			FaultConfig, AccessForbidden, Likely, "manifest/" + host,
		},
		{
			"an answer without a cause",
			all(reported(Undetermined), ladder(KindManifest, Undetermined)),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "manifest/" + host,
		},
		{
			"one of two addresses is bad, and the message names it",
			all(
				reported(CertificateExpired),
				ladder("", ""),
				check("tls/"+host+"/192.0.2.2:443", KindTLS, Fail, CertificateExpired, ev("serverDate", "2026-11-21T10:33:07Z", "names", host)),
			),
			FaultRegistry, CertificateExpired, Likely, "tls/" + host + "/192.0.2.2:443",
		},
		{
			"disk full by an estimate does not decide",
			all(pullable(), check("disk", KindDisk, Fail, DiskFull, ev("need", "1"))),
			FaultNone, Healthy, Likely, "blob/" + host,
		},
		{
			"disk full decides where both sources agree",
			all(reported(DiskFull), check("disk", KindDisk, Fail, DiskFull), ladder(KindRegistry, RateLimited)),
			FaultNode, DiskFull, Confirmed, "disk",
		},
		{
			"a public registry does not resolve",
			all(
				reported(HostNotFound),
				resolverFails(HostNotFound),
				editedAt(ladder(KindDNS, HostNotFound), 0, ev("publicRegistry", "true")),
			),
			FaultUndetermined, HostNotFound, Confirmed, "dns/" + host,
		},
		{
			"full disk, and the message says so",
			all(reported(DiskFull), check("disk", KindDisk, Fail, DiskFull), ladder("", "")),
			FaultNode, DiskFull, Confirmed, "disk",
		},
		{
			"full disk behind a missing tag",
			all(
				reported(TagNotFound),
				check("disk", KindDisk, Fail, DiskFull),
				ladder(KindManifest, TagNotFound),
			),
			FaultConfig, TagNotFound, Confirmed, "manifest/" + host,
		},
		{
			"platform",
			all(reported(PlatformMismatch), ladder(KindImage, PlatformMismatch)),
			FaultConfig, PlatformMismatch, Confirmed, "image/" + host,
		},
	}
}

func situationsOfPulls() []situation {
	return []situation{
		{
			"the pull works again",
			all(reported(ConnectionReset), ladder("", ""), check("pull", KindPull, Pass, "")),
			FaultNone, Recovered, Confirmed, "pull",
		},
		{
			"pulls another architecture",
			all(ladder(KindImage, PlatformMismatch), check("pull", KindPull, Pass, "")),
			FaultConfig, PlatformMismatch, Likely, "image/" + host,
		},
		{
			"the test pull's message is newer than the pod's",
			all(
				reported(HostNotFound),
				ladder(KindManifest, TagNotFound),
				check("pull", KindPull, Fail, TagNotFound),
			),
			FaultConfig, TagNotFound, Confirmed, "manifest/" + host,
		},
		{
			"the test pull fails, every check passes",
			all(reported(ConnectionReset), ladder("", ""), check("pull", KindPull, Fail, ConnectionReset)),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pull",
		},
		{
			"every check passes, no message",
			all(pullable()),
			FaultNone, Healthy, Likely, "blob/" + host,
		},
		{
			"no checks at all",
			nil,
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "",
		},
	}
}

func situationsOfAnswers() []situation {
	return []situation{
		{
			"expired credentials",
			all(reported(CredentialsRejected), ladder(KindManifest, CredentialsExpired)),
			FaultConfig, CredentialsExpired, Confirmed, "manifest/" + host,
		},
		{
			"an expired token of the node, answered with 403",
			all(
				reported(AccessForbidden),
				ladder(KindManifest, CredentialsExpired, ev("usedCredential", "provider ecr")),
			),
			FaultNode, CredentialsExpired, Confirmed, "manifest/" + host,
		},
		{
			"403 to a password that has not expired",
			all(
				reported(AccessForbidden),
				ladder(
					KindManifest,
					AccessForbidden,
					ev("auth", "basic", "credentialExpires", "2030-01-01T00:00:00Z"),
				),
			),
			FaultConfig, AccessForbidden, Confirmed, "manifest/" + host,
		},
		{
			"403 from a registry that hides what does not exist",
			all(reported(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("existence", "hidden"))),
			FaultConfig, AccessForbidden, Likely, "manifest/" + host,
		},
		{
			"403 to every request",
			all(reported(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("registryStatus", "403"))),
			FaultUndetermined, AccessForbidden, Likely, "manifest/" + host,
		},
		{
			"403 to every request, anonymous",
			all(
				reported(AccessDeniedOrMissing),
				ladder(KindManifest, AccessDeniedOrMissing, ev("registryStatus", "403", "anonymous", "true")),
			),
			FaultUndetermined, AccessDeniedOrMissing, Likely, "manifest/" + host,
		},
		{
			"403 to every request, secret for another registry",
			all(
				reported(AccessDeniedOrMissing),
				secret(PullSecretOtherRegistry),
				ladder(KindManifest, AccessDeniedOrMissing, ev("registryStatus", "403", "anonymous", "true")),
			),
			FaultUndetermined, AccessDeniedOrMissing, Likely, "manifest/" + host,
		},
		{
			"403 of a token service",
			all(reported(AccessForbidden), refusing(AccessForbidden)),
			FaultConfig, AccessForbidden, Likely, "manifest/" + host,
		},
		{
			"403 of a token service to a password that has not expired",
			all(
				reported(AccessForbidden),
				refusing(AccessForbidden, ev("credentialExpires", "2030-01-01T00:00:00Z")),
			),
			FaultConfig, AccessForbidden, Confirmed, "manifest/" + host,
		},
		{
			"a web page instead of a token service",
			all(
				reported(TokenServiceFailed),
				refusing(TokenServiceFailed, ev("contentType", "text/html", "status", "403")),
			),
			FaultUndetermined, TokenServiceFailed, Likely, "manifest/" + host,
		},
		{
			"a token service that is down, in HTML",
			all(
				reported(TokenServiceFailed),
				refusing(TokenServiceFailed, ev("contentType", "text/html", "status", "503")),
			),
			FaultRegistry, TokenServiceFailed, Confirmed, "manifest/" + host,
		},
		{
			"a policy forbids the image to the node's credentials",
			all(
				reported(AccessForbidden),
				ladder(
					KindManifest,
					AccessForbidden,
					ev("policy", "true", "usedCredential", "node /root/.docker/config.json"),
				),
			),
			FaultConfig, AccessForbidden, Confirmed, "manifest/" + host,
		},
		{
			"too little space by an estimate",
			all(
				reported(DiskFull),
				check("disk", KindDisk, Fail, DiskFull, ev("need", "1", "estimated", "true")),
				ladder("", ""),
			),
			FaultNode, DiskFull, Likely, "disk",
		},
		{
			"layers missing at a mirror, present upstream, pulled",
			all(
				onHost(mirror, ladder("", "")),
				onHost(host, ladder("", "")),
				check("blob/"+mirror, KindBlob, Fail, LayerCorrupt),
				check("blob/"+host, KindBlob, Pass, ""),
				check("pull", KindPull, Pass, ""),
			),
			FaultNone, Healthy, Confirmed, "pull",
		},
		{
			"layers missing at a mirror, present upstream",
			all(
				onHost(mirror, ladder("", "")),
				onHost(host, ladder("", "")),
				check("blob/"+mirror, KindBlob, Fail, LayerCorrupt),
				check("blob/"+host, KindBlob, Pass, ""),
			),
			FaultNone, Healthy, Likely, "blob/" + host,
		},
		{
			"an object store rejects the registry's signature",
			all(
				reported(AccessForbidden, BlobHostUnreachable),
				ladder("", ""),
				check(
					"blob/"+host,
					KindBlob,
					Fail,
					BlobHostUnreachable,
					ev("innerCause", "AccessForbidden", "code", "SignatureDoesNotMatch"),
				),
			),
			FaultRegistry, BlobHostUnreachable, Likely, "blob/" + host,
		},
		{
			"the sandbox image is unavailable",
			all(
				with(reference(), func(c *Check) { c.Target = "pause:3" }),
				check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent")),
				check("runtime/sandbox", KindRuntime, Pass, "", ev("present", "false", "image", "pause:3")),
				ladder(KindDial, ConnectionTimeout, ev("deadline", "true")),
			),
			FaultNode, SandboxImageUnavailable, Likely, "runtime/sandbox",
		},
		{
			"the sandbox image is missing, and its path is not known",
			all(
				with(reference(), func(c *Check) { c.Target = "pause:3" }),
				check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent")),
				check("runtime/sandbox", KindRuntime, Pass, "", ev("present", "false", "image", "pause:3")),
				check("dns/"+host, KindDNS, Skipped, ""),
			),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "",
		},
		{
			"no sandbox yet, and the disk is full",
			all(
				check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent")),
				check("disk", KindDisk, Fail, DiskFull),
				ladder("", ""),
			),
			FaultNode, DiskFull, Likely, "disk",
		},
		{
			"no sandbox yet, path clear",
			all(
				check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent")),
				ladder("", ""),
			),
			FaultNone, NotAPullProblem, Likely, "pod",
		},
		{
			"no sandbox yet, no such tag",
			all(
				check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent")),
				ladder(KindManifest, TagNotFound),
			),
			FaultConfig, TagNotFound, Likely, "manifest/" + host,
		},
		{
			"sandbox image missing, but the pod has a sandbox",
			all(
				reported(TagNotFound),
				check("runtime/sandbox", KindRuntime, Pass, "", ev("present", "false", "image", "pause:3")),
				ladder(KindManifest, TagNotFound),
			),
			FaultConfig, TagNotFound, Confirmed, "manifest/" + host,
		},
		{
			"full disk, no message",
			all(check("disk", KindDisk, Fail, DiskFull), ladder("", "")),
			FaultNode, DiskFull, Likely, "disk",
		},
		{
			"behind another pull",
			all(
				check("pod", KindPod, Pass, "", ev("creating", "true")),
				check("queue", KindPod, Pass, "", ev("ahead", "shop/other")),
				ladder("", ""),
			),
			FaultNode, PullQueueLimited, Likely, "queue",
		},
		{
			"behind another pull, own path blocked",
			all(
				check("pod", KindPod, Pass, "", ev("creating", "true")),
				check("queue", KindPod, Pass, "", ev("ahead", "shop/other")),
				ladder(KindManifest, TagNotFound),
			),
			FaultConfig, TagNotFound, Likely, "manifest/" + host,
		},
		{
			"timed out early, no images pulled before",
			all(
				reported(ConnectionTimeout),
				imagesHere("0"),
				ladder(KindDial, ConnectionTimeout, ev("deadline", "true")),
			),
			FaultUndetermined, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"404, repository unknown",
			all(reported(TagNotFound), ladder(KindManifest, TagNotFound, ev("repository", "unknown"))),
			FaultConfig, TagNotFound, Likely, "manifest/" + host,
		},
		{
			"anonymous test pull, unknown message of the kubelet",
			all(
				reported(Undetermined),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
				check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous")),
			),
			FaultConfig, CredentialsMissing, Likely, "manifest/" + host,
		},
		{
			"rejected, image present by now",
			all(
				reported(CredentialsRejected),
				check("local/"+host, KindImage, Pass, "", ev("present", "true")),
				ladder(KindManifest, CredentialsRejected),
			),
			FaultConfig, CredentialsRejected, Likely, "manifest/" + host,
		},
		{
			"image present, but not for this pod",
			all(
				reported(CredentialsMissing),
				check("local/"+host, KindImage, Pass, "", ev("present", "true")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultConfig, PresentNotAuthorized, Likely, "local/" + host,
		},
		{
			"image present by now, a kubelet that refuses no pod a present image",
			all(
				check("pod", KindPod, Fail, CredentialsMissing, ev("kubelet", "1.33")),
				check("credentials", KindCredentials, Pass, "", ev("node", "read")),
				check("local/"+host, KindImage, Pass, "", ev("present", "true")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultConfig, CredentialsMissing, Likely, "manifest/" + host,
		},
		{
			"image present, policy Always",
			all(
				check("pod", KindPod, Fail, CredentialsMissing, ev("policy", "Always")),
				check("credentials", KindCredentials, Pass, "", ev("node", "read")),
				check("local/"+host, KindImage, Pass, "", ev("present", "true")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultConfig, CredentialsMissing, Confirmed, "manifest/" + host,
		},
		{
			"nsswitch.conf names other sources",
			all(
				reported(ResolverFailed),
				check("control", KindControl, Fail, ResolverFailed),
				editedAt(ladder(KindDNS, ResolverFailed), 0, ev("nsswitchOthers", "ldap")),
			),
			FaultNode, ResolverFailed, Likely, "dns/" + host,
		},
		{
			"no such tag, pod's secrets not read",
			all(
				reported(TagNotFound),
				check("credentials", KindCredentials, Skipped, ""),
				ladder(KindManifest, TagNotFound, ev("anonymous", "true", "repository", "unknown")),
			),
			FaultConfig, TagNotFound, Likely, "manifest/" + host,
		},
		{
			"a missing secret, and a registry that lists the repository's tags to anyone",
			all(
				reported(TagNotFound),
				secret(PullSecretMissing),
				ladder(KindManifest, TagNotFound, ev("anonymous", "true", "repository", "exists")),
			),
			FaultConfig, TagNotFound, Confirmed, "manifest/" + host,
		},
		{
			"a platform that was not published",
			all(reported(PlatformMismatch), ladder(KindImage, PlatformMismatch, ev("publisher", "true"))),
			FaultRegistry, PlatformMismatch, Confirmed, "image/" + host,
		},
	}
}

func situationsOfNames() []situation {
	return []situation{
		{
			"SERVFAIL for every name",
			all(
				reported(ResolverFailed),
				ladder(KindDNS, ResolverFailed),
				check("control", KindControl, Fail, ResolverFailed),
			),
			FaultNode, ResolverFailed, Confirmed, "dns/" + host,
		},
		{
			"SERVFAIL for this name only",
			all(
				reported(ResolverFailed),
				ladder(KindDNS, ResolverFailed),
				check("control", KindControl, Pass, ""),
			),
			FaultUndetermined, ResolverFailed, Likely, "dns/" + host,
		},
		{
			"REFUSED for this name, other names not known yet",
			all(reported(ResolverFailed), with(resolverFails(ResolverFailed), ev("rcode", "REFUSED")), ladder(KindDNS, ResolverFailed)),
			FaultNode, ResolverFailed, Likely, "dns/" + host,
		},
		{
			"REFUSED for this name only",
			all(
				reported(ResolverFailed),
				with(resolverFails(ResolverFailed), ev("rcode", "REFUSED", "otherName", "answers")),
				ladder(KindDNS, ResolverFailed),
				check("control", KindControl, Pass, ""),
			),
			FaultNode, ResolverFailed, Likely, "dns/" + host,
		},
		{
			"no answer for this name only",
			all(
				reported(ResolverUnreachable),
				ladder(KindDNS, ResolverUnreachable),
				check("control", KindControl, Pass, ""),
			),
			FaultUndetermined, ResolverUnreachable, Likely, "dns/" + host,
		},
		{
			"NXDOMAIN from the first resolver only",
			all(
				reported(HostNotFound),
				imagesHere("0"),
				resolverFails(HostNotFound),
				resolves("192.0.2.54:53"),
				ladder(KindDNS, HostNotFound),
				elsewhere(Pass),
			),
			FaultNode, HostNotFound, Confirmed, "dns/" + host,
		},
		{
			"NXDOMAIN from the first resolver, and an address of something else from the second",
			all(
				reported(HostNotFound),
				imagesHere("0"),
				resolverFails(HostNotFound),
				resolves("192.0.2.54:53"),
				ladder(KindDNS, HostNotFound),
				elsewhere(Fail),
			),
			FaultUndetermined, HostNotFound, Likely, "dns/" + host,
		},
		{
			"another resolver's address has a valid certificate",
			all(reported(CertificateNameMismatch), ladder(KindTLS, CertificateNameMismatch), elsewhere(Pass)),
			FaultNode, ResolverWrongAnswer, Confirmed, "dns/" + host,
		},
		{
			"another resolver's address answers, the runtime's refuses",
			all(reported(ConnectionRefused), ladder(KindDial, ConnectionRefused), elsewhere(Pass)),
			FaultNode, ResolverWrongAnswer, Likely, "dns/" + host,
		},
		{
			"another resolver's address answers, the runtime's has an expired certificate",
			all(reported(CertificateExpired), ladder(KindTLS, CertificateExpired), elsewhere(Pass)),
			FaultNode, ResolverWrongAnswer, Likely, "dns/" + host,
		},
		{
			"another resolver's address fails too",
			all(reported(CertificateNameMismatch), ladder(KindTLS, CertificateNameMismatch), elsewhere(Fail)),
			FaultRegistry, CertificateNameMismatch, Confirmed, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"a sinkhole's address",
			all(
				reported(ConnectionRefused),
				imagesHere("0"),
				editedAt(ladder(KindDial, ConnectionRefused), 0, ev("special", "unspecified")),
			),
			FaultNode, ResolverWrongAnswer, Likely, "dns/" + host,
		},
		{
			"loopback address for a private registry",
			all(
				reported(ConnectionRefused),
				imagesHere("0"),
				editedAt(ladder(KindDial, ConnectionRefused), 0, ev("special", "loopback")),
			),
			FaultUndetermined, ConnectionRefused, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"loopback address for a public registry",
			all(
				reported(ConnectionRefused),
				editedAt(
					ladder(KindDial, ConnectionRefused),
					0,
					ev("special", "loopback", "publicRegistry", "true"),
				),
			),
			FaultNode, ResolverWrongAnswer, Likely, "dns/" + host,
		},
		{
			"loopback address for a public registry, not contacted",
			all(
				reported(ConnectionRefused),
				editedAt(notDialed(), 0, ev("special", "loopback", "publicRegistry", "true")),
			),
			FaultNode, ResolverWrongAnswer, Likely, "dns/" + host,
		},
		{
			"private address for a public registry, resolvers disagree",
			all(
				reported(CertificateNameMismatch),
				editedAt(
					ladder(KindTLS, CertificateNameMismatch),
					0,
					ev("special", "private", "disagree", "true", "publicRegistry", "true"),
				),
			),
			FaultNode, ResolverWrongAnswer, Likely, "dns/" + host,
		},
		{
			"private address for a private registry",
			all(
				reported(ConnectionRefused),
				imagesHere("0"),
				editedAt(ladder(KindDial, ConnectionRefused), 0, ev("special", "private")),
			),
			FaultUndetermined, ConnectionRefused, Confirmed, "dial/" + host + "/192.0.2.1:443",
		},
	}
}

func situationsOfTrust() []situation {
	return []situation{
		{
			"another CA for a public registry",
			all(
				reported(CertificateUntrusted),
				ladder(KindTLS, CertificateUntrusted, ev("publicRegistry", "true", "sct", "false")),
			),
			FaultNode, TLSIntercepted, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"a private CA of a private registry",
			all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted)),
			FaultNode, CertificateUntrusted, Confirmed, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"intermediate missing, sent by another address",
			all(
				reported(CertificateUntrusted),
				ladder(KindTLS, CertificateUntrusted, ev("missingIntermediate", "true")),
			),
			FaultRegistry, CertificateInvalid, Confirmed, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"wrong clock by one server",
			all(
				reported(CertificateExpired),
				ladder(KindTLS, ClockSkewed),
				check("clock/"+host, KindClock, Fail, ClockSkewed, ev("servers", "1")),
			),
			FaultNode, ClockSkewed, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"wrong clock by two servers",
			all(
				reported(CertificateExpired),
				ladder(KindTLS, ClockSkewed),
				check("clock/"+host, KindClock, Fail, ClockSkewed, ev("servers", "2")),
			),
			FaultNode, ClockSkewed, Confirmed, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"certificate not yet valid",
			all(reported(CertificateNotYetValid), ladder(KindTLS, CertificateNotYetValid)),
			FaultUndetermined, CertificateNotYetValid, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"certificate not yet valid, by the server's clock too",
			all(
				reported(CertificateNotYetValid),
				ladder(KindTLS, CertificateNotYetValid),
				check("clock/"+host, KindClock, Pass, ""),
			),
			FaultUndetermined, CertificateNotYetValid, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"certificate not yet valid, by a third clock too",
			all(
				reported(CertificateNotYetValid),
				ladder(KindTLS, CertificateNotYetValid, ev("agreesWith", "other.example")),
			),
			FaultUndetermined, CertificateNotYetValid, Likely, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"a CA of the node has expired",
			all(reported(CertificateExpired), ladder(KindTLS, CertificateExpired, ev("expiredFrom", "node"))),
			FaultNode, CertificateExpired, Confirmed, "tls/" + host + "/192.0.2.1:443",
		},
		{
			"a search domain with a wildcard",
			all(
				reported(CertificateNameMismatch),
				editedAt(
					ladder(KindTLS, CertificateNameMismatch),
					0,
					ev("via", "corp.example", "wildcard", "true"),
				),
			),
			FaultNode, ResolverWrongAnswer, Likely, "dns/" + host,
		},
		{
			"a token that is expired by the registry's clock",
			all(
				reported(CredentialsRejected),
				check("token/"+host, KindToken, Pass, "", ev("byRegistryClock", "expired")),
				ladder(KindManifest, CredentialsRejected),
			),
			FaultRegistry, TokenServiceFailed, Confirmed, "token/" + host,
		},
	}
}

func situationsOfConfig() []situation {
	return []situation{
		{
			"a newer config_path that says nothing of this registry",
			all(
				newer("runtime/config.toml", ev("differs", "config_path")),
				ladder("", ""),
				check("pull", KindPull, Fail, TokenServiceFailed, ev("host", host, "step", "token", "auth", "anonymous")),
			),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pull",
		},
		{
			"a newer config_path, and the runtime still uses a mirror of the old one",
			all(
				newer("runtime/config.toml", ev("differs", "config_path")),
				ladder("", ""),
				check("pull", KindPull, Fail, ConnectionRefused, ev("host", "old-mirror.example")),
			),
			FaultNode, RuntimeConfigStale, Confirmed, "runtime/config.toml",
		},
		{
			"a CA in a hosts.toml that is ignored",
			all(reported(CertificateUntrusted), ignored(), ladder(KindTLS, CertificateUntrusted)),
			FaultNode, RuntimeConfigInvalid, Likely, "hosts/" + host,
		},
		{
			"a mirror in a hosts.toml that another version of the runtime ignores",
			all(reported(ConnectionRefused), ofUnknownVersion(), ladder(KindDial, ConnectionRefused)),
			FaultUndetermined, ConnectionRefused, Likely, "dial/" + host + "/192.0.2.1:443",
		},
		{
			"a missing tag, and a hosts.toml that is ignored",
			all(reported(TagNotFound), ignored(), ladder(KindManifest, TagNotFound)),
			FaultConfig, TagNotFound, Likely, "manifest/" + host,
		},
		{
			"a trust store newer than the runtime",
			all(
				newer("runtime/ca"),
				editedAt(ladder("", ""), 2, ev("rootNewer", "/etc/ssl/certs/ca.pem")),
				check("pull", KindPull, Fail, CertificateUntrusted),
			),
			FaultNode, RuntimeConfigStale, Confirmed, "runtime/ca",
		},
		{
			"a trust store newer than the runtime, by the kubelet's message",
			all(
				reported(CertificateUntrusted),
				newer("runtime/ca"),
				editedAt(ladder("", ""), 2, ev("rootNewer", "/etc/ssl/certs/ca.pem")),
			),
			FaultNode, RuntimeConfigStale, Likely, "runtime/ca",
		},
		{
			"a newer trust store that is not the cause",
			all(reported(CertificateUntrusted), newer("runtime/ca"), ladder("", "")),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pod",
		},
		{
			"a config.toml newer than the runtime",
			all(
				newer("runtime/config.toml", ev("differs", "config_path")),
				check("hosts/"+host, KindRuntime, Pass, "", ev("file", "/etc/containerd/certs.d/"+host+"/hosts.toml")),
				ladder("", ""),
				check("pull", KindPull, Fail, TagNotFound),
			),
			FaultNode, RuntimeConfigStale, Confirmed, "runtime/config.toml",
		},
		{
			"a config.toml newer than a runtime that does not tell what it runs with",
			all(
				newer("runtime/config.toml"),
				check("hosts/"+host, KindRuntime, Pass, "", ev("file", "/etc/containerd/certs.d/"+host+"/hosts.toml")),
				ladder("", ""),
				check("pull", KindPull, Fail, TagNotFound),
			),
			FaultNode, RuntimeConfigStale, Likely, "runtime/config.toml",
		},
		{
			"a newer config.toml, and the runtime tells that it runs with the same",
			all(
				newer("runtime/config.toml", ev("runs", "/etc/containerd/certs.d")),
				check("hosts/"+host, KindRuntime, Pass, "", ev("file", "/etc/containerd/certs.d/"+host+"/hosts.toml")),
				ladder("", ""),
				check("pull", KindPull, Fail, TagNotFound),
			),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pull",
		},
		{
			"a newer config.toml without a difference",
			all(newer("runtime/config.toml"), ladder("", ""), check("pull", KindPull, Fail, TagNotFound)),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pull",
		},
		{
			"a proxy setting newer than the runtime",
			all(
				reported(ConnectionTimeout),
				newer("runtime/environment", ev("proxyDiffers", "true")),
				ladder(KindDial, ConnectionTimeout, ev("deadline", "true")),
			),
			FaultNode, RuntimeConfigStale, Likely, "runtime/environment",
		},
	}
}

func situationsOfMirrors() []situation {
	return []situation{
		{
			"mirror's 404, upstream unreachable",
			all(
				reported(TagNotFound),
				containerd("v2.4.2"),
				onHost(mirror, ladder(KindManifest, TagNotFound, ev("status", "404"))),
				onHost(host, ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))),
			),
			FaultUndetermined, ConnectionTimeout, Likely, "dial/" + host,
		},
		{
			"mirror refused, no such tag upstream, containerd 2",
			all(
				reported(TagNotFound),
				containerd("v2.4.2"),
				onHost(mirror, ladder(KindDial, ConnectionRefused)),
				onHost(host, ladder(KindManifest, TagNotFound, ev("status", "404"))),
			),
			FaultConfig, TagNotFound, Confirmed, "manifest/" + host,
		},
		{
			"mirror refused, no such tag upstream, containerd 1",
			all(
				reported(TagNotFound),
				containerd("1.7.29"),
				onHost(mirror, ladder(KindDial, ConnectionRefused)),
				onHost(host, ladder(KindManifest, TagNotFound, ev("status", "404"))),
			),
			FaultConfig, TagNotFound, Likely, "manifest/" + host,
		},
		{
			"a mirror with another manifest than the upstream",
			all(
				reported(PlatformMismatch),
				onHost(mirror, editedAt(ladder(KindImage, PlatformMismatch), 4, ev("digest", "sha256:1"))),
				onHost(host, editedAt(ladder("", ""), 4, ev("digest", "sha256:2"))),
			),
			FaultNode, MirrorFaulty, Confirmed, "image/" + mirror,
		},
		{
			"a mirror with another manifest, digest unknown",
			all(
				reported(PlatformMismatch),
				onHost(mirror, ladder(KindImage, PlatformMismatch)),
				onHost(host, ladder("", "")),
			),
			FaultNode, MirrorFaulty, Likely, "image/" + mirror,
		},
		{
			"mirror's 404, upstream unknown",
			all(
				reported(TagNotFound),
				containerd("v2.4.2"),
				onHost(mirror, ladder(KindManifest, TagNotFound, ev("status", "404"))),
				onHost(host, []Check{check("manifest", KindManifest, Unknown, "")}),
			),
			FaultConfig, TagNotFound, Likely, "manifest/" + mirror,
		},
		{
			"a mirror with the upstream's manifest",
			all(
				reported(PlatformMismatch),
				onHost(mirror, editedAt(ladder(KindImage, PlatformMismatch), 4, ev("digest", "sha256:1"))),
				onHost(host, editedAt(ladder("", ""), 4, ev("digest", "sha256:1"))),
			),
			FaultConfig, PlatformMismatch, Confirmed, "image/" + mirror,
		},
		{
			"a mirror with a web page for the manifest",
			all(
				reported(Undetermined, MirrorFaulty),
				onHost(mirror, ladder(KindManifest, Undetermined, ev("status", "200"))),
				onHost(host, ladder("", "")),
			),
			FaultNode, MirrorFaulty, Confirmed, "manifest/" + mirror,
		},
		{
			"a mirror that answers 503, upstream unreachable",
			all(
				reported(RegistryUnavailable),
				onHost(mirror, ladder(KindRegistry, RegistryUnavailable)),
				onHost(host, ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))),
			),
			FaultNode, MirrorFaulty, Likely, "registry/" + mirror,
		},
		{
			"a mirror that times out, upstream works",
			all(
				check("pod", KindPod, Pass, "", ev("creating", "true")),
				onHost(mirror, ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))),
				onHost(host, ladder("", "")),
			),
			FaultNode, MirrorFaulty, Likely, "dial/" + mirror,
		},
		{
			"a mirror that refuses, upstream works",
			all(
				onHost(mirror, ladder(KindDial, ConnectionRefused)),
				onHost(host, ladder("", "")),
				check("pull", KindPull, Pass, ""),
			),
			FaultNone, Healthy, Confirmed, "pull",
		},
	}
}

func situationsOfLayers() []situation {
	return []situation{
		{
			"a token service whose name the runtime cannot resolve either",
			all(
				with(reported(HostNotFound), ev("step", "token")),
				ladder(KindManifest, TokenServiceFailed, ev("innerCause", "HostNotFound")),
			),
			FaultUndetermined, TokenServiceFailed, Likely, "manifest/" + host,
		},
		{
			"layers on a host that refuses",
			all(
				with(reported(ConnectionRefused), ev("step", "blob")),
				ladder("", ""),
				check(
					"blob/"+host,
					KindBlob,
					Fail,
					BlobHostUnreachable,
					ev("innerCause", "ConnectionRefused"),
				),
			),
			FaultUndetermined, BlobHostUnreachable, Likely, "blob/" + host,
		},
		{
			"a web page for a layer",
			all(
				with(reported(ConnectionReset), ev("step", "blob")),
				ladder("", ""),
				check(
					"blob/"+host,
					KindBlob,
					Fail,
					BlobHostUnreachable,
					ev("innerCause", "Undetermined", "contentType", "text/html"),
				),
			),
			FaultNode, BlobHostUnreachable, Likely, "blob/" + host,
		},
		{
			"a small image that times out",
			all(
				editedAt(ladder("", ""), 5, ev("size", "4096")),
				check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5")),
			),
			FaultNode, PullTimedOut, Likely, "pull",
		},
		{
			"a resolver that every lookup waits for",
			all(
				editedAt(editedAt(pullable(), 5, ev("size", "4096")), 0, ev("passedOver", "1")),
				check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5")),
			),
			FaultNone, Healthy, Likely, "dns/" + host,
		},
		{
			"layers forbidden to an anonymous pull",
			all(
				ladder("", ""),
				check("pull", KindPull, Fail, AccessForbidden, ev("auth", "anonymous", "step", "blob")),
			),
			FaultConfig, AccessDeniedOrMissing, Likely, "pull",
		},
		{
			"a large image that times out",
			all(
				editedAt(ladder("", ""), 5, ev("size", "400000000")),
				check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5")),
			),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pull",
		},
		{
			"a mirror that delays the test pull",
			all(
				onHost(mirror, ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))),
				onHost(host, ladder("", "")),
				check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5")),
			),
			FaultNode, MirrorFaulty, Likely, "dial/" + mirror,
		},
		{
			"layers forbidden to anonymous requests",
			all(
				reported(AccessForbidden),
				editedAt(ladder("", ""), 4, ev("anonymous", "true")),
				check("blob/"+host, KindBlob, Fail, AccessForbidden),
			),
			FaultConfig, AccessDeniedOrMissing, Confirmed, "blob/" + host,
		},
		{
			"a host with web pages",
			all(
				editedAt(
					editedAt(
						ladder(KindManifest, TagNotFound, ev("contentType", "text/html; charset=utf-8")),
						3,
						func(c *Check) { c.Outcome = Unknown },
					),
					3,
					ev("contentType", "text/html"),
				),
			),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "manifest/" + host,
		},
		{
			"a node without DNS",
			all(reported(HostNotFound), editedAt(ladder(KindDNS, HostNotFound), 0, ev("nsswitch", "files"))),
			FaultNode, HostNotFound, Confirmed, "dns/" + host,
		},
		{
			"no space for the image",
			all(
				ladder("", ""),
				check("disk", KindDisk, Fail, DiskFull, ev("need", "1")),
				check("pull", KindPull, Skipped, "", ev("skipped", "noSpace")),
			),
			FaultNode, DiskFull, Likely, "disk",
		},
		{
			"no space for an image before it is pulled",
			all(
				ladder("", ""),
				check("disk", KindDisk, Fail, DiskFull, ev("need", "1")),
				check("pull", KindPull, Skipped, "", ev("skipped", "notFailing")),
			),
			FaultNode, DiskFull, Likely, "disk",
		},
		{
			"layers corrupted by a mirror",
			all(
				onHost(mirror, ladder("", "")),
				onHost(host, ladder("", "")),
				check("pull", KindPull, Fail, LayerCorrupt, ev("step", "blob")),
			),
			FaultNode, MirrorFaulty, Likely, "manifest/" + mirror,
		},
		{
			"an image verifier of the node refuses",
			all(ladder("", ""), check("pull", KindPull, Fail, SignatureRejected, ev("step", "verify"))),
			FaultConfig, SignatureRejected, Likely, "pull",
		},
		{
			"an image verifier of the node fails",
			all(ladder("", ""), check("pull", KindPull, Fail, SignatureRejected, ev("step", "verifier"))),
			FaultNode, SignatureRejected, Likely, "pull",
		},
		{
			"layers corrupted without a mirror",
			all(ladder("", ""), check("pull", KindPull, Fail, LayerCorrupt, ev("step", "blob"))),
			FaultRegistry, LayerCorrupt, Likely, "pull",
		},
		{
			"a runtime without a status",
			all(ladder("", ""), check("runtime", KindRuntime, Error, "")),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "image/" + host,
		},
		{
			"a server without a registry's paths",
			all(
				editedAt(
					editedAt(
						ladder(KindManifest, TagNotFound, ev("status", "404")),
						3,
						func(c *Check) { c.Outcome = Unknown },
					),
					3,
					ev("status", "404", "contentType", "text/plain"),
				),
			),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "manifest/" + host,
		},
		{
			"message about a token service that the probes do not contact",
			all(
				with(reported(NetworkUnreachable), ev("step", "token")),
				ladder(KindManifest, "", func(c *Check) { c.Outcome, c.BlockedBy = Skipped, "token/"+host }),
				check(
					"token/"+host,
					KindToken,
					Skipped,
					"",
					ev("realmHost", "169.254.169.254", "refused", "a link-local address"),
				),
			),
			FaultUndetermined, TokenServiceFailed, Likely, "pod",
		},
		{
			"layers on a host that the probes do not contact",
			all(
				ladder("", ""),
				check(
					"blob/"+host,
					KindBlob,
					Skipped,
					"",
					ev("refused", "a link-local address", "blobHost", "169.254.169.254"),
				),
			),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "blob/" + host,
		},
		{
			"a redirect to a name that does not resolve",
			all(
				resolves("192.0.2.53:53"),
				ladder(KindManifest, HostNotFound, ev("redirectedTo", "elsewhere.example")),
			),
			FaultUndetermined, HostNotFound, Likely, "manifest/" + host,
		},
		{
			"503 in HTML from a load balancer",
			all(
				editedAt(
					editedAt(
						ladder(
							KindManifest,
							RegistryUnavailable,
							ev("contentType", "text/html", "status", "503"),
						),
						3,
						func(c *Check) { c.Outcome, c.Cause = Fail, RegistryUnavailable },
					),
					3,
					ev("contentType", "text/html"),
				),
			),
			FaultRegistry, RegistryUnavailable, Likely, "manifest/" + host,
		},
		{
			"a dead address before a good one",
			all(
				editedAt(
					editedAt(pullable(), 1, ev("taken", "true", "afterMs", "15000")),
					5,
					ev("size", "4096"),
				),
				check(
					"dial/"+host+"/192.0.2.2:443",
					KindDial,
					Fail,
					ConnectionTimeout,
					ev("deadline", "true"),
				),
				check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5")),
			),
			FaultNone, Healthy, Likely, "dial/" + host + "/192.0.2.2:443",
		},
		{
			"no answer for one address family",
			all(
				editedAt(pullable(), 5, ev("size", "4096")),
				check("dns/"+host+"/192.0.2.53:53", KindDNS, Pass, "", ev("AAAA", "timeout")),
				check("pull", KindPull, Error, "", ev("timedOut", "true", "seconds", "4.5")),
			),
			FaultNone, Healthy, Likely, "dns/" + host + "/192.0.2.53:53",
		},
		{
			"layers on a host that times out",
			all(
				reported(ConnectionTimeout, BlobHostUnreachable),
				ladder("", ""),
				check(
					"blob/"+host,
					KindBlob,
					Fail,
					BlobHostUnreachable,
					ev("innerCause", "ConnectionTimeout", "deadline", "true"),
				),
			),
			FaultUndetermined, BlobHostUnreachable, Likely, "blob/" + host,
		},
		{
			"the layers' host answers now",
			all(reported(BlobHostUnreachable), ladder("", ""), check("blob/"+host, KindBlob, Pass, "")),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pod",
		},
	}
}

// situationsOfWeakChecks are those in which a check did not see what the runtime
// sees.
func situationsOfWeakChecks() []situation {
	read := check("credentials", KindCredentials, Pass, "", ev("node", "read"))
	hostsFile := func(order string) Check {
		return check("hosts/"+host, KindRuntime, Pass, "", ev("file", "/etc/containerd/certs.d/"+host+"/hosts.toml", "order", order))
	}
	missing := func(edits ...edit) []Check {
		checks := ladder(KindManifest, TagNotFound)
		checks[0] = check("dns/"+host, KindDNS, Pass, "", append([]edit{ev("sibling", "none")}, edits...)...)
		return checks
	}
	return []situation{
		{
			"no such tag at the address of one resolver, which another one contradicts",
			all(reported(TagNotFound), read, missing(ev("disagree", "true"))),
			FaultConfig, TagNotFound, Likely, atManifest,
		},
		{
			"no such tag at the address in the hosts file, which DNS contradicts",
			all(reported(TagNotFound), read, missing(ev("from", "hosts", "dnsSays", "192.0.2.9", "disagree", "true"))),
			FaultConfig, TagNotFound, Likely, atManifest,
		},
		{
			"no such tag at the address in the hosts file, of a name that DNS does not have",
			all(reported(TagNotFound), read, missing(ev("from", "hosts", "dnsSays", "NXDOMAIN", "disagree", "true"))),
			FaultConfig, TagNotFound, Likely, atManifest,
		},
		{
			"no such tag at the first of two machines",
			all(reported(TagNotFound), read, ladder(KindManifest, TagNotFound), check("dial/"+host+"/192.0.2.2:443", KindDial, Pass, "")),
			FaultConfig, TagNotFound, Likely, atManifest,
		},
		{
			"no such tag at either of two machines",
			all(reported(TagNotFound), read, ladder(KindManifest, TagNotFound, ev("status", "404", "otherMachines", "192.0.2.2 404")),
				check("dial/"+host+"/192.0.2.2:443", KindDial, Pass, "")),
			FaultConfig, TagNotFound, Confirmed, atManifest,
		},
		{
			"no such tag at the first of two machines, and the second has it",
			all(reported(TagNotFound), read, ladder(KindManifest, TagNotFound, ev("status", "404", "otherMachines", "192.0.2.2 200")),
				check("dial/"+host+"/192.0.2.2:443", KindDial, Pass, "")),
			FaultRegistry, TagNotFound, Likely, atManifest,
		},
		{
			"no such tag at the address of the first resolver, and the address of the second has it",
			all(reported(TagNotFound), read, set(missing(ev("disagree", "true")), atManifest, "answerElsewhere", "192.0.2.9 200")),
			FaultNode, ResolverWrongAnswer, Likely, atDNS,
		},
		{
			"no such tag at the addresses of either resolver",
			all(reported(TagNotFound), read, set(set(missing(ev("disagree", "true")), atManifest, "answerElsewhere", "192.0.2.9 404"), atManifest, "status", "404")),
			FaultConfig, TagNotFound, Confirmed, atManifest,
		},
		{
			"no such tag at a host that the registry redirects to",
			all(reported(TagNotFound), read, ladder(KindManifest, TagNotFound, ev("status", "404", "redirectedTo", "replica.example"))),
			FaultConfig, TagNotFound, Likely, atManifest,
		},
		{
			"no such tag by the answer of a cache",
			all(reported(TagNotFound), read, ladder(KindManifest, TagNotFound, ev("status", "404", "cached", "Age 600"))),
			FaultConfig, TagNotFound, Likely, atManifest,
		},
		{
			"no such tag at a public registry that has a private address",
			all(reported(TagNotFound), read, missing(ev("publicRegistry", "true", "special", "private"))),
			FaultConfig, TagNotFound, Likely, atManifest,
		},
		{
			"rejected password at a token service under a wildcard",
			all(reported(CredentialsRejected),
				editedAt(ladder(KindManifest, CredentialsRejected, ev("auth", "bearer", "usedCredential", "secret regcred")), 4,
					func(c *Check) { c.BlockedBy = "token/" + host }),
				check("token/"+host, KindToken, Fail, CredentialsRejected, ev("status", "401", "realmHost", "auth.example")),
				check("dns/auth.example", KindDNS, Pass, "", ev("sibling", "same"))),
			FaultConfig, CredentialsRejected, Likely, atManifest,
		},
		{
			"a mirror that lacks a layer",
			all(reported(LayerCorrupt), onHost(mirror, all(ladder("", ""), check("blob", KindBlob, Fail, LayerCorrupt, ev("status", "404")))),
				onHost(host, ladder(KindManifest, CredentialsMissing))),
			FaultNode, MirrorFaulty, Likely, "blob/" + mirror,
		},
		{
			"a certificate that is not trusted at one address, and is at another",
			all(reported(CertificateUntrusted), read, ladder(KindTLS, CertificateUntrusted, ev("goodAddresses", "192.0.2.2:443"))),
			FaultRegistry, CertificateUntrusted, Likely, atTLS,
		},
		{
			"no such tag at a public registry, whose addresses differ by resolver",
			all(reported(TagNotFound), read, missing(ev("disagree", "true", "publicRegistry", "true"))),
			FaultConfig, TagNotFound, Confirmed, atManifest,
		},
		{
			"no such tag at another registry, to which hosts.toml sends the pull",
			append([]Check{check("reference", KindReference, Pass, "", ev("domain", "elsewhere.lab", "path", "app", "tag", "1"))},
				append(all(reported(TagNotFound), read, ladder(KindManifest, TagNotFound))[1:],
					check("hosts/elsewhere.lab", KindRuntime, Pass, "", ev("file", "/etc/containerd/certs.d/elsewhere.lab/hosts.toml", "order", host)))...),
			FaultUndetermined, TagNotFound, Likely, atManifest,
		},
		{
			"no name of a host to which only hosts.toml sends the pull",
			append([]Check{check("reference", KindReference, Pass, "", ev("domain", "elsewhere.lab", "path", "app", "tag", "1"))},
				append(all(reported(HostNotFound), read, ladder(KindDNS, HostNotFound))[1:],
					check("dns/"+host+"/10.0.0.1:53", KindDNS, Fail, HostNotFound),
					check("hosts/elsewhere.lab", KindRuntime, Pass, "", ev("file", "/etc/containerd/certs.d/elsewhere.lab/hosts.toml", "order", host)))...),
			FaultNode, HostNotFound, Likely, "dns/" + host,
		},
		{
			"no such tag at a mirror, and two other nodes found it at the registry",
			append([]Check{check("reference", KindReference, Pass, "", ev("domain", "elsewhere.lab", "path", "app", "tag", "1"))},
				append(all(reported(TagNotFound), read, ladder(KindManifest, TagNotFound))[1:],
					check("hosts/elsewhere.lab", KindRuntime, Pass, "", ev("file", "/etc/containerd/certs.d/elsewhere.lab/hosts.toml", "order", host)),
					check("elsewhere/image", KindElsewhere, Pass, "", ev("foundAt", "elsewhere.lab", "which", "node-a, node-c", "around", "true")))...),
			FaultNode, MirrorFaulty, Likely, atManifest,
		},
		{
			"no such tag at a mirror, and another node found it at the registry later",
			append([]Check{check("reference", KindReference, Pass, "", ev("domain", "elsewhere.lab", "path", "app", "tag", "1"))},
				append(all(reported(TagNotFound), read, ladder(KindManifest, TagNotFound))[1:],
					check("hosts/elsewhere.lab", KindRuntime, Pass, "", ev("file", "/etc/containerd/certs.d/elsewhere.lab/hosts.toml", "order", host)),
					check("elsewhere/image", KindElsewhere, Pass, "", ev("foundAt", "elsewhere.lab", "which", "node-a")))...),
			FaultNode, MirrorFaulty, Likely, atManifest,
		},
		{
			"the container is being created, and the first of two addresses does not answer here",
			append(
				set(set(all(check("pod", KindPod, Pass, "", ev("creating", "true")), ladder("", "")), "dial/"+host+"/192.0.2.1:443", "taken", "true"), "dial/"+host+"/192.0.2.1:443", "afterMs", "15000"),
				check("dial/"+host+"/192.0.2.2:443", KindDial, Fail, ConnectionTimeout), opinion(2, 0, ""),
			),
			FaultNode, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.2:443",
		},
		{
			"no such tag at the registry itself, which hosts.toml names",
			all(reported(TagNotFound), read, hostsFile(host), ladder(KindManifest, TagNotFound)),
			FaultConfig, TagNotFound, Confirmed, atManifest,
		},
		{
			"a refusal that is remembered",
			all(reported(CredentialsRejected), read, ladder(KindManifest, CredentialsRejected, ev("remembered", "true"))),
			FaultConfig, CredentialsRejected, Likely, atManifest,
		},
		{
			"a refusal of the same request that is remembered",
			all(reported(CredentialsRejected), read,
				ladder(KindManifest, CredentialsRejected, ev("remembered", "true", "answeredAt", "2026-11-30T22:01:05Z"))),
			FaultConfig, CredentialsRejected, Confirmed, atManifest,
		},
		{
			"a refusal of the same request that is remembered, and the kubelet reports nothing",
			all(read, ladder(KindManifest, CredentialsRejected, ev("remembered", "true", "answeredAt", "2026-11-30T22:01:05Z"))),
			FaultConfig, CredentialsRejected, Likely, atManifest,
		},
		{
			"rejected until the login was corrected, and the kubelet has not pulled since",
			all(with(reported(CredentialsRejected), ev("earlierCause", "CredentialsRejected", "nextPull", "2026-11-30T22:05:00Z")), read, pullable()),
			FaultNone, Recovered, Likely, "blob/" + host,
		},
		{
			"rejected, though the checks pass, and never found it",
			all(reported(CredentialsRejected), read, pullable()),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pod",
		},
		{
			"rejected until the login was corrected, and not every step was seen",
			all(with(reported(CredentialsRejected), ev("earlierCause", "CredentialsRejected")), read, ladder("", "")),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pod",
		},
		{
			"a token service's refusal that is remembered",
			all(
				reported(CredentialsRejected), read,
				with(refusing(CredentialsRejected)[0], ev("loginWorks", "false", "remembered", "true")),
				refusing(CredentialsRejected, ev("usedCredential", "secret a"))[1:],
			),
			FaultConfig, CredentialsRejected, Likely, atManifest,
		},
		{
			"a refusal of this moment",
			all(reported(CredentialsRejected), read, ladder(KindManifest, CredentialsRejected)),
			FaultConfig, CredentialsRejected, Confirmed, atManifest,
		},
		{
			"no login, and the kubelet is not seen",
			all(
				reported(CredentialsMissing),
				check("credentials", KindCredentials, Pass, "", ev("node", "unknown")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultConfig, CredentialsMissing, Likely, atManifest,
		},
		{
			"no login but the one in hosts.toml",
			all(
				check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous")),
				check("credentials", KindCredentials, Pass, "", ev("node", "unknown")),
				ladder(KindManifest, CredentialsRejected, ev("usedCredential", "node hosts.toml", "loginInHosts", "true")),
			),
			FaultNode, CredentialsRejected, Likely, atManifest,
		},
		{
			"no login, and no kubelet that could have one",
			all(
				check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous")),
				check("credentials", KindCredentials, Pass, "", ev("node", "unknown")),
				ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")),
			),
			FaultConfig, CredentialsMissing, Confirmed, atManifest,
		},
		{
			"no such tag in a visible repository, and the kubelet is not seen",
			all(
				reported(TagNotFound),
				check("credentials", KindCredentials, Pass, "", ev("node", "unknown")),
				ladder(KindManifest, TagNotFound, ev("anonymous", "true")),
			),
			FaultConfig, TagNotFound, Confirmed, atManifest,
		},
		{
			"a login that was not sent",
			all(
				check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "secret a")),
				ladder(KindManifest, CredentialsMissing, ev("loginNotSent", "the token service has no TLS")),
			),
			FaultConfig, CredentialsMissing, Likely, atManifest,
		},
		{
			"an image whose config was not seen",
			all(editedAt(pullable(), 5, ev("notSeen", "the image config"))),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "blob/" + host,
		},
		{
			"a trust store that could not be read",
			all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted, ev("trust", "unknown"))),
			FaultNode, CertificateUntrusted, Likely, atTLS,
		},
		{
			"a manifest too large to read",
			all(editedAt(pullable(), 5, func(c *Check) { c.Outcome = Error })),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "blob/" + host,
		},
		{
			"layers behind a redirect that is not followed",
			all(ladder("", ""), check("blob/"+host, KindBlob, Skipped, "", ev("refused", "a redirect from https to http"))),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "image/" + host,
		},
		{
			"a manifest without a Content-Type",
			all(editedAt(pullable(), 4, ev("noContentType", "true"))),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "blob/" + host,
		},
		{
			"an invalid name, by a registry's text",
			all(check("pod", KindPod, Fail, InvalidReference, ev("proven", "true")), ladder(KindManifest, AccessForbidden, ev("status", "403", "code", "DENIED"))),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, atManifest,
		},
	}
}

// situationsOfThingsBetween are those of what lies between the node and the
// registry: gateways, proxies, mirrors without an upstream, token services.
func situationsOfThingsBetween() []situation {
	proxied := ev("innerCause", "ProxyDenied", "status", "403")
	upstream := func(cause Cause, edits ...edit) []Check { return onHost(host, ladder(KindDial, cause, edits...)) }
	lacks := onHost(mirror, ladder(KindManifest, TagNotFound))
	return []situation{
		{
			"HEAD is answered with 404, GET with 200",
			all(reported(TagNotFound), ladder(KindManifest, TagNotFound, ev("getStatus", "200"))),
			FaultRegistry, RegistryUnavailable, Likely, atManifest,
		},
		{
			"HEAD is answered with 404, GET with 200, by the probe's own reading",
			all(reported(TagNotFound), ladder(KindManifest, Undetermined, ev("status", "404", "getStatus", "200"))),
			FaultRegistry, RegistryUnavailable, Likely, atManifest,
		},
		{
			"HEAD is answered with 404, GET with a web page",
			set(all(reported(TagNotFound), ladder(KindManifest, TagNotFound, ev("getStatus", "200"))), atRegistry, "isRegistry", "false"),
			FaultConfig, TagNotFound, Likely, atManifest,
		},
		{
			"a web site in place of the token service",
			all(reported(CredentialsRejected), refusing(CredentialsRejected, ev("contentType", "text/html; charset=utf-8", "status", "401"))),
			FaultUndetermined, TokenServiceFailed, Likely, atManifest,
		},
		{
			"a tag that the registry lists and does not find",
			all(reported(TagNotFound), ladder(KindManifest, TagNotFound, ev("listed", "true"))),
			FaultRegistry, TagNotFound, Likely, atManifest,
		},
		{
			"a good login that opens something else",
			all(
				reported(CredentialsRejected),
				with(refusing(CredentialsRejected, ev("usedCredential", "secret regcred"))[0], ev("loginWorks", "true")),
				refusing(CredentialsRejected, ev("usedCredential", "secret regcred"))[1:],
			),
			FaultConfig, AccessForbidden, Likely, atManifest,
		},
		{
			"a provider's login for Azure without a role",
			all(
				reported(CredentialsRejected),
				onHost("shop.azurecr.io", ladder(KindManifest, CredentialsRejected, ev("usedCredential", "provider acr", "auth", "bearer"))),
			),
			FaultNode, AccessForbidden, Likely, "manifest/shop.azurecr.io",
		},
		{
			"the proxy refuses the token service",
			all(with(reported(TokenServiceFailed), ev("step", "token")), refusing(TokenServiceFailed, proxied)),
			FaultNode, ProxyDenied, Confirmed, "token/" + host,
		},
		{
			"the proxy refuses the host of the layers",
			all(
				with(reported(Undetermined), ev("step", "blob")),
				ladder("", ""),
				check("blob/"+host, KindBlob, Fail, BlobHostUnreachable, proxied, ev("blobHost", "cdn.example")),
			),
			FaultNode, ProxyDenied, Likely, "blob/" + host,
		},
		{
			"the proxy answers for a host that it cannot reach",
			all(reported(Undetermined), ladder(KindDial, Undetermined, ev("status", "502", "step", "connect", "proxy", "http://192.0.2.3:3128"))),
			FaultUndetermined, ProxyDenied, Likely, atDial,
		},
		{
			"a mirror lacks the tag, and there is no route to the upstream",
			all(reported(NetworkUnreachable), lacks, upstream(NetworkUnreachable)),
			FaultConfig, TagNotFound, Likely, "manifest/" + mirror,
		},
		{
			"a mirror lacks the tag, and the upstream has no name here",
			all(reported(TagNotFound, HostNotFound), lacks, onHost(host, ladder(KindDNS, HostNotFound))),
			FaultConfig, TagNotFound, Likely, "manifest/" + mirror,
		},
		{
			"a mirror lacks the tag, and a proxy refuses the upstream",
			all(reported(ProxyDenied), lacks, upstream(ProxyDenied, ev("status", "403"))),
			FaultConfig, TagNotFound, Likely, "manifest/" + mirror,
		},
		{
			"a mirror's token service is dead, and the upstream has no name here",
			all(
				reported(HostNotFound),
				onHost(mirror, ladder(KindManifest, TokenServiceFailed, ev("innerCause", "ConnectionRefused"))),
				onHost(host, ladder(KindDNS, HostNotFound)),
			),
			FaultNode, MirrorFaulty, Likely, "manifest/" + mirror,
		},
		{
			"a mirror forbids, and the upstream has no name here",
			all(
				reported(HostNotFound),
				onHost(mirror, ladder(KindManifest, AccessForbidden, ev("status", "403", "code", "DENIED", "usedCredential", "secret a"))),
				onHost(host, ladder(KindDNS, HostNotFound)),
			),
			FaultConfig, AccessForbidden, Likely, "manifest/" + mirror,
		},
		{
			"a mirror without a name either",
			all(reported(HostNotFound), onHost(mirror, ladder(KindDNS, HostNotFound)), onHost(host, ladder(KindDNS, HostNotFound))),
			FaultUndetermined, HostNotFound, Likely, "dns/" + host,
		},
		{
			"the registry's quota is used up",
			all(reported(AccessForbidden), ladder(KindManifest, AccessDeniedOrMissing,
				ev("status", "403", "code", "DENIED", "anonymous", "true", "refusedFor", "quota"))),
			FaultRegistry, AccessForbidden, Likely, atManifest,
		},
		{
			"the registry refuses this network",
			all(reported(AccessForbidden), ladder(KindManifest, AccessDeniedOrMissing,
				ev("status", "403", "code", "DENIED", "anonymous", "true", "refusedFor", "network"))),
			FaultUndetermined, AccessForbidden, Likely, atManifest,
		},
		{
			"a policy forbids the image to an anonymous request",
			all(reported(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("status", "412", "policy", "true", "anonymous", "true"))),
			FaultConfig, AccessForbidden, Confirmed, atManifest,
		},
		{
			"a token service fails for POST, which the checks did not send",
			all(pullable(), check("token/"+host, KindToken, Pass, ""),
				check("pull", KindPull, Fail, TokenServiceFailed, ev("step", "token", "auth", "secret regcred"))),
			FaultRegistry, TokenServiceFailed, Likely, "pull",
		},
		{
			"a token service that the checks saw answer POST",
			all(pullable(), check("token/"+host, KindToken, Pass, "", ev("postStatus", "200")),
				check("pull", KindPull, Fail, TokenServiceFailed, ev("step", "token", "auth", "secret regcred"))),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pull",
		},
		{
			"an authority for staging",
			all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted, ev("placeholder", "Let's Encrypt staging"))),
			FaultRegistry, CertificateUntrusted, Likely, atTLS,
		},
		{
			"the default certificate of an ingress",
			all(reported(CertificateNameMismatch), ladder(KindTLS, CertificateNameMismatch, ev("placeholder", "ingress-nginx default"))),
			FaultUndetermined, CertificateNameMismatch, Likely, atTLS,
		},
		{
			"no route to the host, images pulled before",
			all(reported(NetworkUnreachable), imagesHere("3"), ladder(KindDial, NetworkUnreachable, ev("errno", "EHOSTUNREACH"))),
			FaultNode, NetworkUnreachable, Likely, atDial,
		},
		{
			"no route on this node itself",
			all(reported(NetworkUnreachable), ladder(KindDial, NetworkUnreachable, ev("errno", "ENETUNREACH", "localRoute", "none"))),
			FaultNode, NetworkUnreachable, Likely, atDial,
		},
		{
			"no route on this node itself, two other nodes get through",
			all(reported(NetworkUnreachable), opinion(2, 0, ""),
				ladder(KindDial, NetworkUnreachable, ev("errno", "ENETUNREACH", "localRoute", "none"))),
			FaultNode, NetworkUnreachable, Confirmed, atDial,
		},
		{
			"a registry with IPv4 only, and a node with IPv6 only",
			all(reported(NetworkUnreachable), ladder(KindDial, NetworkUnreachable, onlyIPv6)),
			FaultNode, NetworkUnreachable, Likely, atDial,
		},
		{
			"a resolver fails for AAAA, and the node has IPv6 only",
			all(reported(NetworkUnreachable), resolves("192.0.2.53:53", "A", "NOERROR", "AAAA", "SERVFAIL"),
				ladder(KindDial, NetworkUnreachable, onlyIPv6)),
			FaultUndetermined, ResolverFailed, Likely, "dns/" + host + "/192.0.2.53:53",
		},
		{
			"a resolver does not answer for AAAA, and the node has IPv6 only",
			all(reported(NetworkUnreachable), resolves("192.0.2.53:53", "A", "NOERROR", "AAAA", "timeout"),
				ladder(KindDial, NetworkUnreachable, onlyIPv6)),
			FaultNode, ResolverUnreachable, Likely, "dns/" + host + "/192.0.2.53:53",
		},
		{
			"SERVFAIL, and the resolver answers for another domain",
			all(
				reported(ResolverFailed),
				with(resolverFails(ResolverFailed), ev("otherName", "answers")),
				ladder(KindDNS, ResolverFailed),
			),
			FaultUndetermined, ResolverFailed, Likely, atDNS,
		},
	}
}

const mirror = "mirror.example"

// onHost moves the checks to another host, one check for each kind.
func onHost(h string, checks []Check) []Check {
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

// editedAt changes one of the checks.
func editedAt(checks []Check, i int, e edit) []Check {
	e(&checks[i])
	return checks
}

func with(c Check, e edit) Check {
	e(&c)
	return c
}

// resolverFails returns the failed check of one resolver.
func resolverFails(cause Cause) Check {
	return check("dns/"+host+"/192.0.2.53:53", KindDNS, Fail, cause)
}

// suggested returns the check of an image that may be meant.
func suggested(kv ...string) Check {
	return check("reference/suggested", KindReference, Pass, "", ev(kv...), saying("registry.lab is the registry of other pods"))
}

// imagesHere returns how many images of the registry are on the node.
func imagesHere(n string) Check {
	return check("local/"+host, KindImage, Pass, "", ev("count", n))
}

func resolves(resolver string, kv ...string) Check {
	return check("dns/"+host+"/"+resolver, KindDNS, Pass, "", ev(kv...))
}

// onlyIPv6 makes an address one that a node with IPv6 only does not reach.
var onlyIPv6 = ev("errno", "ENETUNREACH", "localRoute", "none", "onlyFamily", "IPv6")

// notDialed returns the checks of a host that the guard forbids to contact.
func notDialed() []Check {
	return []Check{
		check("dns/"+host, KindDNS, Pass, ""),
		check("dial/"+host+"/127.0.0.1:443", KindDial, Skipped, ""),
		blocked("manifest/"+host, KindManifest, "dial/"+host+"/127.0.0.1:443"),
	}
}

func elsewhere(o Outcome) Check {
	return check("elsewhere/"+host+"/192.0.2.9:443", KindTLS, o, "")
}

// ofUnknownVersion is a hosts.toml whose reading depends on the version of the runtime.
func ofUnknownVersion() Check {
	return check("hosts/"+host, KindRuntime, Pass, "",
		ev("order", host, "file", "/etc/containerd/certs.d/"+host+"/hosts.toml", "dependsOn", "containerd up to 1.7.31 ignores it: no [host] table"))
}

func ignored() Check {
	file := "/etc/containerd/certs.d/" + host + "/hosts.toml"
	return check("hosts/"+host, KindRuntime, Fail, RuntimeConfigInvalid, ev("ignored", "true", "file", file, "reason", "toml: line 1"))
}

func newer(id string, edits ...edit) Check {
	return check(id, KindRuntime, Pass, "", append(edits, ev("newer", "true"))...)
}

func containerd(version string) Check {
	return check("runtime", KindRuntime, Pass, "", ev("name", "containerd", "version", version))
}
