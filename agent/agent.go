// Package agent watches the pods of one node, examines the images that they
// wait for, and publishes the node's report.
package agent

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/metrics"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// Agent is one node's agent. New wires it, Run runs it.
type Agent struct {
	opts      config.Options
	log       *slog.Logger
	kube      *kube.Client
	runtime   *cri.Client
	puller    *cri.Puller
	examiner  *examine.Examiner
	pods      *pods.Store
	queue     workqueue.TypedDelayingInterface[types.UID]
	results   *results
	cache     *examCache
	startup   *startupGate
	publisher *publish.Publisher
	sweeper   *sweep.Sweeper
	metrics   *metrics.Metrics
	liveness  liveness
	live      *config.Live // what of the settings may change
	reloader  *config.Reloader

	nodeMu    sync.Mutex
	state     nodeState
	diskTrend diskTrend

	nodeEventLimit *rate.Limiter

	scheduleMu          sync.Mutex
	validAfter          time.Time // examinations that began before no longer hold
	runtimeBackoffUntil time.Time // until then the runtime is not asked about single pods
}

// nodeState is what the last examination saw of the node itself.
type nodeState struct {
	runtime, disk report.Check
}

// notLookedAt is the node's state before the first look at it.
var notChecked = nodeState{
	runtime: report.Check{ID: "runtime", Kind: report.KindRuntime, Summary: "not looked at yet"},
	disk:    report.Check{ID: "disk", Kind: report.KindDisk, Summary: "not looked at yet"},
}

// New builds an agent. It does no I/O.
func New(opts config.Options, log *slog.Logger) (*Agent, error) {
	runtime, err := cri.New(opts.RuntimeEndpoint)
	if err != nil {
		return nil, err
	}
	asNode := ""
	if opts.ReadAsNode {
		asNode = opts.NodeName
	}
	api, err := kube.New(opts.Kubeconfig, "pullprobe-agent/"+opts.Version, asNode)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		opts:           opts,
		log:            log,
		kube:           api,
		runtime:        runtime,
		live:           config.NewLive(opts.Settings),
		metrics:        metrics.New(opts.Version),
		queue:          workqueue.NewTypedDelayingQueue[types.UID](),
		results:        newResults(),
		startup:        newStartupGate(),
		state:          notChecked,
		nodeEventLimit: rate.NewLimiter(rate.Every(nodeEventEvery), nodeEventBurst),
	}
	a.reloader = config.NewReloader(opts, a.live, log, a.metrics.ObserveReload)
	a.pods = pods.NewStore(pods.StoreConfig{Namespace: opts.Namespace, Enqueue: a.enqueue, OnTransition: a.metrics.ObservePod})
	a.publisher = publish.New(publish.Config{
		Kube:      api,
		Log:       log,
		Node:      opts.NodeName,
		Namespace: opts.Namespace,
		Settings:  a.live,
		Snapshot:  a.snapshot,
		Ready:     a.startup.done,
		Metrics:   a.metrics,
	})
	a.newExaminer()
	a.cache = newExamCache(cacheConfig{
		Examine: a.examine,
		Requeue: a.enqueue,
		MaxAge:  a.coolDown,
		Limiter: newLimiter(opts.Workers, func() int { return a.live.Get().RegistryRate }),
	})
	return a, nil
}

// newExaminer builds the examiner, the sweeper and the puller. They need each
// other: what one calls of another that is built later is a function here, and
// nothing is called before Run.
func (a *Agent) newExaminer() {
	a.puller = &cri.Puller{
		Client:   a.runtime,
		Journal:  cri.NewJournal(a.opts.JournalDir),
		MaxBytes: func() int64 { return a.live.Get().PullMaxBytes },
		Space:    func() (free, reserve uint64, err error) { return a.examiner.Space() },
		Deadline: examine.PullTimeout,
	}
	a.examiner = &examine.Examiner{
		Runtime:   a.runtime,
		Puller:    a.puller,
		Providers: &credentials.Runner{Timeout: examine.ProvidersTimeout},
		Refusals:  &credentials.Refusals{For: a.coolDown},
		Policy:    func() examine.Policy { return a.live.Get().Policy() },
		Control:   func(ctx context.Context, domain string) report.Check { return a.sweeper.ControlCheck(ctx, domain) },
		Known: func(host string, after time.Time) (report.Check, time.Duration, bool) {
			return a.sweeper.CachedAnswer(host, after)
		},
	}
	a.sweeper = sweep.New(sweep.Config{
		Survey:     a.examiner.Survey,
		Images:     a.pods.Images,
		Conditions: a.nodeConditions,
		Settings:   a.live.Get,
		Log:        a.log,
		OnSweep:    a.onSweep,
		Emit:       a.emitNodeEvent,
	})
}

