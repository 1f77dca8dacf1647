package registry

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// known returns the recent answer of a host to GET /v2/. Failures are not used: a host
// that was unreachable may be reachable again.
func (t Target) known(host string) (report.Check, bool) {
	if t.Known == nil {
		return report.Check{}, false
	}
	c, age, ok := t.Known(host)
	if !ok || c.Outcome != report.Pass {
		return report.Check{}, false
	}
	return withAge(c, age), true
}

// withAge adds its age to a check.
func withAge(c report.Check, age time.Duration) report.Check {
	c.Evidence = evidence.With(maps.Clone(c.Evidence), report.KeyAgeMs, strconv.FormatInt(age.Milliseconds(), 10))
	c.Summary += fmt.Sprintf(" (checked %s ago)", readable.Duration(age))
	return c
}
