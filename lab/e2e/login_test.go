//go:build e2e

package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/lab"
)

// loginCase is a pod that is stuck because of its credentials.
type loginCase struct {
	name, image  string
	secret       *pullSecret // for the image
	listedBy     string      // who lists it: "pod", or the ServiceAccount "later" or "beside" another that the pod lists
	providerMode string      // mode of the node's credential provider

	want     string                       // fault cause confidence
	because  string                       // a deciding check
	evidence map[string]map[string]string // of the decisive credential's source, by check; NS is the namespace
}

// expiredToken returns a password that expired an hour ago: an unsigned JSON web token
// (RFC 7519).
func expiredToken() string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	claims := fmt.Sprintf(`{"sub":"puller","exp":%d}`, time.Now().Add(-time.Hour).Unix())
	return part(`{"alg":"ES256","typ":"JWT"}`) + "." + part(claims) + "." + part("hunter2-canary-signature")
}

// testLogins checks that the verdict on a real stuck pod names the source of the decisive
// credential, and never the credential. The agents run providers.
func testLogins(t *testing.T) {
	expired := expiredToken()
	goodFor := func(server string) *pullSecret { s := secretFor("login", authEntry{server, goodUser, ""}); return &s }
	stale := pullSecret{name: "login", typ: corev1.SecretTypeDockerConfigJson, key: corev1.DockerConfigJsonKey,
		data: fmt.Sprintf(`{"auths":{"auth.lab":{"username":%q,"password":%q}}}`, goodUser, expired)}
	used := func(host string) map[string]map[string]string {
		return map[string]map[string]string{
			"manifest/" + host: {"usedCredential": "secret NS/login"},
			"credentials":      {"source": "secret NS/login"},
			"credentials/1":    {"source": "secret NS/login", "applies": "true", "server": host},
		}
	}
	with := func(e map[string]map[string]string, check, key, value string) map[string]map[string]string {
		e[check][key] = value
		return e
	}
	const nosuch = "logins/never-pushed:1"
	for _, l := range []loginCase{
		{name: "expired", image: suite.pushOwnImage(t, "auth.lab", "logins/expired"), secret: &stale, listedBy: "pod",
			want: "cluster-config CredentialsExpired confirmed", because: "manifest/auth.lab",
			evidence: with(used("auth.lab"), "credentials/1", "expired", "true")},
		{name: "registry-forbids", image: "noaccess.lab/app:1", secret: goodFor("noaccess.lab"), listedBy: "pod",
			want: "cluster-config AccessForbidden confirmed", because: "manifest/noaccess.lab",
			evidence: with(used("noaccess.lab"), "manifest/noaccess.lab", "status", "403")},
		{name: "token-service-forbids", image: "token403.lab/app:1", secret: goodFor("token403.lab"), listedBy: "pod",
			want: "cluster-config AccessForbidden likely", evidence: used("token403.lab")},
		{name: "no-repository-basic", image: "auth.lab/" + nosuch, secret: goodFor("auth.lab"), listedBy: "pod",
			want: "cluster-config RepositoryNotFound likely", because: "manifest/auth.lab", evidence: used("auth.lab")},
		{name: "no-repository-bearer", image: "token.lab/" + nosuch, secret: goodFor("token.lab"), listedBy: "pod",
			want: "cluster-config RepositoryNotFound likely", because: "manifest/token.lab", evidence: used("token.lab")},
		{name: "attached-later", image: suite.pushOwnImage(t, "auth.lab", "logins/later"), secret: goodFor("auth.lab"), listedBy: "later",
			want: "cluster-config PullSecretNotAttached confirmed", because: "credentials", evidence: map[string]map[string]string{
				"credentials":         {"notAttached": "login", "secret": "login"},
				"credentials/account": {"secret": "login", "why": "later"},
			}},
		{name: "pod-lists-its-own", image: suite.pushOwnImage(t, "auth.lab", "logins/beside"), secret: goodFor("auth.lab"), listedBy: "beside",
			want: "cluster-config PullSecretNotAttached confirmed", because: "credentials", evidence: map[string]map[string]string{
				"credentials":         {"notAttached": "login", "secret": "login"},
				"credentials/account": {"secret": "login", "why": "podListsOwn"},
			}},
		{name: "provider-exits", image: suite.pushOwnImage(t, "auth.lab", "provider/logins"), providerMode: "exit",
			want: "node-infrastructure CredentialProviderFailed confirmed", because: "credentials", evidence: map[string]map[string]string{
				"credentials":                       {"provider": "lab-provider", "providerFailed": "lab-provider"},
				"credentials/provider/lab-provider": {"failure": "exit", "exitCode": "3"},
			}},
		{name: "provider-prints-garbage", image: suite.pushOwnImage(t, "auth.lab", "provider/logins-garbage"), providerMode: "garbage",
			want: "node-infrastructure CredentialProviderFailed confirmed", because: "credentials", evidence: map[string]map[string]string{
				"credentials":                       {"providerFailed": "lab-provider"},
				"credentials/provider/lab-provider": {"failure": "garbage"},
			}},
	} {
		if l.providerMode != "" && !*providers {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			ns := suite.namespace(t)
			d := suite.makeStuckPod(t, ns, l)
			if l.because != "" && !slices.Contains(d.Verdict.Because, l.because) {
				t.Errorf("because is %v, want %s in it", d.Verdict.Because, l.because)
			}
			for check, want := range l.evidence {
				_, _, got := d.check(check)
				for key, value := range want {
					if value = strings.ReplaceAll(value, "NS", ns); got[key] != value {
						t.Errorf("%s: %s = %q, want %q\n%s", check, key, got[key], value, d.explain())
					}
				}
			}
			output := d.explain() +
				suite.kubectl(t, "-n", ns, "get", "events", "-o", "yaml") +
				suite.kubectl(t, "-n", agentNamespace, "get", "configmaps", "-o", "yaml")
			for what, secret := range map[string]string{
				"password":  lab.Password,
				"pair":      base64.StdEncoding.EncodeToString([]byte(goodUser + ":" + lab.Password)),
				"token":     expired,
				"signature": expired[strings.LastIndex(expired, ".")+1:],
			} {
				if strings.Contains(output, secret) {
					t.Errorf("diagnosis, Events or ConfigMaps have the %s", what)
				}
			}
		})
	}
}

