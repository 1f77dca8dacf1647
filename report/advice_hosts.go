package report

import (
	"cmp"
	"slices"
	"strings"
)

// Questions that rules and fixes share.
const (
	intermediateQuestion = "check whether {host} sends the intermediate certificate of its issuer: " +
		"openssl s_client -showcerts -connect {hostport}"

	// It decides who must act if a host of layers forbids a request.
	forbiddenLayers = "pull the image from another network: if that works, an allow-list or a filter forbids this node"
)

// fixOfDetour returns the fix of what a host answered to which only a file of the node
// sends the pull, or to a login that such a file adds.
func (a adviser) fixOfDetour() string {
	if !slices.ContainsFunc(a.Because, func(id string) bool { return answered(a.get(id)) }) {
		return ""
	}
	login, absent := a.Cause.AboutLogin(), a.Cause == TagNotFound || a.Cause == RepositoryNotFound
	inHosts := a.is(ManifestID(a.host), KeyLoginInHosts)
	switch {
	case inHosts && login:
		return "on {node}: correct the authorization header for {host} in {hostsFile}, or remove it: {runtime} sends that login"
	case inHosts && absent:
		return "check whether the login in {hostsFile} on {node} may see {repository} on {host}; if so, push {repository}:{tag} there"
	case !a.sentElsewhere(a.host):
		return ""
	case login:
		return "on {node}: check whether {hostsFile} should send pulls of {registry} to {host}; " +
			"if so, the login for {registry} must be one that {host} accepts: the runtime sends it there"
	case absent:
		return "on {node}: check whether {hostsFile} should send pulls of {registry} to {host}; if so, push {repository}:{tag} to {host}"
	}
	return "on {node}: check whether {hostsFile} should send pulls of {registry} to {host}; if so, contact the operator of {host}"
}

// fixOfLayers returns the fix of a host that serves layers, by what is wrong there.
func (a adviser) fixOfLayers() string {
	if a.Cause != BlobHostUnreachable || a.Fault == FaultRegistry {
		return ""
	}
	inner, status := Cause(a.decided(KeyInnerCause)), a.decided(KeyStatus)
	switch {
	case strings.HasPrefix(a.decided(KeyContentType), "text/html"):
		return "find what answers {node} with a web page instead of {layers}: log in to the portal, or exempt {layers} from the filter"
	case loopback(a.decided(KeyBlobHost)):
		return "contact the operator of {registry}: it sends this node to {layers} for layers, which is the node itself"
	case inner == AccessForbidden:
		return forbiddenLayers + "; if not, contact the operator of {registry}: {layers} answers " + cmp.Or(status, "403") + " to its links"
	case inner == HostNotFound:
		return "make {layers} resolve on {node}: {registry} keeps its layers there; if it resolves nowhere, contact the operator of {registry}"
	case inner == CertificateUntrusted && a.Fault == FaultNode:
		return "on {node}: add the CA that signed the certificate of {layers} to the trust store, and then {restart}"
	case inner.Stage() == StageDNS, inner.Stage() == StageTLS:
		return strings.ReplaceAll(inner.Fix(a.Fault), "{host}", "{layers}")
	}
	return ""
}

// fixOfAnswer returns the fix of an answer, by what else is known of the host.
func (a adviser) fixOfAnswer() string {
	denied := a.Cause == AccessForbidden || a.Cause == AccessDeniedOrMissing
	absent := (a.Cause == TagNotFound || a.Cause == RepositoryNotFound) && a.Fault == FaultConfig
	hosts := a.hosts()
	switch {
	case a.Fault == FaultRegistry && strings.Contains(a.decided(KeyOtherMachines), " 200"):
		return "have the operator of {host} compare its machines: another one has {image} (address and answer: " +
			a.decided(KeyOtherMachines) + ")"
	case a.Cause == MirrorFaulty && len(hosts) > 1 && a.get(ManifestID(hosts[len(hosts)-1])).Outcome != Pass:
		return "fix mirror {host}: " + hosts[len(hosts)-1] + " does not serve this node instead"
	case denied && a.decided(KeyRegistryStatus) == "403":
		return "find out why {host} answers 403 to every request from {node}: IP allow-list, firewall or filter"
	case a.Cause == AccessForbidden && azure(a.names.host) && strings.HasPrefix(a.names.source, "provider "):
		return "grant the identity that the kubelet of {node} uses the role AcrPull on {registry}: its login is good, and opens nothing"
	case a.Cause == AccessDeniedOrMissing && a.decided(KeyUsedCredential) != "":
		return "grant pull access to {registry}/{repository} to the account in {source}, or correct the name"
	case absent && a.mayBeHidden():
		return "look for {repository} ({tag}) on {host} with a login: it answers 404 without one, and asks for none; " +
			"if it is not there, correct the name or push it"
	case absent && a.mayBeCache():
		return cacheFix
	case a.Cause == LayerCorrupt && a.Fault == FaultRegistry && a.mayBeCache():
		return "push {image} again; if {host} caches it from another registry, delete it from that cache instead"
	case a.Cause == TagNotFound && a.Fault == FaultConfig && a.fact(IDReference, KeyDigest) != "":
		return digestFix
	case a.Cause == RegistryUnavailable && a.decided(KeyGetStatus) == "200":
		return "make what is in front of {host} answer HEAD as it answers GET: the runtime sends HEAD"
	}
	return ""
}

// fixOfTrust returns the fix of a handshake or a certificate, by what answered.
func (a adviser) fixOfTrust() string {
	switch {
	case a.Cause == CertificateUntrusted && a.Fault == FaultUndetermined && a.decided(KeyMissingIntermediate) != "":
		return intermediateQuestion + "; if not, its operator must add it"
	case a.Cause == TLSHandshakeFailed && strings.Contains(a.decided(KeyAlert), "certificate required"):
		return "{host} requires a client certificate: on {node}, name one for {host} in {hostsFile} (client = …)"
	case a.Cause == TLSHandshakeFailed && strings.Contains(a.decided(KeyAlert), "protocol version"):
		return "enable TLS 1.2 or newer on {host}: it rejects the versions that the runtime uses"
	case a.Cause == TLSHandshakeFailed && a.decided(KeyAlert) != "":
		return "find in the log of {host} why it rejects TLS with the alert in the message above: openssl s_client -connect {hostport}"
	case a.Cause == PlainHTTPRegistry && a.decided(KeyHTTPAnswer) == "other":
		return "find out what answers at {host} instead of a registry: a login portal, or another web server"
	case a.Cause == PlainHTTPRegistry && a.decided(KeyHTTPAnswer) == "":
		// Where a portal answers, the runtime would give it the login, in clear.
		return "serve {host} with TLS, or, once it is seen that a registry answers there in plain HTTP, configure that in {hostsFile} on {node}"
	}
	return ""
}
