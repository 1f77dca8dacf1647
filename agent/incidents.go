package agent

import (
	"slices"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// incidents records which verdicts the images of this node had, and when they ended.
type incidents struct {
	ended func(report.Incident) // is called with each

	mu   sync.Mutex
	open map[string]report.Incident // by image; To: a pod has it, as far as is known
	past []report.Incident          // the last one first
}

func newIncidents(ended func(report.Incident)) *incidents {
	return &incidents{ended: ended, open: map[string]report.Incident{}}
}

// refinedWithin is how soon after a verdict another one only refines it.
const refinedWithin = 10 * time.Second

// pulled notes that a pod which waited for an image has it.
func (i *incidents) pulled(image string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if x, exists := i.open[image]; exists {
		x.To = &report.Conclusion{Fault: report.FaultNone, Cause: report.Healthy}
		i.open[image] = x
	}
}

// update takes over the diagnoses of all containers that wait now.
func (i *incidents) update(waiting []report.Waiting, now time.Time) {
	byImage := map[string][]report.Diagnosis{}
	for _, w := range waiting {
		byImage[w.Image] = append(byImage[w.Image], w.Diagnosis)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	now = now.UTC().Truncate(time.Second)
	for _, open := range i.open {
		if len(byImage[open.Image]) == 0 {
			i.end(open, open.To, now)
		}
	}
	for image, diagnoses := range byImage {
		i.observe(image, diagnoses, now)
	}
}

// observe takes over the diagnoses of the pods that wait for an image; the caller holds
// the lock.
func (i *incidents) observe(image string, waiting []report.Diagnosis, now time.Time) {
	pods := map[string]bool{}
	for _, d := range waiting {
		pods[d.UID] = true
	}
	var found report.Conclusion
	found.Fault, found.Cause = report.Worst(waiting)
	open, exists := i.open[image]
	if exists {
		open.Pods, open.To = max(open.Pods, len(pods)), nil
		refined := found.Fault != report.FaultNone && now.Sub(open.Began) < refinedWithin
		if open.From == found || refined {
			open.From = found
			i.open[image] = open
			return
		}
		i.end(open, &found, now)
	}
	if found.Fault != report.FaultNone {
		i.open[image] = report.Incident{Image: image, From: found, Began: now, Pods: len(pods)}
	}
}

// end records the end of an incident; the caller holds the lock.
func (i *incidents) end(x report.Incident, to *report.Conclusion, now time.Time) {
	delete(i.open, x.Image)
	x.To, x.Ended = to, now
	i.past = slices.Insert(i.past, 0, x)
	i.past = i.past[:min(len(i.past), report.MaxIncidents)]
	i.ended(x)
}

// list returns the incidents that have ended, the last one first.
func (i *incidents) list() []report.Incident {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.past)
}

// restore takes over what an earlier agent has recorded, and the diagnoses that pods
// waited with then.
func (i *incidents) restore(past []report.Incident, waiting []report.Diagnosis) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.past = past[:min(len(past), report.MaxIncidents)]
	for _, d := range waiting {
		if d.Verdict.Fault == report.FaultNone || d.Announced.IsZero() {
			continue
		}
		x := report.Incident{
			Image: d.Image,
			From:  report.Conclusion{Fault: d.Verdict.Fault, Cause: d.Verdict.Cause},
			Began: d.Announced.Truncate(time.Second),
			Pods:  1,
		}
		if d.Pods != nil {
			x.Pods = d.Pods.Count
		}
		if have, exists := i.open[d.Image]; !exists || report.Worse(x.From.Fault, have.From.Fault) {
			i.open[d.Image] = x
		}
	}
}
