package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Vantage is one host of the control set, as it was last looked at.
type Vantage struct {
	Registry
	// Known says that this node has reached the host before, or that the
	// configuration names it as one that can be reached.
	Known bool
}

// answered reports whether anything came back from the host, good or bad.
func (r Registry) answered() bool {
	return r.State == Reachable || r.State == Limited || r.State == Unreachable && stage(r.Cause) >= stageTLS
}

// silent reports whether the look ended before anything came back.
func (r Registry) silent() bool {
	s := stage(r.Cause)
	return r.State == Unreachable && (s == stageDNS || s == stageDial)
}

// enoughUnknown is how many hosts that this node has never reached must be out
// of reach before that says something of the node.
const enoughUnknown = 3

// Control is the check "control": whether a node that does not reach one host
// reaches any other. It fails only if none of them answers, neither its name nor
// its address; weak=true marks that fewer than two of them are known to have
// been reachable. Without enough hosts to go by it is skipped.
func Control(hosts []Vantage, now time.Time) Check {
	c := Check{ID: controlID, Kind: KindControl, Outcome: Skipped}
	var answered, silent, known []string
	causes := map[Cause]int{}
	var oldest time.Time
	for _, h := range hosts {
		switch {
		case h.answered():
			answered = append(answered, h.Host)
		case h.silent():
			silent = append(silent, h.Host)
			causes[h.Cause]++
			if h.Known {
				known = append(known, h.Host)
			}
		default:
			continue
		}
		if oldest.IsZero() || h.Checked.Before(oldest) {
			oldest = h.Checked
		}
	}
	asked := len(answered) + len(silent)
	if asked > 0 {
		c.Evidence = map[string]string{
			"asked": strconv.Itoa(asked), "reached": strconv.Itoa(len(answered)), "ageMs": strconv.FormatInt(max(now.Sub(oldest), 0).Milliseconds(), 10),
		}
	}
	switch {
	case len(answered) > 0:
		c.Outcome = Pass
		c.Evidence["hosts"] = few(answered)
		c.Summary = fmt.Sprintf("%d of %d other hosts can be reached from this node: %s", len(answered), asked, few(answered))
	case len(known) == 0 && len(silent) < enoughUnknown:
		c.Summary = "no other host is known that this node has reached: name some with the setting control"
	default:
		c.Outcome, c.Cause = Fail, shared(causes)
		c.Evidence["hosts"] = few(silent)
		if len(known) < 2 {
			c.Evidence["weak"] = "true"
		}
		c.Summary = fmt.Sprintf("nothing can be reached from this node: none of %d hosts (%s)", len(silent), few(silent))
	}
	return c
}

// shared is the cause that all of them have, or else that packets get nowhere.
func shared(causes map[Cause]int) Cause {
	if len(causes) == 1 {
		for c := range causes {
			return c
		}
	}
	return NetworkUnreachable
}

// few names the first of many.
func few(names []string) string {
	const most = 3
	names = slices.Sorted(slices.Values(names))
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + " and " + strconv.Itoa(len(names)-most) + " more"
}
