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
	incidents *incidents
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
	Diagnoses []previousFinding `json:"diagnoses"`
	Incidents []report.Incident `json:"incidents"`
}

// previousFinding is a diagnosis in an existing report.
type previousFinding struct {
	report.PodRef
	Image   string       `json:"image"`
	Pods    *report.Pods `json:"pods"`
	Verdict struct {
		Fault      report.Fault      `json:"fault"`
		Cause      report.Cause      `json:"cause"`
		Confidence report.Confidence `json:"confidence"`
	} `json:"verdict"`
}

// diagnosis returns the diagnosis as far as it is taken over, about a pod.
func (f previousFinding) diagnosis(p report.PodRef) report.Diagnosis {
	return report.Diagnosis{
		Pod: p.Pod, UID: p.UID, Container: p.Container, Volume: p.Volume, Asked: p.Asked, Announced: p.Announced,
		Image: f.Image, Pods: f.Pods,
		Verdict: report.Verdict{Fault: f.Verdict.Fault, Cause: f.Verdict.Cause, Confidence: f.Verdict.Confidence},
	}
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
	var waiting []report.Diagnosis
	for _, f := range old.Diagnoses {
		d := f.diagnosis(f.PodRef)
		waited := f.Pods != nil && !f.Pods.Since.IsZero()
		for _, p := range d.Refs() {
			if p.Asked != "" {
				handled[types.UID(p.UID)] = p.Asked
			}
			r.announced(f.diagnosis(p), waited)
		}
		if f.Pods == nil {
			continue
		}
		for uid, at := range f.Pods.Announced {
			// The container is that of the pod that is named: most often they have one owner.
			p := f.PodRef
			p.UID, p.Announced = uid, at
			r.announced(f.diagnosis(p), waited)
		}
		if waited {
			waiting = append(waiting, d)
		}
	}
	r.pods.Restore(handled)
	r.incidents.restore(old.Incidents, waiting)
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
