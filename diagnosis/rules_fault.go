package diagnosis

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/advice"
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// faultRule says who must act on an obstacle, if that is not the default of its root
// cause.
type faultRule struct {
	id     string
	when   string // when it applies, in one sentence
	assign func(*evaluation, facts.Obstacle) (responsibility, bool)
}

// certainly returns a responsibility that does not lower the confidence.
func certainly(f report.Fault) responsibility { return responsibility{fault: f} }

// presumably returns a responsibility that makes the verdict likely at most, with
// what would settle it.
func presumably(f report.Fault, wouldDecide ...string) responsibility {
	return responsibility{fault: f, likely: true, wouldDecide: wouldDecide}
}

// faultsOnTheNetwork returns the rules that say who must act if this node does not reach a
// host, and its own resolvers, routes or settings show why.
func faultsOnTheNetwork() []faultRule {
	no := responsibility{}
	return []faultRule{
		{"redirect-unreachable", "the host of a redirect is unreachable", func(e *evaluation, o facts.Obstacle) (responsibility, bool) {
			if o.Check.Evidence[report.KeyRedirectedTo] == "" || !o.RootCause().OnTheNetwork() {
				return no, false
			}
			return e.faultOfReferredHost(o)
		}},
		{"resolver-lacks-name", "another resolver has the name", func(e *evaluation, o facts.Obstacle) (responsibility, bool) {
			host := o.Check.Host
			if o.RootCause() != report.HostNotFound || len(facts.ResolversThatKnow(e.Evidence, host)) == 0 {
				return no, false
			}
			// A resolver may have an address for any name: what answers there shows whether the name is right.
			for _, c := range e.Below(report.ElsewhereID(host)) {
				if c.Outcome == report.Fail && !facts.FoundElsewhere(e.Evidence, host) {
					return presumably(report.FaultUndetermined, "check whether "+host+" is the intended name: "+
						"what answers at the address of another resolver does not have the image"), true
				}
			}
			return certainly(report.FaultNode), true
		}},
		{"name-in-a-file", "only a file of the node names the host, and not the image", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			f := facts.FindingOf(e.Evidence, report.Verdict{Cause: o.RootCause(), Because: []string{o.Check.ID}})
			question := "check whether " + f.Fact(report.HostsID(f.Domain()), report.KeyFile) + " should send pulls of " + f.Domain() +
				" to " + o.Check.Host
			return presumably(report.FaultNode, question), o.RootCause() == report.HostNotFound && f.SentElsewhere(o.Check.Host) && !e.Isolated()
		}},
		{"no-route-here", "this node itself has no route to the address, so that no packet left it", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			host, only := o.Check.Host, o.Check.Evidence[report.KeyOnlyFamily]
			if o.RootCause() != report.NetworkUnreachable || o.Check.Evidence[report.KeyLocalRoute] != "none" || e.Isolated() ||
				slices.Contains([]string{"EACCES", "EPERM"}, o.Check.Evidence[report.KeyErrno]) {
				return no, false
			}
			switch {
			case e.OpinionOn(host).GetThrough():
				return certainly(report.FaultNode), true
			case only == "": // the route may be left out on purpose
				return presumably(report.FaultNode, fromAnotherNode(o.RootCause(), host)), true
			}
			return presumably(report.FaultNode, "check whether "+host+" should have "+only+" addresses:\nnslookup -type="+
				recordType(only)+" "+host), true
		}},
		{"node-without-dns", "nsswitch.conf of the node has no DNS", func(e *evaluation, o facts.Obstacle) (responsibility, bool) {
			return certainly(report.FaultNode), o.RootCause() == report.HostNotFound &&
				e.Fact(report.DNSID(o.Check.Host), report.KeyNsswitch) == "files"
		}},
	}
}

// recordType returns the type of the DNS records with addresses of a family.
func recordType(family string) string {
	if family == "IPv6" {
		return report.KeyAAAA
	}
	return report.KeyA
}

