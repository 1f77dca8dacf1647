package agent

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// lookers is how many pods are looked at side by side. A look is short: it
// waits for no examination.
const lookers = 4

func (a *Agent) work(ctx context.Context) {
	for {
		uid, down := a.queue.Get()
		if down {
			return
		}
		a.look(ctx, uid)
		a.queue.Done(uid)
		a.pulse.beat()
	}
}

// look brings the standing diagnoses of one pod up to date. What takes long is
// started, and the pod looked at again when it is there.
func (a *Agent) look(ctx context.Context, uid types.UID) {
	p, ok := a.pods.get(uid)
	if !ok {
		a.exams.leave(uid)
		if a.results.forget(uid) {
			a.changed()
		}
		a.first.looked(uid)
		return
	}
	question, asked := a.pods.question(uid)
	if p.Agent && question != "" {
		a.sweep(ctx, uid, question, asked)
		return
	}
	now := time.Now()
	agenda := agenda{next: p.outOfPatience(now)}
	waiting := a.waiting(ctx, p, &agenda, now)
	list := waiting
	if question != "" {
		list = a.all(ctx, p, waiting, now)
	}
	if a.results.keep(uid, func(r result) (result, bool) {
		stuck := slices.ContainsFunc(waiting, func(w wait) bool { return w.Container == r.container && w.Image == r.image })
		keep := stuck || r.Asked != "" && !r.stuck && !p.Deleting && p.names(r.image)
		r.stuck = stuck
		return r, keep
	}) {
		a.changed()
	}
	for _, w := range list {
		a.attend(ctx, p, w, question, asked, &agenda)
	}
	if ctx.Err() != nil {
		return
	}
	a.exams.leave(uid, agenda.keys...)
	if !agenda.pending {
		if question != "" {
			a.pods.answer(uid, question)
			a.publish.force()
		}
		a.first.looked(uid)
	}
	if !agenda.next.IsZero() {
		a.queue.AddAfter(uid, time.Until(agenda.next)+10*time.Millisecond)
	}
}

// agenda is what is left to do about a pod after a look.
type agenda struct {
	next    time.Time // when to look again; zero: when something changes
	pending bool      // an examination is under way
	keys    []string  // of the examinations that the pod needs
}

// at asks for another look.
func (a *agenda) at(t time.Time) {
	if a.next.IsZero() || t.Before(a.next) {
		a.next = t
	}
}

