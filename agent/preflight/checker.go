// Package preflight checks whether this node could pull the images of pods that ask for that: pods
// with the scheduling gate pullprobe.dev/preflight, which the fleet names. Nothing is pulled.
package preflight

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/corev1"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/preflight"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Checker checks the images of the pods that the fleet names.
type Checker struct {
	cfg Config

	requests chan []nodefacts.Pod // holds the last request that was not taken yet
}

// Config is what a checker needs.
type Config struct {
	Node string
	Log  *slog.Logger
	// Pod reads a pod; nil: it does not exist.
	Pod func(ctx context.Context, namespace, name string) (*corev1.Pod, error)
	// Subject returns what is examined for one image of a pod.
	Subject func(pods.Pod, pods.PendingImage) examine.Subject
	// Acquire waits until an examination may begin, as all of the agent do. release ends it.
	// ok is false if ctx ended before.
	Acquire func(ctx context.Context, namespace, registry string) (release func(), ok bool)
	Examine func(context.Context, examine.Subject, func(examine.Result)) examine.Result
	// Others returns what other nodes see of the hosts of failed checks, and of the image.
	Others func(checks []report.Check, image string) []report.Check
	// Estimate returns how long a pull takes here; nil: that is not known.
	Estimate func([]report.Check) *report.PullEstimate
	Emit     func(kube.Event)
}

// New returns a checker.
func New(c Config) *Checker { return &Checker{cfg: c, requests: make(chan []nodefacts.Pod, 1)} }

// Request replaces the pods of which the images are to be checked.
func (c *Checker) Request(list []nodefacts.Pod) {
	for {
		select {
		case c.requests <- list:
			return
		default:
		}
		select { // an older request has not been taken
		case <-c.requests:
		default:
		}
	}
}

// Run checks what is requested until ctx ends. A pod that is no longer named is left.
func (c *Checker) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	running := map[nodefacts.Pod]context.CancelFunc{}
	defer func() {
		for _, stop := range running {
			stop()
		}
	}()
	for {
		var list []nodefacts.Pod
		select {
		case <-ctx.Done():
			return
		case list = <-c.requests:
		}
		for p, stop := range running {
			if !slices.Contains(list, p) {
				stop()
				delete(running, p)
			}
		}
		for _, p := range list {
			if running[p] != nil {
				continue
			}
			podCtx, stop := context.WithCancel(ctx)
			running[p] = stop
			work.Go(func() { c.check(podCtx, p) })
		}
	}
}

// podRetry is how long after a failure the API server is asked for a pod again.
const podRetry = time.Second

// check checks the images of one pod, each once.
func (c *Checker) check(ctx context.Context, named nodefacts.Pod) {
	for {
		object, err := c.cfg.Pod(ctx, named.Namespace, named.Name)
		switch {
		case err == nil:
			if why := refusal(object, named.UID); why != "" {
				c.cfg.Log.Info("preflight refused", "pod", named.Namespace+"/"+named.Name, "reason", why)
				return
			}
			c.checkPod(ctx, pods.New(object))
			return
		case ctx.Err() != nil:
			return
		}
		c.cfg.Log.Warn("cannot read the pod of a preflight, will retry", "pod", named.Namespace+"/"+named.Name, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(podRetry):
		}
	}
}

// refusal returns why the images of a pod are not checked, whatever the fleet says; empty: its
// creator asks for it. A gate can be set only when a pod is created, and such a pod has no node.
func refusal(p *corev1.Pod, uid string) string {
	switch {
	case p == nil || p.UID != types.UID(uid):
		return "there is no such pod"
	case !slices.ContainsFunc(p.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == preflight.Gate }):
		return "it has no scheduling gate " + preflight.Gate
	case p.Spec.NodeName != "":
		return "it has a node"
	case p.DeletionTimestamp != nil:
		return "it is being deleted"
	}
	return ""
}

// checkPod checks all images of a pod, side by side as far as the limits of the agent allow.
func (c *Checker) checkPod(ctx context.Context, p pods.Pod) {
	images, left := imagesOf(p)
	var work sync.WaitGroup
	for n, i := range images {
		work.Go(func() {
			r, ok := c.checkImage(ctx, p, i)
			if !ok {
				return
			}
			r.Index, r.Of, r.Left = n+1, len(images), left
			c.tell(p, r)
		})
	}
	work.Wait()
}

// checkImage checks one image; ok is false if ctx ended before.
func (c *Checker) checkImage(ctx context.Context, p pods.Pod, i image) (r preflight.Result, ok bool) {
	registry, _ := pods.RegistryOf(i.Image) // none is contacted for an invalid name
	release, ok := c.cfg.Acquire(ctx, p.Namespace, registry)
	if !ok {
		return r, false
	}
	defer release()
	began := time.Now()
	s := c.cfg.Subject(p, i.PendingImage)
	s.Failing, s.NoPull = false, examine.NoPullPreflight
	x := c.cfg.Examine(ctx, s, nil)
	if ctx.Err() != nil {
		return r, false
	}
	pod := podCheck(p, i, c.cfg.Node, x.Checks).Redacted(x.Redactor)
	checks := slices.Insert(slices.Clone(x.Checks), min(1, len(x.Checks)), pod)
	checks = append(checks, report.RedactedChecks(x.Redactor, c.cfg.Others(checks, i.Image))...)
	d := report.Diagnosis{Image: i.Image, Verdict: diagnosis.Diagnose(checks), Checks: checks}.Redacted()
	c.cfg.Log.Info("preflight", "pod", p.String(), "image", d.Image, "fault", d.Verdict.Fault, "cause", d.Verdict.Cause,
		"confidence", d.Verdict.Confidence, "took", time.Since(began).Round(time.Millisecond))
	return resultOf(i, d.Verdict, d.Checks, c.cfg.Estimate(d.Checks), time.Now()), true
}

// tell writes a result into an Event on the pod.
func (c *Checker) tell(p pods.Pod, r preflight.Result) {
	text, err := r.Encode()
	if err != nil {
		c.cfg.Log.Error("a result of a preflight cannot be written", "pod", p.String(), "error", err)
		return
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []any{c.cfg.Node, p.UID, r.Index}))
	c.cfg.Emit(kube.Event{
		Name:      "preflight." + string(p.UID) + "." + hex.EncodeToString(sum[:8]),
		Namespace: p.Namespace, Pod: p.Name, UID: p.UID,
		Warning:    r.Faulty(),
		Reason:     preflight.ReasonChecked,
		Message:    message(c.cfg.Node, r),
		Annotation: kube.Annotation{Key: preflight.Annotation, Value: text},
		First:      now, Time: now, Count: 1,
	})
}

// message returns a result for `kubectl describe pod`.
func message(node string, r preflight.Result) string {
	v := r.Verdict
	tail := ""
	if v.Fix != "" {
		tail = "\nFix: " + readable.NeutralizeLabels(v.Fix)
	}
	return kube.Message(v.Inline()+" on "+node+": ", r.Image+": "+v.Summary, tail)
}
