// Package agent is the controller of one node. It watches the node's pods, examines the
// images that they wait for, and publishes the node's report.
//
// Pods are reconciled as in every controller: level-triggered, from a queue. What takes
// long is started and not waited for; when it ends, the pod is queued again.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/endpoint"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/metrics"
	"github.com/pullprobe/pullprobe/agent/opinions"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/preflight"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/agent/turns"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// Agent is one node's agent: its parts, in the order in which they are built. A part
// knows only parts above it.
type Agent struct {
	shared
	examiner   *examine.Examiner
	puller     *cri.Puller
	sweeper    *sweep.Sweeper
	others     *opinions.Store
	cache      *examCache
	watcher    *nodeWatcher
	rechecker  *rechecker
	announcer  *announcer
	reconciler *reconciler
	reporter   nodeReporter
	restorer   restorer
	preflight  *preflight.Checker
	reloader   *config.Reloader
}

// shared is what several parts of an agent use.
type shared struct {
	opts      config.Options
	log       *slog.Logger
	live      *config.LiveSettings // the settings that may change
	kube      *kube.Client
	runtime   *cri.Client
	metrics   *metrics.Metrics
	queue     workqueue.TypedDelayingInterface[types.UID] // of pods to be reconciled
	pods      *pods.Store
	results   *results
	incidents *incidents
	state     *nodeState
	startup   *startupGate
	liveness  *liveness
	publisher *publish.Publisher
}

// New builds an agent. It does no I/O.
func New(opts config.Options, log *slog.Logger) (*Agent, error) {
	s, err := newShared(opts, log)
	if err != nil {
		return nil, err
	}
	node := &examine.NodeReader{
		Runtime: s.runtime,
		Policy:  func() examine.Policy { return s.live.Get().Policy() },

		KubeletMinor: func() int { return int(s.state.kubeletMinor.Load()) },
	}
	puller := newPuller(s, node)
	var others *opinions.Store // of hosts that the sweeper checks
	sweeper := newSweeper(s, node, func() *opinions.Store { return others })
	examiner := newExaminer(s, node, puller, sweeper)
	limiter := turns.New(opts.Workers, func() int { return s.live.Get().RegistryRate })
	checker := newPreflight(s, examiner, limiter, func() *opinions.Store { return others })
	others = newOpinions(s, sweeper, checker)
	cache := newExamCache(cacheConfig{
		Examine: countedExaminations(examiner, s.metrics),
		Requeue: s.enqueue,
		MaxAge:  s.coolDown,
		Limiter: limiter,
	})
	watcher := &nodeWatcher{
		reader:    node,
		state:     s.state,
		publisher: s.publisher,
		startup:   s.startup,
		runtime:   s.runtime,
		log:       s.log,
	}
	rechecker := newRechecker(s, watcher, sweeper)
	announcer := newAnnouncer(func() time.Duration { return s.live.Get().EventRenewal }, s.publisher.EnqueueEvent)
	return &Agent{
		shared:     s,
		examiner:   examiner,
		puller:     puller,
		sweeper:    sweeper,
		others:     others,
		cache:      cache,
		watcher:    watcher,
		rechecker:  rechecker,
		announcer:  announcer,
		reconciler: newReconciler(s, cache, sweeper, others, announcer, rechecker),
		reporter:   newReporter(s, sweeper),
		restorer:   newRestorer(s, sweeper, announcer),
		preflight:  checker,
		reloader:   config.NewReloader(opts, s.live, log, s.metrics.ObserveReload),
	}, nil
}

// listen opens the agent's ports.
func (a *Agent) listen() ([]*endpoint.Server, error) {
	a.liveness.mark()
	return endpoint.Listen(endpoint.ServerConfig{
		HealthAddr:  a.opts.HealthAddr,
		Alive:       a.liveness.alive,
		Ready:       a.ready,
		CanPull:     a.canPull,
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

// ready returns why /readyz fails; nil if it does not.
func (a *Agent) ready() error {
	switch {
	case !a.pods.HasSynced():
		return errors.New("the pods of this node have not been listed yet")
	case a.publisher.LastPublished().IsZero():
		return errors.New("the report has not been published yet")
	}
	_, err := a.runtime.Socket() // says what to set
	return err
}

// canPull returns why /pullz fails; nil if it does not.
func (a *Agent) canPull() error {
	runtime, disk := a.state.get()
	return canPull(runtime, disk, a.sweeper.Last(), a.live.Get().Required)
}

// watchAnswers watches what the fleet says to this node. The name of that ConfigMap may need
// the Node's UID.
func (a *Agent) watchAnswers(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-a.startup.done:
	}
	uid, _ := a.kube.NodeUID(ctx, a.opts.NodeName) // without it a name of usual length is known all the same
	a.others.Run(ctx, a.kube.ConfigMap(a.opts.Namespace, report.AnswersName(a.opts.NodeName, string(uid)), a.metrics.WatchFailed))
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
		"testPull", a.live.Get().TestPull, "config", a.opts.Config)
	work, stop := context.WithCancel(ctx)
	defer stop()
	var workers, publishing sync.WaitGroup
	workers.Go(func() { cleanUpTestPulls(work, a.puller, a.log, func() { a.enqueue(heartbeatItem) }) })
	workers.Go(func() {
		a.restorer.run(work)
		a.pods.Run(work, a.kube.Pods(a.opts.NodeName, a.metrics.WatchFailed))
	})
	workers.Go(func() { a.startup.run(work, a.pods) })
	workers.Go(func() { a.watcher.run(work) })
	workers.Go(func() { a.sweeper.Run(work, a.pods.Synced()) })
	workers.Go(func() { a.watchAnswers(work) })
	workers.Go(func() { a.preflight.Run(work) })
	workers.Go(func() { a.readVersions(work) })
	for _, s := range servers {
		workers.Go(func() { s.Serve(work, a.log) })
	}
	workers.Go(func() { a.reloader.Run(work) })
	workers.Go(func() { a.rechecker.followSettings(work) })
	workers.Go(func() { a.announcer.run(work) })
	for range podWorkers {
		workers.Go(func() { a.reconciler.run(work) })
	}
	publishCtx, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	publishing.Go(func() { a.publisher.Run(publishCtx, a.startup.done, a.reporter.snapshot) })

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
