package compare

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// doubt is a reason why a verdict on a host is only likely. A rival is what else would seem
// the same from all these nodes.
type doubt struct {
	id       string
	when     string
	question string // what would settle it; {host} is the host
	holds    func(*group, verdict) (rival string, ok bool)
}

// minOthers is how many other nodes confirm what one of them headline: one more may be wrong in
// the same way, or lie.
const minOthers = 2

// What settles a doubt of which other nodes are too few.
const (
	askOneMore = "check {host} from one more node"
	askOutside = "check {host} from outside of the cluster" // every node has checked
)

func allDoubts() []doubt {
	// What one node says is its claim: it shares nothing.
	all := func(g *group) bool { return len(g.through) == 0 && g.counted() > 1 }
	return []doubt{
		{"two-others", "fewer than two other nodes have checked, and not all nodes confirm it themselves", askOneMore, func(
			g *group, v verdict,
		) (string, bool) {
			if all(g) {
				return "", len(g.failing) <= minOthers && !g.eachConfirms(v)
			}
			return "", len(g.through) < minOthers && g.counted() > 1
		}},
		{"flapping", "the host is reachable by turns", "wait until the state of {host} is stable", func(g *group, _ verdict) (string, bool) {
			return "", slices.ContainsFunc(g.failing, func(o *observation) bool { return o.host.Flapping })
		}},
		{"checked-before", "some nodes have not checked since the failure began", "check {host} from a node that got through before", func(
			g *group, _ verdict,
		) (string, bool) {
			return "", all(g) && len(g.earlier) > 0
		}},
		{"shared-resolver", "all of them may have the answer of one resolver", "resolve {host} with another resolver", func(
			g *group, v verdict,
		) (string, bool) {
			return shared("resolver", resolversOf, g.failing), all(g) && v.fault != report.FaultNode && v.cause.OnTheNetwork() &&
				!differ(resolversOf, g.failing)
		}},
		{"shared-proxy", "all of them use one proxy", "check {host} without the proxy", func(g *group, v verdict) (string, bool) {
			theirs := slices.DeleteFunc(common(proxyOf, g.failing), func(p string) bool { return p == none })
			return shared("proxy", proxyOf, g.failing), all(g) && v.cause != report.HostNotFound && len(theirs) > 0
		}},
		{"shared-egress", "all of them may reach the registry through one egress", askOutside, func(
			g *group, v verdict,
		) (string, bool) {
			return shared("egress", egress, g.failing), all(g) && v.fault == report.FaultRegistry &&
				(dialFails(v.cause) || v.cause == report.TLSHandshakeFailed) && !differ(egress, g.failing)
		}},
		{"shared-subnet", "all of them are in one subnet", "check {host} from a node of another subnet", func(
			g *group, v verdict,
		) (string, bool) {
			return shared("subnet", subnetOf, g.failing), all(g) && v.fault == report.FaultRegistry &&
				(dialFails(v.cause) || v.cause == report.TLSHandshakeFailed) && len(common(subnetOf, g.failing)) > 0
		}},
		{"addresses-unseen", "it is not known that both sides reach for the same address", "compare the addresses of {host} on both", func(
			g *group, v verdict,
		) (string, bool) {
			theirs := union(addressesOf, g.through)
			path := dialFails(v.cause) || v.cause == report.TLSHandshakeFailed || v.cause == report.PlainHTTPRegistry
			return "", len(g.through) > 0 && path &&
				!g.all(func(o *observation) bool {
					return len(o.host.Addresses) > 0 && !disjoint(o.host.Addresses, theirs) && len(theirs) > 0
				})
		}},
		{"certificates-unseen", "it is not known that both sides see the same certificate", "compare the certificate of {host} on both", func(
			g *group, v verdict,
		) (string, bool) {
			theirs := union(certificateOf, g.through)
			return "", len(g.through) > 0 && aboutCertificate(v.cause) && v.rule != byCertificate &&
				!g.all(func(o *observation) bool { return slices.Contains(theirs, o.host.Certificate) })
		}},
		{"shared-clock", "the certificate may have expired by the nodes' clocks only", "compare the clock of a node with another clock", func(
			g *group, v verdict,
		) (string, bool) {
			off := slices.ContainsFunc(g.failing, func(o *observation) bool {
				return o.host.Clock != nil && (time.Duration(*o.host.Clock)*time.Second).Abs() >= minSkew
			})
			return "the clocks of these nodes and that of the registry differ", len(g.through) == 0 && v.cause == report.CertificateExpired && off
		}},
		{"same-resolver", "it is not known that both sides use different resolvers", "resolve {host} on both sides", func(
			g *group, v verdict,
		) (string, bool) {
			return "", len(g.through) > 0 && v.cause == report.HostNotFound &&
				!disjoint(union(resolversOf, g.failing), union(resolversOf, g.through))
		}},
		{"unknown-cause", "the node does not say why", "read the report of a failing node", func(_ *group, v verdict) (string, bool) {
			return "", v.cause == report.Undetermined
		}},
	}
}

// eachConfirms reports whether several nodes fail by the registry's answer, and each of them has
// confirmed the verdict itself: together they are not less sure than alone.
func (g *group) eachConfirms(v verdict) bool {
	return len(g.failing) > 1 && v.fault == report.FaultRegistry && v.cause.Stage() == report.StageAnswer &&
		g.all(func(o *observation) bool {
			return slices.ContainsFunc(o.node.Facts.Images, func(i nodefacts.Image) bool {
				return i.Host == g.name && i.Cause == v.cause && i.Fault == v.fault && i.Confidence == report.Confirmed
			})
		})
}

// aboutCertificate reports whether a node rejects the certificate that it sees.
func aboutCertificate(c report.Cause) bool {
	switch c {
	case report.CertificateUntrusted, report.CertificateExpired, report.CertificateNotYetValid, report.CertificateInvalid,
		report.CertificateNameMismatch, report.TLSIntercepted:
		return true
	}
	return false
}

// shared returns the rival that all these nodes may have one of something.
func shared(what string, of func(*observation) []string, failing []*observation) string {
	if values := common(of, failing); len(values) > 0 {
		return fmt.Sprintf("all of them have the same %s: %s", what, strings.Join(values[:min(len(values), 2)], " and "))
	}
	return fmt.Sprintf("they may all have the same %s: no two are known to differ", what)
}
