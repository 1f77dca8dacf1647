package waiting

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Event is what an agent's Event says on a pod.
type Event struct {
	Verdict report.Verdict
	At      time.Time // when the verdict was reached
	Version string    // of the object: it changes at each write
}

// eventHead matches the beginning of an agent's Event: who must act, why, and how sure. Where
// nothing is known, it is "undetermined" alone.
var eventHead = regexp.MustCompile(`^([a-z-]+)` +
	`(?: / ([A-Za-z]+) \((confirmed|seen|likely|undetermined|who must act is open)(?:; [a-z ]+)?\))?: `)

// eventPart matches the labels of the parts below it. No text of an agent's has one inside a line.
var eventPart = regexp.MustCompile(`(?m)^(Who acts|Fix|To confirm|Also|Checked)\b:? ?`)

// ParseEvent reads the message of an agent's Event. ok is false if it is none of a verdict.
func ParseEvent(message string) (e Event, ok bool) {
	head := eventHead.FindStringSubmatchIndex(message)
	if head == nil {
		return Event{}, false
	}
	part := func(i int) string {
		if head[2*i] < 0 {
			return ""
		}
		return message[head[2*i]:head[2*i+1]]
	}
	v := report.Verdict{Fault: report.Fault(part(1)), Cause: report.Cause(part(2)), Confidence: report.Confidence(part(3))}
	switch {
	case v.Cause == "" && v.Fault == report.FaultUndetermined:
		v.Cause = report.Undetermined
	case v.Confidence == "seen":
		v.Confidence = report.Confirmed
	case v.Confidence == "who must act is open":
		v.Confidence = report.ConfidenceUndetermined
	}
	known := []report.Fault{report.FaultNode, report.FaultRegistry, report.FaultConfig, report.FaultUndetermined, report.FaultNone}
	if !slices.Contains(known, v.Fault) || !v.Cause.Known() {
		return Event{}, false
	}
	rest := message[head[1]:]
	marks := eventPart.FindAllStringSubmatchIndex(rest, -1)
	end := len(rest)
	if len(marks) > 0 {
		end = marks[0][0]
	}
	v.Summary = strings.TrimSuffix(strings.TrimSpace(rest[:end]), ".")
	for i, m := range marks {
		end := len(rest)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		text := strings.TrimSpace(rest[m[1]:end])
		switch rest[m[2]:m[3]] {
		case "Fix":
			v.Fix = text
		case "To confirm":
			v.WouldDecide = []string{text}
		case "Checked":
			at, _, _ := strings.Cut(text, ". ")
			e.At, _ = time.Parse("2006-01-02 15:04:05 UTC", at)
		}
	}
	e.Verdict = v
	return e, true
}

// fromEvent takes over what an Event on the pod says. It names no container: of several that
// wait, the Event must name the repository.
func (c *Case) fromEvent(events []Event, waiting int) {
	for _, e := range events {
		if waiting > 1 && !strings.Contains(e.Verdict.Summary+e.Verdict.Fix, repository(c.Image)) {
			continue
		}
		if e.Verdict.Fault == report.FaultNone {
			continue // the container waits again since
		}
		c.Verdict, c.Source, c.At = e.Verdict, FromEvent, e.At
		return
	}
}

// repository returns the image's name without tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if at := strings.LastIndex(image, ":"); at > strings.LastIndex(image, "/") {
		image = image[:at]
	}
	return image
}
