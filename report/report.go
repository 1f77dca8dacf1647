// Package report is the model of pullprobe: the checks that probes make, the
// verdict drawn from them, the catalogue of causes, and the node report that
// carries them to people and scripts. It imports nothing but the standard library,
// so that saved evidence can be read and rendered anywhere. Package diagnosis draws
// the verdict.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Schema is the version of the JSON that [NodeReport] marshals to.
const Schema = "pullprobe.dev/v1"

// Outcome is how a check ended. The zero value is [Unknown]: a check without a
// result counts neither as passed nor as failed.
type Outcome uint8

const (
	Unknown Outcome = iota // nothing is known
	Pass                   // made, and found no fault
	Fail                   // made, and found a fault
	Skipped                // not made; Summary or BlockedBy has the reason
	Error                  // the check itself failed, so it found nothing
)

var outcomeNames = [...]string{"unknown", "pass", "fail", "skipped", "error"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return outcomeNames[Unknown]
}

// MarshalText returns the outcome's lower-case name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the name that MarshalText wrote; another is an error.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i, n := range outcomeNames {
		if n == string(b) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("unknown outcome %q", b)
}

// Kind is the step of a pull that a check belongs to.
type Kind string

const (
	KindReference   Kind = "reference"   // the image name
	KindPod         Kind = "pod"         // what the kubelet reports about this pod
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

// Check is the result of one check: facts, never opinions. Package diagnosis draws the
// verdict from a list of checks.
type Check struct {
	ID        string            `json:"id"`                  // unique in its diagnosis, e.g. "dial/registry.example/192.0.2.7:443"
	Kind      Kind              `json:"kind"`                //
	Host      string            `json:"host,omitempty"`      // the registry host (with port, if not 443) that the check is about
	Target    string            `json:"target,omitempty"`    // what exactly was checked: an address, a resolver, a path
	Outcome   Outcome           `json:"outcome"`             //
	Cause     Cause             `json:"cause,omitempty"`     // why it failed, from the closed catalogue
	Summary   string            `json:"summary"`             // one line for people
	Evidence  map[string]string `json:"evidence,omitempty"`  // bounded facts for machines, by the Key constants
	BlockedBy string            `json:"blockedBy,omitempty"` // id of the failed check that kept this one from running
	Duration  Millis            `json:"durationMs"`          // how long it took
}

// Millis is a duration that marshals as whole milliseconds.
type Millis time.Duration

// MarshalJSON returns whole milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, time.Duration(m).Milliseconds(), 10), nil
}

// UnmarshalJSON reads whole milliseconds.
func (m *Millis) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return fmt.Errorf("duration in milliseconds: %w", err)
	}
	*m = Millis(time.Duration(n) * time.Millisecond)
	return nil
}

// Confidence is how certain a verdict is.
type Confidence string

const (
	// Confirmed: the runtime's message and an independent check on its path agree,
	// or the input alone proves the verdict.
	Confirmed Confidence = "confirmed"
	// Likely: only one of them supports it, or a check timed out earlier than the
	// runtime would have.
	Likely Confidence = "likely"
	// ConfidenceUndetermined: neither supports a cause, or they disagree and no rule settles it.
	ConfidenceUndetermined Confidence = "undetermined"
)

// Verdict is the conclusion from a list of checks.
type Verdict struct {
	Fault       Fault      `json:"fault"`                 // who must act
	Cause       Cause      `json:"cause"`                 // the root cause, not its symptom
	Confidence  Confidence `json:"confidence"`            //
	Summary     string     `json:"summary"`               // one line: what is wrong, with the decisive evidence
	Fix         string     `json:"fix,omitempty"`         // what fixes it; a command has a line of its own
	Because     []string   `json:"because,omitempty"`     // ids of the checks that decided it
	WouldDecide []string   `json:"wouldDecide,omitempty"` // what would settle what is still open
	Also        []Cause    `json:"also,omitempty"`        // other causes found, off the path or behind this one
}

// Diagnosis is the result for one image, and for the pod that waits for it if
// there is one. It is one element of the output of `pullprobe check -o json` and
// of the diagnoses in a node's report.
type Diagnosis struct {
	Image     string    `json:"image"`
	Node      string    `json:"node,omitempty"`
	Pod       string    `json:"pod,omitempty"`       // namespace/name
	UID       string    `json:"uid,omitempty"`       // the pod's UID
	Container string    `json:"container,omitempty"` // that names the image
	Volume    string    `json:"volume,omitempty"`    // the image volume of the container that names it; empty: the container itself
	Asked     string    `json:"asked,omitempty"`     // the value of the annotation that requested it; empty if there was none
	Time      time.Time `json:"time"`
	Announced time.Time `json:"announced,omitzero"` // when an Event on the pod said so first
	Verdict   Verdict   `json:"verdict"`
	Checks    []Check   `json:"checks"`
	Trimmed   bool      `json:"trimmed,omitempty"` // some checks were left out to keep the report within its limit
}

