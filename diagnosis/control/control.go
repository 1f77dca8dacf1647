// Package control decides from a set of hosts whether a node reaches anything at all:
// the check "control". It does no I/O.
package control

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Host is one host of the control set, as it was last checked.
type Host struct {
	report.Registry
	// Known means that this node has reached the host before, or that the
	// configuration names it as a host that every node reaches.
	Known bool
}

// answered reports whether anything came back from the host, good or bad.
func (h Host) answered() bool {
	return h.State == report.Reachable || h.State == report.Limited || h.State == report.Unreachable && h.Cause.Stage() >= report.StageTLS
}

// minUnreachable is how many hosts must be unreachable where all of them may have
// one cause of their own: the same owner, or no proof that they were ever
// reachable.
const minUnreachable = 3

// Check returns the check "control": whether a node reaches anything at all. It
// fails only if no host answers, neither by name nor by address, and if they are
// so many, or so unrelated, that the node is what they have in common; weak=true
// marks a guess. Otherwise it passes, or is skipped if there are too few hosts to
// compare with. excludingTarget means that these are hosts beside one that is
// unreachable already.
func Check(hosts []Host, excludingTarget bool, now time.Time) report.Check {
	c := report.Check{ID: report.IDControl, Kind: report.KindControl, Outcome: report.Skipped}
	s := surveyOf(hosts)
	all := len(s.answered) + len(s.silent)
	if all > 0 {
		c.Evidence = map[string]string{
			report.KeyAsked:   strconv.Itoa(all),
			report.KeyReached: strconv.Itoa(len(s.answered)),
			report.KeyAgeMs:   strconv.FormatInt(max(now.Sub(s.oldest), 0).Milliseconds(), 10),
		}
	}
	strong := len(s.known) >= 2 && len(s.domains) >= 2
	weak := len(s.addresses) >= minUnreachable || excludingTarget && len(s.known) > 0
	switch {
	case len(s.answered) > 0:
		c.Outcome = report.Pass
		c.Evidence[report.KeyHosts] = readable.Abbreviate(s.answered)
		which := "hosts"
		if excludingTarget {
			which = "other hosts"
		}
		c.Summary = fmt.Sprintf("this node reaches %d of %d %s: %s", len(s.answered), all, which, readable.Abbreviate(s.answered))
	case !strong && !weak:
		c.Summary = "too few known hosts to tell a registry outage from a node outage; add some with --control"
	default:
		c.Outcome, c.Cause = report.Fail, shared(s.causes)
		c.Evidence[report.KeyHosts] = readable.Abbreviate(s.silent)
		if !strong {
			c.Evidence[report.KeyWeak] = report.True
		}
		c.Summary = fmt.Sprintf("this node cannot reach any of %d hosts (%s)", len(s.silent), readable.Abbreviate(s.silent))
	}
	return c
}

// survey counts the hosts of the control set that are evidence.
type survey struct {
	answered, silent []string
	addresses        map[string]bool // of the silent ones
	known, domains   map[string]bool // of the silent ones that are known: addresses, base domains
	causes           map[report.Cause]int
	oldest           time.Time // when the first of them was checked
}

func surveyOf(hosts []Host) survey {
	s := survey{addresses: map[string]bool{}, known: map[string]bool{}, domains: map[string]bool{}, causes: map[report.Cause]int{}}
	for _, h := range hosts {
		switch {
		case h.answered():
			s.answered = append(s.answered, h.Host)
		case h.Cause == report.HostNotFound && !h.Known:
			continue // a resolver answered, and the name may not exist
		case h.Silent() && h.independent():
			s.silent = append(s.silent, h.Host)
			s.causes[h.Cause]++
			s.addresses[h.addressKey()] = true
			if h.Known {
				s.known[h.addressKey()], s.domains[h.baseDomain()] = true, true
			}
		default:
			continue
		}
		if s.oldest.IsZero() || h.Checked.Before(s.oldest) {
			s.oldest = h.Checked
		}
	}
	return s
}

// independent reports whether the host is checked for itself. Token services and
// layer hosts fail together with the registry that they belong to.
func (h Host) independent() bool {
	return len(h.Roles) == 0 || slices.ContainsFunc(h.Roles,
		func(role report.Role) bool { return role != report.RoleToken && role != report.RoleBlob })
}

// addressKey is equal for hosts at the same address.
func (h Host) addressKey() string {
	if len(h.Addresses) > 0 {
		return h.Addresses[0]
	}
	return h.Host
}

// baseDomain returns the last two labels of the host's name, or its address: a
// rough guess at its owner.
func (h Host) baseDomain() string {
	name := h.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return name
	}
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}

// shared returns the cause that all hosts have, or else NetworkUnreachable.
func shared(causes map[report.Cause]int) report.Cause {
	if len(causes) == 1 {
		for c := range causes {
			return c
		}
	}
	return report.NetworkUnreachable
}
