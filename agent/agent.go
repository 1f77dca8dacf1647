// Package agent watches the pods of one node, examines the images that they
// wait for, and publishes the node's report.
package agent

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/report"
)

// Agent is one node's agent. New wires it, Run runs it.
type Agent struct {
	opts     Options
	log      *slog.Logger
	kube     *kube
	runtime  *cri.Client
	puller   *cri.Puller
	examiner *Examiner
	pods     *podStore
	queue    workqueue.TypedDelayingInterface[types.UID]
	results  *results
	shared   *shared
	publish  *publisher
	metrics  *metrics
	pulse    pulse

	nodeMu sync.Mutex
	state  nodeState

	workMu  sync.Mutex
	working map[types.UID]context.CancelFunc // the pods that are being looked at
}

// nodeState is what the last examination saw of the node itself.
type nodeState struct {
	runtime, disk report.Check
}

// New wires an agent. It does no I/O.
func New(opts Options, log *slog.Logger) (*Agent, error) {
	runtime, err := cri.New(opts.RuntimeEndpoint)
	if err != nil {
		return nil, err
	}
	k, err := newKube(opts.Kubeconfig, "pullprobe-agent/"+opts.Version)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		opts: opts, log: log, kube: k, runtime: runtime, results: newResults(), metrics: newMetrics(opts.Version),
		examiner: &Examiner{Runtime: runtime},
		queue:    workqueue.NewTypedDelayingQueue[types.UID](),
		working:  map[types.UID]context.CancelFunc{},
	}
	a.puller = &cri.Puller{
		Client: runtime, Journal: cri.NewJournal(opts.JournalDir), MaxBytes: opts.PullMaxBytes,
		Space: a.examiner.Space, Deadline: pullIn,
	}
	if opts.TestPull {
		a.examiner.Puller = a.puller
	}
	a.shared = newShared(a.examiner)
	a.pods = newPodStore(opts.Namespace, func(uid types.UID) { a.queue.Add(uid) }, a.abandon)
	a.publish = &publisher{
		kube: k, log: log, node: opts.NodeName, namespace: opts.Namespace, heartbeat: opts.Heartbeat,
		snapshot: a.snapshot, metrics: a.metrics, dirty: make(chan struct{}, 1),
	}
	return a, nil
}

// Run works until ctx ends, then stops cleanly: what is under way is dropped,
// what stands is published.
func (a *Agent) Run(ctx context.Context) error {
	klog.SetSlogLogger(a.log.With("component", "client-go"))
	defer a.runtime.Close()
	serve, err := a.listen()
	if err != nil {
		return err
	}
	a.log.Info("agent starts", "version", a.opts.Version, "node", a.opts.NodeName, "namespace", a.opts.Namespace, "runtime", a.opts.RuntimeEndpoint, "testPull", a.opts.TestPull)
	work, stop := context.WithCancel(ctx)
	defer stop()
	var workers, publishing sync.WaitGroup
	workers.Go(func() { a.recover(work) })
	workers.Go(func() { a.pods.run(work, a.kube.pods(a.opts.NodeName)) })
	workers.Go(func() { a.watchNode(work) })
	workers.Go(func() { serve(work) })
	for range a.opts.Workers {
		workers.Go(func() { a.work(work) })
	}
	publishCtx, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	publishing.Go(func() { a.publish.run(publishCtx) })

	<-ctx.Done()
	a.log.Info("agent stops")
	a.queue.ShutDown()
	stop()
	workers.Wait()
	stopPublishing()
	publishing.Wait()
	return nil
}

// recover cleans up after test pulls that a crash cut short, and after those
// that containerd finished late.
func (a *Agent) recover(ctx context.Context) {
	for {
		round, cancel := context.WithTimeout(ctx, time.Minute)
		settled := a.puller.Recover(round)
		cancel()
		for _, s := range settled {
			if s.Pending && s.Err == nil {
				continue
			}
			a.log.Info("test pull settled", "image", s.Image, "removed", s.Removed, "left", s.Left, "pending", s.Pending, "error", s.Err)
		}
		a.pulse.beat()
		select {
		case <-ctx.Done():
			return
		case <-time.After(15 * time.Second):
		}
	}
}

// watchNode keeps the node's own state fresh when no pod is stuck.
func (a *Agent) watchNode(ctx context.Context) {
	for {
		a.lookAtNode(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
		}
	}
}

