// Package waiting joins the pods that wait for an image with what the reports of their nodes
// say about them, and groups them by who must act. It is pure: no clock, no cluster.
package waiting

import (
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/classify"
	"github.com/pullprobe/pullprobe/report"
)

// Case is one container that waits for an image.
type Case struct {
	Namespace string
	Pod       string
	UID       string
	Container string
	Image     string // as the pod names it
	Node      string // empty: the pod has none yet
	Owner     string // as in a report; empty: none
	Since     time.Time
	Reason    string // the kubelet's
	Message   string // the kubelet's

	Verdict   report.Verdict
	Diagnosis *report.Diagnosis // with its checks; nil: the verdict is not from a report
	Source    Source
	At        time.Time // when the verdict was reached; zero: not known
}

// Source is where a verdict comes from.
type Source string

const (
	FromReport  Source = "report"  // of the pod's node, which names the pod
	FromOwner   Source = "owner"   // of the pod's node, which names another pod of the same owner
	FromEvent   Source = "event"   // on the pod
	FromMessage Source = "message" // the kubelet's, alone
)

// failures are the kubelet's waiting reasons for an image (pkg/kubelet/images/types.go, cri-api
// pkg/errors; RegistryUnavailable is from older kubelets).
var failures = []string{
	"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
	"RegistryUnavailable", "SignatureValidationFailed",
}

// pullFails reports whether a waiting state is about an image. A reason of several words is the
// kubelet's bare error: it uses that for pull secrets that it cannot decode (image_manager.go,
// EnsureImageExists).
func pullFails(w *corev1.ContainerStateWaiting) bool {
	return slices.Contains(failures, w.Reason) || strings.Contains(w.Reason, " ")
}

// creates reports whether the kubelet still creates the container, without a failure.
func creates(w *corev1.ContainerStateWaiting) bool {
	return w.Reason == "ContainerCreating" || w.Reason == "PodInitializing"
}

// Sources are what is known of the nodes, by their names, and of the pods, by their UIDs.
type Sources struct {
	Reports map[string]*report.NodeReport
	Events  map[string][]Event // the newest first
}

// Cases returns the containers of pods that wait for an image, in the order of the pods. A
// container that is still being created counts if the report of its node says that it waits.
func Cases(pods []corev1.Pod, from Sources) (out []Case) {
	for i := range pods {
		p := &pods[i]
		if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		out = append(out, casesOf(p, from)...)
	}
	return out
}

