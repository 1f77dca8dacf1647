//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Without permission to read secrets, the credentials are skipped, the report names the
// permission, and no verdict that depends on credentials is confirmed.
func TestWithoutSecrets(t *testing.T) {
	ns := suite.namespace(t)
	suite.kubectl(t, "delete", "--ignore-not-found", "clusterrolebinding", "pullprobe-secrets")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := suite.Kubectl(ctx, nil, "apply", "-k", *manifests); err != nil {
			t.Error(err)
		}
	})
	suite.loginSecret(t, ns, "login", "auth.lab", "puller", "wrong-password")
	suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "unread", Image: "auth.lab/unread:1", Secret: "login"})
	want := "cluster-config CredentialsRejected likely"
	if !suite.Dir().Versions().ContainerdSince("1.7") { // its message is the same without a login
		want = "undetermined Undetermined undetermined"
	}
	d := suite.waitVerdict(t, nodeA, ns+"/unread", want, 30*time.Second)
	if d.Verdict.Confidence == "confirmed" {
		t.Errorf("confirmed: %s", d)
	}
	secret := "secret " + ns + "/login"
	outcome, summary, evidence := d.check("credentials")
	if outcome != "skipped" || !strings.Contains(evidence["unknown"], secret) || !strings.Contains(summary, textForbidden+ns) {
		t.Errorf("credentials: %s %q %v", outcome, summary, evidence)
	}
	if !strings.Contains(strings.Join(d.Verdict.WouldDecide, " "), secret) {
		t.Errorf("wouldDecide does not name %s:\n%s", secret, d.explain())
	}
}

// While containerd is down, the verdict is RuntimeUnavailable and the skipped checks are
// reported. When containerd is up again, the verdict is about the image again.
func TestRuntimeAway(t *testing.T) {
	suite.useNode(t, nodeB)
	ns := suite.namespace(t)
	p := suite.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: "waits", Image: "registry.lab/app:nowhere"})
	suite.waitVerdict(t, nodeB, ns+"/waits", "cluster-config TagNotFound confirmed", 30*time.Second)
	start := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := suite.StartService(ctx, nodeB, "containerd"); err != nil {
			t.Error(err)
		}
		if err := suite.WaitContainerd(ctx, nodeB); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(start)
	if err := suite.StopService(t.Context(), nodeB, "containerd"); err != nil {
		t.Fatal(err)
	}
	value := "now"
	suite.annotate(t, p, &value)
	d := suite.waitVerdict(t, nodeB, ns+"/waits", "node-infrastructure RuntimeUnavailable *", 30*time.Second)
	if outcome, summary, _ := d.check("pull"); outcome != "skipped" || summary == "" {
		t.Errorf("pull: %s %q", outcome, summary)
	}
	start()
	suite.waitVerdict(t, nodeB, ns+"/waits", "cluster-config TagNotFound confirmed", time.Minute)
}