// faultsInTrust returns the rules that say who must act if a certificate is rejected, or if
// resolvers fail for one name only.
func faultsInTrust() []faultRule {
	no := responsibility{}
	return []faultRule{
		{"no-trust-store", "there is no CA certificate here, and the runtime's are not known", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			return presumably(report.FaultUndetermined, "check with the CA certificates of the runtime: pullprobe check --runtime-endpoint, "+
					"or --ca-file"), o.RootCause() == report.CertificateUntrusted && o.Check.Evidence[report.KeyRoots] == "0" &&
					e.Get(report.IDRuntime).Outcome == report.Skipped
		}},
		{"another-address-is-good", "another address of the host answers as it should", func(
			_ *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			good := o.Check.Evidence[report.KeyGoodAddresses]
			return presumably(report.FaultRegistry, "compare the machines of "+o.Check.Host+": "+o.Check.Target+" fails, and "+
					good+" does not"), o.Check.Kind == report.KindTLS && good != "" && o.RootCause().DefaultFault() == report.FaultNode &&
					o.RootCause() != report.ResolverWrongAnswer
		}},
		{"intermediate-probably-missing", "the server may lack an intermediate", func(_ *evaluation, o facts.Obstacle) (responsibility, bool) {
			// A certificate that names a URL of its issuer's certificate is one that a
			// server has to send that along with.
			if o.RootCause() != report.CertificateUntrusted || o.Check.Evidence[report.KeyMissingIntermediate] != "likely" {
				return no, false
			}
			host := o.Check.Host
			names := strings.NewReplacer("{host}", host, "{hostport}", report.WithPort(host))
			return presumably(report.FaultUndetermined, names.Replace(advice.AskForIntermediate)), true
		}},
		{"node-authority-expired", "a CA of the node's own trust store has expired", func(
			_ *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			return certainly(report.FaultNode), o.RootCause() == report.CertificateExpired && o.Check.Evidence[report.KeyExpiredFrom] == "node"
		}},
		{"not-yet-valid-by-two-clocks", "a certificate is not valid yet by two clocks", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			agreed := o.Check.Evidence[report.KeyAgreesWith] != "" || e.Get(report.ClockID(o.Check.Host)).Outcome == report.Pass
			if o.RootCause() != report.CertificateNotYetValid || !agreed {
				return no, false
			}
			// Both may follow the same wrong clock of their site.
			return presumably(report.FaultUndetermined, "compare the time with a clock elsewhere: if this node's is right, "+
				o.Check.Host+" uses its certificate too early"), true
		}},
		{"resolver-fails-for-one-name", "a resolver fails for this name only", func(e *evaluation, o facts.Obstacle) (responsibility, bool) {
			failed := o.RootCause() == report.ResolverFailed || o.RootCause() == report.ResolverUnreachable
			if !failed || o.Check.Kind != report.KindDNS || !e.onlyThisName(o.Check.Host) || facts.ResolversRefuse(e.Evidence, o.Check.Host) {
				return no, false
			}
			r := presumably(report.FaultUndetermined, "resolve "+o.Check.Host+" with a resolver of another network: "+
				"if that fails too, the name servers of its domain are at fault")
			r.because = e.Existing(report.IDControl)
			return r, true
		}},
		{"placeholder-authority", "a staging authority issued the certificate", func(_ *evaluation, o facts.Obstacle) (responsibility, bool) {
			// To trust such an authority would be harmful: it issues to everyone.
			placeholder := o.Check.Evidence[report.KeyPlaceholder] != "" && !ingressDefault(o.Check)
			return certainly(report.FaultRegistry), o.RootCause() == report.CertificateUntrusted && placeholder
		}},
	}
}

