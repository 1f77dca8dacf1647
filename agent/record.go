package agent

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/metrics"
	"github.com/pullprobe/pullprobe/agent/opinions"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/redact"
)

// recorder makes the diagnoses of the pods and passes them on: to the report, an Event,
// the log and the metrics.
type recorder struct {
	node      string
	log       *slog.Logger
	results   *results
	pods      *pods.Store
	state     *nodeState
	sweeper   *sweep.Sweeper
	others    *opinions.Store
	metrics   *metrics.Metrics
	publisher *publish.Publisher
	announcer *announcer
	incidents *incidents
	enqueue   func(types.UID) // has a pod reconciled
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

// presentRefusedSince is the first minor version of a kubelet that refuses an image on the
// node to pods without credentials for it (KubeletEnsureSecretPulledImages; a gate that is
// off in 1.33 and 1.34).
const presentRefusedSince = 35

// newPodImage collects what is known of one image of a pod before it is examined.
func (r *recorder) newPodImage(p pods.Pod, w pods.PendingImage, request probeRequest) podImage {
	i := podImage{pod: p, image: w, request: request, check: pods.Check(p, w, r.node)}
	if minor := r.state.kubeletMinor.Load(); minor > 0 && minor < presentRefusedSince {
		i.check.Evidence[report.KeyKubelet] = fmt.Sprintf("1.%d", minor)
	}
	if w.Failing {
		addSecretOfOthers(&i.check, p, w.Image, r.pods.All())
	}
	if (w.Failing || w.Creating) && p.VolumeOf(w) == "" {
		addNewerImage(&i.check, p, w.Container, r.pods.All())
	}
	i.old, i.exists = r.results.get(p.UID, w.Container, w.Image)
	i.cause = i.check.Cause
	if i.cause == report.Undetermined && i.exists && i.old.kubeletCause != "" {
		// Older kubelets report no cause between two attempts. That changes nothing.
		i.cause = i.old.kubeletCause
	}
	return i
}

// recordOver answers a request for a pod that needs no image any more. Nothing is examined.
func (r *recorder) recordOver(p pods.Pod, request probeRequest) {
	images := p.AllImages(request.at)
	if len(images) == 0 {
		return
	}
	r.results.forget(p.UID) // what the pod did before
	unexamined := examine.Result{Final: true, Redactor: redact.New()}
	r.record(r.newPodImage(p, images[0], request), examination{Result: unexamined, began: request.at, ended: request.at})
}

// record makes the diagnosis of one image of a pod and publishes it, unless it
// would be the current one.
func (r *recorder) record(i podImage, x examination) {
	podChecks := []report.Check{i.check}
	var queue report.Check
	if i.image.Creating || i.cause == report.PullQueueLimited {
		queue = queueCheck(i.image, r.results.others(i.pod.UID, i.image.Image))
		podChecks = append(podChecks, queue)
	}
	newer, fixed := i.check.Evidence[report.KeyNewerImage], i.fixedFault(x)
	fixed.add(&podChecks[0], i.image)
	others, opinion := r.others.Checks(failingHosts(x.Checks), i.image.Image, time.Now())
	if i.exists && i.old.key == i.key && i.old.began.Equal(x.began) && i.old.final == x.Final &&
		i.old.Asked == i.pod.Request && i.old.queue.Summary == queue.Summary && i.old.opinion == opinion &&
		i.old.newerImage == newer && i.old.fixed == fixed {
		return
	}
	r.state.measure(x.Checks)
	checks := append(withPodChecks(x.judged(i.image.Failing), podChecks...), report.RedactedChecks(x.Redactor, others)...)
	d := report.Diagnosis{
		Image:     i.image.Image,
		Pod:       i.pod.String(),
		UID:       string(i.pod.UID),
		Container: i.image.Container,
		Volume:    i.pod.VolumeOf(i.image),
		Asked:     i.pod.Request,
		Time:      time.Now().UTC().Truncate(time.Millisecond),
		Pull:      r.state.estimate(checks),
		Verdict:   diagnosis.Diagnose(checks),
		Checks:    checks,
	}.Redacted()
	if x.Final {
		d.Announced = r.announce(i, x, d)
	} else {
		d.Announced = i.old.Announced
	}
	r.results.put(i.pod.UID, result{
		Diagnosis:    d,
		container:    i.image.Container,
		image:        i.image.Image,
		stuck:        i.image.Failing || i.image.Creating,
		failing:      i.image.Failing,
		since:        i.image.Since,
		nextPull:     i.image.NextPull(),
		owner:        i.pod.Owner.Name,
		kubeletCause: i.cause,
		key:          i.key,
		began:        x.began,
		final:        x.Final,
		queue:        queue,
		opinion:      opinion,
		newerImage:   newer,
		fixed:        fixed,
	})
	runtime := report.Find(checks, report.IDRuntime)
	if runtime.Outcome != report.Unknown && x.Final && (!i.exists || x.began.After(i.old.began)) {
		r.state.setFromExamination(runtime, report.Find(checks, report.IDDisk))
	}
	if i.exists && d.Verdict.Same(i.old.Verdict) {
		r.publisher.MarkDirty()
	} else {
		r.publishAndRequeue()
	}
	if x.Final {
		r.sweeper.LearnFrom(checks)
	}
}

// fixedFault returns the fault that the kubelet's last failure is about, if the checks found
// it too, and an examination has begun since that may not find it any more. A later failure
// of the kubelet is about something else.
func (i podImage) fixedFault(x examination) fixedFault {
	fixed := i.old.fixed
	if found := agreedFault(i.old.Diagnosis); found.cause != "" {
		fixed = found
		fixed.since = x.began
	}
	if !i.image.Failing || fixed.cause == "" || !i.image.FailedAt.Before(fixed.since) ||
		report.Find(x.Checks, fixed.check).Outcome == report.Fail {
		return fixedFault{}
	}
	return fixed
}

// agreedFault returns the fault on which the kubelet's message and a failed check of a
// diagnosis agree; zero: they do not.
func agreedFault(d report.Diagnosis) fixedFault {
	v := d.Verdict
	if v.Fault == report.FaultNone || v.Cause == report.Undetermined || !slices.Contains(v.Because, report.IDPod) {
		return fixedFault{}
	}
	for _, id := range v.Because {
		if id != report.IDPod && id != report.IDPull && report.Find(d.Checks, id).Outcome == report.Fail {
			return fixedFault{cause: v.Cause, check: id}
		}
	}
	return fixedFault{}
}

// add adds the fault to the check of the pod, with when the kubelet pulls next.
func (f fixedFault) add(c *report.Check, w pods.PendingImage) {
	if f.cause == "" {
		return
	}
	c.Evidence = maps.Clone(c.Evidence)
	c.Evidence[report.KeyEarlierCause] = string(f.cause)
	if next := w.NextPull(); !next.IsZero() {
		c.Evidence[report.KeyNextPull] = next.UTC().Format(time.RFC3339)
	}
}

// failingHosts returns the hosts of failed checks.
func failingHosts(checks []report.Check) []string {
	var out []string
	for _, c := range checks {
		if c.Outcome == report.Fail && c.Host != "" && !slices.Contains(out, c.Host) {
			out = append(out, c.Host)
		}
	}
	return out
}

// announce counts and logs a final diagnosis, and has it announced in an Event. It returns
// when its verdict was announced first.
func (r *recorder) announce(i podImage, x examination, d report.Diagnosis) time.Time {
	v, took := d.Verdict, x.ended.Sub(x.began)
	r.metrics.ObserveDiagnosis(v, took)
	r.log.Info("diagnosed", "pod", d.Pod, "container", d.Container, "image", d.Image, "fault", v.Fault, "cause", v.Cause,
		"confidence", v.Confidence, "because", v.Because, "took", took.Round(time.Millisecond))
	return r.announcer.announce(podDiagnosis{
		pod:       i.pod,
		about:     subjectKey{d.Container, d.Volume},
		diagnosis: d,
		waits:     i.image.Failing || i.image.Creating,
		requested: i.request.pending(),
	}, d.Time)
}

// publishAndRequeue publishes a change, and reconciles the pods that may wait behind
// another pull.
func (r *recorder) publishAndRequeue() {
	r.publisher.MarkDirty()
	for _, uid := range r.results.podsBehindPulls() {
		r.enqueue(uid)
	}
}

// forget removes everything about a pod that is gone.
func (r *recorder) forget(uid types.UID) {
	r.announcer.forget(uid)
	if r.results.forget(uid) {
		r.publishAndRequeue()
	}
}

// dropOld removes the diagnoses of images that the pod no longer waits for,
// except those that a user requested. That a pod had no sandbox is out of date once it runs.
func (r *recorder) dropOld(p pods.Pod, waiting []pods.PendingImage) {
	changed := r.results.update(p.UID, func(res result) (result, bool) {
		stuck := slices.ContainsFunc(waiting, func(w pods.PendingImage) bool {
			return w.Container == res.container && w.Image == res.image
		})
		requested := res.Asked != "" && !res.stuck && p.UsesImage(res.image) && !res.outdated(p)
		if res.stuck && !stuck && !p.Deleting && p.GotImage(res.container) {
			r.incidents.pulled(res.image)
		}
		res.stuck = stuck
		return res, stuck || requested
	})
	if changed {
		r.publishAndRequeue()
	}
}
