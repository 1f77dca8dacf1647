package report

import (
	"cmp"
	"strings"
)

// actingRule says who must act, and may lower the verdict's confidence where
// that follows from a rule rather than from what was seen. f.name() is the
// cause it is asked about.
type actingRule struct {
	name string
	say  func(*judge, *Verdict, finding) (Fault, bool)
}

func actingRules() []actingRule {
	return []actingRule{
		{"a host that the registry redirects to", func(j *judge, v *Verdict, f finding) (Fault, bool) {
			if s := stage(f.name()); f.check.Evidence["redirectedTo"] == "" || s < stageDNS || s > stageTLS {
				return "", false
			}
			return j.otherHost(v, f), true
		}},
		{"a name that another resolver of the node knows is the node's", func(j *judge, v *Verdict, f finding) (Fault, bool) {
			return FaultNode, f.name() == HostNotFound && len(j.resolversThatKnow(f.check.Host)) > 0
		}},
		{"a node that asks no DNS at all", func(j *judge, _ *Verdict, f finding) (Fault, bool) {
			return FaultNode, f.name() == HostNotFound && j.fact("dns/"+f.check.Host, "nsswitch") == "files"
		}},
		{"a host that one node does not reach", func(j *judge, v *Verdict, f finding) (Fault, bool) {
			switch f.name() {
			case HostNotFound, ConnectionRefused, ConnectionTimeout:
				return j.seenFromOneNode(v, f), true
			}
			return "", false
		}},
		{"what may come from the other end as well as from the node's network", func(_ *judge, v *Verdict, f finding) (Fault, bool) {
			switch c := f.name(); {
			case c == ConnectionReset, c == TLSHandshakeFailed, c == NetworkUnreachable && f.check.Evidence["errno"] == "EHOSTUNREACH":
				v.Confidence = Likely
				v.WouldDecide = append(v.WouldDecide, "the same check from another node: "+otherNode(c, f.check.Host))
				return FaultNode, true
			}
			return "", false
		}},
		{"a host that the registry sends the runtime to", func(j *judge, v *Verdict, f finding) (Fault, bool) {
			if c := f.name(); c != BlobHostUnreachable && c != TokenServiceFailed {
				return "", false
			}
			return j.otherHost(v, f), true
		}},
		{"an issuer whose certificate the server does not send", func(_ *judge, v *Verdict, f finding) (Fault, bool) {
			// A certificate that says where its issuer's can be had is one that a
			// server has to send the issuer's along with.
			if f.name() != CertificateUntrusted || f.check.Evidence["missingIntermediate"] != "likely" {
				return "", false
			}
			v.Confidence = Likely
			v.WouldDecide = append(v.WouldDecide, "whether "+f.check.Host+" should send the intermediate certificate of its issuer: openssl s_client -showcerts -connect "+f.check.Host+":443")
			return FaultUndetermined, true
		}},
		{"an authority of the node's own store that has expired", func(_ *judge, _ *Verdict, f finding) (Fault, bool) {
			return FaultNode, f.name() == CertificateExpired && f.check.Evidence["expiredFrom"] == "node"
		}},
		{"a certificate that begins later, by two clocks", func(j *judge, v *Verdict, f finding) (Fault, bool) {
			if f.name() != CertificateNotYetValid || f.check.Evidence["agreesWith"] == "" && j.get("clock/"+f.check.Host).Outcome != Pass {
				return "", false
			}
			// Both may go by the same wrong clock of their site.
			v.Confidence = Likely
			v.WouldDecide = append(v.WouldDecide, "the time by a clock elsewhere: if this node's is right, "+f.check.Host+" shows its certificate too early")
			return FaultUndetermined, true
		}},
		{"a resolver that has answers, but none for this name", func(j *judge, v *Verdict, f finding) (Fault, bool) {
			if c := f.name(); c != ResolverFailed && c != ResolverUnreachable || f.check.Kind != KindDNS || j.get(controlID).Outcome != Pass {
				return "", false
			}
			v.Confidence = Likely
			v.Because = append(v.Because, controlID)
			v.WouldDecide = append(v.WouldDecide, "the address of "+f.check.Host+" by a resolver of another network: if that fails too, the name servers of its domain are at fault")
			return FaultUndetermined, true
		}},
		{"a registry that refuses this node and not the repository", func(_ *judge, v *Verdict, f finding) (Fault, bool) {
			if c := f.name(); c != AccessForbidden && c != AccessDeniedOrMissing || f.check.Evidence["registryStatus"] != "403" {
				return "", false
			}
			v.Confidence = Likely
			v.WouldDecide = append(v.WouldDecide, "the same request from another network: "+f.check.Host+" answers 403 to everything from here")
			return FaultUndetermined, true
		}},
		{"a policy of the registry, whoever asks", func(_ *judge, _ *Verdict, f finding) (Fault, bool) {
			return FaultConfig, f.name() == AccessForbidden && f.check.Evidence["policy"] == "true"
		}},
		{"a registry for which a provider of the node is expected", func(j *judge, v *Verdict, f finding) (Fault, bool) {
			provider := cmp.Or(j.fact("credentials", "expectedProvider"), j.fact("credentials", "providerNotRun"))
			switch c := f.name(); {
			case provider == "":
				return "", false
			case c == CredentialsMissing && asNobody(f):
			case j.saidOf(f) && (c == CredentialsMissing || c == CredentialsRejected || c == CredentialsExpired || c == AccessForbidden):
			default:
				return "", false
			}
			v.Confidence = Likely
			if j.fact("credentials", "unreadable") != "" {
				v.WouldDecide = append(v.WouldDecide, "whether the credentials that count are a pull secret's or those of "+provider)
				return FaultUndetermined, true
			}
			v.WouldDecide = append(v.WouldDecide, "whether pods of this node are meant to get their credentials from "+provider+" or from a pull secret")
			return FaultNode, true
		}},
		{"credentials of the node", func(_ *judge, _ *Verdict, f finding) (Fault, bool) {
			switch f.name() {
			case CredentialsMissing, CredentialsRejected, CredentialsExpired, AccessForbidden:
				for _, whose := range []string{"node ", "provider ", "runtime "} {
					if strings.HasPrefix(f.check.Evidence["usedCredential"], whose) {
						return FaultNode, true
					}
				}
			}
			return "", false
		}},
		{"words that tell more of who must act than their cause", func(j *judge, _ *Verdict, f finding) (Fault, bool) {
			if j.words.check == nil {
				return "", false
			}
			who := FaultAt(f.name(), j.words.check.Evidence["step"])
			return who, who != f.name().DefaultFault()
		}},
		{"a platform that the publisher left out", func(_ *judge, _ *Verdict, f finding) (Fault, bool) {
			return FaultRegistry, f.name() == PlatformMismatch && f.check.Evidence["publisher"] == "true"
		}},
	}
}

