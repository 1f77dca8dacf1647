// Package agent is the controller of one node. It watches the node's pods, examines the
// images that they wait for, and publishes the node's report.
//
// Pods are reconciled as in every controller: level-triggered, from a queue. What takes
// long is started and not waited for; when it ends, the pod is queued again.
package agent

import (
	"context"
	"log/slog"
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

// Agent is one node's agent.
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
	live      *config.LiveSettings // the settings that may change
	reloader  *config.Reloader

	nodeMu    sync.Mutex
	state     nodeState
	diskTrend diskTrend

	nodeEventLimit *rate.Limiter

	scheduleMu          sync.Mutex
	validAfter          time.Time // examinations that began before are no longer valid
	runtimeBackoffUntil time.Time // until then the runtime is not called for single pods
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
		nodeEventLimit: rate.NewLimiter(rate.Every(nodeEventInterval), nodeEventBurst),
	}
	a.reloader = config.NewReloader(opts, a.live, log, a.metrics.ObserveReload)
	a.pods = pods.NewStore(pods.StoreConfig{Namespace: opts.Namespace, Enqueue: a.enqueue, OnTransition: a.metrics.ObservePod})
	a.publisher = publish.New(publish.Config{
		Kube:      api,
		Log:       log,
		Node:      opts.NodeName,
		Namespace: opts.Namespace,
		Settings:  a.live,
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

// newExaminer builds the puller, the examiner and the sweeper. They need each other, so
// what one calls of another that is built later is a function here. Nothing is called
// before Run.
func (a *Agent) newExaminer() {
	node := &examine.NodeReader{
		Runtime: a.runtime,
		Policy:  func() examine.Policy { return a.live.Get().Policy() },
	}
	a.puller = &cri.Puller{
		Client:   a.runtime,
		Journal:  cri.NewJournal(a.opts.JournalDir),
		MaxBytes: func() int64 { return a.live.Get().PullMaxBytes },
		Space:    node.Space,
		Deadline: examine.PullTimeout,
	}
	a.examiner = &examine.Examiner{
		Node:      node,
		Puller:    a.puller,
		Providers: &credentials.ProviderRunner{Timeout: examine.ProvidersTimeout},
		Refusals:  &credentials.RejectionCache{TTL: a.coolDown},
		Control:   func(ctx context.Context, domain string) report.Check { return a.sweeper.ControlCheck(ctx, domain) },
		Known: func(host string, after time.Time) (report.Check, time.Duration, bool) {
			return a.sweeper.CachedAnswer(host, after)
		},
	}
	a.sweeper = sweep.New(sweep.Config{
		Survey:     examine.Surveyor{Node: node}.Survey,
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

// coolDown returns the maximum interval between examinations of a stuck image.
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

// Run works until ctx ends, then stops cleanly: examinations in progress are canceled,
// finished diagnoses are published.
func (a *Agent) Run(ctx context.Context) error {
	defer a.runtime.Close()
	servers, err := a.listen()
	if err != nil {
		return err
	}
	a.log.Info("agent started", "version", a.opts.Version, "node", a.opts.NodeName, "namespace", a.opts.Namespace,
		"runtime", a.opts.RuntimeEndpoint, "testPull", a.live.Get().TestPull, "config", a.opts.Config)
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
	publishing.Go(func() { a.publisher.Run(publishCtx, a.startup.done, a.snapshot) })

	<-ctx.Done()
	a.log.Info("agent stopping")
	a.queue.ShutDown()
	stop()
	workers.Wait()
	a.cache.close()
	stopPublishing()
	publishing.Wait()
	return nil
}

// examine makes an examination and counts it.
func (a *Agent) examine(ctx context.Context, s examine.Subject, early func(examine.Result)) examine.Result {
	x := a.examiner.Examine(ctx, s, early)
	a.metrics.ObserveExamination(x)
	return x
}

// cleanUpTestPulls cleans up after test pulls that a crash interrupted, and after those
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

// followSettings acts on changed settings.
func (a *Agent) followSettings(ctx context.Context) {
	// The results of examinations depend on these.
	examined := []string{"allow", "deny", "test-pull", "test-pull-max-bytes", "credential-providers"}
	old, replaced := a.live.Watch()
	for {
		select {
		case <-ctx.Done():
			return
		case <-replaced:
		}
		var now config.Settings
		now, replaced = a.live.Watch()
		if slices.ContainsFunc(now.ChangedNames(old), func(name string) bool { return slices.Contains(examined, name) }) {
			a.reexamineAll(time.Now(), "")
		}
		if now.SweepInterval > 0 {
			a.sweeper.SweepNow() // with the new settings, and not only after the old interval
		}
		old = now
	}
}

// reexamineAll makes examinations that began before a time invalid, and queues all pods
// except one. It reports whether that was not done yet.
func (a *Agent) reexamineAll(since time.Time, except types.UID) bool {
	a.scheduleMu.Lock()
	begins := since.After(a.validAfter)
	if begins {
		a.validAfter = since
	}
	a.scheduleMu.Unlock()
	if begins {
		for _, p := range a.pods.All() {
			if p.UID != except {
				a.queue.Add(p.UID)
			}
		}
	}
	return begins
}

// reexaminedSince returns the time before which no examination is valid.
func (a *Agent) reexaminedSince() time.Time {
	a.scheduleMu.Lock()
	defer a.scheduleMu.Unlock()
	return a.validAfter
}

// onSweep publishes the result of a sweep.
func (a *Agent) onSweep(s report.Sweep) {
	a.metrics.ObserveSweep(s)
	a.publisher.Recheck()
}