// enqueue has a pod reconciled.
func (a *Agent) enqueue(uid types.UID) { a.queue.Add(uid) }

func (a *Agent) coolDown() time.Duration { return a.live.Get().CoolDown }

// listen opens the agent's ports.
func (a *Agent) listen() ([]*metrics.Server, error) {
	a.liveness.mark()
	return metrics.Listen(metrics.ServerConfig{
		HealthAddr:  a.opts.HealthAddr,
		Alive:       a.liveness.alive,
		Ready:       a.readiness,
		MetricsAddr: a.opts.MetricsAddr,
		Gatherer:    a.metrics.Registry,
		Auth:        a.opts.MetricsAuth,
		Authorize:   a.kube.Authorize,
		CertFile:    a.opts.MetricsCertFile,
		KeyFile:     a.opts.MetricsKeyFile,
		NodeName:    a.opts.NodeName,
		Log:         a.log,
	})
}

// Run works until ctx ends, then stops cleanly: what is under way is dropped,
// what stands is published.
func (a *Agent) Run(ctx context.Context) error {
	defer a.runtime.Close()
	servers, err := a.listen()
	if err != nil {
		return err
	}
	a.log.Info("agent starts", "version", a.opts.Version, "node", a.opts.NodeName, "namespace", a.opts.Namespace, "runtime", a.opts.RuntimeEndpoint, "testPull", a.live.Get().TestPull, "config", a.opts.Config)
	work, stop := context.WithCancel(ctx)
	defer stop()
	var workers, publishing sync.WaitGroup
	workers.Go(func() { a.cleanUpTestPulls(work) })
	workers.Go(func() {
		a.restore(work)
		a.pods.Run(work, a.kube.Pods(a.opts.NodeName, a.metrics.WatchFailed))
	})
	workers.Go(func() { a.startup.run(work, a.pods) })
	workers.Go(func() { a.watchNode(work) })
	workers.Go(func() { a.sweeper.Run(work, a.pods.Synced()) })
	for _, s := range servers {
		workers.Go(func() { s.Serve(work, a.log) })
	}
	workers.Go(func() { a.reloader.Run(work) })
	workers.Go(func() { a.followSettings(work) })
	for range podWorkers {
		workers.Go(func() { a.runPodWorker(work) })
	}
	publishCtx, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	publishing.Go(func() { a.publisher.Run(publishCtx) })

	<-ctx.Done()
	a.log.Info("agent stops")
	a.queue.ShutDown()
	stop()
	workers.Wait()
	a.cache.close()
	stopPublishing()
	publishing.Wait()
	return nil
}

// examine makes an examination that counts.
func (a *Agent) examine(ctx context.Context, s examine.Subject, early func(examine.Result)) examine.Result {
	x := a.examiner.Examine(ctx, s, early)
	a.metrics.ObserveExamination(x)
	return x
}

// signOfLife is no pod: that it is looked at shows that pods are.
const heartbeatItem types.UID = "sign of life"

// recover cleans up after test pulls that a crash cut short, and after those
// that containerd finished late.
func (a *Agent) cleanUpTestPulls(ctx context.Context) {
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
		a.queue.Add(heartbeatItem)
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
		a.checkNode(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
		}
	}
}

// followSettings has everything examined anew when settings change that what
// was examined hangs on.
func (a *Agent) followSettings(ctx context.Context) {
	old, replaced := a.live.Watch()
	for {
		select {
		case <-ctx.Done():
			return
		case <-replaced:
		}
		var now config.Settings
		now, replaced = a.live.Watch()
		if slices.ContainsFunc(now.Changed(old), func(name string) bool {
			return slices.Contains([]string{"allow", "deny", "test-pull", "test-pull-max-bytes", "credential-providers"}, name)
		}) {
			a.reexamineAll(time.Now(), "")
		}
		if now.SweepInterval > 0 {
			a.sweeper.SweepNow() // by what holds from now on, and not only when the old interval is over
		}
		old = now
	}
}

