package compare

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// hostRule says what it means that some nodes fail alike at a host.
type hostRule struct {
	id       string
	when     string // when it applies, in one sentence
	evaluate func(*group) (verdict, bool)
}

func hostRules() []hostRule { return slices.Concat(rulesWhereSomeFail(), rulesWhereAllFail()) }

// maxAgainstOne is how many failing nodes outweigh a single one that gets through: it may be
// the one that is wrong.
const maxAgainstOne = 4

// enoughAsked is how many nodes that were asked to check a host, and all fail, speak for those that have not
// checked: if half of all got through, that would be a chance of one in a thousand.
const enoughAsked = 10

// byCertificate is the id of the rule that has compared the certificates itself.
const byCertificate = "another-certificate"

// rulesWhereSomeFail returns the rules for a host at which some nodes fail and others get
// through at the same time.
func rulesWhereSomeFail() []hostRule {
	some := func(g *group) bool { return len(g.through) > 0 }
	return []hostRule{
		{"one-against-many", "a single node gets through and many do not", func(g *group) (verdict, bool) {
			return verdict{
				fault: report.FaultUndetermined, cause: g.cause(), headline: g.counts(),
				wouldDecide: []string{g.checkFrom("one more node that resembles " + list(namesOf(g.through).First))},
			}, len(g.through) == 1 && len(g.failing)+len(g.others) > maxAgainstOne
		}},
		{"their-clock", "they reject a certificate by its dates, and their clocks differ from most", func(g *group) (verdict, bool) {
			dates := g.all(func(o *observation) bool {
				return g.skewed[o.node.Name].Abs() >= minSkew && (o.cause == report.CertificateExpired || o.cause == report.CertificateNotYetValid)
			})
			return verdict{
				fault: report.FaultNode, cause: report.ClockSkewed, sure: true,
				headline: "the clock is wrong where the certificate is rejected (" + g.nodes() + ")",
			}, some(g) && dates
		}},
		{"limited-some", "the registry limits some nodes (429)", func(g *group) (verdict, bool) {
			v := verdict{
				fault: report.FaultRegistry, cause: report.RateLimited, headline: g.share("is", "are") + " rate-limited (429)",
				wouldDecide: []string{"compare the addresses that these nodes' requests come from: nodes behind one address share one quota"},
			}
			if from := common(egress, g.failing); disjoint(from, union(egress, g.through)) && len(g.failing) >= minSide {
				v.sure, v.wouldDecide = true, nil
				v.headline = g.share("is", "are") + " rate-limited (429) and share one quota: their requests come from " + list(from)
			}
			return v, some(g) && g.cause() == report.RateLimited
		}},
		{"forbidden-some", "the registry forbids some nodes every request (403)", func(g *group) (verdict, bool) {
			return verdict{
				fault: report.FaultNode, cause: report.AccessForbidden,
				headline:    g.share("is", "are") + " refused (403) where others are not: probably the egress address",
				wouldDecide: []string{"compare the addresses that these nodes' requests come from with what " + g.name + " allows"},
			}, some(g) && g.cause() == report.AccessForbidden
		}},
		{"another-address", "they resolve the name to addresses that no node that gets through has", anotherAddress},
		{byCertificate, "they see a certificate that no node that gets through sees", anotherCertificate},
		{"same-certificate", "they reject the certificate that others accept", sameCertificate},
		{"answers-some", "the registry answers some nodes with an error", func(g *group) (verdict, bool) {
			v := verdict{
				fault: report.FaultRegistry, cause: g.cause(), headline: g.counts(),
				wouldDecide: []string{"compare the machines of " + g.name + " that these nodes and the others reach"},
			}
			if len(g.failing) < minSide { // its claim, or the answer of a proxy in between
				v.fault = report.FaultUndetermined
			}
			return v, some(g) && g.cause().DefaultFault() == report.FaultRegistry
		}},
		{"name-known-elsewhere", "the name does not resolve on some nodes", func(g *group) (verdict, bool) {
			return verdict{
				fault: report.FaultNode, cause: report.HostNotFound, sure: true,
				headline: fmt.Sprintf("the name does not resolve on %s; on %d it does", g.share("", ""), len(g.through)),
			}, some(g) && g.cause() == report.HostNotFound
		}},
		{"these-nodes", "some nodes do not get through, and others do", func(g *group) (verdict, bool) {
			return verdict{fault: report.FaultNode, cause: g.cause(), sure: true, headline: g.counts()}, some(g)
		}},
	}
}

