package agent

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// lookers is how many pods are looked at side by side. A look is short: it
// waits for no examination.
const podWorkers = 4

func (a *Agent) runPodWorker(ctx context.Context) {
	for {
		uid, down := a.queue.Get()
		if down {
			return
		}
		a.reconcile(ctx, uid)
		a.queue.Done(uid)
		a.liveness.mark()
	}
}

// look brings the standing diagnoses of one pod up to date. What takes long is
// started, and the pod looked at again when it is there.
func (a *Agent) reconcile(ctx context.Context, uid types.UID) {
	p, ok := a.pods.Get(uid)
	if !ok {
		a.cache.release(uid)
		if a.results.forget(uid) {
			a.publishAndRequeue()
		}
		a.startup.markChecked(uid)
		return
	}
	question, asked := a.pods.PendingRequest(uid)
	if p.Agent && question != "" {
		a.answerSweepRequest(ctx, uid, question, asked)
		return
	}
	now := time.Now()
	agenda := reconcileResult{requeueAt: p.NextOverdue(now)}
	waiting := a.pendingImages(ctx, p, &agenda, now)
	list := waiting
	if question != "" {
		list = a.allImages(ctx, p, waiting, now)
	}
	if a.results.keep(uid, func(r result) (result, bool) {
		stuck := slices.ContainsFunc(waiting, func(w pods.PendingImage) bool { return w.Container == r.container && w.Image == r.image })
		keep := stuck || r.Asked != "" && !r.stuck && !p.Deleting && p.UsesImage(r.image)
		r.stuck = stuck
		return r, keep
	}) {
		a.publishAndRequeue()
	}
	for _, w := range list {
		a.reconcileImage(ctx, p, w, question, asked, &agenda)
	}
	if ctx.Err() != nil {
		return
	}
	a.cache.release(uid, agenda.keys...)
	if !agenda.inFlight {
		if question != "" {
			a.pods.MarkHandled(uid, question)
			a.publisher.ForceWrite()
		}
		a.startup.markChecked(uid)
	}
	if !agenda.requeueAt.IsZero() {
		a.queue.AddAfter(uid, time.Until(agenda.requeueAt)+10*time.Millisecond)
	}
}

// agenda is what is left to do about a pod after a look.
type reconcileResult struct {
	requeueAt time.Time // when to look again; zero: when something changes
	inFlight  bool      // an examination is under way
	keys      []string  // of the examinations that the pod needs
}

// at asks for another look.
func (a *reconcileResult) requeue(t time.Time) {
	if a.requeueAt.IsZero() || t.Before(a.requeueAt) {
		a.requeueAt = t
	}
}

// waiting is what the pod waits for, as far as the runtime bears it out. The
// kubelet pulls the images of one pod one after the other, so of those that it
// has said nothing of only the first can be in its hands.
func (a *Agent) pendingImages(ctx context.Context, p pods.Pod, agenda *reconcileResult, now time.Time) []pods.PendingImage {
	var out []pods.PendingImage
	found := false
	for _, w := range p.PendingImages(now) {
		if w.Creating {
			if found {
				continue
			}
			var again time.Time
			if found, again = a.needsExamination(ctx, p, &w, now); !again.IsZero() {
				agenda.requeue(again)
			}
			if !found {
				continue
			}
		}
		out = append(out, w)
	}
	return out
}

// all is every image of the pod, with what the runtime says of its sandbox.
func (a *Agent) allImages(ctx context.Context, p pods.Pod, waiting []pods.PendingImage, now time.Time) []pods.PendingImage {
	out := slices.Clone(waiting)
	for _, w := range p.AllImages(now) {
		if slices.ContainsFunc(out, func(o pods.PendingImage) bool { return o.Image == w.Image }) {
			continue
		}
		w.Creating = false // or it would be among those waiting
		if !w.Started && !w.Failing && !w.ImageReady() {
			a.sandbox(ctx, p, &w)
		}
		out = append(out, w)
	}
	return out
}