// waiting is what the pod waits for, as far as the runtime bears it out. The
// kubelet pulls the images of one pod one after the other, so of those that it
// has said nothing of only the first can be in its hands.
func (a *Agent) waiting(ctx context.Context, p pod, agenda *agenda, now time.Time) []wait {
	var out []wait
	found := false
	for _, w := range p.waits(now) {
		if w.Creating {
			if found {
				continue
			}
			var again time.Time
			if found, again = a.wanted(ctx, p, &w, now); !again.IsZero() {
				agenda.at(again)
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
func (a *Agent) all(ctx context.Context, p pod, waiting []wait, now time.Time) []wait {
	out := slices.Clone(waiting)
	for _, w := range p.all(now) {
		if slices.ContainsFunc(out, func(o wait) bool { return o.Image == w.Image }) {
			continue
		}
		w.Creating = false // or it would be among those waiting
		if !w.Started && !w.Failing && !w.pastImage() {
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
func (a *Agent) wanted(ctx context.Context, p pod, w *wait, now time.Time) (wanted bool, again time.Time) {
	switch a.sandbox(ctx, p, w); {
	case now.Before(w.Since.Add(patience)):
		return false, w.Since.Add(patience)
	case w.Sandbox == sandboxAbsent:
		// What it waits for may be the sandbox's own image; a volume or the
		// network is not ours to look at.
		image := a.missingSandboxImage(ctx)
		if image == "" {
			return false, now.Add(patience / 2)
		}
		w.Image, w.ForSandbox = image, true
		return true, time.Time{}
	}
	present := false
	if a.askRuntime(ctx, func(ctx context.Context) (err error) {
		_, present, err = a.runtime.ImageStatus(ctx, w.Image)
		return err
	}) && present {
		return false, time.Time{}
	}
	return true, time.Time{}
}

// sandbox finds out whether the pod has one, and since when.
func (a *Agent) sandbox(ctx context.Context, p pod, w *wait) {
	if !p.SandboxReady.IsZero() {
		w.Sandbox = sandboxReady
		return
	}
	w.Sandbox = sandboxUnknown
	var since time.Time
	var ready bool
	if !a.askRuntime(ctx, func(ctx context.Context) (err error) {
		since, ready, err = a.runtime.ReadySandbox(ctx, string(p.UID))
		return err
	}) {
		return
	}
	w.Sandbox = sandboxAbsent
	if ready {
		w.Sandbox = sandboxReady
		if since.After(w.Since) {
			w.Since = since
		}
	}
}

// How long the runtime may take for one answer, and how long it is left alone
// after it gave none: a hung runtime must not hang the looks at all pods.
const (
	answerIn = time.Second
	awayFor  = 5 * time.Second
)

// askRuntime reports whether the runtime answered.
func (a *Agent) askRuntime(ctx context.Context, ask func(context.Context) error) bool {
	a.scheduleMu.Lock()
	away := time.Now().Before(a.runtimeAway)
	a.scheduleMu.Unlock()
	if away {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	if ask(ctx) == nil {
		return true
	}
	a.scheduleMu.Lock()
	defer a.scheduleMu.Unlock()
	a.runtimeAway = time.Now().Add(awayFor)
	return false
}

// attend sees to it that one image of a pod has a diagnosis from an
// examination that still holds.
func (a *Agent) attend(ctx context.Context, p pod, w wait, question string, asked time.Time, agenda *agenda) {
	said := podCheck(p, w, a.opts.NodeName)
	old, exists := a.results.get(p.UID, w.Container, w.Image)
	words := said.Cause
	if words == report.Undetermined && exists && old.words != "" {
		words = old.words // between two attempts older kubelets say nothing of the cause: no news
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
	n := need{pod: p.UID, ns: p.Namespace, key: examKey(p, s, words), after: a.sweptSince(), subject: s, said: said}
	if question != "" && asked.After(n.after) {
		n.after, n.asked = asked, true
	}
	n.subject.After = n.after
	if !exists || old.key != n.key {
		n.fresh = time.Now().Add(-reuse)
	}
	agenda.keys = append(agenda.keys, n.key)
	if at := a.exams.secretsDue(n.key); !at.IsZero() && len(p.PullSecrets) > 0 {
		if !time.Now().Before(at) {
			reading, cancel := context.WithTimeout(ctx, examine.SecretsTimeout)
			a.exams.sawSecrets(n.key, a.secrets(reading, p))
			cancel()
			at = time.Now().Add(a.exams.lookEvery)
		}
		agenda.at(at)
	}
	x, due, ok := a.exams.get(ctx, n)
	if !ok {
		agenda.pending = true
		return
	}
	agenda.pending = agenda.pending || !x.Final
	if x.Final {
		agenda.at(due)
	}
	a.settle(p, w, said, words, question, n.key, x)
}

// settle draws the verdict on one image of a pod and publishes it, if it is
// drawn from anything that is new.
func (a *Agent) settle(p pod, w wait, said report.Check, words report.Cause, question, key string, x exam) {
	about := []report.Check{said}
	var queue report.Check
	if w.Creating || words == report.PullQueueLimited {
		queue = queueCheck(w, a.results.others(p.UID, w.Image))
		about = append(about, queue)
	}
	old, exists := a.results.get(p.UID, w.Container, w.Image)
	if exists && old.key == key && old.began.Equal(x.began) && old.final == x.Final && old.Asked == p.Asked && old.queue.Summary == queue.Summary {
		return
	}
	checks := withPod(x.Result, about...)
	d := x.Redactor.Diagnosis(report.Diagnosis{
		Image: w.Image, Node: a.opts.NodeName, Pod: p.String(), UID: string(p.UID), Container: w.Container,
		Asked: p.Asked, Time: time.Now().UTC().Truncate(time.Millisecond), Verdict: report.Diagnose(checks), Checks: checks,
	})
	a.results.put(p.UID, result{
		Diagnosis: d, container: w.Container, image: w.Image, stuck: w.Failing || w.Creating, failing: w.Failing, since: w.Since,
		words: words, key: key, began: x.began, final: x.Final, queue: queue,
	})
	if runtime := report.Find(checks, "runtime"); runtime.Outcome != report.Unknown && x.Final && (!exists || x.began.After(old.began)) {
		a.setState(runtime, a.lastDisk(report.Find(checks, "disk")))
	}
	v := d.Verdict
	if exists && v.Same(old.Verdict) {
		a.publish.touch()
	} else {
		a.changed()
	}
	if !x.Final {
		return
	}
	a.sweeper.learnFrom(checks)
	a.metrics.diagnosed(v, x.ended.Sub(x.began))
	a.log.Info("diagnosed", "pod", d.Pod, "container", d.Container, "image", d.Image, "fault", v.Fault, "cause", v.Cause,
		"confidence", v.Confidence, "because", v.Because, "took", x.ended.Sub(x.began).Round(time.Millisecond))
	if news := a.results.say(p.UID, w.Container, w.Image, v); news || question != "" {
		a.publish.say(eventFor(p, d))
	}
}

// changed publishes, and has the pods looked at that may wait behind another.
func (a *Agent) changed() {
	a.publish.touch()
	for _, uid := range a.results.behind() {
		a.queue.Add(uid)
	}
}

func (a *Agent) secrets(ctx context.Context, p pod) []credentials.Found {
	var out []credentials.Found
	for _, name := range p.PullSecrets {
		out = append(out, a.kube.secret(ctx, p.Namespace, name))
	}
	return out
}

// sweptSince is when everything was last to be looked at anew.
func (a *Agent) sweptSince() time.Time {
	a.scheduleMu.Lock()
	defer a.scheduleMu.Unlock()
	return a.sweptAt
}

// sweep answers a question put to the agent's own pod: everything on this node
// is looked at anew. The answer stands when all of it is there.
func (a *Agent) sweep(ctx context.Context, self types.UID, question string, asked time.Time) {
	a.first.looked(self)
	if a.lookAnew(asked, self) {
		a.sweeper.now()
		a.lookAtNode(ctx)
	}
	if left := a.results.olderThan(asked); (left > 0 || !a.sweeper.endedAfter(asked)) && time.Since(asked) < sweepIn {
		a.queue.AddAfter(self, sweepPoll)
		return
	}
	a.pods.answer(self, question)
	a.publish.force()
	a.log.Info("swept on request", "asked", question)
}

// A sweep's answer is waited for in this way.
const (
	sweepIn   = 30 * time.Second
	sweepPoll = 100 * time.Millisecond
)
