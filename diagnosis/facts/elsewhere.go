package facts

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// Opinion is what other nodes see of a host.
type Opinion struct {
	Check           report.Check // the zero Check: nobody answered
	Reached, Failed int          // how many get through, and how many do not
}

// OpinionOn returns what other nodes see of a host.
func (e *Evidence) OpinionOn(host string) Opinion {
	o := Opinion{Check: e.Get(report.OpinionID(host))}
	if o.Check.Outcome != report.Pass {
		return Opinion{}
	}
	o.Reached, _ = strconv.Atoi(o.Check.Evidence[report.KeyReached])
	o.Failed, _ = strconv.Atoi(o.Check.Evidence[report.KeyFailed])
	return o
}

// OthersReach reports whether other nodes connect to an address of a host at which this node
// fails. A host may have several machines, of which one is broken.
func (e *Evidence) OthersReach(host string) bool {
	theirs := strings.Split(e.OpinionOn(host).Check.Evidence[report.KeyAddresses], ", ")
	return slices.ContainsFunc(slices.Concat(e.Below(report.DialID(host)), e.Below(report.TLSID(host))), func(c report.Check) bool {
		at, err := netip.ParseAddrPort(strings.TrimPrefix(strings.TrimPrefix(c.ID, report.DialID(host)+"/"), report.TLSID(host)+"/"))
		return err == nil && c.Outcome == report.Fail && slices.Contains(theirs, at.Addr().Unmap().String())
	})
}

// Rivals returns what else would seem the same where no other node gets through either.
// known is false if that was not compared.
func (o Opinion) Rivals() (rivals string, known bool) {
	r := o.Check.Evidence[report.KeyRivals]
	if r == "none" {
		return "", true
	}
	return r, r != ""
}

// SeeAnother reports whether the nodes that get through agree on another certificate, of
// another issuer, than this node sees.
func (o Opinion) SeeAnother() bool {
	see := strings.Split(o.Check.Evidence[report.KeySeesAnother], ", ")
	return o.GetThrough() && slices.Contains(see, "certificate") && slices.Contains(see, "issuer")
}

// FoundAt reports whether other nodes found the image at a host.
func FoundAt(e *Evidence, host string) bool {
	return slices.Contains(strings.Split(e.Fact(report.IDImageElsewhere, report.KeyFoundAt), ", "), host)
}

// Proof is how many other nodes prove something. One may be broken, or lie.
const Proof = 2

// GetThrough reports whether enough other nodes get through.
func (o Opinion) GetThrough() bool { return o.Reached >= Proof }

// OneOfFew reports whether a single other node gets through, and few fail: where many do, it
// may be the one that is wrong.
func (o Opinion) OneOfFew() bool { return o.Reached == 1 && o.Failed < maxAgainstOne }

// maxAgainstOne is how many failing nodes outweigh a single one that gets through, this node
// included.
const maxAgainstOne = 4

// AllFail reports whether enough other nodes have checked, and none gets through.
func (o Opinion) AllFail() bool { return o.Reached == 0 && o.Failed >= Proof }

// AllFailWith reports whether enough other nodes have checked a host, and all fail with one
// cause.
func (e *Evidence) AllFailWith(host string, cause report.Cause) bool {
	o := e.OpinionOn(host)
	return o.AllFail() && o.Check.Evidence[report.KeyHow] == string(cause)
}

// SomeFailWith reports whether some other nodes fail at a host with a cause.
func (e *Evidence) SomeFailWith(host string, cause report.Cause) bool {
	return slices.Contains(strings.Split(e.OpinionOn(host).Check.Evidence[report.KeyHow], ", "), string(cause))
}
