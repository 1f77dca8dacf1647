package agent

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/metrics"
	"github.com/pullprobe/pullprobe/agent/opinions"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/preflight"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/agent/turns"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// This file builds the parts of an agent. [New] calls it from top to bottom.

// newShared builds what several parts use.
func newShared(opts config.Options, log *slog.Logger) (shared, error) {
	runtime, err := cri.OfKubelet()
	if opts.RuntimeEndpoint != "" {
		runtime, err = cri.New(opts.RuntimeEndpoint)
	}
	if err != nil {
		return shared{}, err
	}
	asNode := ""
	if opts.ReadAsNode {
		asNode = opts.NodeName
	}
	api, err := kube.New(opts.Kubeconfig, "pullprobe-agent/"+opts.Version, asNode)
	if err != nil {
		return shared{}, err
	}
	live, counts := config.NewLive(opts.Settings), metrics.New(opts.Version)
	queue := workqueue.NewTypedDelayingQueue[types.UID]()
	return shared{
		opts:      opts,
		log:       log,
		live:      live,
		kube:      api,
		runtime:   runtime,
		metrics:   counts,
		queue:     queue,
		pods:      pods.NewStore(pods.StoreConfig{Namespace: opts.Namespace, Enqueue: queue.Add, OnTransition: counts.ObservePod}),
		results:   newResults(),
		incidents: newIncidents(counts.ObserveIncident),
		state:     newNodeState(live, counts),
		startup:   newStartupGate(),
		liveness:  &liveness{},
		publisher: publish.New(publish.Config{
			Kube:      api,
			Log:       log,
			Node:      opts.NodeName,
			Namespace: opts.Namespace,
			Settings:  live,
			Metrics:   counts,
		}),
	}, nil
}

// enqueue has a pod reconciled.
func (s shared) enqueue(uid types.UID) { s.queue.Add(uid) }

// coolDown returns the maximum interval between examinations of a stuck image.
func (s shared) coolDown() time.Duration { return s.live.Get().CoolDown }

// newPuller builds what makes test pulls.
func newPuller(s shared, node *examine.NodeReader) *cri.Puller {
	return &cri.Puller{
		Client:   s.runtime,
		Journal:  cri.NewJournal(s.opts.JournalDir),
		MaxBytes: func() int64 { return s.live.Get().PullMaxBytes },
		Space:    node.Space,
		Deadline: examine.PullTimeout,
	}
}

// newSweeper builds what checks all registries of the node.
func newSweeper(s shared, node *examine.NodeReader, others func() *opinions.Store) *sweep.Sweeper {
	events := newNodeEvents(s.opts.NodeName, s.opts.Namespace, s.log, s.publisher)
	return sweep.New(sweep.Config{
		Survey:     examine.Surveyor{Node: node}.Survey,
		Images:     s.pods.Images,
		Conditions: nodeConditions(s.kube, s.opts.NodeName, s.log),
		Settings:   s.live.Get,
		Log:        s.log,
		Opinions: func(host string) []report.Check {
			checks, _ := others().Checks([]string{host}, "", time.Now())
			return checks
		},
		OnSweep: func(r report.Sweep, awaited bool) {
			s.metrics.ObserveSweep(r)
			for _, x := range r.Registries {
				if x.State == report.Reachable {
					others().Forget(x.Host)
				}
			}
			s.publisher.Recheck()
			if awaited {
				s.publisher.ForceWrite()
			}
		},
		Emit: events.emit,
	})
}

// newOpinions builds what holds the fleet's answers to this node.
func newOpinions(s shared, sweeper *sweep.Sweeper, checker *preflight.Checker) *opinions.Store {
	return opinions.New(opinions.Config{
		Log: s.log,
		OnOpinions: func(hosts, images []string) {
			for _, uid := range s.results.about(hosts, images) {
				s.enqueue(uid)
			}
			if len(hosts) > 0 && s.live.Get().SweepInterval > 0 {
				sweeper.SweepSoon() // the state of these hosts depends on it
			}
		},
		OnWanted:     sweeper.CheckFor,
		OnPreflights: checker.Request,
	})
}

