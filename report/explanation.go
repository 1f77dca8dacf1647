package report

import (
	"fmt"
	"io"

	"github.com/pullprobe/pullprobe/report/readable"
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

// Reading is what an error message says, as package classify reads it.
type Reading struct {
	Cause      Cause
	Candidates []Cause // every cause that such a message can have, the likeliest first
	Proven     bool    // the message alone proves the cause
	Step       string  // the step of the pull that the message names
	Host       string  // the host that it names; may be empty
	// Foreign says that Host is not the image's registry: the runtime's
	// configuration or a redirect sends the pull there.
	Foreign bool

	Registry, Repository, Reference string // of the image that it names; may be empty

	Clause string // the part of the message that shows the cause; may be empty
}

// NewExplanation explains a message by its reading.
func NewExplanation(message string, r Reading) Explanation {
	c, candidates, clause := r.Cause, r.Candidates, r.Clause
	x := Explanation{Message: message, Cause: c, Fault: FaultAt(c, r.Step), Confidence: Likely, Alternatives: []Cause{}}
	if r.Foreign && c == HostNotFound {
		x.Fault = FaultNode // no image names this host
	}
	switch {
	case r.Proven:
		x.Confidence = Confirmed
	case c == Undetermined:
		x.Confidence = ConfidenceUndetermined
	}
	for _, other := range candidates {
		if other != c && len(x.Alternatives) < maxAlternatives {
			x.Alternatives = append(x.Alternatives, other)
		}
	}
	x.Summary, x.Fix = Advice(c, x.Fault, r)
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
		readable.Wrap(w, "unknown: ", x.Summary)
	} else {
		fmt.Fprintf(w, "%s  %s  (%s)\n", x.Fault, x.Cause, x.Confidence)
		readable.Field(w, "why", x.Summary)
	}
	if x.Fix != "" {
		readable.Lines(w, "fix", x.Fix)
	}
	if len(x.Alternatives) > 0 {
		readable.Field(w, "or", readable.Join(x.Alternatives))
	}
}
