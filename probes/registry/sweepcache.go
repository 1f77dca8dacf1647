package registry

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
)

// answeredBefore takes over that the host answered GET /v2/ a moment ago, which
// saves it a request. Nothing else is taken over: what was out of reach may be
// back, and a verdict must not go by what was.
func (s *session) useSweepResult() bool {
	if s.target.Known == nil {
		return false
	}
	c, age, ok := s.target.Known(s.host.Name())
	if !ok || c.Outcome != report.Pass {
		return false
	}
	s.add(withAge(c, age))
	return true
}

// aged says in a check how old it is.
func withAge(c report.Check, age time.Duration) report.Check {
	c.Evidence = evidence.With(maps.Clone(c.Evidence), "ageMs", strconv.FormatInt(age.Milliseconds(), 10))
	c.Summary += fmt.Sprintf(" (seen %.1f s ago)", age.Seconds())
	return c
}
