// Package publish writes the report of one node into its ConfigMap, and the
// Events about it.
package publish

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/report"
)

// Publisher writes the node's report into its ConfigMap, and Events. While the API
// server is unavailable, Events are queued in order, and the report is rendered
// when it can be written.
type Publisher struct {
	cfg   Config
	dirty chan struct{} // holds one token

	writtenKey key       // of the last report that was written
	version    string    // resource version of the ConfigMap after that
	due        time.Time // when a change is written that no pod waits for; zero: there is none
	dueLate    bool      // it is only who must act
	nodes      int       // of the cluster, as the fleet counts them; 0: not known
	hurried    bool      // the agent ends: nothing waits any more

	mu        sync.Mutex
	events    []queuedEvent
	dropped   int
	uid       types.UID // of the Node; empty: not known
	published time.Time // last success
	forced    bool      // the next report is written although nothing has changed
	recheck   bool      // the ConfigMap is compared with what was written before the next write
}

// Config is what a publisher needs.
type Config struct {
	Kube      *kube.Client
	Log       *slog.Logger
	Node      string
	Namespace string // of the ConfigMap
	Settings  *config.LiveSettings
	Metrics   Metrics
}

// Metrics counts what a publisher does.
type Metrics interface {
	ReportWritten(at time.Time)
	PublishFailed()
}

// queuedEvent is an Event that waits.
type queuedEvent struct {
	kube.Event
	tries     int       // how often it was refused
	notBefore time.Time // of an Event on the Node, from when on flush has seen it
}

// New returns a publisher that has written nothing yet.
func New(c Config) *Publisher {
	return &Publisher{cfg: c, dirty: make(chan struct{}, 1)}
}

// maxEvents is how many Events may be queued. The oldest are dropped first; their
// verdicts are in the ConfigMap.
const maxEvents = 512

// MarkDirty has the report written if it has changed.
func (p *Publisher) MarkDirty() {
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

// ForceWrite has the report written even if it has not changed: a user waits for it.
func (p *Publisher) ForceWrite() {
	p.mu.Lock()
	p.forced = true
	p.mu.Unlock()
	p.MarkDirty()
}

// EnqueueEvent queues an Event. It replaces one of the same name that still waits.
func (p *Publisher) EnqueueEvent(e kube.Event) {
	p.mu.Lock()
	same := func(q queuedEvent) bool { return q.Name == e.Name && q.Namespace == e.Namespace }
	p.events = append(slices.DeleteFunc(p.events, same), queuedEvent{Event: e})
	if over := len(p.events) - maxEvents; over > 0 {
		p.events = p.events[over:]
		p.dropped += over
	}
	p.mu.Unlock()
	p.MarkDirty()
}

// LastPublished returns when the report was last written; zero: never.
func (p *Publisher) LastPublished() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.published
}

// minWriteInterval is the least time between two writes. The first one is immediate.
const minWriteInterval = 500 * time.Millisecond

