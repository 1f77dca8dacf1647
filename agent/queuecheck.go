package agent

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// queueCheck returns which other pods of this node wait for an image. Kubelets pull one
// image at a time unless serializeImagePulls is false, first come, first served. Pulls that
// may come first are those of images that the kubelet began with earlier and has reported
// nothing about since, or that hang at every attempt. A pull that fails fast delays no
// other.
func queueCheck(w pods.PendingImage, others []result) report.Check {
	c := report.Check{ID: report.IDQueue, Kind: report.KindPod, Target: w.Image, Outcome: report.Pass, Evidence: map[string]string{
		report.KeyWaiting: strconv.Itoa(len(others)),
	}}
	ahead := pullsAhead(w, others)
	if len(ahead) == 0 {
		c.Summary = "no other pod of this node is known to be pulling an image"
		return c
	}
	first := ahead[0]
	c.Evidence[report.KeyAhead] = first.Pod
	c.Evidence[report.KeyAheadImage] = first.image
	c.Evidence[report.KeyAheadSince] = first.since.UTC().Format(time.RFC3339)
	c.Evidence[report.KeyAheadCause] = string(first.Verdict.Cause)
	c.Evidence[report.KeyAheadState] = "creating"
	if first.failing {
		c.Evidence[report.KeyAheadState] = "failing"
	}
	c.Summary = first.Pod + " has waited for " + first.image + " since " + readable.Time(first.since)
	if hangs(first.Checks) {
		c.Evidence[report.KeyAheadHangs] = report.True
		c.Summary += ", and pulling that hangs"
	}
	if n := len(ahead) - 1; n > 0 {
		c.Summary += ", and so have " + strconv.Itoa(n) + " others"
	}
	return c
}

// pullsAhead returns the pulls that may come before w, likeliest first.
func pullsAhead(w pods.PendingImage, others []result) []result {
	since := w.Since.Truncate(time.Second) // some times have whole seconds only
	ahead := slices.DeleteFunc(slices.Clone(others), func(r result) bool {
		if hangs(r.Checks) {
			return r.since.Truncate(time.Second).After(since)
		}
		return r.failing || !r.since.Truncate(time.Second).Before(since)
	})
	slices.SortFunc(ahead, func(a, b result) int {
		return cmp.Or(-compareBools(hangs(a.Checks), hangs(b.Checks)), compareBools(a.failing, b.failing), a.since.Compare(b.since),
			strings.Compare(a.Pod, b.Pod), strings.Compare(a.image, b.image))
	})
	return ahead
}

// hangs reports whether anything on the path to the image did not answer.
func hangs(checks []report.Check) bool {
	return slices.ContainsFunc(checks, func(c report.Check) bool { return c.Is(report.KeyDeadline) || c.Is(report.KeyTimedOut) })
}

// compareBools orders false before true.
func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
