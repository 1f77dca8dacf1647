package publish

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Waiting is one container that needs an image, with its own diagnosis.
type Waiting struct {
	report.Diagnosis
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
func Group(all []Waiting) []report.Diagnosis {
	type key struct {
		of         string
		image      string
		waits      bool
		fault      report.Fault
		cause      report.Cause
		confidence report.Confidence
		because    string
	}
	groups := map[key][]Waiting{}
	for _, w := range all {
		v := w.Verdict
		k := key{w.Key, w.Image, !w.Since.IsZero(), v.Fault, v.Cause, v.Confidence, strings.Join(v.Because, ",")}
		groups[k] = append(groups[k], w)
	}
	out := make([]report.Diagnosis, 0, len(groups))
	for _, members := range groups {
		out = append(out, merge(members))
	}
	slices.SortFunc(out, func(a, b report.Diagnosis) int {
		return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.Pod, b.Pod), strings.Compare(a.Container, b.Container),
			strings.Compare(a.Image, b.Image))
	})
	return out
}

// merge returns the diagnosis of a group.
func merge(members []Waiting) report.Diagnosis {
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
	d.Pods = &report.Pods{Since: members[0].Since, NextTry: members[0].NextTry, Owners: owners[:shown], Omitted: len(owners) - shown}
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

// ownersOf returns the owners of a group, those of most pods first.
func ownersOf(members []Waiting) []report.Owner {
	type owned struct {
		report.Owner
		pods map[string]bool
	}
	byName := map[string]*owned{}
	var names []string
	for _, w := range members {
		name := cmp.Or(w.Owner, report.NoOwner)
		if byName[name] == nil {
			byName[name] = &owned{Owner: report.Owner{Name: name}, pods: map[string]bool{}}
			if w.Verdict.Fix != members[0].Verdict.Fix {
				byName[name].Fix = w.Verdict.Fix
			}
			names = append(names, name)
		}
		byName[name].pods[w.UID] = true
	}
	owners := make([]report.Owner, 0, len(names))
	for _, name := range names {
		o := byName[name]
		o.Pods = len(o.pods)
		owners = append(owners, o.Owner)
	}
	slices.SortStableFunc(owners, func(a, b report.Owner) int { return b.Pods - a.Pods })
	return owners
}
