package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/pullprobe/pullprobe/agent/endpoint"
	"github.com/pullprobe/pullprobe/agent/kube"
)

// Fleet is one replica.
type Fleet struct {
	opts    Options
	log     *slog.Logger
	kube    *kube.Client
	lock    *resourcelock.LeaseLock
	metrics *metrics
	leader  *leader
	elector atomic.Pointer[leaderelection.LeaderElector]
}

// New returns a replica. It sends nothing yet.
func New(o Options, log *slog.Logger) (*Fleet, error) {
	userAgent := Name + "/" + o.Version
	client, err := kube.New(o.Kubeconfig, userAgent, "")
	if err != nil {
		return nil, err
	}
	cfg, err := kube.RESTConfig(o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.UserAgent = userAgent
	watcher, err := newWatcher(cfg, o.Namespace)
	if err != nil {
		return nil, err
	}
	leases, err := typedcoordinationv1.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for the Lease: %w", err)
	}
	m := newMetrics(o.Version)
	f := &Fleet{
		opts: o, log: log, kube: client, metrics: m,
		leader: newLeader(client, watcher, o, log, m),
		lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Name: Name, Namespace: o.Namespace}, Client: leases,
			LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity},
		},
	}
	f.leader.leads = f.leads
	return f, nil
}

// The timing of the Lease, as other controllers of Kubernetes have it.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// errLost says that another replica leads.
var errLost = errors.New("another replica leads now")

// Run waits until this replica leads, and works until ctx ends or another one leads. In the
// latter case it returns an error: the process must end, and starts again as one that waits.
func (f *Fleet) Run(ctx context.Context) error {
	servers, err := f.listen()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for _, s := range servers {
		all.Go(func() { s.Serve(ctx, f.log) })
	}
	led := make(chan error, 1)
	var leading atomic.Bool
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: f.lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true, Name: Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				f.log.Info("this replica leads", "identity", f.opts.Identity)
				leading.Store(true)
				f.metrics.leading.Set(1)
				led <- f.leader.run(ctx)
			},
			OnStoppedLeading: func() { f.metrics.leading.Set(0) },
			OnNewLeader: func(identity string) {
				f.log.Info("leader", "identity", identity)
			},
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	f.elector.Store(elector)
	f.log.Info("fleet started", "version", f.opts.Version, "namespace", f.opts.Namespace, "identity", f.opts.Identity)
	elector.Run(ctx)
	if leading.Load() {
		if err := <-led; err != nil && ctx.Err() == nil {
			return err
		}
	}
	if ctx.Err() == nil {
		return errLost
	}
	return nil
}

// listen opens the ports.
func (f *Fleet) listen() ([]*endpoint.Server, error) {
	return endpoint.Listen(endpoint.ServerConfig{
		HealthAddr: f.opts.HealthAddr, Alive: f.alive, Ready: f.ready,
		MetricsAddr: f.opts.MetricsAddr, Gatherer: f.metrics.registry, Auth: f.opts.MetricsAuth, Authorize: f.kube.Authorize,
		NodeName: f.opts.Identity, Log: f.log,
	})
}

// alive returns why /healthz fails: this replica leads, and cannot renew that.
func (f *Fleet) alive() error {
	if e := f.elector.Load(); e != nil {
		return e.Check(leaseDuration)
	}
	return nil
}

// leads returns why this replica must not write: what it knows may be old. A replica that was
// paused has not renewed the Lease, and another one may lead.
func (f *Fleet) leads() error {
	if e := f.elector.Load(); e == nil || !e.IsLeader() {
		return errLost
	} else if err := e.Check(0); err != nil {
		return fmt.Errorf("%w: this process was paused, or the API server did not answer", err)
	}
	return nil
}

// ready returns why /readyz fails: this replica leads, and has written nothing yet.
func (f *Fleet) ready() error {
	e := f.elector.Load()
	switch {
	case e == nil:
		return errors.New("starting")
	case e.IsLeader() && f.leader.lastWritten().IsZero():
		return errors.New("what the nodes show has not been written yet")
	}
	return nil
}
