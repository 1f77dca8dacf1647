//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Invalid image names and secrets get a clear verdict and do not crash the agent.
func TestBadInput(t *testing.T) {
	skipWithoutSecrets(t)
	suite.useNode(t, nodeA)
	ns := suite.namespace(t)
	restarts := suite.restarts(t, nodeA)
	for name, image := range map[string]string{
		"upper-case": "registry.lab/APP:1",
		"scheme":     "https://registry.lab/app:1",
		"bad-tag":    "registry.lab/app:1:2",
		"bad-digest": "registry.lab/app@sha256:abc",
		"spaces":     "registry.lab/a pp",
	} {
		suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: name, Image: image})
	}
	json, typ, key := corev1.DockerConfigJsonKey, corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey
	suite.secret(t, ns, "empty", typ, json, []byte(`{}`))
	suite.secret(t, ns, "garbage-auth", typ, json, []byte(`{"auths":{"auth.lab":{"auth":"!not-base64-hunter2!"}}}`))
	suite.secret(t, ns, "wrong-type", corev1.SecretTypeOpaque, key, []byte(`not json at all: hunter2`))
	for _, s := range []string{"empty", "garbage-auth", "wrong-type"} {
		suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "secret-" + s, Image: "auth.lab/app:1", Secret: s})
	}

	for _, name := range []string{"upper-case", "scheme", "bad-tag", "bad-digest", "spaces"} {
		suite.waitVerdict(t, nodeA, ns+"/"+name, "cluster-config InvalidReference confirmed", 30*time.Second)
	}
	for _, s := range []string{"empty", "wrong-type", "garbage-auth"} {
		d := suite.waitVerdict(t, nodeA, ns+"/secret-"+s, "cluster-config PullSecretMalformed *", 30*time.Second)
		if !strings.Contains(d.Verdict.Summary, s) || strings.Contains(d.explain(), "hunter2") {
			t.Errorf("the summary must name the secret and not quote it:\n%s", d.explain())
		}
	}

	// A pod that is deleted while it is checked leaves no verdict.
	p := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "deleted", Image: "blackhole.lab/deleted:1"})
	value := "now"
	suite.annotate(t, p, &value)
	now := int64(0)
	if err := suite.api.CoreV1().Pods(ns).Delete(t.Context(), "deleted", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	if _, r, ok := suite.waitReport(t, nodeA, 30*time.Second, func(_ *corev1.ConfigMap, r nodeReport) bool {
		for _, d := range r.Diagnoses {
			if d.Pod == ns+"/deleted" {
				return false
			}
		}
		return true
	}); !ok {
		t.Errorf("the deleted pod still has a verdict: %v", r.Diagnoses)
	}
	if after := suite.restarts(t, nodeA); after != restarts {
		t.Errorf("the agent restarted: %d restarts before, %d after", restarts, after)
	}
}

// restarts returns how often the agent of a node was restarted.
func (c *cluster) restarts(t testing.TB, node string) int {
	n := 0
	for _, s := range c.agentPod(t, node).Status.ContainerStatuses {
		n += int(s.RestartCount)
	}
	return n
}

// Three requests get three answers: with the printed command, which sets a new value, and
// with the same value removed and added again.
func TestAsking(t *testing.T) {
	suite.useNode(t, nodeA)
	ns := suite.namespace(t)
	p := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "requested", Image: "registry.lab/app:missing"})
	suite.waitVerdict(t, nodeA, ns+"/requested", "cluster-config TagNotFound confirmed", 30*time.Second)

	answer := func(value string, after time.Time) time.Time {
		t.Helper()
		var at time.Time
		_, r, ok := suite.waitReport(t, nodeA, 15*time.Second, func(_ *corev1.ConfigMap, r nodeReport) bool {
			for _, d := range r.Diagnoses {
				if d.Pod == ns+"/requested" && d.Asked == value && d.Time.After(after) {
					at = d.Time
					return true
				}
			}
			return false
		})
		if !ok {
			t.Fatalf("no answer to %q after %v: %v", value, after, r.Diagnoses)
		}
		return at
	}
	var last time.Time
	for _, value := range []string{"now", "1763697492", "1763697493"} {
		suite.kubectl(t, "annotate", "pod", "-n", ns, "requested", "probe="+value, "--overwrite")
		last = answer(value, last)
	}
	now := "now"
	for range 3 {
		suite.annotate(t, p, nil)
		suite.annotate(t, p, &now)
		last = answer(now, last)
	}
	// They are in one Event, whose time is that of the last answer.
	var events []corev1.Event
	renewed := suite.eventually(t, 10*time.Second, func(ctx context.Context) bool {
		list, err := suite.api.CoreV1().Events(ns).List(ctx, metav1.ListOptions{
			FieldSelector: "reason=" + diagnosedReason + ",involvedObject.name=requested",
		})
		if err != nil {
			return false
		}
		events = list.Items
		return len(events) > 0 && !events[0].LastTimestamp.Time.Before(last.Truncate(time.Second))
	})
	if !renewed || len(events) != 1 {
		t.Errorf("%d Events for one diagnosis and six requests, the last answer at %v: %+v", len(events), last, events)
	}
}
