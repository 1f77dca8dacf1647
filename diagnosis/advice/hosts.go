package advice

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// Questions that rules and fixes share.
const (
	// AskForIntermediate asks whether a server or the node's trust store is at fault.
	AskForIntermediate = "check whether {host} sends the intermediate certificate of its issuer:\n" +
		"openssl s_client -showcerts -connect {hostport}"

	// AskForLayers asks who must act if a host of layers forbids a request.
	AskForLayers = "pull the image from another network: if that works, an allow-list or a filter forbids this node"
)

// checkDetour asks whether a file of the node sends the pull to the right host.
const checkDetour = "on {node}: check whether {hostsFile} should send pulls of {registry} to {host}; if not, correct it; if so, "

// fixOfDetour returns the fix of a host to which only a file of the node sends the pull, or
// of a login that such a file adds.
func (a adviser) fixOfDetour() string {
	if !slices.ContainsFunc(a.Because, func(id string) bool { return facts.IsAnswer(a.Get(id)) }) {
		return a.fixOfDetourWithoutAnswer()
	}
	login, absent := a.Cause.AboutLogin(), a.Cause == report.TagNotFound || a.Cause == report.RepositoryNotFound
	inHosts := a.Is(report.ManifestID(a.Host), report.KeyLoginInHosts)
	switch path := a.PathOf(a.Host); {
	case path != "":
		return "on {node}: check the path " + path + " of {host} in {hostsFile}: the pull goes there, and not to the path that the image names"
	case inHosts && login:
		return "on {node}: correct the authorization header for {host} in {hostsFile}, or remove it: {runtime} sends that login"
	case inHosts && absent:
		return "check whether the login in {hostsFile} on {node} may see {repository} on {host}; if so, push {repository}:{tag} there"
	case !a.SentElsewhere(a.Host):
		return ""
	case login:
		return checkDetour +
			"the login for {registry} must be one that {host} accepts: the runtime sends it there"
	case absent:
		return checkDetour + "push {repository}:{tag} to {host}"
	}
	return checkDetour + "contact the operator of {host}"
}

// fixOfDetourWithoutAnswer returns the fix of a host that only a file of the node names, and
// that has no address or accepts no connection.
func (a adviser) fixOfDetourWithoutAnswer() string {
	switch {
	case !a.Cause.OnTheNetwork() || !a.SentElsewhere(a.Host) || a.Isolated():
		return ""
	case a.Cause == report.HostNotFound:
		return checkDetour + "make {host} resolve"
	case a.Fault == report.FaultUndetermined && a.Cause.FixOnlyFor(a.Fault) == "" && a.Cause.Fix(a.Fault) == report.AskElsewhere:
		return checkDetour + report.AskElsewhere
	}
	return ""
}

// fixOfLayers returns the fix of a host that serves layers, by what is wrong there.
func (a adviser) fixOfLayers() string {
	if a.Cause != report.BlobHostUnreachable || a.Fault == report.FaultRegistry {
		return ""
	}
	inner, status := report.Cause(a.Decided(report.KeyInnerCause)), a.Decided(report.KeyStatus)
	switch {
	case strings.HasPrefix(a.Decided(report.KeyContentType), "text/html"):
		return "find what answers {node} with a web page instead of {layers}: log in to the portal, or exempt {layers} from the filter"
	case facts.IsLoopback(a.Decided(report.KeyBlobHost)):
		return "contact the operator of {registry}: it sends this node to {layers} for layers, which is the node itself"
	case inner == report.AccessForbidden:
		return AskForLayers + "; if not, contact the operator of {registry}: {layers} answers " + cmp.Or(status, "403") + " to its links"
	case inner == report.HostNotFound:
		return "make {layers} resolve on {node}: {registry} keeps its layers there; if it resolves nowhere, contact the operator of {registry}"
	case inner == report.CertificateUntrusted && a.Fault == report.FaultNode:
		return "on {node}: add the CA that signed the certificate of {layers} to the trust store, and then {restart}"
	case inner.Stage() == report.StageDNS, inner.Stage() == report.StageTLS:
		return strings.ReplaceAll(inner.Fix(a.Fault), "{host}", "{layers}")
	}
	return ""
}

