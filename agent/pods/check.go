package pods

import (
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/classify"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Check returns what the kubelet reports of one image of a pod.
func Check(p Pod, w PendingImage, node string) report.Check {
	c := report.Check{ID: report.IDPod, Kind: report.KindPod, Target: p.String(), Outcome: report.Pass, Evidence: map[string]string{
		report.KeyNamespace:      p.Namespace,
		report.KeyName:           p.Name,
		report.KeyContainer:      w.Container,
		report.KeyNode:           node,
		report.KeyServiceAccount: p.ServiceAccount,
		report.KeyPolicy:         string(w.Policy),
		report.KeyPullSecrets:    strings.Join(p.PullSecrets, ","),
	}}
	for key, value := range map[string]string{
		report.KeyOwner:         p.Owner.Name,
		report.KeyJob:           p.Owner.Job,
		report.KeyContainerType: p.containerType(w.Container),
		report.KeyVolume:        p.VolumeOf(w),
		report.KeyReason:        w.Reason,
		report.KeySandbox:       w.Sandbox,
		report.KeyOthersWait:    p.othersWait(w.Container),
	} {
		if value != "" {
			c.Evidence[key] = value
		}
	}
	container, _ := p.containerNamed(w.Container)
	does, known := p.answerFor(container, w)
	switch {
	case p.Over():
		addAnswer(&c, p.over(), Container{})
	case w.Failing:
		addFailure(&c, w)
	case known:
		addAnswer(&c, does, container)
	case w.Started && !w.Creating:
		c.Summary = "the container has started, so its image was pulled"
	default:
		addWaiting(&c, p, w)
	}
	return c
}

// othersWait returns the names of other containers whose pull fails, at most three.
func (p Pod) othersWait(name string) string {
	var names []string
	for _, c := range p.Containers {
		if c.Name != name && c.fails() && len(names) < 3 {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", ")
}

// containerType returns "init" or "ephemeral"; empty: an ordinary container.
func (p Pod) containerType(name string) string {
	c, _ := p.containerNamed(name)
	switch {
	case c.Ephemeral:
		return "ephemeral"
	case c.Init:
		return "init"
	}
	return ""
}

// VolumeOf returns the image volume that needs the image; empty if the container
// itself does.
func (p Pod) VolumeOf(w PendingImage) string {
	c, _ := p.containerNamed(w.Container)
	if w.Image == c.Image {
		return ""
	}
	return c.ImageVolumes[w.Image].Name
}

// addFailure adds the kubelet's message on a failed pull.
func addFailure(c *report.Check, w PendingImage) {
	r := classify.Message(w.Reason + ": " + w.Message)
	c.Outcome, c.Cause = report.Fail, r.Cause
	c.Evidence[report.KeyMessage] = w.Message
	candidates := make([]string, len(r.Candidates))
	for i, cause := range r.Candidates {
		candidates[i] = string(cause)
	}
	c.Evidence[report.KeyCould] = strings.Join(candidates, ",")
	if r.Step != "" {
		c.Evidence[report.KeyStep] = r.Step
	}
	// The reason is the kubelet's own, the message may quote a registry.
	if r.Proven && (r.Cause != report.NeverPullNotPresent || w.Reason == "ErrImageNeverPull") {
		c.Evidence[report.KeyProven] = report.True
	}
	c.Summary = "the kubelet reports " + w.Reason
	if r.Clause != "" {
		c.Summary += ": " + r.Clause
	}
}

// addWaiting adds what is known while the kubelet has reported neither the image
// nor a failure.
func addWaiting(c *report.Check, p Pod, w PendingImage) {
	c.Evidence[report.KeyCreating] = report.True
	since := readable.Time(w.Since)
	switch {
	case w.About != "":
		c.Evidence[report.KeyAboutImage] = readable.Clean(w.About, 512)
		c.Evidence[report.KeySince] = w.Since.UTC().Format(time.RFC3339)
		c.Summary = "the kubelet's last message is about another image, " + readable.Clean(w.About, 200) +
			", and it has reported nothing about this one yet"
	case w.ForSandbox:
		c.Summary = "the pod has had no sandbox since " + since + ", and the sandbox (pause) image is missing"
	case w.Creating:
		c.Evidence[report.KeySince] = w.Since.UTC().Format(time.RFC3339)
		c.Summary = "the kubelet has been creating this container since " + since + " without reporting a failure"
	case w.Sandbox == SandboxAbsent:
		c.Summary = "the pod has no sandbox, so the kubelet has not requested the image yet: " +
			"it waits for a volume, the network or the sandbox image"
		if len(p.Sources) > 0 {
			c.Summary += "; its volumes need " + readable.Clean(readable.Abbreviate(p.Sources), 300)
			if objects := p.volumeObjects(); len(objects) > 0 {
				c.Summary += "; whether that exists was not checked"
				c.Evidence[report.KeyVolumesNeed] = strings.Join(objects, ",")
			}
		}
	default:
		c.Summary = "the kubelet has reported neither the image nor a failure yet"
	}
}

// objectName matches the name of an object. The API server does not check that of a volume's
// ConfigMap, and it becomes part of a command.
var objectName = compiled(`^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$`)

// volumeObjects returns the objects that the pod's volumes are made from, at most five, as
// kubectl names them: "configmap/settings".
func (p Pod) volumeObjects() (out []string) {
	for _, source := range p.Sources {
		kind, name, _ := strings.Cut(source, " ")
		object := strings.ToLower(kind) + "/" + name
		known := slices.Contains([]string{"ConfigMap", "Secret", "PersistentVolumeClaim"}, kind)
		if known && objectName().MatchString(name) && len(out) < 5 && !slices.Contains(out, object) {
			out = append(out, object)
		}
	}
	return out
}
