package diagnosis

import (
	"slices"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// rivalsOfResolvers returns the rivals of causes in DNS: HostNotFound, ResolverFailed,
// ResolverUnreachable, ResolverWrongAnswer.
func rivalsOfResolvers() []rivalry {
	return []rivalry{
		{cause: report.HostNotFound, rivals: []rival{
			{
				id:       "answered-for-any-name",
				looks:    "the host name is misspelt, and another resolver has an address for any name",
				acts:     report.FaultConfig,
				question: "check whether {host} exists: resolve a random name with the resolver that has an address for {host}",
				excluded: func(f finding) bool {
					agree := len(facts.ResolversThatKnow(f.Evidence, f.Host)) == 0 && f.Fact(report.DNSID(f.Host), report.KeyDisagree) != report.True
					return agree || facts.FoundElsewhere(f.Evidence, f.Host)
				},
			},
			{
				id:       "name-from-other-sources",
				looks:    "the runtime resolves the name by another source of nsswitch.conf",
				acts:     report.FaultNode,
				rare:     true,
				question: "query the other sources of nsswitch.conf on {node}:\ngetent hosts {host}",
				excluded: func(f finding) bool { return f.Fact(report.DNSID(f.Host), report.KeyNsswitchOthers) == "" },
			},
		}},
		{cause: report.ResolverFailed, rivals: []rival{
			{
				id:       "domain-fails",
				looks:    "the name servers of this domain fail: the resolver answers SERVFAIL for this domain, and resolves every other name",
				acts:     report.FaultUndetermined,
				question: "resolve another name with {resolver}: if that works, the name servers of this domain are at fault",
				excluded: func(f finding) bool {
					return f.Isolated() || f.OtherNameFails() || facts.ResolversRefuse(f.Evidence, f.Host)
				},
			},
			{
				id:       "domain-refuses",
				looks:    "the name servers of this domain answer REFUSED: the resolver passes that on, and resolves every other name",
				acts:     report.FaultUndetermined,
				rare:     true, // most resolvers answer SERVFAIL then
				question: "resolve another name with {resolver}: if that works, ask the operator of {resolver} why it refuses {host}",
				excluded: func(f finding) bool {
					return f.Isolated() || f.OtherNameFails() || !facts.ResolversRefuse(f.Evidence, f.Host)
				},
			},
			{
				id:       "failure-beside-other-sources",
				looks:    "the runtime resolves the name by another source of nsswitch.conf",
				question: "query the other sources of nsswitch.conf on {node}:\ngetent hosts {host}",
				excluded: func(f finding) bool { return f.Fact(report.DNSID(f.Host), report.KeyNsswitchOthers) == "" },
			},
		}},
		{cause: report.ResolverUnreachable, rivals: []rival{
			{
				id:       "domain-unanswered",
				looks:    "the name servers of this domain do not answer: the resolver waits for them, and resolves every other name",
				acts:     report.FaultUndetermined,
				rare:     true, // a resolver that answers others says SERVFAIL
				question: "resolve another name with {resolver}: if that works, the name servers of this domain are at fault",
				excluded: func(f finding) bool {
					return f.Isolated() || f.OtherNameFails() || facts.ResolversRefuse(f.Evidence, f.Host)
				},
			},
		}},
		{cause: report.ResolverWrongAnswer, rivals: []rival{
			{
				id:       "address-out-of-order",
				looks:    "the address belongs to the registry, and the machine there is out of order",
				acts:     report.FaultRegistry,
				rare:     true,
				question: "check whether the address that {resolver} returns should be one of {host}",
				excluded: func(f finding) bool {
					for _, c := range f.Below(report.ElsewhereID(f.Host)) {
						if c.Outcome == report.Pass && c.Kind == report.KindTLS && f.obstacle.Check.Cause == report.CertificateNameMismatch {
							return true
						}
					}
					return facts.ImpossibleAddress(f.Evidence, f.Host)
				},
			},
		}},
	}
}

// rivalsOfConnections returns the rivals of causes in a connection: ConnectionRefused,
// ConnectionTimeout, NetworkUnreachable, ConnectionReset, ProxyUnreachable, ProxyDenied. One
// node does not see what refuses or drops a connection: the fault rules leave open who must
// act, and say how to find out.
func rivalsOfConnections() []rivalry {
	misspelt := func(id string) rival {
		return rival{
			id:       id,
			looks:    "the host name is misspelt, and a wildcard DNS record resolves it to a machine without a registry",
			acts:     report.FaultConfig,
			same:     true,
			question: "check whether {host} is the intended name: any other name of its domain resolves to the same address",
			excluded: func(f finding) bool { return !f.UnderWildcard() },
		}
	}
	note := "a firewall or a machine that is down looks the same: this cause names what was seen at the address, not who must act, " +
		"which is undetermined without further evidence"
	return []rivalry{
		{cause: report.ConnectionRefused, note: note, rivals: []rival{misspelt("refused-under-a-wildcard")}},
		{cause: report.ConnectionTimeout, note: note, rivals: []rival{misspelt("silent-under-a-wildcard")}},
		{cause: report.NetworkUnreachable, rivals: []rival{
			{
				id:       "router-reports",
				looks:    "a router reports the host or its network as unreachable, because the registry's machine is off",
				acts:     report.FaultUndetermined,
				question: report.AskElsewhere,
				excluded: func(f finding) bool {
					return f.isolatedNode() || f.Has(report.KeyErrno, "EACCES", "EPERM") || f.Has(report.KeyLocalRoute, "none") ||
						f.OpinionOn(f.Host).GetThrough() && f.OthersReach(f.Host)
				},
			},
		}},
		{cause: report.ConnectionReset, rivals: []rival{
			{
				id:       "reset-by-the-server",
				looks:    "the server or its load balancer resets the connection",
				acts:     report.FaultRegistry,
				question: report.AskElsewhere,
				excluded: func(f finding) bool { return f.ofLayer() || f.OpinionOn(f.Host).GetThrough() && f.OthersReach(f.Host) },
			},
			{
				id:       "layer-cut-off-by-the-server",
				looks:    "the host sends a part of the layer and closes the connection",
				acts:     report.FaultRegistry,
				question: "pull the image on another node: if it fails there too, {host} is at fault; if not, this node or its network is",
				excluded: func(f finding) bool { return !f.ofLayer() },
			},
		}},
		{cause: report.ProxyUnreachable, note: "before the proxy answers, only the node, its setting and the proxy take part"},
		{cause: report.ProxyDenied, rivals: []rival{
			{
				id:       "name-not-on-the-list",
				looks:    "the host name is misspelt, and no list of the proxy has it",
				acts:     report.FaultConfig,
				rare:     true,
				question: "check whether {host} is the intended name: this node has no image from it",
				excluded: func(f finding) bool {
					return f.PulledBefore() || f.Has(report.KeyProxyStatus, "407") || !f.FailedHere(report.KindDial)
				},
			},
			{
				id:       "refused-behind-the-proxy",
				looks:    "the proxy allows the host but cannot reach it, and answers with its own error",
				acts:     report.FaultUndetermined,
				question: "read the proxy's log of CONNECT to {host}: does it refuse the host, or not reach it?",
				excluded: finding.refusedByProxy,
			},
		}},
	}
}

// rivalsOfProtocol returns the rivals of TLSHandshakeFailed and PlainHTTPRegistry: another
// service than a registry answers at the port.
func rivalsOfProtocol() []rivalry {
	return []rivalry{
		{cause: report.TLSHandshakeFailed, rivals: []rival{
			{
				id:       "another-service",
				looks:    "another service than a registry, or an old server, answers at this port",
				acts:     report.FaultRegistry,
				question: "check what answers at {host}:\nopenssl s_client -connect {hostport}",
			},
		}},
		{cause: report.PlainHTTPRegistry, rivals: []rival{
			changedServer("http-since-lately"),
			{
				id:       "no-registry-in-plain-http",
				looks:    "a login portal or another web server answers at this port",
				acts:     report.FaultUndetermined,
				rare:     true,
				question: "check what answers at {host} in plain HTTP:\ncurl -i http://{hostport}/v2/",
				excluded: func(f finding) bool { return f.Has(report.KeyHTTPAnswer, "registry") },
			},
			{
				id:       "http-answer-under-a-wildcard",
				looks:    "the host name is misspelt, and a wildcard DNS record resolves it to a web server",
				acts:     report.FaultConfig,
				question: "check whether {host} is the intended name: any other name of its domain resolves to the same address",
				excluded: func(f finding) bool { return !f.UnderWildcard() },
			},
		}},
	}
}

// changedServer returns the rival of CertificateUntrusted and PlainHTTPRegistry: the node's
// settings are right, and the server has changed, because the node pulled from it before.
func changedServer(id string) rival {
	return rival{
		id:       id,
		looks:    "the server has changed: the node pulled from it over TLS before",
		acts:     report.FaultRegistry,
		question: "check what has changed on {host}: this node pulled images from it before",
		excluded: func(f finding) bool {
			return !f.PulledBefore() || f.Cause == report.CertificateUntrusted && !f.Has(report.KeySelfSigned)
		},
	}
}

// ofLayer reports whether the runtime failed at a layer, while this node reaches its
// host.
func (f finding) ofLayer() bool {
	return f.Message.Stage() == report.StageBlob && slices.Contains(f.Because, f.MessageID()) && !f.obstacle.Found()
}

// anIngress returns the rival of causes in a certificate: an ingress or an appliance that has
// no certificate for the host answers with its default one.
func anIngress(id string) rival {
	return rival{
		id:    id,
		looks: "an ingress or an appliance answers with its default certificate: the host is misspelt, or the ingress does not know it",
		acts:  report.FaultUndetermined,
		question: "check the spelling of {host}: with a wildcard DNS record every name of the domain reaches the same ingress. " +
			"Then check that the ingress has a rule and a certificate for {host}",
	}
}

// rivalsOfCertificates returns the rivals of causes in a certificate or a clock:
// CertificateUntrusted, CertificateNameMismatch, CertificateInvalid, CertificateExpired,
// CertificateNotYetValid, ClockSkewed, TLSIntercepted.
func rivalsOfCertificates() []rivalry {
	ingress := func(id string, excluded func(finding) bool) rival {
		r := anIngress(id)
		r.excluded = excluded
		return r
	}
	notOneForAll := func(f finding) bool { return !f.Has(report.KeyPlaceholder) && !f.UnderWildcard() }
	return []rivalry{
		{cause: report.CertificateUntrusted, rivals: []rival{
			changedServer("certificate-replaced"),
			ingress("untrusted-ingress", notOneForAll),
			{
				id:       "chain-incomplete",
				looks:    "the server does not send the intermediate certificate of its issuer",
				acts:     report.FaultRegistry,
				question: "list the certificates that {host} sends:\nopenssl s_client -showcerts -connect {hostport}",
				excluded: func(f finding) bool { return !f.Has(report.KeyMissingIntermediate) },
			},
		}},
		{cause: report.CertificateNameMismatch, rivals: []rival{
			ingress("mismatch-under-a-wildcard", func(f finding) bool {
				return f.NameIsItsOwn() && !f.Has(report.KeyPlaceholder)
			}),
			{
				id:       "mismatch-by-a-resolver",
				looks:    "only one of the resolvers returns this address, or the name was completed with a search domain",
				acts:     report.FaultNode,
				question: "resolve {host} with a resolver outside this node",
				excluded: func(f finding) bool {
					name := f.Get(report.DNSID(f.Host))
					return !name.Is(report.KeyDisagree) && name.Evidence[report.KeyVia] == ""
				},
			},
		}},
		{cause: report.CertificateInvalid, rivals: []rival{ingress("invalid-ingress", notOneForAll)}},
		{cause: report.CertificateExpired, rivals: []rival{
			ingress("expired-for-another-name", func(f finding) bool { return notOneForAll(f) && f.certificateNames() }),
			{
				id:       "clock-ahead",
				looks:    "this node's clock is ahead",
				acts:     report.FaultNode,
				question: "compare the time with another clock than this node's",
				excluded: func(f finding) bool {
					return f.Has(report.KeyServerDate) || f.Has(report.KeyAgreesWith) || f.Has(report.KeyExpiredFrom, "node") ||
						f.Get(report.ClockID(f.Host)).Outcome == report.Pass
				},
			},
		}},
		{cause: report.CertificateNotYetValid, rivals: []rival{
			{
				id:       "used-too-early",
				looks:    "the server uses its certificate too early, and this node's clock is right",
				acts:     report.FaultRegistry,
				question: "compare the time with a clock elsewhere: if this node's is right, {host} uses its certificate too early",
			},
		}},
		{cause: report.ClockSkewed, rivals: []rival{
			{
				id:       "one-clock-against-one",
				looks:    "the server's clock is wrong, and this node's clock is right",
				acts:     report.FaultRegistry,
				rare:     true,
				question: "compare the time with another clock: only the clock of {host} contradicts this node's",
				excluded: func(f finding) bool {
					n := f.Fact(report.ClockID(f.Host), report.KeyServers)
					return n != "" && n != "1"
				},
			},
		}},
		{cause: report.TLSIntercepted, rivals: []rival{
			{
				id:       "authority-changed",
				looks:    "the registry has changed the CA of its certificate",
				acts:     report.FaultRegistry,
				rare:     true,
				question: "compare the certificate that {host} sends to {node} and to another network:\nopenssl s_client -connect {hostport}",
				excluded: func(f finding) bool { return f.OpinionOn(f.Host).SeeAnother() }, // to others it still sends the old one
			},
		}},
	}
}