// fixOfAnswer returns the fix of an answer, by what else is known of the host.
func (a adviser) fixOfAnswer() string {
	denied := a.Cause == report.AccessForbidden || a.Cause == report.AccessDeniedOrMissing
	absent := (a.Cause == report.TagNotFound || a.Cause == report.RepositoryNotFound) && a.Fault == report.FaultConfig
	hosts := a.Hosts()
	switch {
	case a.Fault == report.FaultRegistry && strings.Contains(a.Decided(report.KeyOtherMachines), " 200"):
		return "have the operator of {host} compare its machines: another one has {image} (address and answer: " +
			a.Decided(report.KeyOtherMachines) + ")"
	case a.Cause == report.MirrorFaulty && len(hosts) > 1 && a.Get(report.ManifestID(hosts[len(hosts)-1])).Outcome != report.Pass:
		return "fix mirror {host}: " + hosts[len(hosts)-1] + " does not serve this node instead"
	case a.Cause == report.RepositoryNotFound && a.Fault == report.FaultUndetermined && a.LocalImages().Evidence[report.KeyOfRepository] != "":
		return "check on {host} why it has {repository} no more: this node has images of it (storage not mounted, deleted, renamed)"
	case a.Cause == report.ProxyDenied && a.Fault == report.FaultNode && a.Confidence == report.Likely && !a.PulledBefore():
		return "check the host in {image}; if it is right, allow {host} on the proxy"
	case denied && a.Decided(report.KeyRegistryStatus) == "403":
		return "find out why {host} answers 403 to every request from {node}: IP allow-list, firewall or filter"
	case a.Cause == report.AccessForbidden && facts.IsAzure(a.names.Host) && strings.HasPrefix(a.names.Source, "provider "):
		return "grant the identity that the kubelet of {node} uses the role AcrPull on {registry}: its login is valid, but has no access"
	case a.Cause == report.AccessForbidden && a.Fact(report.TokenID(a.Host), report.KeyStatus) == "403":
		return "check whether the credentials in {source} are still valid, and renew them if not: {host} answers 403 to expired ones, too; " +
			"if it is, grant its account pull access to {registry}/{repository}"
	case a.Cause == report.AccessDeniedOrMissing && a.Decided(report.KeyUsedCredential) != "":
		return "grant pull access to {registry}/{repository} to the account in {source}, or correct the name"
	case absent && a.MayBeHidden():
		return "correct the image's name in {where}, or push it; if the name is right and the image exists, give the pod a pull " +
			"secret for {registry}: without a login, {host} may answer 404 for a repository that it hides"
	case absent && a.MayBeCache():
		return cacheFix
	case a.Cause == report.LayerCorrupt && a.Fault == report.FaultRegistry && a.MayBeCache():
		return "push {image} again; if {host} caches it from another registry, delete it from that cache instead"
	case a.Cause == report.TagNotFound && a.Fault == report.FaultConfig && a.Fact(report.IDReference, report.KeyDigest) != "":
		return digestFix
	case a.Cause == report.RegistryUnavailable && a.Decided(report.KeyGetStatus) == "200":
		return "make what is in front of {host} answer HEAD as it answers GET: the runtime sends HEAD"
	}
	return ""
}

// fixOfTrust returns the fix of a handshake or a certificate, by what answered.
func (a adviser) fixOfTrust() string {
	switch good := a.Decided(report.KeyGoodAddresses); {
	case good != "" && a.Fault == report.FaultRegistry:
		return "have the operator of {host} correct the machine at {address}: " + good + " answers as it should"
	case a.Cause == report.CertificateExpired && a.Decided(report.KeyExpiredFrom) == "server":
		return "serve a current certificate of the authority " + strconv.Quote(a.Decided(report.KeyExpired)) +
			" with that of {host}, which is valid itself"
	case a.Cause == report.CertificateUntrusted && a.Fault == report.FaultUndetermined && a.Decided(report.KeyMissingIntermediate) != "":
		return AskForIntermediate + "\nif not, its operator must add it"
	case a.Cause == report.CertificateUntrusted && a.Decided(report.KeyRoots) == "0" && a.Fault == report.FaultUndetermined:
		return "no CA certificates are here at all: check with --runtime-endpoint, as the runtime of the node would, or with --ca-file"
	case a.Cause == report.CertificateUntrusted && a.Fault == report.FaultNode && a.Decided(report.KeyRoots) == "0":
		return "{node} has no CA certificate at all; " + a.Cause.Fix(a.Fault)
	case a.Cause == report.TLSHandshakeFailed && strings.Contains(a.Decided(report.KeyAlert), "certificate required"):
		return "{host} requires a client certificate: on {node}, name one for {host} in {hostsFile} ({hostsClient})"
	case a.Cause == report.TLSHandshakeFailed && strings.Contains(a.Decided(report.KeyAlert), "protocol version"):
		return "enable TLS 1.2 or newer on {host}: it rejects the versions that the runtime uses"
	case a.Cause == report.TLSHandshakeFailed && a.Decided(report.KeyAlert) != "":
		return "find in the log of {host} why it rejects TLS with the alert in the message above:\nopenssl s_client -connect {hostport}"
	case a.Cause == report.PlainHTTPRegistry && a.Decided(report.KeyHTTPAnswer) == "other":
		return "find out what answers at {host} instead of a registry: a login portal, or another web server"
	case a.Cause == report.PlainHTTPRegistry && a.Decided(report.KeyHTTPAnswer) == "":
		// Where a portal answers, the runtime would give it the login, in clear.
		return "serve {host} with TLS, or, once it is seen that a registry answers there in plain HTTP, configure that in {hostsFile} on {node}"
	}
	return ""
}
