package report

import (
	"cmp"
	"slices"
	"strings"
)

// faultRule says who must act on an obstacle, where that is not its root cause's
// default.
type faultRule struct {
	id     string
	when   string // when it applies, in one sentence
	assign func(*evaluation, obstacle) (responsibility, bool)
}

// certainly returns a responsibility that does not lower the confidence.
func certainly(f Fault) responsibility { return responsibility{fault: f} }

// presumably returns a responsibility that makes the verdict likely at most, with
// what would settle it.
func presumably(f Fault, wouldDecide ...string) responsibility {
	return responsibility{fault: f, likely: true, wouldDecide: wouldDecide}
}

// faultsOnTheNetwork decide about hosts that this node does not reach.
func faultsOnTheNetwork() []faultRule {
	no := responsibility{}
	return []faultRule{
		{"redirect-unreachable", "the host of a redirect is unreachable", func(e *evaluation, o obstacle) (responsibility, bool) {
			if o.check.Evidence[KeyRedirectedTo] == "" || !o.rootCause().OnTheNetwork() {
				return no, false
			}
			return e.faultOfReferredHost(o)
		}},
		{"resolver-lacks-name", "another resolver has the name", func(e *evaluation, o obstacle) (responsibility, bool) {
			host := o.check.Host
			if o.rootCause() != HostNotFound || len(resolversThatKnow(e.evidence, host)) == 0 {
				return no, false
			}
			// A resolver may have an address for any name: what answers there decides.
			for _, c := range e.below(ElsewhereID(host)) {
				if c.Outcome == Fail && !foundElsewhere(e.evidence, host) {
					return presumably(FaultUndetermined, "check whether "+host+" is the intended name: "+
						"what answers at the address of another resolver does not have it"), true
				}
			}
			return certainly(FaultNode), true
		}},
		{"node-without-dns", "nsswitch.conf of the node has no DNS", func(e *evaluation, o obstacle) (responsibility, bool) {
			return certainly(FaultNode), o.rootCause() == HostNotFound && e.fact(DNSID(o.check.Host), KeyNsswitch) == "files"
		}},
		{"host-unreachable", "a host is unreachable, seen from one node", func(e *evaluation, o obstacle) (responsibility, bool) {
			switch o.rootCause() {
			case HostNotFound, ConnectionRefused, ConnectionTimeout:
				return e.faultFromOneNode(o), true
			case NetworkUnreachable:
				// A route or a firewall of this node forbids with EACCES. The other errors may
				// be a router's: the registry's machine is off.
				errno := o.check.Evidence[KeyErrno]
				return e.faultFromOneNode(o), errno == "EHOSTUNREACH" || errno == "ENETUNREACH"
			}
			return no, false
		}},
		{"either-end", "the fault may be at either end of the connection", func(_ *evaluation, o obstacle) (responsibility, bool) {
			switch c := o.rootCause(); c {
			case ConnectionReset: // its rivals ask what decides
				return presumably(FaultNode), true
			case TLSHandshakeFailed:
				return presumably(FaultNode, fromAnotherNode(c, o.check.Host)), true
			}
			return no, false
		}},
		{"referred-host", "the token service or the layer host fails", func(e *evaluation, o obstacle) (responsibility, bool) {
			if c := o.rootCause(); c != BlobHostUnreachable && c != TokenServiceFailed {
				return no, false
			}
			return e.faultOfReferredHost(o)
		}},
	}
}

// faultsInTrust decide about certificates and about answers of resolvers.
func faultsInTrust() []faultRule {
	no := responsibility{}
	return []faultRule{
		{"intermediate-probably-missing", "the server may lack an intermediate", func(_ *evaluation, o obstacle) (responsibility, bool) {
			// A certificate that names a URL of its issuer's certificate is one that a
			// server has to send that along with.
			if o.rootCause() != CertificateUntrusted || o.check.Evidence[KeyMissingIntermediate] != "likely" {
				return no, false
			}
			host := o.check.Host
			names := strings.NewReplacer("{host}", host, "{hostport}", WithPort(host))
			return presumably(FaultUndetermined, names.Replace(intermediateQuestion)), true
		}},
		{"node-authority-expired", "a CA of the node's own trust store has expired", func(_ *evaluation, o obstacle) (responsibility, bool) {
			return certainly(FaultNode), o.rootCause() == CertificateExpired && o.check.Evidence[KeyExpiredFrom] == "node"
		}},
		{"not-yet-valid-by-two-clocks", "a certificate is not valid yet by two clocks", func(e *evaluation, o obstacle) (responsibility, bool) {
			agreed := o.check.Evidence[KeyAgreesWith] != "" || e.get(ClockID(o.check.Host)).Outcome == Pass
			if o.rootCause() != CertificateNotYetValid || !agreed {
				return no, false
			}
			// Both may follow the same wrong clock of their site.
			return presumably(FaultUndetermined, "compare the time with a clock elsewhere: if this node's is right, "+
				o.check.Host+" uses its certificate too early"), true
		}},
		{"resolver-fails-for-one-name", "a resolver fails for this name only", func(e *evaluation, o obstacle) (responsibility, bool) {
			failed := o.rootCause() == ResolverFailed || o.rootCause() == ResolverUnreachable
			answers := slices.ContainsFunc(e.below(DNSID(o.check.Host)), func(c Check) bool {
				// REFUSED is the resolver's own decision, not a failure of the name's domain.
				return c.Cause == ResolverFailed && c.Evidence[KeyOtherName] == "answers" && c.Evidence[KeyRcode] != "REFUSED"
			})
			if !failed || o.check.Kind != KindDNS || e.get(IDControl).Outcome != Pass && !answers {
				return no, false
			}
			r := presumably(FaultUndetermined, "resolve "+o.check.Host+" with a resolver of another network: "+
				"if that fails too, the name servers of its domain are at fault")
			r.because = e.existing(IDControl)
			return r, true
		}},
		{"placeholder-authority", "a staging authority issued the certificate", func(_ *evaluation, o obstacle) (responsibility, bool) {
			// To trust such an authority would be harmful: it issues to everyone.
			placeholder := o.check.Evidence[KeyPlaceholder] != "" && !ingressDefault(o.check)
			return certainly(FaultRegistry), o.rootCause() == CertificateUntrusted && placeholder
		}},
	}
}

