package agent

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
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
	kube      *kube
	log       *slog.Logger
	node      string
	namespace string
	heartbeat time.Duration
	snapshot  func() report.Node
	metrics   *metrics

	dirty chan struct{} // holds one token

	mu        sync.Mutex
	events    []event
	dropped   int
	uid       types.UID
	published time.Time // last success
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

func (p *publisher) say(e event) {
	p.mu.Lock()
	p.events = append(p.events, e)
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

// run publishes until ctx ends, and once more then, so that a verdict that
// stood when the agent was told to stop is not lost.
func (p *publisher) run(ctx context.Context) {
	backoff := time.Duration(0)
	heartbeat := time.NewTimer(p.nextHeartbeat())
	defer heartbeat.Stop()
	for {
		select {
		case <-ctx.Done():
			select {
			case <-p.dirty:
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				_ = p.flush(last)
			default:
			}
			return
		case <-p.dirty:
		case <-heartbeat.C:
		}
		heartbeat.Reset(p.nextHeartbeat())
		if err := p.flush(ctx); err != nil {
			if ctx.Err() != nil {
				p.touch()
				continue
			}
			backoff = min(max(2*backoff, 500*time.Millisecond), 10*time.Second)
			p.metrics.publishErrors.Inc()
			p.log.Warn("publishing failed; will try again", "error", err, "in", backoff)
			p.touch()
			sleep(ctx, backoff/2+rand.N(backoff/2+1))
			continue
		}
		backoff = 0
		sleep(ctx, writeEvery)
	}
}

// nextHeartbeat spreads the nodes of a cluster over the interval.
func (p *publisher) nextHeartbeat() time.Duration {
	return p.heartbeat*9/10 + rand.N(p.heartbeat/5+1)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// flush writes the report, then the Events that wait.
func (p *publisher) flush(ctx context.Context) error {
	if p.uid == "" {
		uid, err := p.kube.nodeUID(ctx, p.node)
		switch {
		case err == nil:
			p.uid = uid
		case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
			p.log.Warn("the Node object cannot be read, so the ConfigMap will have no owner", "node", p.node, "reason", apierrors.ReasonForError(err))
		default:
			return err
		}
	}
	n := p.snapshot()
	cm, err := p.configMap(n)
	if err != nil {
		return err
	}
	if err := p.kube.apply(ctx, cm); err != nil {
		return err
	}
	p.mu.Lock()
	p.published = time.Now()
	p.mu.Unlock()
	return p.flushEvents(ctx)
}

func (p *publisher) flushEvents(ctx context.Context) error {
	for {
		p.mu.Lock()
		if p.dropped > 0 {
			p.log.Warn("Events were dropped while the API server was away", "count", p.dropped)
			p.dropped = 0
		}
		if len(p.events) == 0 {
			p.mu.Unlock()
			return nil
		}
		e := p.events[0]
		p.mu.Unlock()
		err := p.kube.createEvent(ctx, p.node, e)
		if err != nil && retriable(err) && !p.giveUp(err) {
			return err
		}
		if err != nil {
			p.log.Warn("an Event was refused", "pod", e.Namespace+"/"+e.Pod, "error", err)
		}
		p.mu.Lock()
		if len(p.events) > 0 && p.events[0].same(e) {
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

// retriable reports whether the same call may succeed later.
func retriable(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true // the API server was not reached
	}
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) || status.Status().Code >= 500
}

// Label keys of the ConfigMap: what `kubectl get cm -L` shows.
const (
	labelReport  = "pullprobe.dev/report"
	labelFault   = "pullprobe.dev/fault"
	labelCause   = "pullprobe.dev/cause"
	labelStuck   = "pullprobe.dev/stuck"
	labelChecked = "pullprobe.dev/checked"
)

func (p *publisher) configMap(n report.Node) (configMap, error) {
	summary, body, err := n.Bounded(report.MaxReport)
	if err != nil {
		return configMap{}, err
	}
	return configMap{
		Name: configMapName(p.node, p.uid), Namespace: p.namespace, Node: p.node, NodeUID: p.uid,
		Labels: map[string]string{
			labelReport:                    "",
			labelFault:                     string(n.Fault),
			labelCause:                     string(n.Cause),
			labelStuck:                     strconv.Itoa(n.Stuck),
			labelChecked:                   n.Time.UTC().Format(report.TimeLayout),
			"app.kubernetes.io/name":       agentLabelValue,
			"app.kubernetes.io/managed-by": agentLabelValue,
		},
		Data: map[string]string{"summary": summary, "report.json": string(body)},
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

// eventFor is what stands in `kubectl describe pod`.
func eventFor(p pod, d report.Diagnosis) event {
	v := d.Verdict
	tail := ""
	if v.Fix != "" {
		tail += " Fix: " + v.Fix + "."
	}
	if len(v.WouldDecide) > 0 && v.Confidence != report.Confirmed {
		tail += " Would decide: " + v.WouldDecide[0] + "."
	}
	tail += " Ask again: " + report.Ask(d.Pod)
	head := string(v.Fault) + " / " + string(v.Cause) + " (" + string(v.Confidence) + "): "
	text := report.NewRedactor()
	message := head + text.Text(v.Summary, max(maxEvent-len(head)-len(tail)-1, 200)) + "." + tail
	return event{
		Namespace: p.Namespace, Pod: p.Name, UID: p.UID, Container: d.Container,
		Warning: v.Fault != report.FaultNone, Reason: "ImagePullDiagnosed", Message: text.Text(message, maxEvent), Time: d.Time,
	}
}