// onlyThisName reports whether the resolvers that fail for a name answer for others.
func (e *evaluation) onlyThisName(host string) bool {
	return e.Get(report.IDControl).Outcome == report.Pass ||
		slices.ContainsFunc(e.Below(report.DNSID(host)), func(c report.Check) bool {
			// REFUSED is the resolver's own decision, not a failure of the name's domain.
			return c.Cause == report.ResolverFailed && c.Evidence[report.KeyOtherName] == "answers" && c.Evidence[report.KeyRcode] != "REFUSED"
		})
}

// ingressDefault reports whether a certificate is the one that an ingress or a
// control panel shows for a host that it does not know.
func ingressDefault(c report.Check) bool {
	name := strings.ToLower(c.Evidence[report.KeyPlaceholder])
	for _, word := range []string{"default", "ingress", "traefik", "plesk", "cpanel", "panel"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return name != "" && c.Cause == report.CertificateNameMismatch
}

// faultsInAnswers returns the rules that say who must act by the registry's answer: a tag
// that is listed but missing, machines that differ, a refusal for another reason than the
// login.
func faultsInAnswers() []faultRule {
	no := responsibility{}
	return []faultRule{
		{"sent-elsewhere-by-a-file", "a file of the node sends the pull to another registry, or another path", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			f := facts.FindingOf(e.Evidence, report.Verdict{Cause: o.RootCause(), Because: []string{o.Check.ID}})
			elsewhere := facts.IsAnswer(o.Check) && o.RootCause().DefaultFault() == report.FaultConfig && f.SentElsewhere(o.Check.Host)
			return presumably(report.FaultUndetermined), elsewhere
		}},
		{"listed-and-not-found", "the registry lists the tag that it does not find", func(
			_ *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			listed := o.RootCause() == report.TagNotFound && o.Check.Evidence[report.KeyListed] == report.True
			return presumably(report.FaultRegistry, "check whether "+o.Check.Host+
				" has lost the manifest of this tag: it is in its own tag list"), listed
		}},
		{"machines-differ", "another machine of the host has what this one refuses", func(
			_ *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			differ := o.Check.Kind == report.KindManifest && facts.AnsweredBy(o.Check, report.KeyOtherMachines, "200")
			return presumably(report.FaultRegistry, "compare the machines of "+o.Check.Host+" (address and answer): "+
				o.Check.Evidence[report.KeyOtherMachines]), differ
		}},
		{"forbidden-to-node", "the registry forbids every request of this node", func(_ *evaluation, o facts.Obstacle) (responsibility, bool) {
			if c := o.RootCause(); c != report.AccessForbidden && c != report.AccessDeniedOrMissing ||
				o.Check.Evidence[report.KeyRegistryStatus] != "403" {
				return no, false
			}
			return presumably(report.FaultUndetermined, o.Check.Host+" answers 403 to every request from here; "+
				fromAnotherNetwork(o.Check.Host)), true
		}},
		{"forbidden-by-policy", "a policy forbids the image to all users", func(_ *evaluation, o facts.Obstacle) (responsibility, bool) {
			return certainly(report.FaultConfig), o.RootCause() == report.AccessForbidden && o.Check.Is(report.KeyPolicy)
		}},
		{"refused-for-own-reason", "the registry's error text gives another reason than the login", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			if c := o.RootCause(); c != report.AccessForbidden && c != report.AccessDeniedOrMissing {
				return no, false
			}
			switch ownReason(e, o) {
			case "quota", "billing", "quarantine", "country":
				return presumably(report.FaultRegistry), true
			case "owner":
				return presumably(report.FaultUndetermined, "ask the owner of the repository whether it exists, and whether its policy "+
					"allows this account"), true
			case "network": // its list of addresses, or the address that this node goes out by
				return presumably(report.FaultUndetermined, fromAnotherNetwork(o.Check.Host)), true
			}
			return no, false
		}},
	}
}

