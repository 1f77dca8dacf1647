//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"
)

// A node is kept free of pods by a startup taint until /pullz says that it can pull from
// the required registry. The loop is that of docs/readiness.md.
func TestPullz(t *testing.T) {
	suite.agentsWith(t, "PULLPROBE_REQUIRED=registry.lab", "PULLPROBE_SWEEP_INTERVAL=5s")
	const taint = "example.com/cannot-pull"
	suite.kubectl(t, "taint", "node", nodeB, taint+"=:NoSchedule", "--overwrite")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _ = suite.Kubectl(ctx, nil, "taint", "node", nodeB, taint+":NoSchedule-")
	})
	suite.inject(t, nodeB, "ca-missing")

	pullz := func(ctx context.Context) (string, bool) {
		out, err := suite.Exec(ctx, nodeB, "curl", "-sf", "--show-error", "http://127.0.0.1:9780/pullz")
		return string(out), err == nil
	}
	if !suite.eventually(t, 30*time.Second, func(ctx context.Context) bool {
		out, err := suite.Exec(ctx, nodeB, "curl", "-s", "http://127.0.0.1:9780/pullz")
		return err == nil && strings.Contains(string(out), "registry.lab: CertificateUntrusted: ")
	}) {
		out, _ := suite.Exec(t.Context(), nodeB, "curl", "-s", "http://127.0.0.1:9780/pullz")
		t.Errorf("without the CA, /pullz answers %q", out)
	}
	if _, ok := pullz(t.Context()); ok {
		t.Error("curl -f does not fail")
	}
	if err := suite.Lift(t.Context(), nodeB, "ca-missing"); err != nil {
		t.Fatal(err)
	}
	if !suite.eventually(t, 30*time.Second, func(ctx context.Context) bool { _, ok := pullz(ctx); return ok }) {
		out, _ := suite.Exec(t.Context(), nodeB, "curl", "-s", "http://127.0.0.1:9780/pullz")
		t.Fatalf("with the CA, /pullz answers %q", out)
	}
	suite.kubectl(t, "taint", "node", nodeB, taint+":NoSchedule-")
}
