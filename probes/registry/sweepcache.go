package registry

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
)

// sweepResult returns the recent answer of the host to GET /v2/. Failures are not used:
// a host that was unreachable may be reachable again.
func (s *session) sweepResult() (report.Check, bool) {
	if s.target.Known == nil {
		return report.Check{}, false
	}
	c, age, ok := s.target.Known(s.host.Name())
	if !ok || c.Outcome != report.Pass {
		return report.Check{}, false
	}
	return withAge(c, age), true
}

// withAge adds its age to a check.
func withAge(c report.Check, age time.Duration) report.Check {
	c.Evidence = evidence.With(maps.Clone(c.Evidence), report.KeyAgeMs, strconv.FormatInt(age.Milliseconds(), 10))
	c.Summary += fmt.Sprintf(" (checked %s ago)", report.Duration(age))
	return c
}
