package diagnosis_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/agent/publish"
	. "github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/report"
)

// TestReportOfTenFaults checks that the report of a node with any ten distinct faults is
// small, and that a reader still gets every verdict; of seven faults with why and fix each, of
// ten with most.
func TestReportOfTenFaults(t *testing.T) {
	all := recordings(t)
	at := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	random := rand.New(rand.NewPCG(1, 2))
	sizes, biggest := 0, 0
	const rounds = 200
	for round := range rounds {
		many := 7 + 3*(round%2)
		n := report.NodeReport{
			Schema: report.Schema, Node: "ip-10-0-12-34.ec2.internal", Agent: "v0.1.0", Time: at, Stuck: many,
		}
		causes := map[report.Cause]bool{}
		for _, i := range random.Perm(len(all)) {
			r := all[i]
			if causes[r.Want.Cause] || len(n.Diagnoses) == many {
				continue
			}
			causes[r.Want.Cause] = true
			n.Diagnoses = append(n.Diagnoses, asDiagnosis(r, len(n.Diagnoses), at))
		}
		n.Sweep = &report.Sweep{Time: at, Registries: []report.Registry{}}
		for i := range 10 {
			n.Sweep.Registries = append(n.Sweep.Registries, report.Registry{
				Host: fmt.Sprintf("registry-%d.example.com", i), Roles: []report.Role{report.RoleRegistry}, State: report.Reachable,
				Since: at, Checked: at, Status: 401, Addresses: []string{"192.0.2.1"},
				Certificate: &report.Certificate{Issuer: "Example CA R3", NotAfter: at, DaysLeft: 60},
			})
		}
		summary, body, err := n.Bounded(report.MaxReport)
		if err != nil {
			t.Fatal(err)
		}
		sizes += len(summary) + len(body)
		biggest = max(biggest, len(summary)+len(body))
		if !strings.Contains(summary, fmt.Sprintf("%d pods are waiting for an image, for %d reasons", many, many)) || strings.Count(summary, "\n  fix  ") < fixes(n)-4*(many/10) {
			t.Errorf("the summary has %d of %d answers, %d + %d bytes:\n%s\n%s", strings.Count(summary, "\n  fix  "), fixes(n), len(summary), len(body), summary, body)
		}
		var back report.NodeReport
		if err := json.Unmarshal(body, &back); err != nil || back.Omitted != 0 {
			t.Fatalf("%d diagnoses omitted, %v", back.Omitted, err)
		}
		for i, d := range back.Diagnoses {
			if want := n.Diagnoses[i].Verdict; d.Verdict.Cause != want.Cause || d.Verdict.Fix != want.Fix {
				t.Errorf("verdict %d is %+v, want %+v", i, d.Verdict, want)
			}
		}
	}
	if biggest > 16<<10 {
		t.Errorf("the biggest report has %d bytes", biggest)
	}
	t.Logf("mean %d, biggest %d", sizes/rounds, biggest)
}

// fixes returns how many of the diagnoses have a fix.
func fixes(n report.NodeReport) (many int) {
	for _, d := range n.Diagnoses {
		if d.Verdict.Fix != "" {
			many++
		}
	}
	return many
}

// asDiagnosis returns a recording as the diagnosis of a Deployment's pod.
func asDiagnosis(r recording, i int, at time.Time) report.Diagnosis {
	name := fmt.Sprintf("checkout-%d", i)
	v := Diagnose(r.Checks)
	return report.Diagnosis{
		Image: "registry.example.com/shop/checkout:v2.3.1",
		Pod:   "shop/" + name + "-57678c9d49-66pz7", UID: "2f0b1a38-3c5e-4b7e-9f5c-0d6a5f1b7c11", Container: "app", Time: at, Announced: at,
		Pods:    &report.Pods{Count: 1, Since: at, NextTry: at, Owners: []report.Owner{{Name: "deployment/" + name, Pods: 1}}},
		Verdict: v, Checks: r.Checks,
	}
}

// TestReportOf500Pods checks that the report of 500 stuck pods of 20 images has all of their
// reasons, and that the summary says how many wait for each.
func TestReportOf500Pods(t *testing.T) {
	at := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	all := recordings(t)
	n := report.NodeReport{Schema: report.Schema, Node: "node-a", Agent: "v0.1.0", Time: at, Stuck: 500}
	var waiting []publish.Waiting
	for i := range 500 {
		d := asDiagnosis(all[i%20*7], i, at)
		d.Pods, d.UID = nil, fmt.Sprintf("2f0b1a38-3c5e-4b7e-9f5c-%012d", i)
		d.Image = fmt.Sprintf("registry.example.com/shop/app-%d:v2.3.1", i%20)
		waiting = append(waiting, publish.Waiting{
			Diagnosis: d, Owner: fmt.Sprintf("deployment/app-%d", i%20), Since: at.Add(-time.Hour), Key: d.Image,
		})
	}
	n.Diagnoses = publish.Group(waiting)
	summary, body, err := n.Bounded(report.MaxReport)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("summary %d, report.json %d bytes", len(summary), len(body))
	var back report.NodeReport
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Diagnoses) != 20 || back.Omitted != 0 || strings.Count(summary, "25 pods since 02:00:00 UTC") < 12 ||
		!strings.Contains(summary, "500 pods are waiting for an image, for 20 reasons") || len(summary)+len(body) > report.MaxReport {
		t.Errorf("%d diagnoses, %d omitted, %d bytes:\n%s", len(back.Diagnoses), back.Omitted, len(summary)+len(body), summary)
	}
}
