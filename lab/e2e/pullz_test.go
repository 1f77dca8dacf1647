//go:build e2e

package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A node is kept free of pods by a startup taint until /pullz says that it can pull from
// the required registry, as in docs/readiness.md.
func TestPullz(t *testing.T) {
	suite.agentsWith(t, "PULLPROBE_REQUIRED=registry.lab")
	const taint = "example.com/cannot-pull"
	suite.kubectl(t, "taint", "node", nodeB, taint+"=:NoSchedule", "--overwrite")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _ = suite.Kubectl(ctx, nil, "taint", "node", nodeB, taint+":NoSchedule-")
	})
	suite.inject(t, nodeB, "ca-missing")
	var status int
	var text string
	answers := func(code int, what string) {
		t.Helper()
		if !suite.eventually(t, time.Minute, func(ctx context.Context) bool {
			status, text = suite.pullz(ctx, nodeB)
			return status == code && strings.Contains(text, what)
		}) {
			t.Fatalf("/pullz answers %d %q, want %d and %q", status, text, code, what)
		}
	}
	state := func(want string) {
		t.Helper()
		suite.sweepNow(t, nodeB, func(_ *corev1.ConfigMap, r nodeReport) bool { return r.Sweep.stateOf("registry.lab") == want })
	}
	state("unreachable CertificateUntrusted")
	answers(http.StatusServiceUnavailable, "registry.lab: CertificateUntrusted: ")
	if err := suite.Lift(t.Context(), nodeB, "ca-missing"); err != nil {
		t.Fatal(err)
	}
	state("reachable")
	answers(http.StatusOK, "ok")
	suite.kubectl(t, "taint", "node", nodeB, taint+":NoSchedule-")
}

// pullz returns what /pullz of a node's agent answers.
func (c *cluster) pullz(ctx context.Context, node string) (status int, text string) {
	return c.health(ctx, node, "/pullz")
}

// health returns the answer of the agent of a node at its health port; status 0: there is none.
func (c *cluster) health(ctx context.Context, node, path string) (status int, text string) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return c.Dial(ctx, node, network, addr)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:9780"+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}
