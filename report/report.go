// Package report holds what pullprobe says: the checks that probes bring, the
// verdict drawn from them, and the node report that carries both to people and
// scripts. It imports nothing but the standard library, so that saved evidence
// can be read, replayed and rendered anywhere.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Schema is the version of the JSON that [Node] marshals to.
const Schema = "pullprobe.dev/v1"

// Outcome says how a check ended. The zero value is [Unknown]: a check that
// nobody filled in counts neither as passed nor as failed.
type Outcome uint8

const (
	Unknown Outcome = iota // nothing is known
	Pass                   // looked, and found no fault
	Fail                   // looked, and found a fault
	Skipped                // did not look; Summary or BlockedBy says why
	Error                  // looked, but the check itself could not be carried out
)

var outcomeNames = [...]string{"unknown", "pass", "fail", "skipped", "error"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return outcomeNames[Unknown]
}

// MarshalText writes the outcome's lower-case name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText wrote; an unknown name is an error.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i, n := range outcomeNames {
		if n == string(b) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("unknown outcome %q", b)
}

// Kind is the rung of the ladder that a check belongs to.
type Kind string

const (
	KindReference   Kind = "reference"   // the image name
	KindPod         Kind = "pod"         // what the kubelet says of this pod
	KindCredentials Kind = "credentials" // which pull credentials apply, and from where
	KindRuntime     Kind = "runtime"     // socket, version, registry configuration
	KindDisk        Kind = "disk"        // the runtime's image file system
	KindClock       Kind = "clock"       // this node's clock against the registry's
	KindDNS         Kind = "dns"         // name resolution
	KindDial        Kind = "dial"        // TCP
	KindTLS         Kind = "tls"         // handshake and x509
	KindRegistry    Kind = "registry"    // GET /v2/
	KindToken       Kind = "token"       // the token service
	KindManifest    Kind = "manifest"    // HEAD of the manifest
	KindImage       Kind = "image"       // platform, size, what is already here
	KindBlob        Kind = "blob"        // one byte of a layer, from where the registry keeps it
	KindPull        Kind = "pull"        // the runtime's own test pull
	KindControl     Kind = "control"     // whether this node reaches other hosts
)

// Check is one thing that was looked at: facts, never opinions. The verdict is
// drawn from the list of checks by [Diagnose].
type Check struct {
	ID        string            `json:"id"`                  // unique in its diagnosis, e.g. "dial/registry.example/192.0.2.7:443"
	Kind      Kind              `json:"kind"`                //
	Host      string            `json:"host,omitempty"`      // the registry host (with port, if not 443) that the check is about
	Target    string            `json:"target,omitempty"`    // what exactly was asked: an address, a resolver, a path
	Outcome   Outcome           `json:"outcome"`             //
	Cause     Cause             `json:"cause,omitempty"`     // why it failed, from the closed catalogue
	Summary   string            `json:"summary"`             // one line for people
	Evidence  map[string]string `json:"evidence,omitempty"`  // bounded facts for machines; keys are documented in docs/report.md
	BlockedBy string            `json:"blockedBy,omitempty"` // id of the failed check that kept this one from running
	Duration  Millis            `json:"durationMs"`          // how long it took
}

// Millis is a duration that marshals as whole milliseconds.
type Millis time.Duration

// MarshalJSON writes whole milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%d", time.Duration(m).Milliseconds()), nil
}

// UnmarshalJSON reads whole milliseconds.
func (m *Millis) UnmarshalJSON(b []byte) error {
	var n int64
	if _, err := fmt.Sscanf(string(b), "%d", &n); err != nil {
		return fmt.Errorf("duration in milliseconds: %w", err)
	}
	*m = Millis(time.Duration(n) * time.Millisecond)
	return nil
}

// Confidence is how sure a verdict is; each word has a definition.
type Confidence string

const (
	// Confirmed: the runtime's own words and an independent check on its path
	// agree, or the input alone proves it.
	Confirmed Confidence = "confirmed"
	// Likely: one of them alone, or a check that gave up earlier than the
	// runtime would have.
	Likely Confidence = "likely"
	// Uncertain: neither, or they disagree and no rule settles it.
	Uncertain Confidence = "undetermined"
)

// Verdict is what the checks come to.
type Verdict struct {
	Fault       Fault      `json:"fault"`                 // who must act
	Cause       Cause      `json:"cause"`                 // the root cause, not its symptom
	Confidence  Confidence `json:"confidence"`            //
	Summary     string     `json:"summary"`               // one line: what is wrong, with the decisive evidence
	Fix         string     `json:"fix,omitempty"`         // one line: the command, field or host that mends it
	Because     []string   `json:"because,omitempty"`     // ids of the checks that decided it
	WouldDecide []string   `json:"wouldDecide,omitempty"` // what would settle what is still open
	Also        []Cause    `json:"also,omitempty"`        // further causes seen, off the path or hidden behind this one
}

