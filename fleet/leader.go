package fleet

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/fleet/placement"
)

// leader compares the nodes while this replica is the leader, and writes what they show.
type leader struct {
	kube      *kube.Client
	namespace string
	log       *slog.Logger
	cluster   *cluster
	watcher   *watcher
	metrics   *metrics
	answerer  *answerer
	events    *podEvents
	preflight *preflights
	check     func() error // why this replica must not write; nil: it is the leader

	dirty chan struct{} // holds one token: something has changed that may change a verdict

	mu      sync.Mutex
	awaited map[string]bool // reports of nodes that were asked to check a host
	written time.Time       // of the ConfigMap

	key     string // changeKey of what is written
	version string // resource version of the ConfigMap after that
}

// How often the nodes are compared and the result is written.
const (
	debounce    = 250 * time.Millisecond // changes of several nodes come together
	unasked     = 30 * time.Second       // without a change: observations become stale
	heartbeat   = 10 * time.Minute       // an unchanged result is written again
	retryAfter  = 2 * time.Second
	idleForWork = 4 // after a comparison it pauses so many times as long as that took
)

func newLeader(k *kube.Client, w *watcher, o Options, log *slog.Logger, m *metrics) *leader {
	l := &leader{
		kube: k, namespace: o.Namespace, log: log, cluster: newCluster(), watcher: w, metrics: m, dirty: make(chan struct{}, 1),
	}
	w.cluster, w.waiting, w.log, w.poolBy = l.cluster, newWaitingPods(), log, o.PoolLabels
	l.events = &podEvents{events: w.core, written: map[types.UID]toldPod{}}
	l.preflight = newPreflights(w.core, log)
	w.onChange = l.markDirty
	l.answerer = newAnswerer(k, o.Namespace, l.cluster)
	w.onReport = func(name string, _ statement, changed bool) {
		// Times alone matter where others wait for a check.
		if changed || l.isAwaited(name) {
			l.markDirty()
		}
	}
	return l
}

func (l *leader) markDirty() {
	select {
	case l.dirty <- struct{}{}:
	default:
	}
}

// run works until ctx ends.
func (l *leader) run(ctx context.Context) error {
	known := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- l.watcher.run(ctx, func() { close(known) }) }()
	select {
	case err := <-ended:
		return err
	case <-known:
	}
	if err := l.answerer.findOld(ctx, l.watcher); err != nil {
		return err
	}
	for wait := time.Duration(0); ; {
		if !sleep(ctx, wait) {
			return <-ended
		}
		began := time.Now()
		worked, err := l.round(ctx, began)
		wait = max(debounce, idleForWork*worked-time.Since(began)+worked) // while it writes, it is idle
		if err != nil && ctx.Err() == nil {
			l.metrics.failed.Inc()
			l.log.Warn("cannot write what the nodes show, will retry", "error", err)
			wait = retryAfter
			l.markDirty()
		}
		select {
		case <-ctx.Done():
			return <-ended
		case <-l.dirty:
		case <-time.After(unasked):
		}
	}
}

// sleep waits; it reports false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// round compares the nodes once, and writes what has changed. It returns how long the
// comparison took, which is CPU time, unlike that of the writes.
func (l *leader) round(ctx context.Context, now time.Time) (worked time.Duration, err error) {
	in, oldest := l.cluster.input(now)
	in.Asked = l.answerer.sample
	result := compare.Compare(in)
	l.metrics.observe(result, oldest)
	answers, open := l.answerer.answers(in)
	l.mu.Lock()
	l.awaited = l.answerer.awaited()
	l.mu.Unlock()
	asking := l.watcher.waiting.asking()
	for node, pods := range l.preflight.requests(asking, func() []placement.Node { return l.cluster.places(in) }, now) {
		own := answers[node]
		own.Preflights = pods
		answers[node] = own
	}
	worked = time.Since(now)
	if err := l.check(); err != nil {
		return worked, err
	}
	waiting := l.watcher.waiting.list(now)
	published := l.publish(ctx, documentOf(result, waiting), now)
	preflightErr := l.preflight.tell(ctx, now)
	more, err := l.answerer.write(ctx, answers, now) // many of them take seconds
	l.preflight.removeOrphans(ctx, asking, now)
	moreEvents, eventErr := l.events.write(ctx, waiting, now)
	if more || moreEvents || open {
		l.markDirty()
	}
	return worked, errors.Join(err, preflightErr, eventErr, published)
}

// isAwaited reports whether the fleet waits for a check of the node with this report.
func (l *leader) isAwaited(configMap string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.awaited[configMap]
}

// publish writes the fleet's ConfigMap if the result has changed, if it was changed or
// removed by others, or if a heartbeat is due.
func (l *leader) publish(ctx context.Context, r document, now time.Time) error {
	key := changeKey(r)
	if key == l.key && now.Sub(l.lastWritten()) < heartbeat {
		version, err := l.kube.ConfigMapVersion(ctx, l.namespace, Name)
		if err != nil || version == l.version {
			return err
		}
		l.log.Info("the fleet's ConfigMap was changed or removed externally; rewriting it", "configmap", Name)
	}
	cm, err := render(r, l.namespace)
	if err != nil {
		return err
	}
	if l.version, err = l.kube.Apply(ctx, cm); err != nil {
		l.key = ""
		return err
	}
	if key != l.key {
		l.log.Info("the nodes show something else", "nodes", r.Nodes, "silent", r.Silent.Count, "findings", len(r.Findings)+r.Omitted)
	}
	l.key = key
	l.metrics.writes.Inc()
	l.mu.Lock()
	l.written = now
	l.mu.Unlock()
	return nil
}

func (l *leader) lastWritten() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}
