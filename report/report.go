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
	"sort"
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
	KindElsewhere   Kind = "elsewhere"   // what other nodes see of a host
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
	Shared    bool              `json:"shared,omitempty"`    // only the id is here; [NodeReport.Checks] has the check
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

// Diagnosis is the result for one image, and for the pods that wait for it if there
// are any. It is one element of the output of `pullprobe check -o json` and of the
// diagnoses in a node's report.
type Diagnosis struct {
	Image     string        `json:"image"`
	Node      string        `json:"node,omitempty"`      // absent in a report: the node is that of the report
	Pod       string        `json:"pod,omitempty"`       // namespace/name; of several pods the one that fix and checks name
	UID       string        `json:"uid,omitempty"`       // the pod's UID
	Container string        `json:"container,omitempty"` // that names the image
	Volume    string        `json:"volume,omitempty"`    // the image volume of the container that names it; empty: the container itself
	Pull      *PullEstimate `json:"pull,omitempty"`      // absent if the size or the rate is not known
	Pods      *Pods         `json:"pods,omitempty"`      // all pods with this diagnosis; absent without a pod
	Asked     string        `json:"asked,omitempty"`     // the value of the annotation that requested it; empty if there was none
	Time      time.Time     `json:"time"`
	Announced time.Time     `json:"announced,omitzero"` // when an Event on the pod said so first
	Verdict   Verdict       `json:"verdict"`
	Checks    []Check       `json:"checks"`
	Trimmed   bool          `json:"trimmed,omitempty"` // some checks were left out to keep the report within its limit
}

// NodeReport is the report of one node: the value of `report.json` in its ConfigMap.
type NodeReport struct {
	Schema    string      `json:"schema"`
	Node      string      `json:"node"`
	Agent     string      `json:"agent"`               // version of the agent that wrote it
	Time      time.Time   `json:"time"`                // when it was written
	Fault     Fault       `json:"fault"`               // the most severe fault among the diagnoses of stuck pods
	Cause     Cause       `json:"cause"`               // the cause that goes with Fault
	Stuck     int         `json:"stuck"`               // pods that wait for an image right now
	Faults    FaultCounts `json:"faults"`              // of these pods, how many each must act on
	Runtime   Check       `json:"runtime"`             //
	Disk      Check       `json:"disk"`                //
	Sweep     *Sweep      `json:"sweep,omitempty"`     // absent until the first sweep has ended, and where sweeps are switched off
	Checks    []Check     `json:"checks,omitempty"`    // that several diagnoses have
	Diagnoses []Diagnosis `json:"diagnoses"`           // newest first
	Omitted   int         `json:"omitted,omitempty"`   // diagnoses left out to keep the report within its limit
	Incidents []Incident  `json:"incidents,omitempty"` // verdicts that have ended, the last one first

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

// Limits of a report in a ConfigMap, in bytes: summary and JSON together.
const (
	MaxReport = 64 << 10 // never exceeded
	// Above so much for up to ten diagnoses, and as much for each further ten, evidence is
	// left out.
	perTenDiagnoses = 16 << 10
	// So much of a sweep is in that limit: ten registries that are reachable.
	sweepOfTen = 4 << 10
)

// Bounded renders the report within a limit, in bytes. It has each check once. Above 16 KiB for ten diagnoses
// the lightest ones lose the checks that passed and did not decide, then the evidence of the others, then all checks, and
// then the summary is shortened; that of a few only above the limit. Above it whole diagnoses go; Omitted counts those.
func (n NodeReport) Bounded(limit int) (summary string, body []byte, err error) {
	if n.Diagnoses == nil {
		n.Diagnoses = []Diagnosis{} // an array in JSON, never null
	}
	n.Sweep = n.Sweep.fit(limit)
	level := 0
	target := min(limit, max(perTenDiagnoses, perTenDiagnoses*len(n.Diagnoses)/10)+max(0, n.Sweep.size()-sweepOfTen))
	render := func(n NodeReport) bool {
		summary, body, err = n.render(details[level])
		return err != nil || len(summary)+len(body) <= target
	}
	if render(n) {
		return summary, body, err
	}
	for i, shrink := range []func(*Diagnosis){(*Diagnosis).keepDecisive, (*Diagnosis).keepSentences, (*Diagnosis).keepVerdict} {
		if i == 1 {
			if n, level = n.brief(), 1; render(n) {
				return summary, body, err
			}
		}
		if i == 2 && len(n.Diagnoses) <= maxFull { // small enough: its summary stays, with what checks say
			target = limit
		}
		// The smallest number of diagnoses to shrink.
		n = n.shrunk(sort.Search(len(n.Diagnoses)-len(n.askedLast()), func(many int) bool { return render(n.shrunk(many, shrink)) }), shrink)
		if render(n) {
			return summary, body, err
		}
	}
	for _, shrink := range []func(*Diagnosis){(*Diagnosis).keepDecisive, (*Diagnosis).keepSentences} {
		last := min(1, len(n.askedLast())) // keeps its checks
		if n = n.shrunk(len(n.Diagnoses)-last, shrink); render(n) {
			return summary, body, err
		}
	}
	for level = 1; level < len(details); level++ {
		if level == withoutFixes {
			level--
			withoutQuestions := func(many int) bool { return render(n.shrunk(many, (*Diagnosis).keepFix)) }
			n = n.shrunk(sort.Search(len(n.Diagnoses), withoutQuestions), (*Diagnosis).keepFix)
			if render(n) {
				return summary, body, err
			}
			level++
		}
		if render(n) {
			return summary, body, err
		}
	}
	level--
	render(n)
	for _, shrink := range []func(*Diagnosis){(*Diagnosis).keepNamedPods, (*Diagnosis).keepVerdict} {
		if len(summary)+len(body) > limit {
			n = n.shrunk(len(n.Diagnoses), shrink)
			render(n)
		}
	}
	for err == nil && len(n.Diagnoses) > 0 && len(summary)+len(body) > limit {
		// Drop about as large a part as is over, so that a huge report takes few rounds.
		size := len(summary) + len(body)
		n.dropDiagnoses(max(1, len(n.Diagnoses)*(size-limit)/size))
		render(n)
	}
	return summary, body, err
}

// render returns the report with each check once.
func (n NodeReport) render(level detail) (summary string, body []byte, err error) {
	summary = n.summary(level)
	n.share()
	body, err = json.Marshal(n)
	return summary, body, err
}

// keptForUsers is how many diagnoses keep their evidence longest because users asked about
// them last.
const keptForUsers = 2

// askedLast returns the indices of the diagnoses that users asked about last, the last first.
func (n NodeReport) askedLast() []int {
	asked := slices.DeleteFunc(n.byWeight(), func(i int) bool { return n.Diagnoses[i].Asked == "" })
	slices.SortStableFunc(asked, func(a, b int) int { return n.Diagnoses[b].Time.Compare(n.Diagnoses[a].Time) })
	return asked[:min(len(asked), keptForUsers)]
}

// shrunk returns the report with this many of its diagnoses shrunk: the lightest ones, and
// those that users asked about last, last.
func (n NodeReport) shrunk(many int, shrink func(*Diagnosis)) NodeReport {
	asked := n.askedLast()
	light := append(asked, slices.DeleteFunc(n.byWeight(), func(i int) bool { return slices.Contains(asked, i) })...)
	slices.Reverse(light)
	n.Diagnoses = slices.Clone(n.Diagnoses)
	for _, i := range light[:many] {
		shrink(&n.Diagnoses[i])
	}
	return n
}

// brief returns the report without what is of least use: what else would settle an open
// question, names of other pods, and how reachable registries were reached.
func (n NodeReport) brief() NodeReport {
	n.Diagnoses = slices.Clone(n.Diagnoses)
	for i := range n.Diagnoses {
		d := &n.Diagnoses[i]
		open := d.Verdict.ToConfirm() // the fix has the others
		d.Verdict.WouldDecide = open[:min(1, len(open))]
		if d.Pods != nil {
			d.Pods = d.Pods.brief()
		}
	}
	if n.Sweep != nil {
		s := *n.Sweep
		s.Registries = slices.Clone(s.Registries)
		for i, r := range s.Registries {
			if r.plain() {
				s.Registries[i].Addresses, s.Registries[i].Latency = nil, Latency{}
			}
		}
		n.Sweep = &s
	}
	return n
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

// byWeight returns the indices of the diagnoses: the most severe fault first, of these
// that of most pods, then the newest.
func (n NodeReport) byWeight() []int {
	order := make([]int, len(n.Diagnoses))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := n.Diagnoses[a], n.Diagnoses[b]
		return cmp.Or(severity[y.Verdict.Fault]-severity[x.Verdict.Fault], cmp.Compare(x.Verdict.Who(), y.Verdict.Who()),
			y.podCount()-x.podCount(), y.Time.Compare(x.Time))
	})
	return order
}

