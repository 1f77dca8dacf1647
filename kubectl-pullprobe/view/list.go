package view

import (
	"time"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report"
)

// List is what `-o json` prints: containers that wait for an image.
type List struct {
	Waiting []Item   `json:"waiting"`
	Notes   []string `json:"notes,omitempty"` // what could not be read
}

// Item is one container that waits.
type Item struct {
	Namespace string         `json:"namespace"`
	Pod       string         `json:"pod"`
	UID       string         `json:"uid"`
	Container string         `json:"container"`
	Image     string         `json:"image"`
	Node      string         `json:"node,omitempty"`
	Owner     string         `json:"owner,omitempty"`
	Since     time.Time      `json:"since"`
	Reason    string         `json:"reason,omitempty"`  // the kubelet's
	Source    waiting.Source `json:"source"`            // of the verdict
	Checked   time.Time      `json:"checked,omitzero"`  // when the verdict was reached
	NextTry   time.Time      `json:"nextTry,omitzero"`  // about when the kubelet pulls next
	Verdict   report.Verdict `json:"verdict"`           // as in a report
	Checks    []report.Check `json:"checks,omitempty"`  // as in a report
	Trimmed   bool           `json:"trimmed,omitempty"` // as in a report
}

// NewList returns what `-o json` prints.
func NewList(cases []waiting.Case, notes []string) List {
	out := List{Waiting: []Item{}, Notes: notes}
	for _, c := range cases {
		i := Item{
			Namespace: c.Namespace, Pod: c.Pod, UID: c.UID, Container: c.Container, Image: c.Image, Node: c.Node, Owner: c.Owner,
			Since: c.Since, Reason: c.Reason, Source: c.Source, Checked: c.At, Verdict: c.Verdict,
		}
		if d := c.Diagnosis; d != nil {
			i.Checks, i.Trimmed = d.Checks, d.Trimmed
			if d.Pods != nil {
				i.NextTry = d.Pods.NextTry
			}
		}
		out.Waiting = append(out.Waiting, i)
	}
	return out
}
