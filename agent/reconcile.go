package agent

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// podWorkers is how many pods are reconciled at the same time. That is short: it does
// not wait for examinations.
const podWorkers = 4

// heartbeatItem is queued periodically. Processing it proves that the workers are
// alive when there is nothing to reconcile.
const heartbeatItem types.UID = "heartbeat"

// runPodWorker reconciles queued pods until the queue is shut down.
func (a *Agent) runPodWorker(ctx context.Context) {
	for {
		uid, down := a.queue.Get()
		if down {
			return
		}
		if uid != heartbeatItem && a.reconcile(ctx, uid) {
			a.startup.markPodChecked(uid)
		}
		a.queue.Done(uid)
		a.liveness.mark()
	}
}

// probeRequest is the value of a probe annotation that was not handled yet, and when
// it was first seen. The zero value is none.
type probeRequest struct {
	value string
	at    time.Time
}

func (r probeRequest) pending() bool { return r.value != "" }

// reconcileResult is what is left to do for a pod.
type reconcileResult struct {
	requeueAt time.Time // when to reconcile again; zero: when something changes
	inFlight  bool      // an examination is in progress
	keys      []string  // of the examinations that the pod needs
}

// add merges what is left to do for one image.
func (r *reconcileResult) add(image reconcileResult) {
	r.requeueAt = earliest(r.requeueAt, image.requeueAt)
	r.inFlight = r.inFlight || image.inFlight
	r.keys = append(r.keys, image.keys...)
}

// earliest returns the earlier of two times; a zero time does not count.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// reconcile brings the diagnoses of one pod up to date. It starts the examinations
// that are missing; when one ends, the pod is queued again. It reports whether the pod
// has all its diagnoses, or needs none.
func (a *Agent) reconcile(ctx context.Context, uid types.UID) (complete bool) {
	p, ok := a.pods.Get(uid)
	if !ok {
		a.cache.release(uid)
		if a.results.forget(uid) {
			a.publishAndRequeue()
		}
		return true
	}
	var request probeRequest
	request.value, request.at = a.pods.PendingRequest(uid)
	if p.Agent && request.pending() {
		a.answerSweepRequest(ctx, uid, request)
		return true
	}
	now := time.Now()
	var left reconcileResult
	waiting, requeueAt := a.pendingImages(ctx, p, now)
	left.requeueAt = earliest(p.NextOverdue(now), requeueAt)
	images := waiting
	if request.pending() {
		images = a.imagesOf(ctx, p, waiting, now)
	}
	if a.dropOldResults(p, waiting) {
		a.publishAndRequeue()
	}
	for _, image := range images {
		left.add(a.reconcileImage(ctx, p, image, request))
	}
	if ctx.Err() != nil {
		return false
	}
	a.cache.release(uid, left.keys...)
	if !left.inFlight && request.pending() {
		a.pods.MarkHandled(uid, request.value)
		a.publisher.ForceWrite()
	}
	if !left.requeueAt.IsZero() {
		a.queue.AddAfter(uid, time.Until(left.requeueAt)+10*time.Millisecond)
	}
	return !left.inFlight
}

// dropOldResults removes the diagnoses of images that the pod no longer waits for,
// except those that a user requested. It reports whether any was removed or changed.
func (a *Agent) dropOldResults(p pods.Pod, waiting []pods.PendingImage) bool {
	return a.results.update(p.UID, func(r result) (result, bool) {
		stuck := slices.ContainsFunc(waiting, func(w pods.PendingImage) bool {
			return w.Container == r.container && w.Image == r.image
		})
		requested := r.Asked != "" && !r.stuck && !p.Deleting && p.UsesImage(r.image)
		r.stuck = stuck
		return r, stuck || requested
	})
}

// pendingImages returns the images that the pod waits for, confirmed by the runtime as
// far as possible, and when to ask it again. The kubelet pulls the images of a pod one
// by one: of those that it has reported nothing about, it can only work on the first.
func (a *Agent) pendingImages(ctx context.Context, p pods.Pod, now time.Time) (out []pods.PendingImage, requeueAt time.Time) {
	found := false
	for _, w := range p.PendingImages(now) {
		if w.Creating {
			if found {
				continue
			}
			var retryAt time.Time
			found, retryAt = a.needsExamination(ctx, p, &w, now)
			requeueAt = earliest(requeueAt, retryAt)
			if !found {
				continue
			}
		}
		out = append(out, w)
	}
	return out, requeueAt
}

// imagesOf returns every image of the pod, with the state of its sandbox.
func (a *Agent) imagesOf(ctx context.Context, p pods.Pod, waiting []pods.PendingImage, now time.Time) []pods.PendingImage {
	out := slices.Clone(waiting)
	for _, w := range p.AllImages(now) {
		if slices.ContainsFunc(out, func(o pods.PendingImage) bool { return o.Image == w.Image }) {
			continue
		}
		w.Creating = false // else it would be in waiting
		if !w.Started && !w.Failing && !w.ImageReady() {
			a.addSandbox(ctx, p, &w)
		}
		out = append(out, w)
	}
	return out
}

