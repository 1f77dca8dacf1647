package diagnosis

import (
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/advice"
	"github.com/pullprobe/pullprobe/report"
)

// This file holds verdicts on images that no container waits for: a user asked.

// programNotForNode applies where a container's program cannot be executed on this node. The
// kernel refuses a program for another architecture in the same way as a script without an
// interpreter (ENOEXEC, execve(2)), so the image's platform decides.
func programNotForNode(e *evaluation) (report.Verdict, bool) {
	pod := e.Get(report.IDPod)
	by := pod.Evidence[report.KeyExecFormat]
	local := e.Get(report.LocalImageID(e.Domain()))
	runs, here := pod.Evidence[report.KeyDigest], local.Evidence[report.KeyDigest]
	sameImage := runs == "" || here == "" || runs == here // else the name was given to another one since
	otherPlatform := local.Outcome == report.Fail && local.Cause == report.PlatformMismatch && sameImage
	// runc reports it in the container's log only, and ends with 255; before 1.1 with 1.
	silent := pod.Evidence[report.KeyState] == report.ContainerCrashed && pod.Is(report.KeyAtOnce) &&
		slices.Contains([]string{"1", "255"}, pod.Evidence[report.KeyExitCode])
	switch {
	case by == "" && !(silent && otherPlatform):
		return report.Verdict{}, false
	case otherPlatform && by == "runtime":
		v := confirmed(report.PlatformMismatch, local.ID, report.IDPod)
		v.Summary = "container " + pod.Evidence[report.KeyContainer] + " fails with exec format error: " + local.Summary
		return v, true
	case otherPlatform:
		v := likely(report.PlatformMismatch, local.ID, report.IDPod)
		v.Summary = pod.Summary + "; " + local.Summary
		if by == "" {
			v.WouldDecide = []string{"check whether the container's log has exec format error:\n" +
				"kubectl -n " + pod.Evidence[report.KeyNamespace] + " logs " + pod.Evidence[report.KeyName] +
				" -c " + pod.Evidence[report.KeyContainer]}
		}
		return v, true
	}
	v := report.Verdict{
		Fault:      report.FaultUndetermined,
		Cause:      report.Undetermined,
		Confidence: report.ConfidenceUndetermined,
		Because:    e.Existing(report.IDPod, local.ID),
		Summary:    pod.Summary + "; exec format error: its program is a script without a #! line, or built for another architecture",
		WouldDecide: []string{"check the first bytes of the program that the container starts: " +
			"a script needs a first line such as #!/bin/sh, a program must be built for this node's architecture"},
	}
	if p := local.Evidence[report.KeyPlatform]; p != "" && sameImage {
		v.Summary += " although the image is declared for " + p
	}
	return v, true
}

// asNotWaiting returns the verdict for a container that does not wait for its image: it runs,
// or comes after an init container. What the checks found is then about a new pull.
func (e *evaluation) asNotWaiting(v report.Verdict) report.Verdict {
	pod := e.Get(report.IDPod)
	state := pod.Evidence[report.KeyState]
	if state != report.ContainerRunning && state != report.ContainerInitializing {
		return v
	}
	summary, init := pod.Summary+e.whatIsHere(), state == report.ContainerInitializing
	switch {
	case v.Fault == report.FaultNone && init:
		summary += "; a new pull would work, as far as checked"
		v.Fix, v.WouldDecide = "", nil
	case v.Fault == report.FaultNone:
		v.Because = appendNew(v.Because, report.IDPod)
		v.Summary = summary + "; a new pull would work now"
		if e.Present() {
			v.WouldDecide = nil
		}
		return v
	case init && v.Cause != report.Undetermined && (!e.Present() || e.AlwaysPulls() || v.Cause == report.PlatformMismatch):
		return comingFault(v, pod)
	case v.Cause == report.Undetermined:
		summary += "; whether a new pull would work is not known: " + v.Summary
		v.Fix = ""
	default:
		would := "; a new pull would fail: "
		if v.Cause == report.PlatformMismatch {
			would = "; it could not run here: "
		}
		summary += would + v.Inline() + ": " + v.Summary
		v.Also = append([]report.Cause{v.Cause}, v.Also...)
	}
	none := confirmed(report.NotAPullProblem, append([]string{report.IDPod}, v.Because...)...)
	none.Summary, none.Fix, none.Also = summary, v.Fix, v.Also
	if none.Fix == "" {
		none.Fix = advice.Fix(e.Evidence, none, "")
	}
	none.WouldDecide = slices.DeleteFunc(slices.Clone(v.WouldDecide), func(s string) bool { return strings.HasPrefix(s, "wait for ") })
	return none
}

// comingFault returns the verdict for a container that comes after an init container, and
// whose image will fail then: the pull has not been tried yet, so it is likely at most.
func comingFault(v report.Verdict, pod report.Check) report.Verdict {
	next := "the next pull will fail: "
	if v.Cause == report.PlatformMismatch {
		next = "the image cannot run here: "
	}
	v.Summary = next + v.Summary + "; now " + pod.Summary
	v.Confidence = atMost(v.Confidence, report.Likely)
	v.Because = appendNew(v.Because, report.IDPod)
	v.WouldDecide = slices.DeleteFunc(slices.Clone(v.WouldDecide), func(s string) bool { return strings.HasPrefix(s, "wait for ") })
	v.WouldDecide = append(v.WouldDecide, "wait for the kubelet's first pull of this image")
	return v
}

// besideOthers says for which containers the pod waits, where nothing is wrong with this one.
func (e *evaluation) besideOthers(v report.Verdict) report.Verdict {
	pod := e.Get(report.IDPod).Evidence
	others := pod[report.KeyOthersWait]
	if v.Fault != report.FaultNone || others == "" || strings.HasPrefix(pod[report.KeyWaitsFor], "init/") {
		return v
	}
	containers := "container "
	if strings.Contains(others, ",") {
		containers = "containers "
	}
	v.Summary = "the pod waits for the image of " + containers + others + ", not for that of " + pod[report.KeyContainer] + ": " + v.Summary
	return v
}

// whatIsHere says whether the image is on the node, and whether the container, the node and
// the registry have the same one.
func (e *evaluation) whatIsHere() string {
	local := e.Get(report.LocalImageID(e.Domain()))
	if !e.Exists(local.ID) {
		if e.LocalImages().Evidence[report.KeyPresent] == "false" {
			return "; the node has no image of this name"
		}
		return ""
	}
	s := "; " + local.Summary
	here := local.Evidence[report.KeyDigest]
	if runs := e.Fact(report.IDPod, report.KeyDigest); runs != "" && here != "" && runs != here {
		s += ", but the container has another one: " + runs
	}
	if there := e.Fact(report.ImageID(e.UsedHost()), report.KeyDigest); there != "" && here != "" && there != here {
		s += "; the registry has another one under this name: " + there
	}
	return s
}