// lookAtNode checks runtime and disk, and publishes if their state changed.
func (a *Agent) lookAtNode(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, verdictIn)
	defer cancel()
	runtime, disk := a.examiner.NodeState(looking)
	if ctx.Err() == nil && a.setState(runtime, disk) {
		a.publish.touch()
	}
}

// setState reports whether the state is another than before, figures aside.
func (a *Agent) setState(runtime, disk report.Check) bool {
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	old := a.state
	a.state = nodeState{runtime, disk}
	return old.runtime.Outcome != runtime.Outcome || old.runtime.Cause != runtime.Cause ||
		old.disk.Outcome != disk.Outcome || old.disk.Cause != disk.Cause
}

// lastDisk is a disk check as the node's own state: what one image would need
// is not the node's fault.
func (a *Agent) lastDisk(c report.Check) report.Check {
	if c.Evidence["need"] == "" {
		return c
	}
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	return a.state.disk
}

func (a *Agent) work(ctx context.Context) {
	for {
		uid, down := a.queue.Get()
		if down {
			return
		}
		looking, cancel := context.WithCancel(ctx)
		a.workMu.Lock()
		a.working[uid] = cancel
		a.workMu.Unlock()
		a.look(looking, uid)
		a.workMu.Lock()
		delete(a.working, uid)
		a.workMu.Unlock()
		cancel()
		a.queue.Done(uid)
		a.pulse.beat()
	}
}

// abandon ends the work on a pod that has gone, so that a long test pull for
// nobody holds up neither the others nor the report.
func (a *Agent) abandon(uid types.UID) {
	a.workMu.Lock()
	defer a.workMu.Unlock()
	if cancel := a.working[uid]; cancel != nil {
		cancel()
	}
}

// look brings the standing diagnoses of one pod up to date.
func (a *Agent) look(ctx context.Context, uid types.UID) {
	p, ok := a.pods.get(uid)
	if !ok {
		if a.results.keep(uid, func(r result) (result, bool) { return r, false }) {
			a.publish.touch()
		}
		return
	}
	question := a.pods.question(uid)
	if p.Agent && question != "" {
		a.sweep(ctx, uid, question)
		return
	}
	now := time.Now()
	waiting := p.waits(now)
	list := waiting
	if question != "" {
		list = p.all(now)
	}
	waitsFor := func(container, image string) bool {
		return slices.ContainsFunc(waiting, func(w wait) bool { return w.Container == container && w.Image == image })
	}
	changed := a.results.keep(uid, func(r result) (result, bool) {
		waits := waitsFor(r.container, r.image)
		keep := waits || r.Asked != "" && !r.stuck && !p.Deleting
		r.stuck = waits
		return r, keep
	})
	if changed {
		a.publish.touch()
	}
	for _, w := range list {
		if ctx.Err() != nil {
			return
		}
		a.attend(ctx, p, w, question)
	}
	if ctx.Err() != nil {
		return
	}
	if question != "" {
		a.pods.answer(uid, question)
	}
	if at := p.outOfPatience(); at.After(now) {
		a.queue.AddAfter(uid, time.Until(at)+10*time.Millisecond)
	}
}