// Diagnosis is the answer for one image, for the pod that waits for it if
// there is one. It is one element of what `pullprobe check -o json` prints and
// of the diagnoses in a node's report.
type Diagnosis struct {
	Image     string    `json:"image"`
	Node      string    `json:"node,omitempty"`
	Pod       string    `json:"pod,omitempty"`       // namespace/name
	UID       string    `json:"uid,omitempty"`       // the pod's UID
	Container string    `json:"container,omitempty"` // container or image volume that names the image
	Asked     string    `json:"asked,omitempty"`     // the value of the annotation that this answers; empty when nobody asked
	Time      time.Time `json:"time"`
	Verdict   Verdict   `json:"verdict"`
	Checks    []Check   `json:"checks"`
	Trimmed   bool      `json:"trimmed,omitempty"` // some checks were left out to keep the node's report within its bound
}

// Node is the report of one node: the value of `report.json` in its ConfigMap.
type Node struct {
	Schema    string      `json:"schema"`
	Node      string      `json:"node"`
	Agent     string      `json:"agent"`             // version of the agent that wrote it
	Time      time.Time   `json:"time"`              // when it was written
	Fault     Fault       `json:"fault"`             // the most severe fault among the diagnoses of stuck pods
	Cause     Cause       `json:"cause"`             // the cause that goes with Fault
	Stuck     int         `json:"stuck"`             // pods that wait for an image right now
	Runtime   Check       `json:"runtime"`           //
	Disk      Check       `json:"disk"`              //
	Sweep     *Sweep      `json:"sweep,omitempty"`   // absent until the first sweep has ended, and where sweeps are switched off
	Diagnoses []Diagnosis `json:"diagnoses"`         // newest first
	Omitted   int         `json:"omitted,omitempty"` // diagnoses left out to keep the report within its bound

	// Answered are questions that were answered and that no diagnosis here
	// shows as such, by the pod's UID: an agent that is started anew does not
	// answer them again.
	Answered map[string]string `json:"answered,omitempty"`
}

// MaxReport bounds what a ConfigMap carries of a report, in bytes: summary and
// JSON together.
const MaxReport = 64 << 10

// Bounded renders the report within a bound, in bytes. What does not fit gives
// way from the end of [Node.byWeight]: first the checks that did not decide,
// then all checks, at last whole diagnoses; Omitted says how many of those.
func (n Node) Bounded(limit int) (summary string, body []byte, err error) {
	size := func() (over int) {
		if body, err = json.Marshal(n); err != nil {
			return 0
		}
		summary = n.Summary()
		return len(summary) + len(body) - limit
	}
	if n.Diagnoses == nil {
		n.Diagnoses = []Diagnosis{} // an array in JSON, never null
	}
	n.Sweep = n.Sweep.bounded(limit)
	over := size()
	if over <= 0 {
		return summary, body, err
	}
	n.Diagnoses = slices.Clone(n.Diagnoses)
	light := n.byWeight()
	slices.Reverse(light)
	for _, shrink := range []func(*Diagnosis){(*Diagnosis).keepDecisive, (*Diagnosis).keepVerdict} {
		for _, i := range light {
			if over <= 0 {
				break
			}
			before := n.Diagnoses[i].size()
			shrink(&n.Diagnoses[i])
			over -= before - n.Diagnoses[i].size()
		}
	}
	for over = size(); over > 0 && err == nil && len(n.Diagnoses) > 0; over = size() {
		light := n.byWeight()
		// Drop about as many as are over, so that a huge report takes few rounds.
		drop := max(1, len(light)*over/(len(summary)+len(body)))
		gone := light[len(light)-drop:]
		kept := n.Diagnoses[:0:0]
		for i, d := range n.Diagnoses {
			if !slices.Contains(gone, i) {
				kept = append(kept, d)
			}
		}
		n.Diagnoses, n.Omitted = kept, n.Omitted+drop
	}
	return summary, body, err
}

// byWeight lists the diagnoses' indices, the most severe fault first and of
// those the newest.
func (n Node) byWeight() []int {
	order := make([]int, len(n.Diagnoses))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := n.Diagnoses[a], n.Diagnoses[b]
		return cmp.Or(severity[y.Verdict.Fault]-severity[x.Verdict.Fault], y.Time.Compare(x.Time))
	})
	return order
}

func (d Diagnosis) size() int { return jsonSize(d) }
func (r Registry) size() int  { return jsonSize(r) }

func jsonSize(v any) int {
	b, _ := json.Marshal(v)
	return len(b)
}

// keepDecisive drops the checks that neither decided nor failed.
func (d *Diagnosis) keepDecisive() {
	kept := slices.DeleteFunc(slices.Clone(d.Checks), func(c Check) bool {
		return c.Outcome != Fail && !slices.Contains(d.Verdict.Because, c.ID)
	})
	d.Trimmed = d.Trimmed || len(kept) < len(d.Checks)
	d.Checks = kept
}

// keepVerdict drops all checks.
func (d *Diagnosis) keepVerdict() {
	d.Trimmed = d.Trimmed || len(d.Checks) > 0
	d.Checks = []Check{}
}
