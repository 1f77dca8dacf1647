package agent

import (
	"context"
	"time"

	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// nodeState is the last result of the checks of the node itself.
type nodeState struct {
	runtime, disk report.Check
}

// notChecked is the node's state before its first check.
var notChecked = nodeState{
	runtime: report.Check{ID: report.IDRuntime, Kind: report.KindRuntime, Summary: "not checked yet"},
	disk:    report.Check{ID: report.IDDisk, Kind: report.KindDisk, Summary: "not checked yet"},
}

// watchNode keeps the node's state up to date when no pod is stuck.
func (a *Agent) watchNode(ctx context.Context) {
	for {
		a.checkNode(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
		}
	}
}

// checkNode checks runtime and disk, and publishes if their state has changed.
func (a *Agent) checkNode(ctx context.Context) {
	defer a.startup.markPodChecked(nodeKey)
	checkCtx, cancel := context.WithTimeout(ctx, examine.VerdictTimeout)
	defer cancel()
	runtime, disk := a.examiner.Node.State(checkCtx)
	disk = a.diskTrend.add(disk, time.Now(), a.live.Get().DiskFullWithin)
	if ctx.Err() == nil && a.setState(runtime, disk) {
		a.publisher.MarkDirty()
	}
}

// setState replaces the node's state. It reports whether more than figures has changed.
func (a *Agent) setState(runtime, disk report.Check) bool {
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	old := a.state
	a.state = nodeState{runtime, disk}
	a.metrics.ObserveNode(runtime, disk)
	return old.runtime.Outcome != runtime.Outcome || old.runtime.Cause != runtime.Cause ||
		old.disk.Outcome != disk.Outcome || old.disk.Cause != disk.Cause ||
		old.disk.Evidence[report.KeyFullSoon] != disk.Evidence[report.KeyFullSoon]
}

// nodeDisk returns an examination's disk check as the node's state. If the check depends
// on what one image needs, it returns the current state: that need is not the node's
// fault.
func (a *Agent) nodeDisk(c report.Check) report.Check {
	if c.Evidence[report.KeyNeed] == "" {
		return a.diskTrend.add(c, time.Now(), a.live.Get().DiskFullWithin)
	}
	a.nodeMu.Lock()
	defer a.nodeMu.Unlock()
	return a.state.disk
}

// nodeConditions returns the conditions of the Node object that matter for pulls; none
// if it cannot be read.
func (a *Agent) nodeConditions(ctx context.Context) []report.Condition {
	all, err := a.kube.NodeConditions(ctx, a.opts.NodeName)
	if err != nil {
		a.log.Debug("cannot read the Node's conditions", "error", err)
	}
	return all
}