// faultsInLogins returns the rules that say who must act by the source of the credentials
// that were used, or by the step that a message names.
func faultsInLogins() []faultRule {
	no := responsibility{}
	return []faultRule{
		{"provider-expected", "a provider of the node should have credentials", func(e *evaluation, o facts.Obstacle) (responsibility, bool) {
			provider := cmp.Or(e.Fact(report.IDCredentials, report.KeyExpectedProvider), e.Fact(report.IDCredentials, report.KeyProviderNotRun))
			c := o.RootCause()
			refused := c == report.CredentialsMissing || c == report.CredentialsRejected || c == report.CredentialsExpired ||
				c == report.AccessForbidden
			switch {
			case provider == "":
				return no, false
			case c == report.CredentialsMissing && anonymous(o), refused && e.causeFromKubelet(o):
			default:
				return no, false
			}
			if e.Fact(report.IDCredentials, report.KeyUnreadable) != "" {
				return presumably(report.FaultUndetermined, "check whether the kubelet uses credentials of a pull secret or of "+provider), true
			}
			if first, _, _ := strings.Cut(provider, "; "); e.Get(report.ProviderID(first)).Is(report.KeyKubeletToo) {
				return presumably(report.FaultConfig, "check in the kubelet's log whether it gets the token for "+provider+
					"; the nodes need the verb request-serviceaccounts-token-audience on its audience"), true
			}
			return presumably(report.FaultNode, "check whether pods of this node should get their credentials from "+
				provider+" or from a pull secret"), true
		}},
		{"node-credentials", "the registry refused credentials of the node", func(_ *evaluation, o facts.Obstacle) (responsibility, bool) {
			switch o.RootCause() {
			case report.CredentialsMissing, report.CredentialsRejected, report.CredentialsExpired, report.AccessForbidden:
				for _, source := range []string{"node ", "provider ", "runtime "} {
					if strings.HasPrefix(o.Check.Evidence[report.KeyUsedCredential], source) {
						return certainly(report.FaultNode), true
					}
				}
			}
			return no, false
		}},
		{"message-names-step", "the step that the message names says who must act", func(e *evaluation, o facts.Obstacle) (responsibility, bool) {
			fault := report.FaultAt(o.RootCause(), e.Message.Step())
			return certainly(fault), e.Message.Exists() && fault != o.RootCause().DefaultFault()
		}},
		{"platform-not-published", "the publisher left this platform out", func(_ *evaluation, o facts.Obstacle) (responsibility, bool) {
			return certainly(report.FaultRegistry), o.RootCause() == report.PlatformMismatch && o.Check.Is(report.KeyPublisher)
		}},
	}
}

// faultOfReferredHost says who must act if the host fails to which the registry refers the
// runtime (token service, layer host, redirect). If that host answered, it says nothing.
func (e *evaluation) faultOfReferredHost(o facts.Obstacle) (responsibility, bool) {
	inner := e.innerCause(o)
	if o.Check.Evidence[report.KeyRedirectedTo] != "" {
		inner = o.RootCause()
	}
	if inner == "" {
		token := e.Get(o.Check.BlockedBy)
		html := strings.HasPrefix(token.Evidence[report.KeyContentType], "text/html")
		status := token.Evidence[report.KeyStatus]
		if token.Kind == report.KindToken && (status == "401" || status == "403") && html {
			// A filter on the path, or a proxy in front of the service.
			host := cmp.Or(token.Evidence[report.KeyRealmHost], token.Target)
			return presumably(report.FaultUndetermined, "check which server answers at "+host+" with a web page; "+
				fromAnotherNetwork(host)), true
		}
		return responsibility{}, false // it answered, and wrongly
	}
	switch o.Check.Evidence[report.KeyCode] {
	case "SignatureDoesNotMatch", "RequestTimeTooSkewed", "ExpiredToken", "AuthenticationFailed": // what the registry signed is not valid
		return presumably(report.FaultRegistry), true
	}
	switch inner {
	case report.CertificateExpired, report.CertificateNameMismatch, report.CertificateInvalid, report.RegistryUnavailable:
		return presumably(report.FaultRegistry), true
	case report.CertificateUntrusted, report.ResolverFailed, report.ResolverUnreachable:
		return presumably(report.FaultNode), true
	}
	if strings.HasPrefix(o.Check.Evidence[report.KeyContentType], "text/html") {
		return presumably(report.FaultNode), true // a login portal or a filter on the path
	}
	host := cmp.Or(
		o.Check.Evidence[report.KeyBlobHost],
		o.Check.Evidence[report.KeyRedirectedTo],
		e.Fact(o.Check.BlockedBy, report.KeyRealmHost),
		o.Check.Host,
	)
	question := strings.ReplaceAll(fromAnotherNode(inner, host), "/v2/\n", "/\n")
	switch {
	case facts.IsLoopback(host):
		question = "check where " + o.Check.Host + " redirects requests: " + host + " is the node itself"
	case inner == report.AccessForbidden:
		question = advice.AskForLayers
	}
	return presumably(report.FaultUndetermined, question), true
}

