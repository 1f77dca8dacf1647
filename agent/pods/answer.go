package pods

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/agent/corev1"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// answer is what a pod does that does not wait for an image.
type answer struct {
	state    string // evidence "state" of the pod check
	waitsFor string // evidence "waitsFor"
	text     string
}

// Over reports whether no container of the pod will be started again: it needs no image.
func (p Pod) Over() bool {
	return p.Deleting || p.Phase == corev1.PodSucceeded || p.Phase == corev1.PodFailed
}

// over returns the answer for a pod of which nothing is started any more.
func (p Pod) over() answer {
	const unchecked = "; it needs no image, so nothing was checked"
	switch {
	case p.Deleting:
		return answer{report.PodDeleting, "", "the pod is being deleted" + unchecked}
	case p.Phase == corev1.PodSucceeded:
		return answer{report.PodSucceeded, "", "the pod has completed" + unchecked}
	}
	text := "the pod has failed"
	if p.Reason != "" {
		text += " (" + readable.Clean(p.Reason, 64) + ")"
	}
	text += unchecked
	if p.Message != "" { // the kubelet's: of an eviction, of a deadline
		text += ": " + readable.Clean(p.Message, 300)
	}
	return answer{report.PodFailed, "", text}
}

// answerFor returns what a container does that has its image, or does not need it yet; ok is
// false if it may wait for its image.
func (p Pod) answerFor(c Container, w PendingImage) (a answer, ok bool) {
	name := "container " + c.Name
	switch {
	case w.Failing || w.Creating || c.About != "":
		return answer{}, false
	case c.restarted(w.Seen):
		return c.startedAgain(name), true
	case !c.State.Running.IsZero():
		return c.runs(name), true
	case c.Reason == "PodInitializing" && !c.Next:
		return p.initializes(c, name), true
	case w.ImageReady(), c.State.End != nil && c.Reason == "":
		return c.stopped(name, p.Namespace), true
	}
	return answer{}, false
}

// settleTime is how long a container has to run after a failure before it counts as running:
// one that crashes at its start is seen to run, too. It is the kubelet's shortest back-off.
const settleTime = 10 * time.Second

// restarted reports whether the container has just been started again after a failure.
func (c Container) restarted(now time.Time) bool {
	s := c.State
	return !s.Running.IsZero() && now.Sub(s.Running) < settleTime && s.End != nil && s.End.Code != 0
}

// startedAgain returns the answer for a container that has just been started again.
func (c Container) startedAgain(name string) answer {
	return answer{report.ContainerCrashed, "restarted", fmt.Sprintf("%s has its image and was started again at %s (%s); before that: %s",
		name, readable.Time(c.State.Running), restarts(c.State.Restarts), c.State.End.text())}
}

// Covers reports whether a list has all that there is to say of an image: it has the image,
// and nothing else is known of what the container does.
func (p Pod) Covers(list []PendingImage, w PendingImage) bool {
	c, _ := p.containerNamed(w.Container)
	_, does := p.answerFor(c, w)
	return slices.ContainsFunc(list, func(o PendingImage) bool {
		return o.Image == w.Image && (o.Container == w.Container || !does)
	})
}

// runs returns the answer for a container that runs.
func (c Container) runs(name string) answer {
	a := answer{report.ContainerRunning, "", name + " has been running since " + readable.Time(c.State.Running)}
	if c.State.Restarts > 0 && c.State.End != nil {
		a.text += fmt.Sprintf(" (%s; before that: %s)", restarts(c.State.Restarts), c.State.End.text())
	}
	if c.State.Probe != "" {
		a.waitsFor = c.State.Probe
		a.text += " and has not passed its " + c.State.Probe + " probe"
	}
	return a
}

// initializes returns the answer for a container that comes after an init container.
func (p Pod) initializes(c Container, name string) answer {
	a := answer{report.ContainerInitializing, "init", name + " waits for the pod's init containers"}
	for _, first := range p.Containers {
		if !first.Init || !first.Next || first.Name == c.Name {
			continue
		}
		a.waitsFor = "init/" + first.Name
		a.text = name + " waits for init container " + first.Name
		switch {
		case !first.State.Running.IsZero():
			a.text += ", which has been running since " + readable.Time(first.State.Running)
		case first.fails():
			a.text += ", which waits for its own image"
		case first.State.End != nil && first.State.End.Code != 0:
			a.text += ", which fails: " + first.State.End.text()
		case first.Reason != "" && first.Reason != "PodInitializing":
			a.text += " (" + readable.Clean(first.Reason, 64) + ")"
		}
	}
	return a
}

