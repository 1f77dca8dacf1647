package report

import (
	"fmt"
	"io"
)

// Explanation is what one error message alone means.
type Explanation struct {
	Message      string     `json:"message"`
	Fault        Fault      `json:"fault"`
	Cause        Cause      `json:"cause"`
	Confidence   Confidence `json:"confidence"`
	Alternatives []Cause    `json:"alternatives"` // other causes that such a message has had
	Summary      string     `json:"summary"`
	Fix          string     `json:"fix"`
}

// maxAlternatives is how many other causes an explanation names.
const maxAlternatives = 3

// NewExplanation explains a message by its classification: the likeliest cause,
// all candidates, the step that the message names, and whether it alone proves the
// cause. Host is the registry in the message, clause the part that decided; both
// may be empty.
func NewExplanation(message string, c Cause, candidates []Cause, step string, proven bool, host, clause string) Explanation {
	x := Explanation{Message: message, Cause: c, Fault: FaultAt(c, step), Confidence: Likely, Alternatives: []Cause{}}
	switch {
	case proven:
		x.Confidence = Confirmed
	case c == Undetermined:
		x.Confidence = Uncertain
	}
	for _, other := range candidates {
		if other != c && len(x.Alternatives) < maxAlternatives {
			x.Alternatives = append(x.Alternatives, other)
		}
	}
	x.Summary, x.Fix = Advice(c, x.Fault, host, "")
	if c == Undetermined {
		x.Summary = "this message matches no known pull failure"
		if len(x.Alternatives) > 0 {
			x.Summary = "this message does not name a cause"
		}
		x.Fix = "check from the node where the pull fails: pullprobe check IMAGE, or annotate the pod with probe=now"
	}
	if clause != "" {
		x.Summary += ": " + clause
	}
	return x
}

// Text writes the explanation for people, in the layout of a diagnosis. A message
// that is not known gets the line "unknown: …" instead of a verdict.
func (x Explanation) Text(w io.Writer) {
	if x.Cause == Undetermined {
		wrap(w, "unknown: ", x.Summary)
	} else {
		fmt.Fprintf(w, "%s  %s  (%s)\n", x.Fault, x.Cause, x.Confidence)
		field(w, "why", x.Summary)
	}
	if x.Fix != "" {
		field(w, "fix", x.Fix)
	}
	if len(x.Alternatives) > 0 {
		field(w, "or", joinCauses(x.Alternatives))
	}
}
