// Package publish writes the report of one node into its ConfigMap, and the
// Events about it.
package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/report"
)

// publisher brings the node's report into its ConfigMap and Events onto pods.
// While the API server is away it keeps what there is to say: the report is
// made anew from what holds then, Events wait in order.
type Publisher struct {
	cfg   Config
	dirty chan struct{} // holds one token

	writtenKey string // what the last report that was written comes to
	version    string // of the ConfigMap after that

	mu        sync.Mutex
	events    []queuedEvent
	dropped   int
	uid       types.UID
	published time.Time // last success
	forced    bool      // the next report is written though it is the same
	doubted   bool      // what stands is to be looked at before
}

// publisherConfig is what a publisher needs.
type Config struct {
	Kube      *kube.Client
	Log       *slog.Logger
	Node      string
	Namespace string // of the ConfigMap
	Settings  *config.Live
	Snapshot  func() report.Node
	Ready     <-chan struct{} // closed when the first report may be written
	Metrics   Metrics
}

// publishMetrics counts what a publisher does.
type Metrics interface {
	ReportWritten(at time.Time)
	PublishFailed()
}

// queuedEvent is an Event that waits, and how often it was refused.
type queuedEvent struct {
	kube.Event
	tries int
}

func New(c Config) *Publisher {
	return &Publisher{cfg: c, dirty: make(chan struct{}, 1)}
}

// maxEvents is how many Events wait for the API server at most; the oldest
// give way, and their verdicts still stand in the ConfigMap.
const maxEvents = 512

func (p *Publisher) MarkDirty() {
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

// force has the report written even if it comes to the same: somebody waits
// for it.
func (p *Publisher) ForceWrite() {
	p.mu.Lock()
	p.forced = true
	p.mu.Unlock()
	p.MarkDirty()
}

func (p *Publisher) EnqueueEvent(e kube.Event) {
	p.mu.Lock()
	p.events = append(p.events, queuedEvent{Event: e})
	if over := len(p.events) - maxEvents; over > 0 {
		p.events = p.events[over:]
		p.dropped += over
	}
	p.mu.Unlock()
	p.MarkDirty()
}

func (p *Publisher) LastPublished() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.published
}

// Writes come at most this often; the first one goes out at once.
const minWriteInterval = 500 * time.Millisecond

