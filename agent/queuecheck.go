package agent

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/report"
)

// queueCheck is who else on this node waits for an image: kubelets pull one
// image at a time unless told otherwise (serializeImagePulls), first come,
// first served. Ahead are pulls that may hold the only turn: of images that the
// kubelet came to earlier and has said nothing of since, or that hang at every
// attempt. One that fails fast holds nothing up.
func queueCheck(w pods.PendingImage, others []result) report.Check {
	c := report.Check{ID: "queue", Kind: report.KindPod, Target: w.Image, Outcome: report.Pass, Evidence: map[string]string{
		"waiting": strconv.Itoa(len(others)),
	}}
	mine := w.Since.Truncate(time.Second) // some times are told in whole seconds
	ahead := slices.DeleteFunc(slices.Clone(others), func(r result) bool {
		if hangs(r.Checks) {
			return r.since.Truncate(time.Second).After(mine)
		}
		return r.failing || !r.since.Truncate(time.Second).Before(mine)
	})
	if len(ahead) == 0 {
		c.Summary = "no other pod of this node is known to be pulling an image"
		return c
	}
	slices.SortFunc(ahead, func(a, b result) int {
		return cmp.Or(-compareBools(hangs(a.Checks), hangs(b.Checks)), compareBools(a.failing, b.failing), a.since.Compare(b.since),
			strings.Compare(a.Pod, b.Pod), strings.Compare(a.image, b.image))
	})
	r := ahead[0]
	c.Evidence["ahead"], c.Evidence["aheadImage"], c.Evidence["aheadSince"] = r.Pod, r.image, r.since.UTC().Format(time.RFC3339)
	c.Evidence["aheadCause"] = string(r.Verdict.Cause)
	c.Evidence["aheadState"] = "creating"
	if r.failing {
		c.Evidence["aheadState"] = "failing"
	}
	c.Summary = r.Pod + " has waited for " + r.image + " since " + r.since.UTC().Format("15:04:05") + " UTC"
	if hangs(r.Checks) {
		c.Evidence["aheadHangs"] = "true"
		c.Summary += ", and pulling that hangs"
	}
	if n := len(ahead) - 1; n > 0 {
		c.Summary += ", and so do " + strconv.Itoa(n) + " others"
	}
	return c
}

// hangs reports whether something on the way to the image did not answer.
func hangs(checks []report.Check) bool {
	return slices.ContainsFunc(checks, func(c report.Check) bool {
		return c.Evidence["deadline"] == "true" || c.Evidence["timedOut"] == "true"
	})
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