// wanted reports whether the kubelet is really at an image that it has said
// nothing of: the pod's sandbox has stood for as long as patience lasts, and
// the image is not here. If that may change by itself, again is when to look.
// A runtime that does not answer is a reason to look on.
func (a *Agent) needsExamination(ctx context.Context, p pods.Pod, w *pods.PendingImage, now time.Time) (wanted bool, again time.Time) {
	switch a.sandbox(ctx, p, w); {
	case now.Before(w.Since.Add(pods.GracePeriod)):
		return false, w.Since.Add(pods.GracePeriod)
	case w.Sandbox == pods.SandboxAbsent:
		// What it waits for may be the sandbox's own image; a volume or the
		// network is not ours to look at.
		image := a.missingSandboxImage(ctx)
		if image == "" {
			return false, now.Add(pods.GracePeriod / 2)
		}
		w.Image, w.ForSandbox = image, true
		return true, time.Time{}
	}
	present := false
	if a.callRuntime(ctx, func(ctx context.Context) (err error) {
		_, present, err = a.runtime.ImageStatus(ctx, w.Image)
		return err
	}) && present {
		return false, time.Time{}
	}
	return true, time.Time{}
}

// sandbox finds out whether the pod has one, and since when.
func (a *Agent) sandbox(ctx context.Context, p pods.Pod, w *pods.PendingImage) {
	if !p.SandboxReady.IsZero() {
		w.Sandbox = pods.SandboxReady
		return
	}
	w.Sandbox = pods.SandboxUnknown
	var since time.Time
	var ready bool
	if !a.callRuntime(ctx, func(ctx context.Context) (err error) {
		since, ready, err = a.runtime.ReadySandbox(ctx, string(p.UID))
		return err
	}) {
		return
	}
	w.Sandbox = pods.SandboxAbsent
	if ready {
		w.Sandbox = pods.SandboxReady
		if since.After(w.Since) {
			w.Since = since
		}
	}
}

// How long the runtime may take for one answer, and how long it is left alone
// after it gave none: a hung runtime must not hang the looks at all pods.
const (
	runtimeCallTimeout = time.Second
	runtimeBackoff     = 5 * time.Second
)

// askRuntime reports whether the runtime answered.
func (a *Agent) callRuntime(ctx context.Context, ask func(context.Context) error) bool {
	a.scheduleMu.Lock()
	away := time.Now().Before(a.runtimeBackoffUntil)
	a.scheduleMu.Unlock()
	if away {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeCallTimeout)
	defer cancel()
	if ask(ctx) == nil {
		return true
	}
	a.scheduleMu.Lock()
	defer a.scheduleMu.Unlock()
	a.runtimeBackoffUntil = time.Now().Add(runtimeBackoff)
	return false
}

// attend sees to it that one image of a pod has a diagnosis from an
// examination that still holds.
func (a *Agent) reconcileImage(ctx context.Context, p pods.Pod, w pods.PendingImage, question string, asked time.Time, agenda *reconcileResult) {
	said := pods.Check(p, w, a.opts.NodeName)
	old, exists := a.results.get(p.UID, w.Container, w.Image)
	words := said.Cause
	if words == report.Undetermined && exists && old.kubeletCause != "" {
		words = old.kubeletCause // between two attempts older kubelets say nothing of the cause: no news
	}
	s := examine.Subject{Image: w.Image, Failing: w.Failing && w.Policy != "Never", Secrets: func(ctx context.Context) []credentials.Found { return a.secrets(ctx, p) },
		Account: func(ctx context.Context) *credentials.Account { return a.account(ctx, p) }}
	switch {
	case w.ForSandbox:
		s = sandboxSubject(w.Image)
	case w.Failing && w.Policy == "Never":
		s.NoPull = "the pull policy is Never"
	case w.Creating:
		s.NoPull = "the kubelet's own pull is still under way, nothing has failed yet"
	}
	n := examRequest{pod: p.UID, namespace: p.Namespace, key: cacheKey(p, s, words), beganAfter: a.reexaminedSince(), subject: s, podCheck: said}
	if question != "" && asked.After(n.beganAfter) {
		n.beganAfter, n.urgent = asked, true
	}
	n.subject.After = n.beganAfter
	if !exists || old.key != n.key {
		n.endedAfter = time.Now().Add(-reuseAge)
	}
	agenda.keys = append(agenda.keys, n.key)
	if at := a.cache.secretsCheckDue(n.key); !at.IsZero() && len(p.PullSecrets) > 0 {
		if !time.Now().Before(at) {
			reading, cancel := context.WithTimeout(ctx, examine.SecretsTimeout)
			a.cache.noteSecrets(n.key, a.secrets(reading, p))
			cancel()
			at = time.Now().Add(a.cache.secretsInterval)
		}
		agenda.requeue(at)
	}
	x, due, ok := a.cache.get(ctx, n)
	if !ok {
		agenda.inFlight = true
		return
	}
	agenda.inFlight = agenda.inFlight || !x.Final
	if x.Final {
		agenda.requeue(due)
	}
	a.recordDiagnosis(p, w, said, words, question, n.key, x)
}