// stopped returns the answer for a container that has its image and does not run.
func (c Container) stopped(name, namespace string) answer {
	end := c.State.End
	switch {
	case c.Reason == "CreateContainerConfigError":
		return c.lacksConfig(name, namespace)
	case c.Reason == "CreateContainerError":
		return answer{report.ContainerWaiting, "start", name + " has its image and cannot be created" + c.because()}
	case c.Reason == "RunContainerError", end != nil && !end.started():
		because := c.because()
		if end != nil && because == "" {
			because = ": " + end.text()
		}
		return answer{report.ContainerCrashed, "start", name + " has its image and cannot be started" + because}
	case end != nil && end.Code == 0 && c.Reason == "":
		return answer{report.ContainerEnded, "", fmt.Sprintf("%s has ended: %s", name, end.text())}
	case end != nil:
		text := name + " has its image and does not keep running: " + end.text()
		if c.State.Restarts > 0 {
			text += "; " + restarts(c.State.Restarts)
		}
		return answer{report.ContainerCrashed, "restart", text}
	}
	return answer{report.ContainerWaiting, "", name + " has its image and waits for something else: " + c.Reason}
}

// creationErrors are the waiting reasons with a message of the kubelet or the runtime. That
// of a hook may quote what the application wrote.
var creationErrors = []string{"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

// because returns the message of the waiting state, after a colon.
func (c Container) because() string {
	if message := runtimeMessage(c.Message); message != "" && slices.Contains(creationErrors, c.Reason) {
		return ": " + readable.Clean(message, 300)
	}
	return ""
}

// The kubelet's messages on what a container's environment is made from
// (pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables).
var (
	absentObject = compiled(`^(configmap|secret) "([a-z0-9.-]+)" not found$`)
	absentKey    = compiled(`^couldn't find key ([-._a-zA-Z0-9]+) in (ConfigMap|Secret) [a-z0-9-]+/([a-z0-9.-]+)$`)
)

// lacksConfig returns the answer for a container that lacks something that its manifest names.
func (c Container) lacksConfig(name, namespace string) answer {
	kinds := map[string]string{"configmap": "ConfigMap", "secret": "Secret"}
	if m := absentObject().FindStringSubmatch(c.Message); m != nil {
		return answer{report.ContainerWaiting, m[1] + "/" + m[2],
			fmt.Sprintf("%s has its image and waits for %s %s, which does not exist in namespace %s", name, kinds[m[1]], m[2], namespace)}
	}
	if m := absentKey().FindStringSubmatch(c.Message); m != nil {
		return answer{report.ContainerWaiting, strings.ToLower(m[2]) + "/" + m[3] + "/" + m[1],
			fmt.Sprintf("%s has its image and waits for key %s of %s %s, which has no such key", name, m[1], m[2], m[3])}
	}
	return answer{report.ContainerWaiting, "start", name + " has its image and cannot be created" + c.because()}
}

// text returns how the run ended, in one clause.
func (e *End) text() string {
	if !e.started() {
		if e.Message == "" {
			return "the runtime could not start it (" + readable.Clean(e.Reason, 64) + ")"
		}
		return readable.Clean(e.Message, 300)
	}
	text := "exit code " + strconv.Itoa(int(e.Code))
	if e.Reason != "" {
		text += " (" + readable.Clean(e.Reason, 64) + ")"
	}
	if !e.At.IsZero() {
		text += " at " + readable.Time(e.At)
	}
	return text
}

func restarts(n int32) string {
	if n == 1 {
		return "1 restart"
	}
	return strconv.Itoa(int(n)) + " restarts"
}

// addAnswer adds what a container does to its check.
func addAnswer(c *report.Check, a answer, container Container) {
	c.Summary = a.text
	c.Evidence[report.KeyState] = a.state
	s := container.State
	for key, value := range map[string]string{
		report.KeyWaitsFor: a.waitsFor,
		report.KeyDigest:   digestOf(s.ImageID),
	} {
		if value != "" {
			c.Evidence[key] = value
		}
	}
	switch a.state {
	case report.ContainerRunning, report.ContainerInitializing:
		return // whether the image could be pulled is still of interest
	}
	c.Cause = report.NotAPullProblem
	if s.End != nil {
		c.Evidence[report.KeyExitCode] = strconv.Itoa(int(s.End.Code))
		if s.End.started() && s.End.Ran.Seconds() <= atOnce {
			c.Evidence[report.KeyAtOnce] = report.True
		}
	}
	addExecFormat(c, container)
}

// atOnce is how long a process ran, in seconds, that may not have run at all. The status has
// whole seconds.
const atOnce = 1

// addExecFormat adds that the container's program is not one for this node, if that was
// reported.
func addExecFormat(c *report.Check, container Container) {
	end := container.State.End
	by := ""
	switch {
	case slices.Contains(creationErrors, container.Reason) && execFormat(container.Message):
		by = ByRuntime
	case end != nil:
		by = end.Exec
	}
	if by == "" {
		return
	}
	c.Evidence[report.KeyExecFormat] = by
	if by == ByRuntime {
		c.Outcome, c.Cause = report.Fail, report.PlatformMismatch
		c.Evidence[report.KeyCould] = string(report.PlatformMismatch) + "," + string(report.NotAPullProblem)
	}
}

// digestOf returns the digest in the kubelet's name of an image; empty if it has none, and is
// an ID.
func digestOf(imageID string) string {
	_, digest, _ := strings.Cut(imageID, "@")
	return digest
}