// podCount returns how many pods have the diagnosis.
func (d Diagnosis) podCount() int {
	switch {
	case d.Pods != nil:
		return d.Pods.Count
	case d.Pod != "":
		return 1
	}
	return 0
}

func (r Registry) size() int { return jsonSize(r) }

func jsonSize(v any) int {
	b, _ := json.Marshal(v)
	return len(b)
}

// keepDecisive drops the checks that passed and did not decide, except those of the image's
// name and of the pod, and with which credentials a registry gave its answer; and those that
// another check blocked.
func (d *Diagnosis) keepDecisive() {
	kept := slices.DeleteFunc(slices.Clone(d.Checks), func(c Check) bool {
		kept := c.Kind == KindReference || c.Kind == KindPod ||
			c.Kind == KindCredentials && (d.Verdict.Cause.Stage() == StageAnswer || d.Verdict.Fault == FaultNone)
		return (c.Outcome == Pass || c.BlockedBy != "") && !slices.Contains(d.Verdict.Because, c.ID) && !kept
	})
	d.Trimmed = d.Trimmed || len(kept) < len(d.Checks)
	d.Checks = kept
}

// keepSentences drops the evidence of the checks.
func (d *Diagnosis) keepSentences() {
	d.Checks = slices.Clone(d.Checks)
	for i := range d.Checks {
		d.Trimmed = d.Trimmed || d.Checks[i].Evidence != nil
		d.Checks[i].Evidence = nil
	}
}

// keepFix drops the kubelet's next pull, and what would settle an open question, where who
// must act is known all the same.
func (d *Diagnosis) keepFix() {
	if d.Pods != nil {
		brief := *d.Pods
		brief.NextTry = time.Time{}
		d.Pods = &brief
	}
	if d.Verdict.Fault != FaultUndetermined {
		d.Verdict.WouldDecide = nil
	}
}

// keepVerdict drops all checks.
func (d *Diagnosis) keepVerdict() {
	d.Trimmed = d.Trimmed || len(d.Checks) > 0
	d.Checks = []Check{}
}