// newPreflight builds what checks images of pods that may run here later.
func newPreflight(s shared, e *examine.Examiner, l *turns.Limiter, others func() *opinions.Store) *preflight.Checker {
	secrets, accounts := secretReader{s.kube}, accountReader{s.kube, s.opts.NodeName}
	return preflight.New(preflight.Config{
		Node: s.opts.NodeName, Log: s.log, Pod: s.kube.Pod, Estimate: s.state.estimate, Emit: s.publisher.EnqueueEvent,
		Examine: countedExaminations(e, s.metrics),
		Subject: func(p pods.Pod, w pods.PendingImage) examine.Subject {
			subject := podSubject(p, w, secrets)
			subject.Identity = accounts.identity(p)
			return subject
		},
		Acquire: func(ctx context.Context, namespace, registry string) (func(), bool) {
			w := turns.NewWaiter(namespace, registry, true)
			return func() { l.Release(w) }, l.Acquire(ctx, w)
		},
		Others: func(checks []report.Check, image string) []report.Check {
			found, _ := others().Checks(failingHosts(checks), image, time.Now())
			return found
		},
	})
}

// newExaminer builds what examines one image.
func newExaminer(s shared, node *examine.NodeReader, puller *cri.Puller, sweeper *sweep.Sweeper) *examine.Examiner {
	return &examine.Examiner{
		Node:      node,
		Puller:    puller,
		Providers: &credentials.ProviderRunner{Timeout: examine.ProvidersTimeout},
		Refusals:  &credentials.RejectionCache{TTL: s.coolDown},
		Control:   sweeper.ControlCheck,
		Known:     sweeper.CachedAnswer,
	}
}

// countedExaminations returns a function that makes an examination and counts it.
func countedExaminations(
	e *examine.Examiner, m *metrics.Metrics,
) func(context.Context, examine.Subject, func(examine.Result)) examine.Result {
	return func(ctx context.Context, s examine.Subject, early func(examine.Result)) examine.Result {
		x := e.Examine(ctx, s, early)
		m.ObserveExamination(x)
		return x
	}
}

// newRechecker builds what has the whole node checked again.
func newRechecker(s shared, node *nodeWatcher, sweeper *sweep.Sweeper) *rechecker {
	return &rechecker{
		log:       s.log,
		settings:  s.live,
		pods:      s.pods,
		enqueue:   s.enqueue,
		results:   s.results,
		node:      node,
		sweeper:   sweeper,
		publisher: s.publisher,
	}
}

// newReconciler builds what keeps the diagnoses of the pods up to date.
func newReconciler(
	s shared, cache *examCache, sweeper *sweep.Sweeper, others *opinions.Store, announcer *announcer, rechecker *rechecker,
) *reconciler {
	return &reconciler{
		pods:     s.pods,
		queue:    s.queue,
		images:   &imageFinder{runtime: s.runtime},
		secrets:  secretReader{s.kube},
		accounts: accountReader{s.kube, s.opts.NodeName},
		cache:    cache,
		recorder: &recorder{
			node:      s.opts.NodeName,
			log:       s.log,
			results:   s.results,
			pods:      s.pods,
			state:     s.state,
			sweeper:   sweeper,
			others:    others,
			metrics:   s.metrics,
			publisher: s.publisher,
			announcer: announcer,
			incidents: s.incidents,
			enqueue:   s.enqueue,
		},
		announcer: announcer,
		rechecker: rechecker,
		publisher: s.publisher,
		startup:   s.startup,
		liveness:  s.liveness,
	}
}

// newReporter builds what assembles the node's report.
func newReporter(s shared, sweeper *sweep.Sweeper) nodeReporter {
	return nodeReporter{
		node:    s.opts.NodeName,
		version: s.opts.Version,
		results: s.results,
		pods:    s.pods,
		sweeper: sweeper,
		state:   s.state,
		metrics: s.metrics,

		incidents: s.incidents,
	}
}

// newRestorer builds what takes over the report of an earlier agent.
func newRestorer(s shared, sweeper *sweep.Sweeper, announcer *announcer) restorer {
	return restorer{
		node:      s.opts.NodeName,
		log:       s.log,
		publisher: s.publisher,
		announcer: announcer,
		incidents: s.incidents,
		pods:      s.pods,
		sweeper:   sweeper,
	}
}
