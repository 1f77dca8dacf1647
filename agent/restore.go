package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/report"
)

// restorer takes over the report that an earlier agent of this node has left.
type restorer struct {
	node      string
	log       *slog.Logger
	publisher *publish.Publisher
	announcer *announcer
	pods      *pods.Store
	sweeper   *sweep.Sweeper
}

// previousReport is the part of an existing report that an agent takes over when it
// starts, so that it does not repeat Events and handles no request twice.
type previousReport struct {
	Schema    string            `json:"schema"`
	Node      string            `json:"node"`
	Answered  map[string]string `json:"answered"`
	Sweep     *report.Sweep     `json:"sweep"`
	Diagnoses []struct {
		Pod       string    `json:"pod"`
		UID       string    `json:"uid"`
		Container string    `json:"container"`
		Volume    string    `json:"volume"`
		Image     string    `json:"image"`
		Asked     string    `json:"asked"`
		Announced time.Time `json:"announced"`
		Verdict   struct {
			Fault      report.Fault      `json:"fault"`
			Cause      report.Cause      `json:"cause"`
			Confidence report.Confidence `json:"confidence"`
		} `json:"verdict"`
		Checks []struct {
			Evidence struct {
				State string `json:"state"` // of a pod that does not wait for an image
			} `json:"evidence"`
		} `json:"checks"`
	} `json:"diagnoses"`
}

// restoreTimeout limits the wait for the existing report. Without it an old request may be
// handled again, which is better than not at all.
const restoreTimeout = 30 * time.Second

// run reads the existing report and takes over what is needed of it.
func (r restorer) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		data, err := r.publisher.CurrentReport(ctx)
		switch {
		case err == nil:
			r.apply([]byte(data))
			return
		case apierrors.IsNotFound(err):
			return
		case !kube.Retriable(err), ctx.Err() != nil:
			r.log.Warn("cannot read the previous report; earlier requests may be answered again", "error", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// apply takes over an existing report. Other users may have edited it: what is not
// valid is ignored.
func (r restorer) apply(data []byte) {
	var old previousReport
	if err := json.Unmarshal(data, &old); err != nil || old.Schema != report.Schema || old.Node != r.node {
		return
	}
	handled := map[types.UID]string{}
	for uid, request := range old.Answered {
		handled[types.UID(uid)] = request
	}
	for _, d := range old.Diagnoses {
		waited := true
		for _, c := range d.Checks {
			waited = waited && c.Evidence.State == ""
		}
		if d.Asked != "" {
			handled[types.UID(d.UID)] = d.Asked
		}
		r.announced(report.Diagnosis{
			Pod: d.Pod, UID: d.UID, Container: d.Container, Volume: d.Volume, Image: d.Image, Announced: d.Announced,
			Verdict: report.Verdict{Fault: d.Verdict.Fault, Cause: d.Verdict.Cause, Confidence: d.Verdict.Confidence},
		}, waited)
	}
	r.pods.Restore(handled)
	r.sweeper.Restore(old.Sweep)
}

// announced takes over that an earlier agent has announced a diagnosis of a container, which
// waited then for its image or did not.
func (r restorer) announced(d report.Diagnosis, waited bool) {
	namespace, name, ok := strings.Cut(d.Pod, "/")
	if !ok || d.Announced.IsZero() || d.Announced.After(time.Now()) {
		return
	}
	p := pods.Pod{UID: types.UID(d.UID), Namespace: namespace, Name: name}
	r.announcer.restore(p, subjectKey{d.Container, d.Volume}, d, waited)
}