// Run publishes what snapshot returns, from when ready is closed until ctx ends. It
// then writes a last time, so that no verdict is lost.
//
// The first heartbeat comes at random, and a change does not move the next one: else the
// nodes of a cluster that have written at the same time would do so again at each heartbeat.
func (p *Publisher) Run(ctx context.Context, ready <-chan struct{}, snapshot func() report.NodeReport) {
	select {
	case <-ready:
		p.ForceWrite()
	case <-ctx.Done():
		return // nothing is known: the report of an earlier agent stays
	}
	backoff := time.Duration(0)
	settings, replaced := p.cfg.Settings.Watch()
	heartbeat := time.NewTimer(rand.N(settings.Heartbeat))
	defer heartbeat.Stop()
	for {
		select {
		case <-ctx.Done():
			waits := p.hurry()
			select {
			case <-p.dirty:
				waits = true
			default:
			}
			if waits {
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				_, _ = p.flush(last, snapshot)
			}
			return
		case <-p.dirty:
		case <-heartbeat.C:
			heartbeat.Reset(settings.Heartbeat)
			p.ForceWrite()
			continue
		case <-replaced:
			before := settings.Heartbeat
			if settings, replaced = p.cfg.Settings.Watch(); settings.Heartbeat != before {
				heartbeat.Reset(rand.N(settings.Heartbeat))
			}
			continue
		}
		wrote, err := p.flush(ctx, snapshot)
		if err != nil {
			if ctx.Err() != nil {
				p.MarkDirty()
				continue
			}
			backoff = min(max(2*backoff, 500*time.Millisecond), 10*time.Second)
			p.cfg.Metrics.PublishFailed()
			p.cfg.Log.Warn("cannot publish, will retry", "error", err, "in", backoff)
			p.MarkDirty()
			sleep(ctx, backoff/2+rand.N(backoff/2+1))
			continue
		}
		backoff = 0
		if wrote {
			sleep(ctx, minWriteInterval)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// nodeUID returns the Node's UID, which the ConfigMap's owner reference and perhaps
// its name need. If the Node cannot be read, it returns none.
func (p *Publisher) nodeUID(ctx context.Context) (types.UID, error) {
	p.mu.Lock()
	uid := p.uid
	p.mu.Unlock()
	if uid != "" {
		return uid, nil
	}
	uid, err := p.cfg.Kube.NodeUID(ctx, p.cfg.Node)
	switch {
	case err == nil:
		p.mu.Lock()
		p.uid = uid
		p.mu.Unlock()
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		p.cfg.Log.Warn("cannot read the Node object, so the ConfigMap gets no owner",
			"node", p.cfg.Node, "reason", apierrors.ReasonForError(err))
	default:
		return "", err
	}
	return uid, nil
}

// CurrentReport returns the report.json that is in the ConfigMap.
func (p *Publisher) CurrentReport(ctx context.Context) (string, error) {
	uid, err := p.nodeUID(ctx)
	if err != nil {
		return "", err
	}
	return p.cfg.Kube.ConfigMapData(ctx, p.cfg.Namespace, report.ConfigMapName(p.cfg.Node, string(uid)), ReportKey)
}

// flush writes the report if it has changed or a write is forced, then the queued Events.
// What the API server may accept later stays to be written.
func (p *Publisher) flush(ctx context.Context, snapshot func() report.NodeReport) (wrote bool, err error) {
	if p.consumeRecheck() {
		p.detectDrift(ctx)
	}
	uid, err := p.nodeUID(ctx)
	if err != nil {
		return false, err
	}
	forced := p.consumeForced()
	n, settings := snapshot(), p.cfg.Settings.Get()
	facts := factsOf(n, settings)
	if m := changeKey(n, facts); forced || p.isDue(ctx, m) {
		cm, err := Render(n, facts, p.cfg.Namespace, uid, settings.ASCII)
		if err == nil {
			p.version, err = p.cfg.Kube.Apply(ctx, cm)
			if apierrors.IsForbidden(err) {
				p.forgetNode() // perhaps it was replaced: the admission policy accepts only the current UID
			}
		}
		if err != nil {
			if forced {
				p.ForceWrite()
			}
			if !kube.Retriable(err) {
				// The namespace of the report is being deleted, or has a quota. The Events
				// go to other namespaces.
				err = errors.Join(err, p.flushEvents(ctx))
			}
			return false, err
		}
		p.writtenKey, p.due, wrote = m, time.Time{}, true
		now := time.Now()
		p.cfg.Metrics.ReportWritten(now)
		p.mu.Lock()
		p.published = now
		p.mu.Unlock()
	}
	return wrote, p.flushEvents(ctx)
}

// consumeForced returns whether the next write is forced, and clears that.
func (p *Publisher) consumeForced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	forced := p.forced
	p.forced = false
	return forced
}

// consumeRecheck returns whether a recheck is requested, and clears that.
func (p *Publisher) consumeRecheck() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	recheck := p.recheck
	p.recheck = false
	return recheck
}

// Recheck has the report written again if it was changed or removed externally.
func (p *Publisher) Recheck() {
	p.mu.Lock()
	p.recheck = true
	p.mu.Unlock()
	p.MarkDirty()
}

// detectDrift compares the ConfigMap with what was written, and forces a write if it
// differs. It runs between two writes: during one, its own change would look like an
// external one. On an error the next heartbeat writes the report.
func (p *Publisher) detectDrift(ctx context.Context) {
	uid, err := p.nodeUID(ctx)
	if err != nil {
		return
	}
	now, err := p.cfg.Kube.ConfigMapVersion(ctx, p.cfg.Namespace, report.ConfigMapName(p.cfg.Node, string(uid)))
	if err != nil || p.version == "" || now == p.version {
		return
	}
	p.forgetNode() // a report is removed with its Node, which may have been replaced
	p.cfg.Log.Info("report was changed or removed externally; rewriting it", "configmap", report.ConfigMapName(p.cfg.Node, string(uid)))
	p.ForceWrite()
}

// forgetNode has the Node's UID read again.
func (p *Publisher) forgetNode() {
	p.mu.Lock()
	p.uid = ""
	p.mu.Unlock()
}

// eventsTimeout is how long the Events may delay a report that has changed.
const eventsTimeout = time.Second

// flushEvents writes the queued Events.
func (p *Publisher) flushEvents(ctx context.Context) error {
	began := time.Now()
	for {
		p.mu.Lock()
		if p.dropped > 0 {
			p.cfg.Log.Warn("Events dropped while the API server was unavailable", "count", p.dropped)
			p.dropped = 0
		}
		p.holdEvents()
		next := slices.IndexFunc(p.events, func(q queuedEvent) bool { return !time.Now().Before(q.notBefore) })
		if next < 0 {
			p.mu.Unlock()
			return nil
		}
		queued := p.events[next].Event
		e := queued
		if e.Node {
			e.UID = p.uid
		}
		p.mu.Unlock()
		if len(p.dirty) > 0 && time.Since(began) > eventsTimeout {
			return nil // the next round continues
		}
		err := p.cfg.Kube.ApplyEvent(ctx, p.cfg.Node, e)
		if err != nil && kube.Retriable(err) && !p.countRefusal(queued, err) {
			return err
		}
		if err != nil {
			p.cfg.Log.Warn("Event refused", "pod", e.Namespace+"/"+e.Pod, "error", err)
		}
		p.mu.Lock()
		if at := p.indexOf(queued); at >= 0 { // else it was replaced meanwhile
			p.events = slices.Delete(p.events, at, at+1)
		}
		p.mu.Unlock()
	}
}

// maxEventTries is how often an Event that the API server refuses is tried: one that
// a webhook keeps refusing must not delay the others.
const maxEventTries = 5

// countRefusal counts that the API server refused a queued Event, and reports whether to
// give it up. An API server that does not answer does not count.
func (p *Publisher) countRefusal(e kube.Event, err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.indexOf(e)
	if at < 0 {
		return true
	}
	p.events[at].tries++
	return p.events[at].tries >= maxEventTries
}

// indexOf returns where an Event is queued; -1: nowhere. p.mu is held.
func (p *Publisher) indexOf(e kube.Event) int {
	return slices.IndexFunc(p.events, func(q queuedEvent) bool { return q.Event == e })
}
