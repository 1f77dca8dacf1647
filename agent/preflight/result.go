package preflight

import (
	"slices"
	"strconv"
	"time"

	"github.com/pullprobe/pullprobe/agent/corev1"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/preflight"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// image is one image of a pod with one pull policy.
type image struct {
	pods.PendingImage
	places []string // containers that need it, and image volumes as CONTAINER/VOLUME
}

// imagesOf returns the images of a pod, each once for a pull policy, and how many are left out.
func imagesOf(p pods.Pod) (out []image, left int) {
	add := func(w pods.PendingImage, place string) {
		at := slices.IndexFunc(out, func(i image) bool { return i.Image == w.Image && i.Policy == w.Policy })
		switch {
		case at >= 0:
			out[at].places = append(out[at].places, place)
		case len(out) == preflight.MaxImages:
			left++
		default:
			out = append(out, image{w, []string{place}})
		}
	}
	for _, c := range p.Containers {
		add(pods.PendingImage{Container: c.Name, Image: c.Image, Policy: c.Policy}, c.Name)
		for _, ref := range c.Volumes {
			v := c.ImageVolumes[ref]
			add(pods.PendingImage{Container: c.Name, Image: ref, Policy: v.Policy}, c.Name+"/"+v.Name)
		}
	}
	return out, left
}

// podCheck returns what the pod asks for. It has no name: there is nothing to change in a pod that
// never runs. An image that the kubelet must not pull is on the node, or is a fault.
func podCheck(p pods.Pod, i image, node string, found []report.Check) report.Check {
	c := report.Check{
		ID: report.IDPod, Kind: report.KindPod, Target: p.String(), Outcome: report.Pass,
		Summary: "the pod asks for a preflight: it has no node, and nothing is pulled",
		Evidence: map[string]string{
			report.KeyNamespace:      p.Namespace,
			report.KeyNode:           node,
			report.KeyServiceAccount: p.ServiceAccount,
			report.KeyPolicy:         string(i.Policy),
		},
	}
	present := onNode(found)
	switch runtime := report.Find(found, report.IDRuntime); {
	case i.Policy != corev1.PullNever:
	case present.ID != "":
		c.Cause, c.Summary = report.NotAPullProblem, "the pull policy is Never, and the image is on the node"
	case runtime.Outcome == report.Pass && report.Find(found, report.IDReference).Outcome == report.Pass:
		c.Outcome, c.Cause = report.Fail, report.NeverPullNotPresent
		c.Summary = "the pull policy is Never, and the image is not on the node"
		c.Evidence[report.KeyProven] = report.True
	}
	return c
}

// onNode returns the check of the image as the node has it; zero: it is not there.
func onNode(checks []report.Check) report.Check {
	domain := report.Find(checks, report.IDReference).Evidence[report.KeyDomain]
	if domain == "" {
		return report.Check{}
	}
	if c := report.Find(checks, report.LocalImageID(domain)); c.Kind == report.KindImage {
		return c
	}
	return report.Check{}
}

// resultOf returns what is said about one image. The estimate is how long a pull takes at the
// rate of this node; nil: that is not known.
func resultOf(i image, v report.Verdict, checks []report.Check, estimate *report.PullEstimate, now time.Time) preflight.Result {
	r := preflight.Result{Image: i.Image, Places: i.places, Verdict: v}
	for _, c := range checks {
		if n, err := strconv.ParseInt(c.Evidence[report.KeySize], 10, 64); err == nil && c.Kind == report.KindImage && r.Bytes == 0 {
			r.Bytes = n
		}
	}
	if estimate != nil && estimate.BytesPerSecond > 0 {
		r.Seconds = max(estimate.Bytes/estimate.BytesPerSecond, 1)
	}
	if n, err := strconv.ParseInt(report.Find(checks, report.IDPull).Evidence[report.KeyEstimateSeconds], 10, 64); err == nil {
		r.Seconds = max(n, 1)
	}
	r.Remarks = remarks(i, checks, now)
	return r
}

// expiryNotice is how long before its end a login is worth a remark.
const expiryNotice = 24 * time.Hour

// remarks returns what is no fault and worth knowing before a rollout.
func remarks(i image, checks []report.Check, now time.Time) (out []string) {
	ref := report.Find(checks, report.IDReference)
	if ref.Evidence[report.KeyTag] == "latest" {
		out = append(out, "tag latest: nodes that pull at different times may run different images")
	}
	if present := onNode(checks); present.ID != "" {
		text := "the image is on this node already"
		if i.Policy == corev1.PullIfNotPresent {
			text += ": the kubelet does not pull it here (pull policy IfNotPresent)"
		}
		out = append(out, text)
	}
	credentials := report.Find(checks, report.IDCredentials)
	at, err := time.Parse(time.RFC3339, credentials.Evidence[report.KeyExpires])
	if left := at.Sub(now); err == nil && left > 0 && left < expiryNotice {
		text := "the login expires in " + readable.Roughly(left) + ", on " + readable.Time(at)
		if source := credentials.Evidence[report.KeySource]; source != "" {
			text += " (" + source + ")"
		}
		out = append(out, text)
	}
	for _, c := range checks {
		if c.Kind == report.KindTLS && c.Outcome == report.Pass && c.Evidence[report.KeyExpiresSoon] != "" {
			out = append(out, "the certificate of "+c.Host+" ends soon: "+c.Summary)
			break
		}
	}
	if disk := report.Find(checks, report.IDDisk); disk.Outcome == report.Pass && disk.Evidence[report.KeyBelowEviction] == report.True {
		out = append(out, disk.Summary)
	}
	return out
}