// needsExamination reports whether the kubelet really needs an image that it has
// reported nothing about: the pod has had a sandbox for the grace period, and the image
// is absent. It adds the sandbox's state to w, or replaces the image by the sandbox
// image if that is what is missing. If the answer may change without an event, retryAt
// is when to ask again. A runtime that does not answer is a reason to examine.
func (a *Agent) needsExamination(ctx context.Context, p pods.Pod, w *pods.PendingImage, now time.Time) (needed bool, retryAt time.Time) {
	switch a.addSandbox(ctx, p, w); {
	case now.Before(w.Since.Add(pods.GracePeriod)):
		return false, w.Since.Add(pods.GracePeriod)
	case w.Sandbox == pods.SandboxAbsent:
		// The pod may wait for the sandbox image. Volumes and network are out of scope.
		image := a.missingSandboxImage(ctx)
		if image == "" {
			return false, now.Add(pods.GracePeriod / 2)
		}
		w.Image, w.ForSandbox = image, true
		return true, time.Time{}
	}
	present := false
	answered := a.callRuntime(ctx, func(ctx context.Context) (err error) {
		_, present, err = a.runtime.ImageStatus(ctx, w.Image)
		return err
	})
	return !answered || !present, time.Time{}
}

// podImage is one image of a pod while it is reconciled.
type podImage struct {
	pod     pods.Pod
	image   pods.PendingImage
	request probeRequest

	check report.Check // what the kubelet reports
	cause report.Cause // of the kubelet's message
	key   string       // of the examination

	old    result // the current diagnosis
	exists bool   // there is one
}

// newPodImage collects what is known of one image of a pod before it is examined.
func (a *Agent) newPodImage(p pods.Pod, w pods.PendingImage, request probeRequest) podImage {
	i := podImage{pod: p, image: w, request: request, check: pods.Check(p, w, a.opts.NodeName)}
	i.old, i.exists = a.results.get(p.UID, w.Container, w.Image)
	i.cause = i.check.Cause
	if i.cause == report.Undetermined && i.exists && i.old.kubeletCause != "" {
		// Older kubelets report no cause between two attempts. That changes nothing.
		i.cause = i.old.kubeletCause
	}
	return i
}

// subject returns what is examined for one image of a pod.
func (a *Agent) subject(p pods.Pod, w pods.PendingImage) examine.Subject {
	if w.ForSandbox {
		return sandboxSubject(w.Image)
	}
	s := examine.Subject{
		Image:        w.Image,
		Pod:          &cri.Pod{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Annotation: p.RuntimeHandler},
		RuntimeClass: p.RuntimeClass,
		Failing:      w.Failing && w.Policy != corev1.PullNever,
		Secrets:      func(ctx context.Context) []credentials.SecretLookup { return a.secrets(ctx, p) },
		Account:      func(ctx context.Context) *credentials.ServiceAccount { return a.account(ctx, p) },
	}
	switch {
	case w.Failing && w.Policy == corev1.PullNever:
		s.NoPull = examine.NoPullPolicyNever
	case w.Creating:
		s.NoPull = examine.NoPullCreating
	}
	return s
}

// reconcileImage makes sure that one image of a pod has a diagnosis from an
// examination that is valid, or that one is in progress.
func (a *Agent) reconcileImage(ctx context.Context, p pods.Pod, w pods.PendingImage, request probeRequest) reconcileResult {
	i := a.newPodImage(p, w, request)
	s := a.subject(p, w)
	i.key = cacheKey(p, s, i.cause)
	need := examRequest{
		pod:        p.UID,
		namespace:  p.Namespace,
		key:        i.key,
		beganAfter: a.reexaminedSince(),
		subject:    s,
		podCheck:   i.check,
		failedAt:   w.FailedAt,
	}
	if request.pending() && request.at.After(need.beganAfter) {
		need.beganAfter, need.urgent = request.at, true
	}
	if !i.exists || i.old.key != i.key {
		need.endedAfter = time.Now().Add(-reuseAge)
	}
	left := reconcileResult{keys: []string{i.key}, requeueAt: a.checkSecrets(ctx, p, i.key)}
	x, due, ok := a.cache.get(ctx, need)
	if !ok {
		left.inFlight = true
		return left
	}
	left.inFlight = !x.Final
	if x.Final {
		left.requeueAt = earliest(left.requeueAt, due)
	}
	a.recordDiagnosis(i, x)
	return left
}

