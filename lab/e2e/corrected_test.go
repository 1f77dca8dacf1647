//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestCorrectedSecret checks what three pods with a wrong password are told: the verdict
// is never undetermined while the kubelet has not used the corrected secret, and its end is
// told with its cause.
func TestCorrectedSecret(t *testing.T) {
	skipWithoutSecrets(t)
	const node = nodeB
	suite.useNode(t, node)
	ns := suite.namespace(t)
	image := suite.pushOwnImage(t, "auth.lab", "corrected")
	suite.loginSecret(t, ns, "login", "auth.lab", goodUser, "hunter2-canary")
	names := []string{"one", "two", "three"}
	for _, name := range names {
		suite.pod(t, podOptions{Node: node, Namespace: ns, Name: name, Image: image, Secret: "login"})
	}
	ofTheTest := func(d diagnosis) bool { return strings.HasPrefix(d.Pod, ns+"/") }
	if _, r, ok := suite.waitReport(t, node, time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return slices.ContainsFunc(r.Diagnoses, func(d diagnosis) bool {
			return ofTheTest(d) && matches("cluster-config CredentialsRejected confirmed", d) && d.Pods.Count == len(names)
		})
	}); !ok {
		t.Fatalf("the three pods are not one entry: %v", r.Diagnoses)
	}
	data, _ := dockerConfig(authEntry{"auth.lab", goodUser, ""})
	secret, err := suite.api.CoreV1().Secrets(ns).Get(t.Context(), "login", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Data[corev1.DockerConfigJsonKey] = []byte(data)
	if _, err := suite.api.CoreV1().Secrets(ns).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	suite.examineAgain(t, node)
	restarted := false
	_, r, ok := suite.waitReport(t, node, 6*time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool {
		waits := false
		for _, d := range r.Diagnoses {
			if !ofTheTest(d) {
				continue
			}
			waits = true
			t.Logf("%s: %s", d, d.Verdict.Summary)
			if d.Verdict.Cause == "Undetermined" {
				t.Errorf("%s: %s", d, d.Verdict.Summary)
			}
			if d.Verdict.Cause == "Recovered" && !restarted {
				restarted = true // a kubelet that starts has no back-off: it pulls at once
				if err := suite.RestartKubelet(t.Context(), node); err != nil {
					t.Error(err)
				}
			}
		}
		return !waits
	})
	if !ok {
		t.Fatalf("the pods wait still: %v", r.Diagnoses)
	}
	for _, name := range names {
		e := suite.waitEvent(t, ns, name, diagnosedReason, time.Minute, func(e corev1.Event) bool {
			return strings.HasPrefix(e.Message, "Solved: ")
		})
		if !strings.Contains(e.Message, "It was cluster-config / CredentialsRejected for ") {
			t.Error(e.Message)
		}
	}
	cm, _, _ := suite.waitReport(t, node, 30*time.Second, func(*corev1.ConfigMap, nodeReport) bool { return true })
	t.Log(cm.Data["summary"])
	for line := range strings.Lines(cm.Data["summary"]) {
		if strings.Contains(line, image) && strings.Contains(line, "no pod waited") {
			t.Error(line)
		}
	}
}
