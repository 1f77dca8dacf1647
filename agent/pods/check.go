package pods

import (
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/classify"
	"github.com/pullprobe/pullprobe/report"
)

// podCheck is what the kubelet says of an image of a pod.
func Check(p Pod, w PendingImage, node string) report.Check {
	c := report.Check{ID: "pod", Kind: report.KindPod, Target: p.String(), Outcome: report.Pass, Evidence: map[string]string{
		"namespace": p.Namespace, "name": p.Name, "container": w.Container, "node": node, "serviceAccount": p.ServiceAccount,
		"policy": string(w.Policy), "pullSecrets": strings.Join(p.PullSecrets, ","),
	}}
	if w.Reason != "" {
		c.Evidence["reason"] = w.Reason
	}
	if w.Sandbox != "" {
		c.Evidence["sandbox"] = w.Sandbox
	}
	switch {
	case w.Failing:
		r := classify.Message(w.Reason + ": " + w.Message)
		c.Outcome, c.Cause = report.Fail, r.Cause
		c.Evidence["message"] = w.Message
		could := make([]string, len(r.Candidates))
		for i, k := range r.Candidates {
			could[i] = string(k)
		}
		c.Evidence["could"] = strings.Join(could, ",")
		if r.Step != "" {
			c.Evidence["step"] = r.Step
		}
		// The reason is the kubelet's own, the message may quote a registry.
		if r.Proven && (r.Cause != report.NeverPullNotPresent || w.Reason == "ErrImageNeverPull") {
			c.Evidence["proven"] = "true"
		}
		c.Summary = "the kubelet says " + w.Reason
		if r.Clause != "" {
			c.Summary += ": " + r.Clause
		}
	case w.Started && !w.Creating:
		c.Summary = "the container has started, so its image came"
	case w.ImageReady():
		c.Cause = report.NotAPullProblem
		c.Summary = "the container has its image and waits for something else: " + w.Reason
	default:
		c.Evidence["creating"] = "true"
		c.Summary = "the kubelet has reported neither the image nor a failure yet"
		switch {
		case w.ForSandbox:
			c.Summary = "the pod has had no sandbox since " + w.Since.UTC().Format("15:04:05") + " UTC, and the runtime lacks the image that sandboxes are made from"
		case w.Creating:
			c.Evidence["since"] = w.Since.UTC().Format(time.RFC3339)
			c.Summary = "the kubelet has been at this container since " + w.Since.UTC().Format("15:04:05") + " UTC and has reported no failure"
		case w.Sandbox == SandboxAbsent:
			c.Summary = "the pod has no sandbox, so the kubelet has not asked for the image yet: it waits for a volume, the network or the sandbox's own image"
		}
	}
	return c
}
