package report

import (
	"cmp"
	"slices"
	"strings"
	"time"
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
	return "about " + Roughly(max(took, time.Second)) + ": " + Bytes(p.Bytes) + " at " + Bytes(p.BytesPerSecond) +
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

// Waiting is one container that needs an image, with its own diagnosis.
type Waiting struct {
	Diagnosis
	Owner   string    // KIND/NAME; empty: the pod has none
	Since   time.Time // since when it waits; zero: it does not wait
	NextTry time.Time // about when the kubelet pulls next; zero: not known
	Key     string    // equal for containers that need the same image with the same credentials
}

// How many owners and other pods of one diagnosis a report names.
const (
	maxOwners = 10
	maxOthers = 9
)

// Group returns one diagnosis for all containers that wait for the same reason,
// newest first. Each names the pod that was asked about last, or the first by name.
func Group(all []Waiting) []Diagnosis {
	type key struct {
		of         string
		image      string
		waits      bool
		fault      Fault
		cause      Cause
		confidence Confidence
		because    string
	}
	groups := map[key][]Waiting{}
	for _, w := range all {
		v := w.Verdict
		k := key{w.Key, w.Image, !w.Since.IsZero(), v.Fault, v.Cause, v.Confidence, strings.Join(v.Because, ",")}
		groups[k] = append(groups[k], w)
	}
	out := make([]Diagnosis, 0, len(groups))
	for _, members := range groups {
		out = append(out, merge(members))
	}
	slices.SortFunc(out, func(a, b Diagnosis) int {
		return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.Pod, b.Pod), strings.Compare(a.Container, b.Container),
			strings.Compare(a.Image, b.Image))
	})
	return out
}

// merge returns the diagnosis of a group.
func merge(members []Waiting) Diagnosis {
	slices.SortFunc(members, func(a, b Waiting) int {
		switch {
		case a.Asked != "" && b.Asked != "" && !a.Time.Equal(b.Time):
			return b.Time.Compare(a.Time)
		case a.Asked != "" && b.Asked == "":
			return -1
		case a.Asked == "" && b.Asked != "":
			return 1
		}
		return cmp.Or(strings.Compare(a.Pod, b.Pod), strings.Compare(a.Container, b.Container), strings.Compare(a.Volume, b.Volume))
	})
	d := members[0].Diagnosis
	owners := ownersOf(members)
	shown := min(len(owners), maxOwners)
	d.Pods = &Pods{Since: members[0].Since, NextTry: members[0].NextTry, Owners: owners[:shown], Omitted: len(owners) - shown}
	counted := map[string]bool{}
	for i, w := range members {
		counted[w.UID] = true
		if !w.Since.IsZero() && w.Since.Before(d.Pods.Since) {
			d.Pods.Since = w.Since
		}
		switch {
		case i == 0:
		case len(d.Pods.Others) < maxOthers:
			d.Pods.Others = append(d.Pods.Others, w.Ref())
		case !w.Announced.IsZero():
			if d.Pods.Announced == nil {
				d.Pods.Announced = map[string]time.Time{}
			}
			d.Pods.Announced[w.UID] = w.Announced.Truncate(time.Second)
		}
	}
	d.Pods.Count = len(counted)
	return d
}

// keepNamedPods drops what is known of pods that are not named.
func (d *Diagnosis) keepNamedPods() {
	if d.Pods != nil {
		named := *d.Pods
		named.Announced = nil
		d.Pods = &named
	}
}

// noOwner is the owner of pods that have none.
const noOwner = "pod"

// ownersOf returns the owners of a group, those of most pods first.
func ownersOf(members []Waiting) []Owner {
	type owned struct {
		Owner
		pods map[string]bool
	}
	byName := map[string]*owned{}
	var names []string
	for _, w := range members {
		name := cmp.Or(w.Owner, noOwner)
		if byName[name] == nil {
			byName[name] = &owned{Owner: Owner{Name: name}, pods: map[string]bool{}}
			if w.Verdict.Fix != members[0].Verdict.Fix {
				byName[name].Fix = w.Verdict.Fix
			}
			names = append(names, name)
		}
		byName[name].pods[w.UID] = true
	}
	owners := make([]Owner, 0, len(names))
	for _, name := range names {
		o := byName[name]
		o.Pods = len(o.pods)
		owners = append(owners, o.Owner)
	}
	slices.SortStableFunc(owners, func(a, b Owner) int { return b.Pods - a.Pods })
	return owners
}
