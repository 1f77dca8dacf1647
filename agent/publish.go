package agent

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

	"github.com/pullprobe/pullprobe/report"
)

// publisher brings the node's report into its ConfigMap and Events onto pods.
// While the API server is away it keeps what there is to say: the report is
// made anew from what holds then, Events wait in order.
type publisher struct {
	cfg   publisherConfig
	dirty chan struct{} // holds one token

	written string // what the last report that was written comes to
	version string // of the ConfigMap after that

	mu        sync.Mutex
	events    []queuedEvent
	dropped   int
	uid       types.UID
	published time.Time // last success
	forced    bool      // the next report is written though it is the same
	doubted   bool      // what stands is to be looked at before
}

// publisherConfig is what a publisher needs.
type publisherConfig struct {
	Kube      *kube
	Log       *slog.Logger
	Node      string
	Namespace string // of the ConfigMap
	Settings  *live
	Snapshot  func() report.Node
	Ready     <-chan struct{} // closed when the first report may be written
	Metrics   publishMetrics
}

// publishMetrics counts what a publisher does.
type publishMetrics interface {
	reportWritten(at time.Time)
	publishFailed()
}

// queuedEvent is an Event that waits, and how often it was refused.
type queuedEvent struct {
	event
	tries int
}

func newPublisher(c publisherConfig) *publisher {
	return &publisher{cfg: c, dirty: make(chan struct{}, 1)}
}

// maxEvents is how many Events wait for the API server at most; the oldest
// give way, and their verdicts still stand in the ConfigMap.
const maxEvents = 512

func (p *publisher) touch() {
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

// force has the report written even if it comes to the same: somebody waits
// for it.
func (p *publisher) force() {
	p.mu.Lock()
	p.forced = true
	p.mu.Unlock()
	p.touch()
}

func (p *publisher) say(e event) {
	p.mu.Lock()
	p.events = append(p.events, queuedEvent{event: e})
	if over := len(p.events) - maxEvents; over > 0 {
		p.events = p.events[over:]
		p.dropped += over
	}
	p.mu.Unlock()
	p.touch()
}

func (p *publisher) lastPublished() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.published
}

// Writes come at most this often; the first one goes out at once.
const writeEvery = 500 * time.Millisecond

// run publishes from when it may until ctx ends, and once more then, so that a
// verdict that stood when the agent was told to stop is not lost.
func (p *publisher) run(ctx context.Context) {
	select {
	case <-p.cfg.Ready:
		p.force()
	case <-ctx.Done():
		return // nothing is known, and what an earlier agent wrote stands
	}
	backoff := time.Duration(0)
	settings, replaced := p.cfg.Settings.watch()
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
			p.force()
			continue
		case <-replaced:
			before := settings.Heartbeat
			if settings, replaced = p.cfg.Settings.watch(); settings.Heartbeat != before {
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
				p.touch()
				continue
			}
			backoff = min(max(2*backoff, 500*time.Millisecond), 10*time.Second)
			p.cfg.Metrics.publishFailed()
			p.cfg.Log.Warn("publishing failed; will try again", "error", err, "in", backoff)
			p.touch()
			sleep(ctx, backoff/2+rand.N(backoff/2+1))
			continue
		}
		backoff = 0
		if wrote {
			sleep(ctx, writeEvery)
		}
	}
}

