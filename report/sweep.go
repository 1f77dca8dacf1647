package report

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Sweep is the result of the last check of every registry that this node may pull
// from, made whether or not a pod is stuck.
type Sweep struct {
	Time       time.Time   `json:"time"`       // when it ended
	Duration   Millis      `json:"durationMs"` // how long it took
	Control    Check       `json:"control"`    // id "control": whether this node reaches anything at all
	Registries []Registry  `json:"registries"` // the worst state first, then by name
	Resolvers  []Resolver  `json:"resolvers,omitempty"`
	Clock      Check       `json:"clock"` // id "clock": this node's clock against those of all hosts that returned a date
	Conditions []Condition `json:"conditions,omitempty"`
	Runtime    []Check     `json:"runtime,omitempty"` // problems of the runtime's configuration: newer than its process, invalid or unreadable
	Omitted    int         `json:"omitted,omitempty"` // registries left out to keep the report within its limit
	Traits     NodeTraits  `json:"traits,omitzero"`   // by which nodes are compared
}

// NodeTraits are properties of the node by which nodes are compared. What is empty is not
// known.
type NodeTraits struct {
	Proxy string `json:"proxy,omitempty"` // the runtime's proxy without user and password, or [None]
	CA    string `json:"ca,omitempty"`    // digest of the certificates that the runtime trusts
}

// None is the value of a proxy or a digest where there is none, in contrast to one that is
// not known.
const None = "none"

// HostState is whether a host is reachable for pulls.
type HostState string

const (
	ReachUnknown HostState = "unknown"     // not checked yet, or the check itself failed
	Reachable    HostState = "reachable"   // it answered, a 401 included: that is the answer of registries to anonymous requests
	Limited      HostState = "limited"     // it answered 429 and is not checked again before NotBefore
	Unreachable  HostState = "unreachable" // the path to it, or the host itself, fails
)

// Known reports whether r is one of these states.
func (r HostState) Known() bool {
	return r == ReachUnknown || r == Reachable || r == Limited || r == Unreachable
}

// Bad reports whether pulls from a host in this state fail.
func (r HostState) Bad() bool { return r == Limited || r == Unreachable }

// Role is why a host is checked.
type Role string

const (
	RoleRegistry Role = "registry" // images of pods of this node name it
	RoleMirror   Role = "mirror"   // the runtime's hosts.toml names it
	RoleTarget   Role = "target"   // the configuration names it
	RoleControl  Role = "control"  // the control set names it
	RoleToken    Role = "token"    // a registry refers the runtime to it for tokens
	RoleBlob     Role = "blob"     // a registry refers the runtime to it for layers
	RoleAsked    Role = "asked"    // other nodes want a second opinion on it
)

// Registry is one host as the last sweep saw it.
type Registry struct {
	Host     string    `json:"host"`               // with its port, if that is not 443
	Roles    []Role    `json:"roles"`              //
	State    HostState `json:"state"`              //
	Since    time.Time `json:"since"`              // when it entered this state
	Checked  time.Time `json:"checked"`            // when it was last checked
	Flapping bool      `json:"flapping,omitempty"` // its state changes so often that single changes are not reported

	Fault   Fault  `json:"fault,omitempty"`   // who must act; of a host that is not reachable
	Cause   Cause  `json:"cause,omitempty"`   //
	Summary string `json:"summary,omitempty"` // one line: what is wrong, or a remark about a host that is reachable
	Because string `json:"because,omitempty"` // id of the check that failed
	Fix     string `json:"fix,omitempty"`     // on a node whose runtime's files are generated; see HowToFix

	Latency     Latency      `json:"latency,omitzero"`
	Status      int          `json:"status,omitempty"`      // HTTP status of GET /v2/
	Addresses   []string     `json:"addresses,omitempty"`   // that the runtime would connect to, in its order
	Used        string       `json:"used,omitempty"`        // the one that the runtime connects to
	Mirrors     []string     `json:"mirrors,omitempty"`     // of a registry: the hosts that the runtime tries, in order, if not this one alone
	HostsFile   string       `json:"hostsFile,omitempty"`   // of a registry: digest of its hosts.toml, or [None]
	Certificate *Certificate `json:"certificate,omitempty"` // of the address that the runtime would use
	ClockMs     *int64       `json:"clockMs,omitempty"`     // how far this node's clock is ahead of the host's, in milliseconds
	NotBefore   *time.Time   `json:"notBefore,omitempty"`   // of a host that is rate-limiting this node
}

// Latency is how long the phases of one check took; zero: the check did not come
// that far.
type Latency struct {
	DNS  Millis `json:"dnsMs"`
	Dial Millis `json:"dialMs"`
	TLS  Millis `json:"tlsMs"`
	HTTP Millis `json:"httpMs"`
}

// Certificate is the certificate that a host sends.
type Certificate struct {
	Issuer   string    `json:"issuer"`
	NotAfter time.Time `json:"notAfter"`
	DaysLeft int       `json:"daysLeft"` // when it was checked; negative: it has expired

	Fingerprint string `json:"fingerprint,omitempty"` // digest of the certificate
}

// Resolver is one of the node's resolvers, over all names of the sweep.
type Resolver struct {
	Address string  `json:"address"`
	Outcome Outcome `json:"outcome"` // fail: it answered no query
	Cause   Cause   `json:"cause,omitempty"`
	Latency Millis  `json:"latencyMs"` // the slowest of its answers
}

// Condition is a condition of the Node object, as the kubelet and the cloud's
// controllers set it.
type Condition struct {
	Type   string    `json:"type"`   // DiskPressure, NetworkUnavailable or Ready
	Status string    `json:"status"` // True, False or Unknown
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
}

// Has reports whether the sweep has this host.
func (s *Sweep) Has(host string) bool {
	return slices.ContainsFunc(s.Registries, func(r Registry) bool { return r.Host == host })
}

// Bad counts the registries from which pulls fail.
func (s *Sweep) Bad() int { return s.count(Limited) + s.count(Unreachable) }

// size returns how much a sweep takes in a report, in bytes of JSON and summary together.
func (s *Sweep) size() int {
	if s == nil {
		return 0
	}
	var table strings.Builder
	s.writeRegistries(&table, details[0], nothingExplains)
	return table.Len() + jsonSize(s)
}

// count counts the registries in a state.
func (s *Sweep) count(state HostState) int {
	n := 0
	if s != nil {
		for _, r := range s.Registries {
			if r.State == state && !r.ForOthers() {
				n++
			}
		}
	}
	return n
}

// SortRegistries sorts by state, the worst first, flapping before other reachable
// hosts, then by name.
func SortRegistries(list []Registry) {
	rank := func(r Registry) int {
		at := slices.Index([]HostState{Unreachable, Limited, ReachUnknown, Reachable}, r.State)
		if r.State == Reachable && !r.Flapping {
			at++
		}
		return at
	}
	slices.SortFunc(list, func(a, b Registry) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(a.Host, b.Host))
	})
}

// ForOthers reports whether the host is checked for other nodes only: this one does not
// depend on it.
func (r Registry) ForOthers() bool { return len(r.Roles) == 1 && r.Roles[0] == RoleAsked }

// Silent reports whether nothing came back from the host.
func (r Registry) Silent() bool { return r.State == Unreachable && r.Cause.BeforeTLS() }