func casesOf(p *corev1.Pod, from Sources) (out []Case) {
	images := map[string]string{}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		images[c.Name] = c.Image
	}
	for _, c := range p.Spec.EphemeralContainers {
		images[c.Name] = c.Image
	}
	rep := from.Reports[p.Spec.NodeName]
	initEnded := lastTransition(p, corev1.PodInitialized)
	for i, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses) {
		w := s.State.Waiting
		if w == nil || !pullFails(w) && !creates(w) {
			continue
		}
		c := Case{
			Namespace: p.Namespace, Pod: p.Name, UID: string(p.UID), Container: s.Name, Image: images[s.Name], Node: p.Spec.NodeName,
			Owner: OwnerOf(p), Reason: w.Reason, Message: w.Message, Since: lastTransition(p, corev1.PodScheduled),
		}
		c.Since = later(c.Since, p.CreationTimestamp.Time)
		if i >= len(p.Status.InitContainerStatuses) && p.Status.Conditions != nil {
			c.Since = later(c.Since, initEnded)
		}
		if t := s.LastTerminationState.Terminated; t != nil {
			c.Since = later(c.Since, t.FinishedAt.Time)
		}
		if rep != nil {
			c.join(rep)
		}
		if creates(w) && (c.Source != FromReport || c.Diagnosis.Pods == nil || c.Diagnosis.Pods.Since.IsZero()) {
			continue
		}
		out = append(out, c)
	}
	for i := range out {
		if out[i].Source == "" {
			out[i].fromEvent(from.Events[string(p.UID)], len(out))
		}
		if out[i].Source == "" {
			out[i].fromMessage()
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// lastTransition returns when a condition became true; zero: it is not.
func lastTransition(p *corev1.Pod, kind corev1.PodConditionType) time.Time {
	for _, c := range p.Status.Conditions {
		if c.Type == kind && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// join takes over what the report of the node says about the container.
func (c *Case) join(rep *report.NodeReport) {
	var ofOwner []*report.Diagnosis
	for i := range rep.Diagnoses {
		d := &rep.Diagnoses[i]
		switch {
		case c.named(d):
			c.take(d, FromReport)
			return
		case c.sharesOwner(d):
			ofOwner = append(ofOwner, d)
		}
	}
	if len(ofOwner) == 1 { // of several, it is not known which
		c.take(ofOwner[0], FromOwner)
	}
}

// take takes over a diagnosis, with the fix for the pod's own owner.
func (c *Case) take(d *report.Diagnosis, from Source) {
	c.Diagnosis, c.Verdict, c.Source, c.At = d, d.Verdict, from, d.Time
	if d.Pods == nil {
		return
	}
	if d.Pods.Count == 1 && !d.Pods.Since.IsZero() {
		c.Since = d.Pods.Since
	}
	for _, o := range d.Pods.Owners {
		if o.Name == c.Owner && o.Fix != "" {
			c.Verdict.Fix = o.Fix
		}
	}
}

// named reports whether a diagnosis is about this container, and about the image that it has
// now.
func (c *Case) named(d *report.Diagnosis) bool {
	for _, r := range d.Refs() {
		if r.UID == c.UID && r.Container == c.Container {
			return d.Image == c.Image || r.Volume != "" || d.Verdict.Cause == report.SandboxImageUnavailable
		}
	}
	if d.Pods == nil || d.Image != c.Image {
		return false
	}
	_, announced := d.Pods.Announced[c.UID]
	return announced
}

// sharesOwner reports whether a diagnosis is about a pod of the same owner with the same image
// in the same container: a report names ten pods of each.
func (c *Case) sharesOwner(d *report.Diagnosis) bool {
	namespace, _, _ := strings.Cut(d.Pod, "/")
	if c.Owner == "" || d.Pods == nil || namespace != c.Namespace || d.Image != c.Image || d.Container != c.Container {
		return false
	}
	return slices.ContainsFunc(d.Pods.Owners, func(o report.Owner) bool { return o.Name == c.Owner })
}

// fromMessage explains the kubelet's message. Alone it proves little.
func (c *Case) fromMessage() {
	c.Source = FromMessage
	c.Verdict = report.Verdict{
		Fault: report.FaultUndetermined, Cause: report.Undetermined, Confidence: report.ConfidenceUndetermined,
	}
	if c.Message == "" {
		return
	}
	x := Explain(c.Message)
	c.Verdict = report.Verdict{Fault: x.Fault, Cause: x.Cause, Confidence: x.Confidence, Summary: x.Summary, Fix: x.Fix, Also: nil}
}

// Explain returns what an error message alone means.
func Explain(message string) report.Explanation {
	r := classify.Message(message)
	return report.NewExplanation(message, report.Reading{
		Cause: r.Cause, Candidates: r.Candidates, Proven: r.Proven, Step: r.Step, Host: r.Host, Foreign: r.Foreign, Clause: r.Clause,
		Registry: r.Image.Registry, Repository: r.Image.Repository, Reference: r.Image.Reference,
	})
}

// About returns what the report of a pod's node says about the pod, whether it waits or not: the
// answers to requests are among it.
func About(p *corev1.Pod, rep *report.NodeReport) (out []Case) {
	if rep == nil {
		return nil
	}
	for i := range rep.Diagnoses {
		d := &rep.Diagnoses[i]
		for _, r := range d.Refs() {
			if r.UID != string(p.UID) {
				continue
			}
			c := Case{
				Namespace: p.Namespace, Pod: p.Name, UID: r.UID, Container: r.Container, Image: d.Image, Node: rep.Node, Owner: OwnerOf(p),
				Since: p.CreationTimestamp.Time,
			}
			c.take(d, FromReport)
			out = append(out, c)
		}
	}
	return out
}

// Named returns the pods of a namespace that reports name as waiting; of all namespaces if it is
// empty. It is for a caller who may not list pods.
func Named(reports map[string]*report.NodeReport, namespace string) (out []Case) {
	for _, node := range slices.Sorted(maps.Keys(reports)) {
		rep := reports[node]
		for i := range rep.Diagnoses {
			d := &rep.Diagnoses[i]
			if d.Pods == nil || d.Pods.Since.IsZero() {
				continue
			}
			for _, r := range d.Refs() {
				ns, name, _ := strings.Cut(r.Pod, "/")
				if namespace != "" && ns != namespace {
					continue
				}
				c := Case{Namespace: ns, Pod: name, UID: r.UID, Container: r.Container, Image: d.Image, Node: node, Since: d.Pods.Since}
				if len(d.Pods.Owners) == 1 && d.Pods.Owners[0].Name != report.NoOwner {
					c.Owner = d.Pods.Owners[0].Name
				}
				c.take(d, FromReport)
				out = append(out, c)
			}
		}
	}
	return out
}
