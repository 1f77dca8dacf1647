package fleet

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Name is the name of the fleet's ConfigMap, of its Lease and of its program.
const Name = report.FleetName

// The fleet's own labels, and the key of its ConfigMap's data that scripts read.
const (
	labelFleet  = "pullprobe.dev/fleet"
	labelSilent = "pullprobe.dev/silent"
	resultKey   = "fleet.json"
)

// document is what fleet.json has.
type document struct {
	compare.Result
	Unscheduled        []Unscheduled `json:"unscheduled"`        // pods without a node, the oldest first
	UnscheduledOmitted int           `json:"unscheduledOmitted"` // of these left out
}

// maxUnscheduled is how many pods without a node are listed.
const maxUnscheduled = 20

func documentOf(r compare.Result, waiting []Unscheduled) document {
	d := document{Result: r, Unscheduled: waiting[:min(len(waiting), maxUnscheduled)]}
	d.UnscheduledOmitted = len(waiting) - len(d.Unscheduled)
	return d
}

// maxResult is the largest JSON, and the largest summary, in bytes.
const maxResult = 128 << 10

// render returns the fleet's ConfigMap.
func render(r document, namespace string) (kube.ConfigMap, error) {
	body, err := json.Marshal(r)
	for err == nil && len(body) > maxResult && len(r.Findings) > 0 {
		kept := len(r.Findings) / 2
		r.Omitted += len(r.Findings) - kept
		r.Findings = r.Findings[:kept]
		body, err = json.Marshal(r)
	}
	if err != nil {
		return kube.ConfigMap{}, fmt.Errorf("the nodes' comparison: %w", err)
	}
	fault, cause := worst(r.Findings)
	labels := map[string]string{
		labelFleet:                     "",
		report.LabelFault:              string(fault),
		report.LabelCause:              string(cause),
		report.LabelChecked:            r.Time.UTC().Format(report.TimeLayout),
		report.LabelNodes:              strconv.Itoa(r.Nodes),
		labelSilent:                    strconv.Itoa(r.Silent.Count),
		"app.kubernetes.io/name":       Name,
		"app.kubernetes.io/managed-by": Name,
	}
	for _, f := range []report.Fault{report.FaultNode, report.FaultRegistry, report.FaultConfig, report.FaultUndetermined} {
		n := 0
		for _, x := range r.Findings {
			if x.Fault == f {
				n++
			}
		}
		labels[report.LabelDomain+string(f)] = strconv.Itoa(n)
	}
	return kube.ConfigMap{
		Name: Name, Namespace: namespace, Labels: labels,
		Data: map[string]string{report.SummaryKey: summary(r), resultKey: string(body)},
	}, nil
}

// worst returns the most severe fault, with the cause of the first finding that has it.
func worst(findings []compare.Finding) (fault report.Fault, cause report.Cause) {
	fault, cause = report.FaultNone, report.Healthy
	for _, f := range findings {
		if report.Worse(f.Fault, fault) {
			fault, cause = f.Fault, f.Cause
		}
	}
	return fault, cause
}

// changeKey returns a text that is equal for results that differ only in times.
func changeKey(r document) string {
	r.Time = time.Time{}
	body, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// width is how wide a summary is: the width of a terminal.
const width = 80

// summary returns the result for people.
func summary(r document) string {
	var text, out strings.Builder
	fmt.Fprintf(&text, "Updated %s.\n", readable.Time(r.Time))
	_ = r.WriteText(&text) // a Builder returns no error
	if len(r.Unscheduled) > 0 {
		fmt.Fprintf(&text, "\n%d pods wait for a node, and for no image\n", len(r.Unscheduled)+r.UnscheduledOmitted)
		for _, p := range r.Unscheduled {
			fmt.Fprintf(&text, "  %s: %s\n", p.Pod, p.Why)
		}
	}
	for line := range strings.Lines(text.String()) {
		fold(&out, strings.TrimSuffix(line, "\n"))
	}
	if out.Len() > maxResult {
		return readable.Truncate(out.String(), maxResult)
	}
	return out.String()
}

// fold writes a line in lines of at most [width]. What follows a label continues below
// where it began. A line without a label is a command, or a row, and stays whole.
func fold(out *strings.Builder, line string) {
	const labelled = 16 // as compare writes them
	indent := "  "
	if len(line) > labelled && line[labelled-2:labelled] == "  " {
		indent = strings.Repeat(" ", labelled)
	}
	if strings.HasPrefix(line, strings.Repeat(" ", labelled)) {
		out.WriteString(line + "\n")
		return
	}
	for len([]rune(line)) > width {
		runes := []rune(line)
		at := width
		for at > len(indent) && runes[at] != ' ' {
			at--
		}
		if at <= len(indent) {
			break // one long word
		}
		out.WriteString(strings.TrimRight(string(runes[:at]), " ") + "\n")
		line = indent + string(runes[at+1:])
	}
	out.WriteString(line + "\n")
}