// rulesWhereAllFail returns the rules for a host to which no node gets through.
func rulesWhereAllFail() []hostRule {
	return []hostRule{
		{"too-few-since", "most nodes got through before and have not checked since, and few were asked to", func(g *group) (verdict, bool) {
			return verdict{
				fault: g.claim(), cause: g.cause(),
				headline:    fmt.Sprintf("%s since the failure began; %d got through before that", g.failed(), len(g.earlier)),
				wouldDecide: []string{g.checkFrom(list(namesOf(g.earlier).First) + ", where it got through before")},
			}, len(g.earlier) >= g.counted() && g.sample < enoughAsked
		}},
		{"one-node", "a single node has checked: its claim", func(g *group) (verdict, bool) {
			v := verdict{fault: g.claim(), cause: g.cause(), headline: g.failed() + "; no other node has checked it"}
			if v.fault == report.FaultUndetermined || !g.answered() {
				v.wouldDecide = []string{g.checkFrom(g.elsewhere())}
			}
			return v, g.counted() == 1
		}},
		{"all-differ", "no node gets through, and they fail in different ways", func(g *group) (verdict, bool) {
			return verdict{
				fault: report.FaultUndetermined, cause: g.cause(),
				headline:    fmt.Sprintf("%s; %d with another cause", g.failed(), len(g.others)),
				wouldDecide: []string{g.checkFrom("outside of the cluster")},
			}, len(g.others) > 0
		}},
		{"public-name-nowhere", "the name of a public registry resolves on no node", func(g *group) (verdict, bool) {
			host, _, _ := strings.Cut(g.name, ":")
			return verdict{
				fault: report.FaultNode, cause: report.HostNotFound,
				headline:    fmt.Sprintf("the name resolves on none of %d nodes: their resolvers may block the name", len(g.failing)),
				wouldDecide: []string{"resolve " + g.name + " outside of the cluster"},
			}, g.cause() == report.HostNotFound && report.IsPublicRegistry(host)
		}},
		{"name-in-a-file", "the name resolves on no node, and a file of a node names it, not the image", func(g *group) (verdict, bool) {
			return verdict{
				fault: report.FaultNode, cause: report.HostNotFound,
				headline: fmt.Sprintf("the name resolves on none of %d nodes; no image names it: a file of %s sends pulls there",
					len(g.failing), list(namesOf(g.senders()).First)),
				wouldDecide: []string{"check whether that file (hosts.toml) should name " + g.name},
			}, g.cause() == report.HostNotFound && g.sentByFile()
		}},
		{"name-nowhere", "the name resolves on no node", func(g *group) (verdict, bool) {
			return verdict{
				fault: report.FaultConfig, cause: report.HostNotFound, sure: true,
				headline: fmt.Sprintf("the name resolves on none of %d nodes", len(g.failing)),
			}, g.cause() == report.HostNotFound
		}},
		{"limited-all", "the registry limits every node (429)", func(g *group) (verdict, bool) {
			v := verdict{
				fault: report.FaultRegistry, cause: report.RateLimited, sure: true,
				headline: fmt.Sprintf("all %d nodes that checked are rate-limited (429)", len(g.failing)),
			}
			if from := common(egress, g.failing); len(from) > 0 {
				v.headline += " and share one quota: their requests come from " + list(from)
			}
			return v, g.cause() == report.RateLimited
		}},
		{"node-cause-everywhere", "every node has the same fault of its own", func(g *group) (verdict, bool) {
			c := g.cause()
			either := c == report.ConnectionRefused || c == report.ConnectionTimeout || c == report.ConnectionReset || c == report.TLSHandshakeFailed
			return verdict{
				fault: report.FaultNode, cause: c, headline: g.failed() + ": the same fault on every node",
				wouldDecide: []string{g.checkFrom("outside of the cluster")},
			}, c.DefaultFault() == report.FaultNode && !either
		}},
		{"down-for-all", "no node gets a connection to the registry", func(g *group) (verdict, bool) {
			return verdict{fault: report.FaultRegistry, cause: g.cause(), sure: true, headline: g.failed()},
				g.cause().DefaultFault() == report.FaultNode
		}},
		{"answers-all", "the registry answers every node with the same error", func(g *group) (verdict, bool) {
			return verdict{fault: report.FaultRegistry, cause: g.cause(), sure: true, headline: g.failed()},
				g.cause().DefaultFault() == report.FaultRegistry
		}},
		{"unclear-for-all", "every node fails, and does not say why, or for a reason that is no host's", func(g *group) (verdict, bool) {
			return verdict{
				fault: report.FaultUndetermined, cause: g.cause(), headline: g.failed(),
				wouldDecide: []string{"read the report of " + g.nodes()},
			}, true
		}},
	}
}