// makeStuckPod creates the pod of a case and returns the wanted verdict on it.
func (c *cluster) makeStuckPod(t *testing.T, ns string, l loginCase) diagnosis {
	t.Helper()
	if l.providerMode != "" {
		t.Cleanup(func() { _ = c.WriteFile(nodeB, lab.ProviderMode, []byte("nothing\n")) })
		if err := c.WriteFile(nodeB, lab.ProviderMode, []byte(l.providerMode)); err != nil {
			t.Fatal(err)
		}
	}
	var listed []string
	if l.secret != nil {
		c.secret(t, ns, l.secret.name, l.secret.typ, l.secret.key, []byte(l.secret.data))
	}
	switch l.listedBy {
	case "pod":
		listed = []string{l.secret.name}
	case "beside":
		c.loginSecret(t, ns, "own", "other.lab", "u", "hunter2-canary")
		listed = []string{"own"}
		c.account(t, ns, l.name, []string{l.secret.name})
	}
	if l.listedBy != "beside" {
		c.account(t, ns, l.name, nil)
	}
	p := c.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: l.name, Image: l.image, Edit: func(p *corev1.Pod) {
		p.Spec.ServiceAccountName = l.name
		for _, s := range listed {
			p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
		}
	}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		now := int64(0)
		_ = c.api.CoreV1().Pods(ns).Delete(ctx, l.name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	})
	if c.waitPulled(t, ns, l.name) {
		t.Fatalf("the kubelet can pull %s", l.image)
	}
	if l.listedBy == "later" {
		c.account(t, ns, l.name, []string{l.secret.name})
	}
	// A diagnosis that was asked for keeps its evidence in the report, however many others there are.
	request := "now-1"
	c.annotate(t, p, &request)
	c.waitHandled(t, nodeB, ns+"/"+l.name, request)
	return c.waitVerdict(t, nodeB, ns+"/"+l.name, l.want, time.Minute)
}

// Agents that read as their nodes can read what the node's pods refer to, and nothing
// else.
func TestReadAsNode(t *testing.T) {
	skipWithoutSecrets(t)
	suite.needsKubernetes(t, "1.36", "constrained impersonation, by which agents read secrets as their node")
	rbac := filepath.Join(components, "read-as-node/rbac.yaml")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, args := range [][]string{
			{"apply", "-f", filepath.Join(components, "secrets/rbac.yaml")},
			{"delete", "--ignore-not-found", "-f", rbac},
		} {
			if out, err := suite.Kubectl(ctx, nil, args...); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	})
	suite.kubectl(t, "delete", "clusterrolebinding", "pullprobe-secrets")
	suite.agentsWith(t, "PULLPROBE_READ_AS_NODE=true")
	ns := suite.namespace(t)
	wrong := secretFor("login", authEntry{"auth.lab", "wrong", ""})
	refused := loginCase{
		name: "refused", image: suite.pushOwnImage(t, "auth.lab", "logins/refused"), secret: &wrong, listedBy: "pod", want: "* * *",
	}
	d := suite.makeStuckPod(t, ns, refused)
	outcome, summary, _ := d.check("credentials")
	if outcome != "skipped" || !strings.Contains(summary, textMissingVerb) || d.Verdict.Confidence == "confirmed" {
		t.Errorf("without the permission: credentials %s %q\n%s", outcome, summary, d.explain())
	}
	suite.kubectl(t, "apply", "-f", rbac)
	// The API server's authorizer sees a new permission slightly later.
	requests := 0
	if !suite.eventually(t, time.Minute, func(context.Context) bool {
		requests++
		request := fmt.Sprint("request ", requests)
		p, err := suite.api.CoreV1().Pods(ns).Get(t.Context(), refused.name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		suite.annotate(t, p, &request)
		d = suite.waitHandled(t, nodeB, ns+"/"+refused.name, request)
		return matches("cluster-config CredentialsRejected confirmed", d)
	}) {
		t.Errorf("with the permission: %s\n%s", d, d.explain())
	}
	if _, _, e := d.check("manifest/auth.lab"); e["usedCredential"] != "secret "+ns+"/login" {
		t.Errorf("used %q\n%s", e["usedCredential"], d.explain())
	}

	other := secretFor("unattached", authEntry{"auth.lab", goodUser, ""})
	d = suite.makeStuckPod(t, ns, loginCase{
		name: "unattached", image: suite.pushOwnImage(t, "auth.lab", "logins/unattached"), secret: &other, listedBy: "later",
		want: "cluster-config CredentialsMissing *",
	})
	outcome, summary, _ = d.check("credentials/account")
	if outcome != "skipped" || !strings.Contains(summary, "secret "+ns+"/unattached") || !strings.Contains(summary, textOnlyReferenced) {
		t.Errorf("a secret that no pod refers to: %s %q\n%s", outcome, summary, d.explain())
	}
}