// lookAnew has all pods but one examined by what holds since a time. It reports
// whether that was not under way yet.
func (a *Agent) reexamineAll(since time.Time, but types.UID) bool {
	a.scheduleMu.Lock()
	begins := since.After(a.validAfter)
	if begins {
		a.validAfter = since
	}
	a.scheduleMu.Unlock()
	if begins {
		for _, p := range a.pods.All() {
			if p.UID != but {
				a.queue.Add(p.UID)
			}
		}
	}
	return begins
}

// lookAtNode checks runtime and disk, and publishes if their state changed.
func (a *Agent) checkNode(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, examine.VerdictTimeout)
	defer cancel()
	runtime, disk := a.examiner.NodeState(looking)
	disk = a.diskTrend.add(disk, time.Now(), a.live.Get().DiskFullWithin)
	if ctx.Err() == nil && a.setState(runtime, disk) {
		a.publisher.MarkDirty()
	}
	a.startup.markChecked(nodeKey)
}

// setState reports whether the state is another than before, figures aside.
func (a *Agent) setState(runtime, disk report.Check) bool {
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	old := a.state
	a.state = nodeState{runtime, disk}
	a.metrics.ObserveNode(runtime, disk)
	return old.runtime.Outcome != runtime.Outcome || old.runtime.Cause != runtime.Cause ||
		old.disk.Outcome != disk.Outcome || old.disk.Cause != disk.Cause || old.disk.Evidence["fullSoon"] != disk.Evidence["fullSoon"]
}

// lastDisk is a disk check as the node's own state: what one image would need
// is not the node's fault.
func (a *Agent) nodeDisk(c report.Check) report.Check {
	if c.Evidence["need"] == "" {
		return a.diskTrend.add(c, time.Now(), a.live.Get().DiskFullWithin)
	}
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	return a.state.disk
}

// swept publishes what a sweep came to.
func (a *Agent) onSweep(s report.Sweep) {
	a.metrics.ObserveSweep(s)
	a.publisher.Recheck()
}

// conditions are those of the Node object that a pull may depend on; none if it
// cannot be read.
func (a *Agent) nodeConditions(ctx context.Context) []report.Condition {
	all, err := a.kube.NodeConditions(ctx, a.opts.NodeName)
	if err != nil {
		a.log.Debug("the Node's conditions cannot be read", "error", err)
	}
	return all
}

// snapshot is the report as of now.
func (a *Agent) snapshot() report.Node {
	all, stuck := a.results.list()
	counted := map[string]bool{}
	fault, cause := report.Worst(stuck)
	answered := a.pods.Handled()
	for _, d := range stuck {
		counted[d.UID] = true
	}
	for _, d := range all {
		if answered[types.UID(d.UID)] == d.Asked {
			delete(answered, types.UID(d.UID))
		}
	}
	for _, p := range a.pods.All() {
		failing := slices.ContainsFunc(p.PendingImages(time.Time{}), func(w pods.PendingImage) bool { return w.Failing })
		if !failing || counted[string(p.UID)] {
			continue
		}
		// Nobody has looked at it yet, and a stuck pod must not read as none.
		counted[string(p.UID)] = true
		if report.Worse(report.FaultUndetermined, fault) {
			fault, cause = report.FaultUndetermined, report.Undetermined
		}
	}
	sweep := a.sweeper.Last()
	if sweep != nil && sweep.Control.Outcome == report.Fail && fault != report.FaultNode {
		fault, cause = report.FaultNode, sweep.Control.Cause
	}
	a.metrics.SetStuckPods(len(counted))
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	return report.Node{
		Schema: report.Schema, Node: a.opts.NodeName, Agent: a.opts.Version, Time: time.Now().UTC().Truncate(time.Second),
		Fault: fault, Cause: cause, Stuck: len(counted), Runtime: a.state.runtime, Disk: a.state.disk, Sweep: sweep, Diagnoses: all,
		Answered: limitHandled(answered),
	}
}

// maxAnswered bounds the answered questions that a report keeps: a tenant puts
// them.
const maxHandled = 100

func limitHandled(answered map[types.UID]string) map[string]string {
	out := map[string]string{}
	for _, uid := range slices.Sorted(maps.Keys(answered))[:min(len(answered), maxHandled)] {
		out[string(uid)] = answered[uid]
	}
	return out
}