// claim returns who must act by what a single failing node says, in its verdict on an image or
// else in its sweep; undetermined if it does not know, or if several fail.
func (g *group) claim() report.Fault {
	if len(g.failing) != 1 {
		return report.FaultUndetermined
	}
	o := g.failing[0]
	for _, i := range o.node.Facts.Images {
		if i.Host == g.name && i.Cause == o.cause && i.Confidence != report.ConfidenceUndetermined && i.Fault != report.FaultUndetermined {
			return i.Fault
		}
	}
	if !g.answered() {
		return report.FaultUndetermined // from where it is not reached, both sides seem the same
	}
	return cmp.Or(o.host.Fault, report.FaultUndetermined)
}

// sentByFile reports whether a file of a node sends pulls to the host, and no image that fails names it.
func (g *group) sentByFile() bool {
	sent := len(g.senders()) > 0
	for _, o := range g.failing {
		for _, i := range o.node.Facts.Images {
			switch {
			case i.Host != g.name || i.Cause != o.cause:
			case i.Fault != report.FaultNode || strings.HasPrefix(i.Name, g.name+"/"):
				return false
			}
		}
	}
	return sent
}

// answered reports whether the failing nodes have seen something of the host: a certificate or
// an answer.
func (g *group) answered() bool { return g.cause().Stage() >= report.StageTLS }

// checkFrom asks for a check of the host from somewhere, with the command for it.
func (g *group) checkFrom(where string) string {
	return "check " + g.name + " from " + where + ":\n" + checkCommand(g.cause(), g.name)
}

// elsewhere returns from where else the host can be checked.
func (g *group) elsewhere() string {
	if g.complete() {
		return "outside of the cluster"
	}
	return "another node"
}

// checkCommand returns the command that repeats what failed: the name, or the answer.
func checkCommand(c report.Cause, host string) string {
	if c.Stage() == report.StageDNS {
		name, _, _ := strings.Cut(host, ":")
		return "nslookup " + name
	}
	return "curl -sI https://" + host + "/v2/"
}

// anotherAddress returns the verdict on nodes that resolve the name to other addresses than
// the nodes that get through. If the latter agree, the name does not have different
// addresses by region or by chance.
func anotherAddress(g *group) (verdict, bool) {
	theirs, right := union(addressesOf, g.failing), union(addressesOf, g.through)
	path := g.all(func(o *observation) bool {
		return dialFails(o.cause) || o.cause.Stage() == report.StageTLS || o.cause == report.ResolverWrongAnswer
	})
	v := verdict{
		fault: report.FaultNode, cause: report.ResolverWrongAnswer,
		headline: fmt.Sprintf("%s it to %s; nodes that get through, to %s", g.share("resolves", "resolve"), list(theirs), list(right)),
	}
	if v.sure = nowhere(theirs) && !nowhere(right); !v.sure {
		v.wouldDecide = []string{"check whether " + list(theirs) + " belongs to " + g.name + ": it may be an address for one region that is down"}
	}
	known := allKnown(addressesOf, g.failing) && len(g.through) >= minSide && agree(addressesOf, g.through)
	return v, path && known && disjoint(theirs, right)
}

