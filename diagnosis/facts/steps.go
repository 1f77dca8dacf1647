package facts

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// UnseenSteps says which steps on the path to the image were not seen to work: a
// step that was skipped, refused, cut short or not planned at all.
func UnseenSteps(e *Evidence) []string {
	host := e.UsedHost()
	var out []string
	miss := func(c report.Check, id string) {
		out = append(out, cmp.Or(c.ID, id)+": "+cmp.Or(c.Summary, "not checked"))
	}
	if c := e.Get(report.IDReference); c.Outcome != report.Pass {
		miss(c, report.IDReference)
	}
	if c := e.Get(report.ManifestID(host)); c.Is(report.KeyNoContentType) {
		out = append(out, c.ID+": the answer has no Content-Type, and the runtime treats such a manifest as a layer")
	}
	for _, id := range []string{report.ManifestID(host), report.ImageID(host)} {
		if what := e.Fact(id, report.KeyNotSeen); what != "" {
			out = append(out, id+": not seen: "+what)
		} else if c := e.Get(id); c.Outcome != report.Pass {
			miss(c, id)
		}
	}
	blobs := e.Below(report.FamilyBlob)
	if !slices.ContainsFunc(blobs, func(c report.Check) bool { return c.Outcome == report.Pass && c.Evidence[report.KeyNotSeen] == "" }) {
		miss(e.Get(report.BlobID(host)), report.BlobID(host))
	}
	return out
}

// EveryLayerSeen reports whether each layer of the image was found.
func EveryLayerSeen(e *Evidence) bool {
	return slices.ContainsFunc(e.Below(report.FamilyBlob), func(c report.Check) bool {
		seen, all, asked := strings.Cut(c.Evidence[report.KeyLayersSeen], " of ")
		return asked && seen == all
	})
}

// SlowBefore returns the check of what the runtime waits for, longer than the
// test pull could, before it uses what works.
func SlowBefore(e *Evidence) (report.Check, bool) {
	host := e.UsedHost()
	if name := e.Get(report.DNSID(host)); name.Evidence[report.KeyPassedOver] != "" {
		return name, true // every lookup waits for the silent resolver first
	}
	for _, c := range e.Below(report.DNSID(host)) {
		if c.Outcome == report.Pass && (c.Evidence[report.KeyA] == "timeout" || c.Evidence[report.KeyAAAA] == "timeout") {
			return c, true // and for the answer of the other address family
		}
	}
	seconds, err := strconv.ParseFloat(e.Fact(report.IDPull, report.KeySeconds), 64)
	if err != nil {
		return report.Check{}, false
	}
	dead, _, after := DeadFirst(e, host)
	return dead, after > 0 && after >= time.Duration(seconds*float64(time.Second))
}

// DeadFirst returns the check of an address of a host that fails, and that of the one which
// the runtime uses instead, after it has waited so long; zero if it does not have to wait.
func DeadFirst(e *Evidence, host string) (dead, used report.Check, after time.Duration) {
	for _, c := range e.Below(report.DialID(host)) {
		ms, err := strconv.ParseFloat(c.Evidence[report.KeyAfterMs], 64)
		if !c.Is(report.KeyTaken) || err != nil {
			continue
		}
		for _, other := range e.Below(report.DialID(host)) {
			if other.Outcome == report.Fail {
				return other, c, time.Duration(ms * float64(time.Millisecond))
			}
		}
	}
	return report.Check{}, report.Check{}, 0
}

// TooSlow reports whether an image of this size should have been pulled in the
// test pull's time, over any line that is of use to a cluster.
func TooSlow(e *Evidence) bool {
	const slowest = 128 << 10 // bytes a second
	seconds, err := strconv.ParseFloat(e.Fact(report.IDPull, report.KeySeconds), 64)
	size, sizeErr := strconv.ParseFloat(e.Fact(report.ImageID(e.UsedHost()), report.KeySize), 64)
	return err == nil && sizeErr == nil && size < slowest*seconds
}
