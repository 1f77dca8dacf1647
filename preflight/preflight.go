// Package preflight is what the parts of a preflight say to each other. A pod with the
// scheduling gate [Gate] asks whether the nodes where it may run could pull its images. The
// fleet answers with a [Plan], and the agent of each node that it chose with a [Result] for each
// image. Both are annotations of Events on the pod.
package preflight

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/report/redact"
)

const (
	// Gate is the scheduling gate of a pod that asks. Such a pod never runs and never pulls.
	Gate = "pullprobe.dev/preflight"
	// Label is on the pods that the plugin makes: they are removed when they are old. It has
	// no value.
	Label = "pullprobe.dev/preflight"
	// Annotation is on the Events, with a Plan or a Result as JSON.
	Annotation = "pullprobe.dev/preflight"

	ReasonPlanned = "PreflightPlanned" // reason of the Event with the plan
	ReasonChecked = "PreflightChecked" // reason of the Events with the results

	// FleetController and AgentController sign the Events (reportingController). The
	// reportingInstance of an agent's Event is its node.
	FleetController = "pullprobe.dev/fleet"
	AgentController = "pullprobe.dev/agent"
)

// Version of both.
const Version = 1

// The admission policies know these limits.
const (
	MaxPlan   = 8 << 10 // bytes of an encoded plan
	MaxResult = 4 << 10 // bytes of an encoded result
	MaxImages = 64      // images of one pod that are checked
	MaxKinds  = 12      // kinds of nodes that are checked
)

// Plan says which nodes check the images of a pod.
type Plan struct {
	Version      int        `json:"v"`
	Kinds        []Kind     `json:"kinds,omitempty"`        // those of most nodes first
	KindsOmitted int        `json:"kindsOmitted,omitempty"` // kinds left out
	Excluded     []Excluded `json:"excluded,omitempty"`     // nodes where the pod cannot run
}

// Kind is nodes of one architecture, node pool and zone where the pod may run.
type Kind struct {
	Arch  string `json:"arch,omitempty"` // empty: not known
	Pool  string `json:"pool,omitempty"` // empty: none
	Zone  string `json:"zone,omitempty"` // empty: none
	Nodes int    `json:"nodes"`          // how many there are
	Node  string `json:"node,omitempty"` // the one that checks; empty: no agent of these nodes reports
}

// String returns the kind for people: "amd64, pool gpu, zone a".
func (k Kind) String() string {
	text := cmp.Or(k.Arch, "architecture not known")
	if k.Pool != "" {
		text += ", pool " + k.Pool
	}
	if k.Zone != "" {
		text += ", zone " + k.Zone
	}
	return text
}

// Excluded is why the pod cannot run on some nodes.
type Excluded struct {
	Why   string `json:"why"`
	Nodes int    `json:"nodes"`
}

// Result is what one node found of one image.
type Result struct {
	Version int            `json:"v"`
	Image   string         `json:"image"`
	Places  []string       `json:"places"`         // containers, and image volumes as CONTAINER/VOLUME
	Index   int            `json:"n"`              // of this result, from 1
	Of      int            `json:"of"`             // results that the node gives for the pod
	Left    int            `json:"left,omitempty"` // images of the pod that are not checked: it has too many
	Verdict report.Verdict `json:"verdict"`
	Bytes   int64          `json:"bytes,omitempty"`   // compressed size; 0: not known
	Seconds int64          `json:"seconds,omitempty"` // that a pull takes at the rate of this node's test pulls; 0: not known
	Remarks []string       `json:"remarks,omitempty"`
}

// Healthy reports whether no fault was found, and every step was seen.
func (r Result) Healthy() bool { return r.Verdict.Fault == report.FaultNone }

// Faulty reports whether a fault was found.
func (r Result) Faulty() bool {
	return !r.Healthy() && r.Verdict.Cause != report.Undetermined && r.Verdict.Confidence != report.ConfidenceUndetermined
}

// Encode returns the plan as JSON. It drops the last kinds if there are too many.
func (p Plan) Encode() (string, error) {
	p.Version = Version
	for {
		body, err := json.Marshal(p)
		switch {
		case err != nil:
			return "", fmt.Errorf("plan: %w", err)
		case len(body) <= MaxPlan:
			return string(body), nil
		case len(p.Excluded) > 0:
			p.Excluded = p.Excluded[:len(p.Excluded)-1]
		case len(p.Kinds) > 0:
			p.Kinds, p.KindsOmitted = p.Kinds[:len(p.Kinds)-1], p.KindsOmitted+1
		default:
			return "", errors.New("the plan is too large")
		}
	}
}