// NodeReport is the report of one node: the value of `report.json` in its ConfigMap.
type NodeReport struct {
	Schema    string      `json:"schema"`
	Node      string      `json:"node"`
	Agent     string      `json:"agent"`             // version of the agent that wrote it
	Time      time.Time   `json:"time"`              // when it was written
	Fault     Fault       `json:"fault"`             // the most severe fault among the diagnoses of stuck pods
	Cause     Cause       `json:"cause"`             // the cause that goes with Fault
	Stuck     int         `json:"stuck"`             // pods that wait for an image right now
	Faults    FaultCounts `json:"faults"`            // of these pods, how many each must act on
	Runtime   Check       `json:"runtime"`           //
	Disk      Check       `json:"disk"`              //
	Sweep     *Sweep      `json:"sweep,omitempty"`   // absent until the first sweep has ended, and where sweeps are switched off
	Diagnoses []Diagnosis `json:"diagnoses"`         // newest first
	Omitted   int         `json:"omitted,omitempty"` // diagnoses left out to keep the report within its limit

	// Answered has requests that were answered and are not in Asked of a diagnosis
	// here, by the pod's UID: a restarted agent does not answer them again.
	Answered map[string]string `json:"answered,omitempty"`
}

// FaultCounts says how many stuck pods each must act on. A pod counts once, for the most
// severe of its faults.
type FaultCounts struct {
	Node         int `json:"node-infrastructure"`
	Registry     int `json:"registry"`
	Config       int `json:"cluster-config"`
	Undetermined int `json:"undetermined"` // not known yet, or not checked yet
}

// Of returns the count of one fault; of "none" it is 0.
func (c FaultCounts) Of(f Fault) int {
	switch f {
	case FaultNode:
		return c.Node
	case FaultRegistry:
		return c.Registry
	case FaultConfig:
		return c.Config
	case FaultUndetermined:
		return c.Undetermined
	default:
		return 0
	}
}

// Add counts a pod.
func (c *FaultCounts) Add(f Fault) {
	switch f {
	case FaultNode:
		c.Node++
	case FaultRegistry:
		c.Registry++
	case FaultConfig:
		c.Config++
	case FaultUndetermined:
		c.Undetermined++
	default:
	}
}

// MaxReport is the largest size of a report in a ConfigMap, in bytes: summary and
// JSON together.
const MaxReport = 64 << 10

// Bounded renders the report within a limit, in bytes. If it is too large, it
// shrinks from the end of [Node.byWeight]: first it loses the checks that did not
// decide, then all checks, at last whole diagnoses; Omitted counts those.
func (n NodeReport) Bounded(limit int) (summary string, body []byte, err error) {
	if n.Diagnoses == nil {
		n.Diagnoses = []Diagnosis{} // an array in JSON, never null
	}
	n.Sweep = n.Sweep.bounded(limit)
	summary, body, err = n.render()
	if over := len(summary) + len(body) - limit; over > 0 && err == nil {
		n.Diagnoses = slices.Clone(n.Diagnoses)
		n.dropChecks(over)
		summary, body, err = n.render()
	}
	for err == nil && len(n.Diagnoses) > 0 {
		size := len(summary) + len(body)
		if size <= limit {
			break
		}
		// Drop about as large a part as is over, so that a huge report takes few rounds.
		n.dropDiagnoses(max(1, len(n.Diagnoses)*(size-limit)/size))
		summary, body, err = n.render()
	}
	return summary, body, err
}

func (n NodeReport) render() (summary string, body []byte, err error) {
	if body, err = json.Marshal(n); err != nil {
		return "", nil, err
	}
	return n.Summary(), body, nil
}

// dropChecks drops checks of the lightest diagnoses until about so many bytes are
// saved.
func (n *NodeReport) dropChecks(over int) {
	light := n.byWeight()
	slices.Reverse(light)
	for _, shrink := range []func(*Diagnosis){(*Diagnosis).keepDecisive, (*Diagnosis).keepVerdict} {
		for _, i := range light {
			if over <= 0 {
				return
			}
			before := n.Diagnoses[i].size()
			shrink(&n.Diagnoses[i])
			over -= before - n.Diagnoses[i].size()
		}
	}
}

// dropDiagnoses drops this many of the lightest diagnoses.
func (n *NodeReport) dropDiagnoses(many int) {
	order := n.byWeight()
	dropped := order[len(order)-many:]
	kept := n.Diagnoses[:0:0]
	for i, d := range n.Diagnoses {
		if !slices.Contains(dropped, i) {
			kept = append(kept, d)
		}
	}
	n.Diagnoses, n.Omitted = kept, n.Omitted+many
}

// byWeight returns the indices of the diagnoses, the most severe fault first and
// of those the newest.
func (n NodeReport) byWeight() []int {
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
