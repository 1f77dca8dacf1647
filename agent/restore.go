package agent

import (
	"context"
	"encoding/json"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/report"
)

// earlier is what an agent takes over from the report that stands: what was
// answered and said need not be said again after a restart.
type previousReport struct {
	Schema    string            `json:"schema"`
	Node      string            `json:"node"`
	Answered  map[string]string `json:"answered"`
	Sweep     *report.Sweep     `json:"sweep"`
	Diagnoses []struct {
		UID       string `json:"uid"`
		Container string `json:"container"`
		Image     string `json:"image"`
		Asked     string `json:"asked"`
		Verdict   struct {
			Fault      report.Fault      `json:"fault"`
			Cause      report.Cause      `json:"cause"`
			Confidence report.Confidence `json:"confidence"`
		} `json:"verdict"`
	} `json:"diagnoses"`
}

// recallIn bounds the wait for the report that stands: without it an old
// question may be answered once more, which is better than no answer.
const restoreTimeout = 30 * time.Second

// recall reads the report that stands and takes over what it remembers.
func (a *Agent) restore(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		data, err := a.publisher.CurrentReport(ctx)
		switch {
		case err == nil:
			a.applyPrevious([]byte(data))
			return
		case apierrors.IsNotFound(err):
			return
		case !kube.Retriable(err), ctx.Err() != nil:
			a.log.Warn("the earlier report cannot be read, so old questions may be answered again", "error", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// takeOver remembers what an earlier report says. Anybody may have edited that:
// what is not understood is passed over.
func (a *Agent) applyPrevious(data []byte) {
	var old previousReport
	if err := json.Unmarshal(data, &old); err != nil || old.Schema != report.Schema || old.Node != a.opts.NodeName {
		return
	}
	answered := map[types.UID]string{}
	for uid, question := range old.Answered {
		answered[types.UID(uid)] = question
	}
	for _, d := range old.Diagnoses {
		if d.Asked != "" {
			answered[types.UID(d.UID)] = d.Asked
		}
		a.results.noteEvent(types.UID(d.UID), d.Container, d.Image, report.Verdict{
			Fault: d.Verdict.Fault, Cause: d.Verdict.Cause, Confidence: d.Verdict.Confidence,
		})
	}
	a.pods.Restore(answered)
	a.sweeper.Restore(old.Sweep)
}
