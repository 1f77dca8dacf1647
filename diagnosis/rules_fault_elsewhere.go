package diagnosis

import (
	"slices"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// faultsByOtherNodes returns the rules that say who must act by what other nodes see of a
// host that this node does not reach.
func faultsByOtherNodes() []faultRule {
	return []faultRule{
		{"others-get-through", "two other nodes or more get through to an address at which this one fails", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			r := certainly(report.FaultNode)
			r.because = []string{report.OpinionID(o.Check.Host)}
			return r, e.dependsOnOtherNodes(o) && e.OpinionOn(o.Check.Host).GetThrough() && e.OthersReach(o.Check.Host)
		}},
		{"others-get-through-elsewhere", "two other nodes or more get through to the host, by another address or another resolver", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			host := o.Check.Host
			r := presumably(report.FaultNode, "compare how "+host+" resolves here and there: "+e.OpinionOn(host).Check.Evidence[report.KeyWhich]+
				" may reach another address of this host")
			r.because = []string{report.OpinionID(host)}
			return r, e.dependsOnOtherNodes(o) && e.OpinionOn(host).GetThrough()
		}},
		{"one-other-gets-through", "one other node gets through to the host, and few fail", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			host := o.Check.Host
			r := presumably(report.FaultNode, elsewhere(host)+"one other node alone is no proof")
			r.because = []string{report.OpinionID(host)}
			return r, e.dependsOnOtherNodes(o) && e.OpinionOn(host).OneOfFew()
		}},
		{"others-resolve-it", "the resolvers of other nodes answer for the name at which this node's fail", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			host := o.Check.Host
			cause := o.RootCause()
			op := e.OpinionOn(host)
			r := presumably(report.FaultNode, "resolve "+host+" on "+op.Check.Evidence[report.KeyWhich]+
				" again: its resolver may have the name of an earlier answer")
			r.because = []string{report.OpinionID(host)}
			// Who must act on a resolver that fails for other names too is known without them.
			failed := o.Check.Kind == report.KindDNS && (cause == report.ResolverFailed || cause == report.ResolverUnreachable)
			return r, failed && e.onlyThisName(host) && (op.GetThrough() || op.OneOfFew())
		}},
		{"name-unknown-elsewhere", "the name resolves on no other node either", func(e *evaluation, o facts.Obstacle) (responsibility, bool) {
			host := o.Check.Host
			r := e.nameUnknown(host)
			r.because = []string{report.OpinionID(host)}
			return r, o.RootCause() == report.HostNotFound && e.dependsOnOtherNodes(o) && e.AllFailWith(host, report.HostNotFound)
		}},
		{"others-fail-too", "two other nodes or more fail to connect too, and none gets through", func(
			e *evaluation, o facts.Obstacle,
		) (responsibility, bool) {
			host := o.Check.Host
			r := e.downForAll(host)
			r.because = []string{report.OpinionID(host)}
			return r, o.RootCause() != report.HostNotFound && e.dependsOnOtherNodes(o) && e.OpinionOn(host).AllFail() &&
				!e.SomeFailWith(host, report.HostNotFound) &&
				// Those without a route, as for IPv6, do not see the host.
				(o.RootCause() == report.NetworkUnreachable || !e.SomeFailWith(host, report.NetworkUnreachable))
		}},
	}
}

// nameUnknown says who must act if no node resolves a name. The name of a public registry
// exists, and so did a name from which images were pulled.
func (e *evaluation) nameUnknown(host string) responsibility {
	rivals, known := e.OpinionOn(host).Rivals()
	switch {
	case e.Is(report.DNSID(host), report.KeyPublicRegistry):
		return presumably(report.FaultNode, "resolve "+host+" outside of the cluster: the resolvers of these nodes may block the name")
	case !slices.Contains([]string{"", "0"}, e.LocalImages().Evidence[report.KeyCount]):
		return presumably(report.FaultUndetermined, "resolve "+host+" outside of the cluster: images were pulled from it before, "+
			"so the name is gone, or the resolvers of these nodes lost the name")
	case known && rivals == "":
		return certainly(report.FaultConfig)
	case known:
		return presumably(report.FaultConfig, "resolve "+host+" outside of the cluster: "+rivals)
	}
	return presumably(report.FaultConfig, "check whether "+host+" is the intended name, and whether it exists outside the cluster's resolvers")
}

// downForAll says who must act if no node connects to a host.
func (e *evaluation) downForAll(host string) responsibility {
	rivals, known := e.OpinionOn(host).Rivals()
	switch {
	case known && rivals == "":
		return certainly(report.FaultRegistry)
	case known:
		return presumably(report.FaultRegistry, "check "+host+" from outside of the cluster: "+rivals)
	}
	return presumably(report.FaultRegistry,
		"check "+host+" from outside the cluster: what all its nodes share (a proxy, an egress, a firewall) looks the same")
}

// faultsSeenByOneNode returns the rules that say who must act if a host is unreachable and
// only the evidence of this node is known.
func faultsSeenByOneNode() []faultRule {
	no := responsibility{}
	return []faultRule{
		{"host-unreachable", "a host is unreachable, seen from one node", func(e *evaluation, o facts.Obstacle) (responsibility, bool) {
			switch o.RootCause() {
			case report.HostNotFound, report.ConnectionRefused, report.ConnectionTimeout:
				return e.faultFromOneNode(o), true
			case report.NetworkUnreachable:
				// A route or a firewall of this node forbids with EACCES. The other errors may
				// be a router's: the registry's machine is off.
				errno := o.Check.Evidence[report.KeyErrno]
				return e.faultFromOneNode(o), errno == "EHOSTUNREACH" || errno == "ENETUNREACH"
			}
			return no, false
		}},
		{"either-end", "the fault may be at either end of the connection", func(_ *evaluation, o facts.Obstacle) (responsibility, bool) {
			switch c := o.RootCause(); c {
			case report.ConnectionReset: // its rivals ask who must act
				return presumably(report.FaultNode), true
			case report.TLSHandshakeFailed:
				return presumably(report.FaultNode, fromAnotherNode(c, o.Check.Host)), true
			}
			return no, false
		}},
		{"referred-host", "the token service or the layer host fails", func(e *evaluation, o facts.Obstacle) (responsibility, bool) {
			if c := o.RootCause(); c != report.BlobHostUnreachable && c != report.TokenServiceFailed {
				return no, false
			}
			return e.faultOfReferredHost(o)
		}},
	}
}