// attend diagnoses one image of a pod unless a standing diagnosis still holds.
func (a *Agent) attend(ctx context.Context, p pod, w wait, question string) {
	said := podCheck(p, w, a.opts.NodeName)
	old, exists := a.results.get(p.UID, w.Container, w.Image)
	// Between two attempts older kubelets say nothing of the cause: no news.
	news := old.words != string(said.Cause) && !(said.Cause == report.Undetermined && old.words != "")
	if question == "" && exists && !news {
		if due := time.Until(old.Time.Add(a.coolDown(old))); due > 0 {
			a.queue.AddAfter(p.UID, due)
			return
		}
	}
	if w.Creating {
		// Only the runtime knows whether it is the image that is missing.
		if present, err := a.examiner.Present(ctx, w.Image); err == nil && present && question == "" {
			return
		}
	}
	start := time.Now()
	settle := func(x Examination) {
		checks := slices.Insert(slices.Clone(x.Checks), 1, x.Redactor.Check(said))
		d := x.Redactor.Diagnosis(report.Diagnosis{
			Image: w.Image, Node: a.opts.NodeName, Pod: p.String(), UID: string(p.UID), Container: w.Container,
			Asked: question, Time: time.Now().UTC().Truncate(time.Millisecond), Verdict: report.Diagnose(checks), Checks: checks,
		})
		// The pod may have gone, or got its image, while it was examined.
		current, ok := a.pods.get(p.UID)
		stuck := ok && slices.ContainsFunc(current.waits(time.Now()), func(c wait) bool { return c.Container == w.Container && c.Image == w.Image })
		if !ok || !stuck && question == "" && (w.Failing || w.Creating) {
			return
		}
		a.results.put(p.UID, result{Diagnosis: d, container: w.Container, image: w.Image, stuck: stuck, words: string(said.Cause)})
		if runtime := find(checks, "runtime"); runtime.Outcome != report.Unknown && x.Final {
			a.setState(runtime, a.lastDisk(find(checks, "disk")))
		}
		a.publish.touch()
		if !x.Final {
			return
		}
		v := d.Verdict
		a.metrics.diagnosed(v, time.Since(start))
		a.log.Info("diagnosed", "pod", d.Pod, "container", d.Container, "image", d.Image, "fault", v.Fault, "cause", v.Cause,
			"confidence", v.Confidence, "because", v.Because, "took", time.Since(start).Round(time.Millisecond))
		if question != "" || !exists || old.Verdict.Fault != v.Fault || old.Verdict.Cause != v.Cause || old.Verdict.Confidence != v.Confidence {
			a.publish.say(eventFor(p, d))
		}
	}
	s := Subject{Image: w.Image, Failing: w.Failing && w.Policy != "Never", Secrets: func(ctx context.Context) []credentials.Found { return a.secrets(ctx, p) }}
	switch {
	case w.Failing && w.Policy == "Never":
		s.NoPull = "the pull policy is Never"
	case w.Creating:
		s.NoPull = "the kubelet's own pull is still under way, nothing has failed yet"
	}
	x := a.shared.examine(ctx, sharedKey(p, s, said.Cause), question != "", s, settle)
	if ctx.Err() != nil {
		return
	}
	settle(x)
	if now, ok := a.results.get(p.UID, w.Container, w.Image); ok {
		a.queue.AddAfter(p.UID, a.coolDown(now))
	}
}

// coolDown is how long a diagnosis holds when nothing changes. What was not
// confirmed may have been a passing state, and is looked at again sooner.
func (a *Agent) coolDown(r result) time.Duration {
	switch {
	case r.Verdict.Cause == report.RuntimeUnavailable:
		return min(10*time.Second, a.opts.CoolDown)
	case r.Verdict.Confidence != report.Confirmed:
		return min(time.Minute, a.opts.CoolDown)
	}
	return a.opts.CoolDown
}

func (a *Agent) secrets(ctx context.Context, p pod) []credentials.Found {
	var out []credentials.Found
	for _, name := range p.PullSecrets {
		out = append(out, a.kube.secret(ctx, p.Namespace, name))
	}
	return out
}

// sweep answers a question put to the agent's own pod: everything on this node
// is looked at anew.
func (a *Agent) sweep(ctx context.Context, self types.UID, question string) {
	a.lookAtNode(ctx)
	for _, uid := range a.pods.all() {
		if uid == self {
			continue
		}
		p, ok := a.pods.get(uid)
		if !ok {
			continue
		}
		for _, w := range p.waits(time.Now()) {
			if ctx.Err() != nil {
				return
			}
			a.attend(ctx, p, w, question)
		}
	}
	a.pods.answer(self, question)
	a.publish.touch()
	a.log.Info("swept on request", "asked", question)
}

// snapshot is the report as of now.
func (a *Agent) snapshot() report.Node {
	all, stuck, pods := a.results.list()
	fault, cause := report.Worst(stuck)
	a.metrics.stuck.Set(float64(pods))
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	return report.Node{
		Schema: report.Schema, Node: a.opts.NodeName, Agent: a.opts.Version, Time: time.Now().UTC().Truncate(time.Second),
		Fault: fault, Cause: cause, Stuck: pods, Runtime: a.state.runtime, Disk: a.state.disk, Diagnoses: all,
	}
}

func find(checks []report.Check, id string) report.Check {
	for _, c := range checks {
		if c.ID == id {
			return c
		}
	}
	return report.Check{ID: id}
}