// nowhere reports whether none of these addresses can be that of a registry: this machine
// itself, or no machine. Resolvers that block a name answer so.
func nowhere(addresses []string) bool {
	return !slices.ContainsFunc(addresses, func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err != nil || !a.IsLoopback() && !a.IsUnspecified()
	})
}

// anotherCertificate returns the verdict on nodes that see another certificate than the nodes
// that get through. If it has the same issuer, it is a renewal that has not reached every
// machine.
func anotherCertificate(g *group) (verdict, bool) {
	rejected := g.all(func(o *observation) bool {
		return o.cause == report.CertificateUntrusted || o.cause == report.TLSIntercepted
	})
	if len(g.through) == 0 || !rejected {
		return verdict{}, false
	}
	leaf := allKnown(certificateOf, g.failing) && disjoint(union(certificateOf, g.failing), union(certificateOf, g.through))
	issuer := allKnown(issuerOf, g.failing) && disjoint(union(issuerOf, g.failing), union(issuerOf, g.through))
	unknown := len(union(issuerOf, g.failing)) == 0 || len(union(issuerOf, g.through)) == 0
	v := verdict{
		fault: report.FaultNode, cause: report.TLSIntercepted,
		headline: fmt.Sprintf("%s another certificate than the nodes that get through (%d)", g.share("sees", "see"), len(g.through)),
		// A machine of the registry with a certificate of its own seems the same, unless all
		// reach the same address.
		sure: leaf && issuer && agree(certificateOf, g.through) && len(common(addressesOf, slices.Concat(g.failing, g.through))) > 0,
	}
	if !v.sure {
		v.wouldDecide = []string{"compare the certificate of " + g.name + " on both:\nopenssl s_client -connect " + report.WithPort(g.name)}
	}
	return v, issuer || leaf && unknown
}

// sameCertificate returns the verdict on nodes that reject a certificate that others accept.
func sameCertificate(g *group) (verdict, bool) {
	about := g.all(func(o *observation) bool {
		switch o.cause {
		case report.CertificateUntrusted, report.CertificateExpired, report.CertificateNotYetValid, report.CertificateInvalid:
			return true
		}
		return false
	})
	if len(g.through) == 0 || !about {
		return verdict{}, false
	}
	within := func(of func(*observation) []string) bool {
		theirs := union(of, g.through)
		return g.all(func(o *observation) bool { return len(of(o)) > 0 && !disjoint(of(o), theirs) }) && len(theirs) > 0
	}
	v := verdict{
		fault: report.FaultNode, cause: g.cause(), sure: within(certificateOf) && g.cause() == report.CertificateUntrusted,
		headline: fmt.Sprintf("%s the certificate (%s) that others accept (%d)", g.share("rejects", "reject"), causes(g.failing), len(g.through)),
	}
	if !v.sure {
		v.wouldDecide = []string{"compare the trust store and the clock of " + g.nodes() + " with those of " + list(namesOf(g.through).First)}
	}
	return v, within(certificateOf) || !allKnown(certificateOf, g.failing) && within(issuerOf)
}

// counts returns who gets through and who does not, in words.
func (g *group) counts() string {
	verb := "do"
	if len(g.through) == 1 {
		verb = "does"
	}
	return fmt.Sprintf("%s; %d %s", g.failed(), len(g.through), verb)
}

// failed returns how many do not get through, and with what.
func (g *group) failed() string {
	return fmt.Sprintf("%s not get through (%s)", g.share("does", "do"), causes(g.failing))
}

// share returns how many of those that checked fail, with a verb in its two forms.
func (g *group) share(one, several string) string {
	who, verb := fmt.Sprintf("%d of %d nodes", len(g.failing), g.counted()), several
	if len(g.failing) == 1 {
		verb = one
	}
	if g.counted() == 1 {
		who = g.nodes()
	}
	return strings.TrimSpace(who + " " + verb)
}

// nodes returns the names of the failing nodes.
func (g *group) nodes() string { return list(namesOf(g.failing).First) }

// causes returns the causes of failing observations, the most frequent first.
func causes(failing []*observation) string {
	var out []string
	for _, c := range causesOf(failing) {
		out = append(out, string(c.Cause))
	}
	return strings.Join(out, ", ")
}
