package agent

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/agent/turns"
	"github.com/pullprobe/pullprobe/examine"
)

// podWorkers is how many pods are reconciled at the same time. That is short: it does
// not wait for examinations.
const podWorkers = 4

// heartbeatItem is queued periodically. Processing it proves that the workers are
// alive when there is nothing to reconcile.
const heartbeatItem types.UID = "heartbeat"

// reconciler keeps the diagnoses of the pods up to date.
type reconciler struct {
	pods      *pods.Store
	queue     workqueue.TypedDelayingInterface[types.UID]
	images    *imageFinder
	secrets   secretReader
	accounts  accountReader
	cache     *examCache
	recorder  *recorder
	announcer *announcer
	rechecker *rechecker
	publisher *publish.Publisher
	startup   *startupGate
	liveness  *liveness
}

// run reconciles queued pods until the queue is shut down.
func (r *reconciler) run(ctx context.Context) {
	for {
		uid, down := r.queue.Get()
		if down {
			return
		}
		if uid != heartbeatItem && r.reconcile(ctx, uid) {
			r.startup.markPodChecked(uid)
		}
		r.queue.Done(uid)
		r.liveness.mark()
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
	r.requeueAt = turns.Earliest(r.requeueAt, image.requeueAt)
	r.inFlight = r.inFlight || image.inFlight
	r.keys = append(r.keys, image.keys...)
}

// reconcile brings the diagnoses of one pod up to date. It starts the examinations
// that are missing; when one ends, the pod is queued again. It reports whether the pod
// has all its diagnoses, or needs none.
func (r *reconciler) reconcile(ctx context.Context, uid types.UID) (complete bool) {
	p, ok := r.pods.Get(uid)
	if !ok {
		r.cache.release(uid)
		r.recorder.forget(uid)
		return true
	}
	var request probeRequest
	request.value, request.at = r.pods.PendingRequest(uid)
	if p.Agent && request.pending() {
		if !r.rechecker.answer(ctx, uid, request) {
			r.queue.AddAfter(uid, sweepRequestPoll)
		}
		return true
	}
	now := time.Now()
	var left reconcileResult
	waiting, requeueAt := r.images.pending(ctx, p, now)
	left.requeueAt = turns.Earliest(p.NextOverdue(now), requeueAt)
	r.recorder.dropOld(p, waiting)
	r.announcer.reconciled(p, waiting, now)
	images := waiting
	switch {
	case request.pending() && p.Over():
		r.recorder.recordOver(p, request)
	case request.pending():
		images = r.images.all(ctx, p, waiting, now)
	}
	for _, image := range images {
		left.add(r.reconcileImage(ctx, p, image, request))
	}
	if ctx.Err() != nil {
		return false
	}
	r.cache.release(uid, left.keys...)
	if !left.inFlight && request.pending() {
		r.pods.MarkHandled(uid, request.value)
		r.publisher.ForceWrite()
	}
	if !left.requeueAt.IsZero() {
		r.queue.AddAfter(uid, time.Until(left.requeueAt)+10*time.Millisecond)
	}
	return !left.inFlight
}

// reconcileImage makes sure that one image of a pod has a diagnosis from an
// examination that is valid, or that one is in progress.
func (r *reconciler) reconcileImage(ctx context.Context, p pods.Pod, w pods.PendingImage, request probeRequest) reconcileResult {
	i := r.recorder.newPodImage(p, w, request)
	s := podSubject(p, w, r.secrets)
	if !w.ForSandbox {
		s.Neighbors = func() examine.Neighbors { return neighbors(r.pods.InUse(p.UID)) }
		s.Identity = r.accounts.identity(p)
	}
	i.key = cacheKey(p, s, i.cause)
	need := examRequest{
		pod:        p.UID,
		namespace:  p.Namespace,
		key:        i.key,
		beganAfter: r.rechecker.reexaminedSince(),
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
	left := reconcileResult{keys: []string{i.key}, requeueAt: r.checkSecrets(ctx, p, i.key)}
	x, due, ok := r.cache.get(ctx, need)
	if !ok {
		left.inFlight = true
		return left
	}
	left.inFlight = !x.Final
	if x.Final {
		left.requeueAt = turns.Earliest(left.requeueAt, due)
	}
	r.recorder.record(i, x)
	return left
}

// checkSecrets compares the pod's secrets with those that the examination used, if that
// is due, and returns when it is due next; zero: never.
func (r *reconciler) checkSecrets(ctx context.Context, p pods.Pod, key string) time.Time {
	due := r.cache.secretsCheckDue(key)
	if due.IsZero() || len(p.PullSecrets) == 0 {
		return time.Time{}
	}
	if time.Now().Before(due) {
		return due
	}
	ctx, cancel := context.WithTimeout(ctx, examine.SecretsTimeout)
	defer cancel()
	r.cache.noteSecrets(key, r.secrets.pullSecrets(ctx, p))
	return time.Now().Add(r.cache.secretsInterval)
}
