package diagnosis

import (
	"slices"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// rivalsOfResolvers are those of names that do not resolve.
func rivalsOfResolvers() []rivalry {
	return []rivalry{
		{cause: report.HostNotFound, rivals: []rival{
			{
				id:       "answered-for-any-name",
				looks:    "a misspelt name, and a second resolver that has an address for any name",
				acts:     report.FaultConfig,
				question: "check whether {host} exists: resolve a random name with the resolver that has an address for it",
				excluded: func(f finding) bool {
					agree := len(facts.ResolversThatKnow(f.Evidence, f.Host)) == 0 && f.Fact(report.DNSID(f.Host), report.KeyDisagree) != report.True
					return agree || facts.FoundElsewhere(f.Evidence, f.Host)
				},
			},
			{
				id:       "name-from-other-sources",
				looks:    "a name that the runtime resolves by another source of nsswitch.conf",
				acts:     report.FaultNode,
				rare:     true,
				question: "query the other sources of nsswitch.conf on {node}:\ngetent hosts {host}",
				excluded: func(f finding) bool { return f.Fact(report.DNSID(f.Host), report.KeyNsswitchOthers) == "" },
			},
		}},
		{cause: report.ResolverFailed, rivals: []rival{
			{
				id:       "domain-fails",
				looks:    "a domain whose own name servers fail: the resolver answers SERVFAIL for it, and well for every other name",
				acts:     report.FaultUndetermined,
				question: "resolve another name with {resolver}: if that works, the name servers of this domain are at fault",
				excluded: func(f finding) bool {
					return f.Isolated() || f.OtherNameFails() || facts.ResolversRefuse(f.Evidence, f.Host)
				},
			},
			{
				id:       "domain-refuses",
				looks:    "a resolver that passes on the REFUSED of this domain's own name servers, and answers for every other name",
				acts:     report.FaultUndetermined,
				rare:     true, // most resolvers answer SERVFAIL then
				question: "resolve another name with {resolver}: if that works, whoever runs the resolver tells why it refuses {host}",
				excluded: func(f finding) bool {
					return f.Isolated() || f.OtherNameFails() || !facts.ResolversRefuse(f.Evidence, f.Host)
				},
			},
			{
				id:       "failure-beside-other-sources",
				looks:    "a name that the runtime resolves by another source of nsswitch.conf",
				question: "query the other sources of nsswitch.conf on {node}:\ngetent hosts {host}",
				excluded: func(f finding) bool { return f.Fact(report.DNSID(f.Host), report.KeyNsswitchOthers) == "" },
			},
		}},
		{cause: report.ResolverUnreachable, rivals: []rival{
			{
				id:       "domain-unanswered",
				looks:    "a resolver that only waits for the name servers of this domain, and answers for every other name",
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
				looks:    "an address that is the registry's own and is out of order",
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

// rivalsOfConnections are those of addresses that are not reached. What refuses or
// drops a connection is not seen from one node: the rules of faults leave open who
// must act, and say what decides.
func rivalsOfConnections() []rivalry {
	misspelt := func(id string) rival {
		return rival{
			id:       id,
			looks:    "a misspelt host that a wildcard record leads to a machine without a registry",
			acts:     report.FaultConfig,
			same:     true,
			question: "check whether {host} is the intended name: any other name of its domain leads to the same address",
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
				looks:    "a router that reports the host or its network as unreachable, because the registry's machine is off",
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
				looks:    "a server or load balancer that resets the connection itself",
				acts:     report.FaultRegistry,
				question: report.AskElsewhere,
				excluded: func(f finding) bool { return f.ofLayer() || f.OpinionOn(f.Host).GetThrough() && f.OthersReach(f.Host) },
			},
			{
				id:       "layer-cut-off-by-the-server",
				looks:    "a host that sends a part of a layer and closes the connection",
				acts:     report.FaultRegistry,
				question: "pull the image on another node: if it fails there too, {host} is at fault; if not, this node or its network is",
				excluded: func(f finding) bool { return !f.ofLayer() },
			},
		}},
		{cause: report.ProxyUnreachable, note: "before the proxy answers, only the node, its setting and the proxy take part"},
		{cause: report.ProxyDenied, rivals: []rival{
			{
				id:       "name-not-on-the-list",
				looks:    "a misspelt host, which no list of the proxy has",
				acts:     report.FaultConfig,
				rare:     true,
				question: "check whether {host} is the intended name: this node has no image from it",
				excluded: func(f finding) bool {
					return f.PulledBefore() || f.Has(report.KeyProxyStatus, "407") || !f.FailedHere(report.KindDial)
				},
			},
			{
				id:       "refused-behind-the-proxy",
				looks:    "a proxy that is willing and cannot reach the host: it answers with an error of its own",
				acts:     report.FaultUndetermined,
				question: "read the proxy's log of CONNECT to {host}: does it refuse the host, or not reach it?",
				excluded: finding.refusedByProxy,
			},
		}},
	}
}

// rivalsOfPorts are the rivals of what answers at a port in the place of a registry.
func rivalsOfPorts() []rivalry {
	return []rivalry{
		{cause: report.TLSHandshakeFailed, rivals: []rival{
			{
				id:       "another-service",
				looks:    "another service than a registry at this port, or an old server",
				acts:     report.FaultRegistry,
				question: "check what answers at {host}:\nopenssl s_client -connect {hostport}",
			},
		}},
		{cause: report.PlainHTTPRegistry, rivals: []rival{
			changedServer("http-since-lately"),
			{
				id:       "no-registry-in-plain-http",
				looks:    "a login portal or another web server at this port",
				acts:     report.FaultUndetermined,
				rare:     true,
				question: "check what answers at {host} in plain HTTP:\ncurl -i http://{hostport}/v2/",
				excluded: func(f finding) bool { return f.Has(report.KeyHTTPAnswer, "registry") },
			},
			{
				id:       "http-answer-under-a-wildcard",
				looks:    "a web server where a misspelt host leads, by a wildcard record",
				acts:     report.FaultConfig,
				question: "check whether {host} is the intended name: any other name of its domain leads to the same address",
				excluded: func(f finding) bool { return !f.UnderWildcard() },
			},
		}},
	}
}

// changedServer is the rival of a node that was never told how to trust a server: the
// server has changed, and the node pulled from it before.
func changedServer(id string) rival {
	return rival{
		id:       id,
		looks:    "a server that has changed: the node pulled from it over TLS before",
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

// anIngress is the rival of certificates: the name leads to something that does not
// know it.
func anIngress(id string) rival {
	return rival{
		id:    id,
		looks: "the default certificate of an ingress or an appliance: a misspelt host under a wildcard record, or a host that it does not know",
		acts:  report.FaultUndetermined,
		question: "check whether {host} is the intended name (any name of its domain may lead to this ingress), and whether the ingress " +
			"has a rule and a certificate for it",
	}
}

// rivalsOfCertificates are those of certificates.
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
				looks:    "a server that does not send the intermediate certificate of its issuer",
				acts:     report.FaultRegistry,
				question: "openssl s_client -showcerts -connect {hostport}",
				excluded: func(f finding) bool { return !f.Has(report.KeyMissingIntermediate) },
			},
		}},
		{cause: report.CertificateNameMismatch, rivals: []rival{
			ingress("mismatch-under-a-wildcard", func(f finding) bool {
				return f.NameIsItsOwn() && !f.Has(report.KeyPlaceholder)
			}),
			{
				id:       "mismatch-by-a-resolver",
				looks:    "an address that only one of the resolvers returns, or one under a search domain",
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
				looks:    "a node whose clock is ahead",
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
				looks:    "a server that uses its certificate too early, while this node's clock is right",
				acts:     report.FaultRegistry,
				question: "compare the time with a clock elsewhere: if this node's is right, {host} uses its certificate too early",
			},
		}},
		{cause: report.ClockSkewed, rivals: []rival{
			{
				id:       "one-clock-against-one",
				looks:    "a server whose clock is wrong, while this node's is right",
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
				looks:    "a registry that has changed its authority",
				acts:     report.FaultRegistry,
				rare:     true,
				question: "compare the certificate that {host} sends to {node} and to another network:\nopenssl s_client -connect {hostport}",
				excluded: func(f finding) bool { return f.OpinionOn(f.Host).SeeAnother() }, // to others it still sends the old one
			},
		}},
	}
}
