package agent

import (
	"slices"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/report"
)

// incidents records which verdicts the images of this node had, and when they ended.
type incidents struct {
	ended func(report.Incident) // is called with each

	mu   sync.Mutex
	open map[incidentKey]report.Incident // To: a pod has the image, as far as is known
	past []report.Incident               // the last one first
}

// incidentKey is what an incident is about: pods may wait for one image for several reasons.
type incidentKey struct {
	image string
	report.Conclusion
}

func newIncidents(ended func(report.Incident)) *incidents {
	return &incidents{ended: ended, open: map[incidentKey]report.Incident{}}
}

// refinedWithin is how soon after a verdict another one only refines it.
const refinedWithin = 10 * time.Second

// pulled notes that a pod which waited for an image has it.
func (i *incidents) pulled(image string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for key, x := range i.open {
		if key.image == image {
			x.To = &report.Conclusion{Fault: report.FaultNone, Cause: report.Healthy}
			i.open[key] = x
		}
	}
}

// update takes over the diagnoses of all containers that wait now.
func (i *incidents) update(waiting []publish.Waiting, now time.Time) {
	now = now.UTC().Truncate(time.Second)
	pods := map[incidentKey]map[string]bool{}
	for _, w := range waiting {
		key := incidentKey{w.Image, report.Conclusion{Fault: w.Verdict.Fault, Cause: w.Verdict.Cause}}
		if key.Fault == report.FaultNone {
			continue
		}
		if pods[key] == nil {
			pods[key] = map[string]bool{}
		}
		pods[key][w.UID] = true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	began := map[string]report.Incident{} // by image
	for key, uids := range pods {
		x, exists := i.open[key]
		if !exists {
			x = report.Incident{Image: key.image, From: key.Conclusion, Began: now}
			began[key.image] = x
		}
		x.Pods = max(x.Pods, len(uids))
		i.open[key] = x
	}
	for key, x := range i.open {
		if pods[key] != nil {
			continue
		}
		delete(i.open, key)
		next, exists := began[key.image]
		if exists && now.Sub(x.Began) < refinedWithin {
			refined := i.open[incidentKey{key.image, next.From}]
			refined.Began = x.Began
			i.open[incidentKey{key.image, next.From}] = refined
			continue
		}
		if exists {
			x.To = &next.From
		}
		x.Ended = now
		i.past = slices.Insert(i.past, 0, x)
		i.past = i.past[:min(len(i.past), report.MaxIncidents)]
		i.ended(x)
	}
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
		from := report.Conclusion{Fault: d.Verdict.Fault, Cause: d.Verdict.Cause}
		x := report.Incident{Image: d.Image, From: from, Began: d.Announced.Truncate(time.Second), Pods: 1}
		if d.Pods != nil {
			x.Pods = d.Pods.Count
		}
		i.open[incidentKey{d.Image, from}] = x
	}
}
