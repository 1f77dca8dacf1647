package publish

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// This file spreads the writes of a large cluster. When a registry fails, the sweeps of all nodes
// find that at about the same time. No pod waits for it, so the nodes write one after the other.
// A verdict on a pod is written at once.

const (
	// perNode is how much later each node of a cluster makes all others write.
	perNode = 12 * time.Millisecond
	// forLate is how much more the writes are spread of what has only been refined: the fleet
	// knows it already.
	forLate = 10
	// maxSpread limits the delay, whatever the fleet says about the size of the cluster.
	maxSpread = 2 * time.Minute
)

// spread returns over how much time the nodes of the cluster spread their writes.
func (p *Publisher) spread() time.Duration { return min(time.Duration(p.nodes)*perNode, maxSpread) }

// countNodes takes over from the fleet how many nodes the cluster has. Without a fleet that is
// not known, and nothing is spread.
func (p *Publisher) countNodes(ctx context.Context) {
	text, err := p.cfg.Kube.ConfigMapLabel(ctx, p.cfg.Namespace, report.FleetName, report.LabelNodes)
	if err != nil {
		return // the last count stays
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		n = 0
	}
	p.nodes = min(n, int(maxSpread/perNode))
}

// isDue reports whether the report is to be written now: what concerns pods is due at once, any
// other change at a random time.
func (p *Publisher) isDue(ctx context.Context, now key) bool {
	late := now.calm == p.writtenKey.calm
	switch {
	case now == p.writtenKey:
		p.due = time.Time{}
		return false
	case p.hurried, now.urgent != p.writtenKey.urgent:
		return true
	case !p.due.IsZero() && (late || !p.dueLate):
		return !time.Now().Before(p.due)
	}
	p.countNodes(ctx)
	spread := p.spread()
	if late {
		spread *= forLate
	}
	if spread == 0 {
		return true
	}
	wait := rand.N(spread)
	p.due, p.dueLate = time.Now().Add(wait), late
	time.AfterFunc(wait, p.MarkDirty)
	return false
}

// hurry has all that waits for its time be written with the next flush, and reports whether
// there is any.
func (p *Publisher) hurry() bool {
	waits := !p.due.IsZero()
	p.due, p.hurried = time.Time{}, true
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.events {
		p.events[i].notBefore = time.Time{}
		waits = true
	}
	return waits
}

// holdEvents has Events on the Node wait until the reports of the cluster are written. p.mu is
// held.
func (p *Publisher) holdEvents() {
	spread := p.spread()
	if spread == 0 || p.hurried {
		return
	}
	for i := range p.events {
		if e := &p.events[i]; e.Node && e.notBefore.IsZero() {
			wait := spread + rand.N(2*spread)
			e.notBefore = time.Now().Add(wait)
			time.AfterFunc(wait, p.MarkDirty)
		}
	}
}