// ingressDefault reports whether a certificate is the one that an ingress or a
// control panel shows for a host that it does not know.
func ingressDefault(c Check) bool {
	name := strings.ToLower(c.Evidence[KeyPlaceholder])
	for _, word := range []string{"default", "ingress", "traefik", "plesk", "cpanel", "panel"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return name != "" && c.Cause == CertificateNameMismatch
}

// faultsInAnswers decide by what the registry answered, to which credential.
func faultsInAnswers() []faultRule {
	no := responsibility{}
	return []faultRule{
		{"listed-and-not-found", "the registry lists the tag that it does not find", func(_ *evaluation, o obstacle) (responsibility, bool) {
			listed := o.rootCause() == TagNotFound && o.check.Evidence[KeyListed] == True
			return presumably(FaultRegistry, "check whether "+o.check.Host+" has lost the manifest of this tag: it is in its own tag list"), listed
		}},
		{"machines-differ", "another machine of the host has what this one refuses", func(_ *evaluation, o obstacle) (responsibility, bool) {
			differ := o.check.Kind == KindManifest && answeredBy(o.check, KeyOtherMachines, "200")
			return presumably(FaultRegistry, "compare the machines of "+o.check.Host+" (address and answer): "+o.check.Evidence[KeyOtherMachines]), differ
		}},
		{"forbidden-to-node", "the registry forbids every request of this node", func(_ *evaluation, o obstacle) (responsibility, bool) {
			if c := o.rootCause(); c != AccessForbidden && c != AccessDeniedOrMissing || o.check.Evidence[KeyRegistryStatus] != "403" {
				return no, false
			}
			return presumably(FaultUndetermined, "send the same request from another network: "+
				o.check.Host+" answers 403 to every request from here"), true
		}},
		{"forbidden-by-policy", "a policy forbids the image to all users", func(_ *evaluation, o obstacle) (responsibility, bool) {
			return certainly(FaultConfig), o.rootCause() == AccessForbidden && o.check.Is(KeyPolicy)
		}},
		{"refused-for-own-reason", "the registry's text names a reason that is not the login's", func(
			_ *evaluation, o obstacle,
		) (responsibility, bool) {
			if c := o.rootCause(); c != AccessForbidden && c != AccessDeniedOrMissing {
				return no, false
			}
			switch ownReason(o.check) {
			case "quota", "billing", "quarantine", "country":
				return presumably(FaultRegistry), true
			case "network": // its list of addresses, or the address that this node goes out by
				return presumably(FaultUndetermined, "send the same request from another network"), true
			}
			return no, false
		}},
		{"provider-expected", "a provider of the node should have credentials", func(e *evaluation, o obstacle) (responsibility, bool) {
			provider := cmp.Or(e.fact(IDCredentials, KeyExpectedProvider), e.fact(IDCredentials, KeyProviderNotRun))
			c := o.rootCause()
			refused := c == CredentialsMissing || c == CredentialsRejected || c == CredentialsExpired || c == AccessForbidden
			switch {
			case provider == "":
				return no, false
			case c == CredentialsMissing && anonymous(o), refused && e.causeFromKubelet(o):
			default:
				return no, false
			}
			if e.fact(IDCredentials, KeyUnreadable) != "" {
				return presumably(FaultUndetermined, "check whether the kubelet uses credentials of a pull secret or of "+provider), true
			}
			return presumably(FaultNode, "check whether pods of this node should get their credentials from "+
				provider+" or from a pull secret"), true
		}},
		{"node-credentials", "the registry refused credentials of the node", func(_ *evaluation, o obstacle) (responsibility, bool) {
			switch o.rootCause() {
			case CredentialsMissing, CredentialsRejected, CredentialsExpired, AccessForbidden:
				for _, source := range []string{"node ", "provider ", "runtime "} {
					if strings.HasPrefix(o.check.Evidence[KeyUsedCredential], source) {
						return certainly(FaultNode), true
					}
				}
			}
			return no, false
		}},
		{"message-names-step", "the message names a step that decides", func(e *evaluation, o obstacle) (responsibility, bool) {
			fault := FaultAt(o.rootCause(), e.message.step())
			return certainly(fault), e.message.exists() && fault != o.rootCause().DefaultFault()
		}},
		{"platform-not-published", "the publisher left this platform out", func(_ *evaluation, o obstacle) (responsibility, bool) {
			return certainly(FaultRegistry), o.rootCause() == PlatformMismatch && o.check.Is(KeyPublisher)
		}},
	}
}

// faultOfReferredHost decides about a host that the registry refers the runtime
// to, by what is wrong there. If that host answered, nothing is decided.
func (e *evaluation) faultOfReferredHost(o obstacle) (responsibility, bool) {
	inner := e.innerCause(o)
	if o.check.Evidence[KeyRedirectedTo] != "" {
		inner = o.rootCause()
	}
	if inner == "" {
		token := e.get(o.check.BlockedBy)
		html := strings.HasPrefix(token.Evidence[KeyContentType], "text/html")
		status := token.Evidence[KeyStatus]
		if token.Kind == KindToken && (status == "401" || status == "403") && html {
			// A filter on the path, or a proxy in front of the service.
			host := cmp.Or(token.Evidence[KeyRealmHost], token.Target)
			return presumably(FaultUndetermined, "check which server answers at "+host+" with a web page: "+
				"send the same request from another network"), true
		}
		return responsibility{}, false // it answered, and wrongly
	}
	switch o.check.Evidence[KeyCode] {
	case "SignatureDoesNotMatch", "RequestTimeTooSkewed", "ExpiredToken", "AuthenticationFailed": // what the registry signed is not valid
		return presumably(FaultRegistry), true
	}
	switch inner {
	case CertificateExpired, CertificateNameMismatch, CertificateInvalid, RegistryUnavailable:
		return presumably(FaultRegistry), true
	case CertificateUntrusted, ResolverFailed, ResolverUnreachable:
		return presumably(FaultNode), true
	}
	if strings.HasPrefix(o.check.Evidence[KeyContentType], "text/html") {
		return presumably(FaultNode), true // a login portal or a filter on the path
	}
	host := cmp.Or(
		o.check.Evidence[KeyBlobHost],
		o.check.Evidence[KeyRedirectedTo],
		e.fact(o.check.BlockedBy, KeyRealmHost),
		o.check.Host,
	)
	question := strings.ReplaceAll(fromAnotherNode(inner, host), "/v2/ ", "/ ")
	switch {
	case loopback(host):
		question = "check where " + o.check.Host + " redirects requests: " + host + " is the node itself"
	case inner == AccessForbidden:
		question = forbiddenLayers
	}
	return presumably(FaultUndetermined, question), true
}

// faultFromOneNode decides what a single node can decide about a host that it
// does not reach: little, without further evidence.
func (e *evaluation) faultFromOneNode(o obstacle) responsibility {
	host := o.check.Host
	if e.isolated() {
		r := certainly(FaultNode)
		if e.is(IDControl, KeyWeak) {
			r = presumably(FaultNode, "check from another node: if "+host+" answers there, this node or its network is at fault")
		}
		r.because = []string{IDControl}
		return r
	}
	if len(e.hosts()) > 1 {
		// It is not known from which of several hosts earlier images came.
		return presumably(FaultUndetermined, fromAnotherNode(o.rootCause(), host))
	}
	if local := e.localImages(); local.Outcome == Pass && local.Evidence[KeyCount] != "" && local.Evidence[KeyCount] != "0" {
		r := presumably(FaultNode, "check from another node: if it fails there too, "+host+" itself is down")
		r.because = []string{local.ID}
		return r
	}
	if o.rootCause() == HostNotFound && unresolvable(e.evidence, host) && !e.is(DNSID(host), KeyPublicRegistry) {
		return presumably(FaultConfig, "check whether "+host+" is the intended name, and whether it exists outside this node's resolvers")
	}
	r := certainly(FaultUndetermined)
	r.wouldDecide = []string{fromAnotherNode(o.rootCause(), host)}
	return r
}

// fromAnotherNode says what the same check from another node would show.
func fromAnotherNode(c Cause, host string) string {
	if c == HostNotFound {
		return "from another node: nslookup " + host + " ; if it resolves there, fix this node's resolvers"
	}
	return strings.ReplaceAll(AskElsewhere, "{host}", host)
}
