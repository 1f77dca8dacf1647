package publish

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

const appName = "pullprobe"

// ReportKey is the key of the ConfigMap's data that scripts read.
const ReportKey = "report.json"

// Render returns the ConfigMap of a report, and of the node's facts.
func Render(n report.NodeReport, f nodefacts.Facts, namespace string, uid types.UID, ascii bool) (kube.ConfigMap, error) {
	facts, err := f.Encode()
	if err != nil {
		return kube.ConfigMap{}, err
	}
	summary, body, err := n.Bounded(report.MaxReport)
	if err != nil {
		return kube.ConfigMap{}, err
	}
	if ascii {
		summary = toASCII(summary)
	}
	cm := kube.ConfigMap{
		Name: report.ConfigMapName(n.Node, string(uid)), Namespace: namespace, Node: n.Node, NodeUID: uid,
		Labels: map[string]string{
			report.LabelReport:             "",
			report.LabelFault:              string(n.Fault),
			report.LabelCause:              string(n.Cause),
			report.LabelStuck:              strconv.Itoa(n.Stuck),
			report.LabelUnreachable:        strconv.Itoa(n.Sweep.Bad()),
			report.LabelChecked:            n.Time.UTC().Format(report.TimeLayout),
			"app.kubernetes.io/name":       appName,
			"app.kubernetes.io/managed-by": appName,
		},
		Annotations: map[string]string{nodefacts.Annotation: facts},
		Data:        map[string]string{report.SummaryKey: summary, ReportKey: string(body)},
	}
	if since := n.Since(); !since.IsZero() {
		cm.Labels[report.LabelSince] = since.UTC().Format(report.TimeLayout)
	}
	for _, f := range []report.Fault{report.FaultNode, report.FaultRegistry, report.FaultConfig, report.FaultUndetermined} {
		cm.Labels[report.LabelDomain+string(f)] = strconv.Itoa(n.Faults.Of(f))
	}
	return cm, nil
}

// factsOf returns what a node says to the others. What it says of a host counts until it
// would have been written again: a change is written at once, so what was so at the last
// sweep is still so, as long as the agent lives. That is known for a heartbeat.
func factsOf(n report.NodeReport, s config.Settings) nodefacts.Facts {
	n.Sweep = n.Sweep.Redacted()
	f := nodefacts.Of(n)
	// Sweeps are spread by a tenth of their interval, and a write may take a while.
	f.Fresh = int(((s.Heartbeat + s.SweepInterval) * 11 / 10).Seconds())
	return f
}

// key is equal for reports that differ only in times and figures. Those are updated with the
// next change or heartbeat.
type key struct {
	urgent string // the pods, the runtime and the disk
	calm   string // what a sweep finds, and the node's facts
	late   string // what follows from that and from other nodes: who must act
}

// changeKey returns the key of a report and of the node's facts.
func changeKey(n report.NodeReport, f nodefacts.Facts) key {
	return key{urgent: podsKey(n), calm: sweepKey(n, f), late: faultsKey(n)}
}

func faultsKey(n report.NodeReport) string {
	var b strings.Builder
	fmt.Fprintln(&b, n.Fault, n.Cause)
	if n.Sweep != nil {
		for _, r := range n.Sweep.Registries {
			fmt.Fprintln(&b, r.Fault)
		}
	}
	return b.String()
}

func sweepKey(n report.NodeReport, f nodefacts.Facts) string {
	var b strings.Builder
	b.WriteString(f.StateKey())
	line := func(fields ...any) { fmt.Fprintf(&b, "%q\n", fields) }
	line(n.Omitted)
	if s := n.Sweep; s != nil {
		line(s.Control.Outcome, s.Control.Cause, s.Clock.Outcome, s.Clock.Cause)
		for _, r := range s.Registries {
			line(r.Host, r.Roles, r.State, r.Cause, r.Flapping)
		}
		for _, r := range s.Resolvers {
			line(r.Address, r.Outcome, r.Cause)
		}
		for _, c := range s.Runtime {
			line(c.ID, c.Outcome, c.Cause, c.Evidence[report.KeyFiles])
		}
		for _, c := range s.Conditions {
			line(c.Type, c.Status)
		}
	}
	return b.String()
}

func podsKey(n report.NodeReport) string {
	var b strings.Builder
	line := func(fields ...any) { fmt.Fprintf(&b, "%q\n", fields) }
	line(n.Stuck, n.Faults, n.Runtime.Outcome, n.Runtime.Cause, n.Disk.Outcome, n.Disk.Cause, n.Disk.Evidence[report.KeyFullSoon])
	for _, x := range n.Incidents {
		line(x.Image, x.Ended)
	}
	for _, uid := range slices.Sorted(maps.Keys(n.Answered)) {
		line(uid, n.Answered[uid])
	}
	var diagnoses []string
	for _, d := range n.Diagnoses {
		checks := []string{}
		for _, c := range d.Checks {
			what := string(c.Kind) + " " + c.Outcome.String() + " " + string(c.Cause) + " " + c.Evidence[report.KeyAhead] + othersSay(c)
			if !slices.Contains(checks, what) {
				checks = append(checks, what)
			}
		}
		slices.Sort(checks)
		v := d.Verdict
		key := []any{d.Refs(), d.Image, v.Fault, v.Cause, v.Confidence, v.Also, checks}
		if d.Pods != nil {
			key = append(key, d.Pods.Count, d.Pods.Since, len(d.Pods.Owners))
		}
		diagnoses = append(diagnoses, fmt.Sprintf("%q", key))
	}
	slices.Sort(diagnoses) // their order is that of their times
	for _, d := range diagnoses {
		line(d)
	}
	return b.String()
}

// othersSay returns what other nodes say of a host or an image, as far as a reader needs to
// know at once: in a large cluster the numbers change all the time.
func othersSay(c report.Check) string {
	if c.Kind != report.KindElsewhere {
		return ""
	}
	e, out := c.Evidence, ""
	for _, key := range []string{report.KeyReached, report.KeyFailed} {
		switch e[key] {
		case "", "0", "1":
			out += " " + e[key]
		default:
			out += " several"
		}
	}
	for _, key := range []string{report.KeyRivals, report.KeySeesAnother, report.KeySetsApart, report.KeyFoundAt, report.KeyAround} {
		out += " " + e[key]
	}
	return out
}

// toASCII returns the text with a question mark for every character outside ASCII,
// for terminals that show nothing else.
func toASCII(text string) string {
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, text)
}
