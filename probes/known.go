package probes

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Of a host that was looked at a moment ago two things are taken over: that it
// answers, which saves it a request, and that its way is a black hole, which
// saves the time that it takes to find out. Everything else is asked again.

// answeredBefore takes over that the host answered GET /v2/.
func (v *visit) answeredBefore() bool {
	checks, age, ok := v.knownChecks()
	if !ok {
		return false
	}
	id := "registry/" + v.host.name()
	for _, c := range checks {
		if c.ID == id && c.Outcome == report.Pass {
			v.add(aged(c, age))
			return true
		}
	}
	return false
}

// blockedBefore takes over that the way to the host is a black hole.
func (v *visit) blockedBefore() bool {
	checks, age, ok := v.knownChecks()
	if !ok || v.host.blobsOnly {
		return false
	}
	name := v.host.name()
	onTheWay := []report.Kind{report.KindDNS, report.KindDial, report.KindTLS, report.KindRegistry}
	var way []report.Check
	blockedBy := ""
	for _, c := range checks {
		if c.Host == name && slices.Contains(onTheWay, c.Kind) {
			way = append(way, aged(c, age))
		}
		if c.ID == "registry/"+name && c.Outcome == report.Skipped {
			blockedBy = c.BlockedBy
		}
	}
	hole := false
	for _, c := range way {
		hole = hole || c.ID == blockedBy && c.Outcome == report.Fail && c.Evidence["deadline"] == "true" && (c.Kind == report.KindDNS || c.Kind == report.KindDial)
	}
	if !hole {
		return false
	}
	v.checks = append(v.checks, way...)
	v.skip(report.KindManifest, "manifest/"+name, "not reached: "+blockedBy+" did not pass", blockedBy)
	return true
}

func (v *visit) knownChecks() ([]report.Check, time.Duration, bool) {
	if v.target.Known == nil {
		return nil, 0, false
	}
	return v.target.Known(v.host.name())
}

// aged says in a check how old it is.
func aged(c report.Check, age time.Duration) report.Check {
	c.Evidence = maps.Clone(c.Evidence)
	c.Evidence = withFact(c.Evidence, "ageMs", strconv.FormatInt(age.Milliseconds(), 10))
	if !strings.HasSuffix(c.Summary, " ago)") {
		c.Summary += fmt.Sprintf(" (seen %.1f s ago)", age.Seconds())
	}
	return c
}
