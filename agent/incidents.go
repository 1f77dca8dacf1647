package agent

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/report"
)

// incidents records which verdicts the images of this node had, and when they ended.
type incidents struct {
	ended func(report.Incident) // is called with each

	mu   sync.Mutex
	open map[incidentKey]openIncident
	past []report.Incident // the last one first
}

// openIncident is a verdict that pods wait with.
type openIncident struct {
	report.Incident                 // To: a pod has the image, as far as is known
	pods            map[string]bool // that waited last, by UID; nil: not known
}

// incidentKey is what an incident is about: pods may wait for one image for several reasons.
type incidentKey struct {
	image string
	report.Conclusion
}

func newIncidents(ended func(report.Incident)) *incidents {
	return &incidents{ended: ended, open: map[incidentKey]openIncident{}}
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
	pods, workload := map[incidentKey]map[string]bool{}, map[incidentKey]string{}
	for _, w := range waiting {
		key := incidentKey{w.Image, w.Verdict.Conclusion()}
		if key.Fault == report.FaultNone {
			continue
		}
		if pods[key] == nil {
			pods[key] = map[string]bool{}
		}
		pods[key][w.UID] = true
		if of := workloadOf(w.Pod, w.Owner); workload[key] == "" || of < workload[key] {
			workload[key] = of
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	began := map[string]report.Incident{} // by image
	for key, uids := range pods {
		x, exists := i.open[key]
		if !exists {
			x = openIncident{Incident: report.Incident{Image: key.image, From: key.Conclusion, Began: now, Workload: workload[key]}}
			began[key.image] = x.Incident
		}
		x.Pods, x.pods = max(x.Pods, len(uids)), uids
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
		if to := x.became(waiting); to != nil {
			x.To = to
		}
		x.Ended = now
		i.past = slices.Insert(i.past, 0, x.Incident)
		i.past = i.past[:min(len(i.past), report.MaxIncidents)]
		i.ended(x.Incident)
	}
}

// workloadOf returns the workload of a pod, NAMESPACE/KIND/NAME.
func workloadOf(pod, owner string) string {
	namespace, name, _ := strings.Cut(pod, "/")
	if owner == "" || owner == report.NoOwner {
		owner = report.NoOwner + "/" + name
	}
	return namespace + "/" + owner
}

// became returns what most of the pods that waited with the verdict have now; nil: none of
// them waits for the image.
func (x openIncident) became(waiting []publish.Waiting) (to *report.Conclusion) {
	count := map[report.Conclusion]int{}
	for _, w := range waiting {
		if w.Image == x.Image && (x.pods == nil || x.pods[w.UID]) {
			count[w.Verdict.Conclusion()]++
		}
	}
	for c, n := range count {
		if to == nil || n > count[*to] || n == count[*to] && c.String() < to.String() {
			to = &c
		}
	}
	return to
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
		from := d.Verdict.Conclusion()
		x := report.Incident{Image: d.Image, From: from, Began: d.Announced.Truncate(time.Second), Pods: 1}
		if d.Pods != nil {
			x.Pods = d.Pods.Count
			if len(d.Pods.Owners) == 1 {
				x.Workload = workloadOf(d.Pod, d.Pods.Owners[0].Name)
			}
		}
		i.open[incidentKey{d.Image, from}] = openIncident{Incident: x}
	}
}