// podCheck is what the kubelet says of an image of a pod.
func podCheck(p pod, w wait, node string) report.Check {
	c := report.Check{ID: "pod", Kind: report.KindPod, Target: p.String(), Outcome: report.Pass, Evidence: map[string]string{
		"namespace": p.Namespace, "name": p.Name, "container": w.Container, "node": node, "serviceAccount": p.ServiceAccount,
		"policy": string(w.Policy), "pullSecrets": strings.Join(p.PullSecrets, ","),
	}}
	if w.Reason != "" {
		c.Evidence["reason"] = w.Reason
	}
	switch {
	case w.Failing:
		r := cri.Read(w.Reason + ": " + w.Message)
		c.Outcome, c.Cause = report.Fail, r.Cause
		c.Evidence["message"] = w.Message
		could := make([]string, len(r.Could))
		for i, k := range r.Could {
			could[i] = string(k)
		}
		c.Evidence["could"] = strings.Join(could, ",")
		if r.Step != "" {
			c.Evidence["step"] = r.Step
		}
		if r.Proven {
			c.Evidence["proven"] = "true"
		}
		c.Summary = "the kubelet says " + w.Reason
		if r.Clause != "" {
			c.Summary += ": " + r.Clause
		}
	case w.Started:
		c.Summary = "the container has started, so its image came"
	case w.pastImage():
		c.Cause = report.NotAPullProblem
		c.Summary = "the container has its image and waits for something else: " + w.Reason
	default:
		c.Evidence["creating"] = "true"
		c.Summary = "the kubelet has reported neither the image nor a failure yet"
		if w.Creating {
			c.Summary = "the container has been waiting for over " + patience.String() + " and the kubelet has reported no failure yet"
		}
	}
	return c
}

// sharedKey is equal for pods whose examination must come to the same: the
// same image, asked for with the same secrets, failing for the same reason by
// the kubelet's words. Other words may speak of another state of the node.
func sharedKey(p pod, s Subject, words report.Cause) string {
	failing := "waits"
	if s.Failing {
		failing = "fails"
	}
	return strings.Join(append([]string{s.Image, failing, string(words), p.Namespace}, p.PullSecrets...), "\x00")
}

// shared lets pods with the same image and secrets share one examination.
type shared struct {
	examiner *Examiner
	mu       sync.Mutex
	flights  map[string]*flight
}

// flight is an examination that is under way or was just made.
type flight struct {
	done  chan struct{}
	x     Examination // once done is closed
	ended time.Time   // likewise
	ok    bool        // likewise: it was not abandoned

	early []func(Examination) // of all who wait; guarded by shared.mu
}

// reuse is how long an examination may be shared after its end.
const reuse = 20 * time.Second

func newShared(e *Examiner) *shared {
	return &shared{examiner: e, flights: map[string]*flight{}}
}

// examine makes an examination, or waits for one that is under way, or takes
// one just made. Somebody who asks gets one that began after the question.
func (s *shared) examine(ctx context.Context, key string, fresh bool, subject Subject, early func(Examination)) Examination {
	for {
		s.mu.Lock()
		s.forget()
		f := s.flights[key]
		if f == nil || fresh {
			f = &flight{done: make(chan struct{}), early: []func(Examination){early}}
			s.flights[key] = f
			s.mu.Unlock()
			s.fly(ctx, f, subject)
			return f.x
		}
		if !f.finished() {
			f.early = append(f.early, early)
		}
		s.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return Examination{}
		}
		if f.ok {
			return f.x
		}
		s.mu.Lock()
		if s.flights[key] == f {
			delete(s.flights, key)
		}
		s.mu.Unlock()
	}
}

// fly makes the examination; a first answer goes to all who wait by then.
func (s *shared) fly(ctx context.Context, f *flight, subject Subject) {
	defer close(f.done)
	f.x = s.examiner.Examine(ctx, subject, func(x Examination) {
		s.mu.Lock()
		waiting := slices.Clone(f.early)
		s.mu.Unlock()
		for _, early := range waiting {
			early(x)
		}
	})
	f.ended, f.ok = time.Now(), ctx.Err() == nil
}

// forget drops what is too old to be shared.
func (s *shared) forget() {
	for k, f := range s.flights {
		if f.finished() && time.Since(f.ended) > reuse {
			delete(s.flights, k)
		}
	}
}

func (f *flight) finished() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}
