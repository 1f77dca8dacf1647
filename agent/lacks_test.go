package agent

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/pullprobe/pullprobe/agent/kube"
)

func TestLacking(t *testing.T) {
	const (
		policy = "Kubernetes 1.29 has no ValidatingAdmissionPolicy (1.30 is the first): an agent's token can write the reports of all nodes"
		asNode = "Kubernetes 1.33 has no constrained impersonation (1.36 is the first): " +
			"the agent reads no pull secrets without the component secrets"
		tokens = "Kubernetes 1.33 has no constrained impersonation (1.36 is the first): " +
			"credential providers that take a ServiceAccount's token are not run"
	)
	for _, tt := range []struct {
		minor          int
		asNode, tokens bool
		want           []string
	}{
		{29, false, false, []string{policy}},
		{30, false, false, nil},
		{33, false, false, nil},
		{33, true, true, []string{asNode, tokens}},
		{35, true, false, []string{"Kubernetes 1.35 has no constrained impersonation without the feature gate ConstrainedImpersonation " +
			"(1.36 is the first): the agent reads no pull secrets without the component secrets"}},
		{36, true, true, nil},
	} {
		if got := lacking(tt.minor, tt.asNode, tt.tokens); !slices.Equal(got, tt.want) {
			t.Errorf("1.%d, %v, %v: %q, want %q", tt.minor, tt.asNode, tt.tokens, got, tt.want)
		}
	}
}

// TestMinor checks what is read of the version of an API server, a real one and others.
func TestMinor(t *testing.T) {
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) }))
	t.Cleanup(server.Close)
	k, err := kube.New(kubeconfig(t, server.URL), "test", "")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{
		`{"major": "1", "minor": "33", "gitVersion": "v1.33.13"}`: 33,
		`{"major": "1", "minor": "31+"}`:                          31, // GKE
		`{"major": "2", "minor": "0"}`:                            0,
		`{"minor": 7}`:                                            0,
		`<html>`:                                                  0,
	} {
		answer = text
		if got, err := k.Minor(t.Context()); got != want || (err == nil) != (want > 0) {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	w := newWorld(t)
	if k, err = kube.New(kubeconfig(t, w.agentProxy.URL), "test", ""); err != nil {
		t.Fatal(err)
	}
	if minor, err := k.Minor(t.Context()); err != nil || minor < 30 {
		t.Errorf("a real API server is 1.%d, %v", minor, err)
	}
	if _, err := k.KubeletMinor(t.Context(), w.node); err == nil {
		t.Error("a Node without a kubelet has a version of one")
	}
	w.patch("/api/v1/nodes/"+w.node+"/status", map[string]any{"status": map[string]any{"nodeInfo": map[string]any{"kubeletVersion": "v1.32.4+k3s1"}}})
	if minor, err := k.KubeletMinor(t.Context(), w.node); err != nil || minor != 32 {
		t.Errorf("the kubelet is 1.%d, %v", minor, err)
	}
}