// otherHost decides about a host that the registry sends the runtime to: who
// must act follows what was wrong there.
func (j *judge) otherHost(v *Verdict, f finding) Fault {
	inner := j.inner(f)
	if f.check.Evidence["redirectedTo"] != "" {
		inner = f.name()
	}
	if token := j.get(f.check.BlockedBy); inner == "" && token.Kind == KindToken && token.Evidence["status"] == "403" && strings.HasPrefix(token.Evidence["contentType"], "text/html") {
		v.Confidence = Likely
		v.WouldDecide = append(v.WouldDecide, "who answers at "+cmp.Or(token.Evidence["realmHost"], token.Target)+" with a web page: the same request from another network")
		return FaultUndetermined // a filter on the way, or what stands before the service
	}
	if inner == "" {
		return f.name().DefaultFault() // it answered, and wrongly
	}
	v.Confidence = Likely
	switch f.check.Evidence["code"] {
	case "SignatureDoesNotMatch", "RequestTimeTooSkewed", "ExpiredToken", "AuthenticationFailed": // what the registry signed is no good
		return FaultRegistry
	}
	switch inner {
	case CertificateExpired, CertificateNameMismatch, CertificateInvalid, RegistryUnavailable:
		return FaultRegistry
	case CertificateUntrusted, ResolverFailed, ResolverUnreachable:
		return FaultNode
	}
	if strings.HasPrefix(f.check.Evidence["contentType"], "text/html") {
		return FaultNode // a login portal or a filter on the way
	}
	host := cmp.Or(f.check.Evidence["blobHost"], f.check.Evidence["redirectedTo"], j.fact(f.check.BlockedBy, "realmHost"), f.check.Host)
	v.WouldDecide = append(v.WouldDecide, "the same check from another node: "+otherNode(f.name(), host))
	return FaultUndetermined
}

// seenFromOneNode decides what a single node can decide about a host that it
// does not reach: little, unless something else speaks.
func (j *judge) seenFromOneNode(v *Verdict, f finding) Fault {
	host := f.check.Host
	if j.cutOff() {
		v.Because = append(v.Because, controlID)
		if j.fact(controlID, "weak") == "true" {
			v.Confidence = Likely
			v.WouldDecide = append(v.WouldDecide, "the same check from another node: if "+host+" answers there, this node or its network is at fault")
		}
		return FaultNode
	}
	if len(j.hosts()) > 1 {
		// Which of several hosts images came from is not known.
		v.WouldDecide = append(v.WouldDecide, "the same check from another node: "+otherNode(f.name(), host))
		v.Confidence = Likely
		return FaultUndetermined
	}
	if local := j.local(); local.Outcome == Pass && local.Evidence["count"] != "" && local.Evidence["count"] != "0" {
		v.Confidence = Likely
		v.Because = append(v.Because, local.ID)
		v.WouldDecide = append(v.WouldDecide, "the same check from another node: if it fails there too, "+host+" itself is down")
		return FaultNode
	}
	if f.name() == HostNotFound && j.nobodyResolves(host) && j.fact("dns/"+host, "publicRegistry") != "true" {
		v.Confidence = Likely
		v.WouldDecide = append(v.WouldDecide, "whether "+host+" is the name you meant, and whether it exists outside this node's resolvers")
		return FaultConfig
	}
	v.WouldDecide = append(v.WouldDecide, "the same check from another node: "+otherNode(f.name(), host))
	return FaultUndetermined
}

func otherNode(c Cause, host string) string {
	if c == HostNotFound {
		return "if " + host + " resolves there, this node's resolvers are at fault"
	}
	return "if " + host + " answers there, this node or its network is at fault; if not, " + host + " is"
}

// nobodyResolves reports whether every resolver of the node was asked and says
// that there is no such name.
func (d *evidence) nobodyResolves(host string) bool {
	n := 0
	for _, c := range d.below("dns/" + host + "/") {
		if c.Cause != HostNotFound {
			return false
		}
		n++
	}
	return n > 0
}