// nextHeartbeat spreads the nodes of a cluster over the interval.
func (p *publisher) nextHeartbeat() time.Duration {
	every := p.cfg.Settings.get().Heartbeat
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
func (p *publisher) identify(ctx context.Context) (types.UID, error) {
	p.mu.Lock()
	uid := p.uid
	p.mu.Unlock()
	if uid != "" {
		return uid, nil
	}
	uid, err := p.cfg.Kube.nodeUID(ctx, p.cfg.Node)
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
func (p *publisher) standing(ctx context.Context) (string, error) {
	uid, err := p.identify(ctx)
	if err != nil {
		return "", err
	}
	return p.cfg.Kube.configMapData(ctx, p.cfg.Namespace, configMapName(p.cfg.Node, uid), reportKey)
}

// flush writes the report if it has changed, then the Events that wait.
func (p *publisher) flush(ctx context.Context) (wrote bool, err error) {
	if p.take(&p.doubted) {
		p.verify(ctx)
	}
	uid, err := p.identify(ctx)
	if err != nil {
		return false, err
	}
	forced := p.take(&p.forced)
	n := p.cfg.Snapshot()
	if m := meaning(n); forced || m != p.written {
		cm, err := render(n, p.cfg.Namespace, uid, p.cfg.Settings.get().ASCII)
		if err == nil {
			p.version, err = p.cfg.Kube.apply(ctx, cm)
			if apierrors.IsForbidden(err) {
				p.forgetNode() // it has been replaced, perhaps: the policy takes its own only
			}
		}
		if err != nil {
			if forced {
				p.force()
			}
			if !retriable(err) {
				// Nobody takes the report: a namespace that is being deleted, a quota. The
				// pods are elsewhere.
				err = errors.Join(err, p.flushEvents(ctx))
			}
			return false, err
		}
		p.written, wrote = m, true
		now := time.Now()
		p.cfg.Metrics.reportWritten(now)
		p.mu.Lock()
		p.published = now
		p.mu.Unlock()
	}
	return wrote, p.flushEvents(ctx)
}

// take gives a mark of the publisher, and takes it away.
func (p *publisher) take(mark *bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := *mark
	*mark = false
	return was
}

// doubt has the report written again if somebody else has changed or removed it.
func (p *publisher) doubt() {
	p.mu.Lock()
	p.doubted = true
	p.mu.Unlock()
	p.touch()
}

// verify compares what stands with what was written. It is done between two
// writes: in the middle of one its own change would look like somebody else's.
// What cannot be looked at is left to the heartbeat.
func (p *publisher) verify(ctx context.Context) {
	uid, err := p.identify(ctx)
	if err != nil {
		return
	}
	now, err := p.cfg.Kube.configMapVersion(ctx, p.cfg.Namespace, configMapName(p.cfg.Node, uid))
	if err != nil || p.version == "" || now == p.version {
		return
	}
	p.forgetNode() // a report is removed with its Node, which may be there anew
	p.cfg.Log.Info("somebody else has changed or removed the report; it is written again", "configmap", configMapName(p.cfg.Node, uid))
	p.force()
}

// forgetNode has the Node's UID asked for again.
func (p *publisher) forgetNode() {
	p.mu.Lock()
	p.uid = ""
	p.mu.Unlock()
}

// meaning is equal for reports that differ in nothing but times and figures.
// Those are brought up to date with the next change or heartbeat.
func meaning(n report.Node) string {
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
const eventsFirst = time.Second

func (p *publisher) flushEvents(ctx context.Context) error {
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
		e := p.events[0].event
		if e.Node {
			e.UID = p.uid
		}
		p.mu.Unlock()
		if len(p.dirty) > 0 && time.Since(began) > eventsFirst {
			return nil // the next round goes on
		}
		err := p.cfg.Kube.createEvent(ctx, p.cfg.Node, e)
		if apierrors.IsAlreadyExists(err) {
			err = nil // an earlier attempt got through and its answer did not
		}
		if err != nil && retriable(err) && !p.giveUp(err) {
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
const eventTries = 5

// giveUp counts the answers to the first Event that waits. An API server that
// does not answer at all is waited for.
func (p *publisher) giveUp(err error) bool {
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
	return p.events[0].tries >= eventTries
}

// Label keys of the ConfigMap: what `kubectl get cm -L` shows.
const (
	labelReport  = "pullprobe.dev/report"
	labelFault   = "pullprobe.dev/fault"
	labelCause   = "pullprobe.dev/cause"
	labelStuck   = "pullprobe.dev/stuck"
	labelBad     = "pullprobe.dev/unreachable"
	labelChecked = "pullprobe.dev/checked"

	appName = "pullprobe"
)

// The keys of the ConfigMap's data.
const summaryKey, reportKey = "summary", "report.json"

// render returns the ConfigMap of a report.
func render(n report.Node, namespace string, uid types.UID, ascii bool) (configMap, error) {
	summary, body, err := n.Bounded(report.MaxReport)
	if err != nil {
		return configMap{}, err
	}
	if ascii {
		summary = report.ASCII(summary)
	}
	return configMap{
		Name: configMapName(n.Node, uid), Namespace: namespace, Node: n.Node, NodeUID: uid,
		Labels: map[string]string{
			labelReport:                    "",
			labelFault:                     string(n.Fault),
			labelCause:                     string(n.Cause),
			labelStuck:                     strconv.Itoa(n.Stuck),
			labelBad:                       strconv.Itoa(n.Sweep.Bad()),
			labelChecked:                   n.Time.UTC().Format(report.TimeLayout),
			"app.kubernetes.io/name":       appName,
			"app.kubernetes.io/managed-by": appName,
		},
		Data: map[string]string{summaryKey: summary, reportKey: string(body)},
	}, nil
}

// configMapName is pullprobe-<node>, or pullprobe-<node UID> where that is
// longer than a name may be.
func configMapName(node string, uid types.UID) string {
	const prefix, longest = "pullprobe-", 253
	if len(prefix)+len(node) > longest && uid != "" {
		return prefix + string(uid)
	}
	return prefix + node
}
