package view

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/report/readable"
)

// State is what a pod does that does not wait for an image.
type State struct {
	Text string
	Open bool // it may yet come to wait for one
}

// StateOf returns what a pod does, in one sentence without its subject: "runs, …".
func StateOf(p *corev1.Pod) State {
	switch {
	case p.DeletionTimestamp != nil:
		return State{Text: "is being deleted"}
	case p.Status.Phase == corev1.PodSucceeded:
		return State{Text: "has completed"}
	case p.Status.Phase == corev1.PodFailed:
		return State{Text: withMessage("has failed", p.Status.Reason, p.Status.Message)}
	case p.Spec.NodeName == "":
		return State{Text: unscheduled(p), Open: true}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch w, t := s.State.Waiting, s.State.Terminated; {
		case w != nil && w.Reason == "PodInitializing" && len(p.Status.InitContainerStatuses) > 0:
			continue // the init container that runs says more
		case w != nil && (w.Reason == "ContainerCreating" || w.Reason == "PodInitializing"):
			return State{Text: "is being created: container " + s.Name + " has not failed", Open: true}
		case w != nil:
			return State{Text: withMessage("waits: container "+s.Name, w.Reason, w.Message)}
		case t != nil && t.ExitCode != 0:
			return State{Text: withMessage(fmt.Sprintf("has a container that ended: %s, exit code %d", s.Name, t.ExitCode), t.Reason, "")}
		}
	}
	return State{Text: running(p), Open: len(p.Status.ContainerStatuses) == 0}
}

func withMessage(text, reason, message string) string {
	if reason != "" {
		text += " (" + reason + ")"
	}
	if message != "" {
		text += ": " + readable.Clean(message, 300)
	}
	return text
}

// unscheduled returns why a pod has no node, as the scheduler reports it.
func unscheduled(p *corev1.Pod) string {
	text := "has no node yet"
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return withMessage(text, c.Reason, c.Message)
		}
	}
	return text
}

func running(p *corev1.Pod) string {
	ready := 0
	for _, s := range p.Status.ContainerStatuses {
		if s.Ready {
			ready++
		}
	}
	all := len(p.Spec.Containers)
	if ready == all {
		return "runs, and is ready"
	}
	if len(p.Status.ContainerStatuses) == 0 {
		return "has not been started by its kubelet yet"
	}
	return fmt.Sprintf("runs, and %d of %s %s not ready", all-ready, screen.Plural(all, "container"), verb(all-ready, "are", "is"))
}

// Ready reports whether all containers of a pod are ready.
func Ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
