package report

import (
	"encoding/json"
	"maps"
	"slices"
)

// figures are the evidence keys that differ between two runs of a check that found the
// same.
var figures = []string{
	KeyMs, KeyAgeMs, KeyServerDate, KeySkewSeconds, KeySources, KeyFree, KeyAvailable, KeyInodesFree,
}

// sameFinding reports whether two checks found the same: they differ in figures and in
// how long they took at most.
func sameFinding(a, b Check) bool {
	if a.ID != b.ID || a.Kind != b.Kind || a.Host != b.Host || a.Target != b.Target ||
		a.Outcome != b.Outcome || a.Cause != b.Cause || a.BlockedBy != b.BlockedBy {
		return false
	}
	hasFigures := slices.ContainsFunc(figures, func(k string) bool { return a.Evidence[k] != "" })
	if a.Summary != b.Summary && (a.Outcome != Pass || !hasFigures) {
		return false
	}
	x, y := maps.Clone(a.Evidence), maps.Clone(b.Evidence)
	for _, k := range figures {
		delete(x, k)
		delete(y, k)
	}
	return maps.Equal(x, y)
}

// share moves every check that several diagnoses have into n.Checks, once. The
// diagnoses refer to it by its id. Of an id with different findings the newest is
// shared.
func (n *NodeReport) share() {
	first := map[string]Check{}
	uses := map[string]int{}
	for _, d := range n.Diagnoses { // the newest first
		for _, c := range d.Checks {
			if have, ok := first[c.ID]; !ok {
				first[c.ID], uses[c.ID] = c, 1
			} else if sameFinding(have, c) {
				uses[c.ID]++
			}
		}
	}
	n.Checks = nil
	n.Diagnoses = slices.Clone(n.Diagnoses)
	listed := map[string]bool{}
	for i := range n.Diagnoses {
		d := &n.Diagnoses[i]
		d.Checks = slices.Clone(d.Checks)
		for j, c := range d.Checks {
			if uses[c.ID] < 2 || !sameFinding(first[c.ID], c) {
				continue
			}
			if !listed[c.ID] {
				listed[c.ID] = true
				n.Checks = append(n.Checks, first[c.ID])
			}
			d.Checks[j] = Check{ID: c.ID, Shared: true}
		}
	}
}

// ChecksOf returns the checks of a diagnosis of this report, with those that it shares.
func (n NodeReport) ChecksOf(d Diagnosis) []Check {
	out := make([]Check, 0, len(d.Checks))
	for _, c := range d.Checks {
		if c.Shared {
			at := slices.IndexFunc(n.Checks, func(s Check) bool { return s.ID == c.ID })
			if at < 0 {
				continue
			}
			c = n.Checks[at]
		}
		out = append(out, c)
	}
	return out
}

// MarshalJSON returns a reference for a check that is shared: its id, and that it is
// shared.
func (c Check) MarshalJSON() ([]byte, error) {
	if c.Shared {
		return json.Marshal(struct {
			ID     string `json:"id"`
			Shared bool   `json:"shared"`
		}{c.ID, true})
	}
	type plain Check
	return json.Marshal(plain(c))
}