// Encode returns the result as JSON. It cuts texts if it is too large, the least important first.
func (r Result) Encode() (string, error) {
	r.Version = Version
	v := &r.Verdict
	for {
		body, err := json.Marshal(r)
		switch {
		case err != nil:
			return "", fmt.Errorf("result: %w", err)
		case len(body) <= MaxResult:
			return string(body), nil
		case len(v.Because)+len(v.Also) > 0:
			v.Because, v.Also = nil, nil
		case len(v.WouldDecide) > 1:
			v.WouldDecide = v.WouldDecide[:len(v.WouldDecide)-1]
		case len(r.Places) > 4:
			r.Places = r.Places[:len(r.Places)-1]
		case len(r.Remarks) > 0:
			r.Remarks = r.Remarks[:len(r.Remarks)-1]
		case len(v.WouldDecide) > 0:
			v.WouldDecide = nil
		case len(v.Fix) > 0:
			v.Fix = "" // half a command is worse than none
		case len(v.Summary) > 300:
			v.Summary = readable.Truncate(v.Summary, 300)
		case len(r.Places) > 0:
			r.Places = r.Places[:len(r.Places)-1]
		default:
			return "", errors.New("the result is too large")
		}
	}
}

// DecodePlan reads a plan. Whoever may write Events in the pod's namespace may have written it:
// texts are cleaned.
func DecodePlan(s string) (Plan, error) {
	var p Plan
	if err := decode(s, &p, MaxPlan, func() int { return p.Version }); err != nil {
		return Plan{}, fmt.Errorf("plan: %w", err)
	}
	p.Kinds = p.Kinds[:min(len(p.Kinds), MaxKinds)]
	for i := range p.Kinds {
		k := &p.Kinds[i]
		for _, s := range []*string{&k.Arch, &k.Pool, &k.Zone, &k.Node} {
			*s = readable.Clean(*s, 253)
		}
		k.Nodes = max(k.Nodes, 0)
	}
	for i := range p.Excluded {
		p.Excluded[i].Why = readable.Clean(p.Excluded[i].Why, 400)
	}
	return p, nil
}

// DecodeResult reads a result, as [DecodePlan] a plan.
func DecodeResult(s string) (Result, error) {
	var r Result
	if err := decode(s, &r, MaxResult, func() int { return r.Version }); err != nil {
		return Result{}, fmt.Errorf("result: %w", err)
	}
	if r.Image == "" || r.Index < 1 || r.Of < r.Index || r.Of > MaxImages {
		return Result{}, errors.New("result: it does not say of which image, or of how many")
	}
	v := &r.Verdict
	if !v.Cause.Known() || !slices.Contains(faults, v.Fault) {
		v.Cause, v.Fault, v.Confidence = report.Undetermined, report.FaultUndetermined, report.ConfidenceUndetermined
	}
	r.Image, v.Summary, v.Fix = readable.Clean(r.Image, 512), readable.Clean(v.Summary, 1024), lines(v.Fix)
	v.Because, v.Also = nil, nil
	for _, list := range [][]string{r.Places, v.WouldDecide, r.Remarks} {
		for i := range list {
			list[i] = lines(list[i])
		}
	}
	r.Bytes, r.Seconds, r.Left = max(r.Bytes, 0), max(r.Seconds, 0), max(r.Left, 0)
	return r, nil
}

var faults = []report.Fault{report.FaultConfig, report.FaultNode, report.FaultRegistry, report.FaultNone, report.FaultUndetermined}

// lines returns a text of several lines without what does not belong into a terminal.
func lines(s string) string { return redact.New().Lines(s, MaxResult) }

// decode reads JSON of at most twice the size that is written, of the version that is known.
func decode(s string, into any, limit int, version func() int) error {
	if len(s) > 2*limit {
		return fmt.Errorf("%d bytes, more than the %d that are read", len(s), 2*limit)
	}
	if json.Unmarshal([]byte(s), into) != nil {
		return errors.New("not JSON of the expected form")
	}
	if version() != Version {
		return fmt.Errorf("version %d, this program reads %d: update the older of both", version(), Version)
	}
	return nil
}