// run publishes from when it may until ctx ends, and once more then, so that a
// verdict that stood when the agent was told to stop is not lost.
func (p *Publisher) Run(ctx context.Context) {
	select {
	case <-p.cfg.Ready:
		p.ForceWrite()
	case <-ctx.Done():
		return // nothing is known, and what an earlier agent wrote stands
	}
	backoff := time.Duration(0)
	settings, replaced := p.cfg.Settings.Watch()
	heartbeat := time.NewTimer(p.nextHeartbeat())
	defer heartbeat.Stop()
	for {
		select {
		case <-ctx.Done():
			select {
			case <-p.dirty:
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				_, _ = p.flush(last)
			default:
			}
			return
		case <-p.dirty:
		case <-heartbeat.C:
			p.ForceWrite()
			continue
		case <-replaced:
			before := settings.Heartbeat
			if settings, replaced = p.cfg.Settings.Watch(); settings.Heartbeat != before {
				heartbeat.Reset(p.nextHeartbeat())
			}
			continue
		}
		wrote, err := p.flush(ctx)
		if wrote {
			heartbeat.Reset(p.nextHeartbeat())
		}
		if err != nil {
			if ctx.Err() != nil {
				p.MarkDirty()
				continue
			}
			backoff = min(max(2*backoff, 500*time.Millisecond), 10*time.Second)
			p.cfg.Metrics.PublishFailed()
			p.cfg.Log.Warn("publishing failed; will try again", "error", err, "in", backoff)
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

// nextHeartbeat spreads the nodes of a cluster over the interval.
func (p *Publisher) nextHeartbeat() time.Duration {
	every := p.cfg.Settings.Get().Heartbeat
	return every*9/10 + rand.N(every/5+1)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// identify learns the Node's UID, which the report's owner and perhaps its name
// need; where it may not be read there is no owner.
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
		p.cfg.Log.Warn("the Node object cannot be read, so the ConfigMap will have no owner", "node", p.cfg.Node, "reason", apierrors.ReasonForError(err))
	default:
		return "", err
	}
	return uid, nil
}

// standing is the report.json that stands in the ConfigMap.
func (p *Publisher) CurrentReport(ctx context.Context) (string, error) {
	uid, err := p.nodeUID(ctx)
	if err != nil {
		return "", err
	}
	return p.cfg.Kube.ConfigMapData(ctx, p.cfg.Namespace, ConfigMapName(p.cfg.Node, uid), ReportKey)
}

// flush writes the report if it has changed, then the Events that wait.
func (p *Publisher) flush(ctx context.Context) (wrote bool, err error) {
	if p.consume(&p.doubted) {
		p.detectDrift(ctx)
	}
	uid, err := p.nodeUID(ctx)
	if err != nil {
		return false, err
	}
	forced := p.consume(&p.forced)
	n := p.cfg.Snapshot()
	if m := changeKey(n); forced || m != p.writtenKey {
		cm, err := Render(n, p.cfg.Namespace, uid, p.cfg.Settings.Get().ASCII)
		if err == nil {
			p.version, err = p.cfg.Kube.Apply(ctx, cm)
			if apierrors.IsForbidden(err) {
				p.forgetNode() // it has been replaced, perhaps: the policy takes its own only
			}
		}
		if err != nil {
			if forced {
				p.ForceWrite()
			}
			if !kube.Retriable(err) {
				// Nobody takes the report: a namespace that is being deleted, a quota. The
				// pods are elsewhere.
				err = errors.Join(err, p.flushEvents(ctx))
			}
			return false, err
		}
		p.writtenKey, wrote = m, true
		now := time.Now()
		p.cfg.Metrics.ReportWritten(now)
		p.mu.Lock()
		p.published = now
		p.mu.Unlock()
	}
	return wrote, p.flushEvents(ctx)
}

// take gives a mark of the publisher, and takes it away.
func (p *Publisher) consume(mark *bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := *mark
	*mark = false
	return was
}

// doubt has the report written again if somebody else has changed or removed it.
func (p *Publisher) Recheck() {
	p.mu.Lock()
	p.doubted = true
	p.mu.Unlock()
	p.MarkDirty()
}

// verify compares what stands with what was written. It is done between two
// writes: in the middle of one its own change would look like somebody else's.
// What cannot be looked at is left to the heartbeat.
func (p *Publisher) detectDrift(ctx context.Context) {
	uid, err := p.nodeUID(ctx)
	if err != nil {
		return
	}
	now, err := p.cfg.Kube.ConfigMapVersion(ctx, p.cfg.Namespace, ConfigMapName(p.cfg.Node, uid))
	if err != nil || p.version == "" || now == p.version {
		return
	}
	p.forgetNode() // a report is removed with its Node, which may be there anew
	p.cfg.Log.Info("somebody else has changed or removed the report; it is written again", "configmap", ConfigMapName(p.cfg.Node, uid))
	p.ForceWrite()
}

// forgetNode has the Node's UID asked for again.
func (p *Publisher) forgetNode() {
	p.mu.Lock()
	p.uid = ""
	p.mu.Unlock()
}

// meaning is equal for reports that differ in nothing but times and figures.
// Those are brought up to date with the next change or heartbeat.
func changeKey(n report.Node) string {
	var b strings.Builder
	line := func(fields ...any) { fmt.Fprintf(&b, "%q\n", fields) }
	line(n.Fault, n.Cause, n.Stuck, n.Omitted, n.Runtime.Outcome, n.Runtime.Cause, n.Disk.Outcome, n.Disk.Cause, n.Disk.Evidence["fullSoon"])
	if s := n.Sweep; s != nil {
		line(s.Control.Outcome, s.Control.Cause, s.Clock.Outcome, s.Clock.Cause)
		for _, r := range s.Registries {
			line(r.Host, r.Roles, r.State, r.Fault, r.Cause, r.Flapping)
		}
		for _, r := range s.Resolvers {
			line(r.Address, r.Outcome, r.Cause)
		}
		for _, c := range s.Runtime {
			line(c.ID, c.Outcome, c.Cause, c.Evidence["files"])
		}
		for _, c := range s.Conditions {
			line(c.Type, c.Status)
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(n.Answered)) {
		line(uid, n.Answered[uid])
	}
	var diagnoses []string
	for _, d := range n.Diagnoses {
		checks := []string{}
		for _, c := range d.Checks {
			what := string(c.Kind) + " " + c.Outcome.String() + " " + string(c.Cause) + " " + c.Evidence["ahead"]
			if !slices.Contains(checks, what) {
				checks = append(checks, what)
			}
		}
		slices.Sort(checks)
		v := d.Verdict
		diagnoses = append(diagnoses, fmt.Sprintf("%q", []any{d.UID, d.Container, d.Image, d.Asked, v.Fault, v.Cause, v.Confidence, v.Also, checks}))
	}
	slices.Sort(diagnoses) // their order is that of their times
	for _, d := range diagnoses {
		line(d)
	}
	return b.String()
}

// eventsFirst is how long the Events may hold up a report that has changed.
const eventsTimeout = time.Second

func (p *Publisher) flushEvents(ctx context.Context) error {
	began := time.Now()
	for {
		p.mu.Lock()
		if p.dropped > 0 {
			p.cfg.Log.Warn("Events were dropped while the API server was away", "count", p.dropped)
			p.dropped = 0
		}
		if len(p.events) == 0 {
			p.mu.Unlock()
			return nil
		}
		e := p.events[0].Event
		if e.Node {
			e.UID = p.uid
		}
		p.mu.Unlock()
		if len(p.dirty) > 0 && time.Since(began) > eventsTimeout {
			return nil // the next round goes on
		}
		err := p.cfg.Kube.CreateEvent(ctx, p.cfg.Node, e)
		if apierrors.IsAlreadyExists(err) {
			err = nil // an earlier attempt got through and its answer did not
		}
		if err != nil && kube.Retriable(err) && !p.countRefusal(err) {
			return err
		}
		if err != nil {
			p.cfg.Log.Warn("an Event was refused", "pod", e.Namespace+"/"+e.Pod, "error", err)
		}
		p.mu.Lock()
		if len(p.events) > 0 && p.events[0].Name == e.Name {
			p.events = p.events[1:]
		}
		p.mu.Unlock()
	}
}

// eventTries is how often an Event that the API server answers with an error is
// tried: one that some webhook keeps refusing must not hold up the others.
const maxEventTries = 5

// giveUp counts the answers to the first Event that waits. An API server that
// does not answer at all is waited for.
func (p *Publisher) countRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.events) == 0 {
		return true
	}
	p.events[0].tries++
	return p.events[0].tries >= maxEventTries
}

// Label keys of the ConfigMap: what `kubectl get cm -L` shows.
const (
	LabelReport  = "pullprobe.dev/report"
	LabelFault   = "pullprobe.dev/fault"
	LabelCause   = "pullprobe.dev/cause"
	LabelStuck   = "pullprobe.dev/stuck"
	LabelBad     = "pullprobe.dev/unreachable"
	LabelChecked = "pullprobe.dev/checked"

	appName = "pullprobe"
)

// The keys of the ConfigMap's data.
const SummaryKey, ReportKey = "summary", "report.json"

// render returns the ConfigMap of a report.
func Render(n report.Node, namespace string, uid types.UID, ascii bool) (kube.ConfigMap, error) {
	summary, body, err := n.Bounded(report.MaxReport)
	if err != nil {
		return kube.ConfigMap{}, err
	}
	if ascii {
		summary = report.ASCII(summary)
	}
	return kube.ConfigMap{
		Name: ConfigMapName(n.Node, uid), Namespace: namespace, Node: n.Node, NodeUID: uid,
		Labels: map[string]string{
			LabelReport:                    "",
			LabelFault:                     string(n.Fault),
			LabelCause:                     string(n.Cause),
			LabelStuck:                     strconv.Itoa(n.Stuck),
			LabelBad:                       strconv.Itoa(n.Sweep.Bad()),
			LabelChecked:                   n.Time.UTC().Format(report.TimeLayout),
			"app.kubernetes.io/name":       appName,
			"app.kubernetes.io/managed-by": appName,
		},
		Data: map[string]string{SummaryKey: summary, ReportKey: string(body)},
	}, nil
}

// configMapName is pullprobe-<node>, or pullprobe-<node UID> where that is
// longer than a name may be.
func ConfigMapName(node string, uid types.UID) string {
	const prefix, longest = "pullprobe-", 253
	if len(prefix)+len(node) > longest && uid != "" {
		return prefix + string(uid)
	}
	return prefix + node
}
