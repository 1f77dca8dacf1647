package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/report"
)

// TestIncidents checks which verdicts are recorded when they end: one that was refined
// soon counts from its beginning, and what follows it is told.
func TestIncidents(t *testing.T) {
	const image = "r.example/app:1"
	began := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return began.Add(time.Duration(minutes) * time.Minute) }
	waits := func(c report.Cause, pods ...int) (all []publish.Waiting) {
		for _, i := range pods {
			p, _ := stuckPod(i)
			all = append(all, publish.Waiting{Diagnosis: diagnosisOf(p, c), Owner: "deployment/app"})
		}
		return all
	}
	finding := func(c report.Cause) report.Conclusion { return report.Conclusion{Fault: c.DefaultFault(), Cause: c} }
	next := func(c report.Cause) *report.Conclusion { f := finding(c); return &f }

	var ended []report.Incident
	x := newIncidents(func(x report.Incident) { ended = append(ended, x) })
	x.update(waits(report.Undetermined, 1), began)
	x.update(waits(report.RegistryUnavailable, 1, 2, 3), began.Add(time.Second))
	x.update(waits(report.RegistryUnavailable, 1), at(10))
	x.update(waits(report.TagNotFound, 1), at(43))
	x.pulled(image)
	x.update(nil, at(60))
	x.update(waits(report.TagNotFound, 4), at(70))
	x.update(nil, at(80))
	want := []report.Incident{
		{Image: image, From: finding(report.TagNotFound), Began: at(70), Ended: at(80), Pods: 1, Workload: "shop/deployment/app"}, // the pod was deleted
		{Image: image, From: finding(report.TagNotFound), To: next(report.Healthy), Began: at(43), Ended: at(60), Pods: 1, Workload: "shop/deployment/app"},
		{Image: image, From: finding(report.RegistryUnavailable), To: next(report.TagNotFound), Began: began, Ended: at(43), Pods: 3, Workload: "shop/deployment/app"},
	}
	if diff := cmp.Diff(want, x.list()); diff != "" {
		t.Error(diff)
	}
	if len(ended) != 3 {
		t.Errorf("%d were counted", len(ended))
	}

	// The pull works, for one pod after another, and nothing has pulled yet.
	y := newIncidents(func(report.Incident) {})
	y.update(waits(report.CredentialsRejected, 1, 2, 3), at(0))
	y.update(slices.Concat(waits(report.CredentialsRejected, 2, 3), waits(report.Recovered, 1)), at(3))
	y.update(waits(report.Recovered, 1, 2, 3), at(4))
	y.update(waits(report.Undetermined, 4), at(20))
	y.update(slices.Concat(waits(report.Undetermined, 4), waits(report.DiskFull, 5)), at(21))
	y.update(slices.Concat(waits(report.Undetermined, 4, 5)), at(22)) // that verdict is not new
	want = []report.Incident{
		{Image: image, From: finding(report.DiskFull), To: next(report.Undetermined), Began: at(21), Ended: at(22), Pods: 1, Workload: "shop/deployment/app"},
		{Image: image, From: finding(report.CredentialsRejected), To: next(report.Recovered), Began: at(0), Ended: at(4), Pods: 3, Workload: "shop/deployment/app"},
	}
	if diff := cmp.Diff(want, y.list()); diff != "" {
		t.Error(diff)
	}

	// Another agent continues what was open.
	x.update(waits(report.TagNotFound, 5), at(90))
	waiting := waits(report.TagNotFound, 5)[0].Diagnosis
	waiting.Announced = at(90)
	y = newIncidents(func(report.Incident) {})
	y.restore(x.list(), []report.Diagnosis{waiting})
	y.update(waits(report.TagNotFound, 5), at(95))
	y.update(nil, at(100))
	if got := y.list(); len(got) != 4 || !got[0].Began.Equal(at(90)) || !got[0].Ended.Equal(at(100)) {
		t.Errorf("after a restart: %+v", got)
	}
}
