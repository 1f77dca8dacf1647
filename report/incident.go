package report

import (
	"fmt"
	"io"
	"time"

	"github.com/pullprobe/pullprobe/report/readable"
)

// Incident is a verdict on an image for which pods waited, and that has ended.
type Incident struct {
	Image string     `json:"image"`
	From  Conclusion `json:"from"` // the verdict
	// To is the verdict that followed. none/Healthy: the pods got the image; none/Recovered:
	// they waited for it, and the pull worked; absent: no pod needs the image any more.
	To    *Conclusion `json:"to,omitempty"`
	Began time.Time   `json:"began"` //
	Ended time.Time   `json:"ended"` //
	Pods  int         `json:"pods"`  // the most that waited at a time
	// Workload is what one of these pods was made from, NAMESPACE/KIND/NAME; KIND may be pod.
	Workload string `json:"workload,omitempty"`
}

// Conclusion is who must act and why.
type Conclusion struct {
	Fault Fault `json:"fault"`
	Cause Cause `json:"cause"`
}

// Conclusion returns who must act and why.
func (v Verdict) Conclusion() Conclusion { return Conclusion{Fault: v.Fault, Cause: v.Cause} }

// MaxIncidents is how many incidents a report keeps.
const MaxIncidents = 20

// maxShownIncidents is how many of them the summary has.
const maxShownIncidents = 5

// writeIncidents writes the last verdicts that have ended.
func (n NodeReport) writeIncidents(w io.Writer) {
	if len(n.Incidents) == 0 {
		return
	}
	fmt.Fprintln(w, "\nPast verdicts")
	for _, x := range n.Incidents[:min(len(n.Incidents), maxShownIncidents)] {
		readable.WrapTo(w, "  "+x.Began.UTC().Format("2006-01-02 15:04")+" UTC  ", 4, x.text())
	}
	if more := len(n.Incidents) - maxShownIncidents; more > 0 {
		fmt.Fprintf(w, "  ... and %d more in report.json\n", more)
	}
}

// text returns the incident as one line.
func (x Incident) text() string {
	end := "then no pod waited for it"
	switch {
	case x.To == nil:
	case x.To.Cause == Recovered:
		end = "then the pull worked"
	case x.To.Cause == Healthy:
		end = "then the image was pulled"
	default:
		end = "then " + x.To.String()
	}
	pods := readable.Plural(x.Pods, "pod")
	switch {
	case x.Workload == "":
	case x.Pods == 1:
		pods += " of " + x.Workload
	default:
		pods += " (one of " + x.Workload + ")"
	}
	return fmt.Sprintf("%s, %s, for %s: %s; %s",
		x.From, pods, readable.Roughly(x.Ended.Sub(x.Began)), x.Image, end)
}
