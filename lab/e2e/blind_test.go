//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Without the right to read secrets the credentials are skipped, said so, and
// no verdict that hangs on them is confirmed.
func TestWithoutSecrets(t *testing.T) {
	ns := it.namespace(t)
	it.kubectl(t, "delete", "--ignore-not-found", "clusterrolebinding", "pullprobe-secrets")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := it.Kubectl(ctx, nil, "apply", "-k", *manifests); err != nil {
			t.Error(err)
		}
	})
	it.loginSecret(t, ns, "login", "auth.lab", "puller", "wrong-password")
	it.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "unread", Image: "auth.lab/unread:1", Secret: "login"})
	d := it.waitVerdict(t, nodeA, ns+"/unread", "cluster-config CredentialsRejected likely", 30*time.Second)
	if d.Verdict.Confidence == "confirmed" {
		t.Errorf("confirmed: %s", d)
	}
	outcome, summary, _ := d.check("credentials")
	if outcome != "skipped" || !strings.Contains(summary, "cannot get secrets in namespace "+ns) {
		t.Errorf("credentials: %s %q", outcome, summary)
	}
	if !strings.Contains(strings.Join(d.Verdict.WouldDecide, " "), "cannot get secrets") {
		t.Errorf("the verdict does not say what it could not know:\n%s", d.explain())
	}
}

// While containerd is down the answer is that, and what could not be looked at
// is said; when it is back, so is the answer about the image.
func TestRuntimeAway(t *testing.T) {
	it.on(t, nodeB)
	ns := it.namespace(t)
	p := it.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: "waits", Image: "registry.lab/app:nowhere"})
	it.waitVerdict(t, nodeB, ns+"/waits", "cluster-config TagNotFound confirmed", 30*time.Second)
	start := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := it.StartService(ctx, nodeB, "containerd"); err != nil {
			t.Error(err)
		}
		if err := it.WaitContainerd(ctx, nodeB); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(start)
	if err := it.StopService(t.Context(), nodeB, "containerd"); err != nil {
		t.Fatal(err)
	}
	value := "now"
	it.annotate(t, p, &value)
	d := it.waitVerdict(t, nodeB, ns+"/waits", "node-infrastructure RuntimeUnavailable *", 30*time.Second)
	if outcome, summary, _ := d.check("pull"); outcome != "skipped" || summary == "" {
		t.Errorf("pull: %s %q", outcome, summary)
	}
	start()
	it.waitVerdict(t, nodeB, ns+"/waits", "cluster-config TagNotFound confirmed", time.Minute)
}
