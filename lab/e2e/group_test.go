//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// All pods of a Deployment are one entry of the report, whose fix is for all of them; what
// was wrong stays in the report.
func TestOneCauseOneEntry(t *testing.T) {
	suite.useNode(t, nodeA)
	ns := suite.namespace(t)
	const replicas = 12
	suite.deployment(t, ns, "api", "registry.lab/app:v1", replicas)
	cm, r, ok := suite.waitReport(t, nodeA, time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return r.Stuck == replicas && len(r.Diagnoses) == 10 && r.Diagnoses[0].Pods.Count == replicas &&
			r.Diagnoses[0].Verdict.Confidence == "confirmed"
	})
	if !ok {
		t.Fatalf("%d stuck, %v", r.Stuck, r.Diagnoses)
	}
	d := r.Diagnoses[0]
	if owners := d.Pods.Owners; len(owners) != 1 || owners[0].Name != "deployment/api" || owners[0].Pods != replicas {
		t.Errorf("owners: %v", owners)
	}
	summary := cm.Data["summary"]
	if !strings.Contains(summary, "12 pods are waiting for an image, for 1 reason") || strings.Count(summary, "TagNotFound") != 1 {
		t.Errorf("the summary:\n%s", summary)
	}
	if size := len(summary) + len(cm.Data["report.json"]); size > 16<<10 {
		t.Errorf("the report has %d bytes", size)
	}

	lines := strings.Split(d.Verdict.Fix, "\n")
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "kubectl ") })
	if at < 0 || !strings.Contains(lines[at], "deployment/api") {
		t.Fatalf("no command for the Deployment in the fix: %s", d.Verdict.Fix)
	}
	suite.kubectl(t, strings.Fields(lines[at])[1:]...)
	_, r, ok = suite.waitReport(t, nodeA, time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return r.Stuck == 0 && slices.ContainsFunc(r.Incidents, func(x incident) bool {
			return x.Image == "registry.lab/app:v1" && x.From.Cause == "TagNotFound" && x.Pods == replicas
		})
	})
	if !ok {
		t.Errorf("after the fix: %d stuck, past verdicts %+v", r.Stuck, r.Incidents)
	}
}