// checkSecrets compares the pod's secrets with those that the examination used, if that
// is due, and returns when it is due next; zero: never.
func (a *Agent) checkSecrets(ctx context.Context, p pods.Pod, key string) time.Time {
	due := a.cache.secretsCheckDue(key)
	if due.IsZero() || len(p.PullSecrets) == 0 {
		return time.Time{}
	}
	if time.Now().Before(due) {
		return due
	}
	ctx, cancel := context.WithTimeout(ctx, examine.SecretsTimeout)
	defer cancel()
	a.cache.noteSecrets(key, a.secrets(ctx, p))
	return time.Now().Add(a.cache.secretsInterval)
}

// recordDiagnosis makes the diagnosis of one image of a pod and publishes it, unless it
// would be the current one.
func (a *Agent) recordDiagnosis(i podImage, x examination) {
	podChecks := []report.Check{i.check}
	var queue report.Check
	if i.image.Creating || i.cause == report.PullQueueLimited {
		queue = queueCheck(i.image, a.results.others(i.pod.UID, i.image.Image))
		podChecks = append(podChecks, queue)
	}
	if i.exists && i.old.key == i.key && i.old.began.Equal(x.began) && i.old.final == x.Final &&
		i.old.Asked == i.pod.Request && i.old.queue.Summary == queue.Summary {
		return
	}
	checks := withPodChecks(x.judged(i.image.Failing), podChecks...)
	d := x.Redactor.Diagnosis(report.Diagnosis{
		Image:     i.image.Image,
		Node:      a.opts.NodeName,
		Pod:       i.pod.String(),
		UID:       string(i.pod.UID),
		Container: i.image.Container,
		Asked:     i.pod.Request,
		Time:      time.Now().UTC().Truncate(time.Millisecond),
		Verdict:   diagnosis.Diagnose(checks),
		Checks:    checks,
	})
	a.results.put(i.pod.UID, result{
		Diagnosis:    d,
		container:    i.image.Container,
		image:        i.image.Image,
		stuck:        i.image.Failing || i.image.Creating,
		failing:      i.image.Failing,
		since:        i.image.Since,
		kubeletCause: i.cause,
		key:          i.key,
		began:        x.began,
		final:        x.Final,
		queue:        queue,
	})
	runtime := report.Find(checks, report.IDRuntime)
	if runtime.Outcome != report.Unknown && x.Final && (!i.exists || x.began.After(i.old.began)) {
		a.setState(runtime, a.nodeDisk(report.Find(checks, report.IDDisk)))
	}
	if i.exists && d.Verdict.Same(i.old.Verdict) {
		a.publisher.MarkDirty()
	} else {
		a.publishAndRequeue()
	}
	if x.Final {
		a.sweeper.LearnFrom(checks)
		a.announce(i, x, d)
	}
}

// announce counts and logs a final diagnosis, and writes an Event if it is new or
// requested.
func (a *Agent) announce(i podImage, x examination, d report.Diagnosis) {
	v, took := d.Verdict, x.ended.Sub(x.began)
	a.metrics.ObserveDiagnosis(v, took)
	a.log.Info("diagnosed", "pod", d.Pod, "container", d.Container, "image", d.Image, "fault", v.Fault, "cause", v.Cause,
		"confidence", v.Confidence, "because", v.Because, "took", took.Round(time.Millisecond))
	if isNew := a.results.noteEvent(i.pod.UID, i.image.Container, i.image.Image, v); isNew || i.request.pending() {
		a.publisher.EnqueueEvent(eventFor(i.pod, d))
	}
}

// publishAndRequeue publishes a change, and reconciles the pods that may wait behind
// another pull.
func (a *Agent) publishAndRequeue() {
	a.publisher.MarkDirty()
	for _, uid := range a.results.queuedPods() {
		a.queue.Add(uid)
	}
}

// secrets reads the pod's pull secrets.
func (a *Agent) secrets(ctx context.Context, p pods.Pod) []credentials.SecretLookup {
	var out []credentials.SecretLookup
	for _, name := range p.PullSecrets {
		out = append(out, a.kube.Secret(ctx, p.Namespace, name))
	}
	return out
}

// How the result of a requested sweep is waited for.
const (
	sweepRequestTimeout = 30 * time.Second
	sweepRequestPoll    = 100 * time.Millisecond
)

// answerSweepRequest handles the probe annotation of the agent's own pod: everything on
// this node is checked again. The request is handled when all of it has ended.
func (a *Agent) answerSweepRequest(ctx context.Context, self types.UID, request probeRequest) {
	if a.reexamineAll(request.at, self) {
		a.sweeper.SweepNow()
		a.checkNode(ctx)
	}
	complete := a.results.countOlder(request.at) == 0 && a.sweeper.EndedAfter(request.at)
	if !complete && time.Since(request.at) < sweepRequestTimeout {
		a.queue.AddAfter(self, sweepRequestPoll)
		return
	}
	a.pods.MarkHandled(self, request.value)
	a.publisher.ForceWrite()
	a.log.Info("requested sweep done", "asked", request.value)
}
