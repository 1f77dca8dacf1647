package report

import (
	"fmt"
	"net"
	"net/netip"
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

// enough is how many places must be out of reach where they may all have one
// reason of their own: one owner, or no proof that they ever could be reached.
const enough = 3

// Control is the check "control": whether a node reaches anything at all. It
// fails only if no host answers, neither its name nor its address, and they are
// so many, or so little akin, that the node is what they have in common; weak=true
// marks that it takes a guess to say so. Otherwise it passes, or is skipped for
// want of hosts to go by. beside says that these are all others than one that is
// out of reach already.
func Control(hosts []Vantage, beside bool, now time.Time) Check {
	c := Check{ID: controlID, Kind: KindControl, Outcome: Skipped}
	var answered, silent []string
	seen, known, owners := map[string]bool{}, map[string]bool{}, map[string]bool{}
	causes := map[Cause]int{}
	var oldest time.Time
	for _, h := range hosts {
		switch {
		case h.answered():
			answered = append(answered, h.Host)
		case h.Cause == HostNotFound && !h.Known:
			continue // a resolver answered, and the name may be nobody's
		case h.silent() && h.inItsOwnRight():
			silent = append(silent, h.Host)
			causes[h.Cause]++
			seen[h.place()] = true
			if h.Known {
				known[h.place()], owners[h.owner()] = true, true
			}
		default:
			continue
		}
		if oldest.IsZero() || h.Checked.Before(oldest) {
			oldest = h.Checked
		}
	}
	if asked := len(answered) + len(silent); asked > 0 {
		c.Evidence = map[string]string{
			"asked": strconv.Itoa(asked), "reached": strconv.Itoa(len(answered)), "ageMs": strconv.FormatInt(max(now.Sub(oldest), 0).Milliseconds(), 10),
		}
	}
	strong := len(known) >= 2 && len(owners) >= 2
	weak := len(seen) >= enough || beside && len(known) > 0
	switch {
	case len(answered) > 0:
		c.Outcome = Pass
		c.Evidence["hosts"] = few(answered)
		c.Summary = fmt.Sprintf("%d of %d other hosts can be reached from this node: %s", len(answered), len(answered)+len(silent), few(answered))
		if !beside {
			c.Summary = fmt.Sprintf("%d of %d hosts can be reached from this node: %s", len(answered), len(answered)+len(silent), few(answered))
		}
	case !strong && !weak:
		c.Summary = "too few hosts are known to tell one that is out of reach from a node that reaches nothing: name some with the setting control"
	default:
		c.Outcome, c.Cause = Fail, shared(causes)
		c.Evidence["hosts"] = few(silent)
		if !strong {
			c.Evidence["weak"] = "true"
		}
		c.Summary = fmt.Sprintf("nothing can be reached from this node: none of %d hosts (%s)", len(silent), few(silent))
	}
	return c
}

// inItsOwnRight reports whether the host is looked at for itself: token services
// and hosts of layers share the fate of the registry that they belong to.
func (r Registry) inItsOwnRight() bool {
	return len(r.Roles) == 0 || slices.ContainsFunc(r.Roles, func(role Role) bool { return role != RoleToken && role != RoleBlob })
}

// place is equal for hosts at the same address.
func (r Registry) place() string {
	if len(r.Addresses) > 0 {
		return r.Addresses[0]
	}
	return r.Host
}

// owner is the last two labels of the host's name, or its address: a rough guess
// at whose it is.
func (r Registry) owner() string {
	name := r.Host
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return name
	}
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
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