// settle draws the verdict on one image of a pod and publishes it, if it is
// drawn from anything that is new.
func (a *Agent) recordDiagnosis(p pods.Pod, w pods.PendingImage, said report.Check, words report.Cause, question, key string, x examination) {
	about := []report.Check{said}
	var queue report.Check
	if w.Creating || words == report.PullQueueLimited {
		queue = queueCheck(w, a.results.others(p.UID, w.Image))
		about = append(about, queue)
	}
	old, exists := a.results.get(p.UID, w.Container, w.Image)
	if exists && old.key == key && old.began.Equal(x.began) && old.final == x.Final && old.Asked == p.Request && old.queue.Summary == queue.Summary {
		return
	}
	checks := withPodChecks(x.Result, about...)
	d := x.Redactor.Diagnosis(report.Diagnosis{
		Image: w.Image, Node: a.opts.NodeName, Pod: p.String(), UID: string(p.UID), Container: w.Container,
		Asked: p.Request, Time: time.Now().UTC().Truncate(time.Millisecond), Verdict: report.Diagnose(checks), Checks: checks,
	})
	a.results.put(p.UID, result{
		Diagnosis: d, container: w.Container, image: w.Image, stuck: w.Failing || w.Creating, failing: w.Failing, since: w.Since,
		kubeletCause: words, key: key, began: x.began, final: x.Final, queue: queue,
	})
	if runtime := report.Find(checks, "runtime"); runtime.Outcome != report.Unknown && x.Final && (!exists || x.began.After(old.began)) {
		a.setState(runtime, a.nodeDisk(report.Find(checks, "disk")))
	}
	v := d.Verdict
	if exists && v.Same(old.Verdict) {
		a.publisher.MarkDirty()
	} else {
		a.publishAndRequeue()
	}
	if !x.Final {
		return
	}
	a.sweeper.LearnFrom(checks)
	a.metrics.ObserveDiagnosis(v, x.ended.Sub(x.began))
	a.log.Info("diagnosed", "pod", d.Pod, "container", d.Container, "image", d.Image, "fault", v.Fault, "cause", v.Cause,
		"confidence", v.Confidence, "because", v.Because, "took", x.ended.Sub(x.began).Round(time.Millisecond))
	if news := a.results.noteEvent(p.UID, w.Container, w.Image, v); news || question != "" {
		a.publisher.EnqueueEvent(eventFor(p, d))
	}
}

// changed publishes, and has the pods looked at that may wait behind another.
func (a *Agent) publishAndRequeue() {
	a.publisher.MarkDirty()
	for _, uid := range a.results.queuedPods() {
		a.queue.Add(uid)
	}
}

func (a *Agent) secrets(ctx context.Context, p pods.Pod) []credentials.Found {
	var out []credentials.Found
	for _, name := range p.PullSecrets {
		out = append(out, a.kube.Secret(ctx, p.Namespace, name))
	}
	return out
}

// sweptSince is when everything was last to be looked at anew.
func (a *Agent) reexaminedSince() time.Time {
	a.scheduleMu.Lock()
	defer a.scheduleMu.Unlock()
	return a.validAfter
}

// sweep answers a question put to the agent's own pod: everything on this node
// is looked at anew. The answer stands when all of it is there.
func (a *Agent) answerSweepRequest(ctx context.Context, self types.UID, question string, asked time.Time) {
	a.startup.markChecked(self)
	if a.reexamineAll(asked, self) {
		a.sweeper.SweepNow()
		a.checkNode(ctx)
	}
	if left := a.results.countOlder(asked); (left > 0 || !a.sweeper.EndedAfter(asked)) && time.Since(asked) < sweepRequestTimeout {
		a.queue.AddAfter(self, sweepRequestPoll)
		return
	}
	a.pods.MarkHandled(self, question)
	a.publisher.ForceWrite()
	a.log.Info("swept on request", "asked", question)
}

// A sweep's answer is waited for in this way.
const (
	sweepRequestTimeout = 30 * time.Second
	sweepRequestPoll    = 100 * time.Millisecond
)
