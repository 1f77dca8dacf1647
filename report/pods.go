package report

import (
	"maps"
	"time"

	"github.com/pullprobe/pullprobe/report/readable"
)

// Pods is which pods share a diagnosis: they need the same image with the same
// credentials, and it fails for the same reason.
type Pods struct {
	Count   int       `json:"count"`             // the pod that the diagnosis names is one of them
	Since   time.Time `json:"since,omitzero"`    // since when the first of them waits; absent: none waits
	NextTry time.Time `json:"nextTry,omitzero"`  // about when the kubelet pulls next for the pod that the diagnosis names
	Owners  []Owner   `json:"owners"`            // what they were made from, most pods first
	Omitted int       `json:"omitted,omitempty"` // owners left out
	Others  []PodRef  `json:"others,omitempty"`  // some of the other pods

	// Announced is when an Event on a pod had this verdict first, by the pod's UID, of
	// pods that are not named here. A restarted agent continues these Events.
	Announced map[string]time.Time `json:"announced,omitempty"`
}

// Owner is what pods were made from.
type Owner struct {
	Name string `json:"name"`          // KIND/NAME for kubectl; "pod" are pods that have no owner
	Pods int    `json:"pods"`          //
	Fix  string `json:"fix,omitempty"` // what fixes it for this owner, if that is not the verdict's fix
}

// NoOwner is the owner of pods that have none.
const NoOwner = "pod"

// PodRef is one container of a pod that needs an image.
type PodRef struct {
	Pod       string    `json:"pod"` // namespace/name
	UID       string    `json:"uid"`
	Container string    `json:"container"`
	Volume    string    `json:"volume,omitempty"`
	Asked     string    `json:"asked,omitempty"`
	Announced time.Time `json:"announced,omitzero"`
}

// PullEstimate is how long a pull of an image takes on this node.
type PullEstimate struct {
	Bytes          int64 `json:"bytes"`          // compressed size of the layers
	BytesPerSecond int64 `json:"bytesPerSecond"` // of the last test pull of this node
}

// String returns the estimate for people.
func (p PullEstimate) String() string {
	took := time.Duration(float64(p.Bytes) / float64(p.BytesPerSecond) * float64(time.Second))
	return "about " + readable.Roughly(max(took, time.Second)) + ": " + readable.Bytes(p.Bytes) + " at " + readable.Bytes(p.BytesPerSecond) +
		"/s, the rate of this node's last test pull"
}

// Ref returns the pod that the diagnosis names.
func (d Diagnosis) Ref() PodRef {
	return PodRef{Pod: d.Pod, UID: d.UID, Container: d.Container, Volume: d.Volume, Asked: d.Asked, Announced: d.Announced}
}

// Refs returns the pods that the report names for the diagnosis.
func (d Diagnosis) Refs() []PodRef {
	if d.Pod == "" {
		return nil
	}
	refs := []PodRef{d.Ref()}
	if d.Pods != nil {
		refs = append(refs, d.Pods.Others...)
	}
	return refs
}

// brief returns the pods without the names of those without a request: the time of their
// Events is enough.
func (p Pods) brief() *Pods {
	others := p.Others
	p.Others, p.Announced = nil, maps.Clone(p.Announced)
	for _, o := range others {
		switch {
		case o.Asked != "":
			p.Others = append(p.Others, o)
		case !o.Announced.IsZero():
			if p.Announced == nil {
				p.Announced = map[string]time.Time{}
			}
			p.Announced[o.UID] = o.Announced.Truncate(time.Second)
		}
	}
	return &p
}

// keepNamedPods drops what is known of pods that are not named.
func (d *Diagnosis) keepNamedPods() {
	if d.Pods != nil {
		named := *d.Pods
		named.Announced = nil
		d.Pods = &named
	}
}
