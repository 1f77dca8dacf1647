package agent

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/metrics"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// nodeState is the last result of the checks of the node itself.
type nodeState struct {
	settings *config.LiveSettings
	metrics  *metrics.Metrics
	trend    diskTrend

	mu             sync.Mutex
	runtime, disk  report.Check
	bytesPerSecond int64 // of the last test pull; 0: not known

	kubeletMinor atomic.Int32 // 33 of Kubernetes 1.33; 0: not known
}

// newNodeState returns the node's state before its first check.
func newNodeState(settings *config.LiveSettings, m *metrics.Metrics) *nodeState {
	return &nodeState{
		settings: settings,
		metrics:  m,
		runtime:  report.Check{ID: report.IDRuntime, Kind: report.KindRuntime, Summary: "not checked yet"},
		disk:     report.Check{ID: report.IDDisk, Kind: report.KindDisk, Summary: "not checked yet"},
	}
}

// get returns the checks of the node.
func (s *nodeState) get() (runtime, disk report.Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runtime, s.disk
}

// set replaces the node's state. It reports whether more than figures has changed.
func (s *nodeState) set(runtime, disk report.Check) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldRuntime, oldDisk := s.runtime, s.disk
	s.runtime, s.disk = runtime, disk
	s.metrics.ObserveNode(runtime, disk)
	return oldRuntime.Outcome != runtime.Outcome || oldRuntime.Cause != runtime.Cause ||
		oldDisk.Outcome != disk.Outcome || oldDisk.Cause != disk.Cause ||
		oldDisk.Evidence[report.KeyFullSoon] != disk.Evidence[report.KeyFullSoon]
}

// addTrend returns a disk check with how the disk fills.
func (s *nodeState) addTrend(disk report.Check) report.Check {
	return s.trend.add(disk, time.Now(), s.settings.Get().DiskFullWithin)
}

// setFromExamination replaces the node's state by checks of an examination. A disk check
// that depends on what one image needs does not count: that need is not the node's
// fault.
func (s *nodeState) setFromExamination(runtime, disk report.Check) {
	if disk.Evidence[report.KeyNeed] == "" {
		disk = s.addTrend(disk)
	} else {
		_, disk = s.get()
	}
	s.set(runtime, disk)
}

// A test pull of fewer bytes, or in less time, does not show the rate of a large one.
const (
	minMeasuredBytes   = 4 << 20
	minMeasuredSeconds = 0.2
)

// measure takes the rate from the test pull of an examination, if it succeeded.
func (s *nodeState) measure(checks []report.Check) {
	pull := report.Find(checks, report.IDPull)
	bytes, err := strconv.ParseInt(pull.Evidence[report.KeyBytes], 10, 64)
	seconds, err2 := strconv.ParseFloat(pull.Evidence[report.KeySeconds], 64)
	if pull.Outcome != report.Pass || err != nil || err2 != nil || bytes < minMeasuredBytes || seconds < minMeasuredSeconds {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytesPerSecond = int64(float64(bytes) / seconds)
	s.metrics.SetPullRate(report.Find(checks, report.IDReference).Evidence[report.KeyDomain], float64(s.bytesPerSecond))
}

// estimate returns how long a pull takes of the image that checks are about; nil if its
// size or the rate of this node is not known.
func (s *nodeState) estimate(checks []report.Check) *report.PullEstimate {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range checks {
		size, err := strconv.ParseInt(c.Evidence[report.KeySize], 10, 64)
		if c.Kind == report.KindImage && err == nil && size > 0 && s.bytesPerSecond > 0 {
			return &report.PullEstimate{Bytes: size, BytesPerSecond: s.bytesPerSecond}
		}
	}
	return nil
}

// nodeWatcher keeps the node's state up to date when no pod is stuck.
type nodeWatcher struct {
	reader    *examine.NodeReader
	state     *nodeState
	publisher *publish.Publisher
	startup   *startupGate
	runtime   *cri.Client
	log       *slog.Logger

	mu     sync.Mutex
	logged string // what was logged of the runtime's socket
}

// run checks the node until ctx ends.
func (w *nodeWatcher) run(ctx context.Context) {
	for {
		w.check(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
		}
	}
}

// check checks runtime and disk, and publishes if their state has changed.
func (w *nodeWatcher) check(ctx context.Context) {
	defer w.startup.markPodChecked(nodeKey)
	w.logSocket()
	checkCtx, cancel := context.WithTimeout(ctx, examine.VerdictTimeout)
	defer cancel()
	runtime, disk := w.reader.State(checkCtx)
	disk = w.state.addTrend(disk)
	if ctx.Err() == nil && w.state.set(runtime, disk) {
		w.publisher.MarkDirty()
	}
}

// logSocket logs where the runtime listens, and why it is taken for the node's, when that
// has changed.
func (w *nodeWatcher) logSocket() {
	at, err := w.runtime.Socket()
	text := at.Path + " " + at.From
	if err != nil {
		text = err.Error()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case text == w.logged:
	case err != nil:
		w.log.Warn("the container runtime is unknown", "error", err)
	default:
		w.log.Info("container runtime", "socket", at.Path, "from", at.From)
	}
	w.logged = text
}

// nodeConditions returns a function that returns the conditions of the Node object that
// matter for pulls; none if it cannot be read.
func nodeConditions(api *kube.Client, node string, log *slog.Logger) func(context.Context) []report.Condition {
	return func(ctx context.Context) []report.Condition {
		all, err := api.NodeConditions(ctx, node)
		if err != nil {
			log.Debug("cannot read the Node's conditions", "error", err)
		}
		return all
	}
}
