package compare

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Schema is the version of the JSON that [Result] marshals to.
const Schema = "pullprobe.dev/fleet/v1"

// What a [Finding] is about.
const (
	AboutHost  = "host"
	AboutImage = "image"
	AboutNode  = "node"
)

// Limits of a result.
const (
	maxFindings  = 50
	maxTallies   = 200
	maxNames     = 10 // node names in one list
	maxShares    = 5  // rows of the table of shares
	maxApart     = 8
	maxQuestions = 3
	maxText      = 300 // bytes of a summary
)

// Result is what the reports of all nodes show together.
type Result struct {
	Schema       string    `json:"schema"`
	Time         time.Time `json:"time"`         // by which observations were old or fresh
	Nodes        int       `json:"nodes"`        // that exist
	Silent       Names     `json:"silent"`       // that have no report, or one that cannot be read
	Hosts        []Tally   `json:"hosts"`        // those at which most nodes fail first
	Findings     []Finding `json:"findings"`     // those of most nodes first, and of these the most severe
	Omitted      int       `json:"omitted"`      // findings left out
	HostsOmitted int       `json:"hostsOmitted"` // hosts left out
}

// Tally counts the nodes that checked a host.
type Tally struct {
	Host    string `json:"host"`
	Through int    `json:"through"` // get through
	Failing int    `json:"failing"` // do not
	Other   int    `json:"other"`   // have an observation that does not count
}

// Finding is one thing that the nodes show together.
type Finding struct {
	Rule        string            `json:"rule"`          // id of the rule that decided
	About       string            `json:"about"`         // host, image or node
	Name        string            `json:"name"`          // of the host or image; of the first node
	Also        Names             `json:"also,omitzero"` // further hosts or images of which the same is so, of the same nodes
	Fault       report.Fault      `json:"fault"`
	Cause       report.Cause      `json:"cause"`
	Confidence  report.Confidence `json:"confidence"`
	Summary     string            `json:"summary"`               // one line
	Since       time.Time         `json:"since,omitzero"`        // when the first of them began to fail, by the nodes
	Failing     Names             `json:"failing"`               // nodes
	How         []Count           `json:"how"`                   // with what they fail, the most frequent first
	Through     Names             `json:"through"`               // nodes that get through
	Neither     []Aside           `json:"neither,omitempty"`     // nodes on neither side, and why
	SetsApart   []Share           `json:"setsApart,omitempty"`   // traits that all failing nodes have, and no other node that checked
	Shares      []Share           `json:"shares,omitempty"`      // if nothing sets them apart: the traits in which they differ most
	Rivals      []string          `json:"rivals,omitempty"`      // what else would seem the same
	WouldDecide []string          `json:"wouldDecide,omitempty"` // what would settle what is open
}

// Names are some nodes, hosts or images: how many, and the first of them.
type Names struct {
	Count int      `json:"count"`
	First []string `json:"first,omitempty"`
}

// Count says how many nodes fail with a cause.
type Count struct {
	Cause report.Cause `json:"cause"`
	Nodes int          `json:"nodes"`
}

// Aside are nodes on neither side of a finding, and why: most of them have an observation that does
// not count.
type Aside struct {
	Rule string `json:"rule"`
	Why  string `json:"why"`
	Names
}

// Share says how many nodes have a trait, on either side.
type Share struct {
	Trait     string `json:"trait"`
	Value     string `json:"value"`
	Failing   int    `json:"failing"`
	OfFailing int    `json:"ofFailing"`
	Others    int    `json:"others"`
	OfOthers  int    `json:"ofOthers"`
	Unknown   int    `json:"unknown,omitempty"` // of all of them, those of which it is not known
}

// namesOf returns the names of nodes, sorted and bounded.
func namesOf(list []*observation) Names {
	var names []string
	for _, o := range list {
		names = append(names, o.node.Name)
	}
	return someOf(names)
}

func someOf(names []string) Names {
	slices.Sort(names)
	names = slices.Compact(names)
	return Names{Count: len(names), First: slices.Clone(names[:min(len(names), maxNames)])}
}

// causesOf counts the causes, the most frequent first.
func causesOf(list []*observation) []Count {
	var out []Count
	for _, o := range list {
		i := slices.IndexFunc(out, func(c Count) bool { return c.Cause == o.cause })
		if i < 0 {
			i, out = len(out), append(out, Count{Cause: o.cause})
		}
		out[i].Nodes++
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(b.Nodes-a.Nodes, strings.Compare(string(a.Cause), string(b.Cause)))
	})
	return out
}

// sortFindings puts what most nodes fail with first, and of these the most severe, in an
// order that does not depend on that of the input. So a node that lies about many hosts does
// not crowd out what many nodes see.
func sortFindings(list []draft) {
	sure := []report.Confidence{report.Confirmed, report.Likely, report.ConfidenceUndetermined}
	slices.SortStableFunc(list, func(a, b draft) int {
		switch {
		case a.Failing.Count != b.Failing.Count:
			return b.Failing.Count - a.Failing.Count
		case report.Worse(a.Fault, b.Fault):
			return -1
		case report.Worse(b.Fault, a.Fault):
			return 1
		}
		return cmp.Or(
			slices.Index(sure, a.Confidence)-slices.Index(sure, b.Confidence),
			strings.Compare(a.About, b.About), strings.Compare(a.Name, b.Name),
			strings.Compare(string(a.Cause), string(b.Cause)), strings.Compare(a.Rule, b.Rule),
		)
	})
}

// clean returns foreign text as a short line.
func clean(s string) string { return readable.Clean(s, 120) }
