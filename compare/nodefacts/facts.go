// Package nodefacts is what one node says to the others: a list of facts, small enough for
// an annotation on its report. The agent writes it, and whatever compares nodes reads it:
// the fleet, a kubectl plugin. It is a package of its own so that an agent has the facts
// without the rules that compare them.
//
// Facts are the claim of their node. Who reads them takes them for no more.
package nodefacts

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Version is the version of the encoding. It rises when an older reader would
// misunderstand a newer writer; a new field alone does not raise it.
const Version = 1

// Annotation is the annotation of a node's report that has its facts.
const Annotation = "pullprobe.dev/facts"

// Sizes of encoded facts, in bytes.
const (
	MaxHealthy = 2 << 10 // of a node on which nothing fails
	MaxSize    = 4 << 10 // of any other
	maxInput   = 8 << 10 // that [Decode] reads: newer writers may say more
)

// Facts are what one node says about itself and about the hosts that it pulls from.
type Facts struct {
	Version int            `json:"v"`
	At      Stamp          `json:"at"`                // when they were collected, by the node's clock
	Control report.Outcome `json:"control"`           // fail: the node reaches nothing at all
	Fresh   int            `json:"fresh,omitempty"`   // seconds for which an observation counts: no change is written at once
	Weak    bool           `json:"weak,omitempty"`    // that is a guess
	Cause   report.Cause   `json:"cause,omitempty"`   // why it reaches nothing
	Node    Traits         `json:"node,omitzero"`     //
	Hosts   []Host         `json:"hosts,omitempty"`   // the worst state first
	Images  []Image        `json:"images,omitempty"`  // those that fail first
	Asks    []string       `json:"asks,omitempty"`    // hosts that it wants a second opinion on
	Dropped []string       `json:"dropped,omitempty"` // what was left out, in plain words
}

// StateKey returns a text that is equal for facts that differ only in times and figures. So
// do the addresses of a host that is reached: many names resolve to others at each sweep.
func (f Facts) StateKey() string {
	f.At = 0
	f.Hosts, f.Images, f.Asks = slices.Clone(f.Hosts), slices.Clone(f.Images), slices.Clone(f.Asks)
	for i := range f.Hosts {
		h := &f.Hosts[i]
		h.Since, h.Checked, h.Clock = 0, 0, nil
		if !h.State.Bad() {
			h.Addresses, h.Used = nil, ""
		}
	}
	for i := range f.Images {
		f.Images[i].Checked = 0
	}
	slices.SortStableFunc(f.Images, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(f.Asks)
	return fmt.Sprintf("%+v", f)
}

// CutOff reports whether the node reaches nothing at all, by its own check "control".
func (f Facts) CutOff() bool { return f.Control == report.Fail }

// Host returns what the node says about a host.
func (f Facts) Host(name string) (Host, bool) {
	for _, h := range f.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return Host{}, false
}

// Traits are what only the node itself knows of it. What is empty is not known.
type Traits struct {
	Resolvers []string `json:"dns,omitempty"`   // addresses, in the order of resolv.conf
	Proxy     string   `json:"proxy,omitempty"` // the runtime's proxy, or [report.None]
	CA        string   `json:"ca,omitempty"`    // digest of the certificates that the runtime trusts
	Egress    string   `json:"from,omitempty"`  // the address that servers see the node's requests come from
}

// Host is how far the node got with one host. What is empty is not known.
type Host struct {
	Name        string           `json:"h"`                 // with its port, if that is not 443
	State       report.HostState `json:"s"`                 //
	Cause       report.Cause     `json:"cause,omitempty"`   // of a bad state
	Fault       report.Fault     `json:"fault,omitempty"`   // who must act on a bad state, as far as the node knows
	Status      int              `json:"http,omitempty"`    // HTTP status of GET /v2/, if neither 200 nor 401
	Since       Stamp            `json:"since,omitempty"`   // when it entered this state
	Checked     Stamp            `json:"at"`                // when it was last checked
	Asked       bool             `json:"asked,omitempty"`   // it is checked only as other nodes want that: this one does not use it
	Flapping    bool             `json:"flap,omitempty"`    // its state changes often
	Addresses   []string         `json:"ip,omitempty"`      // all addresses that it resolves to
	Used        string           `json:"used,omitempty"`    // the one that the runtime connects to
	Certificate string           `json:"cert,omitempty"`    // digest of the certificate that it sends
	Issuer      string           `json:"issuer,omitempty"`  // digest of the name of its issuer
	Clock       *int             `json:"clock,omitempty"`   // how far the node's clock is ahead of the host's, in seconds
	Mirrors     []string         `json:"mirrors,omitempty"` // hosts that the runtime tries, in order, if not this one alone
	HostsTOML   string           `json:"toml,omitempty"`    // digest of the host's hosts.toml, or [report.None]
}

// Image is what the node found of one image.
type Image struct {
	Name       string            `json:"i"`
	Cause      report.Cause      `json:"cause"`             // Healthy or Recovered: it can be pulled
	Fault      report.Fault      `json:"fault,omitempty"`   //
	Confidence report.Confidence `json:"sure,omitempty"`    //
	Checked    Stamp             `json:"at"`                //
	Host       string            `json:"h,omitempty"`       // the host that the verdict is about
	Found      []string          `json:"found,omitempty"`   // hosts that have its manifest
	Missing    []string          `json:"missing,omitempty"` // hosts that answer that they do not
}

// Good reports whether the image can be pulled.
func (i Image) Good() bool { return i.Cause == report.Healthy || i.Cause == report.Recovered }

// Stamp is a time in whole seconds since 1970; zero: not known.
type Stamp int64

// StampOf returns the stamp of a time.
func StampOf(t time.Time) Stamp {
	if t.IsZero() {
		return 0
	}
	return Stamp(t.Unix())
}

// Time returns the time; the zero time if it is not known.
func (s Stamp) Time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}