// dependsOnOtherNodes reports whether the view of other nodes shows who must act on an
// obstacle: this node does not reach a host, and reaches others.
func (e *evaluation) dependsOnOtherNodes(o facts.Obstacle) bool {
	if e.Isolated() && !e.Is(report.IDControl, report.KeyWeak) || o.Check.Evidence[report.KeyRedirectedTo] != "" {
		return false
	}
	switch o.RootCause() {
	case report.HostNotFound, report.ConnectionRefused, report.ConnectionTimeout, report.NetworkUnreachable, report.ConnectionReset,
		report.TLSHandshakeFailed:
		return true
	default:
		return false
	}
}

// faultFromOneNode says who must act if this node does not reach a host and no other node's
// view is known. Without further evidence that is undetermined.
func (e *evaluation) faultFromOneNode(o facts.Obstacle) responsibility {
	host := o.Check.Host
	if e.Isolated() {
		r := certainly(report.FaultNode)
		if e.Is(report.IDControl, report.KeyWeak) {
			r = presumably(report.FaultNode, elsewhere(host)+"if it answers there, this node or its network is at fault")
		}
		r.because = []string{report.IDControl}
		return r
	}
	if len(e.Hosts()) > 1 {
		// It is not known from which of several hosts earlier images came.
		return presumably(report.FaultUndetermined, fromAnotherNode(o.RootCause(), host))
	}
	if local := e.LocalImages(); local.Outcome == report.Pass && local.Evidence[report.KeyCount] != "" &&
		local.Evidence[report.KeyCount] != "0" {
		r := presumably(report.FaultNode, elsewhere(host)+"if it fails there too, "+host+" itself is down")
		r.because = []string{local.ID}
		return r
	}
	if o.RootCause() == report.HostNotFound && facts.Unresolvable(e.Evidence, host) && !e.Is(report.DNSID(host), report.KeyPublicRegistry) {
		return presumably(report.FaultConfig, "check whether "+host+" is the intended name, and whether it exists outside this node's resolvers")
	}
	r := certainly(report.FaultUndetermined)
	r.wouldDecide = []string{fromAnotherNode(o.RootCause(), host)}
	return r
}

// elsewhere returns the request to a host from another node.
func elsewhere(host string) string {
	return "check from another node:\ncurl -sI https://" + host + "/v2/\n"
}

// fromAnotherNetwork returns the question how a host answers from another network.
func fromAnotherNetwork(host string) string {
	return "compare its answer with the answer from another network:\ncurl -i https://" + host + "/v2/"
}

// fromAnotherNode says what the same check from another node would show.
func fromAnotherNode(c report.Cause, host string) string {
	if c == report.HostNotFound {
		return "from another node:\nnslookup " + host + "\nif it resolves there, fix this node's resolvers"
	}
	return strings.ReplaceAll(report.AskElsewhere, "{host}", host)
}
