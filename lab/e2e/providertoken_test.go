//go:build e2e

package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// audienceRBAC lets the nodes, and so their kubelets, request tokens for the audience of
// the lab's credential providers: the audience is the resource.
const audienceRBAC = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: e2e-provider-audience}
rules:
- {apiGroups: [""], resources: [lab], verbs: [request-serviceaccounts-token-audience]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-provider-audience}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: e2e-provider-audience}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:nodes"}
`

// Providers that take a token of the pod's ServiceAccount, with agents that may request it
// as their nodes: the kubelet and pullprobe get the same from them.
func TestProviderTokens(t *testing.T) {
	if !*providers {
		t.Skip("the agents cannot run credential providers")
	}
	suite.needsKubernetes(t, "1.36", "constrained impersonation, by which agents request tokens")
	rbac := filepath.Join(components, "credential-provider-tokens/rbac.yaml")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, args := range [][]string{
			{"delete", "--ignore-not-found", "-f", rbac},
			{"delete", "--ignore-not-found", "clusterrole,clusterrolebinding", "e2e-provider-audience"},
		} {
			if out, err := suite.Kubectl(ctx, nil, args...); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	})
	suite.kubectl(t, "apply", "-f", rbac)
	suite.agentsWith(t, runProviders, "PULLPROBE_CREDENTIAL_PROVIDER_TOKENS=true", "PULLPROBE_LOG_LEVEL=debug")
	setProviderMode(t, "token")
	t.Cleanup(func() { setProviderMode(t, "nothing") })

	const token = "credentials/provider/lab-token-provider"
	suite.tokenCase(t, credentialCase{name: "token-refused-to-the-node", repo: "token-provider", wantTried: "anonymous"},
		token, map[string]string{"kubeletToo": "true"})
	if out, err := suite.Kubectl(t.Context(), strings.NewReader(audienceRBAC), "apply", "-f", "-"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	suite.tokenCase(t, credentialCase{name: "token", repo: "token-provider", wantTried: goodUser, wantPulled: true},
		token, map[string]string{"given": "1"})
	suite.tokenCase(t, credentialCase{
		name: "token-without-annotation", repo: "role-provider", wantTried: "anonymous", wantCause: "CredentialsMissing",
	},
		"credentials/provider/lab-role-provider", map[string]string{"notForPod": "annotationMissing", "annotation": "lab/role"})
	setProviderMode(t, "returns") // the token as the password, which the cache type does not permit
	suite.tokenCase(t, credentialCase{
		name: "token-returned", repo: "token-provider", wantTried: "anonymous", wantCause: providerFailedCause,
	},
		token, map[string]string{"failure": "tokenReturned"})
}

// tokenCase runs a case, and checks the evidence of its provider.
func (c *cluster) tokenCase(t *testing.T, w credentialCase, id string, want map[string]string) {
	t.Helper()
	t.Run(w.name, func(t *testing.T) {
		ns := c.namespace(t)
		started := c.createCase(t, nodeB, ns, w, nil)
		c.requireCase(t, started)
		request := "provider"
		c.annotate(t, started.pod, &request)
		d := c.waitHandled(t, nodeB, ns+"/"+w.name, request)
		_, summary, evidence := d.check(id)
		for key, value := range want {
			if evidence[key] != value {
				t.Errorf("%s: %q is %q, want %q: %s", id, key, evidence[key], value, summary)
			}
		}
		t.Logf("%s\n%s", d, summary)
		if strings.Contains(d.explain(), "eyJ") {
			t.Errorf("the report has a token:\n%s", d.explain())
		}
	})
}
