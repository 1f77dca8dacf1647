package agent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pullprobe/pullprobe/report"
)

// canPull returns why this node cannot pull images, one reason a line; nil if it can, as far
// as is known: the runtime is ready, the disk has room, the node reaches something, and it
// reaches and trusts the required hosts. What is not checked yet is a reason, too.
func canPull(runtime, disk report.Check, sweep *report.Sweep, required []string) error {
	var reasons []error
	for _, c := range []report.Check{runtime, disk} {
		if c.Outcome == report.Fail || c.Outcome == report.Unknown {
			reasons = append(reasons, fmt.Errorf("%s: %s", c.ID, c.Summary))
		}
	}
	if sweep != nil && sweep.Control.Outcome == report.Fail {
		reasons = append(reasons, fmt.Errorf("%s: %s", sweep.Control.ID, sweep.Control.Summary))
	}
	for _, host := range required {
		if reason := whyNotReachable(sweep, host); reason != "" {
			reasons = append(reasons, fmt.Errorf("%s: %s", host, reason))
		}
	}
	return errors.Join(reasons...)
}

// whyNotReachable returns why a host does not count as reachable; empty if it does.
func whyNotReachable(sweep *report.Sweep, host string) string {
	if sweep == nil {
		return "not checked yet"
	}
	at := slices.IndexFunc(sweep.Registries, func(r report.Registry) bool {
		return report.Serves(r.Host, host)
	})
	if at < 0 {
		return "not checked yet"
	}
	switch r := sweep.Registries[at]; r.State {
	case report.Reachable:
		return ""
	case report.ReachUnknown:
		return "could not be checked: " + r.Summary
	default:
		return fmt.Sprintf("%s: %s", r.Cause, r.Summary)
	}
}
